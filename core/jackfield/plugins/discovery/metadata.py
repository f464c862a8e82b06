"""Read the metadata of one distribution, and turn whatever is wrong with it into faults that leave the others alone."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any, Final

from jackfield.errors import Fault
from jackfield.model.names import version_fault
from jackfield.plugins.discovery.entries import canonical, read_entries, read_headers, shown
from jackfield.plugins.discovery.index import ENTRY_POINTS, Record, Stamp, headers_file, stamp_of
from jackfield.stack import blamed
from jackfield.text import printable

_LIMIT: Final = 4 << 20
_HEADERS: Final = 64 << 10
# Not to hang on a pipe that somebody put in the place of a file.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


class _Unreadable(Exception):  # never leaves this module: it becomes a fault
    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason


def read_distribution(location: str, stem: str, faults: list[Fault]) -> Record | None:
    """Read one metadata directory.

    Args:
        location: its path.
        stem: what it is named after, as in `my_plugin-1.4`.
        faults: what is wrong is added here.

    Returns:
        What it says, or None when the distribution cannot be used.
    """
    name = stem.partition("-")[0]
    if not _NAME.fullmatch(name):
        reason = "is not named after a distribution; an interrupted pip leaves such directories behind"
        faults.append(Fault("scan", "", printable(location), reason, f"remove {printable(location)}"))
        return None
    key = canonical(name)
    try:
        return _read(location, key, faults)
    except _Unreadable as error:
        file, reason = error.file, error.reason
    except FileNotFoundError as error:
        file, reason = str(error.filename), "is missing"
    except Exception as error:  # noqa: BLE001  # the barrier: nothing in one distribution may hide the others
        file, reason = location, blamed(error)
    fix = f"`pip install --force-reinstall {key}`, or remove {printable(location)}"
    faults.append(Fault("scan", key, printable(file), reason, fix))
    return None


def read_foreign(distributions: Iterable[Any], source: str, faults: list[Fault]) -> Iterator[tuple[str, Record]]:
    """Read distributions that are no directories, through the interface of `importlib_metadata.Distribution`.

    Args:
        distributions: from a finder.
        source: the archive or the finder they come from, for the faults.
        faults: what is wrong is added here.

    Yields:
        The location and what it says, of each that advertises something.
    """
    for distribution in distributions:
        location = source
        try:
            location = str(getattr(distribution, "_path", source)).rstrip("/")
            text = distribution.read_text(ENTRY_POINTS)
            if not text or "jackfield" not in text:
                continue
            metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
            headers = metadata.encode("utf-8", "backslashreplace")
            record = Record(canonical(read_headers(headers)[0]), None, None)
            yield location, _interpret(record, text, headers, location, faults)
        except _Unreadable as error:
            faults.append(Fault("scan", "", printable(error.file), error.reason, f"replace {printable(source)}"))
        except Exception as error:  # noqa: BLE001  # the barrier, as above
            reason = blamed(error)
            faults.append(Fault("scan", "", printable(location), reason, f"replace {printable(source)}"))


def _read(location: str, key: str, faults: list[Fault]) -> Record:
    file = f"{location}{os.sep}{ENTRY_POINTS}"
    try:
        entry_points, data = _read_file(file, _LIMIT)
    except FileNotFoundError:
        return Record(key, None, _stamp_headers(headers_file(location)))  # whole, and no plugin
    except NotADirectoryError:
        if location.lower().endswith(".egg-info"):
            return Record(key, None, None)  # distutils wrote a single file, which cannot advertise anything
        raise _Unreadable(location, "is a file where a directory belongs") from None
    text = _concerning_us(data, file)
    if not text:
        return Record(key, entry_points, None)  # what else is in a stranger's metadata is not jackfield's business
    metadata, head = _read_file(headers_file(location), _HEADERS, head=True)
    return _interpret(Record(key, entry_points, metadata), text, head, location, faults)


def _interpret(record: Record, text: str, head: bytes, location: str, faults: list[Fault]) -> Record:
    name, version = read_headers(head)
    file = headers_file(location)
    if not _NAME.fullmatch(name):
        raise _Unreadable(file, f"has no valid Name ({shown(name)})" if name else "has no Name")
    if version_fault(version, name):
        raise _Unreadable(file, f"has no valid Version ({shown(version)})" if version else "has no Version")
    plugin = canonical(name)
    entries, wrong = read_entries(text, plugin, printable(f"{location}{os.sep}{ENTRY_POINTS}"))
    faults += wrong
    if not entries:
        return record
    return Record(record.key, record.entry_points, record.metadata, plugin, version, tuple(entries))


def _concerning_us(data: bytes, file: str) -> str:
    """Decode `entry_points.txt`; "" when it says nothing to jackfield."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(file, f"is not UTF-8 (byte {error.start})") from None
    if "\0" in text or ("[" not in text and text.strip()):
        raise _Unreadable(file, "is not a list of entry points")
    return text if "jackfield" in text else ""


def _read_file(file: str, limit: int, *, head: bool = False) -> tuple[Stamp, bytes]:
    """Read a file, or the head of it, and stamp what was read."""
    try:
        descriptor = os.open(file, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        _refuse_dangling(file)
        raise
    except OSError as error:
        raise _Unreadable(file, f"cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        _refuse_special(file, status)
        if status.st_size > limit and not head:
            raise _Unreadable(file, f"has {status.st_size:,} bytes, at most {limit:,} are read")
        return stamp_of(status), os.read(descriptor, min(status.st_size + 1, limit))
    except OSError as error:
        raise _Unreadable(file, f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _stamp_headers(file: str) -> Stamp:
    """Stamp METADATA, which must be there and have something in it, without reading it."""
    try:
        status = os.stat(file)  # noqa: PTH116  # a Path costs more than the call, thousands of times
    except FileNotFoundError:
        _refuse_dangling(file)
        raise
    except OSError as error:
        raise _Unreadable(file, f"cannot be read: {error.strerror}") from error
    _refuse_special(file, status)
    if not status.st_size:
        raise _Unreadable(file, "is empty")
    return stamp_of(status)


def _refuse_special(file: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unreadable(file, "is not a file")


def _refuse_dangling(file: str) -> None:
    for link in (os.path.dirname(file), file):  # noqa: PTH120
        if os.path.islink(link) and not os.path.exists(link):  # noqa: PTH110, PTH114
            raise _Unreadable(link, "is a link to nothing")
