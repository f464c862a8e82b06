"""`pluginctl store`: the file of a store that lasts, while a process writes into it."""

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from jackfield.store import SQLiteStore
from jackfield.store.opening import check_file

WRITER = """
import asyncio, sys
from jackfield.store import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    for number in range(100_000):
        await store.put(f"a/{number % 500}", b"%d" % number * 300)
        print(number, flush=True)

asyncio.run(main())
"""


def pluginctl(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "jackfield", "store", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.fixture
def writing(tmp_path):
    """A store that another process writes into all the while."""
    path = tmp_path / "jackfield.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with writer:
        for _ in range(600):
            assert writer.stdout.readline()
        yield path
        writer.kill()


async def content(path):
    store = SQLiteStore(path)
    try:
        return {key: there.value for key, there in (await store.range()).entries.items()}
    finally:
        await store.close()


def test_a_store_is_checked_copied_and_compacted_while_it_is_written_into(writing, tmp_path):
    """The copy is sound, whole, one file, and its user's alone."""
    (tmp_path / "jackfield.toml").write_text('discover = true\n[store]\nurl = "sqlite:jackfield.db"\n')
    checked = pluginctl("check", "jackfield.toml", "--json", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert (found["entries"], found["wrong"]) == (500, [])
    assert found["revision"] >= 600
    copied = pluginctl("backup", "jackfield.db", "copy.db", cwd=tmp_path)
    assert (copied.returncode, copied.stderr) == (0, "")
    assert check_file(tmp_path / "copy.db") == ()
    assert len(asyncio.run(content(tmp_path / "copy.db"))) == 500
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert not [each.name for each in tmp_path.iterdir() if each.name.startswith((".copy", "copy.db-"))]
    compacted = pluginctl("compact", "jackfield.db", "--json", cwd=tmp_path)
    assert compacted.returncode == 0, compacted.stderr
    assert check_file(writing) == ()


def test_a_copy_replaces_nothing_unless_that_is_wanted(tmp_path):
    """And what was there stays when it cannot be made."""
    store = SQLiteStore(tmp_path / "jackfield.db")
    asyncio.run(store.put("a", b"1"))
    asyncio.run(store.close())
    (tmp_path / "copy.db").write_text("mine")
    refused = pluginctl("backup", "jackfield.db", "copy.db", cwd=tmp_path)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert (tmp_path / "copy.db").read_text() == "mine"
    assert pluginctl("backup", "jackfield.db", "copy.db", "--force", cwd=tmp_path).returncode == 0
    assert asyncio.run(content(tmp_path / "copy.db")) == {"a": b"1"}
    itself = pluginctl("backup", "jackfield.db", "jackfield.db", "--force", cwd=tmp_path)
    assert (itself.returncode, "the store itself" in itself.stderr) == (1, True)
    (tmp_path / "copy.db-wal").write_bytes(b"in use")
    in_use = pluginctl("backup", "jackfield.db", "copy.db", "--force", cwd=tmp_path)
    assert (in_use.returncode, "a process uses" in in_use.stderr) == (1, True)


@pytest.mark.parametrize("verb", ["check", "compact", "backup"])
def test_what_is_no_store_is_told_and_made_by_nobody(tmp_path, verb):
    """A file that is not there, another program's, a configuration without a file."""
    more = ["copy.db"] if verb == "backup" else []
    gone = pluginctl(verb, "gone.db", *more, cwd=tmp_path)
    assert (gone.returncode, "there is no store" in gone.stderr) == (1, True)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE customers (name)")
    other.close()
    assert "another program" in pluginctl(verb, "other.db", *more, cwd=tmp_path).stderr
    (tmp_path / "memory.toml").write_text("discover = true\n")
    assert 'url = "memory:"' in pluginctl(verb, "memory.toml", *more, cwd=tmp_path).stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["memory.toml", "other.db"]
