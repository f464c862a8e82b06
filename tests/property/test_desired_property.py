"""The rule of apply ("Who decides"), for any two files, anything done by hand between them, and any moment of a kill.

The host is a fake that keeps the rules of plugins (dependencies start first, dependents are blocked) and can be killed
before or after any step; what is under test is the plan and its carrying out.
"""

from contextlib import suppress
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import Configuration, PluginConfig, RouteConfig, TenantConfig
from jackfield.desired.applying import Applier
from jackfield.desired.state import Actual
from jackfield.errors import Fault, PluginError
from jackfield.model.record import PluginRecord, PluginState

NAMES = ("a", "b", "c", "d", "e")


class Killed(BaseException):
    """The process ends here."""


class FakeHost:
    """Plugins with states, routes and tenants; keeps a journal of what was done to it."""

    def __init__(self):
        self.records, self.loaded, self.disk, self.content = {}, {}, {}, {}
        self.routes, self.permissions, self.journal = {}, None, []
        self.broken = frozenset()
        self.dies_at = None

    def actual(self):
        return Actual(running=True, records=dict(self.records), loaded=frozenset(self.loaded), changed=self._changed)

    def _changed(self, names):
        pairs = {name: (self.content[name], self.disk.get(name, "0")) for name in names if name in self.content}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def _did(self, *entry):
        """Note a step; the kill comes before it, or right after."""
        if self.dies_at == len(self.journal):
            raise Killed
        self.journal.append(entry)

    def _state(self, name, state, fault=None):
        self.records[name] = attrs.evolve(self.records[name], state=state, fault=fault)

    def load(self, plugin, *, start):
        self._did("load", plugin.name)
        name = plugin.name
        assert name not in self.records or self.records[name].state is PluginState.UNLOADED
        missing = [need for need in plugin.depends_on if need not in self.records]
        if missing:
            raise PluginError(name, "depends_on", f"no plugin is named {missing[0]!r}")
        self.records[name] = PluginRecord(name, depends_on=plugin.depends_on, state=PluginState.REGISTERED)
        if name in self.broken:
            fault = Fault("import", name, name, "it is broken")
            self._state(name, PluginState.FAILED, fault)
            raise PluginError(name, "import", "it is broken", faults=(fault,))
        self.loaded[name] = plugin
        self.content[name] = self.disk.get(name, "0")
        self._did("loaded", name)
        if start:
            self._start(name)
        return ()

    def unload(self, name, *, keep_state=False):
        self._did("unload", name)
        self._stop(name)
        self.loaded.pop(name, None)
        self.content.pop(name, None)
        self._state(name, PluginState.UNLOADED)
        return ()

    def reload(self, name):
        self._did("reload", name)
        assert self.records[name].state is PluginState.RUNNING
        self.content[name] = self.disk.get(name, "0")
        return ()

    def start(self, name):
        self._did("start", name)
        self._start(name)

    def _start(self, name):
        record = self.records[name]
        for need in record.depends_on:
            if self.records[need].state not in (PluginState.RUNNING, PluginState.UNLOADED, PluginState.FAILED):
                with suppress(PluginError):
                    self._start(need)
            if self.records[need].state is not PluginState.RUNNING:
                self._state(name, PluginState.BLOCKED)
                raise PluginError(name, "start", f"it needs {need}")
        self._state(name, PluginState.RUNNING)
        for other in self.records.values():
            if other.state is PluginState.BLOCKED and name in other.depends_on:
                needs = [self.records[need].state for need in other.depends_on]
                if all(state is PluginState.RUNNING for state in needs):
                    self._start(other.name)

    def hold(self, name):
        if self.records[name].state in (PluginState.REGISTERED, PluginState.STOPPED):
            self._state(name, PluginState.BLOCKED)

    def stop(self, name):
        self._did("stop", name)
        self._stop(name)

    def _stop(self, name):
        for other in list(self.records.values()):
            if other.state is PluginState.RUNNING and name in other.depends_on:
                self._stop(other.name)
                self._state(other.name, PluginState.BLOCKED)
        if self.records[name].state is not PluginState.UNLOADED:
            self._state(name, PluginState.STOPPED)

    def route(self, name, rule, *, default):
        self._did("route", name)
        self.routes = {**self.routes, name: rule}

    def schedules(self, configuration):
        pass

    def deliveries(self, configuration):
        pass

    def tenants(self, tenants):
        self._did("tenants", "")
        self.permissions = tenants

    def abort(self, name):
        self._did("abort", name)

    def shape(self):
        """What counts: who is loaded as what, who runs, the rules."""
        return (
            self.loaded,
            {name for name, record in self.records.items() if record.state is PluginState.RUNNING},
            {name: rule for name, rule in self.routes.items() if rule is not None},
            self.permissions,
            self.content,
        )


