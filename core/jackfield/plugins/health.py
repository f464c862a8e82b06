"""Asking plugins how they are, and acting on the answers."""

import asyncio
import math
import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Any

from jackfield.errors import Fault, PluginError, ResourceExhausted
from jackfield.model.call import Call, current
from jackfield.model.record import Health
from jackfield.plugins.instance import Instance
from jackfield.plugins.roster import Live, Roster
from jackfield.plugins.supervisor import Supervisor
from jackfield.runtime.pool import Pool


class Checks:
    """Checks the health of plugins, when asked and every so often. It belongs to the control loop.

    Args:
        roster: the plugins.
        supervisor: fails those that are not well.
        pool: where they are asked.
    """

    def __init__(self, roster: Roster, supervisor: Supervisor, pool: Pool) -> None:
        self._roster = roster
        self._supervisor = supervisor
        self._pool = pool
        self._task: asyncio.Task[None] | None = None

    def supervise(self, interval: float, timeout: float) -> None:
        """Begin to check every so often, in place of any checks before."""
        self.stop()
        self._task = asyncio.get_running_loop().create_task(_go_on(weakref.ref(self), interval, timeout))

    def stop(self) -> None:
        """Begin no more checks."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def ask(self, names: Iterable[str], timeout: float) -> Mapping[str, Health]:
        """Ask some plugins, all at once.

        Args:
            names: which.
            timeout: seconds that one answer may take.
        """
        found = await asyncio.gather(*(self._ask(name, timeout) for name in names))
        return MappingProxyType({health.plugin: health for health, _ in found})

    async def round(self, timeout: float) -> None:
        """Ask all plugins, and act on the answers."""
        await asyncio.gather(*(self._check(name, timeout) for name in list(self._roster.plugins)))

    async def _check(self, name: str, timeout: float) -> None:
        health, live = await self._ask(name, timeout)
        plugin = self._roster.plugins[name]
        if live is None:
            return
        if health.healthy:
            self._supervisor.restarts.well(plugin)
        else:
            fault = Fault("health", name, name, health.reason, "see to what the plugin reports, then start it")
            self._supervisor.fail(plugin, fault, live)

    async def _ask(self, name: str, timeout: float) -> tuple[Health, Live | None]:
        plugin = self._roster.plugins[name]
        live = plugin.live if plugin.runs else None
        if live is None:
            return Health(name, healthy=False, reason=f"it is {plugin.state}"), None
        if live.instance is None or not live.instance.has("health"):
            return Health(name, healthy=True), live
        wrong, given = "", None
        try:
            async with asyncio.timeout(timeout):
                given = await self._pool.run(f"{name}:health", partial(_ask, live.instance, monotonic() + timeout))
        except TimeoutError:
            wrong = f"health() took longer than {timeout:g} s"
        except PluginError as error:
            wrong = error.reason
        except ResourceExhausted as error:  # nobody was asked
            return Health(name, healthy=True, reason=str(error)), None
        if given is False:
            wrong = "health() gave False"
        details = None if given is True or given is False else given
        return Health(name, healthy=not wrong, reason=wrong, details=details), live


async def _go_on(reference: "weakref.ref[Checks]", interval: float, timeout: float) -> None:
    """Check every so often. Between two rounds nothing here holds the host: one that is dropped must go."""
    loop = asyncio.get_running_loop()
    due = loop.time() + interval
    while True:
        await asyncio.sleep(due - loop.time())
        checks = reference()
        if checks is None:
            return
        await checks.round(timeout)
        del checks
        # The beat stays; those fall out that a round has covered.
        due += interval * (max(math.floor((loop.time() - due) / interval), 0) + 1)


def _ask(instance: Instance, ends: float) -> Any:
    current.set(Call("", deadline=ends))
    return instance.checked("health", ends=ends)
