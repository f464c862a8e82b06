"""The store that lasts: one file in SQLite, for any number of threads and processes of one machine."""

import asyncio
import math
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

import attrs

from jackfield.errors import JackfieldError, Unavailable
from jackfield.model.keys import check_key, check_prefix, check_value, within
from jackfield.ports import Clock, Lease, Range, Stored, StoreEvent
from jackfield.runtime.clock import SystemClock
from jackfield.store import tables
from jackfield.store.lane import Job, Lane
from jackfield.store.observing import Observing
from jackfield.store.opening import connect, open_file
from jackfield.store.tables import Tables

T = TypeVar("T")

_TOGETHER: Final = 256  # writes that share one transaction
_LOOK: Final = 0.02  # seconds between two looks at what other processes have written, right after they have
_REST: Final = 0.25  # and when they have not for a while
_ASLEEP: Final = 1.0  # and when nobody here watches: their leases are looked at still


class SQLiteStore:
    """Keeps values in one file; adapter of `ports.Store`.

    What was written when a method returns is on the disk, whatever becomes of the process or the machine then. Writes
    that come while one is being made durable share the next transaction, so that many at once cost little more than
    one. Several processes may use the file, on one machine: each sees what the others write within a quarter of a
    second, and a lease ends when nobody has seen a renewal for its time.

    Args:
        path: of the file; it is made, for its user alone, if it is not there.
        clock: decides when leases end.

    Raises:
        StoreUnusable: if the file cannot be used, and why; it is left as it is.
        OSError: if it cannot be made or read.

    Examples:
        >>> import asyncio, tempfile
        >>> async def twice(path: Path) -> None:
        ...     for number in (b"1", b"2"):
        ...         store = SQLiteStore(path)
        ...         before = await store.get("state/billing")
        ...         print(before and before.value, await store.put("state/billing", number))
        ...         await store.close()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     asyncio.run(twice(Path(folder, "jackfield.db")))
        None 1
        b'1' 2
    """

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None) -> None:
        self.path: Final = Path(path).absolute()
        self._clock: Clock = clock or SystemClock()
        self._process = os.getpid()
        self._connection = open_file(self.path)
        self._reading = connect(self.path)
        self._observing = Observing()
        self._lock = threading.Lock()  # of those who watch
        self._waiting: set[_Waiter] = set()
        self._version = -1  # of the file, as the reading connection has seen it
        self._pause = _REST
        self._closed = False
        self._writer = Lane("jackfield-store-write", self._write_all, most=_TOGETHER)
        self._reader = Lane("jackfield-store-read", self._read_all, most=1, idle=self._look)
        self._clock.on_jump(self._reader.wake)

    async def get(self, key: str, /) -> Stored | None:
        """Read a value; arguments and errors of all methods are those of `ports.Store`."""
        check_key(key)
        return await self._read(lambda connection: tables.get(connection, key))

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value."""
        check_key(key)
        check_value(key, value)
        held = None if lease is None else (lease.id, lease.ttl)
        return await self._write(lambda change: change.put(key, value, expected, held))

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key."""
        check_key(key)
        return await self._write(lambda change: change.delete(key, expected))

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix at one revision."""
        check_prefix(prefix)

        def read(connection: sqlite3.Connection) -> Range:
            return Range(MappingProxyType(dict(tables.under(connection, prefix))), tables.newest(connection))

        return await self._read(read)

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix."""
        check_prefix(prefix)
        return self._watch(prefix, since)

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease."""
        if not 0.0 < ttl < math.inf:
            raise ValueError(f"a lease lives for a positive number of seconds, not {ttl!r}")
        lease = os.urandom(16).hex()
        await self._write(lambda change: change.grant(lease, ttl))
        self._observing.note(lease, ttl, 0, self._clock())
        self._reader.wake()
        return _SQLiteLease(lease, ttl, self)

    async def close(self) -> None:
        """Close the file, when what is under way is done; whoever still waits gets `Unavailable`."""
        with self._lock:
            closed, self._closed = self._closed, True
            waiting = tuple(self._waiting)
        for waiter in waiting:
            waiter.wake()
        if not closed and self._process == os.getpid():
            await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._reader.close()
        self._writer.close()
        self._reading.close()
        self._connection.close()

    async def renew(self, lease: str, ttl: float) -> None:
        """Begin a lease's time anew; what its object does."""
        renewals = await self._write(lambda change: change.renew(lease, ttl))
        self._observing.note(lease, ttl, renewals, self._clock())

    async def release(self, lease: str) -> None:
        """End a lease; what its object does."""
        await self._write(lambda change: change.release(lease))

    # --- From a loop to a thread, and back ----------------------------------------------------------------------------

    async def _write(self, what: Callable[[Tables], T]) -> T:
        await self._leases_ended()
        return await self._done(self._writer, what)

    async def _read(self, what: Callable[[sqlite3.Connection], T]) -> T:
        await self._leases_ended()
        return await self._done(self._reader, what)

    async def _leases_ended(self) -> None:
        """End those that are overdue, before anybody sees what went with them."""
        ends = self._observing.next_end()
        if ends is not None and ends <= self._clock():
            await self._done(self._reader, self._judge)
            for lease, renewals in self._observing.overdue(self._clock()):
                await self._done(self._writer, partial(Tables.release, lease=lease, renewals=renewals))

    async def _done(self, lane: Lane, what: Callable[[Any], T]) -> T:
        if self._process != os.getpid():
            raise Unavailable("store", f"{self.path.name} was opened before a fork: open it in this process", "store")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._closed or not lane.give(Job(what, loop, future)):
            raise Unavailable("store", "it has been closed", "store")
        return await future

    # --- In the writer's thread ---------------------------------------------------------------------------------------

    def _write_all(self, jobs: Sequence[Job]) -> None:
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            change = Tables(self._connection)
            for job in jobs:
                try:
                    job.result = job.what(change)
                except JackfieldError as error:  # nothing was written for it
                    job.error = error
            change.end()
            run("COMMIT")
        except Exception as error:  # noqa: BLE001  # none of them is on the disk, and each is told
            with suppress(sqlite3.Error):
                run("ROLLBACK")
            for job in jobs:
                job.error = self._unavailable(error)
        else:
            for lease in change.over:
                self._observing.forget(lease)
            if change.written:
                self._tell(change)

    def _tell(self, change: Tables) -> None:
        """Wake those who watch what was written; let the others know that it was nothing of theirs."""
        with self._lock:
            met = []
            for waiter in self._waiting:
                if waiter.since < change.before or any(within(key, waiter.prefix) for key in change.written):
                    met.append(waiter)
                else:
                    waiter.since = change.newest
            self._waiting.difference_update(met)
        for waiter in met:
            waiter.wake()

    def _unavailable(self, error: Exception) -> Unavailable:
        fixes = {
            sqlite3.SQLITE_FULL: "the disk is full: make room",
            sqlite3.SQLITE_BUSY: "another process holds it: see what it does",
            sqlite3.SQLITE_CORRUPT: "it is damaged: stop, and restore a backup",
            sqlite3.SQLITE_READONLY: "it can only be read: see who owns it",
        }
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        fix = fixes.get(code, "see the disk that it is on")
        gone = Unavailable(
            "store", f"{self.path.name}: {error}: {fix}; nothing of this was written", "store", ran=False
        )
        gone.__cause__ = error
        return gone

    # --- In the reader's thread ---------------------------------------------------------------------------------------

    def _read_all(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                self._reading.execute("BEGIN")
                try:
                    job.result = job.what(self._reading)
                finally:
                    self._reading.execute("ROLLBACK")
            except JackfieldError as error:
                job.error = error
            except Exception as error:  # noqa: BLE001  # whoever asked is told
                job.error = self._unavailable(error)

    def _judge(self, connection: sqlite3.Connection) -> None:
        """Look at the leases, so that none is ended that another process has renewed meanwhile."""
        self._observing.look(tables.leases(connection), self._clock())

    def _look(self) -> float | None:
        """See whether other processes have written; give the seconds until the next look."""
        try:
            version = self._reading.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version, self._pause = version, _LOOK
                self._judge(self._reading)
                self._news(tables.newest(self._reading))
            else:
                self._pause = min(self._pause * 1.5, _REST)
        except sqlite3.Error:  # whoever reads or writes is told
            self._pause = _REST
        ends = self._observing.next_end()
        left = _ASLEEP if ends is None else ends - self._clock()
        if left <= 0.0:
            for lease, renewals in self._observing.overdue(self._clock()):
                self._writer.give(Job(partial(Tables.release, lease=lease, renewals=renewals)))
            left = _REST
        with self._lock:
            watched = bool(self._waiting)
        return min(self._pause if watched else _ASLEEP, left)

    def _news(self, newest: int) -> None:
        with self._lock:
            met = [waiter for waiter in self._waiting if waiter.since < newest]
            self._waiting.difference_update(met)
        for waiter in met:
            waiter.wake()

    # --- Watching -----------------------------------------------------------------------------------------------------

    async def _watch(self, prefix: str, since: int) -> AsyncGenerator[StoreEvent, None]:
        loop = asyncio.get_running_loop()
        while True:
            # It waits already while it looks: no write falls between.
            waiter = _Waiter(prefix, since, loop, loop.create_future())
            try:
                with self._lock:
                    self._waiting.add(waiter)
                events, since = await self._read(partial(_after, since, prefix))
                if not events:
                    with self._lock:
                        waiter.since = max(waiter.since, since)
                    await waiter.future
                    if self._closed:
                        raise Unavailable("store", "it has been closed", "store")
                    since = waiter.since
            finally:
                with self._lock:
                    self._waiting.discard(waiter)
            for event in events:
                yield event


def _after(since: int, prefix: str, connection: sqlite3.Connection) -> tuple[tuple[StoreEvent, ...], int]:
    return tables.after(connection, since, prefix)


@attrs.define(eq=False)
class _Waiter:
    """A watch at rest: on its own loop, until it is woken from any thread; it has seen all up to a revision."""

    prefix: str
    since: int
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None]"

    def wake(self) -> None:
        # Its loop may be closed: nobody waits there any more.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_settle, self.future)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@attrs.frozen
class _SQLiteLease:
    id: str
    ttl: float
    _store: SQLiteStore = attrs.field(repr=False)

    async def renew(self) -> None:
        """Begin its time anew."""
        await self._store.renew(self.id, self.ttl)

    async def release(self) -> None:
        """End it, and delete what was put with it."""
        await self._store.release(self.id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()
