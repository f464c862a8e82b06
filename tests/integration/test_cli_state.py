"""`pluginctl state export` and `import`: a document that is whole, from store to store, and never a call twice."""

import asyncio
import json
import os
import stat

import pytest
from typer.testing import CliRunner

from jackfield import Host, Rejected
from jackfield.cli import app
from jackfield.cli.consoles import consoles
from jackfield.control import ControlServer
from jackfield.operations import verbs
from jackfield.store import SQLiteStore

RAN = []


def shout(text: str) -> str:
    RAN.append(text)
    return text.upper()


def refuse(day: int) -> int:
    raise Rejected("too early", code="early")


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["state", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def use(path, work, name="blue"):
    """Have a host on a store do something."""
    store = SQLiteStore(path)
    try:
        with Host(observers=(), store=store) as host:
            host.register("text.shout", shout)
            host.register("billing.close", refuse)
            return work(host)
    finally:
        asyncio.run(store.close())


def some(host):
    """Submit what ends in each way, and what nobody here can run."""
    ended = host.submit("text.shout", "a", key="k-1", headers={"x-request": "7", "authorization": "Bearer 1"})
    assert ended.result(20) == "A"
    failed = host.submit("billing.close", 1)
    with pytest.raises(Rejected):
        failed.result(20)
    return ended.id, failed.id


def put(path, values):
    async def write():
        store = SQLiteStore(path)
        for key, value in values.items():
            await store.put(key, value)
        await store.close()

    asyncio.run(write())


def content(path):
    async def read():
        store = SQLiteStore(path)
        found = {key: there.value for key, there in (await store.range()).entries.items()}
        await store.close()
        return found

    return asyncio.run(read())


@pytest.fixture
def exported(tmp_path):
    """A store with calls and a schedule, and its document."""
    RAN.clear()
    path = tmp_path / "old.db"
    ids = use(path, some)
    put(path, {"schedules/nightly": b'{"cron":"0 1 * * *","timezone":"UTC","since":1.0,"last":1.0}'})
    run("export", "--store", f"sqlite:{path}", "--to", tmp_path / "doc.jsonl")
    return path, tmp_path / "doc.jsonl", ids


def test_the_document_is_lines_of_json_with_counts_and_a_digest_for_its_user_alone(exported):
    """Without secrets: no header that may be one, and not that of which ids are made."""
    _, document, _ = exported
    lines = [json.loads(line) for line in document.read_text().splitlines()]
    assert (lines[0]["format"], lines[0]["version"]) == ("jackfield-state", 1)
    assert lines[0]["counts"] == {"store": 1, "schedule": 1, "call": 2}
    assert len(lines[0]["digest"]) == 64
    assert "Bearer" not in document.read_text()
    assert "secret" not in {line.get("record") for line in lines}
    if os.name == "posix":
        assert stat.S_IMODE(document.stat().st_mode) == 0o600


def test_results_come_along_and_a_key_stands_for_the_same_call(exported, tmp_path):
    """A call that has ended is never run again, though it is submitted again in the other store."""
    _, document, (_, failed) = exported
    target = tmp_path / "new.db"
    done = json.loads(run("import", document, "--store", f"sqlite:{target}", "--json").stdout)
    assert (done["written"], done["conflicts"]) == (4, [])

    def again(host):
        handle = host.submit("text.shout", "a", key="k-1")
        assert handle.result(20) == "A"
        with pytest.raises(Rejected, match="too early"):
            host.submitted(failed).result(20)
        return handle.id

    assert use(target, again) in done["moved"].values()
    assert RAN == ["a"]


def test_with_the_secret_calls_keep_their_ids(exported, tmp_path):
    """For who moves a store for good."""
    source, document, (ended, _) = exported
    run("export", "--store", f"sqlite:{source}", "--to", document, "--secrets", "--force")
    done = json.loads(run("import", document, "--store", f"sqlite:{tmp_path / 'new.db'}", "--json").stdout)
    assert done["moved"] == {}
    assert use(tmp_path / "new.db", lambda host: host.submitted(ended).result(20)) == "A"
    assert not RAN[1:]


def test_once_more_changes_nothing(exported, tmp_path):
    """So that who was cut off does it again."""
    _, document, _ = exported
    target = tmp_path / "new.db"
    run("import", document, "--store", f"sqlite:{target}")
    before = content(target)
    done = json.loads(run("import", document, "--store", f"sqlite:{target}", "--json").stdout)
    assert (done["same"], done["written"]) == (4, 0)
    assert content(target) == before


def test_a_conflict_is_told_and_replaced_only_where_that_is_wanted(exported, tmp_path):
    """Another payload under the same key, and a schedule that has come elsewhere."""
    _, document, _ = exported
    target = tmp_path / "new.db"
    use(target, lambda host: host.submit("text.shout", "other", key="k-1").result(20))
    put(target, {"schedules/nightly": b'{"cron":"0 1 * * *","timezone":"UTC","since":9.0}'})
    told = run("import", document, "--store", f"sqlite:{target}", code=1)
    assert "that of another call here" in told.output
    assert "come to another time" in told.output
    assert use(target, lambda host: host.submit("text.shout", "other", key="k-1").result(20)) == "OTHER"
    done = json.loads(run("import", document, "--store", f"sqlite:{target}", "--replace", "--json").stdout)
    assert done["replaced"] == 2
    assert use(target, lambda host: host.submit("text.shout", "a", key="k-1").result(20)) == "A"
    assert RAN == ["a", "other"]


def test_through_a_running_host(exported, tmp_path, socket_path, monkeypatch):
    """Both ways; what has ended elsewhere does not run here, what waits does."""
    source, document, (ended, failed) = exported

    async def wait_still():
        store = SQLiteStore(source)
        await store.delete(f"calls/{ended[:2]}/{ended}/state")
        await store.close()

    asyncio.run(wait_still())
    run("export", "--store", f"sqlite:{source}", "--to", document, "--force")
    monkeypatch.setenv("JACKFIELD_CONTROL", str(socket_path))
    store = SQLiteStore(tmp_path / "running.db")
    with Host(observers=(), store=store) as host, ControlServer(socket_path, {**verbs(host), **consoles(host)}):
        host.register("text.shout", shout)
        run("import", document)
        with pytest.raises(Rejected):
            host.submitted(failed).result(20)
        assert host.submit("text.shout", "a", key="k-1").result(20) == "A"
        assert RAN == ["a", "a"]
        lines = [json.loads(line) for line in run("export").stdout.splitlines()]
        assert lines[0]["counts"]["call"] == 2
    asyncio.run(store.close())


def cut(text):
    return text[: len(text) - 40]


def shorter(text):
    return "".join(text.splitlines(keepends=True)[:-1])


def changed(text):
    return text.replace("nightly", "weekly")


def newer(text):
    return text.replace('"version":1', '"version":9', 1)


def other(text):
    return '{"name": "somebody else\'s"}\n'


def nothing(text):
    return ""


@pytest.mark.parametrize(
    ("spoil", "what", "fix"),
    [
        (cut, "ends in the middle", "export it again"),
        (shorter, "not whole", "export it again"),
        (changed, "somebody has changed it", "export it again"),
        (newer, "version 9", "or a newer one"),
        (other, "line 1: it is no jackfield-state document", "state export"),
        (nothing, "line 1", "state export"),
    ],
)
def test_a_document_that_is_not_whole_or_not_ours_is_refused_before_anything_is_written(
    exported, tmp_path, spoil, what, fix
):
    """With the line, and what to do; there is no store afterwards."""
    _, document, _ = exported
    document.write_text(spoil(document.read_text()))
    told = run("import", document, "--store", f"sqlite:{tmp_path / 'new.db'}", code=1).output
    assert what in told
    assert fix in told
    assert not (tmp_path / "new.db").exists()


def test_what_is_desired_of_another_host_is_taken_over_only_on_demand(exported, tmp_path):
    """Calls come in; schedules and what is desired are told."""
    source, document, _ = exported
    put(source, {"hosts/blue/identity": b"named"})
    run("export", "--store", f"sqlite:{source}", "--to", document, "--force")
    target = tmp_path / "green.db"
    put(target, {"hosts/green/identity": b"named"})
    done = json.loads(run("import", document, "--store", f"sqlite:{target}", "--json", code=1).stdout)
    assert [(each["record"], each["name"]) for each in done["conflicts"]] == [("schedule", "nightly")]
    assert "of host blue, and this store of green" in done["conflicts"][0]["reason"]
    assert done["written"] == 3
    run("import", document, "--store", f"sqlite:{target}", "--replace")


def test_what_is_desired_moves_with_its_history(tmp_path):
    """A host on the new store is what it was on the old one."""
    (tmp_path / "greet.py").write_text("def greet(name: str) -> str:\n    return f'hello {name}'\n")
    text = '[store]\nurl = "sqlite:{}"\n[[plugin]]\nname = "greet"\npath = "greet.py"\n'
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(text.format("old.db"))
    new.write_text(text.format("new.db"))
    with Host.from_config(old, observers=()) as host:
        host.stop_plugin("greet")
        history = [each.number for each in host.history]
    run("export", "--config", old, "--to", tmp_path / "doc.jsonl")
    done = json.loads(run("import", tmp_path / "doc.jsonl", "--config", new, "--json").stdout)
    assert done["conflicts"] == []
    before = {key: value for key, value in content(tmp_path / "old.db").items() if key.startswith("desired/")}
    assert before
    assert {key: value for key, value in content(tmp_path / "new.db").items() if key.startswith("desired/")} == before
    with Host.from_config(new, observers=()) as host:
        assert [each.number for each in host.history][: len(history)] == history


def test_what_cannot_be_read_is_told_and_not_in_the_document(exported, tmp_path):
    """A call that a later jackfield has kept; the rest is exported."""
    source, document, _ = exported
    put(source, {f"calls/ab/{'ab' * 16}/call": b"of later"})
    told = run("export", "--store", f"sqlite:{source}", "--to", document, "--force", code=1)
    assert f"call {'ab' * 16}" in told.output
    run("import", document, "--store", f"sqlite:{tmp_path / 'new.db'}")


def test_no_store_is_made_by_an_export(tmp_path):
    """And nothing is replaced that is there."""
    assert "no store" in run("export", "--store", f"sqlite:{tmp_path / 'gone.db'}", code=1).output
    assert "gone with its process" in run("export", "--store", "memory:", code=1).output
    (tmp_path / "doc.jsonl").write_text("mine")
    assert "--force" in run("export", "--store", "sqlite:a.db", "--to", tmp_path / "doc.jsonl", code=1).output
    assert [each.name for each in tmp_path.iterdir()] == ["doc.jsonl"]
    run("export", "--store", "sqlite:a.db", "--config", "b.toml", code=2)
