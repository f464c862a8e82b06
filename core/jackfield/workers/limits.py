"""What the workers of one plugin may use: control groups around them, where this process may make some, and a watch."""

import asyncio
import os
from contextlib import suppress
from itertools import count
from typing import Final

import attrs

from jackfield.errors import Unavailable
from jackfield.model.grants import Resources
from jackfield.sandbox.cgroups import Budget, Cgroups, Group, find
from jackfield.sandbox.memory import Growth, Lines, Reader, Verdict

EVERY: Final = 0.1
"""Seconds between two looks at the memory of workers that have a limit."""

SELDOM: Final = 1.0
"""The same where none has."""

GROWN: Final = 256 * 1024 * 1024
"""Bytes more than it began with at which a worker that rests is replaced: what it keeps between calls is a leak."""

_PREFIX = "jackfield-"
_numbers = count(1)


@attrs.frozen
class Allowance:
    """What each worker of a plugin may use.

    Attributes:
        resources: as its manifest asks, and its configuration allows.
        groups: where groups can be made.
        enforce: whether what cannot be held keeps a worker from starting.
    """

    resources: Resources = attrs.field(factory=Resources)
    groups: Cgroups | None = None
    enforce: bool = False

    @classmethod
    def of(cls, resources: Resources, *, enforce: bool = False) -> "Allowance":
        """Look what this system can hold; nowhere, where nothing asks for it.

        Args:
            resources: what is allowed.
            enforce: as the attribute.
        """
        asked = resources.cpu is not None or resources.memory is not None or resources.pids is not None
        return cls(resources, find() if asked else None, enforce)

    @property
    def unheld(self) -> tuple[str, ...]:
        """What nothing holds here, and why. Memory is held without groups too: by RLIMIT_DATA, and by the watch."""
        if self.groups is None:
            return ()
        return self.groups.unheld(Budget(cpu=self.resources.cpu, pids=self.resources.pids))

    @property
    def holds(self) -> bool:
        """Whether groups are made at all."""
        return self.groups is not None and bool(self.groups.homes)

    def hold(self, pid: int) -> Group | None:
        """Put a process into a group of its own; it takes some milliseconds.

        Args:
            pid: which.

        Returns:
            The group; None where nothing asks for one, or none can be made and nobody insists.

        Raises:
            Unavailable: when somebody does.
        """
        if self.groups is None or not self.groups.homes or pid <= 0:  # 0 would be this process itself
            return None
        asked = self.resources
        budget = Budget(cpu=asked.cpu, memory=asked.memory, pids=asked.pids)
        group: Group | None = None
        try:
            group = self.groups.make(f"{_PREFIX}{os.getpid()}-{next(_numbers)}", budget)
            group.add(pid)
        except Unavailable:
            if group is not None:
                with suppress(Unavailable):
                    group.remove()
            if self.enforce:
                raise
            return None
        return group

    def sweep(self) -> None:
        """Take away what killed hosts have left."""
        if self.groups is not None:
            self.groups.sweep(_PREFIX)


class Watched:
    """The memory of one worker, as it is seen from outside.

    Args:
        pid: of its process.
        most: bytes that it may use; None: nobody has said.

    Raises:
        ProcessLookupError: when there is no such process.
    """

    def __init__(self, pid: int, most: int | None) -> None:
        self._reader = Reader(pid)
        self._growth = None if most is None else Growth(Lines.of(most))
        self._base = self._reader.resident() or 0
        self.used = self._base

    def judge(self, now: float, *, rests: bool) -> Verdict:
        """Say what is to be done with it.

        Args:
            now: seconds of a monotonic clock.
            rests: whether it runs nothing.
        """
        used = self._reader.resident()
        if used is None:
            return Verdict.FINE  # it has ended, which others see
        self.used = used
        if self._growth is not None:
            verdict = self._growth.judge(now, used)
            if verdict is not Verdict.FINE:
                return verdict
        return Verdict.SOFT if rests and used - self._base > GROWN else Verdict.FINE

    def close(self) -> None:
        """Give the descriptor back."""
        self._reader.close()


class Usage:
    """What the workers of one plugin use: bounded from outside, watched, and taken away with them; on the control loop.

    Args:
        allowance: what each may use.

    Attributes:
        every: seconds between two looks.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._held: dict[int, tuple[Watched, Group | None]] = {}
        self.every = SELDOM if allowance.resources.memory is None else EVERY

    async def hold(self, pid: int) -> None:
        """Bound what a process uses, and begin to watch it.

        Raises:
            Unavailable: when it cannot be held, and somebody insists.
        """
        watched, group = Watched(pid, self._allowance.resources.memory), None
        try:
            if self._allowance.holds:
                making = asyncio.get_running_loop().run_in_executor(None, self._allowance.hold, pid)
                try:
                    group = await asyncio.shield(making)
                except asyncio.CancelledError:
                    group = await making  # it is made all the same, and is to be taken away
                    raise
        finally:
            self._held[pid] = watched, group

    def judge(self, pid: int, now: float, *, rests: bool) -> tuple[Verdict, str]:
        """Say what is to be done with a process, and why.

        Args:
            pid: which.
            now: seconds of a monotonic clock.
            rests: whether it runs nothing.
        """
        watched, _ = self._held.get(pid, (None, None))
        if watched is None:
            return Verdict.FINE, ""
        verdict = watched.judge(now, rests=rests)
        if verdict is Verdict.HARD:
            most = self._allowance.resources.memory
            return verdict, f"it used {watched.used:,} bytes of memory, and may use {most:,}"
        return verdict, f"it uses {watched.used:,} bytes of memory, and grows"

    async def let_go(self, pid: int) -> bool:
        """Take away what was around a process that has ended; give whether its memory was why."""
        watched, group = self._held.pop(pid, (None, None))
        if watched is not None:
            watched.close()
        if group is None:
            return False
        killed = group.killed() > 0
        await asyncio.get_running_loop().run_in_executor(None, remove, group)
        return killed

    async def let_go_all(self) -> None:
        """Do so for whatever is left."""
        for pid in list(self._held):
            await self.let_go(pid)


def remove(group: Group) -> None:
    """Take a group away, with what is left in it; what cannot be is swept by a later host."""
    with suppress(Unavailable):
        group.remove()
