"""`host.apply`: a running host, real files, and what the file says now; what was done by hand between."""

import asyncio
import os
import signal
import threading

import attrs
import pytest

from jackfield import ConfigError, FunctionNotFound, Host, PermissionDenied, PluginConfig, PluginState, Unavailable
from jackfield.store import MemoryStore
from support.interrupts import interrupted_when

PLUGIN = """
from jackfield import Config, function, inject

@function
def get(*, config: Config = inject()) -> str:
    return "{text} " + str(config.get("key", ""))
"""

SECRET = "correct-horse-battery-staple"  # noqa: S105  # what must not be shown


class Project:
    """A folder with a configuration and its plugins."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "jackfield.toml"

    def plugin(self, name, text="1", source=PLUGIN):
        (self.folder / f"{name}.py").write_text(source.replace("{text}", text), encoding="utf-8")

    def config(self, *plugins, more=""):
        """Write the file; each plugin is a name, or a name and further lines."""
        pairs = [(each, "") if isinstance(each, str) else each for each in plugins]
        tables = [f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\n{lines}\n' for name, lines in pairs]
        self.file.write_text("\n".join([*tables, more]), encoding="utf-8")

    def host(self):
        return Host.from_config(self.file, observers=())


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    for name in "abc":
        project.plugin(name)
    return project


def kinds(plan):
    return [(change.kind, change.name) for change in plan.changes]


def states(host):
    return {name: str(record.state) for name, record in host.plugins.items()}


def test_what_the_file_adds_changes_and_removes_is_done_and_then_there_is_nothing_to_do(project):
    """Only what differs is touched; the second apply of the same file is empty."""
    project.config("a", "b")
    with project.host() as host:
        since = host.plugins["a"].since
        assert host.apply(project.file).changes == ()
        project.config("a", ("c", 'depends_on = ["a"]\noptions = { key = "x" }'))
        shown = host.apply(project.file, dry_run=True)
        assert kinds(shown) == [("remove", "b"), ("add", "c")]
        assert not shown.applied
        assert states(host) == {"a": "running", "b": "running"}
        plan = host.apply(project.file)
        assert (kinds(plan), {change.status for change in plan.changes}) == (kinds(shown), {"done"})
        assert states(host) == {"a": "running", "b": "unloaded", "c": "running"}
        assert (host.call("c.get"), host.plugins["a"].since) == ("1 x", since)
        with pytest.raises(FunctionNotFound):
            host.call("b.get")
        assert host.apply(project.file).changes == ()


def test_changed_options_and_fields_are_shown_without_the_options_values(project):
    """Their keys alone: they may be secrets. What depends on the plugin stops and starts with it."""
    project.config(("a", f'options = {{ key = "{SECRET}", gone = 1 }}'), ("b", 'depends_on = ["a"]'))
    with project.host() as host:
        project.config(
            ("a", f'timeout = 2\noptions = {{ key = "{SECRET[::-1]}", new = 1 }}'), ("b", 'depends_on = ["a"]')
        )
        (change,) = host.apply(project.file).changes
        assert (change.kind, change.name, change.also) == ("change", "a", ("b",))
        assert [field.field for field in change.fields] == ["timeout", "options.key", "options.gone", "options.new"]
        text = f"{change} {host.apply(project.file)}"
        assert SECRET not in text
        assert SECRET[::-1] not in text
        assert host.call("a.get") == f"1 {SECRET[::-1]}"
        assert states(host) == {"a": "running", "b": "running"}


def test_an_option_of_another_type_is_another_option(project):
    """1, 1.0 and true are equal in Python, and not what the plugin sees."""
    project.config(("a", "options = { key = 1 }"))
    with project.host() as host:
        for value, shown in (("true", "1 True"), ("1.0", "1 1.0"), ("[1]", "1 [1]"), ("[true]", "1 [True]")):
            project.config(("a", f"options = {{ key = {value} }}"))
            assert [field.field for field in host.apply(project.file).changes[0].fields] == ["options.key"]
            assert host.call("a.get") == shown


def test_on_the_hosts_own_loop_it_says_how_to_ask(project):
    """It would wait for plugins that need that loop; a dry run waits for nobody."""
    project.config("a")

    async def apply():
        async with project.host() as host:
            project.config("a", "b")
            assert kinds(host.apply(project.file, dry_run=True)) == [("add", "b")]
            with pytest.raises(Unavailable, match=r"asyncio.to_thread\(host.apply"):
                host.apply(project.file)
            assert (await asyncio.to_thread(host.apply, project.file)).ok

    asyncio.run(apply())


def test_a_verb_that_was_refused_has_changed_nothing_by_hand(project):
    """Who asked on the host's own loop has started nothing, and is told so: no drift."""
    project.config(("a", "auto_start = false"))

    async def start():
        async with project.host() as host:
            with pytest.raises(Unavailable):
                host.start_plugin("a")
            assert not host.apply(project.file, dry_run=True).differs

    asyncio.run(start())


