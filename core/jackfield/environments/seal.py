"""The list of what is in an environment: made when it is finished, compared when it is opened.

Whoever opens one walks its folder: a file that is missing, one too many or of another size is found at once, and one
whose stamps (times, inode) are not those of the list is read and hashed.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from jackfield.environments.faults import refused

Files = dict[str, tuple[int, str]]
"""Size and sha256 by path, parts separated by "/"."""

Stamps = dict[str, tuple[int, int, int]]
"""Times of content and status, and inode, by path."""

_WRITE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH | stat.S_IRWXG | stat.S_IRWXO


def seal(folder: Path, plugin: str) -> tuple[Files, Stamps]:
    """Make everything in a folder read-only, for this user alone, and list it.

    Args:
        folder: which; it is read-only afterwards itself.
        plugin: whose it is, for an error.

    Raises:
        PluginError: when something in it is no file, or has a name that cannot be written down.
        OSError: when it cannot be read or changed.
    """
    files: Files = {}
    stamps: Stamps = {}
    for name, path, status in _walk(folder):
        if not stat.S_ISREG(status.st_mode) or not (name.isascii() or _is_text(name)):
            reason = f"{name.encode('utf-8', 'backslashreplace').decode()} in it is no ordinary file"
            raise refused(plugin, reason, "its wheel is broken: use another one")
        os.chmod(path, stat.S_IMODE(status.st_mode) & ~_WRITE)  # noqa: PTH101  # strings: thousands of them
        files[name] = status.st_size, _digest(path)
        stamps[name] = _stamp(os.stat(path))  # noqa: PTH116  # as above
    for parent, _, _ in os.walk(folder, topdown=False):
        os.chmod(parent, 0o500)  # noqa: PTH101  # as above
    return files, stamps


def differs(folder: Path, files: Mapping[str, tuple[int, str]], stamps: Stamps) -> str | None:
    """Compare a folder with its list.

    Args:
        folder: which.
        files: the list.
        stamps: those of the files as they were looked at last; those of files that had to be read again are renewed.

    Returns:
        What differs, as a clause; None when nothing does.

    Raises:
        OSError: when it cannot be read.
    """
    found = 0
    for name, path, status in _walk(folder):
        if name not in files:
            return f"{name} was put into it"
        size, sha256 = files[name]
        now = _stamp(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return f"{name} is not what was installed"
        if stamps.get(name) != now:
            if _digest(path) != sha256:
                return f"{name} is not what was installed"
            stamps[name] = now
        found += 1
    if found != len(files):
        missing = next(name for name in files if not (folder / name).is_file())
        return f"{missing} is missing"
    return None


def size_of(files: Mapping[str, tuple[int, str]]) -> int:
    """Add up the sizes."""
    return sum(size for size, _ in files.values())


def _walk(folder: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Give everything that is no folder, with its path below."""
    below = [("", str(folder))]
    while below:
        prefix, place = below.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    below.append((f"{prefix}{entry.name}/", entry.path))
                else:
                    # On Windows the status of an entry has no inode; what matters is that it always has none.
                    yield prefix + entry.name, entry.path, status


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(path: str) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123  # a string
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
