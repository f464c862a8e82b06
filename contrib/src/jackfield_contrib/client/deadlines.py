"""Deadlines of many tasks by few timers: a timer each would cost a call as much as all else that is done for it."""

import asyncio
from time import monotonic
from types import TracebackType
from typing import Final

_STEPS: Final = 64  # a second: deadlines that are nearer to one another share a timer, and may be late by so much


class Deadlines:
    """Ends what tasks of an event loop do when their time is up.

    Args:
        loop: where they run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, dict[Deadline, None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def step(self, number: int) -> "dict[Deadline, None]":
        """Give those that have the same timer."""
        found = self._steps.get(number)
        if found is None:
            found = self._steps[number] = {}
            left = max((number + 1) / _STEPS - monotonic(), 0.0)
            self._timers[number] = self._loop.call_later(left, self._fire, number)
        return found

    def drop(self, number: int) -> None:
        """Let go of a timer that nobody has any more."""
        if self._steps.pop(number, None) is not None:
            self._timers.pop(number).cancel()

    def _fire(self, number: int) -> None:
        del self._timers[number]
        for entry in list(self._steps.pop(number)):
            entry.fire()


class Deadline:
    """Raises `TimeoutError` out of a block when the time is up, as `asyncio.timeout_at` does.

    Args:
        watch: watches it.
        at: when that is, on `time.monotonic`'s clock.
    """

    __slots__ = ("_cancelling", "_fired", "_number", "_step", "_task", "_watch")

    def __init__(self, watch: Deadlines, at: float) -> None:
        self._watch = watch
        self._number = int(at * _STEPS)
        self._fired = False

    def fire(self) -> None:
        """End what is in the block."""
        self._fired = True
        self._task.cancel()

    def __enter__(self) -> None:
        """Begin."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is of a task")
        self._task, self._cancelling = task, task.cancelling()
        self._step = self._watch.step(self._number)
        self._step[self] = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """End, with `TimeoutError` if that is why."""
        if self._fired:
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error
            return
        del self._step[self]
        if not self._step:
            self._watch.drop(self._number)
