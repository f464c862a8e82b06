"""The store in SQLite with real processes, kills, full disks, damaged files and a disk that loses its power."""

import asyncio
import itertools
import os
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import aclosing

import pytest

from jackfield import StoreUnusable, Unavailable
from jackfield.store import SQLiteStore, opening
from jackfield.store.history import EVENTS
from jackfield.store.tables import SCHEMA, Tables

PATIENCE = 60.0
only_posix = pytest.mark.skipif(os.name != "posix", reason="signals, permissions and limits of POSIX")


def child(code, *arguments):
    """Run a program beside this one."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def all_of(path):
    """Read everything."""
    store = SQLiteStore(path)
    try:
        return {key: there.value for key, there in (await store.range()).entries.items()}
    finally:
        await store.close()


# --- What was written stays -------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from jackfield.store import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])

    async def write(who):
        for number in range(100_000):
            await store.put(f"{sys.argv[2]}/{who}/{number}", b"%d" % number)
            sys.stdout.write(f"{sys.argv[2]}/{who}/{number}\\n")
            sys.stdout.flush()

    await asyncio.gather(*map(write, range(8)))

asyncio.run(main())
"""


@only_posix
@pytest.mark.slow
def test_what_was_acknowledged_survives_kills(tmp_path):
    """Of two processes at once, at any moment, again and again."""
    draw, path, acknowledged = random.Random(1), tmp_path / "jackfield.db", set()  # noqa: S311
    for attempt in range(6):
        writers = [child(WRITER, path, f"{attempt}-{number}") for number in range(2)]
        for writer in writers:
            acknowledged |= {line.strip() for line in itertools.islice(writer.stdout, draw.randrange(1, 400))}
        for writer in writers:
            writer.kill()
            # A line that was cut is of no use; every whole one was written after its put had returned.
            rest = writer.stdout.read().splitlines(keepends=True)
            acknowledged |= {line.strip() for line in rest if line.endswith("\n")}
            writer.communicate()
    there = asyncio.run(all_of(path))
    assert len(acknowledged) > 100
    assert acknowledged <= there.keys()
    assert opening.check_file(path) == ()


def power_fails(seed, folder, synchronous):
    """Write in transactions until the power fails; give what was acknowledged, and what is there afterwards."""
    from support.power import Disk, LosingVFS  # noqa: PLC0415  # where there is apsw

    apsw = pytest.importorskip("apsw")
    draw, disk = random.Random(seed), Disk()  # noqa: S311
    vfs = LosingVFS(f"losing-{seed}-{synchronous}", disk)
    before, after = folder / "before", folder / "after"
    before.mkdir()
    after.mkdir()
    connection = apsw.Connection(str(before / "jackfield.db"), vfs=vfs.name)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    marks = f"PRAGMA application_id = {opening.APPLICATION}; PRAGMA user_version = {opening.VERSION};"
    connection.execute(f"BEGIN; {SCHEMA} {marks} COMMIT")
    acknowledged, transactions = {}, draw.randrange(1, 60)
    for number in range(transactions):
        connection.execute("BEGIN IMMEDIATE")
        change, batch = Tables(connection), {}
        for _ in range(draw.randrange(1, 5)):
            key, value = f"k/{draw.randrange(20)}", draw.randbytes(draw.choice([10, 5_000]))
            change.put(key, value, None, None)
            batch[key] = value
        change.end()
        if number == transactions - 1 and draw.random() < 0.5:
            break
        connection.execute("COMMIT")
        acknowledged |= batch
        if draw.random() < 0.1:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    disk.after_power_loss(after, draw)
    connection.close()
    vfs.unregister()
    # What was under way may be there as a whole; nothing else may be.
    return acknowledged, batch, after / "jackfield.db"


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_loss_of_power(tmp_path):
    """Of what was not synced, each sector may be there or not: all that was acknowledged is, and the file is sound."""
    pytest.importorskip("apsw")
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        acknowledged, under_way, path = power_fails(seed, folder, "FULL")
        there = asyncio.run(all_of(path))
        assert there in (acknowledged, acknowledged | under_way)


@pytest.mark.slow
def test_a_store_that_does_not_sync_would_not_survive_it(tmp_path):
    """That test can fail: it does where a commit is not synced."""
    pytest.importorskip("apsw")
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        acknowledged, under_way, path = power_fails(seed, folder, "NORMAL")
        if asyncio.run(all_of(path)) not in (acknowledged, acknowledged | under_way):
            return
    pytest.fail("nothing was ever lost")


