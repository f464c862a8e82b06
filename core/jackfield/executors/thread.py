"""A bounded pool of threads whose callers are freed at the deadline.

Python cannot stop a thread. When a caller leaves at its deadline, the thread goes on as *lingering* until the function
returns; a new thread takes its place in the pool. The number of lingering threads is bounded, and beyond the bound new
work is refused, so that functions that are stuck for ever cannot eat the process.

An own pool, and daemon threads, because `concurrent.futures` joins its threads when the interpreter ends, and
`asyncio.run` when the loop does: one stuck function would keep the process alive for ever.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from time import monotonic
from typing import Any

from jackfield.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from jackfield.model.call import Call
from jackfield.ports import ExecutorStats

POOL = 40
LINGERING = 32
PENDING = 1_000
_GONE = "the caller has left; its thread goes on until the function returns"


class _Task:
    """One body on its way through the pool. Its state changes only under the pool's lock."""

    __slots__ = ("abandoned", "body", "call", "context", "future", "started")

    def __init__(self, call: Call, body: Callable[[Call], Any], context: Context) -> None:
        self.call: Call | None = call
        self.body: Callable[[Call], Any] | None = body
        self.context: Context | None = context
        self.future: Future[Any] = Future()
        self.started = False
        self.abandoned = False

    def forget(self) -> None:
        """Drop what the task refers to, so that a thread that waits keeps no function alive."""
        self.call = self.body = self.context = None


class ThreadExecutor:
    """Run sync bodies in threads.

    Args:
        pool: how many threads may serve waiting callers.
        lingering: how many threads may go on without a caller beside them.
        pending: how many tasks may wait for a thread.
    """

    def __init__(self, pool: int = POOL, lingering: int = LINGERING, pending: int = PENDING) -> None:
        self._pool = pool
        self._max_lingering = lingering
        self._max_pending = pending
        self._wake = threading.Condition()
        self._tasks: deque[_Task] = deque()
        self._threads = 0
        self._idle = 0
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
            DeadlineExceeded: when the time is up; the body may still be running.
            ResourceExhausted: when a bound is reached.
        """
        task = self._submit(call, body)
        timeout = None if call.deadline is None else max(call.deadline - monotonic(), 0.0)
        try:
            return task.future.result(timeout)
        except TimeoutError:
            if task.future.done():
                return task.future.result()  # it came at the last moment, or the TimeoutError is the body's own
            self._abandon(task)
            raise DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), _GONE) from None
        except BaseException:
            if not task.future.done():  # KeyboardInterrupt while waiting
                self._abandon(task)
            raise

    async def arun(self, call: Call, body: Callable[[Call], Any]) -> Any:
        """Run a body in a thread without blocking the running event loop; arguments and errors as for `run`.

        A cancel from outside, the caller's own timer included, frees the caller at once and leaves the thread
        lingering.
        """
        task = self._submit(call, body)
        try:
            return await asyncio.wrap_future(task.future)
        finally:
            if not task.future.done() or task.future.cancelled():
                self._abandon(task)

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        with self._wake:
            busy = self._threads - self._idle - self._lingering
            return ExecutorStats(
                self._enqueued, self._rejected, self._late, len(self._tasks), busy, self._idle, self._lingering
            )

    def close(self) -> int:
        """Refuse new work, cancel what waits, let idle threads end.

        Returns:
            How many threads still run something.
        """
        with self._wake:
            self._closed = True
            waiting = list(self._tasks)
            self._tasks.clear()
            self._wake.notify_all()
            running = self._threads - self._idle
        for task in waiting:
            task.future.cancel()
            task.forget()
        return running

    def _submit(self, call: Call, body: Callable[[Call], Any]) -> _Task:
        task = _Task(call, body, copy_context())
        with self._wake:
            if self._closed:
                raise Unavailable(call.name, "the host has stopped")
            if self._lingering >= self._max_lingering:
                self._rejected += 1
                reason = f"{self._lingering} threads still run calls whose deadline has passed, the most allowed"
                raise ResourceExhausted(call.name, reason, 1.0)
            if len(self._tasks) >= self._max_pending:
                self._rejected += 1
                raise ResourceExhausted(
                    call.name, f"{self._max_pending} calls wait for a thread, the most allowed", 1.0
                )
            self._enqueued += 1
            self._tasks.append(task)
            if self._idle >= len(self._tasks):
                self._wake.notify()
            elif self._threads - self._lingering < self._pool:
                self._threads += 1
                threading.Thread(target=self._work, name=f"jackfield-{self._threads}", daemon=True).start()
        return task

    def _abandon(self, task: _Task) -> None:
        """Leave a task behind: one that waits is taken out, one that runs makes its thread a lingering one."""
        with self._wake:
            if task.abandoned or task.call is None:
                return
            task.abandoned = True
            if task.started:
                self._lingering += 1
                # The bound of the pool moved: work that waits may have a thread now.
                if self._tasks and not self._idle and self._threads - self._lingering < self._pool:
                    self._threads += 1
                    threading.Thread(target=self._work, name=f"jackfield-{self._threads}", daemon=True).start()
                return
            self._tasks.remove(task)
            task.forget()
        task.future.cancel()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            call, body, context = task.call, task.body, task.context
            assert call is not None and body is not None and context is not None  # noqa: S101, PT018  # set until `forget`
            result, failure = None, None
            try:
                result = context.run(body, call)
            except BaseException as error:  # noqa: BLE001  # whatever it is belongs to whoever waits
                failure = error
            with self._wake:
                abandoned = task.abandoned
                task.forget()
                if abandoned:
                    self._lingering -= 1
                    self._late += 1
            if not abandoned:
                # Outside the lock, since it runs callbacks. Not `set_running_or_notify_cancel`: a caller that cancels
                # abandons.
                _settle(task.future, result, failure)
            del task, call, body, context, result, failure

    def _next(self) -> _Task | None:
        with self._wake:
            # A thread that lingered comes back to a pool that has replaced it.
            if self._threads - self._lingering > self._pool:
                self._threads -= 1
                return None
            self._idle += 1
            while not self._tasks and not self._closed:
                self._wake.wait()
            self._idle -= 1
            if not self._tasks:
                self._threads -= 1
                return None
            task = self._tasks.popleft()
            task.started = True
            return task


def _settle(future: "Future[Any]", result: Any, failure: BaseException | None) -> None:
    if future.set_running_or_notify_cancel():
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
