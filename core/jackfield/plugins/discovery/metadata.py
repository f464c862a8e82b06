"""Read the metadata of one distribution, and turn whatever is wrong with it into faults that leave the others alone."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from jackfield.errors import Fault
from jackfield.model.names import version_fault
from jackfield.plugins.discovery.entries import canonical, read_entries, read_headers, shown
from jackfield.plugins.discovery.index import ENTRY_POINTS, HEADERS, Record, Stamp, stamp_of
from jackfield.stack import blamed
from jackfield.strangers import Broken, barrier
from jackfield.text import printable

if TYPE_CHECKING:
    from zipfile import ZipFile

_LIMIT: Final = 4 << 20
_HEADERS: Final = 64 << 10
# Not to hang on a pipe that somebody put in the place of a file.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


# Name, version, and what setuptools adds: `my_plugin-1.4-py3.11-linux-x86_64`. With anything else between the dashes it
# is the file within that says where the name ends.
_CLEAR = re.compile(r"[^-]+(-\d[^-]*(-py\d.*)?)?")


class _Unreadable(Broken):  # never leaves this module: it becomes a fault
    def __init__(self, file: str, reason: str) -> None:
        super().__init__(reason)
        self.file = file


def read_distribution(location: str, stem: str, faults: list[Fault]) -> Record | None:
    """Read one metadata directory.

    Args:
        location: its path.
        stem: what it is named after, as in `my_plugin-1.4`.
        faults: what is wrong is added here.

    Returns:
        What it says, or None when the distribution cannot be used.
    """
    return _guarded(location, stem, faults, lambda key, is_clear: _read(location, key, faults, is_clear=is_clear))


def read_archived(archive: "ZipFile", location: str, folder: str, stem: str, faults: list[Fault]) -> Record | None:
    """Read one metadata directory in a zip file.

    Args:
        archive: the zip file.
        location: the directory's path, for people.
        folder: its name in the archive.
        stem: what it is named after.
        faults: what is wrong is added here.

    Returns:
        What it says, or None when the distribution cannot be used.
    """

    def member(file: str) -> bytes | None:
        try:
            size = archive.getinfo(f"{folder}/{file}").file_size
        except KeyError:
            return None
        if size > _LIMIT:
            raise _Unreadable(f"{location}{os.sep}{file}", f"has {size:,} bytes, at most {_LIMIT:,} are read")
        return archive.read(f"{folder}/{file}")

    def read(key: str, is_clear: bool) -> Record:
        data = member(ENTRY_POINTS)
        text = "" if data is None else _concerning_us(data, f"{location}{os.sep}{ENTRY_POINTS}")
        if not text and is_clear:
            return Record(key, None, None)
        said = read_headers(next((head for file in HEADERS if (head := member(file)) is not None), b""))
        if not text:
            return Record(canonical(said[0] or key), None, None)
        return _interpret(Record(key, None, None), text, said, location, faults, location)

    return _guarded(location, stem, faults, read)


def _guarded(location: str, stem: str, faults: list[Fault], read: Callable[[str, bool], Record]) -> Record | None:
    """Read a distribution that is named after something; nothing in it may hide the others."""
    name = stem.partition("-")[0]
    if not _NAME.fullmatch(name):
        reason = "is not named after a distribution; an interrupted pip leaves such directories behind"
        faults.append(Fault("scan", "", printable(location), reason, f"remove {printable(location)}"))
        return None
    key = canonical(name)
    try:
        return read(key, _CLEAR.fullmatch(stem) is not None)
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
    """Read distributions of any kind, through the interface of `importlib_metadata.Distribution`.

    Args:
        distributions: from a finder.
        source: the finder they come from, for the faults.
        faults: what is wrong is added here.

    Yields:
        The location and what it says, of each.
    """
    for distribution in distributions:
        location = source
        try:
            with barrier():
                location = str(getattr(distribution, "_path", source)).rstrip("/")
                record = _read_foreign(distribution, location, faults)
        except Broken as broken:
            file = broken.file if isinstance(broken, _Unreadable) else location
            faults.append(Fault("scan", "", printable(file), broken.reason, f"replace {printable(source)}"))
        else:
            yield location, record


def _read_foreign(distribution: Any, location: str, faults: list[Fault]) -> Record:
    text = _entries_of(distribution)
    stem = location.rpartition("/")[2].rpartition(".")[0]
    if "jackfield" not in text and stem and _CLEAR.fullmatch(stem):
        return Record(canonical(stem.partition("-")[0]), None, None)
    headers = next((found for file in HEADERS if (found := distribution.read_text(file))), "")
    name, version = read_headers(headers.encode("utf-8", "backslashreplace"))
    name, version = name or _said(distribution, "name"), version or _said(distribution, "version")
    if "jackfield" not in text:
        return Record(canonical(name), None, None)
    return _interpret(Record("", None, None), text, (name, version), location, faults)


def _entries_of(distribution: Any) -> str:
    """Give what a distribution advertises, as the text of a file: one that has none may say it by `entry_points`."""
    import importlib.metadata  # noqa: PLC0415  # for those who have foreign finders, as the next

    import importlib_metadata  # noqa: PLC0415

    usual = (importlib.metadata.Distribution.entry_points, importlib_metadata.Distribution.entry_points)
    own = getattr(type(distribution), "entry_points", None)
    if any(own is one for one in usual):
        return distribution.read_text(ENTRY_POINTS) or ""
    return "".join(f"[{one.group}]\n{one.name} = {one.value}\n" for one in distribution.entry_points)


def _said(distribution: Any, what: str) -> str:
    try:
        with barrier():
            return str(getattr(distribution, what) or "")
    except Broken:  # as when there is no METADATA at all
        return ""


def _read(location: str, key: str, faults: list[Fault], *, is_clear: bool) -> Record:
    file = f"{location}{os.sep}{ENTRY_POINTS}"
    entry_points: Stamp | None = None
    text = ""
    try:
        entry_points, data = _read_file(file, _LIMIT)
    except FileNotFoundError:
        if is_clear:
            headers, stamp = _stamp_headers(location)
            return Record(key, None, stamp, headers=headers)  # whole, and no plugin
    except NotADirectoryError:
        if location.lower().endswith(".egg-info"):
            return Record(key, None, None)  # distutils wrote a single file, which cannot advertise anything
        raise _Unreadable(location, "is a file where a directory belongs") from None
    else:
        text = _concerning_us(data, file)
        if not text and is_clear:
            return Record(key, entry_points, None)  # what else is in a stranger's metadata is not jackfield's business
    headers, metadata, head = _read_headers(location)
    said = read_headers(head)
    if text:
        record = Record(key, entry_points, metadata, headers=headers)
        return _interpret(record, text, said, f"{location}{os.sep}{headers}", faults, location)
    return Record(canonical(said[0] or key), entry_points, metadata, headers=headers)


def _read_headers(location: str) -> tuple[str, Stamp, bytes]:
    """Read the head of the file that has Name and Version; give which it is, its stamp and what it has."""
    for headers in HEADERS:
        try:
            return headers, *_read_file(f"{location}{os.sep}{headers}", _HEADERS, head=True)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(None, None, f"{location}{os.sep}{_usual(location)}")


def _usual(location: str) -> str:
    return HEADERS[0] if location.lower().endswith(".dist-info") else HEADERS[1]


def _interpret(
    record: Record, text: str, said: tuple[str, str], file: str, faults: list[Fault], location: str = ""
) -> Record:
    name, version = said
    if not _NAME.fullmatch(name):
        raise _Unreadable(file, f"has no valid Name ({shown(name)})" if name else "has no Name")
    if version_fault(version, name):
        raise _Unreadable(file, f"has no valid Version ({shown(version)})" if version else "has no Version")
    plugin = canonical(name)
    entries, wrong = read_entries(text, plugin, printable(f"{location or file}{os.sep}{ENTRY_POINTS}"))
    faults += wrong
    if not entries:
        return structs.replace(record, key=plugin)
    return structs.replace(record, key=plugin, name=plugin, version=version, entries=tuple(entries))


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


def _stamp_headers(location: str) -> tuple[str, Stamp]:
    """Stamp METADATA or PKG-INFO, which must be there and have something in it, without reading it; say which it is."""
    for headers in HEADERS:
        file = f"{location}{os.sep}{headers}"
        try:
            status = os.stat(file)  # noqa: PTH116  # a Path costs more than the call, thousands of times
        except FileNotFoundError:
            _refuse_dangling(file)
            continue
        except OSError as error:
            raise _Unreadable(file, f"cannot be read: {error.strerror}") from error
        _refuse_special(file, status)
        if not status.st_size:
            raise _Unreadable(file, "is empty")
        return headers, stamp_of(status)
    raise FileNotFoundError(None, None, f"{location}{os.sep}{_usual(location)}")


def _refuse_special(file: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unreadable(file, "is not a file")


def _refuse_dangling(file: str) -> None:
    for link in (os.path.dirname(file), file):  # noqa: PTH120
        if os.path.islink(link) and not os.path.exists(link):  # noqa: PTH110, PTH114
            raise _Unreadable(link, "is a link to nothing")
