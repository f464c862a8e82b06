"""Looking at the file of a store without touching it: is it one, is it sound, is it where and as it should be.

Nothing is made, migrated or given other permissions, and nothing is left beside the file. SQLite itself would leave a
`-wal` and a `-shm` there even when it only reads: so a file that nobody uses is read as one that cannot change, and is
looked at again when that was not so.
"""

import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import attrs

from jackfield.errors import StoreUnusable
from jackfield.store.opening import APPLICATION, BUSY, VERSION, network_kind

_MOST: Final = 20  # faults of the pages that are told
_LOOKS: Final = 3  # how often a file is looked at that begins to be used meanwhile
_TABLES: Final = frozenset({"writes", "entries", "leases", "state"})
_BACKUP: Final = "end the hosts that use it and put a backup in its place; without one, move it away to begin anew"


@attrs.frozen
class Wrong:
    """One thing that is wrong with a store's file.

    Attributes:
        kind: `missing`, `unreadable`, `empty`, `foreign`, `newer`, `damaged`, `permissions` or `network`.
        file: which, the one beside the store's that it is about, if it is.
        place: within the file; "" for all of it.
        what: is wrong.
        fix: what to do.
    """

    kind: str
    file: Path
    place: str
    what: str
    fix: str


@attrs.frozen
class Findings:
    """What is in a store's file, and what is wrong with it.

    Attributes:
        path: of the file.
        size: bytes, those of what is not yet in it included.
        version: of its tables; None, as what follows, if it is no store or cannot be read.
        entries: keys that are there.
        revision: the newest one.
        leases: leases that live, or have not been seen to end.
        wrong: what is wrong; empty if it is sound.
    """

    path: Path
    size: int = 0
    version: int | None = None
    entries: int | None = None
    revision: int | None = None
    leases: int | None = None
    wrong: tuple[Wrong, ...] = ()


def look(path: Path) -> Findings:
    """Look through a whole file, whatever it is; nothing is changed, and hosts go on.

    Args:
        path: of the file.

    Returns:
        What is in it, and all that is wrong.
    """
    try:
        around = _around(path)
        if any(each.kind in {"missing", "empty"} for each in around):
            return Findings(path, size(path), wrong=around)
        found = _in_peace(path, whole=True)
    except OSError as error:
        return Findings(path, wrong=(_unreadable(path, error.strerror or str(error)),))
    return attrs.evolve(found, wrong=(*around, *found.wrong))


def require_store(path: Path) -> None:
    """Refuse what is no store of a version that is known, before anything opens it.

    Raises:
        FileNotFoundError: if there is none.
        StoreUnusable: if it is something else.
    """
    wrong = [each for each in _around(path) if each.kind in {"missing", "empty"}]
    for each in wrong or _in_peace(path, whole=False).wrong:
        if each.kind == "missing":
            raise FileNotFoundError(f"{each.what}: {path}")
        raise StoreUnusable(str(each.file), each.what, each.fix)


def size(path: Path) -> int:
    """Give the bytes that a store takes, those of what is not yet in its file included."""
    return sum(each.stat().st_size for each in (path, _beside(path, "-wal")) if each.exists())


# --- Around the file --------------------------------------------------------------------------------------------------


def _around(path: Path) -> tuple[Wrong, ...]:
    """Tell what is wrong without its content."""
    if not path.exists():
        return (
            Wrong("missing", path, "", "there is no store", "name the file of a store, or start a host that has it"),
        )
    if not path.is_file():  # opening a pipe would wait for whoever writes into it
        return (Wrong("missing", path, "", "there is no store, since that is no file", "name the file of a store"),)
    wrong = []
    kind = network_kind(path.parent)
    if kind:
        what = f"it is on a network file system ({kind}), where SQLite cannot lock it safely"
        wrong.append(Wrong("network", path, "", what, "put it on a local disk; hosts refuse it here"))
    if os.name == "posix":
        wrong += [each for ending in ("", "-wal", "-shm") for each in _permissions(_beside(path, ending))]
    if not path.stat().st_size:
        wrong.append(
            Wrong("empty", path, "", "it is empty, and so no store", "put a backup in its place, or delete it")
        )
    return tuple(wrong)


def _permissions(path: Path) -> Iterator[Wrong]:
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Wrong("permissions", path, "", f"others than its user may use it ({mode:04o})", f"chmod 600 {path}")
    elif mode & stat.S_IRUSR == 0 or mode & stat.S_IWUSR == 0:
        yield Wrong("permissions", path, "", f"its user may not read and write it ({mode:04o})", f"chmod 600 {path}")


# --- Reading what nobody may change -----------------------------------------------------------------------------------


def _in_peace(path: Path, *, whole: bool) -> Findings:
    """Read a file, and once more where somebody began to use it that had been taken for one at rest."""
    found = Findings(path)
    for _ in range(_LOOKS):
        before = _mark(path)
        found = _read(path, whole=whole)
        if _mark(path) == before or before[0]:
            break
    return found