def test_options_are_those_that_the_plugin_was_loaded_by_last(project):
    """What was injected before it was unloaded is not injected again."""
    project.config("b")
    with project.host() as host:
        for value in ("one", "two"):
            host.load(PluginConfig("a", str(project.folder / "a.py"), options={"key": value}))
            assert host.call("a.get") == f"1 {value}"
            host.unload("a")


def test_a_promotion_belongs_to_whoever_promoted(project):
    """An apply leaves the default to it, and says who it was, whatever reason they gave."""
    project.config("a")
    with project.host() as host:
        for version in "12":
            host.register("f", lambda: 0, version=version)
        host.canary("f", version="2", share=0.1).promote("it looks good")
        project.config("a", more='[routes.f]\nshares = { "1" = 0.5 }')
        plan = host.apply(project.file)
        assert [(drift.field, drift.here, drift.verb, drift.by) for drift in plan.drift] == [
            ("routes.f.default", "2", "promote", "operator")
        ]
        assert (kinds(plan), host.snapshot.routes["f"].default) == ([("route", "f")], "2")


def test_a_faulty_file_changes_nothing(project):
    """All its faults are raised, before anything is looked at."""
    project.config("a")
    with project.host() as host:
        project.config("b", ("c", 'depends_on = ["d"]'))
        with pytest.raises(ConfigError, match="no plugin is named 'd'"):
            host.apply(project.file)
        assert states(host) == {"a": "running"}
        assert host.configuration.plugins.keys() == {"a"}


def test_a_changed_file_or_folder_is_reloaded_though_the_configuration_is_the_same(project):
    """By its content: what was only touched, or written anew alike, is left alone."""
    (project.folder / "d").mkdir()
    (project.folder / "d/__init__.py").write_text(PLUGIN.replace("{text}", "1"))
    project.config("a", more='[[plugin]]\nname = "d"\npath = "./d"\n')
    with project.host() as host:
        os.utime(project.folder / "a.py")
        project.plugin("a", "1")
        assert host.apply(project.file).changes == ()
        project.plugin("a", "2")
        (project.folder / "d/tax.py").write_text("")
        plan = host.apply(project.file)
        assert kinds(plan) == [("reload", "a"), ("reload", "d")]
        assert plan.ok
        assert host.call("a.get") == "2 "
        assert host.apply(project.file).changes == ()
        project.plugin("a", "3")
        host.reload("a")
        assert host.apply(project.file).changes == ()


def test_a_step_that_fails_is_told_of_and_the_others_go_on(project):
    """The fault names the plugin; once its file is mended, the next apply finishes."""
    project.config("a")
    project.plugin("b", source="import nothing_of_that_name")
    with project.host() as host:
        project.config("a", "b", "c")
        plan = host.apply(project.file)
        assert [(change.name, change.status) for change in plan.changes] == [("b", "failed"), ("c", "done")]
        assert not plan.ok
        assert {fault.plugin for fault in plan.failed[0].faults} == {"b"}
        assert "nothing_of_that_name" in str(plan)
        assert states(host) == {"a": "running", "b": "failed", "c": "running"}
        project.plugin("b")
        assert kinds(host.apply(project.file)) == [("change", "b")]
        assert host.call("b.get") == "1 "
        assert host.apply(project.file).changes == ()


