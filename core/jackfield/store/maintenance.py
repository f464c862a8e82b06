"""Looking after the file of a store in SQLite, while hosts use it: what is in it, is it sound, a copy, less room."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import attrs

from jackfield.errors import StoreUnusable, Unavailable
from jackfield.store.opening import check_file, open_file

_PAGES = 256  # that are copied at once: between them others can write


@attrs.frozen
class Findings:
    """What is in a store's file.

    Attributes:
        path: of the file.
        size: bytes, those of what is not yet in it included.
        entries: keys that are there.
        revision: the newest one.
        leases: leases that live, or have not been seen to end.
        wrong: what is wrong with the file; empty if it is sound.
    """

    path: Path
    size: int
    entries: int
    revision: int
    leases: int
    wrong: tuple[str, ...] = ()


def check(path: Path) -> Findings:
    """Look through a whole file; it is not changed.

    Args:
        path: of the file.

    Returns:
        What is in it, and what is wrong.

    Raises:
        FileNotFoundError: if there is none.
        StoreUnusable: if it cannot be read at all.
    """
    wrong = check_file(_there(path))
    with closing(open_file(path)) as connection:
        (revision,) = connection.execute("SELECT newest FROM state").fetchone()
        (entries,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        (leases,) = connection.execute("SELECT count(*) FROM leases").fetchone()
    return Findings(path, size(path), entries, revision, leases, wrong)


def size(path: Path) -> int:
    """Give the bytes that a store takes, those of what is not yet in its file included."""
    return sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")) if each.exists())


def compact(path: Path) -> tuple[int, int]:
    """Give room that nothing takes any more back to the disk; hosts wait meanwhile.

    Args:
        path: of the file.

    Returns:
        The bytes before, and after.

    Raises:
        FileNotFoundError: if there is none.
        StoreUnusable: if it is no sound store.
        Unavailable: if others hold it, or the disk has no room for the new file.
    """
    with closing(open_file(_there(path))) as connection:
        before = size(path)
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            raise Unavailable("store", f"{path.name} cannot be compacted now: {error}", "store", ran=False) from error
        return before, size(path)


def backup(path: Path, target: Path, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> int:
    """Copy a store as it is at one moment, while hosts go on.

    Args:
        path: of the file.
        target: of the copy, which is there as a whole or not at all; for its user alone.
        force: replace what is there.
        progress: told of the pages that are copied, and of how many there are.

    Returns:
        The bytes of the copy.

    Raises:
        FileExistsError: if the target is there, is the store itself, or is in use.
        FileNotFoundError: if there is no such store.
        StoreUnusable: if it is no sound store, or the copy is not.
        Unavailable: if it cannot be written.
    """
    if target.exists() and (not force or target.samefile(path)):
        raise FileExistsError(f"{target} is {'the store itself' if target.samefile(path) else 'there already'}")
    if target.with_name(f"{target.name}-wal").exists():  # it would be taken for a part of the copy
        raise FileExistsError(f"{target}-wal stands there: a process uses that store, or has ended in the middle")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(open_file(_there(path))) as source, closing(sqlite3.connect(beside)) as copy:
            try:
                source.backup(
                    copy,
                    pages=_PAGES,
                    progress=None if progress is None else lambda _, left, total: progress(total - left, total),
                )
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # so that the copy is one file
            except sqlite3.OperationalError as error:
                raise Unavailable("store", f"{target.name} cannot be written: {error}", "store", ran=False) from error
        wrong = check_file(beside)
        if wrong:
            raise StoreUnusable(str(path), f"its copy is not sound: {wrong[0]}", "see the disk; no copy was kept")
        descriptor = os.open(beside, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(target)
    finally:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                beside.with_name(beside.name + ending).unlink()
    return size(target)


def _there(path: Path) -> Path:
    """Refuse what is not there: opening would make it."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no store {path}")
    return path
