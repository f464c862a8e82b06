"""Deadlines of many tasks by few timers: a timer each would cost a call more than all else that is done for it."""

import asyncio
from time import monotonic
from types import TracebackType
from typing import Final

_STEP: Final = 1 / 64  # seconds that a deadline may be late; those that are nearer to one another share a timer


class Deadlines:
    """Ends what tasks of an event loop do when their time is up.

    Args:
        loop: where they run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, tuple[dict[Deadline, None], asyncio.TimerHandle]] = {}

    def add(self, entry: "Deadline") -> None:
        """Watch a deadline."""
        step = self._steps.get(entry.step)
        if step is None:
            timer = self._loop.call_later(max((entry.step + 1) * _STEP - monotonic(), 0.0), self._fire, entry.step)
            step = self._steps[entry.step] = {}, timer
        step[0][entry] = None

    def remove(self, entry: "Deadline") -> None:
        """Watch it no more."""
        step = self._steps.get(entry.step)
        if step is not None:
            step[0].pop(entry, None)
            if not step[0]:
                step[1].cancel()
                del self._steps[entry.step]

    def _fire(self, number: int) -> None:
        for entry in self._steps.pop(number, ({}, None))[0]:
            entry.fire()


class Deadline:
    """Raises `TimeoutError` out of a block, as `asyncio.timeout_at` does, when the time is up.

    Args:
        watch: watches it.
        at: when that is, on `time.monotonic`'s clock.
    """

    __slots__ = ("_cancelling", "_fired", "_task", "_watch", "step")

    def __init__(self, watch: Deadlines, at: float) -> None:
        self._watch = watch
        self.step = int(at / _STEP)
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
        self._watch.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """End, with `TimeoutError` if that is why."""
        self._watch.remove(self)
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
