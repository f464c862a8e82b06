"""Opening the file of a store in SQLite: a sound one, of this kind and of a known version, on a local disk."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from jackfield.errors import StoreUnusable
from jackfield.store.tables import SCHEMA

APPLICATION: Final = 0x6A61636B
"""What marks a file as a store of ours, in its header: "jack"."""

VERSION: Final = 1
"""Of the tables."""

_MIGRATIONS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {}
"""Version → what makes the tables of that version those of the next one, in one transaction with the others."""

_BUSY: Final = 5.0  # seconds to wait for another process
_NEEDED: Final = (3, 37, 0)  # has strict tables
_NETWORK: Final = frozenset(
    {
        "9p", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip


def open_file(path: Path) -> sqlite3.Connection:
    """Open a store's file for writing; make it if it is not there.

    Args:
        path: absolute.

    Returns:
        A connection in autocommit mode, usable from any one thread.

    Raises:
        StoreUnusable: if the file is damaged (a copy is put aside once), no store, of a newer version, or where SQLite
            cannot keep it safe. It is left as it was.
        OSError: if it cannot be made or read.
    """
    if sqlite3.sqlite_version_info < _NEEDED:
        wanted = ".".join(map(str, _NEEDED[:2]))
        raise StoreUnusable(
            str(path), f"this Python has SQLite {sqlite3.sqlite_version}", f"use one with {wanted} or newer"
        )
    kind = _file_system(path.parent)
    if kind in _NETWORK:
        raise StoreUnusable(
            str(path),
            f"it is on a network file system ({kind}), where SQLite cannot lock it safely",
            "put it on a local disk, or use a store that is made for several machines",
        )
    _make(path)
    try:
        return _opened(path)
    except sqlite3.OperationalError as error:
        raise StoreUnusable(
            str(path), f"SQLite says: {error}", "end the process that holds it, or try again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """Make the file, for its user alone; what SQLite puts beside it has the same permissions."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        there = os.fstat(descriptor)
        if os.name == "posix" and there.st_mode & 0o077 and there.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def connect(path: Path) -> sqlite3.Connection:
    """Connect to a store's file that has been checked."""
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        if sys.platform == "darwin":  # where a sync reaches the disk's cache alone, unless one asks for more
            connection.execute("PRAGMA fullfsync = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def check_file(path: Path) -> tuple[str, ...]:
    """Look through a whole file; give what is wrong with it, nothing if it is sound.

    Raises:
        StoreUnusable: as for `open_file`.
    """
    connection = open_file(path)
    try:
        found = [text for (text,) in connection.execute("PRAGMA integrity_check(20)")]
    finally:
        connection.close()
    return () if found == ["ok"] else tuple(found)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if version > VERSION and application == APPLICATION:
        raise StoreUnusable(
            str(path),
            f"its tables are of version {version}, and this jackfield knows {VERSION}",
            "use the jackfield that wrote it, or a newer one; it is left as it is",
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION and (tables or application):
        raise StoreUnusable(str(path), "it is a database of another program", "name another file; it is left as it is")
    found = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(found))
    connection.execute("PRAGMA journal_mode = WAL")
    if application != APPLICATION or version < VERSION:
        _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Make the tables, or those of this version out of older ones; several processes may come at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in SCHEMA.strip().split(";\n"):
                connection.execute(statement)
        else:
            for older in range(version, VERSION):
                _MIGRATIONS[older](connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _damaged(path: Path, reason: str) -> StoreUnusable:
    """Put a copy aside, once; the file stays, so that a restart does not begin with an empty store."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        for ending in ("", "-wal"):
            source = path.with_name(path.name + ending)
            target = path.with_name(aside.name + ending)
            if source.exists() and not target.exists():
                shutil.copy2(source, target)
                target.chmod(0o600)
        kept = f"a copy is kept as {aside.name}"
    except OSError as error:
        kept = f"no copy could be kept: {error.strerror or error}"
    fix = f"restore a backup over it, or move it away to begin with an empty store; {kept}, and nothing was changed"
    return StoreUnusable(str(path), f"it is damaged: {reason}", fix)


def _file_system(folder: Path) -> str:
    """Name the kind of file system that a folder is on; "" where the system does not tell."""
    if sys.platform != "linux":
        return ""
    try:
        where = folder.stat()
        table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    device = f"{os.major(where.st_dev)}:{os.minor(where.st_dev)}"
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in table.splitlines() if line.split(" ", 3)[2] == device]
    return kinds[-1] if kinds else ""
