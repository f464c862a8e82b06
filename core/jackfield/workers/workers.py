"""The workers of a host: loads plugins into processes of their own, and ends these."""

import shutil
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from jackfield.calls.dispatch import Caller
from jackfield.environments import Environment, Environments, EnvironmentSettings, Phase, Step
from jackfield.errors import ConfigError, Fault, JackfieldError, PluginError
from jackfield.events import EventBus
from jackfield.log import host_log
from jackfield.manifests import Manifest
from jackfield.manifests.grants import Permission
from jackfield.model.record import BuildRecord, WorkerRecord, WorkerTally
from jackfield.plugins import loading
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.code import as_faults
from jackfield.plugins.discovery import Catalogue
from jackfield.ports import ExecutorStats, together
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe
from jackfield.sandbox.selinux import Labels
from jackfield.workers.events import WorkerEvents
from jackfield.workers.limits import Allowance
from jackfield.workers.making import Making
from jackfield.workers.members import Member
from jackfield.workers.messages import Described
from jackfield.workers.nursery import Nursery
from jackfield.workers.origin import Origin, further, of_host, of_requirement
from jackfield.workers.pools import PluginWorkers, WorkerPools
from jackfield.workers.services import HostServices
from jackfield.workers.settings import settings_of
from jackfield.workers.sharing import Shared, SharedServices
from jackfield.workers.source import bundle_of, fault_of, lifecycle_of

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
        low: gives the tenants whose work can wait.
    """

    def __init__(
        self,
        control: ControlLoop,
        pool: Pool,
        caller: Caller,
        events: EventBus,
        environments: EnvironmentSettings | None = None,
        low: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._low, self._labels = low, Labels()
        self._events = events
        self._control, self._pool, self._caller = control, pool, caller
        self._environments = Environments(environments)
        self._nursery = Nursery()
        self._building: dict[str, BuildRecord] = {}
        self._kept: dict[int, _Kept] = {}
        self._shared: dict[Hashable, Shared] = {}  # that others may join
        self._lock = threading.RLock()  # reentrant: a finalizer may come here at any line
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
        tier = _tier(config)
        try:
            if config.source.kind == "requirement":
                origin = self._with_environment(config)
            else:
                origin = of_host(config, catalogue)
        except ConfigError as error:
            faults = error.faults or (Fault("manifest", config.name, config.name, error.reason),)
            faults = tuple(attrs.evolve(each, plugin=config.name, where=each.where or error.file) for each in faults)
            first = faults[0]
            raise PluginError(config.name, "manifest", f"{first.entry}: {first.reason}", first.fix, faults) from error
        except PluginError as error:  # of an environment, which knows its distribution, and not whose it is
            faults = tuple(attrs.evolve(each, plugin=config.name) for each in as_faults(error, config.name))
            raise PluginError(config.name, error.stage, error.reason, error.fix, faults) from error
        return self._imported(config, origin, tier)

    def digest(self, config: "PluginConfig") -> str:
        """Give the digest of what `load` would load now: of a requirement the address of its environment.

        Raises:
            PluginError: when it cannot be told.
        """
        if config.source.kind != "requirement":
            return loading.current_digest(config)
        return self._environments.address(config.path, with_=further(config))

    def _with_environment(self, config: "PluginConfig") -> Origin:
        """Have the environment of a plugin, and let everybody see how far it has come."""

        def note(step: Step) -> None:
            record = BuildRecord(config.name, step.requirement, step.phase, step.text, step.done, step.total)
            if step.phase is not Phase.READY:
                host_log("INFO", f"plugin {config.name}: the environment of {step}")
                self._building[config.name] = record

        try:
            return of_requirement(config, self._environments, note)
        finally:
            self._building.pop(config.name, None)

    def _imported(self, config: "PluginConfig", origin: Origin, tier: Tier) -> PluginBundle:
        names: set[str] = set()  # of its functions, which its import tells
        grants = origin.permission.grants
        events = WorkerEvents(config.name, self._events, grants, origin.own)
        services = HostServices(config.name, config.options, self._caller, self._pool, grants.calls, names, events)
        making = Making(config, origin, tier, _allowance(config, origin), self._nursery, self._control, self._labels)
        key = _key(config, origin, tier)
        shared = self._home_of(key, making)
        pool = PluginWorkers(shared.pools, Member(config.name, 0, settings_of(config)))
        events.deliver, pool.on_stop = pool.deliver, events.close
        kept = _Kept(pool, shared, origin.environment, origin.permission)
        if making.scratch is not None:  # at the latest when this process ends
            clear = weakref.finalize(pool, shutil.rmtree, making.scratch, ignore_errors=True)
            kept = attrs.evolve(kept, scratch=clear)
        try:
            described = self._described(making, pool, shared, services)
        except BaseException:
            self._end(kept)
            raise
        names.update(each.name for each in described.functions)
        self._kept[id(pool)] = kept
        if key is not None:
            self._shared.setdefault(key, shared)
        return _bundle(making, described, pool)

    def _home_of(self, key: Hashable | None, making: Making) -> Shared:
        """Give the processes that a plugin lives in: those of others, or some of its own."""
        with self._lock:
            shared = self._shared.get(key) if key is not None else None
            if shared is None:
                services = SharedServices()
                shared = Shared(key, making.pools(services, self._low), services)
                shared.pools.common.tier = making.tier.value
                shared.pools.common.tally = self._tallies.setdefault(making.config.name, WorkerTally())
        return shared

    def _described(self, making: Making, pool: PluginWorkers, shared: Shared, services: HostServices) -> Described:
        """Have a plugin imported, in processes of its own or in those of others.

        Raises:
            PluginError: when nothing of it can be used.
        """
        config = making.config
        try:
            described = self._joined(making, pool, shared, services)
        except TimeoutError:
            reason = f"importing it took longer than {config.start_timeout:g} s; its process was killed"
            fix = "let it do less when it is imported, or raise start_timeout"
            raise _refused(config.name, "import", reason, fix) from None
        except PluginError:
            raise
        except JackfieldError as error:
            raise _refused(config.name, "import", f"its worker has ended: {error}", "see what it logged") from error
        if described.fault is not None:
            faults = tuple(fault_of(each, config.name) for each in (described.fault, *described.faults[1:]))
            raise PluginError(config.name, faults[0].stage, faults[0].reason, faults[0].fix, faults)
        return described

    def _joined(self, making: Making, pool: PluginWorkers, shared: Shared, services: HostServices) -> Described:
        config, common = making.config, shared.pools.common
        with shared.joining:
            number = len(common.members)
            pool.member.number = number
            shared.services.members[number] = services
            if not number:
                described = shared.pools.describe(config.start_timeout)
            else:
                described = shared.pools.join(making.prepare(None, number), config.start_timeout)
                if described.fault is None and described.threads > 1:
                    reason = "importing it leaves threads, so nothing else can live in its processes"
                    raise _refused(config.name, "import", reason, "take `share` out of its [plugin.worker]")
            if described.fault is None:
                common.members.append(pool.member)
                shared.there.add(pool.member)
        return described

    @property
    def pools(self) -> tuple[WorkerPools, ...]:
        """The workers of each plugin, or of those that share them."""
        return tuple(dict.fromkeys(each.pool.pools for each in list(self._kept.values())))

    @property
    def building(self) -> tuple[BuildRecord, ...]:
        """How far the environments have come that are being built, by plugin."""
        return tuple(record for _, record in sorted(self._building.copy().items()))

    @property
    def records(self) -> tuple[WorkerRecord, ...]:
        """What there is to know of every worker, by plugin."""
        return tuple(record for pool in sorted(self.pools, key=lambda pool: pool.plugin) for record in pool.records())

    @property
    def tiers(self) -> Mapping[str, str]:
        """Plugin → the sandbox that its workers get, whether or not there is one now."""
        return {each.pool.plugin: each.pool.pools.common.tier for each in list(self._kept.values())}

    @property
    def tallies(self) -> Mapping[str, WorkerTally]:
        """Plugin → what became of its workers, those of plugins that are unloaded included."""
        return dict(self._tallies)

    def stats(self) -> ExecutorStats:
        """Give the counts of the executor `worker`: those of all pools together."""
        return together(self._gone, *(each.stats() for each in self.pools))

    def permission(self, pool: Any) -> Permission:
        """Give what a plugin is granted, and what of its requests is not, by what its bundle has as `apart`."""
        kept = self._kept.get(id(pool))
        return kept.permission if kept is not None else Permission()

    def drop(self, pool: Any) -> None:
        """End the processes of a plugin that is unloaded; once more is no error."""
        kept = self._kept.pop(id(pool), None)
        if kept is not None:
            self._end(kept)

    def close(self) -> None:
        """End all processes; a plugin that starts later gets new ones."""
        if self._nursery.used:
            self._control.run(self._nursery.close())

    def _end(self, kept: "_Kept") -> None:
        shared, member = kept.shared, kept.pool.member
        with self._lock:
            if member in shared.pools.common.members and self._shared.get(shared.key) is shared:
                del self._shared[shared.key]  # its code is still there: whoever comes is given others
            shared.there.discard(member)
            last = not shared.there
        if last:
            counted = shared.pools.stats()
            self._gone = together(self._gone, ExecutorStats(counted.enqueued, counted.rejected, counted.late))
            if self._nursery.used:
                shared.pools.close()
        if kept.environment is not None:
            self._environments.release(kept.environment)
        if kept.scratch is not None:
            kept.scratch()


@attrs.frozen(eq=False)
class _Kept:
    """What is to be given back when a plugin goes."""

    pool: PluginWorkers
    shared: Shared
    environment: Environment | None
    permission: Permission
    scratch: "weakref.finalize[..., PluginWorkers] | None" = None


def _key(config: "PluginConfig", origin: Origin, tier: Tier) -> Hashable | None:
    """Say what a plugin has in common with those that may live in its processes; None: with nobody."""
    worker, grants = config.worker, origin.permission.grants
    if worker is None or not worker.share or worker.per_tenant or grants.scratch:
        return None
    around = (tier, origin.paths, origin.sites, origin.runtime, origin.readable)
    return (worker, *around, grants, origin.permission.resources)


def _bundle(making: Making, described: Described, pool: PluginWorkers) -> PluginBundle:
    """Give what a plugin brings that has been imported."""
    config, origin = making.config, making.origin
    manifest = origin.manifest or Manifest()
    health, shutdown, unknown = lifecycle_of(config, described, manifest)
    pool.member.settings = attrs.evolve(pool.settings, health=health, shutdown=shutdown)
    faults = (*_missing(config, origin), *_absent(config, origin), *_unheld(config, making.allowance), *unknown)
    bundle = bundle_of(config, described, pool, manifest, faults)
    address = origin.environment.address if origin.environment is not None else ""
    return attrs.evolve(bundle, digest=bundle.digest or address)


def _missing(config: "PluginConfig", origin: Origin) -> tuple[Fault, ...]:
    """Say which capabilities of its manifest nobody allows: it runs without them."""
    allowed = origin.permission
    if not allowed.missing:
        return ()
    reason = f"it asks for {', '.join(allowed.missing)}, which nobody allows: it runs without"
    return (Fault("grants", config.name, config.name, reason, f"{allowed.allow} under its [plugin.worker] allows it"),)


def _absent(config: "PluginConfig", origin: Origin) -> tuple[Fault, ...]:
    """Say which of the paths that it is granted are not there: it runs, and finds nothing."""
    granted = origin.permission.grants
    fix = "create it and reload the plugin, or correct the path"
    return tuple(
        Fault("grants", config.name, config.name, f"it is granted {path}, where nothing is", fix)
        for path in (*granted.read, *granted.write)
        if not path.exists()
    )


def _tier(config: "PluginConfig") -> Tier:
    """Give the least tier that can be had here of those that would do.

    Raises:
        PluginError: when there is none.
    """
    least = Tier(config.worker.tier) if config.worker is not None else Tier.SELF
    found = []
    for tier in Tier:
        if tier.satisfies(least):
            found.append(probe(tier))
            if found[-1].available:
                return tier
    reason = f"no sandbox of the tier {least.value!r} or better can be had here: {found[0].reason}"
    raise _refused(config.name, "sandbox", reason, "`pluginctl sandbox` shows what can be had")


def _allowance(config: "PluginConfig", origin: Origin) -> Allowance:
    """Say what its workers may use.

    Raises:
        PluginError: when that cannot be held here, and its configuration insists.
    """
    enforce = config.worker is not None and config.worker.enforce
    allowance = Allowance.of(origin.permission.resources, enforce=enforce)
    if enforce and allowance.unheld:
        fix = "have its cgroup delegated to the host, or drop `enforce` under its [plugin.worker]"
        raise _refused(config.name, "limits", f"nothing holds here: {'; '.join(allowance.unheld)}", fix)
    allowance.sweep()
    return allowance


def _unheld(config: "PluginConfig", allowance: Allowance) -> tuple[Fault, ...]:
    """Say which of its limits nothing holds here: it runs all the same."""
    fix = "`enforce = true` under its [plugin.worker] refuses it instead"
    return tuple(
        Fault("limits", config.name, config.name, f"nothing holds here: {each}", fix) for each in allowance.unheld
    )


def _refused(plugin: str, stage: str, reason: str, fix: str) -> PluginError:
    return PluginError(plugin, stage, reason, fix, (Fault(stage, plugin, plugin, reason, fix),))
