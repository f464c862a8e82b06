"""`pluginctl store check`: it tells each thing that is wrong with a file, and leaves no trace."""

import asyncio
import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from typer.testing import CliRunner

from jackfield.cli import app
from jackfield.store import SQLiteStore, looking
from jackfield.store.opening import APPLICATION, VERSION

only_posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def check(path):
    """Give the exit code, what was found, and what it says to people."""
    found = CliRunner().invoke(app, ["store", "check", str(path), "--json"])
    said = CliRunner().invoke(app, ["store", "check", str(path)])
    assert found.exit_code == said.exit_code
    return found.exit_code, json.loads(found.stdout), said.output


def trace(folder):
    """Give all that somebody who only looks must leave as it is."""
    return {
        each.name: (each.read_bytes(), stat.S_IMODE(each.stat().st_mode), each.stat().st_mtime_ns)
        for each in folder.iterdir()
    }


@pytest.fixture
def path(tmp_path):
    """A sound store that nobody uses."""

    async def fill():
        store = SQLiteStore(tmp_path / "jackfield.db")
        await asyncio.gather(*(store.put(f"a/{number}", b"%d" % number * 500) for number in range(200)))
        await store.close()

    asyncio.run(fill())
    return tmp_path / "jackfield.db"


def empty(path):
    path.write_bytes(b"")


def gone(path):
    path.unlink()


def folder(path):
    path.unlink()
    path.mkdir()


def text(path):
    path.write_text("a list of what to buy\n" * 200)


