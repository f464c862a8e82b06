"""A plugin of another process as its host has it: a bundle whose functions and object stand for those over there."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from jackfield.errors import Fault, PluginError, Unavailable
from jackfield.manifests import Manifest
from jackfield.manifests.model import PROBE_TIMEOUT, Probe
from jackfield.model.names import name_fault, version_fault
from jackfield.model.spec import MISSING, FunctionSpec, Parameter, Policy, RemoteContract
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.text import printable
from jackfield.workers.messages import PROBE, SPAN, Described, FaultFact, FunctionFact

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.workers.pools import PluginWorkers

_TEXT: Final = 4_000  # characters of what a plugin's zygote says


@attrs.frozen(eq=False)
class RemoteFunction:
    """Stands for a function of a worker; calls go through the executor.

    Attributes:
        pool: the workers of its plugin.
        number: its place among the plugin's functions.
        name: of the function.
    """

    pool: "PluginWorkers"
    number: int
    name: str

    def __call__(self, *_: object, **__: object) -> Any:
        """Refuse.

        Raises:
            Unavailable: always.
        """
        raise Unavailable(self.name, "it runs in a worker: call it through its host")


class RemoteObject:
    """Stands for a plugin object that each worker makes for itself; has the methods that this has.

    Args:
        pool: the workers of its plugin.
        methods: those that the plugin's own object has.
    """

    def __init__(self, pool: "PluginWorkers", methods: tuple[str, ...]) -> None:
        self._pool = pool
        self._state: bytes | None = None
        self.start, self.stop = self._start, self._stop
        if "health" in methods or pool.settings.health is not None:
            self.health = self._health
        if "snapshot" in methods:
            self.snapshot = self._snapshot
        if "restore" in methods:
            self.restore = self._restore

    def _start(self) -> None:
        state, self._state = self._state, None
        self._pool.start(state)

    def _stop(self) -> None:
        self._pool.stop(self._pool.settings.stop_timeout)

    def _health(self) -> Any:
        probe = self._pool.settings.health
        if probe is None:
            return self._pool.method("health", PROBE_TIMEOUT)
        try:
            return self._pool.method(f"{PROBE}{probe.name}", probe.timeout)
        except TimeoutError:
            reason = f"its healthcheck {probe.name} took longer than {probe.timeout:g} s"
            raise PluginError(self._pool.plugin, "health", reason, "let it answer sooner") from None

    def _snapshot(self) -> Any:
        state = self._pool.method("snapshot", self._pool.settings.stop_timeout)
        return None if state is None else msgspec.msgpack.decode(state)

    def _restore(self, state: Any) -> None:
        self._state = msgspec.msgpack.encode(state)


def bundle_of(
    config: "PluginConfig", described: Described, pool: "PluginWorkers", manifest: Manifest, faults: Iterable[Fault]
) -> PluginBundle:
    """Make the bundle of a plugin whose code is in workers; what its zygote says of it is not believed unseen.

    Args:
        config: the plugin's.
        described: what its import gave there.
        pool: its workers.
        manifest: what the plugin says of itself: what may be tried again, when it is restarted.
        faults: what is wrong besides.
    """
    plain, shutdown = loading.settings(config), pool.settings.shutdown
    misnamed = {fact.name: fault for fact in described.functions if (fault := _misnamed(fact, config.name)) is not None}
    return attrs.evolve(
        plain,
        restart=config.restart or manifest.restart or plain.restart,
        stop_timeout=max(plain.stop_timeout, 0.0 if shutdown is None else shutdown.timeout),
        version=described.version,
        distribution=described.distribution,
        digest=described.digest,
        object=RemoteObject(pool, described.methods),
        functions=tuple(
            _spec(
                config, described, fact, RemoteFunction(pool, pool.member.number * SPAN + number, fact.name), manifest
            )
            for number, fact in enumerate(described.functions)
            if fact.name not in misnamed
        ),
        faults=(*faults, *misnamed.values(), *(fault_of(fact, config.name) for fact in described.faults)),
        apart=pool,
    )


def fault_of(fact: FaultFact, plugin: str) -> Fault:
    """Make the fault that a worker told."""
    said = (fact.stage, plugin, fact.entry or plugin, fact.reason, fact.fix, fact.where)
    return Fault(*(printable(text[:_TEXT]) for text in said))


def lifecycle_of(
    config: "PluginConfig", described: Described, manifest: Manifest
) -> tuple[Probe | None, Probe | None, tuple[Fault, ...]]:
    """Find what a manifest names for the moments of the plugin's life.

    Args:
        config: the plugin's.
        described: what its import gave.
        manifest: what it says of itself.

    Returns:
        What tells how it is, what is called before it stops, and what is wrong with either.
    """
    health, unhealthy = _resolved(config, described, manifest, manifest.healthcheck)
    shutdown, unclosed = _resolved(config, described, manifest, manifest.graceful_shutdown)
    return health, shutdown, (*unhealthy, *unclosed)


def _misnamed(fact: FunctionFact, plugin: str) -> Fault | None:
    """Check the name and version of a function once more, in the host."""
    return name_fault(fact.name, plugin) or version_fault(fact.version, fact.name, plugin)


def _resolved(
    config: "PluginConfig", described: Described, manifest: Manifest, probe: Probe | None
) -> tuple[Probe | None, tuple[Fault, ...]]:
    """Find the function or method that a lifecycle names: by whole name, name in the plugin, or method."""
    if probe is None:
        return None, ()
    functions = {fact.name for fact in described.functions}
    for name in (probe.name, f"{config.name}.{probe.name}"):
        if name in functions:
            return attrs.evolve(probe, name=name), ()
    if probe.name in described.methods:
        return probe, ()
    reason = f"its lifecycle names {probe.name!r}, which is neither a function nor a method of the plugin object"
    fix = "name one of them, or take it out of the manifest"
    return None, (Fault("manifest", config.name, probe.name, reason, fix, str(manifest.file or "")),)


def _spec(
    config: "PluginConfig", described: Described, fact: FunctionFact, target: RemoteFunction, manifest: Manifest
) -> FunctionSpec:
    timeout = fact.timeout if config.timeout is None else config.timeout
    return FunctionSpec(
        fact.name,
        fact.version,
        config.name,
        described.distribution,
        target,
        fact.colour,
        shape=fact.shape,
        parameters=tuple(
            Parameter(each.name, each.kind, Any, MISSING if each.required else None) for each in fact.parameters
        ),
        policy=Policy(timeout, "worker", fact.idempotent or manifest.is_idempotent(fact.name), config.retry_policy),
        summary=printable(fact.summary[:_TEXT]),
        notes=tuple(printable(note[:_TEXT]) for note in fact.notes),
        remote=RemoteContract(
            fact.payload_schema,
            fact.result_schema,
            tuple(each.shown for each in fact.parameters),
            fact.result,
            fact.dependencies,
            fact.place,
        ),
    )
