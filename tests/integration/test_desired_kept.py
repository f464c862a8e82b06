"""What somebody wants of a host outlives it, in a store that lasts: a restart comes back as it was, kills included."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from jackfield import FunctionNotFound, Host, PluginConfig, StoreUnusable, Unavailable
from jackfield.cli.payload import decode
from jackfield.control import ControlServer
from jackfield.operations import verbs
from jackfield.store import SQLiteStore

PLUGIN = """
from jackfield import Config, function, inject

@function
def get(*, config: Config = inject()) -> str:
    secret = config.get("secret")
    return "{text}" + (secret.reveal() if secret else "")
"""
CONFIG = """
[store]
url = "sqlite:jackfield.db"
[[plugin]]
name = "a"
path = "./a.py"
[[plugin]]
name = "b"
path = "./b.py"
depends_on = ["a"]
[[plugin]]
name = "c"
path = "./c.py"
auto_start = false
"""
TWO = """
[[plugin]]
name = "d"
path = "./d.py"
version = "2"
functions = {"a.get" = "get"}
"""


class Service:
    """A folder with a configuration, and the hosts that are made of it one after another."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "jackfield.toml"
        self.file.write_text(CONFIG)
        for name in "abcd":
            (folder / f"{name}.py").write_text(PLUGIN.replace("{text}", name))

    def host(self):
        return Host.from_config(self.file, observers=())

    def add(self, more):
        self.file.write_text(self.file.read_text() + textwrap.dedent(more))


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


def states(host):
    return {name: record.state.value for name, record in host.plugins.items()}


def test_a_stopped_plugin_stays_stopped_and_what_needs_it_waits(service):
    """Until somebody starts it, which is kept, too."""
    with service.host() as host:
        assert states(host) == {"a": "running", "b": "running", "c": "registered"}
        host.stop_plugin("a")
    with service.host() as host:
        assert states(host)["a"] != "running"
        assert states(host)["b"] != "running"
        with pytest.raises(Unavailable):
            host.call("a.get")
        host.start_plugin("a")
        assert host.call("b.get") == "b"
    with service.host() as host:
        assert states(host) == {"a": "running", "b": "running", "c": "registered"}


def test_a_plugin_that_was_started_by_hand_runs_again(service):
    """Though it does not start by itself."""
    with service.host() as host:
        host.start_plugin("c")
    with service.host() as host:
        assert host.call("c.get") == "c"


def test_an_unloaded_plugin_stays_away_until_it_is_started(service):
    """As in the host that unloaded it."""
    with service.host() as host:
        host.unload("c")
    with service.host() as host:
        assert "c" not in host.plugins
        assert host.start_plugin("c").state == "running"
    with service.host() as host:
        assert host.call("c.get") == "c"


def test_a_plugin_that_was_loaded_by_hand_is_loaded_again(service, monkeypatch):
    """With its options; of a secret the reference is kept alone."""
    from jackfield.config import Secret  # noqa: PLC0415

    monkeypatch.setenv("SECRET_OF_D", "swordfish")
    options = {"secret": Secret("env:SECRET_OF_D"), "more": {"list": [1, Secret("env:SECRET_OF_D")]}}
    with service.host() as host:
        host.load(PluginConfig("d", str(service.folder / "d.py"), options=options))
    assert b"swordfish" not in b"".join(each.read_bytes() for each in service.folder.glob("jackfield.db*"))
    with service.host() as host:
        assert host.call("d.get") == "dswordfish"
        assert [drift.field for drift in host.apply(service.file, dry_run=True).drift] == ["plugin.d.loaded"]


def test_the_default_of_a_route_stays(service):
    """Also through another file that says nothing of it."""
    service.add(TWO)
    with service.host() as host:
        assert host.call("a.get") == "a"
        host.reroute("a.get", default="2")
    service.add("# another digest")
    with service.host() as host:
        assert host.call("a.get") == "d"


def test_what_was_edited_meanwhile_is_taken_and_the_rest_stays_as_drift(service):
    """As an apply does it."""
    with service.host() as host:
        host.stop_plugin("b")
    service.add('[[plugin]]\nname = "d"\npath = "./d.py"\n')
    with service.host() as host:
        assert host.call("d.get") == "d"
        assert states(host)["b"] != "running"
        plan = host.apply(service.file, dry_run=True)
        assert (plan.changes, [drift.field for drift in plan.drift]) == ((), ["plugin.b.running"])


