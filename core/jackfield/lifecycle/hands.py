"""Threads for what plugins do: as many as are needed at once, kept for a moment, never waited for.

There is no bound here, since a bound could be used up by those that hang; whoever submits bounds what is under way. All
are daemons: a plugin that hangs must not keep the interpreter from ending.
"""

import threading
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue

from jackfield.observe.logger import host_log
from jackfield.observe.stack import error_type, frames

_IDLE = 0.5  # seconds that a thread waits for more to do
_RESTING = "jackfield-idle"
_Job = tuple[str, Callable[[], object]]


class Hands:
    """An elastic set of daemon threads, each named after what it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait and that no job is on its way to
        self._jobs: SimpleQueue[_Job] = SimpleQueue()

    def submit(self, name: str, body: Callable[[], object]) -> None:
        """Run something at once, in a thread of its own and in an empty context.

        Args:
            name: what the thread is called meanwhile.
            body: what to run; whatever it raises is logged.

        Raises:
            RuntimeError: if the system gives no more threads.
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._jobs.put((name, body))
                return
        threading.Thread(target=self._work, args=(name, body), name=name, daemon=True).start()

    def _work(self, name: str, body: Callable[[], object]) -> None:
        me = threading.current_thread()
        job: _Job | None = name, body
        del body  # nobody but the job keeps a plugin alive
        while job is not None:
            me.name = job[0]
            try:
                Context().run(job[1])
            except BaseException as error:  # noqa: BLE001  # a thread of ours serves others afterwards
                host_log("ERROR", f"{job[0]}: {error_type(error)}", stack=frames(error))
            job = None
            me.name = _RESTING
            job = self._next()

    def _next(self) -> _Job | None:
        with self._lock:
            self._idle += 1
        while True:
            try:
                return self._jobs.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return None
                # A job is on its way to this thread, unless one that is idle since takes it.
