"""The workers of a host: loads plugins into processes of their own, and ends these."""

import shutil
import tempfile
from collections.abc import Mapping
from operator import add
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from jackfield.calls.dispatch import Caller
from jackfield.environments import Environment, Environments, EnvironmentSettings
from jackfield.errors import ConfigError, Fault, JackfieldError, PluginError
from jackfield.events import EventBus
from jackfield.model.record import WorkerRecord, WorkerTally
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.discovery import Catalogue
from jackfield.ports import ExecutorStats
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe
from jackfield.workers.configs import write_config
from jackfield.workers.events import WorkerEvents
from jackfield.workers.messages import Prepare
from jackfield.workers.nursery import Nursery, Source
from jackfield.workers.origin import Origin, of_host, of_requirement
from jackfield.workers.pool import WorkerPool
from jackfield.workers.services import HostServices
from jackfield.workers.settings import settings_of
from jackfield.workers.source import bundle_of, fault_of

if TYPE_CHECKING:
    from jackfield.config import PluginConfig


class Workers:
    """Loads plugins into workers.

    Args:
        control: the loop that they are supervised on.
        pool: where threads come from.
        caller: makes the calls that they ask for.
        events: where they publish, and subscribe.
        environments: where those come from that are asked for by version.
    """

    def __init__(
        self,
        control: ControlLoop,
        pool: Pool,
        caller: Caller,
        events: EventBus,
        environments: EnvironmentSettings | None = None,
    ) -> None:
        self._events = events
        self._control, self._pool, self._caller = control, pool, caller
        self._environments = Environments(environments)
        self._nursery = Nursery()
        self._kept: dict[int, _Kept] = {}
        self._tallies: dict[str, WorkerTally] = {}
        self._gone = ExecutorStats()  # what pools had counted that are not there any more

    def load(self, config: "PluginConfig", catalogue: Catalogue) -> PluginBundle:
        """Import a plugin in a process of its own, and give what it brings.

        Args:
            config: its configuration.
            catalogue: what is installed in the host's own packages.

        Raises:
            PluginError: with every fault, when nothing of it can be used.
        """
        found = probe(Tier.SELF)
        wanted = Tier(config.worker.tier) if config.worker is not None else Tier.SELF
        if not found.available or not Tier.SELF.satisfies(wanted):
            reason = (
                found.reason or f"it asks for a sandbox of the tier {wanted!r}, and workers are in {Tier.SELF!r} yet"
            )
            raise _refused(config.name, "sandbox", reason, "`pluginctl sandbox` shows what can be had here")
        try:
            if config.source.kind == "requirement":
                origin = of_requirement(config, self._environments)
            else:
                origin = of_host(config, catalogue)
        except ConfigError as error:
            faults = error.faults or (Fault("manifest", config.name, config.name, error.reason),)
            raise PluginError(config.name, "manifest", error.reason, faults[0].fix, faults) from error
        return self._imported(config, origin)

    def _imported(self, config: "PluginConfig", origin: Origin) -> PluginBundle:
        grants = origin.permission.grants
        scratch = tempfile.mkdtemp(prefix="jackfield-") if grants.scratch else None
        confinement = origin.confinement(scratch)
        prepare = Prepare(write_config(origin.config), origin.paths, origin.sites, msgspec.msgpack.encode(confinement))
        names: set[str] = set()
        events = WorkerEvents(config.name, self._events, grants, origin.own)
        services = HostServices(
            config.name, config.options, self._caller, self._pool, grants.calls, lambda: frozenset(names), events
        )
        pool = WorkerPool(
            config.name,
            prepare,
            settings_of(config),
            Source(self._nursery, origin.runtime),
            self._control,
            services,
        )
        events.deliver, pool.on_stop = pool.deliver, events.close
        pool.tier, pool.tally = confinement.tier.value, self._tallies.setdefault(config.name, WorkerTally())
        kept = _Kept(pool, origin.environment, scratch)
        try:
            described = pool.describe(config.start_timeout)
        except TimeoutError:
            self._end(kept)
            reason = f"importing it took longer than {config.start_timeout:g} s; its process was killed"
            raise _refused(
                config.name, "import", reason, "let it do less when it is imported, or raise start_timeout"
            ) from None
        except JackfieldError as error:
            self._end(kept)
            raise _refused(config.name, "import", f"its worker has ended: {error}", "see what it logged") from error
        if described.fault is not None:
            self._end(kept)
            faults = tuple(fault_of(each, config.name) for each in (described.fault, *described.faults[1:]))
            raise PluginError(config.name, faults[0].stage, faults[0].reason, faults[0].fix, faults)
        names.update(each.name for each in described.functions)
        self._kept[id(pool)] = kept
        return bundle_of(config, described, pool, origin.manifest, _missing(config, origin))

    @property
    def pools(self) -> tuple[WorkerPool, ...]:
        """The workers of each plugin."""
        return tuple(each.pool for each in list(self._kept.values()))

    @property
    def records(self) -> tuple[WorkerRecord, ...]:
        """What there is to know of every worker, by plugin."""
        return tuple(record for pool in sorted(self.pools, key=lambda pool: pool.plugin) for record in pool.records())

    @property
    def tallies(self) -> Mapping[str, WorkerTally]:
        """Plugin → what became of its workers, those of plugins that are unloaded included."""
        return dict(self._tallies)

    def stats(self) -> ExecutorStats:
        """Give the counts of the executor `worker`: those of all pools together."""
        total = self._gone
        for each in self.pools:
            total = _plus(total, each.stats())
        return total

    def drop(self, pool: Any) -> None:
        """End the processes of a plugin that is unloaded; once more is no error."""
        kept = self._kept.pop(id(pool), None)
        if kept is not None:
            counted = kept.pool.stats()
            self._gone = _plus(self._gone, ExecutorStats(counted.enqueued, counted.rejected, counted.late))
            self._end(kept)

    def close(self) -> None:
        """End all processes; a plugin that starts later gets new ones."""
        if self._nursery.used:
            self._control.run(self._nursery.close())

    def _end(self, kept: "_Kept") -> None:
        if self._nursery.used:
            kept.pool.close()
        if kept.environment is not None:
            self._environments.release(kept.environment)
        if kept.scratch is not None:
            shutil.rmtree(kept.scratch, ignore_errors=True)


@attrs.frozen(eq=False)
class _Kept:
    """What is to be given back when a plugin goes."""

    pool: WorkerPool
    environment: Environment | None
    scratch: str | None


def _plus(one: ExecutorStats, other: ExecutorStats) -> ExecutorStats:
    return ExecutorStats(*map(add, attrs.astuple(one), attrs.astuple(other)))


def _missing(config: "PluginConfig", origin: Origin) -> tuple[Fault, ...]:
    """Say which capabilities of its manifest nobody allows: it runs without them."""
    allowed = origin.permission
    if not allowed.missing:
        return ()
    reason = f"it asks for {', '.join(allowed.missing)}, which nobody allows: it runs without"
    return (Fault("grants", config.name, config.name, reason, f"{allowed.allow} under its [plugin.worker] allows it"),)


def _refused(plugin: str, stage: str, reason: str, fix: str) -> PluginError:
    return PluginError(plugin, stage, reason, fix, (Fault(stage, plugin, plugin, reason, fix),))