@st.composite
def configurations(draw):
    """Any few plugins in any order of dependencies, some rules, some tenants."""
    order = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    plugins = {}
    for number, name in enumerate(order):
        plugins[name] = PluginConfig(
            name,
            f"{name}.py",
            depends_on=tuple(sorted(draw(st.sets(st.sampled_from(order[:number]), max_size=2)))) if number else (),
            auto_start=draw(st.booleans()),
            timeout=draw(st.sampled_from([None, 1.0])),
            options=draw(st.sampled_from([{}, {"x": 1}, {"x": True}])),
        )
    routes = draw(st.dictionaries(st.sampled_from(["f", "g"]), st.sampled_from([RouteConfig("1"), RouteConfig("2")])))
    tenants = draw(st.sampled_from([None, {}, {"t": TenantConfig(permissions=())}]))
    return Configuration(Path("jackfield.toml"), plugins=plugins, routes=routes, tenants=tenants)


def _with(configuration, name, **fields):
    """Give a configuration in which a plugin is declared, with some fields."""
    plugin = attrs.evolve(configuration.plugins.get(name, PluginConfig(name, f"{name}.py")), **fields)
    return attrs.evolve(configuration, plugins={**configuration.plugins, name: plugin})


contents = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("01"))


def served(configuration):
    """A fake host that runs a configuration."""
    host = FakeHost()
    applier = Applier(host)
    assert applier.apply(configuration).ok
    host.journal.clear()
    return host, applier


@given(configurations(), configurations(), contents)
def test_applying_twice_changes_nothing(first, second, disk):
    """After an apply that went well, the same file has nothing to do."""
    host, applier = served(first)
    host.disk = disk
    assert applier.apply(second).ok
    host.journal.clear()
    again = applier.apply(second)
    assert (again.changes, again.drift, host.journal) == ((), (), [])


@given(configurations(), configurations())
def test_there_and_back_restores(first, second):
    """A plan from one file to another, and one back, lead to what was."""
    host, applier = served(first)
    before = host.shape()
    applier.apply(second)
    applier.apply(first)
    assert host.shape() == before


@given(configurations(), configurations(), contents)
def test_the_way_does_not_matter(first, second, disk):
    """What a host is after an apply is what one is that began with that file: the plan is level-triggered."""
    host, applier = served(first)
    host.disk = disk
    applier.apply(second)
    fresh = FakeHost()
    fresh.disk = disk
    Applier(fresh).apply(second)
    assert host.shape() == fresh.shape()


@given(configurations(), configurations())
def test_steps_are_in_the_order_of_dependencies(first, second):
    """Removals: dependents before what they depend on; everything else: after what it depends on; stops last."""
    _, applier = served(first)
    plan = applier.apply(second, dry_run=True)
    place = {(change.kind == "remove", change.name): number for number, change in enumerate(plan.changes)}
    kinds = [change.kind for change in plan.changes]
    for number, change in enumerate(plan.changes):
        if change.kind == "remove":
            needs = first.plugins[change.name].depends_on
            assert all(place.get((True, need), len(kinds)) > number for need in needs)
            assert not {"add", "change", "start", "reload"} & {*kinds[:number]}
        elif change.kind in ("add", "change", "start"):
            needs = second.plugins[change.name].depends_on
            assert all(place.get((False, need), -1) < number or _stops(plan, need) for need in needs)


def _stops(plan, name):
    return any(change.kind == "stop" and change.name == name for change in plan.changes)


@given(configurations(), configurations(), contents)
def test_only_what_differs_is_touched(first, second, disk):
    """A plugin that is alike in both files, needs nothing that is not, and whose content is the same, is left alone."""
    host, applier = served(first)
    host.disk = disk
    plan = applier.apply(second)
    loads = {name for verb, name in host.journal if verb in ("load", "unload", "reload", "route")}
    every = {*first.plugins, *second.plugins}
    differs = {name for name in every if repr(first.plugins.get(name)) != repr(second.plugins.get(name))}
    rules = {name for name in ("f", "g") if first.routes.get(name) != second.routes.get(name)}
    changed = {name for name, text in disk.items() if text != "0"}
    assert loads <= differs | rules | changed
    assert {change.name for change in plan.changes if change.kind not in ("start", "stop")} <= loads | {""}


