"""An event loop on a daemon thread of its own: what the control loop and an own home loop have in common."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Final, TypeVar

from jackfield.errors import ResourceExhausted

L = TypeVar("L", bound=asyncio.AbstractEventLoop)

_UNWINDING: Final = 1.0  # seconds that coroutines have for their clean-up when their loop ends


def start(name: str, what: str, make: Callable[[], L], awaited: "set[Future[Any]]") -> tuple[L, threading.Thread]:
    """Make a loop, and run it in a thread until it is stopped; what still runs on it then is cancelled.

    Args:
        name: of the thread.
        what: needs it, for the error.
        make: makes the loop.
        awaited: what others wait for; whatever of it has not ended with the loop is cancelled.

    Raises:
        ResourceExhausted: if the system gives no thread or no files for it.
    """
    loop = None
    try:
        loop = make()
        thread = threading.Thread(target=_serve, args=(loop, awaited), name=name, daemon=True)
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:
        if loop is not None:
            loop.close()
        said = str(error) or "out of memory"
        raise ResourceExhausted(what, f"the system gives no thread for the event loop ({said})", 1.0) from error
    return loop, thread


def _serve(loop: asyncio.AbstractEventLoop, awaited: "set[Future[Any]]") -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        ends = monotonic() + _UNWINDING
        while (tasks := asyncio.all_tasks(loop)) and (left := ends - monotonic()) > 0:  # what begins meanwhile as well
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=left))
        for task in asyncio.all_tasks(loop):  # it swallows its cancellation; which call that was, the host has said
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # as `gather` does
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        for future in awaited.copy():  # of tasks that would not end: nobody will settle them any more
            future.cancel()
        loop.close()
