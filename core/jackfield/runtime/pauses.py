"""Waiting for some time, which ends at once when the host stops."""

import asyncio
import threading
from contextlib import suppress


class Pauses:
    """The pauses of one host, in any thread and on any event loop.

    Examples:
        >>> pauses = Pauses()
        >>> pauses.wait(0.0)
        True
        >>> pauses.end()
        >>> pauses.wait(3600.0)
        False
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        # Without a lock: each is one step of a dict, and whoever comes after `end` sees the event.
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def begin(self) -> None:
        """Allow pauses, after an earlier `end`."""
        self._ended.clear()

    def end(self) -> None:
        """End all pauses, those that are to come included."""
        self._ended.set()
        for future, loop in self._waiting.copy().items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_wake, future)

    def wait(self, seconds: float) -> bool:
        """Block this thread.

        Args:
            seconds: how long at most.

        Returns:
            Whether the time has passed; False when `end` was called.
        """
        return not self._ended.wait(min(seconds, threading.TIMEOUT_MAX))

    async def sleep(self, seconds: float) -> bool:
        """Do the same without blocking the running event loop."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting[future] = loop
        timer = loop.call_later(seconds, _wake, future)
        try:
            if not self._ended.is_set():
                await future
        finally:
            timer.cancel()
            del self._waiting[future]
        return not self._ended.is_set()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
