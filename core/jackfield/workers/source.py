"""A plugin of another process as its host has it: a bundle whose functions and object stand for those over there."""

from inspect import _ParameterKind
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from jackfield.errors import Fault, Unavailable
from jackfield.model.spec import MISSING, Colour, FunctionSpec, Parameter, Policy, RemoteContract
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.workers.messages import Described, FaultFact, FunctionFact

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.workers.pool import WorkerPool


@attrs.frozen(eq=False)
class RemoteFunction:
    """Stands for a function of a worker; calls go through the executor.

    Attributes:
        pool: the workers of its plugin.
        number: its place among the plugin's functions.
        name: of the function.
    """

    pool: "WorkerPool"
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

    def __init__(self, pool: "WorkerPool", methods: tuple[str, ...]) -> None:
        self._pool = pool
        self._state: bytes | None = None
        self.start, self.stop = self._start, self._stop
        if "health" in methods:
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
        return self._pool.method("health", self._pool.settings.stop_timeout)

    def _snapshot(self) -> Any:
        state = self._pool.method("snapshot", self._pool.settings.stop_timeout)
        return None if state is None else msgspec.msgpack.decode(state)

    def _restore(self, state: Any) -> None:
        self._state = msgspec.msgpack.encode(state)


def bundle_of(
    config: "PluginConfig", described: Described, pool: "WorkerPool", faults: tuple[Fault, ...] = ()
) -> PluginBundle:
    """Make the bundle of a plugin whose code is in workers.

    Args:
        config: the plugin's.
        described: what its import gave there.
        pool: its workers.
        faults: what is wrong besides.
    """
    return attrs.evolve(
        loading.settings(config),
        version=described.version,
        distribution=described.distribution,
        digest=described.digest,
        object=RemoteObject(pool, described.methods),
        functions=tuple(
            _spec(config, described, fact, RemoteFunction(pool, number, fact.name))
            for number, fact in enumerate(described.functions)
        ),
        faults=(*faults, *(fault_of(fact, config.name) for fact in described.faults)),
        apart=pool,
    )


def fault_of(fact: FaultFact, plugin: str) -> Fault:
    """Make the fault that a worker told."""
    return Fault(fact.stage, plugin, fact.entry or plugin, fact.reason, fact.fix, fact.where)


def _spec(config: "PluginConfig", described: Described, fact: FunctionFact, target: RemoteFunction) -> FunctionSpec:
    timeout = fact.timeout if config.timeout is None else config.timeout
    return FunctionSpec(
        fact.name,
        fact.version,
        config.name,
        described.distribution,
        target,
        Colour(fact.colour),
        shape=_SHAPES[fact.shape],
        parameters=tuple(
            Parameter(each.name, _ParameterKind(each.kind), Any, MISSING if each.required else None)
            for each in fact.parameters
        ),
        policy=Policy(timeout, "worker", fact.idempotent),
        summary=fact.summary,
        notes=fact.notes,
        remote=RemoteContract(
            fact.payload_schema,
            fact.result_schema,
            tuple(each.shown for each in fact.parameters),
            fact.result,
            fact.dependencies,
            fact.place,
        ),
    )


_SHAPES: "dict[str, Any]" = {name: name for name in ("none", "one", "many", "opaque")}
