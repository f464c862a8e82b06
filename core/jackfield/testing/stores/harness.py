"""How the tests of the suite run: each with a new store, on a loop of its own, or on several."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from jackfield.ports import Store

THREADS = 4
WRITES = 50


class Harness:
    """What a subclass of the suite says, and what its tests use."""

    ttl: ClassVar[float] = 2.0
    kept: ClassVar[int | None] = None
    patience: ClassVar[float] = 60.0

    async def open_store(self) -> Store:
        """Give a new, empty store; the suite closes it. Called once for each test, and often by the comparison."""
        raise NotImplementedError("say how to open the store: override open_store()")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass on the clock by which leases of the store opened last end; override it if that is not real."""
        await asyncio.sleep(seconds)

    def run(self, test: Callable[[Store], Awaitable[None]]) -> None:
        """Run a test with a new store, which is closed at the end."""

        async def body() -> None:
            async with asyncio.timeout(self.patience), self.opened() as store:
                await test(store)

        asyncio.run(body())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """Open a new store for a block."""
        store = await self.open_store()
        try:
            yield store
        finally:
            await store.close()

    async def in_threads(self, bodies: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Run each in a thread with a loop of its own, all begun before the first goes on."""
        together = threading.Barrier(len(bodies))

        def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
            together.wait(self.patience)
            asyncio.run(asyncio.wait_for(body(), self.patience))

        ended = [asyncio.get_running_loop().create_future() for _ in bodies]
        for body, future in zip(bodies, ended, strict=True):
            threading.Thread(target=_report, args=(run, body, future), daemon=True).start()
        await asyncio.gather(*ended)


def _report(run: Callable[[Any], None], body: Any, future: "asyncio.Future[None]") -> None:
    loop = future.get_loop()
    try:
        run(body)
    except BaseException as error:  # noqa: BLE001  # raised where it is awaited
        loop.call_soon_threadsafe(future.set_exception, error)
    else:
        loop.call_soon_threadsafe(future.set_result, None)


async def value_of(store: Store, key: str) -> bytes | None:
    """Read a value alone."""
    there = await store.get(key)
    return None if there is None else there.value