@given(configurations(), configurations(), st.sampled_from(NAMES))
def test_what_was_stopped_by_hand_elsewhere_stays_and_is_drift(first, second, name):
    """A stop of a plugin whose `auto_start` the new file leaves as it was outlives the apply, and is shown."""
    first, second = (_with(each, name, auto_start=True) for each in (first, second))
    host, applier = served(first)
    host.stop(name)
    applier.stopped(name)
    plan = applier.apply(second)
    assert not plan.conflicts
    assert host.records[name].state is not PluginState.RUNNING
    assert [drift.field for drift in plan.drift] == [f"plugin.{name}.running"]
    host.start(name)
    applier.started(name)
    assert applier.apply(second).drift == ()


@given(configurations(), configurations(), st.sampled_from(NAMES), st.booleans())
def test_a_field_that_both_changed_stops_the_apply_unless_it_is_forced(first, second, name, force):
    """Both sides are named, nothing is done; `force` takes the file's."""
    first = _with(first, name, timeout=9.0)  # as it never is in the second
    mine = PluginConfig(name, "by_hand.py")
    host, applier = served(first)
    host.unload(name)
    applier.unloaded(name)
    host.load(mine, start=True)
    applier.loaded(mine)
    host.journal.clear()
    before = host.shape()
    plan = applier.apply(second, force=force)
    if force:
        assert not plan.conflicts
        assert host.loaded.get(name) == second.plugins.get(name)
        assert applier.apply(second).changes == ()
    else:
        (conflict,) = plan.conflicts
        assert (conflict.field, conflict.by, conflict.verb) == (f"plugin.{name}.loaded", "operator", "load")
        assert (host.journal, host.shape(), plan.applied) == ([], before, False)


@given(configurations(), configurations(), contents, st.integers(0, 30))
def test_what_a_kill_leaves_the_next_apply_finishes(first, second, disk, moment):
    """Whatever step a kill came before, the same file applied again leads to what one whole apply does."""
    whole, applier = served(first)
    whole.disk = disk
    applier.apply(second)
    host, applier = served(first)
    host.disk, host.dies_at = disk, moment
    try:
        applier.apply(second)
    except Killed:
        host.dies_at = None
        assert applier.apply(second).ok
    assert host.shape() == whole.shape()


@given(configurations(), configurations(), configurations(), st.integers(0, 30))
def test_what_a_kill_leaves_another_file_undoes(first, second, third, moment):
    """A half-applied file leaves nothing behind when the next one does not have it."""
    host, applier = served(first)
    host.dies_at = moment
    try:
        applier.apply(second)
    except Killed:
        host.dies_at = None
        applier.apply(third)
        fresh = FakeHost()
        Applier(fresh).apply(third)
        assert host.shape() == fresh.shape()


@given(configurations(), configurations(), st.sets(st.sampled_from(NAMES)))
def test_a_step_that_fails_is_told_of_and_tried_again(first, second, broken):
    """The fault names the plugin, whatever does not need it is done; once it is mended, the next apply finishes."""
    host, applier = served(first)
    host.broken = broken
    plan = applier.apply(second)
    for change in plan.failed:
        assert change.faults
        assert {fault.plugin for fault in change.faults} <= {change.name}
    up = {name for name, record in host.records.items() if record.state is PluginState.RUNNING}
    host.broken = frozenset()
    applier.apply(second)
    mended = FakeHost()
    Applier(mended).apply(second)
    assert host.shape() == mended.shape()
    assert up <= {name for name, record in mended.records.items() if record.state is PluginState.RUNNING}


def test_a_second_apply_meanwhile_is_refused():
    """It is not waited for: the one under way may be waiting for whoever asks."""
    host = FakeHost()
    applier = Applier(host)
    configuration = Configuration(Path("j.toml"), plugins={"a": PluginConfig("a", "a.py")})

    def load(plugin, *, start):
        with pytest.raises(Exception, match="another apply is under way"):
            applier.apply(configuration)
        return ()

    host.load = load
    assert applier.apply(configuration).ok
