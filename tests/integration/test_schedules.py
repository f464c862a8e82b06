"""The schedules of a configuration, from its faults to the runs that a host submits."""

import asyncio
import json
import time

import pytest
from tests.support.in_workers import until
from typer.testing import CliRunner

from jackfield import ConfigError, Host, PluginError
from jackfield.cli import app
from jackfield.control import ControlServer
from jackfield.operations import verbs
from jackfield.store import SQLiteStore

CODE = """
import os
from jackfield import function

@function
def close(day: int, month: int = 1) -> int:
    with open(os.environ["RUNS"], "a") as runs:
        print(day, file=runs, flush=True)
    return day
"""
HEAD = '[[plugin]]\nname = "billing"\npath = "./billing.py"\n'
EACH = '[[schedule]]\nname = "tick"\nfunction = "billing.close"\ncron = "* * * * * *"\npayload = { day = 1 }\n'
NEVER = EACH.replace("* * * * * *", "0 0 1 1 *")


def written(folder, text):
    (folder / "billing.py").write_text(CODE, "utf-8")
    file = folder / "jackfield.toml"
    file.write_text(HEAD + text, "utf-8")
    return file


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Give what makes hosts of one configuration, each with a store of its own on one file."""
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    stores = []

    def make(text):
        stores.append(SQLiteStore(tmp_path / "jackfield.db"))
        return Host.from_config(written(tmp_path, text), observers=(), store=stores[-1])

    yield make
    for store in stores:
        asyncio.run(store.close())


def runs(folder):
    file = folder / "runs"
    return len(file.read_text("utf-8").splitlines()) if file.exists() else 0


@pytest.mark.slow
def test_hosts_of_one_store_make_each_run_once(tmp_path, made):
    """Each second, by whichever is first; from the start of a host to its stop, and again when it is started again."""
    one, two = made(EACH), made(EACH)
    begun = time.time()
    with one, two:
        until(lambda: runs(tmp_path) >= 3)
        assert one.schedules["tick"].next > begun
    assert not one.schedules
    before = runs(tmp_path)
    with two:
        until(lambda: runs(tmp_path) > before)
        submitted = list(two.submissions("billing.*"))
        # Planned seconds that have passed, each once; what is accepted last may not have run yet.
        assert runs(tmp_path) <= len(submitted) <= time.time() - begun + 1


def test_without_a_store_that_lasts_there_are_no_schedules(tmp_path):
    """The error has the line to add."""
    with pytest.raises(ConfigError, match=r"add \[store\] with url"):
        Host.from_config(written(tmp_path, EACH), observers=())


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        (EACH.replace("close", "clsoe"), "there is no function 'billing.clsoe'", "did you mean 'billing.close'?"),
        (EACH.replace("day = 1", 'day = "x"'), "its payload at $.day: expected int, got str", "--contract"),
        (EACH.replace("day = 1", "days = 1"), "its payload at", "--contract"),
        (
            f'{EACH}tenant = "t"\n[tenants.t]\npermissions = ["text.*"]\n',
            "may not call",
            "allow it under [tenants]",
        ),
    ],
)
def test_what_only_the_functions_can_tell_is_a_fault_of_the_host(tmp_path, made, text, reason, fix):
    """An unknown function, a payload that does not fit, a tenant that may not."""
    host = made(text)
    (fault,) = host.faults
    assert (fault.stage, fault.entry) == ("schedule", "schedule tick")
    assert reason in fault.reason
    assert fix in fault.fix
    file = tmp_path / "jackfield.toml"
    file.write_text("strict = true\n" + file.read_text("utf-8"), "utf-8")
    with pytest.raises(PluginError):
        Host.from_config(file, observers=(), store=SQLiteStore(tmp_path / "jackfield.db"))


def test_an_apply_brings_changes_and_ends_schedules(tmp_path, made):
    """In a host that runs, had it any before or not."""
    with made("") as host:
        plan = host.apply(written(tmp_path, EACH))
        assert [(change.kind, change.status) for change in plan.changes] == [("schedules", "done")]
        until(lambda: runs(tmp_path))
        (change,) = host.apply(written(tmp_path, NEVER)).changes
        assert [str(field) for field in change.fields] == ["tick.cron: * * * * * * → 0 0 1 1 *"]
        assert host.schedules["tick"].cron == "0 0 1 1 *"
        assert not host.apply(written(tmp_path, NEVER)).changes
        host.apply(written(tmp_path, ""))
        assert not host.schedules


def test_an_apply_to_a_host_without_a_store_that_lasts_fails_at_that_step(tmp_path):
    """It has the line to add, and the next apply tries again."""
    with Host.from_config(written(tmp_path, ""), observers=()) as host:
        for _ in range(2):
            (change,) = host.apply(written(tmp_path, EACH)).changes
            assert (change.kind, change.status) == ("schedules", "failed")
            assert "add [store] with url" in change.faults[0].reason


def test_pluginctl_lists_the_schedules_of_the_running_host(socket_path, made, monkeypatch):
    """As a table, and as JSON."""
    monkeypatch.setenv("JACKFIELD_CONTROL", str(socket_path))
    with made(NEVER) as host, ControlServer(socket_path, verbs(host)):
        until(lambda: host.schedules["tick"].next)
        result = CliRunner().invoke(app, ["schedule", "list", "--json"])
        assert result.exit_code == 0, result.output
        (row,) = json.loads(result.stdout)
        assert (row["name"], row["function"], row["policy"], row["missed"]) == ("tick", "billing.close", "once", 0)
        assert row["next"].endswith("-01-01T00:00:00Z")
        assert row["last"] is None
        table = CliRunner().invoke(app, ["schedule", "list"]).stdout
        assert "billing.close" in table
        assert "0 0 1 1 * UTC" in table
