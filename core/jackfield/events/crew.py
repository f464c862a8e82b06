"""Who runs event handlers in the pool's threads: few while handlers return, more only in place of those that do not.

One thread serves while handlers are quick. When a job has waited for a tick, a second thread helps, up to `CORE` that
make progress. A thread that one handler has held for longer than `HELD` does not count towards those, so a handler that
hangs costs a thread and delays nobody for longer than a tick; at most `LINGERING` threads can be held so. Threads come
from the pool when there is work, and go back when there is none.
"""

import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Protocol

from jackfield.errors import ResourceExhausted
from jackfield.log import host_log
from jackfield.runtime.pool import Pool

CORE = 4
LINGERING = 32
TICK = 0.01
HELD = 0.05


class Job(Protocol):
    """Something that a crew runs."""

    def run(self) -> None:
        """Do one bounded piece of work; never raises."""


class _Worker:
    """A thread that is lent to the crew, and what it is doing since when."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.since = 0.0
        self.thread: threading.Thread | None = None


class Crew:
    """Starts jobs in the order in which they were submitted.

    Args:
        name: what the threads are called meanwhile.
        pool: where they come from.
    """

    def __init__(self, name: str, pool: Pool) -> None:
        self._name = name
        self._pool = pool
        # Reentrant: the garbage collector may run a finalizer that publishes, at any line.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._ready: deque[tuple[Job, float]] = deque()
        self._workers: set[_Worker] = set()
        self._watching = 0  # workers that start, or wait until the first ready job is a tick old
        self._closed = False
        self._exhausted = False

    @property
    def threads(self) -> int:
        """How many threads are at work."""
        return len(self._workers)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Have jobs run. It never fails: where the system gives no thread, they wait until somebody submits again.

        Args:
            jobs: in the order in which they are to be started.
        """
        if not jobs and not self._ready:
            return
        with self._lock:
            now = monotonic()
            self._ready.extend([(job, now) for job in jobs])
            helper = self._call_help(now)
            exhausted = self._newly_exhausted(now)
        self._begin(helper)
        if exhausted:
            names = ", ".join(sorted(set(exhausted)))
            text = (
                f"{len(exhausted)} event handlers hang and hold all threads of the bus; events wait until one returns"
            )
            host_log("ERROR", f"{text}: {names}")

    def close(self, timeout: float) -> list[Job]:
        """Let the threads go as soon as they are free, and wait for that.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The jobs that still hold a thread.
        """
        ends = monotonic() + timeout
        me = threading.current_thread()
        with self._lock:
            self._closed = True
            self._ready.clear()
            self._work.notify_all()
            while (others := [worker for worker in self._workers if worker.thread is not me]) and (
                left := ends - monotonic()
            ) > 0:
                self._work.wait(min(left, threading.TIMEOUT_MAX))
            return [job for worker in others if (job := worker.job) is not None]

    def _serve(self, me: _Worker) -> None:
        with self._lock:
            me.thread = threading.current_thread()
            self._watching -= 1
        job = self._take(me)
        while job is not None:
            job.run()
            job = None  # a thread that waits must not keep the last subscriber alive
            job = self._take(me)

    def _take(self, me: _Worker) -> Job | None:
        """Give the next job, or None when the thread is to go."""
        with self._lock:
            now = monotonic()
            # Who comes from its last job goes on; who has waited steps in only when it is needed.
            may_take, me.job = me.job is not None, None
            may_take = may_take and (len(self._workers) <= CORE or self._making_progress(now) < CORE)
            while self._ready and not self._closed:
                if may_take or self._is_needed(now):
                    job = me.job = self._ready.popleft()[0]
                    me.since = now
                    helper = self._call_help(now) if self._ready and not self._watching else None
                    break
                may_take = False
                self._watching += 1
                self._work.wait(TICK)
                self._watching -= 1
                now = monotonic()
            else:
                self._workers.discard(me)
                if self._closed:
                    self._work.notify_all()
                return None
        self._begin(helper)
        return job

    def _is_needed(self, now: float) -> bool:
        """Tell whether one more thread should be at work."""
        at_work = self._making_progress(now)
        return at_work == 0 or (at_work < CORE and now - self._ready[0][1] >= TICK)

    def _making_progress(self, now: float) -> int:
        return sum(worker.job is not None and now - worker.since < HELD for worker in self._workers)

    def _call_help(self, now: float) -> _Worker | None:
        """See to it that somebody looks after the ready jobs while the rest are at work. The lock is held.

        Returns:
            Who is to begin, once the lock is released.
        """
        if not self._ready or self._closed:
            return None
        if self._watching:
            if not self._making_progress(now):
                self._work.notify()
            return None
        if len(self._workers) >= CORE + LINGERING:
            return None
        worker = _Worker()
        self._watching += 1
        self._workers.add(worker)
        return worker

    def _begin(self, worker: _Worker | None) -> None:
        """Give a worker its thread. The lock is not held: the thread would wake up only to wait for it."""
        if worker is None:
            return
        try:
            self._pool.start(self._name, partial(self._serve, worker))
        except ResourceExhausted as error:
            with self._lock:
                self._watching -= 1
                self._workers.discard(worker)
                alone = not self._workers
                if self._closed:
                    self._work.notify_all()
            if alone:  # else those that there are will come to it
                host_log("ERROR", f"events wait, and are handled with the next one: {error}")

    def _newly_exhausted(self, now: float) -> list[str]:
        """Name the jobs that hold every thread, once for each time that it happens. The lock is held."""
        if len(self._workers) < CORE + LINGERING:
            self._exhausted = False
            return []
        held = [str(worker.job) for worker in self._workers if worker.job is not None and now - worker.since >= HELD]
        exhausted = len(held) >= CORE + LINGERING
        news = exhausted and not self._exhausted
        self._exhausted = exhausted
        return held if news else []
