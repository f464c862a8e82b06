"""A store whose time is taken: how long each operation takes, and what fails."""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from jackfield.errors import LeaseEnded, StoreCompacted, StoreConflict
from jackfield.model.stored import BOUNDS, Durations, StoreCounts
from jackfield.ports import Lease, Range, Store, Stored, StoreEvent
from jackfield.store.caching import CachingStore

T = TypeVar("T")


class TimedStore:
    """Asks a store and takes the time; adapter of `ports.Store`, whose methods these are.

    Args:
        store: which; closed together with this.

    Attributes:
        behind: that store.
        blocks_threads: whether its methods can be driven without an event loop, as those of that store.
    """

    def __init__(self, store: Store) -> None:
        self.behind = store
        self.blocks_threads = bool(getattr(store, "blocks_threads", False))
        self._lock = threading.Lock()
        self._taken: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._failed: Counter[str] = Counter()
        self._cached = self._stale()  # by whoever had that store before

    async def get(self, key: str, /) -> Stored | None:
        """Read a value."""
        return await self._timed("get", self.behind.get(key))

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        return await self._timed("put", self.behind.put(key, value, expected=expected, lease=lease))

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        return await self._timed("delete", self.behind.delete(key, expected=expected))

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix."""
        return await self._timed("range", self.behind.range(prefix))

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix; that takes as long as somebody follows."""
        return self.behind.watch(prefix, since=since)

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        return await self._timed("lease", self.behind.lease(ttl))

    async def close(self) -> None:
        """Close the store."""
        await self.behind.close()

    def counts(self) -> StoreCounts:
        """Give what was counted so far."""
        with self._lock:
            taken = {name: Durations(tuple(counts), self._seconds[name]) for name, counts in self._taken.items()}
            failed = dict(self._failed)
        slow = isinstance(self.behind, CachingStore) and self.behind.stats().slow
        return StoreCounts(taken, failed, self._stale() - self._cached, slow)

    async def _timed(self, operation: str, asking: Awaitable[T]) -> T:
        begun, failed = time.perf_counter(), True
        try:
            answer = await asking
        except (StoreConflict, StoreCompacted, LeaseEnded, ValueError):  # that is an answer, too
            failed = False
            raise
        else:
            failed = False
            return answer
        finally:
            self._note(operation, time.perf_counter() - begun, failed)

    def _note(self, operation: str, seconds: float, failed: bool) -> None:
        with self._lock:
            counts = self._taken.setdefault(operation, [0] * len(BOUNDS))
            counts[bisect_left(BOUNDS, seconds)] += 1
            self._seconds[operation] = self._seconds.get(operation, 0.0) + seconds
            self._failed[operation] += failed

    def _stale(self) -> Durations:
        if not isinstance(self.behind, CachingStore):
            return Durations()
        return self.behind.stats().ages
