"""The index: a copy of what the metadata in one directory of `sys.path` says, in the user's cache folder, never stale.

A record is used only while the stamps of the files it was read from are what they were. So a scan with the index still
lists the directory and stats two files of each distribution; what it saves is opening, reading and parsing them. There
is one index for each directory, whoever has it on its path. Whatever is wrong with one, it is ignored, and made anew.
"""

import contextlib
import os
import sys
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from jackfield.plugins.discovery.entries import Entry

ENTRY_POINTS: Final = "entry_points.txt"
HEADERS: Final = ("METADATA", "PKG-INFO")
"""Where Name and Version stand: the first of these that is there, whatever kind of directory it is in."""

Stamp = tuple[int, int, int, int]
"""`mtime_ns`, `ctime_ns`, size and inode. The ctime betrays a rewrite that restored the time of modification."""

YOUNG: Final = 2_000_000_000
"""Nanoseconds: the coarsest clock of any file system. A younger file may change again and keep its stamp."""

_FORMAT: Final = b"jackfield entry points 2\n"
_ENTRY_POINTS: Final = f"{os.sep}{ENTRY_POINTS}"
_KEPT: Final = 64
_WRITABLE_BY_OTHERS: Final = 0o022


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one distribution's metadata says.

    Attributes:
        key: the name by which one distribution is recognised in several places.
        entry_points: the stamp of `entry_points.txt`, None when there is none.
        metadata: the stamp of METADATA or PKG-INFO, None when nothing in it matters.
        name: the distribution's normalised name; "" when it advertises nothing.
        version: its version, likewise.
        entries: what it advertises to jackfield.
        headers: which of `HEADERS` it has.
    """

    key: str
    entry_points: Stamp | None
    metadata: Stamp | None
    name: str = ""
    version: str = ""
    entries: tuple[Entry, ...] = ()
    headers: str = HEADERS[0]

    def settled(self, now: int) -> bool:
        """Whether the files are old enough for their stamps to be trusted.

        Args:
            now: the time at which reading began, in nanoseconds since the epoch.
        """
        stamps = [stamp for stamp in (self.entry_points, self.metadata) if stamp is not None]
        return bool(stamps) and all(max(stamp[0], stamp[1]) < now - YOUNG for stamp in stamps)

    def unchanged(self, location: str) -> bool:
        """Whether the files are those that were read.

        Args:
            location: the metadata directory.
        """
        # A thousand times at every start: hence no helper, no Path, and the two calls that nothing can save.
        entry_points, metadata = self.entry_points, self.metadata
        try:
            if entry_points is not None:
                now = os.stat(location + _ENTRY_POINTS)  # noqa: PTH116
                if (now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino) != entry_points:
                    return False
            elif _is_there(location + _ENTRY_POINTS):
                return False
            if metadata is not None:
                if self.headers != HEADERS[0] and _is_there(f"{location}{os.sep}{HEADERS[0]}"):
                    return False
                now = os.stat(f"{location}{os.sep}{self.headers}")  # noqa: PTH116
                return (now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino) == metadata
        except OSError:
            return False
        return True


def _is_there(file: str) -> bool:
    """Whether anything is there, if only a link to nothing."""
    try:
        os.stat(file, follow_symlinks=False)  # noqa: PTH116
    except FileNotFoundError:
        return False
    return True


class _File(msgspec.Struct, array_like=True):
    site: str
    records: dict[str, Record]


def stamp_of(status: os.stat_result) -> Stamp:
    """Reduce a stat result to what is compared."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def read_index(site: str) -> dict[str, Record]:
    """Read the records of a directory; empty when there is no index, or none that can be trusted.

    Args:
        site: the absolute path of a directory of `sys.path`.

    Returns:
        Records by the name of the metadata directory.
    """
    # Every error here means the same: there is no usable copy. RuntimeError comes of a user without a home.
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError, UnicodeError):
        data = _read_private(_file_for(site))
        body = data[len(_FORMAT) + 4 :]
        if data.startswith(_FORMAT) and data[len(_FORMAT) : len(_FORMAT) + 4] == _checksum(body):
            index = msgspec.msgpack.decode(body, type=_File)
            if index.site == site:
                return index.records
    return {}


def write_index(site: str, records: Mapping[str, Record]) -> None:
    """Replace the index of a directory in one step, so that no other process ever sees half of one.

    Args:
        site: the absolute path of a directory of `sys.path`.
        records: those whose stamps can be trusted.
    """
    # Without a place to write (a read-only home, a full disk), each scan reads the metadata itself: slower, not wrong.
    with contextlib.suppress(OSError, RuntimeError, UnicodeError):
        file = _file_for(site)
        body = msgspec.msgpack.encode(_File(site, dict(records)))
        folder = os.path.dirname(file)  # noqa: PTH120
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        temporary = f"{file}.{os.urandom(8).hex()}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with open(descriptor, "wb") as stream:  # noqa: PTH123
                stream.write(_FORMAT + _checksum(body) + body)
            os.replace(temporary, file)  # noqa: PTH105
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        _prune(folder)


def _file_for(site: str) -> str:
    # Two directories that share a number overwrite each other's index, which names its own: slower, not wrong.
    number = zlib.crc32(site.encode("utf-8", "surrogateescape"))
    return os.path.join(_folder(), f"entry-points-{number:08x}")  # noqa: PTH118


def _folder() -> str:
    """Give the user's cache folder: on Linux by the XDG rule itself, since importing platformdirs takes a scan's time.

    Raises:
        RuntimeError: for a user without a home.
    """
    if sys.platform == "linux":
        root = os.environ.get("XDG_CACHE_HOME", "").strip()
        if not os.path.isabs(root):  # noqa: PTH117  # unset, or one that the rule says is to be ignored
            root = os.path.expanduser("~/.cache")  # noqa: PTH111
        if not os.path.isabs(root):  # noqa: PTH117
            raise RuntimeError("this user has no home")
        return os.path.join(root, "jackfield")  # noqa: PTH118
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_cache_dir("jackfield", appauthor=False)


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")


def _read_private(file: str) -> bytes:
    with open(file, "rb") as stream:  # noqa: PTH123
        if os.name == "posix":
            status = os.fstat(stream.fileno())
            # What somebody else could have written could advertise anything.
            if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
                raise PermissionError(file)
        return stream.read()


def _prune(folder: str) -> None:
    """Keep the newest files: environments come and go, and nobody else would ever remove their indexes."""
    with os.scandir(folder) as found:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in found if entry.name.startswith("entry-points-")]
    for _, path in sorted(files, reverse=True)[_KEPT:]:
        os.unlink(path)  # noqa: PTH108