def foreign(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (name)")
    path.chmod(0o600)


def newer(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")


def page(path):
    size = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(4096 * (size // 2))
        file.write(b"\xff" * 4096)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def first_page(path):
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)


def lost_value(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("DELETE FROM writes WHERE revision = 7")
        other.commit()


def lost_table(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE leases")


def lost_state(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("DELETE FROM state")
        other.commit()


def opened_to_all(path):
    path.chmod(0o644)


def closed_to_its_user(path):
    path.chmod(0o400)


CASES = [
    (empty, "empty", "it is empty", "backup"),
    (gone, "missing", "there is no store", "name the file"),
    (folder, "missing", "no file", "name the file"),
    (text, "foreign", "no database", "name the store's file"),
    (foreign, "foreign", "another program", "another file"),
    (newer, "newer", f"version {VERSION + 1}", "newer one"),
    (page, "damaged", "", "put a backup in its place"),
    (cut, "damaged", "", "put a backup in its place"),
    (first_page, "foreign", "first page is damaged", "put a backup in its place"),
    (lost_value, "damaged", "1 keys have no value", "put a backup in its place"),
    (lost_table, "damaged", "no such table", "put a backup in its place"),
    (lost_state, "damaged", "revision 200", "put a backup in its place"),
    pytest.param(opened_to_all, "permissions", "0644", "chmod 600", marks=only_posix),
    pytest.param(closed_to_its_user, "permissions", "0400", "chmod 600", marks=only_posix),
]


@pytest.mark.parametrize(("spoil", "kind", "what", "fix"), CASES)
def test_what_is_wrong_is_told_with_file_place_and_fix_and_nothing_is_touched(path, spoil, kind, what, fix):
    """Each kind, to programs and to people; the folder is afterwards what it was, to the byte."""
    spoil(path)
    before = trace(path.parent) if path.parent.joinpath(path).is_file() or not path.exists() else None
    code, found, said = check(path)
    assert code == 1
    wrong = found["wrong"][0]
    assert wrong["kind"] == kind
    assert wrong["file"] == str(path)
    assert what in wrong["what"]
    assert fix in wrong["fix"]
    assert wrong["what"][:20] in said
    assert "fix: " in said
    assert before is None or trace(path.parent) == before


@pytest.mark.parametrize(
    ("number", "place"),
    [
        (3, "page 3 of entries"),
        (4, "page 4"),
        (5, "page 5 of leases"),
        (6, "page 6 of state"),
        (40, "page 40 of writes"),
    ],
)
def test_a_damaged_page_is_named_with_its_table(path, number, place):
    """So that whoever repairs it knows what is gone."""
    with path.open("r+b") as file:
        file.seek(4096 * (number - 1))
        file.write(b"\xff" * 4096)
    wrong = check(path)[1]["wrong"][0]
    assert wrong["kind"] == "damaged"
    assert wrong["place"].startswith(place)


def test_a_sound_store_is_left_alone(path):
    """At rest, what SQLite would put beside it while it reads is not there either."""
    before = trace(path.parent)
    code, found, said = check(path)
    assert (code, found["entries"], found["revision"], found["version"], found["wrong"]) == (0, 200, 200, VERSION, [])
    assert "sound" in said
    assert trace(path.parent) == before


def test_a_store_that_is_used_is_read_as_it_is_now(path):
    """What has not come to the file yet is there, too, and the file stays as it is."""

    async def use():
        store = SQLiteStore(path)
        await store.put("b", b"new")
        before = path.read_bytes()
        found = await asyncio.to_thread(looking.look, path)
        assert path.read_bytes() == before
        await store.close()
        return found

    found = asyncio.run(use())
    assert (found.entries, found.revision, found.wrong) == (201, 201, ())


def test_a_store_that_was_copied_while_it_was_used_is_read_with_what_stands_beside_it(path, tmp_path):
    """Without the third file, which SQLite would make."""
    aside = tmp_path / "aside"
    aside.mkdir()

    async def use():
        store = SQLiteStore(path)
        await store.put("b", b"new")
        for name in ("jackfield.db", "jackfield.db-wal"):
            shutil.copy2(path.with_name(name), aside / name)
        await store.close()

    asyncio.run(use())
    before = trace(aside)
    code, found, _ = check(aside / "jackfield.db")
    assert (code, found["revision"]) == (0, 201)
    assert trace(aside) == before


def test_each_thing_is_told(path, monkeypatch):
    """Not the first one alone: where it lies, who may read it, and what is in it."""
    monkeypatch.setattr(looking, "network_kind", lambda folder: "nfs4")
    path.chmod(0o666)
    newer(path)
    code, found, _ = check(path)
    assert code == 1
    assert [wrong["kind"] for wrong in found["wrong"]] == ["network", "permissions", "newer"]
    assert "nfs4" in found["wrong"][0]["what"]
    assert "local disk" in found["wrong"][0]["fix"]


def test_a_store_of_no_tables_is_no_store(path):
    """A database that a program has just made, marked as ours or not."""
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 1")
    assert check(path)[1]["wrong"][-1]["kind"] == "foreign"
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION}")
    assert check(path)[1]["wrong"][-1]["place"] == "entries, leases, state, writes"


@pytest.mark.parametrize("verb", ["backup", "compact"])
def test_no_other_verb_makes_a_store_out_of_an_empty_file(path, verb):
    """Nor out of another program's."""
    path.write_bytes(b"")
    more = [str(path.with_name("copy.db"))] if verb == "backup" else []
    refused = CliRunner().invoke(app, ["store", verb, str(path), *more])
    assert refused.exit_code == 1
    assert "it is empty" in refused.output
    assert path.read_bytes() == b""
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_copy_is_on_the_disk_when_it_is_said_to_be_there(path, monkeypatch):
    """First what it holds, then its name in the folder."""
    synced, fsync, replace = [], os.fsync, type(path).replace

    def noted(descriptor):
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(self, target):
        synced.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(type(path), "replace", renamed)
    told = []
    looking_at = path.with_name("copy.db")
    from jackfield.store.maintenance import backup  # noqa: PLC0415  # after what it calls was replaced

    backup(path, looking_at, progress=lambda what, done, total: told.append((what, done, total)))
    assert synced == (["file", "name", "folder"] if os.name == "posix" else ["file", "name"])
    assert told[-1][0] == "checking"
    assert told[-2][1] == told[-2][2] > 0
