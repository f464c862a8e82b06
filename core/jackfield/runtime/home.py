"""The home loop: the one event loop on which a host runs everything async of its plugins."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from time import monotonic
from typing import Any, TypeVar

from jackfield.errors import AsyncCallRequired, Cancelled, DeadlineExceeded, Unavailable
from jackfield.model.call import Call
from jackfield.runtime import loops

T = TypeVar("T")

# A coroutine's own timer ends it at the deadline. Only when the loop itself is blocked does nobody answer: then the
# waiting thread is freed this many seconds later.
_GRACE = 0.25
_WOUND_UP = "the host stops, or the function's task was cancelled"
_BLOCKED = "the home loop is blocked: a coroutine on it does not await"
_STUBBORN = "it was cancelled, and has not ended: it swallows its cancellation, or its clean-up takes long"


class HomeLoop:
    """The loop that `async with host` was entered on, else one in a thread of its own that starts when first needed.

    Attributes:
        factory: makes the one of its own.
    """

    def __init__(self) -> None:
        self.factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
        # Reentrant: the garbage collector may run a finalizer that calls something, at any line.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._awaited: set[Future[Any]] = set()  # what others wait for of an own loop
        self._closed = False

    def adopt(self) -> None:
        """Make the running loop the home loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._closed = False

    def open(self) -> None:
        """Allow a loop to be started, after an earlier `close`."""
        with self._lock:
            self._closed = False

    @property
    def post(self) -> Callable[[Callable[[], object]], object] | None:
        """What has something done on the loop, soon, from any thread; None when no loop runs.

        It raises RuntimeError when the loop has been closed.
        """
        loop = self._loop
        return None if loop is None else loop.call_soon_threadsafe

    @property
    def is_here(self) -> bool:
        """Whether the home loop is the one running in this thread."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop  # noqa: SLF001  # documented; does not raise

    def call(self, call: Call, walk: Callable[[Call], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function at home and wait for it, from a thread without a running loop.

        Args:
            call: the call.
            walk: what to run.

        Raises:
            AsyncCallRequired: inside a running loop, which waiting would block.
            DeadlineExceeded: when the loop does not answer in time.
            Cancelled: when the coroutine was cancelled by somebody else, or ended with its loop.
            ResourceExhausted: when the system gives no thread for the loop.
            Unavailable: when the loop is gone.
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  # documented; does not raise
            raise AsyncCallRequired(call.name)
        future = self.submit(call.name, walk(call))
        timeout = None
        if call.deadline is not None:
            timeout = min(max(call.deadline - monotonic(), 0.0) + _GRACE, threading.TIMEOUT_MAX)
        try:
            return future.result(timeout)
        except TimeoutError:
            reason = _STUBBORN if self._answers() else _BLOCKED
            if future.done():
                return future.result()
            # It is not cancelled once more: its own timer does that, and its clean-up is not to be interrupted.
            overdue = monotonic() - (call.deadline or 0.0)
            raise DeadlineExceeded(call.name, overdue, reason) from None
        except CancelledError:
            raise Cancelled(call.name, _WOUND_UP) from None
        except BaseException:
            future.cancel()  # KeyboardInterrupt while waiting
            raise

    def _answers(self) -> bool:
        """Tell whether the loop gets round to anything."""
        answered = threading.Event()
        post = self.post
        try:
            if post is not None:
                post(answered.set)
        except RuntimeError:  # it is closed
            return False
        return answered.wait(_GRACE)

    async def hop(self, call: Call, walk: Callable[[Call], Coroutine[Any, Any, T]]) -> T:
        """Await a coroutine function that runs at home, from another loop; a cancel reaches it there.

        Raises:
            Cancelled: when the coroutine was cancelled by somebody else, or ended with its loop; as for `call` else.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        future = self.submit(call.name, walk(call))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # asyncio's own error is for whoever was cancelled: this task, not the one at home.
            if not future.cancelled() or (task is not None and task.cancelling() > before):
                raise
            raise Cancelled(call.name, _WOUND_UP) from None

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine of the host's own at home and wait for it, from any other thread.

        Args:
            coroutine: what to run.
            timeout: seconds to wait for it.

        Raises:
            Cancelled: when it ended with its loop.
            TimeoutError: when it takes longer; it is cancelled.
        """
        future = self.submit("host", coroutine)
        try:
            return future.result(timeout)
        except CancelledError:
            raise Cancelled("host", _WOUND_UP) from None
        except BaseException:
            future.cancel()
            raise

    def submit(self, what: str, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Schedule a coroutine at home, with this context's variables.

        Raises:
            ResourceExhausted: if the system gives no thread for the loop.
            Unavailable: if the home loop is gone.
        """
        try:
            # Under the lock: what is scheduled at all is scheduled before `close` has the loop stop, and ends with it.
            with self._lock:
                loop = self._running(what)
                future = _send(coroutine, loop)
                awaited = self._awaited
                if self._thread is not None:
                    awaited.add(future)
        except RuntimeError as error:
            coroutine.close()
            raise Unavailable(what, "the host's event loop has been closed") from error
        except BaseException:
            coroutine.close()
            raise
        future.add_done_callback(awaited.discard)
        return future

    def _running(self, what: str) -> asyncio.AbstractEventLoop:
        """Give the loop, in a thread of its own if there is none. The lock is held."""
        if self._loop is None:
            if self._closed:
                raise Unavailable(what, "the host has stopped")
            awaited: set[Future[Any]] = set()
            loop, thread = loops.start("jackfield-loop", what, self.factory, awaited)
            self._loop, self._thread, self._awaited = loop, thread, awaited
        return self._loop

    def close(self, timeout: float = 5.0) -> None:
        """Stop an own loop: cancel what still runs on it, then end its thread. A loop that was adopted is left alone.

        Args:
            timeout: seconds to wait for the thread.
        """
        with self._lock:
            self._closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            if loop is not None and thread is not None:
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)


def _send(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> "Future[T]":
    """Do as `asyncio.run_coroutine_threadsafe` does, for callers who may leave.

    asyncio prints the error of a coroutine whose future was cancelled as "never retrieved". It is no news: observers
    have seen it, and who has left does not want it any more.
    """
    future: Future[T] = Future()

    def begin() -> None:
        task = loop.create_task(coroutine)
        task.add_done_callback(settle)
        future.add_done_callback(lambda _: pass_on(task))

    def pass_on(task: asyncio.Task[T]) -> None:
        if future.cancelled() and not task.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)

    def settle(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            future.cancel()
        error = None if task.cancelled() else task.exception()
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    loop.call_soon_threadsafe(begin)
    return future
