"""Threads for what plugins do: as many as are needed at once, kept for a moment, never waited for.

There is no bound here, since a bound could be used up by those that hang; whoever submits bounds what is under way. All
are daemons: a plugin that hangs must not keep the interpreter from ending.
"""

import threading
from collections.abc import Callable
from contextvars import Context

from jackfield.observe.logger import host_log
from jackfield.observe.stack import error_type, frames

_IDLE = 0.5  # seconds that a thread waits for more to do
_RESTING = "jackfield-idle"
_Job = tuple[str, Callable[[], object]]


class _Worker(threading.Thread):
    """A thread and the job that it does, or is about to do."""

    def __init__(self, hands: "Hands", job: _Job) -> None:
        super().__init__(name=job[0], daemon=True)
        self.job: _Job | None = job
        self.woken = threading.Lock()  # released when an idle thread gets a job
        self.woken.acquire()
        self._hands = hands

    def run(self) -> None:
        """Do one job after the other, until there has been none for a while."""
        while self.job is not None:
            name, body = self.job
            self.job = None
            self.name = name
            try:
                Context().run(body)
            except BaseException as error:  # noqa: BLE001  # a thread of ours serves others afterwards
                host_log("ERROR", f"{name}: {error_type(error)}", stack=frames(error))
            del body  # an idle thread keeps no plugin alive
            self.name = _RESTING
            self._hands.rest(self)


class Hands:
    """An elastic set of daemon threads, each named after what it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Each idle thread waits on a lock of its own. A `SimpleQueue` for all would be shorter, but on Python 3.11 its
        # `get(timeout=…)` may wait for ever when another thread takes the item.
        self._resting: list[_Worker] = []

    def submit(self, name: str, body: Callable[[], object]) -> None:
        """Run something at once, in a thread of its own and in an empty context.

        Args:
            name: what the thread is called meanwhile.
            body: what to run; whatever it raises is logged.

        Raises:
            RuntimeError: if the system gives no more threads.
        """
        with self._lock:
            worker = self._resting.pop() if self._resting else None
        if worker is None:
            _Worker(self, (name, body)).start()
        else:
            worker.job = name, body
            worker.woken.release()

    def rest(self, worker: _Worker) -> None:
        """For the threads: wait for a job, at most for a while."""
        with self._lock:
            self._resting.append(worker)
        if not worker.woken.acquire(timeout=_IDLE):
            with self._lock:
                if worker in self._resting:
                    self._resting.remove(worker)
                    return
            worker.woken.acquire()  # a job is on its way
