"""An event loop in a thread of its own, for those who wait without one."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_END = 5.0  # seconds that what is closed may take
_LAST = 2.0  # seconds of them that its tasks have to end by themselves


class LoopThread:
    """Runs coroutines for threads, and for other event loops; its own thread begins with the first of them.

    Args:
        end: closes what was opened on the loop; awaited before it ends, be it that nobody has closed it.
    """

    def __init__(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._lock = threading.Lock()
        self._end = end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: Callable[[], object] | None = None

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin something, in the context of whoever asks."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    loop = asyncio.new_event_loop()
                    thread = threading.Thread(target=_run, args=(loop,), name="jackfield-client", daemon=True)
                    thread.start()
                    # Who forgets to close a client gets no complaint about it when the process ends.
                    self._over = weakref.finalize(self, _close, loop, thread, self._end)
                    self._loop = loop
        return loop

    def close(self) -> None:
        """End what is under way, and the thread."""
        with self._lock:
            over, self._over, self._loop = self._over, None, None
        if over is not None:
            over()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _close(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, end: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    if not thread.is_alive() or thread is threading.current_thread():  # after a fork there is no such thread
        return
    with suppress(RuntimeError, TimeoutError):
        asyncio.run_coroutine_threadsafe(_finish(end), loop).result(_END)
        loop.call_soon_threadsafe(loop.stop)
    thread.join(_END)


async def _finish(end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await end()
    rest = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    if rest:  # what was closed ends by itself, and grpcio has to see how
        _, rest = await asyncio.wait(rest, timeout=_LAST)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
