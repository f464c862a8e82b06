"""A store that goes on being read while the one behind it is slow or away."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from types import MappingProxyType
from typing import Any, Final, Self

import attrs

from jackfield.errors import LeaseEnded, StoreConflict, Unavailable
from jackfield.model.keys import check_key, check_prefix
from jackfield.ports import Clock, Lease, Range, Store, Stored, StoreEvent
from jackfield.runtime.clock import SystemClock
from jackfield.store.known import Answer, Known

STALENESS: Final = 10.0
"""Seconds by which a read may be behind the store while that does not answer."""

PATIENCE: Final = 0.05
"""Seconds for which a read waits for the store when there is something to fall back on."""

SIZE: Final = 16 * 1024 * 1024
"""The most bytes that are kept."""

_ASKED: Final = 64  # questions that run in the background, of each event loop


@attrs.frozen
class CachingStats:
    """How a caching store stands.

    Attributes:
        slow: whether the store answers late, or not at all: what is known is given at once.
        stale: reads that were served without the store, since the beginning.
        oldest: seconds by which the oldest of these was behind, at most.
        size: bytes of what is kept.
    """

    slow: bool
    stale: int
    oldest: float
    size: int


class CachingStore:
    """Serves reads of another store from what was read last, as long as that does not answer; adapter of `ports.Store`.

    While the store answers, every read is its answer. When it does not within `patience`, or cannot be reached, what it
    has said last is given, unless that is older than `staleness`, or was written through this store since: whoever has
    written, or has seen a write in a watch, sees it. From then on what is known is given at once and asked for
    anew in the background, until the store is fast again.

    Writes, watches and leases are the store's own. A write decides by revision: one that was based on what had changed
    raises `StoreConflict`, and the next read of that key waits for the store; `update` repeats both.

    Args:
        store: where the values are; closed together with this.
        staleness: seconds by which a read may be behind.
        patience: seconds to wait for an answer.
        size: the most bytes to keep.
        clock: tells how old an answer is.

    Raises:
        ValueError: if one of the numbers is negative, or no number.

    Examples:
        >>> from jackfield.store import MemoryStore
        >>> async def lose(behind: MemoryStore) -> None:
        ...     store = CachingStore(behind)
        ...     await store.put("state/billing", b"1")
        ...     await behind.close()
        ...     print(await store.get("state/billing"))
        >>> asyncio.run(lose(MemoryStore()))
        Stored(value=b'1', revision=1)
    """

    def __init__(
        self,
        store: Store,
        *,
        staleness: float = STALENESS,
        patience: float = PATIENCE,
        size: int = SIZE,
        clock: Clock | None = None,
    ) -> None:
        for name, number in (("staleness", staleness), ("patience", patience), ("size", size)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} is a number from 0 on, not {number!r}")
        self._store = store
        self._staleness, self._patience = staleness, patience
        self._clock: Clock = clock or SystemClock()
        self._known = Known(size)
        self._slow = False
        self._closed = False
        self._lock = threading.Lock()  # of what follows
        self._background: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[Range]] = {}
        self._stale, self._oldest = 0, 0.0

    async def get(self, key: str, /) -> Stored | None:
        """Read a value; arguments and errors of all methods are those of `ports.Store`."""
        check_key(key)
        # A range of one key, since it says at which revision of the store there was nothing, too.
        return (await self._read(key)).entries.get(key)

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix at one revision."""
        check_prefix(prefix)
        return await self._read(prefix)

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        check_key(key)
        self._check_open()
        mine = lease if isinstance(lease, _CachedLease) and lease.known is self._known else None
        if mine is not None:
            mine.keys.add(key)
        asked, written = self._known.ask(key, self._clock()), None
        try:
            revision = await self._store.put(key, value, expected=expected, lease=mine.behind if mine else lease)
            self._known.changed(key, revision)
            written = Range(MappingProxyType({key: Stored(value, revision)}), revision)
        except StoreConflict:
            self._known.changed(key)
            raise
        except LeaseEnded:
            if mine is not None:
                mine.forget()
            raise
        finally:
            self._known.answered(asked, written)
        return revision

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        check_key(key)
        self._check_open()
        asked, written = self._known.ask(key, self._clock()), None
        try:
            revision = await self._store.delete(key, expected=expected)
            self._known.changed(key, revision or math.inf)
            written = Range(MappingProxyType({}), revision) if revision else None
        except StoreConflict:
            self._known.changed(key)
            raise
        finally:
            self._known.answered(asked, written)
        return revision

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix."""
        check_prefix(prefix)
        return self._watch(prefix, since)

    async def _watch(self, prefix: str, since: int) -> AsyncGenerator[StoreEvent, None]:
        self._check_open()
        async with aclosing(self._store.watch(prefix, since=since)) as events:
            async for event in events:
                self._known.changed(event.key, event.revision)
                yield event

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        self._check_open()
        return _CachedLease(await self._store.lease(ttl), self._known)

    async def close(self) -> None:
        """Close the store, and forget what is known; whoever still waits gets `Unavailable`."""
        self._closed = True
        with self._lock:
            background = tuple(self._background.items())
        for (loop, _), task in background:
            with suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(task.cancel)
        self._known.clear()
        await self._store.close()

    def stats(self) -> CachingStats:
        """Tell how it stands."""
        with self._lock:
            return CachingStats(self._slow, self._stale, self._oldest, self._known.size)

    # --- Reading ------------------------------------------------------------------------------------------------------

    async def _read(self, prefix: str) -> Range:
        self._check_open()
        if self._slow and (answer := self._usable(prefix)) is not None:
            self._refresh(prefix)
            return self._served(answer)
        # Each read asks for itself: an answer to an earlier question may lack what was written before this one.
        task = asyncio.get_running_loop().create_task(self._ask(prefix))
        try:
            await asyncio.wait((task,), timeout=self._patience)
            if not task.done():
                self._slow = True
                if (answer := self._usable(prefix)) is not None:
                    self._leave(task, prefix)
                    return self._served(answer)
                await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise
        try:
            return task.result()
        except Unavailable:
            answer = self._usable(prefix)
            if answer is None:
                raise
            return self._served(answer)

    async def _ask(self, prefix: str) -> Range:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        asked = self._known.ask(prefix, self._clock())
        try:
            found = await self._store.range(prefix)
        except BaseException:
            self._known.answered(asked, None)
            raise
        self._slow = loop.time() - begun > self._patience
        self._known.answered(asked, found)
        return found

    def _usable(self, prefix: str) -> Answer | None:
        answer = None if self._closed else self._known.find(prefix)
        return answer if answer is not None and self._clock() - answer.at <= self._staleness else None

    def _served(self, answer: Answer) -> Range:
        with self._lock:
            self._stale += 1
            self._oldest = max(self._oldest, self._clock() - answer.at)
        return answer.found

    # --- In the background --------------------------------------------------------------------------------------------

    def _refresh(self, prefix: str) -> None:
        """Ask anew, for those who read next; once at a time."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if (loop, prefix) in self._background or sum(there is loop for there, _ in self._background) >= _ASKED:
                return
        self._leave(loop.create_task(self._ask(prefix)), prefix)

    def _leave(self, task: "asyncio.Task[Range]", prefix: str) -> None:
        """Let a question go on in the background, as long as anybody could use its answer."""
        loop = asyncio.get_running_loop()
        place = loop, prefix
        with self._lock:
            self._background = {there: other for there, other in self._background.items() if not there[0].is_closed()}
            if self._background.setdefault(place, task) is not task:
                task.cancel()
                return
        patience = loop.call_later(self._staleness, task.cancel)

        def ended(_: Any) -> None:
            patience.cancel()
            with self._lock:
                self._background.pop(place, None)
            if not task.cancelled():
                task.exception()  # whoever reads next without anything to fall back on asks, and is told

        task.add_done_callback(ended)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("store", "it has been closed", "store")


@attrs.frozen(eq=False)
class _CachedLease:
    """A lease of the store behind, and what must be forgotten when it is over."""

    behind: Lease
    known: Known = attrs.field(repr=False)
    keys: set[str] = attrs.field(factory=set, init=False, repr=False)

    @property
    def id(self) -> str:
        """Name it."""
        return self.behind.id

    @property
    def ttl(self) -> float:
        """Give the seconds that it lives without being renewed."""
        return self.behind.ttl

    async def renew(self) -> None:
        """Begin its time anew."""
        try:
            await self.behind.renew()
        except LeaseEnded:
            self.forget()
            raise

    async def release(self) -> None:
        """End it, and delete what was put with it."""
        try:
            await self.behind.release()
        finally:
            self.forget()

    def forget(self) -> None:
        """Have no read serve what was put with it."""
        for key in tuple(self.keys):
            self.known.changed(key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()
