"""A thread that does jobs for event loops, as many at once as have come while it was busy."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs


@attrs.define(eq=False)
class Job:
    """One thing to be done, and who waits for it.

    Attributes:
        what: does it.
        loop: of who waits; None when nobody does.
        future: on that loop.
        result: what it gave.
        error: what it raised.
    """

    what: Callable[[Any], Any]
    loop: asyncio.AbstractEventLoop | None = None
    future: "asyncio.Future[Any] | None" = None
    result: Any = None
    error: BaseException | None = None


class Lane:
    """Takes jobs from any thread and hands them to one, in order.

    Args:
        name: of the thread.
        work: does some jobs, and notes what each gave or raised; it raises nothing itself.
        most: jobs that it gets at once.
        idle: called when nothing has come for as long as `pause` said, and gives the next pause.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Job]], None],
        *,
        most: int,
        idle: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._work, self._most, self._idle = work, most, idle
        self._jobs: deque[Job] = deque()
        self._come = threading.Condition(threading.Lock())
        self._closed = False
        self._woken = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, job: Job) -> bool:
        """Add a job; tell whether it will be done: not after the end."""
        with self._come:
            if self._closed:
                return False
            self._jobs.append(job)
            self._come.notify()
        return True

    def wake(self) -> None:
        """Have `idle` called now."""
        with self._come:
            self._woken = True
            self._come.notify()

    def close(self) -> None:
        """Do what there is and end; called by another thread."""
        with self._come:
            self._closed = True
            self._come.notify()
        self._thread.join()

    def _run(self) -> None:
        pause = self._idle()
        while True:
            with self._come:
                if not self._jobs and not self._closed and not self._woken:
                    self._come.wait(pause)
                jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), self._most))]
                self._woken = False
                if not jobs and self._closed:
                    return
            if jobs:
                self._work(jobs)
                settle(jobs)
            pause = self._idle()


def settle(jobs: Sequence[Job]) -> None:
    """Tell all who wait how their jobs have ended, each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        if job.loop is not None:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell, theirs)
        except RuntimeError:  # that loop is closed: nobody waits there any more
            continue


def _tell(jobs: Sequence[Job]) -> None:
    for job in jobs:
        future = job.future
        if future is None or future.done():  # it was cancelled
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)
