"""The tables of a store in SQLite, and what the port's methods do to them, within a transaction of their caller.

    writes(revision, key, value)    every write that is kept: the current ones and the newest; NULL is a deletion
    entries(key, revision, lease)   which write of a key is the current one, and the lease that it goes with
    leases(id, ttl, renewals)       those that live; who looks sees by the count whether one is renewed
    state(newest, oldest, spare)    the newest revision; the one after which no write is missing; bytes of what is kept
                                    though it was overwritten

A value is written once: overwriting it leaves it where it is, for those who watch, until there are too many.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from jackfield.errors import LeaseEnded, StoreCompacted, StoreConflict
from jackfield.ports import Stored, StoreEvent
from jackfield.store.history import EVENTS, SIZE

SCHEMA: Final = """
CREATE TABLE writes (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB) STRICT;
CREATE TABLE entries (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, lease TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX leased ON entries (lease) WHERE lease IS NOT NULL;
CREATE TABLE leases (id TEXT PRIMARY KEY, ttl REAL NOT NULL, renewals INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (newest INTEGER NOT NULL, oldest INTEGER NOT NULL, spare INTEGER NOT NULL) STRICT;
INSERT INTO state VALUES (0, 0, 0);
"""

_OLDEST: Final = """
SELECT length(value), EXISTS (SELECT 1 FROM entries WHERE key = writes.key AND revision = writes.revision)
FROM writes WHERE revision = ?
"""


class Tables:
    """What one transaction does; begun by `begin`, ended by `end`.

    Args:
        connection: in a transaction that nobody else can write in.

    Attributes:
        before: the newest revision before this transaction.
        newest: the newest revision now.
        written: the keys that were written, in order.
        over: the leases that were ended.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self.before, self._oldest, self._spare = self._run("SELECT newest, oldest, spare FROM state").fetchone()
        self.newest: int = self.before
        self.written: list[str] = []
        self.over: list[str] = []

    def put(self, key: str, value: bytes, expected: int | None, lease: tuple[str, float] | None) -> int:
        """Write a value; arguments and errors are those of `ports.Store.put`, the lease is its id and time."""
        there = self._expect(key, expected)
        if lease is not None and not self._run("SELECT 1 FROM leases WHERE id = ?", lease[:1]).fetchone():
            raise LeaseEnded(*lease)
        revision = self._write(key, value, there)
        held = lease[0] if lease is not None else None
        self._run(
            "INSERT INTO entries VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, lease = excluded.lease",
            (key, revision, held),
        )
        return revision

    def delete(self, key: str, expected: int | None) -> int:
        """Forget a key, as `ports.Store.delete` does."""
        there = self._expect(key, expected)
        if not there:
            return 0
        self._run("DELETE FROM entries WHERE key = ?", (key,))
        return self._write(key, None, there)

    def grant(self, lease: str, ttl: float) -> None:
        """Note a lease."""
        self._run("INSERT INTO leases VALUES (?, ?, 0)", (lease, ttl))

    def renew(self, lease: str, ttl: float) -> int:
        """Note a renewal of a lease, so that others see it; give how many there were.

        Raises:
            LeaseEnded: if it is over.
        """
        rows = self._run(
            "UPDATE leases SET renewals = renewals + 1 WHERE id = ? RETURNING renewals", (lease,)
        ).fetchall()
        if not rows:
            raise LeaseEnded(lease, ttl)
        renewals: int = rows[0][0]
        return renewals

    def release(self, lease: str, renewals: int | None = None) -> None:
        """End a lease and delete its keys; given a number of renewals, only if there was none since."""
        ended = self._run("DELETE FROM leases WHERE id = ? AND renewals = ifnull(?, renewals)", (lease, renewals))
        self.over.append(lease)
        if ended.rowcount:
            for (key,) in self._run("SELECT key FROM entries WHERE lease = ? ORDER BY key", (lease,)).fetchall():
                self.delete(key, None)

    def end(self) -> bool:
        """Let the oldest writes go that are beyond the bounds; tell whether anything was written."""
        if self.newest == self.before:
            return False
        while self.newest - self._oldest > EVENTS or self._spare > SIZE:
            self._oldest += 1
            size, current = self._run(_OLDEST, (self._oldest,)).fetchone()
            if not current:
                self._forget(self._oldest, size)
        self._run("UPDATE state SET newest = ?, oldest = ?, spare = ?", (self.newest, self._oldest, self._spare))
        return True

    def _expect(self, key: str, expected: int | None) -> int:
        row = self._run("SELECT revision FROM entries WHERE key = ?", (key,)).fetchone()
        found: int = row[0] if row is not None else 0
        if expected is not None and expected != found:
            raise StoreConflict(key, expected, found)
        return found

    def _write(self, key: str, value: bytes | None, replaced: int) -> int:
        self.newest += 1
        self._run("INSERT INTO writes VALUES (?, ?, ?)", (self.newest, key, value))
        self.written.append(key)
        if replaced:
            (size,) = self._run("SELECT length(value) FROM writes WHERE revision = ?", (replaced,)).fetchone()
            self._spare += size
            if replaced <= self._oldest:  # nobody can watch from there
                self._forget(replaced, size)
        return self.newest

    def _forget(self, revision: int, size: int | None) -> None:
        self._run("DELETE FROM writes WHERE revision = ?", (revision,))
        self._spare -= size or 0


# --- Reading ----------------------------------------------------------------------------------------------------------


def newest(connection: sqlite3.Connection) -> int:
    """Give the newest revision."""
    found: int = connection.execute("SELECT newest FROM state").fetchone()[0]
    return found


def get(connection: sqlite3.Connection, key: str) -> Stored | None:
    """Read a value, or None."""
    row = connection.execute(
        "SELECT value, revision FROM writes WHERE revision = (SELECT revision FROM entries WHERE key = ?)", (key,)
    ).fetchone()
    return None if row is None else Stored(*row)


def under(connection: sqlite3.Connection, prefix: str) -> Iterator[tuple[str, Stored]]:
    """Read all values under a prefix, by key."""
    where, bounds = _covered(prefix)
    rows = f"SELECT key, value, revision FROM entries JOIN writes USING (key, revision) WHERE {where} ORDER BY key"  # noqa: S608
    for key, value, revision in connection.execute(rows, bounds):
        yield key, Stored(value, revision)


def after(connection: sqlite3.Connection, since: int, prefix: str) -> tuple[tuple[StoreEvent, ...], int]:
    """Read the writes under a prefix after a revision, and the newest revision of all.

    Raises:
        StoreCompacted: if not all of them are kept, or there is no such revision yet.
    """
    newest, oldest = connection.execute("SELECT newest, oldest FROM state").fetchone()
    if not oldest <= since <= newest:
        raise StoreCompacted(since, oldest, newest)
    where, bounds = _covered(prefix)
    rows = f"SELECT key, revision, value FROM writes WHERE revision > ? AND {where} ORDER BY revision"  # noqa: S608
    return tuple(StoreEvent(*row) for row in connection.execute(rows, (since, *bounds))), newest


def leases(connection: sqlite3.Connection) -> Iterable[tuple[str, float, int]]:
    """Read the leases that live: id, time, renewals."""
    return connection.execute("SELECT id, ttl, renewals FROM leases").fetchall()


def _covered(prefix: str) -> tuple[str, tuple[str, ...]]:
    """Say in SQL which keys a prefix covers; "0" is what follows "/" in the order of bytes."""
    if not prefix:
        return "TRUE", ()
    if not prefix.endswith("/"):
        return "key = ?", (prefix,)
    return "key >= ? AND key < ?", (prefix, f"{prefix[:-1]}0")
