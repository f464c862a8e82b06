"""How many verbs run at a time: a bound of its own around the pool of threads, which has none."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from jackfield.errors import ResourceExhausted
from jackfield.runtime.pool import Pool

T = TypeVar("T")


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

    async def run(self, name: str, body: Callable[[], T]) -> T:
        """Run something in a thread and await its end. Who is cancelled is freed at once; the seat, when it has ended.

        Args:
            name: what is done, for the error and the thread.
            body: what to run.

        Raises:
            ResourceExhausted: when too many wait already, or the system gives no more threads; nothing has begun then.
        """
        if self._free.locked() and self._waiting >= self._pending:
            raise ResourceExhausted(name, f"{self._most} run and {self._pending} wait, the most allowed", 1.0)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        running = asyncio.ensure_future(self._pool.run(name, body))
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)
