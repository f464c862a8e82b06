"""The control loop: the one thread on which a host supervises itself.

Starts, stops, restarts, health checks, what is kept warm, looks at canaries, periodic work of plugins and the control
socket are coroutines and timers here. Nobody else's code runs on it: what may block or hang is sent to the pool or to
the home loop and awaited under a time limit. Calls of functions never touch it.
"""

import asyncio
import selectors
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

from jackfield.errors import Unavailable
from jackfield.ports import Clock
from jackfield.runtime import loops
from jackfield.runtime.clock import SystemClock

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is a clock's, so that every timer on it follows a fake one, too."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.left: dict[object, Callable[[], object]] = {}

    def time(self) -> float:
        return self._clock()

    def close(self) -> None:
        left, self.left = self.left, {}
        for end in left.values():
            end()
        super().close()


def at_the_latest(end: Callable[[], object]) -> Callable[[], object]:
    """Have something done when the control loop that runs here ends, on its thread: nobody may have stopped the host.

    Args:
        end: what; it must not refer to the host, and raises nothing.

    Returns:
        What takes that back, on the loop.
    """
    loop, key = asyncio.get_running_loop(), object()
    if not isinstance(loop, _Loop):
        return lambda: None
    loop.left[key] = end
    return lambda: loop.left.pop(key, None)


class ControlLoop:
    """Runs a host's own coroutines on a daemon thread that starts when it is first needed.

    Args:
        clock: where the time of all timers comes from.
        name: what it is for: `control`, or `store` for one beside it.

    Examples:
        >>> async def add(a: int, b: int) -> int:
        ...     return a + b
        >>> control = ControlLoop()
        >>> control.run(add(1, 2))
        3
        >>> control.close()
    """

    def __init__(self, clock: Clock | None = None, name: str = "control") -> None:
        self._name = name
        self.clock: Clock = clock or SystemClock()
        # Reentrant: the garbage collector may run a finalizer that posts something, at any line.
        self._lock = threading.RLock()
        self._loop: _Loop | None = None
        self._thread: threading.Thread | None = None
        self._stop: weakref.finalize[Any, Any] | None = None
        self._awaited: set[Future[Any]] = set()  # what others wait for
        self._keepers: set[object] = set()
        self._closed = False

    @property
    def is_here(self) -> bool:
        """Whether this very thread is the control loop's."""
        return self._thread is threading.current_thread()

    @property
    def busy_at(self) -> str:
        """The line that its thread executes, of whatever blocks the loop; "" while it waits for something to do."""
        thread = self._thread
        frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None  # noqa: SLF001  # for debuggers
        if frame is None or frame.f_code.co_filename == selectors.__file__:
            return ""
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def post(self, action: Callable[..., object], *args: object) -> None:
        """Have something done on the loop, soon and in order; it must be quick and of the host's own.

        Args:
            action: what to call.
            *args: with what.

        Raises:
            ResourceExhausted: if the system gives no thread for the loop.
        """
        with self._lock:
            self._running().call_soon_threadsafe(action, *args, context=Context())

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin a coroutine on the loop, from any thread, in an empty context.

        Args:
            coroutine: what to run.

        Returns:
            Its result to come; cancelling that cancels the coroutine.

        Raises:
            ResourceExhausted: if the system gives no thread for the loop.
        """
        try:
            # Under the lock: what is scheduled at all is scheduled before `close` has the loop stop, and ends with it.
            with self._lock:
                loop = self._running()
                future = Context().run(asyncio.run_coroutine_threadsafe, coroutine, loop)
                awaited = self._awaited
                awaited.add(future)
        except BaseException:
            coroutine.close()
            raise
        future.add_done_callback(awaited.discard)
        return future

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it, from any other thread.

        Args:
            coroutine: what to run.
            timeout: seconds to wait for it.

        Returns:
            What it returns.

        Raises:
            ResourceExhausted: if the system gives no thread for the loop.
            TimeoutError: when it takes longer; it is cancelled.
            Unavailable: on the loop itself, which would wait for itself; or when the loop ends meanwhile.
        """
        if self.is_here:
            coroutine.close()
            raise Unavailable("the control loop", "it cannot wait for itself: await this instead")
        future = self.submit(coroutine)
        try:
            return future.result(timeout)
        except CancelledError:
            raise Unavailable("the control loop", "the host has stopped meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def keep(self) -> Callable[[], None]:
        """Have the loop go on although its host is closed: something else still lives there.

        Returns:
            What ends that; it closes the loop, if that was closed meanwhile and nobody else keeps it.
        """
        token = object()
        with self._lock:
            self._keepers.add(token)

        def let_go() -> None:
            with self._lock:
                self._keepers.discard(token)
                closed = self._closed
            if closed:
                self.close()

        return let_go

    def close(self, timeout: float = 5.0) -> None:
        """Cancel what still runs and end the thread; whatever comes later starts another one.

        Args:
            timeout: seconds to wait for the thread.
        """
        with self._lock:
            self._closed = True
            if self._keepers:
                return
            thread, stop = self._thread, self._stop
            self._loop = self._thread = self._stop = None
            if stop is not None:
                stop()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _running(self) -> _Loop:
        """Give the loop, in a new thread if there is none. The lock is held."""
        if self._loop is None:
            awaited: set[Future[Any]] = set()
            loop, thread = loops.start(
                f"jackfield-{self._name}", f"the {self._name} loop", partial(_Loop, self.clock), awaited
            )
            self.clock.on_jump(_waker(loop))
            # The thread holds the loop alone, so that a host that is dropped takes it along.
            self._stop = weakref.finalize(self, _end, loop)
            self._stop.atexit = False
            self._loop, self._thread, self._awaited, self._closed = loop, thread, awaited, False
        return self._loop


def _waker(loop: _Loop) -> Callable[[], None]:
    """Make what has a loop look at its clock again."""
    reference = weakref.ref(loop)

    def wake() -> None:
        there = reference()
        if there is not None:
            _threadsafe(there, int)

    return wake


def _end(loop: _Loop) -> None:
    _threadsafe(loop, loop.stop)


def _threadsafe(loop: _Loop, action: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(action)
    except RuntimeError:  # it is closed
        return
