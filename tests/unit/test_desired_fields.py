"""What a plan shows of the tables of plugins that run apart: each key that differs, called as in the file."""

from pathlib import Path

from jackfield.config import Configuration, EnvironmentsConfig, PluginConfig, WorkerConfig
from jackfield.desired.fields import host_changes, plugin_changes, same


def changes(before, after):
    found = plugin_changes(PluginConfig("a", "a", worker=before), PluginConfig("a", "a", worker=after))
    return [(change.field, change.before, change.after) for change in found]


def test_a_changed_worker_table_is_told_key_by_key():
    """`with` is called so, whatever Python calls it; nothing is told of what stayed."""
    before = WorkerConfig(allow=("calls:a",), max=2)
    after = WorkerConfig(allow=("calls:a", "calls:b"), max=4, with_=("b==1",))
    assert changes(before, after) == [
        ("worker.allow", "calls:a", "calls:a, calls:b"),
        ("worker.with", "", "b==1"),
        ("worker.max", "2", "4"),
    ]
    assert changes(before, before) == []


def test_a_table_that_comes_or_goes_is_told_even_if_it_says_nothing():
    """The two plugins are not the same, and a plan without a field would not say why."""
    assert changes(None, WorkerConfig()) == [("worker", "", "configured")]
    assert changes(WorkerConfig(), None) == [("worker", "configured", "")]
    assert not same(PluginConfig("a", "a"), PluginConfig("a", "a", worker=WorkerConfig()))


def test_changed_environments_are_told():
    """As what a running host cannot change."""
    before, after = (
        Configuration(Path("j.toml"), environments=EnvironmentsConfig(offline=one)) for one in (False, True)
    )
    assert [(change.field, change.after) for change in host_changes(before, after)] == [
        ("environments.offline", "true")
    ]
