"""Reloading file plugins in a running host: state handed over, no call lost, failures leave the old one serving."""

import gc
import textwrap
import threading

import pytest

from jackfield import FunctionNotFound, Host, PluginError, Unavailable

COUNTER = """
    from jackfield import function, provides, inject

    class Config2:
        step = {step}

    @provides
    def config() -> Config2:
        return Config2()

    class Counter:
        def __init__(self, config: Config2 = inject()):
            self.count, self.config = 0, config
        def snapshot(self):
            return {{"count": self.count}}
        def restore(self, state: dict):
            self.count = state["count"]
        def start(self):
            {start}
        def health(self):
            return {health}
        @function
        def add(self) -> int:
            self.count += self.config.step
            return self.count

    @function
    def {name}() -> int:
        return {step}
"""


@pytest.fixture
def plugin(tmp_path):
    def write(step=1, start="pass", health=True, name="step"):
        source = textwrap.dedent(COUNTER).format(step=step, start=start, health=health, name=name)
        (tmp_path / "counter.py").write_text(source, encoding="utf-8")

    write()
    config = '[[plugin]]\nname = "counter"\npath = "./counter.py:Counter"\nversion = "1.0"\nstart_timeout = 5\n'
    (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
    write.path = tmp_path / "jackfield.toml"
    return write


def test_the_state_is_handed_over_and_the_new_code_serves(plugin):
    """And what the new version no longer has is gone."""
    with Host.from_config(plugin.path, observers=()) as host:
        assert [host.call("counter.add") for _ in range(3)] == [1, 2, 3]
        plugin(step=10, name="stride")
        report = host.reload("counter")
        assert (report.old, report.new.partition("+")[0]) == ("1.0", "1.0")
        assert (report.state_handed, report.faults) == (True, ())
        assert host.call("counter.add") == 13
        assert host.call("counter.stride") == 10
        with pytest.raises(FunctionNotFound):
            host.call("counter.step")
        assert host.plugins["counter"].version == report.new
        assert host.plugins["counter"].state.value == "running"
        again = host.reload("counter")
        assert again.old == again.new == report.new
        assert host.unload("counter").clean


def test_a_rollback_finds_the_old_instance_kept_warm(plugin):
    """It moves calls, not state: the old instance counts on from where it was."""
    with Host.from_config(plugin.path, observers=()) as host:
        host.call("counter.add")
        before = host.snapshot.revision
        plugin(step=10)
        host.reload("counter", keep_warm=60)
        assert host.call("counter.add") == 11
        host.rollback(before)
        assert host.call("counter.add") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "raise ValueError('no')"}, "ValueError"),
        ({"health": False}, "health"),
        ({"start": "def"}, "SyntaxError"),
    ],
)
def test_a_new_version_that_fails_leaves_the_old_one_serving(plugin, change, message):
    """At once, with the reason; and the next attempt may succeed."""
    with Host.from_config(plugin.path, observers=()) as host:
        host.call("counter.add")
        revision = host.snapshot.revision
        plugin(step=10, **change)
        with pytest.raises(PluginError, match=message):
            host.reload("counter")
        assert host.call("counter.add") == 2
        assert host.plugins["counter"].state.value == "running"
        assert host.snapshot.functions["counter.add"].spec.version == "1.0"
        assert host.snapshot.revision >= revision
        plugin(step=100)
        host.reload("counter")
        assert host.call("counter.add") == 102


def test_no_call_is_lost_while_a_plugin_is_reloaded_under_load(plugin):
    """Four threads call throughout ten reloads."""
    failures, done = [], threading.Event()
    with Host.from_config(plugin.path, observers=()) as host:

        def call():
            while not done.is_set():
                try:
                    host.call("counter.step")
                except BaseException as error:  # noqa: BLE001  # whatever it is, it is a lost call
                    failures.append(error)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for step in range(2, 12):
            plugin(step=step)
            host.reload("counter")
            assert host.call("counter.step") == step
        done.set()
        for caller in callers:
            caller.join()
    assert failures == []


def test_what_has_a_public_name_is_refused_honestly(tmp_path):
    """Workers are named as the way."""
    config = '[[plugin]]\nname = "text"\npath = "textwrap"\n[plugin.functions]\n"text.dedent" = "dedent"\n'
    (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("text.dedent", " x") == "x"
        with pytest.raises(PluginError, match="restart the process"):
            host.reload("text")
        with pytest.raises(PluginError, match="no plugin is named 'texts' → did you mean 'text'"):
            host.reload("texts")


def test_stopping_a_reloaded_plugin_takes_its_functions_away(plugin):
    """It is a plugin like any other afterwards."""
    with Host.from_config(plugin.path, observers=()) as host:
        plugin(step=10)
        host.reload("counter")
        assert host.call("counter.add") == 10
        host.stop_plugin("counter")
        with pytest.raises(Unavailable, match="is stopped"):
            host.call("counter.add")
        host.start_plugin("counter")
        assert host.call("counter.add") == 20, "its state came back"


def _alive(kind):
    """Count the objects that there are of a class of a plugin."""
    gc.collect()
    return sum(type(each).__qualname__ == kind for each in gc.get_objects())


def test_the_history_keeps_no_instance_but_the_last_two(plugin):
    """However often a plugin is reloaded: what a rollback cannot put to work is not kept, with all its state."""
    before = _alive("Counter")
    with Host.from_config(plugin.path, observers=()) as host:
        for step in range(2, 14):
            plugin(step=step)
            host.reload("counter")
            assert _alive("Counter") - before <= 2
        for _ in range(3):
            host.restart_plugin("counter")
            assert _alive("Counter") - before <= 1


def test_a_rollback_behind_the_last_reload_keeps_what_runs(plugin):
    """The version of then has gone with its providers; the function is there in the version of now."""
    with Host.from_config(plugin.path, observers=()) as host:
        before = host.snapshot.revision
        for step in (10, 100):
            plugin(step=step)
            host.reload("counter")
        host.rollback(before)
        assert host.call("counter.add") == 100
        assert host.snapshot.functions["counter.add"].spec.version == host.plugins["counter"].version


def test_a_rollback_finds_every_instance_that_is_kept_warm(plugin):
    """Behind more than one reload as well, as long as it idles."""
    with Host.from_config(plugin.path, observers=()) as host:
        before = host.snapshot.revision
        for step in (10, 100):
            plugin(step=step)
            host.reload("counter", keep_warm=60)
        host.rollback(before)
        assert host.call("counter.add") == 1


def test_a_rollback_wakes_no_plugin_that_was_stopped(plugin):
    """Its functions stay unavailable, with the reason; it can be started, and then a rollback finds what runs."""
    with Host.from_config(plugin.path, observers=()) as host:
        before = host.snapshot.revision
        assert host.call("counter.add") == 1
        host.stop_plugin("counter")
        host.rollback(before)
        with pytest.raises(Unavailable, match="is stopped"):
            host.call("counter.add")
        host.start_plugin("counter")
        host.rollback(before)
        assert host.call("counter.add") == 2, "the one that runs, with the state that came back"
        assert host.unload("counter").clean


def test_a_rollback_beside_a_stopped_plugin_leaves_the_other_version_serving(plugin):
    """Another plugin's version of the same name is all that there is left of that revision."""
    with Host.from_config(plugin.path, observers=()) as host:
        host.register("counter.add", lambda: "by hand", version="9")
        before = host.snapshot.revision
        host.stop_plugin("counter")
        host.rollback(before)
        assert host.call("counter.add") == "by hand"
        host.start_plugin("counter")
        assert set(host.snapshot.functions["counter.add"].endpoints) == {"1.0", "9"}
