"""The store that lives as long as its process: the default, and the fake that ships with the port."""

import asyncio
import threading
import weakref
from bisect import bisect_left, insort
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Self

import attrs

from jackfield.errors import StoreConflict, Unavailable
from jackfield.model.keys import check_key, check_prefix, check_value, within
from jackfield.ports import Clock, Lease, Range, Stored, StoreEvent
from jackfield.runtime.clock import SystemClock
from jackfield.store.history import History
from jackfield.store.leases import Leases


class MemoryStore:
    """Keeps values in a dict; adapter of `ports.Store`.

    A small lock makes it right for threads and event loops at once: nothing is awaited and no foreign code runs under
    it. Leases need no thread: whoever uses the store next ends those that are overdue, and a watch wakes up for it.

    Args:
        clock: decides when leases end.

    Examples:
        >>> import asyncio
        >>> from jackfield import StoreConflict
        >>> async def twice(store: MemoryStore) -> None:
        ...     first = await store.put("state/billing", b"1", expected=0)
        ...     await store.put("state/billing", b"2", expected=first)
        ...     try:
        ...         await store.put("state/billing", b"3", expected=first)
        ...     except StoreConflict as conflict:
        ...         print(conflict.found, (await store.get("state/billing")).value)
        >>> asyncio.run(twice(MemoryStore()))
        2 b'2'
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        # Reentrant: the garbage collector may run a finalizer that comes here, at any line.
        self._lock = threading.RLock()
        self._values: dict[str, Stored] = {}
        self._keys: list[str] = []  # sorted, for ranges
        self._history = History()
        self._leases = Leases()
        self._waiting: set[_Waiter] = set()
        self._woken: list[_Waiter] = []
        self._closed = False
        self._clock.on_jump(_waker(self._wake_all))

    async def get(self, key: str, /) -> Stored | None:
        """Read a value; arguments and errors of all methods are those of `ports.Store`."""
        check_key(key)
        with self._turn():
            return self._values.get(key)

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        check_key(key)
        check_value(key, value)
        with self._turn():
            self._expect(key, expected)
            if lease is not None:
                self._leases.attach(key, lease.id, lease.ttl)
            else:
                self._leases.detach(key)
            return self._write(key, value)

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        check_key(key)
        with self._turn():
            self._expect(key, expected)
            if key not in self._values:
                return 0
            self._leases.detach(key)
            return self._write(key, None)

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix at one revision."""
        check_prefix(prefix)
        with self._turn():
            return Range(MappingProxyType(self._under(prefix)), self._history.newest)

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix."""
        check_prefix(prefix)
        return self._watch(prefix, since)

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        with self._turn():
            lease = self._leases.grant(ttl, self._clock())
        return _MemoryLease(lease, ttl, partial(self._renew, lease, ttl), partial(self._release, lease))

    def _renew(self, lease: str, ttl: float) -> None:
        with self._turn():
            self._leases.renew(lease, ttl, self._clock())

    def _release(self, lease: str) -> None:
        with self._turn():
            self._end(lease)

    async def close(self) -> None:
        """Forget everything; whoever still waits gets `Unavailable`."""
        with self._lock:
            self._closed = True
            self._values, self._keys, self._history, self._leases = {}, [], History(), Leases()
        self._wake_all()

    # --- Under the lock ---------------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock of an open store, its overdue leases ended first; wake those who watch when it is released."""
        try:
            with self._lock:
                if self._closed:
                    raise Unavailable("store", "it has been closed")
                for lease in self._leases.overdue(self._clock()):
                    self._end(lease)
                yield
        finally:
            with self._lock:
                woken, self._woken = self._woken, []
            for waiter in woken:
                waiter.wake()

    def _expect(self, key: str, expected: int | None) -> None:
        there = self._values.get(key)
        found = there.revision if there is not None else 0
        if expected is not None and expected != found:
            raise StoreConflict(key, expected, found)

    def _write(self, key: str, value: bytes | None) -> int:
        """Make the next revision: put the value, or forget a key that is there."""
        revision = self._history.newest + 1
        if value is None:
            del self._values[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = Stored(value, revision)
        event = StoreEvent(key, revision, value)
        self._history.add(event)
        met = [waiter for waiter in self._waiting if within(key, waiter.prefix)]
        for waiter in met:
            waiter.event = event
        self._waiting.difference_update(met)
        self._woken += met
        return revision

    def _under(self, prefix: str) -> dict[str, Stored]:
        if prefix and not prefix.endswith("/"):
            return {prefix: self._values[prefix]} if prefix in self._values else {}
        first = bisect_left(self._keys, prefix)
        last = bisect_left(self._keys, f"{prefix[:-1]}0") if prefix else len(self._keys)  # "0" is what follows "/"
        return {key: self._values[key] for key in self._keys[first:last]}

    def _end(self, lease: str) -> None:
        for key in self._leases.end(lease):
            self._write(key, None)

    # --- Watching ---------------------------------------------------------------------------------------------------

    async def _watch(self, prefix: str, since: int) -> AsyncGenerator[StoreEvent, None]:
        while True:
            with self._turn():
                events = self._history.after(since, prefix)
                since = self._history.newest
                # Registered in the same turn: no write falls between looking and waiting.
                waiter = None if events else self._wait(prefix)
            if waiter is not None:
                event, since = await self._awaited(waiter)
                events = (event,) if event is not None else ()
            for event in events:
                yield event

    def _wait(self, prefix: str) -> "_Waiter":
        loop = asyncio.get_running_loop()
        waiter = _Waiter(prefix, loop, loop.create_future())
        self._waiting.add(waiter)
        ends = self._leases.next_end()
        waiter.patience = None if ends is None else max(ends - self._clock(), 0.0)
        return waiter

    async def _awaited(self, waiter: "_Waiter") -> tuple[StoreEvent | None, int]:
        """Wait for the first write under a waiter's prefix, or for the end of a lease; give it and where to go on.

        The event is handed over by its writer, so that one whose value is too large for the history is not missed.
        """
        try:
            await asyncio.wait((waiter.future,), timeout=waiter.patience)
        finally:
            with self._lock:
                self._waiting.discard(waiter)
                event, newest = waiter.event, self._history.newest
        return event, newest if event is None else event.revision

    def _wake_all(self) -> None:
        with self._lock:
            waiting = tuple(self._waiting)
        for waiter in waiting:
            waiter.wake()


@attrs.define(eq=False)
class _Waiter:
    """A watch at rest: on its own loop, until it is woken from any thread."""

    prefix: str
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None]"
    patience: float | None = None
    event: StoreEvent | None = None

    def wake(self) -> None:
        try:
            self.loop.call_soon_threadsafe(_settle, self.future)
        except RuntimeError:  # its loop is closed: nobody waits there any more
            return


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _waker(method: Callable[[], None]) -> Callable[[], None]:
    """Call a store's method for as long as there is that store."""
    reference = weakref.WeakMethod(method)

    def wake() -> None:
        there = reference()
        if there is not None:
            there()

    return wake


@attrs.frozen
class _MemoryLease:
    id: str
    ttl: float
    _again: Callable[[], None] = attrs.field(repr=False)
    _over: Callable[[], None] = attrs.field(repr=False)

    async def renew(self) -> None:
        """Begin its time anew."""
        self._again()

    async def release(self) -> None:
        """End it, and delete what was put with it."""
        self._over()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()
