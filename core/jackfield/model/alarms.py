"""Timers that hardly ever fire, for many at once: nearly all deadlines are taken back long before their time.

A loop's own timer costs a call more than most calls do: uvloop opens a handle of libuv for each, and closes it in the
loop's next turn. Here those whose time comes within the same twentieth of a second wait together for one timer of the
loop, and only those that are still there at its beginning get timers of their own. (A timing wheel of two levels:
Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987.)
"""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Final

_WIDTH: Final = 0.05  # seconds
_HORIZON: Final = 60.0  # seconds; who waits for longer is so rare that it has a timer of the loop


class Alarm:
    """Calls something at a time, on the loop that runs in this thread, unless it is cancelled before.

    Args:
        loop: that runs here.
        at: when, on `time.monotonic`'s clock.
        ring: what is called.
    """

    __slots__ = ("_at", "_handle", "_ring", "_slot")

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float, ring: Callable[[], object]) -> None:
        self._at, self._ring = at, ring
        self._slot: set[Alarm] | None = None
        self._handle: asyncio.TimerHandle | None = None
        left = at - monotonic()
        if _WIDTH < left < _HORIZON:
            wheel = _here.wheel
            if wheel is None or wheel.loop() is not loop:  # a thread may run one loop after the other
                wheel = _here.wheel = _Wheel(loop)
            number = int(at / _WIDTH)
            slot = self._slot = wheel.slots.get(number) or wheel.opened(loop, number)
            slot.add(self)
        else:
            self._handle = loop.call_later(left, ring)

    def begin(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Have a timer of the loop: it is nearly time."""
        self._slot = None
        self._handle = loop.call_later(self._at - now, self._ring)

    def cancel(self) -> None:
        """Call nothing, and let go of what would be called, which most often holds this."""
        self._ring = _nothing
        if self._slot is not None:
            self._slot.discard(self)
        elif self._handle is not None:
            self._handle.cancel()


def _nothing() -> None:
    """Be what a cancelled alarm rings."""


class _Wheel:
    """The alarms of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.slots: dict[int, set[Alarm]] = {}

    def opened(self, loop: asyncio.AbstractEventLoop, number: int) -> set[Alarm]:
        """Give the alarms of a slot that has none yet."""
        slot = self.slots.get(number)
        if slot is None:
            slot = self.slots[number] = set()
            # Not in the context of whoever is the first in it, which would be kept till then, with all that it has.
            loop.call_later(number * _WIDTH - monotonic(), self._begin, loop, number, context=Context())
        return slot

    def _begin(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        now = monotonic()
        for alarm in self.slots.pop(number):
            alarm.begin(loop, now)


class _Here(threading.local):
    wheel: _Wheel | None = None


_here: Final = _Here()
