"""`pluginctl submit`, `calls`, `result`, `cancel` and `dead` against a host that runs."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from jackfield import Host, Rejected
from jackfield.cli import app
from jackfield.cli.consoles import consoles
from jackfield.control import ControlServer
from jackfield.operations import verbs
from jackfield.store import SQLiteStore


@pytest.fixture
def host(tmp_path, socket_path, monkeypatch):
    """A host with a control socket and a store that lasts."""
    store = SQLiteStore(tmp_path / "jackfield.db")
    monkeypatch.setenv("JACKFIELD_CONTROL", str(socket_path))
    with Host(observers=(), store=store) as made, ControlServer(socket_path, {**verbs(made), **consoles(made)}):
        made.register("text.shout", shout)
        made.register("billing.close", refuse)
        yield made
    asyncio.run(store.close())


def shout(text: str) -> str:
    return text.upper()


def refuse(day: int) -> int:
    raise Rejected("too early", code="early")


async def hang() -> None:
    await asyncio.sleep(3600)


def run(*arguments, code=0):
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def test_a_call_is_submitted_and_its_result_written(host):
    """`submit` writes the id alone, `result --wait` the result as JSON."""
    identifier = run("submit", "text.shout", "text=42", "--key", "k").stdout.strip()
    assert json.loads(run("result", identifier, "--wait").stdout) == "42"
    again = json.loads(run("submit", "text.shout", "--payload", '"42"', "--key", "k", "--json").stdout)
    assert again["id"] == identifier
    assert "order" not in run("submit", "text.shout", "text=43", "--key", "k", code=1).stdout


def test_calls_are_listed_as_lines_and_as_json(host):
    """One object a line, so that many can be read as they come."""
    for text in ("a", "b"):
        run("result", run("submit", "text.shout", f"text={text}").stdout.strip(), "--wait")
    rows = [json.loads(line) for line in run("calls", "--status", "succeeded", "--json").stdout.splitlines()]
    assert [(row["function"], row["status"], row["attempt"]) for row in rows] == [("text.shout", "succeeded", 1)] * 2
    assert "text.shout" in run("calls", "--function", "text.*").stdout
    assert run("calls", "--function", "billing.*", "--json").stdout == ""
    run("calls", "--status", "gone", code=2)


def test_a_failed_call_is_shown_redriven_and_dropped(host):
    """`dead` has those whose end somebody should look at."""
    identifier = run("submit", "billing.close", "day=1").stdout.strip()
    assert "too early" in run("result", identifier, "--wait", code=1).output
    assert identifier in run("dead", "list").stdout
    shown = json.loads(run("dead", "show", identifier, "--json").stdout)
    assert shown["failure"]["type"] == "Rejected"
    assert "too early" in run("dead", "show", identifier).stdout
    run("dead", "redrive", identifier)
    run("result", identifier, "--wait", code=1)
    assert json.loads(run("dead", "drop", identifier, "--json").stdout)["dropped"]
    assert "no call" in run("dead", "show", identifier, code=1).output


def test_a_call_is_cancelled_once(host):
    """The second time it has ended already."""
    host.register("hang", hang)
    identifier = run("submit", "hang").stdout.strip()
    assert "goes on" in run("result", identifier, code=1).output
    run("cancel", identifier)
    assert "cancelled" in run("result", identifier, "--wait", code=1).output
    assert "cancelled" in run("cancel", identifier, code=1).output


def test_a_host_without_a_store_that_lasts_says_what_to_add(socket_path, monkeypatch):
    """The refusal has the line to add."""
    monkeypatch.setenv("JACKFIELD_CONTROL", str(socket_path))
    with Host(observers=()) as made, ControlServer(socket_path, {**verbs(made), **consoles(made)}):
        made.register("text.shout", str.upper)
        assert 'url = "sqlite:jackfield.db"' in run("submit", "text.shout", "--payload", '"a"', code=1).output
