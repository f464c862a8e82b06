"""Tasks that belong together: the first that fails ends all, and whoever waits for them is left by none.

As `asyncio.TaskGroup`, but that it never cancels the task that waits for it. That one's count of cancellations, by
which a deadline is told from somebody's cancel, is not put right again before Python 3.13.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

AT_ONCE: Final = 256
"""How many tasks of one group run: a flow may have thousands of steps that are ready, and a host so many threads."""


class Group:
    """Some tasks of the running loop; made, filled and awaited by one task, and filled by its own tasks.

    None of them may wait for another: beyond `AT_ONCE`, one begins when one has ended.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._next: deque[Coroutine[Any, Any, None]] = deque()
        self._error: BaseException | None = None
        self._ended: asyncio.Future[None] | None = None
        self._asked = False  # whether all have been told to end

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin one more, now or when its turn has come."""
        if self._asked:  # whoever began it did not know yet
            coroutine.close()
        elif len(self._tasks) >= AT_ONCE:
            self._next.append(coroutine)
        else:
            task = self._loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def wait(self) -> None:
        """Wait until all have ended.

        Raises:
            CancelledError: if the waiting task was cancelled: then all have been, and have ended.
            BaseException: what the first raised that failed; then the others have been cancelled, and have ended.
        """
        cancelled: asyncio.CancelledError | None = None
        while self._tasks:
            self._ended = self._loop.create_future()
            try:
                await self._ended
            except asyncio.CancelledError as asked:
                cancelled = asked
                self._cancel()
        failure, self._error = self._error, None
        if cancelled is not None:
            raise cancelled
        if failure is not None:
            try:
                raise failure from failure.__cause__
            finally:
                del failure  # else its traceback, this frame and the exception would hold one another

    def _cancel(self) -> None:
        self._asked = True
        while self._next:
            self._next.popleft().close()
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        gone = None if self._asked else asyncio.CancelledError()  # what somebody else has cancelled has failed
        error = gone if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
            self._cancel()
        if self._next:
            self.start(self._next.popleft())
        if not self._tasks and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