def test_it_syncs_each_commit(tmp_path):
    """As the tests of lost power do."""

    async def test():
        store = SQLiteStore(tmp_path / "jackfield.db")
        (synchronous,) = store._connection.execute("PRAGMA synchronous").fetchone()
        (mode,) = store._connection.execute("PRAGMA journal_mode").fetchone()
        await store.close()
        return synchronous, mode

    assert asyncio.run(test()) == (2, "wal")


# --- Several processes ------------------------------------------------------------------------------------------------

COUNTER = """
import asyncio, sys
from jackfield import StoreConflict
from jackfield.store import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    for _ in range(100):
        while True:
            there = await store.get("count")
            number, revision = (int(there.value), there.revision) if there else (0, 0)
            try:
                await store.put("count", b"%d" % (number + 1), expected=revision)
            except StoreConflict:
                continue
            break
    await store.close()

asyncio.run(main())
"""


def test_processes_count_together_and_a_watch_sees_every_step(tmp_path):
    """Revisions have no gap, and nobody's write is lost."""
    path = tmp_path / "jackfield.db"

    async def test():
        store = SQLiteStore(path)
        async with asyncio.timeout(PATIENCE), aclosing(store.watch("count", since=0)) as events:
            counters = [child(COUNTER, path) for _ in range(3)]
            seen = [await anext(events) for _ in range(300)]
            for counter in counters:
                assert await asyncio.to_thread(counter.wait, PATIENCE) == 0
                counter.communicate()
        await store.close()
        return seen

    seen = asyncio.run(test())
    assert [event.revision for event in seen] == list(range(1, 301))
    assert [int(event.value) for event in seen] == list(range(1, 301))


HOLDER = """
import asyncio, sys
from jackfield.store import SQLiteStore, keep_lease

async def main():
    store = SQLiteStore(sys.argv[1])
    lease = await store.lease(1.0)
    await store.put("claim", b"mine", lease=lease)
    print("held", flush=True)
    await keep_lease(lease)

asyncio.run(main())
"""


@only_posix
def test_the_lease_of_a_process_that_was_killed_ends_for_the_others_and_not_before(tmp_path):
    """Renewals of another process are seen; when they end, so does what was put with the lease."""
    path = tmp_path / "jackfield.db"

    async def test():
        store = SQLiteStore(path)
        with child(HOLDER, path) as holder:
            assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
            begun = await store.range("claim")
            async with asyncio.timeout(PATIENCE), aclosing(store.watch("claim", since=begun.revision)) as events:
                ended = asyncio.ensure_future(anext(events))
                await asyncio.wait([ended], timeout=2.5)  # longer than the lease lives without renewals
                assert not ended.done()
                assert (await store.get("claim")).value == b"mine"
                holder.kill()
                event = await ended
        await store.close()
        return event

    event = asyncio.run(test())
    assert (event.key, event.value) == ("claim", None)


@only_posix
def test_after_a_fork_the_child_is_told(tmp_path):
    """SQLite's locks would not hold there."""

    async def test(store):
        await store.put("a", b"1")
        child = os.fork()
        if child == 0:  # pragma: no cover  # another process
            code = 1
            try:
                asyncio.new_event_loop().run_until_complete(store.get("a"))
            except Unavailable:
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert (await store.get("a")).value == b"1"
        await store.close()

    asyncio.run(test(SQLiteStore(tmp_path / "jackfield.db")))


def test_a_file_that_another_process_holds_is_unavailable_and_free_again_later(tmp_path, monkeypatch):
    """Whoever wrote is told that nothing was written."""
    monkeypatch.setattr(opening, "_BUSY", 0.1)
    path = tmp_path / "jackfield.db"

    async def test():
        store = SQLiteStore(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process holds it") as told:
            await store.put("a", b"1")
        other.execute("ROLLBACK")
        other.close()
        assert await store.put("a", b"1") == 1
        await store.close()
        return told.value

    error = asyncio.run(test())
    assert (error.cause, error.ran) == ("store", False)


# --- A file that cannot be used ---------------------------------------------------------------------------------------


async def filled(path):
    """Make a store with something in it."""
    store = SQLiteStore(path)
    await asyncio.gather(*(store.put(f"a/{number}", bytes(2_000)) for number in range(200)))
    await store.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 16), (100, 500), (4_096, 60_000)])
