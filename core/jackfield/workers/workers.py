"""The workers of a host: loads plugins into processes of their own, and ends these."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield.calls.dispatch import Caller
from jackfield.errors import Fault, JackfieldError, PluginError
from jackfield.plugins.bundle import PluginBundle
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.workers.configs import write_config
from jackfield.workers.messages import Prepare
from jackfield.workers.nursery import Nursery
from jackfield.workers.pool import WorkerPool
from jackfield.workers.services import HostServices
from jackfield.workers.settings import WorkerSettings
from jackfield.workers.source import bundle_of, fault_of

if TYPE_CHECKING:
    from jackfield.config import PluginConfig


class Workers:
    """Loads plugins into workers.

    Args:
        control: the loop that they are supervised on.
        pool: where threads come from.
        caller: makes the calls that they ask for.
    """

    def __init__(self, control: ControlLoop, pool: Pool, caller: Caller) -> None:
        self._control, self._pool, self._caller = control, pool, caller
        self._nursery = Nursery()
        self._pools: dict[int, WorkerPool] = {}

    def load(self, config: "PluginConfig") -> PluginBundle:
        """Import a plugin in a process of its own, and give what it brings.

        Args:
            config: its configuration.

        Raises:
            PluginError: with every fault, when nothing of it can be used.
        """
        prepare = Prepare(write_config(config), tuple(sys.path), _sites())
        names: set[str] = set()
        services = HostServices(config.name, config.options, self._caller, self._pool, (), lambda: frozenset(names))
        settings = WorkerSettings(start_timeout=config.start_timeout, stop_timeout=config.stop_timeout)
        pool = WorkerPool(config.name, prepare, settings, self._nursery, self._control, services)
        try:
            described = pool.describe(config.start_timeout)
        except TimeoutError:
            reason = f"importing it took longer than {config.start_timeout:g} s; its process was killed"
            raise _refused(config.name, reason, "let it do less when it is imported, or raise start_timeout") from None
        except JackfieldError as error:
            raise _refused(config.name, f"it could not be imported in a worker: {error}", "see what it logged") from error
        if described.fault is not None:
            pool.close()
            faults = tuple(fault_of(each, config.name) for each in (described.fault, *described.faults[1:]))
            raise PluginError(config.name, faults[0].stage, faults[0].reason, faults[0].fix, faults)
        names.update(each.name for each in described.functions)
        self._pools[id(pool)] = pool
        return bundle_of(config, described, pool)

    @property
    def pools(self) -> tuple[WorkerPool, ...]:
        """The workers of each plugin."""
        return tuple(self._pools.values())

    def drop(self, pool: Any) -> None:
        """End the processes of a plugin that is unloaded; once more is no error."""
        if self._pools.pop(id(pool), None) is not None:
            pool.close()

    def close(self) -> None:
        """End all processes; a plugin that starts later gets new ones."""
        if self._nursery.used:
            self._control.run(self._nursery.close())


def _sites() -> tuple[str, ...]:
    """Give the folders of `sys.path` whose `.pth` files count."""
    return tuple(each for each in sys.path if Path(each).name in {"site-packages", "dist-packages"} and os.path.isdir(each))  # noqa: PTH112  # of text


def _refused(plugin: str, reason: str, fix: str) -> PluginError:
    return PluginError(plugin, "import", reason, fix, (Fault("import", plugin, plugin, reason, fix),))


