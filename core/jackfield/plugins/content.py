"""The bytes of a plugin's file or folder as they were at one moment: what runs is what the digest is of."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, NoReturn

import attrs

from jackfield.errors import Fault, PluginError
from jackfield.plugins.discovery.entries import printable

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""How many bytes a plugin's files may have together: all of them are kept in memory while it is loaded."""

FILES_LIMIT: Final = 10_000
"""How many files a plugin's folder may have."""

_PACKAGE: Final = "__init__.py"
# File systems stamp times with a clock of some milliseconds: a younger file may change again without a trace.
_SETTLED_NS = 20_000_000
_ATTEMPTS = 25

_Identity = tuple[int, int, int, int]


@attrs.frozen(eq=False)
class Content:
    """A file, or all files of a folder.

    Attributes:
        base: the real folder that the names are relative to.
        stem: the name that the module has for its author: the file's or folder's, without `.py`.
        files: relative name with `/` → bytes.
        main: the name of the file that is the plugin's module.
        folder: whether it is a folder, and so a package.
        digest: sha256, in hexadecimal: of the file; or of all names and contents, sorted by name.
    """

    base: str
    stem: str
    files: Mapping[str, bytes]
    main: str
    folder: bool
    digest: str

    def path(self, name: str) -> str:
        """Give the real path of a file, as tracebacks show it."""
        return os.path.join(self.base, *name.split("/"))  # noqa: PTH118  # `co_filename` is a string


def read_content(
    plugin: str,
    path: str,
    kind: Literal["file", "folder"],
    pause: Callable[[], None] = lambda: time.sleep(_SETTLED_NS / 1e9),
) -> Content:
    """Read a file or folder that nobody changes meanwhile; links are resolved once, before anything is read.

    Of a folder everything counts except names that begin with a dot, `__pycache__`, `.pyc` files, and what is no
    regular file.

    Args:
        plugin: whose it is, for the error.
        path: where it is.
        kind: what it has to be.
        pause: waits before another attempt.

    Raises:
        PluginError: stage `source`, when it is missing, unreadable, too large, no package, or keeps changing.
    """
    stem, files = _stem(path), dict[str, bytes]()
    base = _resolved(plugin, path, kind)
    for _ in range(_ATTEMPTS):
        try:
            before = _listing(base, kind)
            _check_size(plugin, path, before)
            files = {name: _bytes(_join(base, name), found[2]) for name, found in before.items()}
            after = _listing(base, kind)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not os.path.lexists(base) or _dangling(error):
                _unreadable(plugin, path, error)
        except OSError as error:
            _unreadable(plugin, path, error)
        else:
            if before == after and all(map(_settled, after.values())) and _whole(files, after):
                break
        pause()
    else:
        reason = f"{printable(path)} kept changing while it was read ({_ATTEMPTS} times)"
        _refuse(plugin, reason, "write a new one beside it, and rename that into its place")
    if kind == "file":
        data, name = files[""], os.path.basename(base)  # noqa: PTH119
        digest = hashlib.sha256(data).hexdigest()
        return Content(os.path.dirname(base), stem, {name: data}, name, folder=False, digest=digest)  # noqa: PTH120
    if _PACKAGE not in files:
        fix = f"create an empty {_PACKAGE} in it, or give the path of the one `.py` file that is meant"
        _refuse(plugin, f"{printable(path)} is no package: it has no {_PACKAGE}", fix)
    return Content(base, stem, files, _PACKAGE, folder=True, digest=_digest(files))


def _digest(files: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(files):
        encoded = os.fsencode(name)
        # The name's length comes first, so that no two folders are written alike.
        whole.update(len(encoded).to_bytes(8) + encoded + hashlib.sha256(files[name]).digest())
    return whole.hexdigest()


def _stem(path: str) -> str:
    name = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119  # unresolved: as the operator wrote it
    return name.removesuffix(".py")


def _resolved(plugin: str, path: str, kind: str) -> str:
    try:
        base = os.path.realpath(path)
        mode = os.stat(base).st_mode  # noqa: PTH116
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        _unreadable(plugin, path, error)
    if not (stat.S_ISDIR(mode) if kind == "folder" else stat.S_ISREG(mode)):  # opening a pipe would wait for its writer
        wanted = "a folder" if kind == "folder" else "a regular file"
        _refuse(plugin, f"{printable(path)} is not {wanted}", "correct the plugin's `path`")
    return base


def _listing(base: str, kind: str) -> dict[str, _Identity]:
    """Give each file with what changes when its content does; a plain file is listed under the empty name."""
    if kind == "file":
        return {"": _identity(os.stat(base))}  # noqa: PTH116
    return _walk(base)


def _walk(base: str) -> dict[str, _Identity]:
    found: dict[str, _Identity] = {}
    todo = [(base, "", frozenset[tuple[int, int]]())]
    while todo and len(found) <= FILES_LIMIT:
        folder, prefix, around = todo.pop()
        here = os.stat(folder)  # noqa: PTH116
        place = (here.st_dev, here.st_ino)
        if place in around:
            continue  # a link to a folder that it is in
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__pycache__" or entry.name.endswith(".pyc"):
                    continue
                status = entry.stat()
                if stat.S_ISDIR(status.st_mode):
                    todo.append((entry.path, f"{prefix}{entry.name}/", around | {place}))
                elif stat.S_ISREG(status.st_mode):
                    found[prefix + entry.name] = _identity(status)
    return dict(sorted(found.items()))


def _identity(status: os.stat_result) -> _Identity:
    # On Windows a directory entry has neither device nor inode, but always the same nothing.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _settled(found: _Identity) -> bool:
    return not 0 <= time.time_ns() - found[3] < _SETTLED_NS


def _whole(files: Mapping[str, bytes], listing: Mapping[str, _Identity]) -> bool:
    return all(len(data) == listing[name][2] for name, data in files.items())


def _check_size(plugin: str, path: str, listing: Mapping[str, _Identity]) -> None:
    fix = "keep data elsewhere and give its path as an option, or install the plugin as a distribution"
    if len(listing) > FILES_LIMIT:
        _refuse(plugin, f"{printable(path)} has more than {FILES_LIMIT:,} files", fix)
    if (size := sum(found[2] for found in listing.values())) > SIZE_LIMIT:
        _refuse(plugin, f"{printable(path)} has {size:,} bytes, {SIZE_LIMIT:,} are allowed", fix)


def _bytes(path: str, size: int) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123
        return stream.read(size + 1)  # one that grows meanwhile shows by its length


def _join(base: str, name: str) -> str:
    return os.path.join(base, *name.split("/")) if name else base  # noqa: PTH118


def _dangling(error: OSError) -> bool:
    """Tell a link to nowhere from a file that was removed between two looks, which another look will not list."""
    return isinstance(error.filename, str) and os.path.islink(error.filename)  # noqa: PTH114


def _unreadable(plugin: str, path: str, error: OSError | ValueError) -> NoReturn:
    where = getattr(error, "filename", None)
    inside = isinstance(where, str) and where != os.path.realpath(path)
    reason = f"{printable(str(where) if inside else path)} cannot be read: {getattr(error, 'strerror', None) or error}"
    fix = "remove it, or make it readable" if inside else "correct the plugin's `path`, or create what it names"
    if isinstance(error, PermissionError):
        fix = "make it readable for the user that runs the host"
    _refuse(plugin, reason, fix, error)


def _refuse(plugin: str, reason: str, fix: str, error: BaseException | None = None) -> NoReturn:
    raise PluginError(plugin, "source", reason, fix, (Fault("source", plugin, plugin, reason, fix),)) from error
