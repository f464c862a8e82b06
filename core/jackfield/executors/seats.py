"""A bound on what runs in the pool of threads: seats for those whose callers wait, and how many may linger beside them.

Python cannot stop a thread. When a caller leaves at its deadline, the thread goes on as *lingering* until the function
returns, and its seat goes to the next in line. The number of lingering threads is bounded, and beyond the bound new
work is refused, so that functions that are stuck for ever cannot eat the process.

Not `concurrent.futures`: it joins its threads when the interpreter ends, and `asyncio.run` those of its own when the
loop does: one stuck function would keep the process alive for ever.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final

from jackfield.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from jackfield.executors.seating import Seating, State, Task, aboard
from jackfield.model.call import Call
from jackfield.model.seen import note
from jackfield.ports import ExecutorStats
from jackfield.runtime.pool import Pool

SEATS: Final = 40
LINGERING: Final = 32
PENDING: Final = 1_000
_THREAD: Final = "jackfield-call"
_LEFT: Final = "the caller has left; its thread goes on until the function returns"
_UNSEATED: Final = "no thread was free in time; it was not started"


class Seats:
    """Runs bodies in threads of a pool, a bounded number at once.

    Args:
        pool: where the threads come from.
        seats: how many bodies may run for callers that wait; what they call in turn shares their seats.
        lingering: how many may go on without a caller beside them.
        pending: how many may wait for a seat.
    """

    def __init__(self, pool: Pool, *, seats: int = SEATS, lingering: int = LINGERING, pending: int = PENDING) -> None:
        self._pool = pool
        self._max_lingering = lingering
        self._max_pending = pending
        # Reentrant: the garbage collector may run a finalizer that calls something, at any line.
        self._lock = threading.RLock()
        self._seating = Seating(seats)
        self._lingering = 0
        self._enqueued = 0
        self._rejected = 0
        self._late = 0
        self._closed = False

    def run(self, call: Call, body: Callable[[Call], Any]) -> Any:
        """Run a body in a thread and wait for its result, at most until the call's deadline.

        Args:
            call: the call.
            body: what to run, in a copy of this context.

        Returns:
            What the body returns.

        Raises:
            BaseException: what the body raises.
            DeadlineExceeded: when the time is up; the body may still be running.
            ResourceExhausted: when a bound is reached, or the system gives no more threads; the body never runs.
            Unavailable: when this is closed before there was a seat; the body never runs.
        """
        done = threading.Lock()
        done.acquire()
        task = Task(self, call, body, done.release)
        absent = self._send_away(task)
        try:
            return self._wait_for(task, call, done)
        finally:
            _welcome_back(absent)

    def _wait_for(self, task: Task, call: Call, done: threading.Lock) -> Any:
        self._submit(task)
        try:
            if call.deadline is None:
                done.acquire()
                return task.outcome()
            in_time = done.acquire(timeout=min(max(call.deadline - monotonic(), 0.0), threading.TIMEOUT_MAX))
        except BaseException:  # KeyboardInterrupt while waiting
            self._leave_behind(task)
            raise
        if not in_time:
            if (was := self._leave_behind(task)) is not State.ENDED:
                reason = _LEFT if was is State.RUNNING else _UNSEATED
                raise DeadlineExceeded(call.name, monotonic() - call.deadline, reason)
            done.acquire()  # it ended at the last moment
        return task.outcome()

    async def arun(self, call: Call, body: Callable[[Call], Any]) -> Any:
        """Run a body in a thread without blocking the running event loop; arguments and errors as for `run`.

        It has no timer of its own. A cancel from outside, that of the caller's timer included, frees the caller at once
        and leaves the thread lingering.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(_set, done)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        task = Task(self, call, body, tell)
        absent = self._send_away(task)
        try:
            self._submit(task)
            try:
                await done
            except BaseException as error:
                was = self._leave_behind(task)
                if call.deadline is not None and error.__cause__ is None:  # for who makes a deadline's error of it
                    error.__cause__ = DeadlineExceeded(call.name, 0.0, _UNSEATED if was is State.WAITING else _LEFT)
                raise
        finally:
            _welcome_back(absent)
        return task.outcome()

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        with self._lock:
            at_work = len(self._seating.line), len(self._seating.running)
            return ExecutorStats(self._enqueued, self._rejected, self._late, *at_work, self._pool.idle, self._lingering)

    def close(self) -> int:
        """Refuse new work, and what is in line; what runs goes on.

        Returns:
            How many threads still run something.
        """
        told = []
        with self._lock:
            self._closed = True
            for task in list(self._seating.line):
                self._seating.leave_line(task)
                task.failure = _stopped(task)
                told.append(task.end())
            running = len(self._seating.running) + self._lingering
        for tell in told:
            _call(tell)
        return running

    # ---- from the caller's side ----

    def _submit(self, task: Task) -> None:
        """Seat a task and start it, or have it stand in line."""
        with self._lock:
            self._check(task)
            self._enqueued += 1
            if not self._seating.sit(task):
                task.since = monotonic()
                self._seating.stand(task)
                return
        error = self._start(task)
        if error is None:
            return
        with self._lock:
            self._enqueued -= 1
            self._rejected += 1
            successor = self._seating.rise(task)
            task.end()
        self._hand_over(successor)
        raise error

    def _check(self, task: Task) -> None:
        """Refuse what would break a bound. The lock is held."""
        if self._closed:
            raise _stopped(task)
        reason = ""
        if self._lingering >= self._max_lingering:
            reason = f"{self._lingering} threads still run calls whose deadline has passed, the most allowed"
        elif len(self._seating.line) >= self._max_pending:
            reason = f"{self._max_pending} calls wait for a thread, the most allowed"
        if reason:
            self._rejected += 1
            raise ResourceExhausted(task.name, reason, 1.0)

    def _leave_behind(self, task: Task) -> State:
        """Go without a task: one in line is taken out, one that runs lingers from now on; give what it was."""
        with self._lock:
            was, successor = task.state, None
            if was is State.WAITING:
                self._seating.leave_line(task)
                _note_wait(task)
                task.end()
            elif was is State.RUNNING:
                task.state = State.LINGERING
                self._lingering += 1
                successor = self._seating.rise(task)
        self._hand_over(successor)
        return was

    def _send_away(self, task: Task) -> Task | None:
        """Note of who calls this from another executor that it waits, and may share its seat there; give who does."""
        absent = task.outer
        if absent is None or absent.owner is self:
            return None
        absent.owner.lend(absent)
        return absent

    def lend(self, task: Task) -> None:
        """For other executors: one that sits here waits for what runs there."""
        with self._lock:
            task.away += 1
            successor = self._seating.beside(task)
        self._hand_over(successor)

    def take_back(self, task: Task) -> None:
        """For other executors: it does not wait for that any more."""
        with self._lock:
            task.away -= 1

    # ---- threads ----

    def _start(self, task: Task) -> ResourceExhausted | None:
        """Have a thread begin with a task that has a seat; give why there is none."""
        try:
            self._pool.start(_THREAD, partial(self._work, task))
        except ResourceExhausted as error:
            return ResourceExhausted(task.name, error.reason, error.retry_after)
        return None

    def _hand_over(self, task: Task | None) -> None:
        """Have a thread begin with a task that stood in line."""
        while task is not None and (error := self._start(task)) is not None:
            task = self._without_thread(task, error)

    def _without_thread(self, task: Task, error: ResourceExhausted) -> Task | None:
        """Put a task back in line if a thread will come to it, else refuse it and give the next one."""
        with self._lock:
            if task.state is State.LINGERING:  # its caller has left meanwhile, and its seat was passed on
                self._lingering -= 1
                task.end()
                return None
            if self._seating.stand_again(task) and not self._closed:
                return None
            if task.state is State.WAITING:
                self._seating.leave_line(task)
            self._rejected += 1
            task.failure = _stopped(task) if self._closed else error
            tell = task.end()
            successor = self._seating.next()
        _call(tell)
        return successor

    def _work(self, task: Task) -> None:
        """Run a task, and then whoever comes next, in this thread."""
        following: Task | None = task
        del task
        while following is not None:
            following = self._perform(following)

    def _perform(self, task: Task) -> Task | None:
        """Run one task, and give who sits down in its place."""
        call, body, context = task.call, task.body, task.context
        assert call is not None and body is not None and context is not None  # noqa: S101, PT018  # until it has ended
        result, failure = None, None
        begun = task.state is State.RUNNING  # else its caller left before there was a thread
        _note_wait(task)
        if begun:
            try:
                result = context.run(_board, task, body, call)
            except BaseException as error:  # noqa: BLE001  # whatever it is belongs to whoever waits
                failure = error
        with self._lock:
            if task.state is State.LINGERING:
                self._lingering -= 1
                self._late += begun
                task.end()
                tell, successor = None, None
            else:
                task.result, task.failure = result, failure
                successor = self._seating.rise(task)
                tell = task.end()
            if successor is None:  # there is a free seat for who is in line only when the system had no thread for it
                successor = self._seating.next()
        del failure, result, call, body, context, task
        _call(tell)
        return successor


def _board(task: Task, body: Callable[[Call], Any], call: Call) -> Any:
    aboard.set(task)
    return body(call)


def _note_wait(task: Task) -> None:
    if task.since and task.call is not None:
        note(task.call, "queue", "thread", monotonic() - task.since)


def _welcome_back(absent: Task | None) -> None:
    if absent is not None:
        absent.owner.take_back(absent)


def _call(tell: Callable[[], object] | None) -> None:
    if tell is not None:
        tell()


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():  # else its waiter was cancelled
        future.set_result(None)


def _stopped(task: Task) -> Unavailable:
    return Unavailable(task.name, "the host has stopped")
