"""How many verbs run at a time: a bound of its own around the pool of threads, which has none."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from jackfield.errors import ResourceExhausted
from jackfield.runtime.pool import Pool

T = TypeVar("T")

_LEFT: Final = 32
"""How many threads may be left behind, each in what hangs and nobody waits for any more; as those of functions."""


class Seats:
    """Threads of a pool that may be in use at once, and a queue before them. For coroutines of one loop.

    Args:
        pool: where the threads come from.
        seats: how many.
        pending: how many may wait for one.
    """

    def __init__(self, pool: Pool, seats: int, pending: int) -> None:
        self._pool = pool
        self._free = asyncio.Semaphore(seats)
        self._most = seats
        self._pending = pending
        self._waiting = 0
        self._threads = 0  # in use, those that were left behind included

    async def run(self, name: str, body: Callable[[], T]) -> T:
        """Run something in a thread and await its end.

        Who is cancelled is freed at once, and so is the seat: what hangs keeps nobody else waiting.

        Args:
            name: what is done, for the error and the thread.
            body: what to run.

        Raises:
            ResourceExhausted: when too many wait already, or the system gives no more threads; nothing has begun then.
        """
        if self._free.locked() and self._waiting >= self._pending:
            raise ResourceExhausted(name, f"{self._most} run and {self._pending} wait, the most allowed", 1.0)
        if self._threads >= self._most + _LEFT:
            raise ResourceExhausted(
                name, f"{_LEFT} that nobody waits for any more have not ended, the most allowed", 1.0
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            running = asyncio.ensure_future(self._pool.run(name, body))
            self._threads += 1
            running.add_done_callback(self._ended)
            return await asyncio.shield(running)
        finally:
            self._free.release()

    def _ended(self, running: "asyncio.Future[Any]") -> None:
        self._threads -= 1
        if not running.cancelled():
            running.exception()  # looked at, since its caller may be gone
