"""The store in SQLite against bare commits of the same bytes, and reads of a store that is slow."""

import asyncio
import random
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter

from harness import Effort, Sampler, forgetting_logs, measure, statement
from results import Row, Section, Table
from subjects import ITEM, echo

from jackfield import Host
from jackfield.ports import Range, Store, Stored
from jackfield.store import CachingStore, MemoryStore, SQLiteStore

_VALUE = bytes(200)
_THREADS = 64
_DELAY = 0.2, 0.8
"""Seconds, of row E5."""


def run(effort: Effort) -> Section:
    """Compare puts with commits, a host with a host, and slow reads with the store's own."""
    with ExitStack() as stack:
        stack.enter_context(forgetting_logs())
        # Not in the folder for temporary files, which may be in memory, where a sync costs nothing.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        runner = stack.enter_context(asyncio.Runner())
        store = SQLiteStore(folder / "jackfield.db")
        stack.callback(lambda: runner.run(store.close()))
        bare = stack.enter_context(closing(_bare(folder / "bare.db")))
        memory = stack.enter_context(Host(observers=()))
        lasting = stack.enter_context(Host(observers=(), store=store))
        for host in (memory, lasting):
            host.register("bench.echo", echo)
        taken = measure(
            effort,
            {
                "put": _tasks(runner, store, 1),
                "together": _tasks(runner, store, _THREADS),
                "threads": _in_threads(store, stack),
                "get": _reads(runner, store),
                "bare get": statement("bare.execute(query, ('k/1',)).fetchone()", bare=bare, query=_QUERY),
                "commit": _commits(bare),
                "memory": statement("host.call('bench.echo', item)", host=memory, item=ITEM),
                "lasting": statement("host.call('bench.echo', item)", host=lasting, item=ITEM),
            },
        )
        reads = _slow(runner, effort)
    return Section(
        "Store",
        f"Values of {len(_VALUE)} bytes, each put and each commit on the disk when it returns (`synchronous=FULL`, "
        "WAL). The threads hand their puts to one event loop, as a host does. The slow store answers after "
        f"{_DELAY[0] * 1e3:.0f} to {_DELAY[1] * 1e3:.0f} ms.",
        [
            Row("a put, one at a time", "a bare commit of the same bytes", taken["put"], taken["commit"], bar=2.0),
            Row(f"a put, {_THREADS} tasks at once", "a bare commit", taken["together"], taken["commit"]),
            Row(f"a put, from {_THREADS} threads", "a bare commit", taken["threads"], taken["commit"]),
            Row("a get", "a bare SELECT in the same thread", taken["get"], taken["bare get"]),
            Row(
                "a call, SQLite behind the host and nothing stored",
                "the same with the store in memory",
                taken["lasting"],
                taken["memory"],
                bar=1.02,
            ),
        ],
        table=Table(("reads of a store that is slow", "median, ms", "p99, ms", "reads"), reads),
    )


# --- Puts and commits -------------------------------------------------------------------------------------------------

_QUERY = "SELECT value FROM kept WHERE key = ?"


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    return connection


def _commits(connection: sqlite3.Connection) -> Sampler:
    numbers = count()

    def sample(number: int) -> float:
        begun = perf_counter()
        for _ in range(number):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (f"k/{next(numbers) % 1000}", _VALUE))
            connection.execute("COMMIT")
        return perf_counter() - begun

    return sample


def _tasks(runner: asyncio.Runner, store: Store, tasks: int) -> Sampler:
    numbers = count()

    async def puts(left: Iterator[int]) -> None:
        async def each() -> None:
            for _ in left:
                await store.put(f"k/{next(numbers) % 1000}", _VALUE)

        await asyncio.gather(*(each() for _ in range(tasks)))

    def sample(number: int) -> float:
        begun = perf_counter()
        runner.run(puts(iter(range(number))))
        return perf_counter() - begun

    return sample


def _in_threads(store: Store, stack: ExitStack) -> Sampler:
    loop = stack.enter_context(_loop())
    pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
    numbers = count()

    def puts(left: Iterator[int]) -> None:
        for _ in left:
            asyncio.run_coroutine_threadsafe(store.put(f"k/{next(numbers) % 1000}", _VALUE), loop).result()

    def sample(number: int) -> float:
        left = iter(range(number))
        begun = perf_counter()
        wait([pool.submit(puts, left) for _ in range(_THREADS)])
        return perf_counter() - begun

    return sample


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def _reads(runner: asyncio.Runner, store: Store) -> Sampler:
    async def gets(number: int) -> None:
        for _ in range(number):
            await store.get("k/1")

    def sample(number: int) -> float:
        begun = perf_counter()
        runner.run(gets(number))
        return perf_counter() - begun

    return sample


# --- A slow store -----------------------------------------------------------------------------------------------------


class _Slow(MemoryStore):
    """Answers late."""

    def __init__(self) -> None:
        super().__init__()
        self._draw = random.Random(1)  # noqa: S311  # delays

    async def get(self, key: str, /) -> Stored | None:
        return (await self.range(key)).entries.get(key)

    async def range(self, prefix: str = "", /) -> Range:
        found = await super().range(prefix)
        await asyncio.sleep(self._draw.uniform(*_DELAY))
        return found


def _slow(runner: asyncio.Runner, effort: Effort) -> list[tuple[str, float, float, int]]:
    """Time reads of a hundred known keys, with the cache and without."""
    seconds = 2.0 if effort.quick else 10.0
    behind = _Slow()
    keys = [f"k/{number}" for number in range(100)]

    async def reads(store: Store) -> list[float]:
        taken: list[float] = []
        over = perf_counter() + seconds
        await asyncio.gather(*(store.get(key) for key in keys))

        async def each(number: int) -> None:
            draw = random.Random(number)  # noqa: S311  # which keys
            while perf_counter() < over:
                begun = perf_counter()
                await store.get(draw.choice(keys))
                taken.append(perf_counter() - begun)
                await asyncio.sleep(0.01)

        await asyncio.gather(*map(each, range(8)))
        return taken

    for key in keys:
        runner.run(behind.put(key, _VALUE))
    cached = CachingStore(behind)
    found = [("the store itself", runner.run(reads(behind))), ("`CachingStore` before it", runner.run(reads(cached)))]
    return [(what, *_percentiles(taken), len(taken)) for what, taken in found]


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return round(ordered[len(ordered) // 2] * 1e3, 3), round(ordered[int(len(ordered) * 0.99)] * 1e3, 3)