def _mark(path: Path) -> tuple[int, int, int]:
    """Give what is other when somebody uses a file: the bytes beside it, its own, and when it was written."""
    log, there = _beside(path, "-wal"), path.stat()
    return log.stat().st_size if log.exists() else 0, there.st_size, there.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading alone, so that nothing is made beside it."""
    log = _beside(path, "-wal")
    if not log.exists() or not log.stat().st_size:
        with closing(_connect(path, "mode=ro&immutable=1")) as connection:
            yield connection
    elif _beside(path, "-shm").exists():
        with closing(_connect(path, "mode=ro")) as connection:
            yield connection
    else:  # it was put here as it stood; SQLite would make the third file
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            shutil.copyfile(path, copy)
            shutil.copyfile(log, _beside(copy, "-wal"))
            with closing(_connect(copy, "mode=ro")) as connection:
                yield connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY, isolation_level=None)


def _read(path: Path, *, whole: bool) -> Findings:
    try:
        with _opened(path) as connection:
            connection.execute("BEGIN")
            version, wrong = _kind(connection, path)
            if wrong is not None:
                return Findings(path, size(path), version, wrong=(wrong,))
            if not whole:
                return Findings(path, size(path), version)
            found = _pages(connection, path) or _content(connection, path)
            return Findings(path, size(path), version, *_counts(connection), wrong=found)
    except sqlite3.OperationalError as error:
        return Findings(path, size(path), wrong=(_unreadable(path, str(error)),))
    except sqlite3.DatabaseError as error:
        return Findings(path, size(path), wrong=(_no_database(path, str(error)),))


# --- What is in it ----------------------------------------------------------------------------------------------------


def _kind(connection: sqlite3.Connection, path: Path) -> tuple[int | None, Wrong | None]:
    """Give the version of the tables, or what the file is instead."""
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION:
        what = "it is a database of another program"
        return None, Wrong("foreign", path, "header", what, "name another file; it is left as it is")
    if version > VERSION:
        what = f"its tables are of version {version}, and this jackfield knows {VERSION}"
        fix = "use the jackfield that wrote it, or a newer one; it is left as it is"
        return version, Wrong("newer", path, "header", what, fix)
    return version, None


def _pages(connection: sqlite3.Connection, path: Path) -> tuple[Wrong, ...]:
    """Have SQLite look through all pages."""
    trees = dict(connection.execute("SELECT rootpage, name FROM sqlite_master WHERE rootpage > 0"))
    try:
        lines, broken = _said(connection, _MOST), ""
    except sqlite3.DatabaseError:  # it looks no further than the first, if it is asked for no more
        lines = _said(connection, 1) or ["it is malformed"]
        broken = ", ".join(name for name in sorted(_TABLES) if not _readable(connection, name))
    return tuple(Wrong("damaged", path, _place(line, trees, broken), line, _BACKUP) for line in lines)


def _said(connection: sqlite3.Connection, most: int) -> list[str]:
    said = connection.execute(f"PRAGMA integrity_check({most})").fetchall()
    return [line for (text,) in said for line in text.splitlines() if line != "ok" and not line.startswith("***")]


def _readable(connection: sqlite3.Connection, table: str) -> bool:
    try:
        connection.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()  # noqa: S608  # one of ours
    except sqlite3.DatabaseError:
        return False
    return True


def _place(line: str, trees: dict[int, str], broken: str = "") -> str:
    """Find the page and the table in what SQLite says.

    Examples:
        >>> _place("Tree 4 page 7 cell 2: 2nd reference to page 9", {4: "entries"}), _place("Page 3: never used", {})
        ('page 7 of entries', 'page 3')
    """
    page = re.search(r"\bpage (\d+)", line, re.IGNORECASE)
    tree = re.search(r"\bTree (\d+)", line)
    table = trees.get(int(tree[1]), broken) if tree else broken
    return " of ".join(word for word in (f"page {page[1]}" if page else "", table) if word)


def _content(connection: sqlite3.Connection, path: Path) -> tuple[Wrong, ...]:
    """Tell what SQLite finds sound, and no host has written so."""
    missing = _TABLES - {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if missing:
        names = ", ".join(sorted(missing))
        return (Wrong("damaged", path, names, "it has no such table", _BACKUP),)
    run = connection.execute
    lost = run("SELECT count(*) FROM entries WHERE revision NOT IN (SELECT revision FROM writes)").fetchone()[0]
    last = run("SELECT max(revision) FROM writes").fetchone()[0] or 0
    rows = run("SELECT newest FROM state").fetchall()
    wrong = []
    if lost:
        wrong.append(Wrong("damaged", path, "entries", f"{lost:,} keys have no value", _BACKUP))
    if len(rows) != 1 or rows[0][0] < last:
        wrong.append(Wrong("damaged", path, "state", f"it does not know of its revision {last:,}", _BACKUP))
    return tuple(wrong)


def _counts(connection: sqlite3.Connection) -> tuple[int | None, int | None, int | None]:
    """Count what is there; nothing, where it cannot be read."""
    try:
        entries, revision, leases = (
            connection.execute(f"SELECT {what}").fetchone()[0]
            for what in ("count(*) FROM entries", "newest FROM state", "count(*) FROM leases")
        )
    except (sqlite3.DatabaseError, TypeError):  # `wrong` tells it
        return None, None, None
    return entries, revision, leases


def _unreadable(path: Path, why: str) -> Wrong:
    return Wrong("unreadable", path, "", f"it cannot be read: {why}", "see whose it is, and who holds it")


def _no_database(path: Path, why: str) -> Wrong:
    if _first(path, 16) == b"SQLite format 3\x00":
        return Wrong("damaged", path, "", f"it is damaged: {why}", _BACKUP)
    what = "it is no database, or its first page is damaged"
    return Wrong("foreign", path, "header", what, f"name the store's file; if this is it, {_BACKUP}")


def _first(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
