"""The one pool of threads for everything sync: as many as are needed at once, kept for a moment, never waited for.

There is no bound here, since a bound could be used up by what hangs; whoever starts something bounds what is under way
(`executors/seats.py`, `events/crew.py`). All threads are daemons: what hangs must not keep the interpreter from ending.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

from jackfield.errors import ResourceExhausted
from jackfield.log import host_log
from jackfield.stack import error_type, frames

T = TypeVar("T")

_IDLE = 0.5  # seconds that a thread waits for more to do
_RESTING = "jackfield-idle"
_Job = tuple[str, Callable[[], object], Context]


class _Worker(threading.Thread):
    """A thread that does one job after the other, until there has been none for a while."""

    def __init__(self, pool: "Pool") -> None:
        super().__init__(name=_RESTING, daemon=True)
        self.woken = threading.Lock()  # released when an idle thread is to look for a job
        self.woken.acquire()
        self._pool = pool

    def run(self) -> None:
        """Do what there is to do."""
        take = self._pool.take
        job = take(self)
        while job is not None:
            name, body, context = job
            self.name = name
            try:
                context.run(body)
            except BaseException as error:  # noqa: BLE001  # a thread of ours serves others afterwards
                host_log("ERROR", f"{name}: {error_type(error)}", stack=frames(error))
            del job, body, context  # an idle thread keeps no plugin alive
            job = take(self)


class Pool:
    """An elastic set of daemon threads, each named after what it does.

    Examples:
        >>> import queue
        >>> said = queue.Queue()
        >>> Pool().start("greeter", lambda: said.put("hello"))
        >>> said.get(timeout=5.0)
        'hello'
    """

    def __init__(self) -> None:
        # Reentrant: the garbage collector may run a finalizer that starts something, at any line.
        self._lock = threading.RLock()
        # A job is for whichever thread comes first: one that has just ended another need not be woken for it. There are
        # never more jobs than threads that are idle or on their way, so that what hangs holds up nobody. One idle
        # thread at a time is woken, and wakes the next.
        self._jobs: deque[_Job] = deque()
        self._coming: set[_Worker] = set()
        # Each idle thread waits on a lock of its own. A `SimpleQueue` for all would be shorter, but on Python 3.11 its
        # `get(timeout=…)` may wait for ever when another thread takes the item.
        self._resting: dict[_Worker, None] = {}

    @property
    def idle(self) -> int:
        """How many threads wait for something to do."""
        return len(self._resting)

    def start(self, name: str, body: Callable[[], object]) -> None:
        """Run something at once, in a thread and in an empty context.

        Args:
            name: what the thread is called meanwhile.
            body: what to run; whatever it raises is logged.

        Raises:
            ResourceExhausted: if the system gives no more threads; nothing has begun then.
        """
        try:
            job = name, body, Context()  # made here: a thread that runs out of memory for it could tell nobody
            with self._lock:
                if len(self._jobs) < len(self._resting) + len(self._coming):
                    self._jobs.append(job)
                    self._wake()
                    return
            worker = _Worker(self)
            try:
                with self._lock:
                    self._coming.add(worker)
                    self._jobs.append(job)
                worker.start()
            except BaseException:
                if self._withdraw(job, worker):
                    raise
        except (RuntimeError, MemoryError) as error:
            said = str(error) or "out of memory"
            raise ResourceExhausted(name, f"the system gives no more threads ({said})", 1.0) from error

    async def run(self, name: str, body: Callable[[], T]) -> T:
        """Run something in a thread and await its end, from any event loop.

        Who is cancelled meanwhile is freed at once; the thread goes on until the body returns.

        Args:
            name: what the thread is called meanwhile.
            body: what to run.

        Returns:
            What the body returns.

        Raises:
            BaseException: whatever the body raises.
            ResourceExhausted: if the system gives no more threads; nothing has begun then.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def job() -> None:
            nonlocal body
            value, failure = None, None
            try:
                value = body()
            except BaseException as error:  # noqa: BLE001  # raised where it is awaited
                failure = error
            del body  # before anybody knows of the end: who waits for it may count on it that nothing is held here
            try:
                loop.call_soon_threadsafe(_settle, ended, value, failure)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        self.start(name, job)
        value, failure = await ended
        if failure is not None:
            raise failure
        result: T = value
        return result

    def take(self, worker: _Worker) -> _Job | None:
        """For the threads: get a job, or wait for one, at most for a while; None when the thread is to end."""
        patient = True
        while True:
            with self._lock:
                self._coming.discard(worker)
                self._resting.pop(worker, None)
                if self._jobs:
                    job = self._jobs.popleft()
                    self._wake()
                    return job
                if not patient:
                    return None
                self._resting[worker] = None
            worker.name = _RESTING
            patient = worker.woken.acquire(timeout=_IDLE)

    def _wake(self) -> None:
        """Have an idle thread look for a job, if there is one and nobody is on the way. The lock is held."""
        if self._jobs and self._resting and not self._coming:
            worker, _ = self._resting.popitem()
            self._coming.add(worker)
            worker.woken.release()

    def _withdraw(self, job: _Job, worker: _Worker) -> bool:
        """Take back a job whose thread did not start, unless one that has just ended another has taken it."""
        with self._lock:
            self._coming.discard(worker)
            waiting = [each for each in self._jobs if each is not job]
            begun = len(waiting) == len(self._jobs)
            self._jobs = deque(waiting)
            self._wake()
        return not begun


def _settle(
    future: "asyncio.Future[tuple[Any, BaseException | None]]", value: Any, failure: BaseException | None
) -> None:
    if not future.done():  # else its waiter was cancelled
        future.set_result((value, failure))