SLOW_ONCE = """
import os, time
from jackfield import function
class Plugin:
    def start(self):
        if os.path.exists(__file__ + ".once"):
            os.rename(__file__ + ".once", __file__ + ".begun")
            while os.path.exists(__file__ + ".begun"):
                time.sleep(0.001)
@function
def get() -> str:
    return "b"
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a signal of another thread")
def test_what_an_interrupt_leaves_the_next_apply_finishes(project):
    """Whatever was done is seen, whatever was not is done."""
    assert threading.current_thread() is threading.main_thread()
    project.config()
    project.file.write_text("strict = false\n")
    (project.folder / "b.py").write_text(SLOW_ONCE)
    (project.folder / "b.py.once").write_text("")
    with project.host() as host:
        project.config(
            "a", more='[[plugin]]\nname = "b"\npath = "./b.py:Plugin"\n[[plugin]]\nname = "c"\npath = "./c.py"'
        )
        begun = project.folder / "b.py.begun"
        with interrupted_when(begun.exists), pytest.raises(KeyboardInterrupt):
            host.apply(project.file)
        begun.unlink()
        assert host.apply(project.file).ok
        assert states(host) == {"a": "running", "b": "running", "c": "running"}
        assert host.apply(project.file).changes == ()


def test_what_operators_changed_elsewhere_stays_and_is_shown(project):
    """Stopped, unloaded, loaded and rerouted by hand: none of it is reverted, all of it is drift."""
    project.config("a", "b")
    with project.host() as host:
        host.register("f", lambda: 1, version="1")
        host.register("f", lambda: 2, version="2")
        host.stop_plugin("a")
        host.unload("b")
        host.load(PluginConfig("c", str(project.folder / "c.py")))
        host.reroute("f", default="2")
        project.plugin("d")
        project.config("a", "b", "d")
        plan = host.apply(project.file)
        assert kinds(plan) == [("add", "d")]
        assert {drift.field for drift in plan.drift} == {
            "plugin.a.running",
            "plugin.b.loaded",
            "plugin.c.loaded",
            "routes.f.default",
        }
        assert states(host) == {"a": "stopped", "b": "unloaded", "c": "running", "d": "running"}
        assert host.call("f") == 2
        host.start_plugin("a")
        host.load(host.configuration.plugins["b"])
        host.unload("c")
        assert [drift.field for drift in host.apply(project.file).drift] == ["routes.f.default"]


def test_what_depends_on_a_plugin_that_was_stopped_by_hand_waits_for_it(project):
    """An apply does not start the one through the other; when the operator starts it, both run."""
    project.config("a", ("b", 'depends_on = ["a"]'))
    with project.host() as host:
        host.stop_plugin("a")
        assert host.apply(project.file).changes == ()
        host.start_plugin("b")
        assert states(host) == {"a": "running", "b": "running"}
        assert (host.apply(project.file).changes, host.apply(project.file).drift) == ((), ())


def test_a_field_that_both_changed_is_a_conflict_before_anything_is_done(project):
    """It names both sides; `force` takes the file's; where both want the same there is none."""
    project.config("a", ("b", "auto_start = false"), ("c", "auto_start = false"))
    with project.host() as host:
        host.start_plugin("b")
        host.unload("a")
        project.config(("a", "timeout = 1"), "b", "c")
        plan = host.apply(project.file)
        (conflict,) = plan.conflicts
        assert (conflict.field, conflict.here, conflict.verb) == ("plugin.a.loaded", "not loaded", "unload")
        assert not plan.ok
        assert states(host) == {"a": "unloaded", "b": "running", "c": "registered"}
        plan = host.apply(project.file, force=True)
        assert plan.ok
        assert states(host) == {"a": "running", "b": "running", "c": "running"}
        assert host.apply(project.file).drift == ()


def test_auto_start_that_is_taken_away_stops_the_plugin(project):
    """And given again starts it; a plugin that another one needs runs on."""
    project.config("a", ("b", 'depends_on = ["a"]'), "c")
    with project.host() as host:
        project.config(("a", "auto_start = false"), ("b", 'depends_on = ["a"]'), ("c", "auto_start = false"))
        assert host.apply(project.file).ok
        assert (str(host.plugins["a"].state), host.plugins["c"].state is PluginState.RUNNING) == ("running", False)
        project.config("a", ("b", 'depends_on = ["a"]'), "c")
        assert host.apply(project.file).ok
        assert set(states(host).values()) == {"running"}


