"""The bytes of a plugin's file or folder as they were at one moment: what runs is what the digest is of."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, NoReturn

import attrs

from jackfield.config import files
from jackfield.config.trust import Trust
from jackfield.errors import Fault, PluginError
from jackfield.log import host_log
from jackfield.text import printable

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""How many bytes a plugin's files may have together: all of them are kept in memory while it is loaded."""

FILES_LIMIT: Final = 10_000
"""How many files a plugin's folder may have."""

_PACKAGE: Final = "__init__.py"

Listing = Mapping[str, files.Stamp]
"""Name → stamp of each file; a plain file is listed under the empty name."""


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
        listing: the stamps that the files had.
        source: the path that was asked for, links unresolved: where its next version will be.
    """

    base: str
    stem: str
    files: Mapping[str, bytes]
    main: str
    folder: bool
    digest: str
    listing: Listing = attrs.field(factory=dict, repr=False)
    source: str = ""

    def has_changed(self) -> bool:
        """Tell, without reading it, whether it may be another one now: an inode, a size or a time differs."""
        return look(self.source, "folder" if self.folder else "file") != self.listing

    def path(self, name: str) -> str:
        """Give the real path of a file, as tracebacks show it."""
        return os.path.join(self.base, *name.split("/"))  # noqa: PTH118  # `co_filename` is a string


def read_content(
    plugin: str,
    path: str,
    kind: Literal["file", "folder"],
    pause: Callable[[], None] = files.pause,
    *,
    believed: bool = False,
) -> Content:
    """Read a file or folder that nobody changes meanwhile; links are resolved once, before anything is read.

    Of a folder everything counts except names that begin with a dot, `__pycache__`, `.pyc` files, and what is no
    regular file.

    Args:
        plugin: whose it is, for the error.
        path: where it is.
        kind: what it has to be.
        pause: waits before another attempt.
        believed: somebody has called `believe` who sees the files' real owners, as a process in a user namespace
            does not.

    Raises:
        PluginError: stage `source`, when it is missing, unreadable, too large, no package, or keeps changing; for root
            also when others may write it, which other users are warned of.
    """
    stem, base = _stem(path), _resolved(plugin, path, kind)

    def listing() -> Listing:
        found = _listing(base, kind)
        _check_size(plugin, path, found)
        return found

    try:
        listed, found = files.read_settled(
            listing, lambda name, size: _bytes(_join(base, name), size), vanished=partial(_vanished, base), pause=pause
        )
    except files.Unsettled:
        reason = f"{printable(path)} kept changing while it was read ({files.ATTEMPTS} times)"
        _refuse(plugin, reason, "write a new one beside it, and rename that into its place")
    except OSError as error:
        _unreadable(plugin, path, error)
    if not believed:
        _believe(plugin, path, listed)
    if kind == "file":
        data, name = found[""], os.path.basename(base)  # noqa: PTH119
        digest = hashlib.sha256(data).hexdigest()
        folder = os.path.dirname(base)  # noqa: PTH120
        return Content(folder, stem, {name: data}, name, folder=False, digest=digest, listing=listed, source=path)
    if _PACKAGE not in found:
        fix = f"create an empty {_PACKAGE} in it, or give the path of the one `.py` file that is meant"
        _refuse(plugin, f"{printable(path)} is no package: it has no {_PACKAGE}", fix)
    return Content(base, stem, found, _PACKAGE, folder=True, digest=_digest(found), listing=listed, source=path)


def believe(plugin: str, path: str, kind: Literal["file", "folder"]) -> None:
    """Refuse for root, and tell others, when somebody else may decide what a plugin does, without reading it.

    Args:
        plugin: whose it is, for the error.
        path: where it is.
        kind: what it has to be.

    Raises:
        PluginError: stage `source`, when it is missing or cannot be looked at; for root also when others may write it.
    """
    base = _resolved(plugin, path, kind)
    try:
        listing = _listing(base, kind)
    except OSError as error:
        _unreadable(plugin, path, error)
    _check_size(plugin, path, listing)
    _believe(plugin, path, listing)


def _believe(plugin: str, path: str, listing: Listing) -> None:
    trust = Trust()
    try:
        doubts = (trust.doubt(_join(path, name)) for name in ("", *listing))
        doubt = next((found for found in doubts if found is not None), None)
    except OSError as error:
        _unreadable(plugin, path, error)
    if doubt is not None:
        reason = f"others decide what it does: {doubt.reason}"
        if trust.strict:
            _refuse(plugin, reason, f"{doubt.fix}; root believes only what it alone may write")
        host_log("WARNING", Fault("source", plugin, plugin, reason, doubt.fix))


def look(path: str, kind: Literal["file", "folder"]) -> Listing | None:
    """Look at a file or folder without reading it.

    Args:
        path: where it is.
        kind: what it has to be.

    Returns:
        The stamps of its files; None when it cannot be looked at.
    """
    try:
        return _listing(path, kind)
    except (OSError, ValueError):
        return None


def _digest(found: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(found):
        encoded = os.fsencode(name)
        # The name's length comes first, so that no two folders are written alike.
        whole.update(len(encoded).to_bytes(8) + encoded + hashlib.sha256(found[name]).digest())
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


def _listing(base: str, kind: str) -> Listing:
    if kind == "file":
        return {"": files.stamp(os.stat(base))}  # noqa: PTH116
    return _walk(base)


def _walk(base: str) -> dict[str, files.Stamp]:
    found: dict[str, files.Stamp] = {}
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
                    found[prefix + entry.name] = files.stamp(status)
    return dict(sorted(found.items()))


def _check_size(plugin: str, path: str, listing: Listing) -> None:
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


def _vanished(base: str, error: OSError) -> bool:
    """Tell a file that was removed between two looks, which another look will not list, from a link to nowhere."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError) or not os.path.lexists(base):
        return False
    return not (isinstance(error.filename, str) and os.path.islink(error.filename))  # noqa: PTH114


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
