"""Looking after the file of a store in SQLite, while hosts use it: a copy, less room."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from jackfield.errors import StoreUnusable, Unavailable
from jackfield.store.looking import look, require_store, size
from jackfield.store.opening import connect, open_file

_PAGES = 256  # that are copied at once: between them others can write

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


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
    require_store(path)
    with closing(open_file(path)) as connection:
        before = size(path)
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            raise Unavailable("store", f"{path.name} cannot be compacted now: {error}", "store", ran=False) from error
        return before, size(path)


def backup(path: Path, target: Path, *, force: bool = False, progress: Progress | None = None) -> int:
    """Copy a store as it is at one moment, while hosts go on.

    Args:
        path: of the file.
        target: of the copy, which is there as a whole or not at all; for its user alone.
        force: replace what is there.
        progress: told what is done, how many pages of it, and of how many; of 0 where that is not known.

    Returns:
        The bytes of the copy, which is on the disk by then.

    Raises:
        FileExistsError: if the target is there, is the store itself, or is in use.
        FileNotFoundError: if there is no such store.
        StoreUnusable: if it is no sound store, or the copy is not.
        Unavailable: if it cannot be written.
    """
    require_store(path)
    if target.exists() and (not force or target.samefile(path)):
        raise FileExistsError(f"{target} is {'the store itself' if target.samefile(path) else 'there already'}")
    if target.with_name(f"{target.name}-wal").exists():  # it would be taken for a part of the copy
        raise FileExistsError(f"{target}-wal stands there: a process uses that store, or has ended in the middle")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(connect(path)) as source, closing(sqlite3.connect(beside)) as copy:
            try:
                source.backup(
                    copy,
                    pages=_PAGES,
                    progress=None
                    if progress is None
                    else lambda _, left, total: progress("copying", total - left, total),
                )
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # so that the copy is one file
            except sqlite3.OperationalError as error:
                raise Unavailable("store", f"{target.name} cannot be written: {error}", "store", ran=False) from error
            except sqlite3.DatabaseError as error:
                fix = f"no copy was kept; pluginctl store check {path} says more"
                raise StoreUnusable(str(path), f"it is damaged: {error}", fix) from error
        if progress is not None:
            progress("checking", 0, 0)
        wrong = [each for each in look(beside).wrong if each.kind != "network"]  # a copy may lie anywhere
        if wrong:
            raise StoreUnusable(str(path), f"its copy is not sound: {wrong[0].what}", "see the disk; no copy was kept")
        sync(beside)
        beside.replace(target)
        sync(target.absolute().parent)  # or the name would be gone after a loss of power
    finally:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                beside.with_name(beside.name + ending).unlink()
    return size(target)


def sync(path: Path) -> None:
    """Have a file, or the names of a folder, on the disk when this returns."""
    if os.name != "posix" and path.is_dir():  # cannot be opened there
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
