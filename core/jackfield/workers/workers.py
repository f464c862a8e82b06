"""The workers of a host: loads plugins into processes of their own, and ends these."""

import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from jackfield.calls.dispatch import Caller
from jackfield.environments import Environment, Environments, EnvironmentSettings
from jackfield.errors import ConfigError, Fault, JackfieldError, PluginError
from jackfield.manifests.grants import Permission
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.discovery import Catalogue
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe
from jackfield.workers.configs import write_config
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
        environments: where those come from that are asked for by version.
    """

    def __init__(
        self, control: ControlLoop, pool: Pool, caller: Caller, environments: EnvironmentSettings | None = None
    ) -> None:
        self._control, self._pool, self._caller = control, pool, caller
        self._environments = Environments(environments)
        self._nursery = Nursery()
        self._kept: dict[int, _Kept] = {}

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
        confinement = msgspec.msgpack.encode(origin.confinement(scratch))
        prepare = Prepare(write_config(origin.config), origin.paths, origin.sites, confinement)
        names: set[str] = set()
        services = HostServices(
            config.name, config.options, self._caller, self._pool, grants.calls, lambda: frozenset(names)
        )
        pool = WorkerPool(
            config.name,
            prepare,
            settings_of(config),
            Source(self._nursery, origin.runtime),
            self._control,
            services,
        )
        kept = _Kept(pool, origin.environment, scratch, origin.permission)
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
        bundle = bundle_of(config, described, pool, _missing(config, origin))
        address = origin.environment.address if origin.environment is not None else ""
        return attrs.evolve(bundle, digest=bundle.digest or address)

    @property
    def pools(self) -> tuple[WorkerPool, ...]:
        """The workers of each plugin."""
        return tuple(each.pool for each in list(self._kept.values()))

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
    permission: Permission


def _missing(config: "PluginConfig", origin: Origin) -> tuple[Fault, ...]:
    """Say which capabilities of its manifest nobody allows: it runs without them."""
    allowed = origin.permission
    if not allowed.missing:
        return ()
    reason = f"it asks for {', '.join(allowed.missing)}, which nobody allows: it runs without"
    return (Fault("grants", config.name, config.name, reason, f"{allowed.allow} under its [plugin.worker] allows it"),)


def _refused(plugin: str, stage: str, reason: str, fix: str) -> PluginError:
    return PluginError(plugin, stage, reason, fix, (Fault(stage, plugin, plugin, reason, fix),))
