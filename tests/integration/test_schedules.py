"""The schedules of a configuration, from its faults to the runs that a host submits."""

import json
import time

import pytest
from tests.support.in_workers import PATIENCE, until
from typer.testing import CliRunner

from jackfield import ConfigError, Host, PluginError
from jackfield.cli import app
from jackfield.control import ControlServer
from jackfield.operations import verbs
from jackfield.store import MemoryStore

CODE = """
from jackfield import function

@function
def close(day: int, month: int = 1) -> int:
    return day
"""
HEAD = '[[plugin]]\nname = "billing"\npath = "./billing.py"\n'
EACH = '[[schedule]]\nname = "tick"\nfunction = "billing.close"\ncron = "* * * * * *"\npayload = { day = 1 }\n'


class Lasting(MemoryStore):
    """Stands for a store that lasts."""


class Submitting(Host):
    """Stands for a host that accepts calls for later."""

    def submit(self, function, payload=None, /, *, key, tenant=None):
        """Keep the call."""
        self.__dict__.setdefault("kept", {}).setdefault(key, (function, payload, tenant))


def written(folder, text):
    (folder / "billing.py").write_text(CODE, "utf-8")
    file = folder / "jackfield.toml"
    file.write_text(HEAD + text, "utf-8")
    return file


def made(folder, text, store=None, cls=Submitting):
    return cls.from_config(written(folder, text), observers=(), store=store or Lasting())


@pytest.mark.slow
def test_a_host_submits_what_its_configuration_schedules(tmp_path):
    """Each second, from its start to its stop; and again when it is started again."""
    host = made(tmp_path, EACH)
    for rounds in (2, 4):
        with host:
            until(lambda: len(getattr(host, "kept", ())) >= rounds)  # noqa: B023  # it is over by then
            assert host.schedules["tick"].next > time.time() - PATIENCE
        assert not host.schedules
    assert all(kept == ("billing.close", {"day": 1}, None) for kept in host.kept.values())
    assert all(key.startswith("schedule:tick:20") for key in host.kept)


def test_without_a_store_that_lasts_there_are_no_schedules(tmp_path):
    """The error has the line to add."""
    with pytest.raises(ConfigError, match=r"add \[store\] with url"):
        made(tmp_path, EACH, MemoryStore())


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
def test_what_only_the_functions_can_tell_is_a_fault_of_the_host(tmp_path, text, reason, fix):
    """An unknown function, a payload that does not fit, a tenant that may not."""
    host = made(tmp_path, text)
    (fault,) = host.faults
    assert (fault.stage, fault.entry) == ("schedule", "schedule tick")
    assert reason in fault.reason
    assert fix in fault.fix
    file = tmp_path / "jackfield.toml"
    file.write_text("strict = true\n" + file.read_text("utf-8"), "utf-8")
    with pytest.raises(PluginError):
        Submitting.from_config(file, observers=(), store=Lasting())


def test_an_apply_brings_changes_and_ends_schedules(tmp_path):
    """In a host that runs, had it any before or not."""
    with made(tmp_path, "") as host:
        plan = host.apply(written(tmp_path, EACH))
        assert [(change.kind, change.status) for change in plan.changes] == [("schedules", "done")]
        until(lambda: getattr(host, "kept", ()))
        changed = EACH.replace("* * * * * *", "0 0 1 1 *")
        (change,) = host.apply(written(tmp_path, changed)).changes
        assert [str(field) for field in change.fields] == ["tick.cron: * * * * * * → 0 0 1 1 *"]
        assert host.schedules["tick"].cron == "0 0 1 1 *"
        assert not host.apply(written(tmp_path, changed)).changes
        host.apply(written(tmp_path, ""))
        assert not host.schedules


def test_pluginctl_lists_the_schedules_of_the_running_host(tmp_path, monkeypatch):
    """As a table, and as JSON."""
    socket = str(tmp_path / "control")
    monkeypatch.setenv("JACKFIELD_CONTROL", socket)
    with made(tmp_path, EACH.replace("* * * * * *", "0 0 1 1 *")) as host, ControlServer(socket, verbs(host)):
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
