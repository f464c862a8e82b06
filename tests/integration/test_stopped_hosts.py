"""A host that has stopped has let go of its store: what it is asked is refused, or answered and closed again."""

import asyncio
import gc
import shutil
import sqlite3
import threading

import pytest
from loguru import logger

from jackfield import Host, Unavailable
from jackfield.store import SQLiteStore, hosted
from jackfield.store.looking import look


def shout(text: str) -> str:
    return text.upper()


@pytest.fixture
def file(tmp_path):
    """A configuration with a store in a file, and a plugin."""
    (tmp_path / "greet.py").write_text("def greet(name: str) -> str:\n    return f'hello {name}'\n")
    (tmp_path / "jackfield.toml").write_text(
        '[store]\nurl = "sqlite:jackfield.db"\n[[plugin]]\nname = "greet"\npath = "greet.py"\n'
    )
    return tmp_path / "jackfield.toml"


def closed(file):
    """Tell whether nobody has the store: whoever is the last to close it takes away what stands beside its file."""
    return not [each.name for each in file.parent.iterdir() if each.name.startswith("jackfield.db-")]


SUBMISSIONS = {
    "submit": lambda host, handle: host.submit("text.shout", "b"),
    "submitted": lambda host, handle: host.submitted(handle.id),
    "submissions": lambda host, handle: list(host.submissions()),
    "redrive": lambda host, handle: host.redrive(handle.id),
    "status": lambda host, handle: handle.status,
    "result": lambda host, handle: handle.result(1),
    "cancel": lambda host, handle: handle.cancel(),
}


@pytest.mark.parametrize("what", SUBMISSIONS)
def test_submitted_calls_are_those_of_a_host_that_runs(file, what):
    """Another process may have the file by now; whoever wants to know starts a host."""
    host = Host.from_config(file, observers=())
    host.register("text.shout", shout)
    with host:
        handle = host.submit("text.shout", "a")
        assert handle.result(20) == "A"
    assert closed(file)
    with pytest.raises(Unavailable, match="start it first") as refused:
        SUBMISSIONS[what](host, handle)
    assert (refused.value.cause, refused.value.ran) == ("host_stopped", False)
    assert closed(file)
    with host:
        assert handle.result(20) == "A"
    assert closed(file)


def clean(report):
    """Nothing was left, the state in the store included."""
    assert report.clean, report


DESIRED = {
    "history": lambda host, file: host.history,
    "apply": lambda host, file: host.apply(file),
    "a dry run": lambda host, file: host.apply(file, dry_run=True),
    "undo": lambda host, file: host.undo(1),
    "unload": lambda host, file: clean(host.unload("greet")),
}


@pytest.mark.parametrize("what", DESIRED)
def test_what_is_desired_is_answered_and_kept_and_the_store_is_closed_again(file, what):
    """It is known before a start, and changed for the next one."""
    host = Host.from_config(file, observers=())
    with host:
        pass
    assert closed(file)
    DESIRED[what](host, file)
    assert closed(file)
    assert host.history
    assert closed(file)
    with host:
        pass
    assert closed(file)


def test_the_file_of_a_stopped_host_can_be_moved_away_and_put_back(file):
    """A backup is restored between a stop and a start of the same host."""
    host = Host.from_config(file, observers=())
    host.register("text.shout", shout)
    with host:
        handle = host.submit("text.shout", "a")
        assert handle.result(20) == "A"
    path = file.with_name("jackfield.db")
    shutil.move(path, path.with_name("aside.db"))
    with pytest.raises(Unavailable):
        host.submitted(handle.id)
    assert not path.exists()
    shutil.move(path.with_name("aside.db"), path)
    with host:
        assert host.submitted(handle.id).result(20) == "A"
    assert look(path).wrong == ()


def test_many_that_ask_a_stopped_host_while_it_starts_are_all_answered(file):
    """Nobody closes the store under somebody else."""
    host = Host.from_config(file, observers=())
    host.register("text.shout", shout)
    with host:
        pass
    failed, begun = [], threading.Barrier(5)

    def ask():
        begun.wait(20)
        try:
            for _ in range(20):
                assert host.history
        except BaseException as error:  # noqa: BLE001  # it is looked at below
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    begun.wait(20)
    with host:
        assert host.submit("text.shout", "a").result(20) == "A"
        for each in threads:
            each.join(60)
    assert failed == []
    assert closed(file)


def test_a_stopped_host_that_is_dropped_leaves_the_file_to_others(file):
    """Another process can have it for itself."""
    host = Host.from_config(file, observers=())
    with host:
        pass
    assert host.history
    del host
    gc.collect()
    with sqlite3.connect(file.with_name("jackfield.db")) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("ROLLBACK")
    other.close()


def test_a_store_that_does_not_close_keeps_no_host_from_its_end(file, monkeypatch):
    """A disk may take its time: that is told, and all else of the host ends."""

    async def hang(_store):
        await asyncio.sleep(60)

    monkeypatch.setattr(hosted, "ANSWER", 0.05)
    said = []
    sink = logger.add(lambda message: said.append(message.record["message"]))
    try:
        with Host.from_config(file, observers=()) as host:
            assert host.history
            monkeypatch.setattr(SQLiteStore, "close", hang)
    finally:
        logger.remove(sink)
    assert any("the store has not closed" in each for each in said)
    with pytest.raises(Unavailable):
        host.start_plugin("greet")
