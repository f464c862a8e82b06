"""Giving back what a plugin holds that is unloaded."""

import asyncio
from functools import partial
from typing import Final

import attrs

from jackfield.errors import Fault
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.ledger import Ledgers, UnloadReport
from jackfield.plugins.roster import Plugin
from jackfield.plugins.supervisor import States
from jackfield.runtime.pool import Pool
from jackfield.stack import blamed

_RELEASING: Final = 10.0  # seconds for a plugin that has no stop timeout, since it has not been loaded


class Release:
    """Gives back what plugins hold. It belongs to the control loop.

    Args:
        deployment: where they run.
        ledgers: what each plugin holds.
        states: where their states are kept.
        pool: where their sync code runs.
    """

    def __init__(self, deployment: Deployment, ledgers: Ledgers, states: States, pool: Pool) -> None:
        self._deployment = deployment
        self._ledgers = ledgers
        self._states = states
        self._pool = pool

    async def run(self, plugin: Plugin, *, keep_state: bool) -> UnloadReport:
        """Give back everything that a plugin acquired, and forget its state; it has stopped, or failed to.

        Its teardowns may hang, and are left behind in their thread when its stop timeout is over.

        Args:
            plugin: which.
            keep_state: do not forget its state.

        Returns:
            What was released, and what is still there.
        """
        name, stopped = plugin.name, plugin.record.fault
        timeout = plugin.bundle.stop_timeout if plugin.bundle is not None else _RELEASING
        try:
            async with asyncio.timeout(timeout):
                report = await self._pool.run(
                    f"{name}:unload", partial(self._release, name, left=plugin.failure is not None)
                )
        except TimeoutError:
            reason = f"releasing what it holds took longer than {timeout:g} s, and is left behind in its thread"
            left = Fault("unload", name, name, reason, "let the clean-up of its providers end sooner")
            report = UnloadReport(name, failed=(left,))
        told = (
            ("stop", "snapshot") if keep_state else ("stop",)
        )  # a state that is about to be wanted must not go unseen
        failed = [stopped] if stopped is not None and stopped.stage in told else []
        failed += report.failed
        try:
            if not keep_state:
                await self._states.forget(name)
        except Exception as error:  # noqa: BLE001  # the store is somebody else's: the plugin is unloaded all the same
            failed.append(Fault("unload", name, name, f"its state could not be forgotten: {blamed(error)}"))
        return attrs.evolve(report, failed=tuple(failed))

    def _release(self, name: str, *, left: bool) -> UnloadReport:
        """Release it, in a thread, with its functions if a stop that failed may have left some."""
        if left:
            self._deployment.withdraw(name)
        return self._ledgers.of(name).release_all()
