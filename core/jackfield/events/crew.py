"""The threads that run event handlers: few while handlers return, more only in place of those that do not.

One thread serves while handlers are quick. When a job has waited for a tick, a second thread helps, up to `CORE` that
make progress. A thread that one handler has held for longer than `HELD` does not count towards those, so a handler that
hangs costs a thread and delays nobody for longer than a tick; at most `LINGERING` threads can be held so. Threads start
when there is work and end when there has been none for `IDLE` seconds. All are daemons: a hung handler must not keep
the interpreter from ending.
"""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import count
from time import monotonic
from typing import Protocol

from jackfield.log import host_log

CORE = 4
LINGERING = 32
TICK = 0.01
HELD = 0.05
IDLE = 2.0


class Job(Protocol):
    """Something that a crew runs."""

    def run(self) -> None:
        """Do one bounded piece of work; never raises."""


class _Worker(threading.Thread):
    """A thread, and what it is doing since when."""

    job: Job | None = None
    since: float = 0.0


class Crew:
    """An elastic pool of threads; jobs start in the order they were submitted.

    Args:
        name: what the threads are called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = count(1)
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._ready: deque[tuple[Job, float]] = deque()
        self._workers: set[_Worker] = set()
        self._asleep = 0  # workers that wait until there is work
        self._watching = 0  # workers that start, or wait until the first ready job is a tick old
        self._closed = False
        self._exhausted = False

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return len(self._workers)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Have jobs run.

        Args:
            jobs: in the order in which they are to be started.
        """
        if not jobs:
            return
        with self._lock:
            now = monotonic()
            self._ready.extend([(job, now) for job in jobs])
            self._call_help(now)
            exhausted = self._newly_exhausted(now)
        if exhausted:
            names = ", ".join(sorted(set(exhausted)))
            text = (
                f"{len(exhausted)} event handlers hang and hold all threads of the bus; events wait until one returns"
            )
            host_log("ERROR", f"{text}: {names}")

    def close(self, timeout: float) -> list[Job]:
        """Let the threads end as soon as they are free, and wait for them.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The jobs that still hold a thread.
        """
        ends = monotonic() + timeout
        with self._lock:
            self._closed = True
            self._ready.clear()
            self._work.notify_all()
            workers = [worker for worker in self._workers if worker is not threading.current_thread()]
        for worker in workers:
            worker.join(max(ends - monotonic(), 0.0))
        return [job for worker in workers if (job := worker.job) is not None]

    def _serve(self) -> None:
        me = threading.current_thread()
        assert isinstance(me, _Worker)  # noqa: S101  # for the type checker: only workers run this
        with self._lock:
            self._watching -= 1
        job = self._take(me)
        while job is not None:
            job.run()
            job = None  # an idle thread must not keep the last subscriber alive
            job = self._take(me)

    def _take(self, me: _Worker) -> Job | None:
        """Give the next job, or None when the thread is to end."""
        with self._lock:
            now = monotonic()
            # Who comes from its last job goes on; who has waited steps in only when it is needed.
            may_take, me.job = me.job is not None, None
            may_take = may_take and (len(self._workers) <= CORE or self._making_progress(now) < CORE)
            quits = now + IDLE
            while not self._closed:
                if self._ready and (may_take or self._is_needed(now)):
                    me.job, me.since = self._ready.popleft()[0], now
                    if self._ready and not self._watching:
                        self._call_help(now)
                    return me.job
                may_take = False
                if self._ready:
                    self._watching += 1
                    self._work.wait(TICK)
                    self._watching -= 1
                    now = monotonic()
                    quits = now + IDLE
                elif now < quits:
                    self._asleep += 1
                    self._work.wait(quits - now)
                    self._asleep -= 1
                    now = monotonic()
                else:
                    break
            self._workers.discard(me)
            return None

    def _is_needed(self, now: float) -> bool:
        """Tell whether one more thread should be at work."""
        at_work = self._making_progress(now)
        return at_work == 0 or (at_work < CORE and now - self._ready[0][1] >= TICK)

    def _making_progress(self, now: float) -> int:
        return sum(worker.job is not None and now - worker.since < HELD for worker in self._workers)

    def _call_help(self, now: float) -> None:
        """See to it that somebody looks after the ready jobs while the rest are at work. The lock is held."""
        if not self._ready or self._closed:
            return
        if self._asleep or self._watching:
            if not self._watching or not self._making_progress(now):
                self._work.notify()
        elif len(self._workers) < CORE + LINGERING:
            self._hire()

    def _hire(self) -> None:
        worker = _Worker(target=self._serve, name=f"{self._name}-{next(self._numbers)}", daemon=True)
        self._watching += 1
        self._workers.add(worker)
        try:
            worker.start()
        except RuntimeError:  # the system gives no more threads: those that there are will come to it
            self._watching -= 1
            self._workers.discard(worker)
            if not self._workers:
                raise

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
