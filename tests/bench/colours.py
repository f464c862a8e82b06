"""What the other ways to run a function cost: async functions, threads, and sync called from async."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from time import perf_counter

from harness import Effort, Sampler, Series, measure, statement
from results import Row, Section
from subjects import ITEM, Item, echo

from jackfield import Host, function


async def echo_async(item: Item) -> int:
    """Give the count back."""
    return item.count


@function(executor="thread")
def echo_in_thread(item: Item) -> int:
    """Give the count back, from another thread."""
    return item.count


def awaiting(loop: asyncio.AbstractEventLoop, make: Callable[[], Awaitable[int]]) -> Sampler:
    """Make a sampler that awaits over and over within one task of a loop."""

    async def repeat(number: int) -> float:
        turns = range(number)
        start = perf_counter()
        for _ in turns:
            await make()
        return perf_counter() - start

    return lambda number: loop.run_until_complete(repeat(number))


def run(effort: Effort) -> Section:
    """Compare each way with the bare Python that does the same."""
    awaited = _awaited(effort)
    called = _called(effort)
    pool = "`ThreadPoolExecutor.submit(f, item).result()`"
    return Section(
        "Colours and executors",
        "For orientation: what the host adds to the bare machinery of each way to run a function.",
        [
            Row(
                "`await host.acall` of an async function, on its home loop",
                "`await f(item)`",
                awaited["host"],
                awaited["bare"],
            ),
            Row(
                "the same with `timeout=5.0`",
                "`async with asyncio.timeout(5.0)` around it",
                awaited["deadline"],
                awaited["timeout"],
            ),
            Row(
                "`await host.acall` of a sync function",
                "`await asyncio.to_thread(f, item)`",
                awaited["sync"],
                awaited["to_thread"],
            ),
            Row('`host.call` of a function with `executor="thread"`', pool, called["thread"], called["pool"]),
            Row(
                "`host.call` of an async function",
                "`run_coroutine_threadsafe(f(item), loop).result()`",
                called["async"],
                called["threadsafe"],
            ),
        ],
    )


def _awaited(effort: Effort) -> dict[str, Series]:
    loop = asyncio.new_event_loop()
    host = Host(observers=())
    host.register("bench.sync", echo)
    host.register("bench.async", echo_async)

    async def with_timeout() -> int:
        async with asyncio.timeout(5.0):
            return await echo_async(ITEM)

    try:
        loop.run_until_complete(host.__aenter__())
        try:
            return measure(
                effort,
                {
                    "host": awaiting(loop, lambda: host.acall("bench.async", ITEM)),
                    "bare": awaiting(loop, lambda: echo_async(ITEM)),
                    "deadline": awaiting(loop, lambda: host.acall("bench.async", ITEM, timeout=5.0)),
                    "timeout": awaiting(loop, with_timeout),
                    "sync": awaiting(loop, lambda: host.acall("bench.sync", ITEM)),
                    "to_thread": awaiting(loop, lambda: asyncio.to_thread(echo, ITEM)),
                },
            )
        finally:
            loop.run_until_complete(host.__aexit__(None, None, None))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _called(effort: Effort) -> dict[str, Series]:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as pool, Host(observers=()) as host:
            host.register("bench.thread", echo_in_thread)
            host.register("bench.async", echo_async)
            submit = "asyncio.run_coroutine_threadsafe(echo(item), loop).result()"
            return measure(
                effort,
                {
                    "thread": statement("host.call('bench.thread', item)", host=host, item=ITEM),
                    "pool": statement("pool.submit(echo, item).result()", pool=pool, echo=echo, item=ITEM),
                    "async": statement("host.call('bench.async', item)", host=host, item=ITEM),
                    "threadsafe": statement(submit, asyncio=asyncio, echo=echo_async, loop=loop, item=ITEM),
                },
            )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
