"""What a scrape shows of hosts: plugins, faults, the revision, canaries; and of versions that were replaced."""

import threading
import weakref

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.collected import alive

from jackfield import Host, JackfieldError, Metrics, PluginRecord, PluginState
from jackfield.observe.series import KEPT, SCRAPES
from jackfield.testing import FakeClock

FUNCTION = "from jackfield import function\n@function\ndef f(n: int) -> float: return 1 / n\n"
BAD = "class P:\n    def start(self): raise ValueError('no')\n    def stop(self): pass\n"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry, clock):
    return Metrics(registry, clock=clock)


@pytest.fixture
def configure(tmp_path, monkeypatch, metrics):
    """Make a host of plugin files: name → source."""
    monkeypatch.chdir(tmp_path)

    def make(**sources):
        tables = []
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
            tables.append(f'[[plugin]]\nname = "{name}"\npath = "./{name}.py{":P" if "class P" in source else ""}"\n')
        (tmp_path / "c.toml").write_text("".join(tables))
        return Host.from_config("c.toml", observers=[metrics])

    return make


def samples(registry, name):
    """Give label values, sorted by label, → value."""
    found = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(each.labels.items())): each.value for each in found}


def crashed(registry):
    return {
        key: value for key, value in samples(registry, "jackfield_calls_total").items() if "crashed" in key and value
    }


def crash(host, times):
    for _ in range(times):
        with pytest.raises(JackfieldError):
            host.call("a.f", 0)


def reload(host, tmp_path):
    (tmp_path / "a.py").write_text(FUNCTION + "# hotfix\n")
    host.reload("a")


def restart(host, _):
    host.restart_plugin("a")


def unload(host, _):
    host.unload("a")


def stop(host, _):
    host.stop()


@pytest.mark.parametrize("end", [reload, restart, unload, stop])
def test_the_next_scrape_still_counts_what_a_version_did_before_its_end(configure, registry, tmp_path, end):
    """However it ends, an alert on its crashes does not miss it."""
    with configure(a=FUNCTION) as host:
        crash(host, 50)
        before = crashed(registry)
        end(host, tmp_path)
        assert crashed(registry) == before
        assert sum(before.values()) == 50


def test_a_restarted_plugin_goes_on_in_its_own_series(configure, registry):
    """Name and version are the same, so the counter is."""
    with configure(a=FUNCTION) as host:
        crash(host, 3)
        host.restart_plugin("a")
        crash(host, 2)
        assert list(crashed(registry).values()) == [5]


def test_a_canary_that_was_aborted_and_removed_is_still_counted(registry, metrics):
    """The version that was just rolled back is the one that the alert is about."""
    with Host(observers=[metrics]) as host:
        host.register("f", lambda: 1, version="1")
        host.register("f", lambda: 1 / 0, version="2")
        canary = host.canary("f", version="2", share=1.0)
        for _ in range(20):
            with pytest.raises(JackfieldError):
                host.call("f")
        canary.abort()
        host.unregister("f", version="2")
        assert crashed(registry) == {("f", "crashed", "2"): 20}


def test_a_call_inside_a_replaced_version_is_in_flight_until_it_ends(registry, metrics):
    """It is counted where it ran, and the gauge comes down to nothing."""
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait(60)

    with Host(observers=[metrics]) as host:
        host.register("f", wait)
        caller = threading.Thread(target=host.call, args=("f",))
        caller.start()
        assert entered.wait(60)
        host.unregister("f")
        assert samples(registry, "jackfield_calls_in_flight")["f", "0"] == 1
        release.set()
        caller.join()
        assert samples(registry, "jackfield_calls_in_flight")["f", "0"] == 0
        assert samples(registry, "jackfield_calls_total")["f", "ok", "0"] == 1


def test_an_unloaded_plugin_goes_from_the_exposition_after_a_while(configure, registry, clock):
    """Nothing of its name stays once the last numbers have been seen."""
    with configure(a=FUNCTION) as host:
        host.call("a.f", 1)
        host.unload("a")
        for _ in range(SCRAPES + 1):
            text = generate_latest(registry).decode()
            clock.advance(KEPT)
        assert '"a' not in text


