"""The calls of a store that are not settled, as one host knows them: a few words of each, never its payload."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from sys import intern

import attrs

from jackfield.durable.records import State
from jackfield.model.submission import SubmissionState


@attrs.define(eq=False)
class Open:
    """A call that is not settled.

    Attributes:
        function: its name; "" while only its state is known.
        submitted: seconds since the epoch.
        status: accepted or running.
        owner: the runner that has it.
        turn: the number of its place in the queue; with another, that place is an old one.
    """

    function: str
    submitted: float
    status: SubmissionState = SubmissionState.ACCEPTED
    owner: str = ""
    turn: int = -1


class Backlog:
    """Knows what is to be run, in the order in which it came; belongs to the store's loop.

    Args:
        clock: monotonic seconds.
        runs: tells whether a function is one of this host.
        room: gives how many calls of a function are run at once, or None for no such bound.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        runs: Callable[[str], bool],
        room: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._runs = runs
        self._room = room
        self._inside: dict[str, str] = {}  # call → its function, of those with a bound
        self._crowded: dict[str, deque[str]] = {}  # function → what waits for one of its calls to end
        self._open: dict[str, Open] = {}
        self._queue: list[tuple[float, int, str]] = []
        self._turns = count()
        self._changed = asyncio.Event()
        self._settled: dict[str, set[asyncio.Future[None]]] = {}

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._open

    @property
    def waiting(self) -> int:
        """How many wait to be run, by any host."""
        return sum(each.status is SubmissionState.ACCEPTED for each in list(self._open.values()))

    @property
    def running(self) -> int:
        """How many are being run, by any host."""
        return len(self._open) - self.waiting

    @property
    def oldest(self) -> float | None:
        """When the oldest of them was submitted, or None."""
        return min((each.submitted for each in list(self._open.values()) if each.submitted), default=None)

    def owned(self) -> dict[str, list[str]]:
        """Give the calls that runners have, by runner."""
        found: dict[str, list[str]] = {}
        for identifier, each in self._open.items():
            if each.status is SubmissionState.RUNNING:
                found.setdefault(each.owner, []).append(identifier)
        return found

    def accept(self, identifier: str, function: str, submitted: float) -> None:
        """Learn of a call."""
        known = self._open.get(identifier)
        if known is None:
            self._open[identifier] = known = Open(intern(function), submitted)
            self._enqueue(identifier, known, 0.0)
        elif not known.function:  # its state was heard of first
            known.function, known.submitted = intern(function), submitted
            if known.status is SubmissionState.ACCEPTED:
                self._enqueue(identifier, known, 0.0)

    def note(self, identifier: str, state: State) -> None:
        """Learn what has become of a call."""
        if state.status.settled:
            self.forget(identifier)
            return
        known = self._open.get(identifier)
        if known is None:
            known = self._open[identifier] = Open("", 0.0)
        known.status, known.owner = state.status, state.owner
        if state.status is SubmissionState.ACCEPTED:
            self._enqueue(identifier, known, state.pause)
        else:
            known.turn = -1

    def forget(self, identifier: str) -> None:
        """Learn that a call is settled, or gone."""
        self._open.pop(identifier, None)
        for waiter in self._settled.pop(identifier, ()):
            if not waiter.done():
                waiter.set_result(None)

    def again(self, identifier: str, pause: float = 0.0) -> None:
        """Have a look at a call, which another runner had, or whose turn could not be used."""
        known = self._open.get(identifier)
        if known is not None:
            self._enqueue(identifier, known, pause)

    def _enqueue(self, identifier: str, known: Open, pause: float) -> None:
        known.turn = next(self._turns)
        heapq.heappush(self._queue, (self._clock() + pause if pause else 0.0, known.turn, identifier))
        self._changed.set()

    async def next(self, aside: float) -> str:
        """Give the next call to look at; wait for one.

        Args:
            aside: seconds after which one is looked at again whose function this host has not.
        """
        while True:
            self._changed.clear()
            while self._queue and self._queue[0][0] <= self._clock():
                _, turn, identifier = heapq.heappop(self._queue)
                known = self._open.get(identifier)
                if known is None or known.turn != turn or not known.function:
                    continue
                if not self._runs(known.function):
                    self._enqueue(identifier, known, aside)
                    continue
                known.turn = -1
                if not self._enters(identifier, known.function):
                    self._crowded.setdefault(known.function, deque()).append(identifier)
                    continue
                return identifier
            pause = self._queue[0][0] - self._clock() if self._queue else None
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _enters(self, identifier: str, function: str) -> bool:
        """Give a call a place among those of its function, if there is one."""
        room = self._room(function)
        if room is None:
            return True
        if sum(each == function for each in self._inside.values()) >= room:
            return False
        self._inside[identifier] = function
        return True

    def left(self, identifier: str) -> None:
        """Learn that this host does nothing with a call any more, so that another one of its function may begin."""
        self._inside.pop(identifier, None)
        for function, crowd in list(self._crowded.items()):
            while crowd:
                known = self._open.get(waiting := crowd.popleft())
                if known is not None and known.turn == -1 and waiting not in self._inside:
                    self._enqueue(waiting, known, 0.0)  # which looks again whether there is room
                    break
            if not crowd:
                del self._crowded[function]

    # --- Those who wait for the end of one --------------------------------------------------------------------------

    def ending(self, identifier: str) -> "asyncio.Future[None]":
        """Give what is done when a call is settled, as far as this host hears of it from now on."""
        waiter = asyncio.get_running_loop().create_future()
        self._settled.setdefault(identifier, set()).add(waiter)
        return waiter

    def leave(self, identifier: str, waiter: "asyncio.Future[None]") -> None:
        """Wait no longer."""
        waiters = self._settled.get(identifier)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._settled[identifier]

    def wake(self) -> None:
        """Have everybody who waits look again: something may have been missed."""
        for waiters in self._settled.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        self._settled.clear()
