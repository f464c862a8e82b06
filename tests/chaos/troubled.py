"""A store as it is on a bad day: slow, or away, when a file says so."""

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path

from work import mark

from jackfield.errors import Unavailable
from jackfield.ports import Lease, Range, Store, Stored, StoreEvent

_DONE = b"\xa4done"  # the status of a step that has been completed, as MessagePack writes it


class TroubledStore:
    """Passes everything on to a store, late or not at all.

    Args:
        store: the one that keeps.
        trouble: a file that says "slow" (200 to 800 ms for each operation) or "away"; without it all is well.
        marks: where each step of a flow that has been recorded leaves a mark.
    """

    def __init__(self, store: Store, trouble: Path, marks: Path) -> None:
        self._store, self._trouble, self._marks = store, trouble, marks
        self._random = random.Random()  # noqa: S311  # how slow

    async def _suffer(self) -> None:
        try:
            trouble = self._trouble.read_text("utf-8")
        except FileNotFoundError:
            return
        if trouble == "slow":
            await asyncio.sleep(self._random.uniform(0.2, 0.8))
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