def test_what_both_have_changed_keeps_the_host_as_it_was_until_somebody_decides(service):
    """The conflict is shown, and `force` takes the file."""
    with service.host() as host:
        host.unload("c")
    service.file.write_text(CONFIG.replace('"./c.py"', '"./d.py"') + '[[plugin]]\nname = "d"\npath = "./d.py"\n')
    with service.host() as host:
        assert states(host) == {"a": "running", "b": "running"}
        plan = host.apply(service.file)
        assert [conflict.field for conflict in plan.conflicts] == ["plugin.c.loaded"]
        assert host.apply(service.file, force=True).ok
        assert set(states(host)) == {"a", "b", "c", "d"}
    with service.host() as host:
        assert set(states(host)) == {"a", "b", "c", "d"}


def test_every_change_is_a_revision_that_can_be_gone_back_to(service):
    """By whom, how and what; an undo is one itself."""
    with service.host() as host:
        host.stop_plugin("b")
        host.start_plugin("c")
        host.unload("c")
        told = [(each.number, each.by, each.verb, each.what.partition(" ")[0]) for each in host.history]
        assert told == [
            (1, "file", "start", "file"),
            (2, "operator", "stop", "plugin.b.running:"),
            (3, "operator", "start", "plugin.c.running:"),
            (4, "operator", "unload", "plugin.c.loaded:"),
        ]
        plan = host.undo(3)
        assert plan.ok
        assert states(host) == {"a": "running", "b": "stopped", "c": "running"}
        host.undo(1)
        assert states(host)["b"] == "running"
        assert states(host)["c"] != "running"
        assert [each.verb for each in host.history][-2:] == ["undo", "undo"]
        with pytest.raises(LookupError, match=r"d99 is not kept.*use one of d1, d2"):
            host.undo(99)
    with service.host() as host:
        assert states(host) == {"a": "running", "b": "running", "c": "registered"}


def test_an_undo_takes_back_the_choice_of_a_default_version(service):
    """And makes it again."""
    service.add(TWO)
    with service.host() as host:
        host.reroute("a.get", default="2")
        assert host.undo(1).ok
        assert host.call("a.get") == "a"
        assert host.undo(2).ok
        assert host.call("a.get") == "d"
    with service.host() as host:
        assert host.call("a.get") == "d"


def test_a_file_that_was_undone_stays_undone_until_it_says_something_else(service):
    """A restart does not take for an edit what the host had before."""
    with service.host() as host:
        service.add('[[plugin]]\nname = "d"\npath = "./d.py"\n')
        assert host.apply(service.file).ok
        host.undo(1)
        assert states(host)["d"] == "unloaded"
    with service.host() as host:
        assert set(states(host)) == {"a", "b", "c"}
        assert [change.kind for change in host.apply(service.file, dry_run=True).changes] == ["add"]
    service.add("# another digest")
    with service.host() as host:
        assert set(states(host)) == {"a", "b", "c", "d"}


def test_a_verdict_over_many_functions_is_one_revision(service):
    """So that a kill leaves all of them where they were, or none."""
    service.add(TWO.replace('"a.get" = "get"', '"a.get" = "get", "b.get" = "get"'))
    with service.host() as host:
        host.canary("d", version="2", share=0.5).promote()
        assert [(each.verb, each.what) for each in host.history][1:] == [
            ("canary", "trial.d: 50% to 2"),
            ("promote", "route.a.get.default: 2 and 1 more"),
        ]
    with service.host() as host:
        assert (host.call("a.get"), host.call("b.get")) == ("d", "d")


def test_what_two_hosts_change_on_one_store_is_kept_of_both(service):
    """Each writes its own change into what is there, and nothing else."""
    with service.host() as one, service.host() as two:
        one.stop_plugin("b")
        two.start_plugin("c")
        one.reroute("a.get", default="0")
        assert [each.number for each in one.history] == [1, 2, 3, 4]
        assert one.history == two.history
    with service.host() as host:
        assert states(host) == {"a": "running", "b": "registered", "c": "running"}


def asked(host, ask):
    kept = host._kept
    return kept.ask(lambda: ask(kept.store)).result(20)


def test_a_revision_whose_history_a_kill_has_cut_off_is_there_again(service):
    """The state is written first."""
    with service.host() as host:
        host.stop_plugin("b")
        asked(host, lambda store: store.delete("desired/history/0000000002"))
        assert [each.number for each in host.history] == [1]
    with service.host() as host:
        assert [each.number for each in host.history] == [1, 2]
        host.undo(2)


