"""The one pool of threads for everything sync: as many as are needed at once, kept for a moment, never waited for.

There is no bound here, since a bound could be used up by what hangs; whoever starts something bounds what is under way
(`executors/seats.py`, `events/crew.py`). All threads are daemons: what hangs must not keep the interpreter from ending.
"""

import asyncio
import threading
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
    """A thread and the job that it does, or is about to do."""

    def __init__(self, pool: "Pool", job: _Job) -> None:
        super().__init__(name=job[0], daemon=True)
        self.job: _Job | None = job
        self.woken = threading.Lock()  # released when an idle thread gets a job
        self.woken.acquire()
        self._pool = pool

    def run(self) -> None:
        """Do one job after the other, until there has been none for a while."""
        while self.job is not None:
            name, body, context = self.job
            self.job = None
            self.name = name
            try:
                context.run(body)
            except BaseException as error:  # noqa: BLE001  # a thread of ours serves others afterwards
                host_log("ERROR", f"{name}: {error_type(error)}", stack=frames(error))
            del body, context  # an idle thread keeps no plugin alive
            self.name = _RESTING
            self._pool.rest(self)


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
        # Each idle thread waits on a lock of its own. A `SimpleQueue` for all would be shorter, but on Python 3.11 its
        # `get(timeout=…)` may wait for ever when another thread takes the item.
        self._resting: list[_Worker] = []

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
                worker = self._resting.pop() if self._resting else None
            if worker is None:
                _Worker(self, job).start()
                return
        except (RuntimeError, MemoryError) as error:
            said = str(error) or "out of memory"
            raise ResourceExhausted(name, f"the system gives no more threads ({said})", 1.0) from error
        worker.job = job
        worker.woken.release()

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

    def rest(self, worker: _Worker) -> None:
        """For the threads: wait for a job, at most for a while."""
        with self._lock:
            self._resting.append(worker)
        if not worker.woken.acquire(timeout=_IDLE):
            with self._lock:
                try:
                    self._resting.remove(worker)
                except ValueError:
                    pass  # a job is on its way
                else:
                    return
            worker.woken.acquire()


def _settle(
    future: "asyncio.Future[tuple[Any, BaseException | None]]", value: Any, failure: BaseException | None
) -> None:
    if not future.done():  # else its waiter was cancelled
        future.set_result((value, failure))
