"""The rule of plugins with `upgrade`: a new version is on trial until somebody decides, and what was decided stays.

As in `test_desired_property`, the host is a fake; here it has trials, too.
"""

import attrs
from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_desired_property import FakeHost, configurations, contents

from jackfield.config import UpgradeConfig
from jackfield.desired.applying import Applier
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.record import PluginState


class Rolling(FakeHost):
    """The same, and versions on trial."""

    def __init__(self):
        super().__init__()
        self.rolling = {}

    def actual(self):
        trials = [CanaryStatus(name, "2", "1", CanaryState.RUNNING, 0.5, (), ()) for name in self.rolling]
        return attrs.evolve(
            super().actual(),
            canaries=tuple(trials),
            digest=lambda plugin: self.disk.get(plugin.name, "0"),
            rolling=dict(self.rolling),
        )

    def upgrade(self, plugin, *, share=None, force=False):
        self._did("upgrade", plugin.name)
        assert self.records[plugin.name].state is PluginState.RUNNING
        assert plugin.name not in self.rolling, "there is one trial of a plugin at a time"
        self.rolling[plugin.name] = plugin, self.disk.get(plugin.name, "0")

    def abort(self, name):
        super().abort(name)
        del self.rolling[name]

    def unload(self, name, *, keep_state=False):
        assert name not in self.rolling, "a trial ends before its plugin goes"
        return super().unload(name, keep_state=keep_state)

    def reload(self, name):
        assert name not in self.rolling
        return super().reload(name)

    def _stop(self, name):
        super()._stop(name)
        self.rolling.pop(name, None)

    def decide(self, applier, promoted):
        """End every trial: of the plugins that are named with a promotion, of the others with an abort."""
        for name, (plugin, digest) in list(self.rolling.items()):
            del self.rolling[name]
            if name in promoted:
                self.loaded[name], self.content[name] = plugin, digest
                applier.loaded(plugin, verb="upgrade")
            else:
                applier.refused(plugin, digest, "it is no good", by="operator")


@st.composite
def files(draw):
    """Any few plugins, most of which have `upgrade`, in one of two versions."""
    found = draw(configurations())
    upgrade = st.sampled_from([None, UpgradeConfig(share=0.5), UpgradeConfig(share=0.5)])
    plugins = {
        name: attrs.evolve(plugin, path=f"{name}-{draw(st.sampled_from('12'))}.py", upgrade=draw(upgrade))
        for name, plugin in found.plugins.items()
    }
    return attrs.evolve(found, plugins=plugins)


def served(configuration):
    """A fake host that runs a configuration."""
    host = Rolling()
    applier = Applier(host)
    assert applier.apply(configuration).ok
    return host, applier


@given(files(), files(), contents)
def test_applying_twice_changes_nothing_while_versions_are_on_trial(first, second, disk):
    """They are shown as what the file asks for, and has not got yet."""
    host, applier = served(first)
    host.disk = disk
    assert applier.apply(second).ok
    trials = dict(host.rolling)
    again = applier.apply(second)
    assert again.changes == ()
    assert {each.field for each in again.drift} == {f"plugin.{name}" for name in trials}
    assert host.rolling == trials


@given(files(), files(), contents, st.sets(st.sampled_from("abcde")))
def test_what_was_decided_stays(first, second, disk, promoted):
    """The same file tries nothing again: what was promoted is the file's, the rest is shown; `force` tries it."""
    host, applier = served(first)
    host.disk = disk
    applier.apply(second)
    refused = {*host.rolling} - promoted
    host.decide(applier, promoted)
    again = applier.apply(second)
    assert again.changes == ()
    assert {each.field: each.verb for each in again.drift} == {f"plugin.{name}": "abort" for name in refused}
    forced = applier.apply(second, force=True)
    assert {change.name for change in forced.changes if change.kind == "upgrade"} == refused == {*host.rolling}


@given(files(), files(), files(), contents, st.sets(st.sampled_from("abcde")), st.booleans())
def test_the_way_does_not_matter(first, second, third, disk, promoted, decided):
    """Whatever became of other versions: once all of a file are promoted, the host is as if it began with it."""
    host, applier = served(first)
    applier.apply(second)
    if decided:
        host.decide(applier, promoted)
    host.disk = disk
    applier.apply(third, force=True)
    host.decide(applier, {*third.plugins})
    fresh = Rolling()
    fresh.disk = disk
    Applier(fresh).apply(third)
    assert host.shape() == fresh.shape()
    assert applier.apply(third).changes == ()


@given(files(), files(), contents)
def test_only_a_new_version_is_tried(first, second, disk):
    """One that runs, has `upgrade`, and differs in its code, and never in its place among the plugins."""
    host, applier = served(first)
    host.disk = disk
    up = {name for name, record in host.records.items() if record.state is PluginState.RUNNING}
    for change in applier.apply(second).changes:
        if change.kind != "upgrade":
            continue
        before, after = first.plugins[change.name], second.plugins[change.name]
        assert change.name in up
        assert after.upgrade is not None
        assert before.path != after.path or disk.get(change.name, "0") != "0"
        assert (before.depends_on, before.auto_start) == (after.depends_on, after.auto_start)