def test_a_damaged_file_is_refused_left_alone_and_kept_aside(tmp_path, offset, length):
    """Also by the next one who opens it: nobody begins with an empty store unasked."""
    path = tmp_path / "jackfield.db"
    asyncio.run(filled(path))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(1).randbytes(length))  # noqa: S311
    damaged = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=r"damaged: .* restore a backup .* jackfield\.db\.damaged") as told:
            SQLiteStore(path)
    assert told.value.path == str(path)
    assert path.read_bytes() == damaged
    assert (tmp_path / "jackfield.db.damaged").read_bytes() == damaged


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (f"PRAGMA user_version = {opening.VERSION + 1}", "its tables are of version"),
        ("PRAGMA application_id = 1", "a database of another program"),
    ],
)
def test_a_newer_store_and_another_program_s_database_are_refused_and_left_alone(tmp_path, change, reason):
    """An older jackfield must not touch what it does not know."""
    path = tmp_path / "jackfield.db"
    asyncio.run(filled(path))
    other = sqlite3.connect(path)
    other.execute(change)
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=reason):
        SQLiteStore(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["jackfield.db"]


def test_any_other_database_is_refused(tmp_path):
    """One without a mark, too."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (name)")
    other.close()
    with pytest.raises(StoreUnusable, match="another program"):
        SQLiteStore(path)


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    """There SQLite cannot lock a file safely."""
    monkeypatch.setattr(opening, "_file_system", lambda folder: "nfs4")
    with pytest.raises(StoreUnusable, match=r"network file system \(nfs4\)"):
        SQLiteStore(tmp_path / "jackfield.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    """Nothing is made on the way."""
    with pytest.raises(FileNotFoundError):
        SQLiteStore(tmp_path / "nowhere" / "jackfield.db")


@only_posix
def test_the_files_are_for_their_user_alone(tmp_path):
    """Also one that was there before, and what SQLite puts beside it."""
    path = tmp_path / "jackfield.db"
    path.touch(0o644)

    async def test():
        store = SQLiteStore(path)
        await store.put("a", b"1")
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
        await store.close()
        return modes

    assert asyncio.run(test()) == dict.fromkeys(["jackfield.db", "jackfield.db-shm", "jackfield.db-wal"], 0o600)


FULL = """
import asyncio, resource, signal, sys
from jackfield import Unavailable
from jackfield.store import SQLiteStore

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = SQLiteStore(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    written = 0
    try:
        while True:
            await store.put(f"a/{written}", bytes(10_000))
            written += 1
    except Unavailable as error:
        print(written, error.cause, error.ran, flush=True)
    assert len((await store.range()).entries) == written
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.put("room", b"again")
    await store.close()

asyncio.run(main())
"""


@only_posix
def test_what_does_not_fit_on_the_disk_is_not_written_and_said(tmp_path):
    """What was written before stays, and when there is room it goes on."""
    path = tmp_path / "jackfield.db"
    with child(FULL, path) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    written, cause, ran = said.split()
    assert (cause, ran) == ("store", "False")
    assert len(asyncio.run(all_of(path))) == int(written) + 1


# --- What it keeps ----------------------------------------------------------------------------------------------------


def test_what_was_overwritten_or_deleted_does_not_stay_in_the_file(tmp_path):
    """But for the newest writes, which those who watch may ask for."""
    path, secret = tmp_path / "jackfield.db", b"swordfish" * 50

    async def test():
        store = SQLiteStore(path)
        await store.put("a", secret)
        await store.put("b", secret)
        await store.delete("a")
        await store.put("b", b"")
        await asyncio.gather(*(store.put("c", b"%d" % number) for number in range(EVENTS + 1)))
        rows = store._connection.execute("SELECT count(*) FROM writes").fetchone()
        await store.close()
        return rows

    assert asyncio.run(test()) == (EVENTS + 1,)
    assert b"swordfish" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_its_threads_end_with_it_and_it_can_be_opened_again(tmp_path):
    """Closing twice is fine."""
    from jackfield.testing import no_leaks  # noqa: PLC0415

    async def test():
        for number in range(3):
            store = SQLiteStore(tmp_path / "jackfield.db")
            assert await store.put("a", b"%d" % number) == number + 1
            await store.close()
            await store.close()

    with no_leaks():
        asyncio.run(test())
    assert [each.name for each in tmp_path.iterdir()] == ["jackfield.db"]


def test_a_write_whose_caller_was_cancelled_disturbs_nobody(tmp_path):
    """It may be written or not."""

    async def test():
        store = SQLiteStore(tmp_path / "jackfield.db")
        tasks = [asyncio.ensure_future(store.put(f"a/{number}", b"")) for number in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        there = (await store.range("a/")).entries
        await store.close()
        return results, there

    results, there = asyncio.run(test())
    assert all(isinstance(result, int) for result in results[1::2])
    assert {f"a/{number}" for number in range(1, 100, 2)} <= there.keys()