def test_the_state_of_each_plugin_is_one_of_a_set(configure, registry):
    """1 for the state it is in and 0 for each other one; faults are counted by plugin and stage."""
    with configure(a=FUNCTION, bad=BAD) as host:
        states = samples(registry, "jackfield_plugin_state")
        assert {key for key, value in states.items() if value} == {("a", "running"), ("bad", "failed")}
        assert {state for plugin, state in states if plugin == "a"} == {*map(str, PluginState)} - {"unloaded"}
        assert samples(registry, "jackfield_faults") == {("bad", "start"): 1}
        host.stop_plugin("a")
        assert samples(registry, "jackfield_plugin_state")["a", "stopped"] == 1
        host.unload("a")
        assert not [key for key in samples(registry, "jackfield_plugin_state") if key[0] == "a"]


def test_the_revision_is_that_of_the_host(registry, metrics):
    """It grows with each change."""
    with Host(observers=[metrics]) as host:
        host.register("f", str.upper)
        assert samples(registry, "jackfield_revision") == {(): host.snapshot.revision}


def test_a_canary_shows_its_share_and_what_became_of_it(registry, metrics):
    """While it runs; then only its end, until another one is made."""
    with Host(observers=[metrics]) as host:
        for version in ("1", "2"):
            host.register("f", str.upper, version=version)
        canary = host.canary("f", version="2", share=0.25)
        assert samples(registry, "jackfield_canary_share") == {("f", "2"): 0.25}
        assert samples(registry, "jackfield_canary_state")["f", "running", "2"] == 1
        canary.abort()
        assert not samples(registry, "jackfield_canary_share")
        ended = {key for key, value in samples(registry, "jackfield_canary_state").items() if value}
        assert ended == {("f", "aborted", "2")}


def test_the_build_is_always_shown(registry, metrics):
    """Also before any host has started."""
    assert list(samples(registry, "jackfield_build_info").values()) == [1]


def test_hosts_that_share_a_registry_are_added_up(registry, metrics, configure):
    """Of a plugin that both have, states count to two; a host that stops is no longer in it."""
    first, second = configure(a=FUNCTION), configure(a=FUNCTION)
    with first:
        with second:
            assert samples(registry, "jackfield_plugin_state")["a", "running"] == 2
            second.register("g", str.upper)
            assert samples(registry, "jackfield_revision") == {
                (): max(each.snapshot.revision for each in (first, second))
            }
        assert samples(registry, "jackfield_plugin_state")["a", "running"] == 1
    assert not samples(registry, "jackfield_plugin_state")
    assert not samples(registry, "jackfield_revision")


def test_a_host_that_is_dropped_without_a_stop_goes(registry, metrics):
    """The metrics keep neither it nor its executor."""
    host = Host(observers=[metrics])
    host.register("f", str.upper)
    host.start()
    host.call("f", "x")
    assert samples(registry, "jackfield_revision")
    assert samples(registry, "scheduler_executors")
    gone = weakref.ref(host)
    del host
    assert alive(gone) == []
    assert not samples(registry, "jackfield_revision")
    assert not samples(registry, "scheduler_executors")


class Shown:
    """A host as metrics see it."""

    def __init__(self, restarts=0):
        self.inner = Host(observers=())
        self.restarts = restarts

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def plugins(self):
        return {"a": PluginRecord("a", state=PluginState.RUNNING, restarts=self.restarts)}


def test_restarts_are_counted_and_never_taken_back(registry, metrics):
    """By one host or two, through stops of one of them, and when a plugin is added anew."""
    first, second = Shown(), Shown()

    def total():
        return samples(registry, "jackfield_plugin_restarts_total").get(("a",))

    end_first, end_second = metrics.watch_host(first), metrics.watch_host(second)
    first.restarts, second.restarts = 3, 2
    assert total() == 5
    first.restarts = 4
    end_first()
    assert total() == 6
    end_first = metrics.watch_host(first)
    assert total() == 6
    second.restarts = 1
    assert total() == 7
    end_first()
    end_second()
    assert total() is None


def test_a_sick_host_hides_no_other(registry, metrics):
    """One that raises when it is asked is left out of the scrape."""

    class Sick(Shown):
        @property
        def plugins(self):
            raise ValueError("sick")

    sick, well = Sick(), Shown()
    metrics.watch_host(sick)
    metrics.watch_host(well)
    assert samples(registry, "jackfield_plugin_state")["a", "running"] == 1
