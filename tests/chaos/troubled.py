"""A store as it is on a bad day: slow, full, or away, when a file says so."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from work import mark

from jackfield.errors import Unavailable
from jackfield.ports import Lease, Range, Stored, StoreEvent
from jackfield.store import SQLiteStore

_DONE = b"\xa4done"  # the status of a step that has been completed, as MessagePack writes it


class TroubledStore:
    """Passes everything on to a store, late or not at all.

    Args:
        store: the one that keeps.
        trouble: a file that says "slow" (200 to 800 ms for each operation), "full" (it may not grow any more) or
            "away"; without it all is well.
        marks: where each step of a flow that has been recorded leaves a mark.
    """

    blocks_threads = True  # as that store

    def __init__(self, store: SQLiteStore, trouble: Path, marks: Path) -> None:
        self._store, self._trouble, self._marks = store, trouble, marks
        self._random = random.Random()  # noqa: S311  # how slow
        self._full = False

    async def _suffer(self) -> None:
        try:
            trouble = self._trouble.read_text("utf-8")
        except FileNotFoundError:
            trouble = ""
        if (trouble == "full") != self._full:  # SQLite itself refuses then what makes the file larger
            self._full = trouble == "full"
            pages = 1 if self._full else 1_073_741_823
            await self._store._write(lambda change: change._run(f"PRAGMA max_page_count = {pages}").fetchall())
        if trouble == "slow":
            seconds = self._random.uniform(0.2, 0.8)
            if asyncio._get_running_loop() is None:
                time.sleep(seconds)  # noqa: ASYNC251  # a thread that asks without a loop
            else:
                await asyncio.sleep(seconds)
        elif trouble == "away":
            raise Unavailable("store", "it is away", cause="store")

    async def get(self, key: str, /) -> Stored | None:
        """Read a value."""
        await self._suffer()
        return await self._store.get(key)

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        await self._suffer()
        revision = await self._store.put(key, value, expected=expected, lease=lease)
        *_, submission, kind, name = ("", "", *key.split("/"))
        if kind == "steps" and _DONE in value:
            mark(str(self._marks), f"recorded:{name}", submission)
        return revision

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        await self._suffer()
        return await self._store.delete(key, expected=expected)

    async def range(self, prefix: str = "", /) -> Range:
        """Read what is under a prefix."""
        await self._suffer()
        return await self._store.range(prefix)

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix."""
        return self._store.watch(prefix, since=since)

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        await self._suffer()
        return await self._store.lease(ttl)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()
