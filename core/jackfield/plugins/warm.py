"""Old instances that idle after a swap, and stopping them when their time has come."""

import asyncio
from collections.abc import Sequence
from functools import partial

from jackfield.errors import Fault
from jackfield.model.route import Endpoint
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.roster import Attempt, Live, Roster
from jackfield.plugins.steps import Steps, Stopped, as_fault
from jackfield.plugins.supervisor import Supervisor


class Warm:
    """The old instances that idle, each until its time has come, nobody uses it, or its plugin stops.

    It belongs to the control loop.

    Args:
        steps: stop them.
        deployment: tells whether calls go to them.
        roster: where faults are said.
        supervisor: times their stops.
    """

    def __init__(self, steps: Steps, deployment: Deployment, roster: Roster, supervisor: Supervisor) -> None:
        self._steps = steps
        self._deployment = deployment
        self._roster = roster
        self._supervisor = supervisor
        self._idle: dict[Live, tuple[asyncio.TimerHandle, Sequence[Endpoint]]] = {}
        self._ending: set[asyncio.Task[list[Fault]]] = set()

    def keep(self, old: Live, gone: Sequence[Endpoint], seconds: float) -> None:
        """Keep one; again as long whenever calls go to it when its time is over.

        Args:
            old: the instance.
            gone: its functions.
            seconds: how long.
        """
        timer = asyncio.get_running_loop().call_later(seconds, self._due, old, gone, seconds)
        self._idle[old] = timer, gone

    def specs(self, plugin: str) -> set[FunctionSpec]:
        """Give the functions of those of one plugin."""
        idle = (gone for live, (_, gone) in self._idle.items() if live.bundle.name == plugin)
        return {endpoint.spec for gone in idle for endpoint in gone}

    async def end(self, plugin: str | None = None) -> None:
        """Stop those of one plugin now, or all of them, and wait for it."""
        mine = [live for live in self._idle if plugin is None or live.bundle.name == plugin]
        for live in mine:
            self._idle.pop(live)[0].cancel()
        await asyncio.gather(*map(self.stop, mine))

    async def stop(self, old: Live) -> list[Fault]:
        """Stop an instance that has no functions any more.

        Returns:
            What went wrong; each was logged.
        """
        attempt = self._supervisor.attempt(old, "stop", "ending its background work", old.bundle.stop_timeout)
        stopped = Stopped()
        try:
            await self._steps.run(attempt, partial(self._steps.stop_object, attempt, stopped), _nothing)
            await self._steps.pool.run(f"{old.bundle.name}:retire", partial(self._deployment.retire, old.bundle))
        except Exception as error:  # noqa: BLE001  # given up, or no thread to be had
            stopped.faults.append(as_fault(error, attempt))
        for fault in stopped.faults:
            self._roster.say("ERROR", fault)
        return stopped.faults

    def _due(self, old: Live, gone: Sequence[Endpoint], seconds: float) -> None:
        if self._deployment.in_use(gone):
            self.keep(old, gone, seconds)
            return
        del self._idle[old]
        task = asyncio.get_running_loop().create_task(self.stop(old))
        self._ending.add(task)  # else it might be collected
        task.add_done_callback(self._ending.discard)


def _nothing(_: Attempt) -> None:
    return None