def test_routes_and_tenants_follow_the_file(project):
    """Shares, defaults and permissions come, change and go."""
    project.plugin("a2", "2", PLUGIN.replace("def get", "def got"))
    functions = 'functions = { "f" = "get" }\nversion = "1"'
    others = 'functions = { "f" = "got" }\nversion = "2"'
    project.config(("a", functions), ("a2", others))
    with project.host() as host:
        assert host.call("f") == "1 "
        project.config(("a", functions), ("a2", others), more='[routes]\nf = "2"\n[tenants.t]\npermissions = []\n')
        plan = host.apply(project.file)
        assert kinds(plan) == [("tenants", ""), ("route", "f")]
        assert host.call("f") == "2 "
        with pytest.raises(PermissionDenied):
            host.call("f", tenant="t")
        project.config(
            ("a", functions), ("a2", others), more='[routes.f]\ntenants = { u = "2" }\n[tenants.u]\n[tenants.t]'
        )
        assert host.apply(project.file).ok
        assert (host.call("f"), host.call("f", tenant="u"), host.call("f", tenant="t")) == ("1 ", "2 ", "1 ")
        project.config(("a", functions), ("a2", others))
        assert kinds(host.apply(project.file)) == [("tenants", ""), ("route", "f")]
        assert host.call("f", tenant="u", version="1") == "1 "
        assert host.apply(project.file).changes == ()


def test_a_default_that_was_chosen_by_hand_outlives_a_change_of_the_shares(project):
    """Two fields of one rule have two owners."""
    project.config("a", more='[routes.f]\ndefault = "1"\n')
    with project.host() as host:
        for version in "123":
            host.register("f", version.strip, version=version)
        host.reroute("f", default="3")
        project.config("a", more='[routes.f]\ndefault = "1"\ntenants = { t = "2" }\n')
        plan = host.apply(project.file)
        assert [drift.here for drift in plan.drift] == ["3"]
        assert (host.call("f"), host.call("f", tenant="t")) == ("3", "2")
        project.config("a", more='[routes.f]\ndefault = "2"\n')
        assert [conflict.field for conflict in host.apply(project.file).conflicts] == ["routes.f.default"]
        assert host.apply(project.file, force=True).ok
        assert host.call("f") == "2"


def test_a_canary_is_touched_only_by_what_names_its_route_or_plugin(project):
    """Elsewhere it goes on; a rule for its route is a conflict unless forced; a change of its plugin ends it."""
    functions = 'functions = { "f" = "get" }\nversion = "%s"'
    project.config(("a", functions % 1), ("b", functions % 2), "c")
    with project.host() as host:
        canary = host.canary("f", version="2", share=0.5)
        project.config(("a", functions % 1), ("b", functions % 2), ("c", "timeout = 1"))
        plan = host.apply(project.file)
        assert (kinds(plan), [drift.field for drift in plan.drift]) == ([("change", "c")], ["routes.f"])
        assert str(canary.status.state) == "running"

        project.config(("a", functions % 1), ("b", functions % 2), "c", more='[routes]\nf = "2"')
        plan = host.apply(project.file)
        assert [conflict.field for conflict in plan.conflicts] == ["routes.f"]
        assert str(canary.status.state) == "running"
        assert kinds(host.apply(project.file, force=True))[:2] == [("abort", "f"), ("route", "f")]
        assert str(canary.status.state) == "aborted"

        canary = host.canary("f", version="1", share=0.5)
        project.config(("a", functions % 1 + "\ntimeout = 1"), ("b", functions % 2), "c", more='[routes]\nf = "2"')
        assert kinds(host.apply(project.file)) == [("abort", "f"), ("change", "a")]
        assert str(canary.status.state) == "aborted"


def test_what_a_canary_promoted_is_not_reverted(project):
    """Its default belongs to whoever promoted it, until the file says something new."""
    functions = 'functions = { "f" = "get" }\nversion = "%s"'
    project.plugin("b", "2")
    project.config(("a", functions % 1), ("b", functions % 2), more='[routes]\nf = "1"')
    with project.host() as host:
        host.canary("f", version="2", share=0.5).promote()
        plan = host.apply(project.file)
        assert (plan.changes, [(drift.field, drift.verb) for drift in plan.drift]) == (
            (),
            [("routes.f.default", "promote")],
        )
        assert host.call("f") == "2 "


def test_what_only_a_restart_brings_is_said_and_no_change(project):
    """Such as the host's own timeout."""
    project.config("a")
    with project.host() as host:
        project.file.write_text("timeout = 3\n" + project.file.read_text())
        plan = host.apply(project.file)
        assert (plan.changes, [str(field) for field in plan.restart]) == ((), ["timeout: (none) → 3.0"])


