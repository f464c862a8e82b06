"""Locks on files: they end with their process however it ends, and hold between threads as between processes.

A lock file may be removed by whoever has it exclusively. So a lock counts only if the file that was locked is still the
one that has the name; else the next one is tried.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.05  # seconds between two looks: a lock of a file cannot be waited for and given up


class FileLock:
    """A lock that is held until `release`.

    Attributes:
        descriptor: of the lock file; a child process that inherits it holds the lock as well.
    """

    __slots__ = ("_path", "descriptor")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> "FileLock | None":
        """Take a lock if it is free.

        Args:
            path: the lock file; it is made.
            shared: whether others may share it.

        Returns:
            The lock, None when somebody else has it.

        Raises:
            OSError: if the file cannot be made.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            if not _locked(descriptor, shared=shared):
                os.close(descriptor)
                return None
            try:
                there = path.stat()
            except FileNotFoundError:
                os.close(descriptor)
                continue
            mine = os.fstat(descriptor)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return cls(path, descriptor)
            os.close(descriptor)

    @classmethod
    def wait(cls, path: Path, *, shared: bool = False, waiting: Callable[[], None] = lambda: None) -> "FileLock":
        """Take a lock once it is free.

        Args:
            path: the lock file; it is made.
            shared: whether others may share it.
            waiting: called once when it is not free; and again at each look, so that it may give up by raising.

        Raises:
            OSError: if the file cannot be made.
        """
        while (lock := cls.take(path, shared=shared)) is None:
            waiting()
            time.sleep(_PAUSE)
        return lock

    def release(self, *, remove: bool = False) -> None:
        """Let it go. May be repeated.

        Args:
            remove: whether the file goes, too; only for one that is held exclusively.
        """
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        if remove:
            with suppress(OSError):  # on Windows it can be removed once it is closed, by whoever comes next
                self._path.unlink()
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int, *, shared: bool) -> bool:
        if shared:  # the system itself refuses to remove a folder in which somebody has a file open
            return True
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(descriptor: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except BaseException:
            os.close(descriptor)
            raise
        return True