def test_files_that_no_revision_needs_any_more_are_released(service, monkeypatch):
    """What is kept has a bound."""
    monkeypatch.setattr("jackfield.desired.keeping.KEPT", 3)
    with service.host() as host:
        for number in range(8):
            service.add(f"# {number}")
            host.apply(service.file)
        assert [each.number for each in host.history] == [7, 8, 9]
        assert len(asked(host, lambda store: store.range("desired/files/")).entries) <= 4
        assert host.undo(7).ok


def test_the_verbs_of_a_running_host(service, socket_path):
    """`history` and `undo`."""

    def pluginctl(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "jackfield", *arguments, "--control", str(socket_path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    with service.host() as host, ControlServer(socket_path, verbs(host)):
        host.stop_plugin("b")
        listed = pluginctl("history")
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["d1", "d2"]
        assert json.loads(pluginctl("history", "--json").stdout)[1]["what"] == "plugin.b.running: false"
        done = pluginctl("undo", "d1", "--json")
        assert (done.returncode, decode(done.stdout.encode())["applied"]) == (0, True)
        assert states(host)["b"] == "running"
        assert pluginctl("undo", "first").returncode == 2
        assert "d99 is not kept" in pluginctl("undo", "d99").stderr


def test_without_a_store_that_lasts_nothing_is_kept_and_that_is_said(service):
    """A restart knows the file alone."""
    service.file.write_text(CONFIG.replace("sqlite:jackfield.db", "memory:"))
    with service.host() as host:
        host.stop_plugin("b")
        assert host.history == ()
        with pytest.raises(Unavailable, match=r"add \[store\]"):
            host.undo(1)
    with service.host() as host:
        assert states(host)["b"] == "running"


def test_what_a_newer_jackfield_has_written_is_not_touched(service):
    """An older one does not start on it."""
    with service.host() as host:
        host.stop_plugin("b")
        kept = host._kept
        there = kept.ask(lambda: kept.store.get("desired/state")).result(20)
        newer = there.value.replace(b"\xa7version\x01", b"\xa7version\x63")
        assert newer != there.value
        kept.ask(lambda: kept.store.put("desired/state", newer)).result(20)
    with pytest.raises(StoreUnusable, match="version 99"):
        service.host()


KILLED = """
import os, sys
from jackfield import Host
from jackfield.store import SQLiteStore

class Counting(SQLiteStore):
    left = int(sys.argv[2])
    async def put(self, key, value, **how):
        revision = await super().put(key, value, **how)
        Counting.left -= 1
        if Counting.left == 0:
            os._exit(9)
        return revision

file = sys.argv[1]
with Host.from_config(file, observers=(), store=Counting(os.path.join(os.path.dirname(file), "jackfield.db"))) as host:
    for verb, name in (("stop_plugin", "b"), ("start_plugin", "c"), ("unload", "c")):
        print(verb, flush=True)
        getattr(host, verb)(name)
    print("ended", flush=True)
"""


@pytest.mark.slow
def test_a_kill_between_any_two_steps_leaves_what_was_wanted_before_or_after(service):
    """And the next start comes to the same as one that was not killed."""
    for writes in range(1, 30):
        for left in service.folder.glob("jackfield.db*"):
            left.unlink()
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(service.file), str(writes)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout.split()
        begun = len(said) - ("ended" in said)
        with service.host() as host:
            shown = states(host)
            after = [
                {"a": "running", "b": "running", "c": "registered"},
                {"a": "running", "b": "registered", "c": "registered"},
                {"a": "running", "b": "registered", "c": "running"},
                {"a": "running", "b": "registered"},
            ]
            assert shown in (after[begun], after[max(begun - 1, 0)]), (writes, said)
            host.apply(service.file, force=True)
            for name in ("b", "c"):
                if states(host).get(name) != "running":
                    host.start_plugin(name)
            assert host.call("b.get") == "b"
        if "ended" in said:
            return
    pytest.fail("it never came to its end")


def test_a_store_that_is_away_when_the_host_starts_is_told_and_not_overwritten(service, monkeypatch):
    """The host serves what its file says."""
    with service.host() as host:
        host.stop_plugin("b")

    async def away(self, key):
        raise Unavailable("store", "it is away", "store")

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStore, "get", away)
        with service.host() as host:
            assert host.call("b.get") == "b"
            host.stop_plugin("a")
    with service.host() as host:
        assert states(host)["a"] == "running"
        assert states(host)["b"] != "running"
        with pytest.raises((Unavailable, FunctionNotFound)):
            host.call("b.get")