def test_a_host_without_a_file_takes_one(project):
    """What was registered by hand stays; a host that does not run yet loads, and starts later."""
    project.config("a", ("b", 'depends_on = ["a"]'))
    host = Host(observers=())
    host.register("f", lambda: 1)
    assert host.configuration is None
    assert kinds(host.apply(project.file)) == [("add", "a"), ("add", "b")]
    assert states(host) == {"a": "registered", "b": "registered"}
    project.plugin("a", "2")
    assert kinds(host.apply(project.file)) == [("reload", "a")]
    with host:
        assert (host.call("f"), host.call("a.get")) == (1, "2 ")
        assert host.apply(attrs.evolve(host.configuration, plugins={})).ok
        assert states(host) == {"a": "unloaded", "b": "unloaded"}


COUNTER = """
from jackfield import Config, function, inject

class Counter:
    def __init__(self, config: Config = inject()):
        self.step, self.count = config.get("step", 1), 0

    def snapshot(self):
        return self.count

    def restore(self, state: int):
        self.count = state

    @function
    def add(self) -> int:
        self.count += self.step
        return self.count
"""


def test_a_plugin_that_is_configured_anew_gets_the_state_back_that_it_leaves(project):
    """Changing an option loses nothing; taking the plugin out of the file does."""
    project.plugin("counter", source=COUNTER)
    counter = '[[plugin]]\nname = "counter"\npath = "./counter.py:Counter"\n'
    project.config(more=counter)
    with project.host() as host:
        assert [host.call("counter.add") for _ in range(2)] == [1, 2]
        project.config(more=f"{counter}options = {{ step = 10 }}")
        assert kinds(host.apply(project.file)) == [("change", "counter")]
        assert host.call("counter.add") == 12
        project.config("a")
        host.apply(project.file)
        project.config("a", more=counter)
        host.apply(project.file)
        assert host.call("counter.add") == 1


def test_a_plugin_that_comes_while_what_it_needs_is_stopped_waits_for_that(project):
    """It is blocked, says why, and starts with what it waits for; nothing that somebody stopped is started for it."""
    project.config("a")
    with project.host() as host:
        host.stop_plugin("a")
        project.config("a", ("b", 'depends_on = ["a"]'), ("c", 'depends_on = ["b"]\nauto_start = false'))
        assert host.apply(project.file).ok
        assert states(host) == {"a": "stopped", "b": "blocked", "c": "registered"}
        assert host.plugins["b"].fault.reason == "it needs 'a', which was stopped"
        assert host.apply(project.file).changes == ()
        host.start_plugin("a")
        assert states(host) == {"a": "running", "b": "running", "c": "registered"}


KEEPS = """
import time
from jackfield import Config

class Plugin:
    def __init__(self, config: Config):
        self.n, self.given = config.get("n"), None
    def snapshot(self):
        {snapshot}
    def restore(self, state):
        self.given = state
    def get(self) -> list:
        return [self.n, self.given]
"""


class Full(MemoryStore):
    """Takes no state."""

    async def put(self, key, *args, **options):
        if "/state/" in key:
            raise OSError("no space left")
        return await super().put(key, *args, **options)


@pytest.mark.parametrize(
    ("snapshot", "store", "reason"),
    [
        ("return 5", MemoryStore, ""),
        ("raise ValueError('lost')", MemoryStore, "snapshot() raised ValueError at"),
        ("raise SystemExit(2)", MemoryStore, "snapshot() raised SystemExit"),
        ("return object()", MemoryStore, "snapshot()"),
        ("time.sleep(3.0)", MemoryStore, "snapshot() took longer than 0.2 s"),
        ("return 5", Full, "its state could not be kept: OSError"),
    ],
)
def test_a_state_that_is_lost_by_a_change_is_told_in_the_plan(snapshot, store, reason, project):
    """The plugin runs as it is configured now; that it begins with nothing must not go unseen."""
    project.plugin("k", source=KEEPS.replace("{snapshot}", snapshot))
    entry = 'path = "./k.py:Plugin"\nstop_timeout = 0.2\nfunctions = {{ "k.get" = "get" }}\noptions = {{ n = {} }}'
    declared = '[[plugin]]\nname = "k"\n' + entry
    project.config(more=declared.format(1))
    with Host.from_config(project.file, observers=(), store=store()) as host:
        project.config(more=declared.format(2))
        (change,) = host.apply(project.file).changes
        assert (change.kind, change.status) == ("change", "done")
        assert [reason in fault.reason for fault in change.faults] == [True] * bool(reason)
        assert host.call("k.get") == [2, None if reason else 5]
        assert host.apply(project.file).changes == ()
