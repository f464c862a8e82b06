"""What somebody waits for, in a thread or on an event loop, and whoever has it settles."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

_NONE: Final = object()


class Ticket:
    """Something that somebody waits for; whoever has it settles it.

    Attributes:
        value: what came, once it is settled.
        error: why nothing will.
    """

    __slots__ = ("_tell", "_woken", "error", "value")

    def __init__(self, tell: Callable[[], object] | None = None) -> None:
        self.value: Any = _NONE
        self.error: BaseException | None = None
        self._tell = tell
        self._woken: threading.Lock | None = None

    @property
    def done(self) -> bool:
        """Whether it is settled."""
        return self.value is not _NONE or self.error is not None

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Give it what it waits for; for whoever has it."""
        self.value, self.error = value, error
        self.wake()
        if self._tell is not None:
            self._tell()

    def wake(self) -> None:
        """Have its thread look again, if one waits."""
        woken = self._woken
        if woken is not None:
            try:
                woken.release()
            except RuntimeError:  # it has been woken already
                return

    def sleep(self, timeout: float | None) -> bool:
        """Wait until it is woken; for its own thread. Give whether it was, in time."""
        woken = self._woken
        assert woken is not None  # noqa: S101  # `prepare` comes first
        return woken.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def prepare(self) -> None:
        """Make it possible to sleep for it. Whether it is done must be looked at afterwards: nobody wakes it before."""
        if self._woken is None:
            woken = threading.Lock()
            woken.acquire()
            self._woken = woken

    def result(self) -> Any:
        """Give what came, or raise why nothing will."""
        if self.error is not None:
            raise self.error
        return self.value


def resolve(came: "asyncio.Future[None]") -> None:
    """End the wait for a future, unless its waiter was cancelled; on its loop."""
    if not came.done():
        came.set_result(None)


def teller(loop: asyncio.AbstractEventLoop, came: "asyncio.Future[None]") -> Callable[[], object]:
    """Give what resolves a future of a loop from any thread, and from the loop itself without waking it."""

    def tell() -> None:
        if asyncio._get_running_loop() is loop:  # noqa: SLF001  # documented; does not raise
            resolve(came)
            return
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(resolve, came)

    return tell
