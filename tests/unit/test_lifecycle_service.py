"""Starting and stopping plugins with real threads and a real loop: order, deadlines, blocking, joining, containment."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from jackfield.errors import Fault, PluginError, Unavailable
from jackfield.events import PluginFailed, PluginStarted, PluginStateChanged, PluginStopped
from jackfield.model.deadline import remaining
from jackfield.model.record import PluginState
from jackfield.plugins.barrier import refuse
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.transitions import TRANSITIONS
from jackfield.runtime import pool
from jackfield.testing import no_leaks
from support.interrupts import interrupted_when
from support.plugins import PATIENCE, SHORT, World


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    monkeypatch.setattr(pool, "_IDLE", 0.02)  # the leak check waits for idle threads
    with no_leaks(timeout=PATIENCE):
        world = World()
        yield world
        world.close()


def test_plugins_start_after_what_they_depend_on_and_stop_in_reverse(world):
    """Start in topological order; stop in reverse."""
    world.add(world.plugin("c", "b"), world.plugin("b", "a"), world.plugin("a"))
    assert world.lifecycle.start_all() == ()
    assert world.lifecycle.stop_all() == ()
    assert world.log == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert world.states() == {"a": "stopped", "b": "stopped", "c": "stopped"}


def test_independent_plugins_start_together(world):
    """Independent ones start together: each waits for all the others inside its start."""
    barrier = threading.Barrier(10)

    class Meeting:
        def start(self):
            barrier.wait(PATIENCE)

        def stop(self):
            barrier.wait(PATIENCE)

    world.add(*(world.plugin(f"p{number}", make=Meeting) for number in range(10)))
    assert world.lifecycle.start_all() == ()
    assert world.lifecycle.stop_all() == ()


def test_async_and_sync_plugins_start_together(world):
    """Threads for sync starts, the home loop for async ones; every method may be of either colour."""
    asked = threading.Event()

    class Async:
        async def start(self):
            self.loop = asyncio.get_running_loop()
            await asyncio.to_thread(asked.wait, PATIENCE)

        async def stop(self):
            assert asyncio.get_running_loop() is self.loop
            world.log.append("stopped")

        async def health(self):
            return {"connections": 3}

    class Sync:
        def start(self):
            asked.set()

    world.add(world.plugin("async", make=Async), world.plugin("sync", make=Sync))
    assert world.lifecycle.start_all() == ()
    assert world.lifecycle.health()["async"].details == {"connections": 3}
    world.lifecycle.stop("async")
    assert world.log == ["stopped"]


def test_a_start_that_hangs_fails_its_plugin_and_blocks_its_dependents_alone(world):
    """A sync start that hangs is left in its thread; dependents are blocked; the rest goes on."""

    class Hanging:
        def start(self):
            world.gate.wait()

    world.add(
        world.plugin("hangs", make=Hanging, start_timeout=SHORT),
        world.plugin("child", "hangs"),
        world.plugin("grandchild", "child"),
        world.plugin("other"),
    )
    faults = world.lifecycle.start_all()
    assert world.states() == {"hangs": "failed", "child": "blocked", "grandchild": "blocked", "other": "running"}
    assert {fault.plugin for fault in faults} == {"hangs", "child", "grandchild"}
    fault = world.fault("hangs")
    assert fault.stage == "start"
    assert "start() took longer than 0.05 s" in fault.reason
    assert "start_timeout" in fault.fix
    assert "'hangs'" in world.fault("child").reason
    assert any(thread.name == "hangs:start" for thread in threading.enumerate())


def test_a_start_that_comes_back_late_is_undone(world):
    """A start that returns after it was given up is stopped again, and its functions never appear."""
    stopped = threading.Event()

    class Late:
        def start(self):
            world.gate.wait()

        def stop(self):
            stopped.set()

    world.add(world.plugin("late", make=Late, start_timeout=SHORT, activate=lambda _: world.log.append("active") or ()))
    world.lifecycle.start_all()
    world.gate.set()
    assert stopped.wait(PATIENCE)
    assert world.log == []
    assert world.state("late") is PluginState.FAILED


def test_an_async_start_is_cancelled_at_its_deadline(world):
    """An async start is cancelled natively."""
    ended = threading.Event()

    class Slow:
        async def start(self):
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                ended.set()

    world.add(world.plugin("slow", make=Slow, start_timeout=1.0))  # long enough to come to its start under load
    world.lifecycle.start_all()
    assert ended.wait(PATIENCE)
    assert "took longer" in world.fault("slow").reason


@pytest.mark.parametrize("error", [ValueError("no dsn"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("is_async", [False, True])
def test_whatever_a_start_raises_fails_that_plugin_alone(world, error, is_async):
    """BaseExceptions are contained, on threads and on the home loop."""

    class Raising:
        def start(self):
            raise error

    class RaisingAsync:
        async def start(self):
            raise error

    world.add(world.plugin("bad", make=RaisingAsync if is_async else Raising), world.plugin("good"))
    world.lifecycle.start_all()
    assert world.states() == {"bad": "failed", "good": "running"}
    assert type(error).__name__ in world.fault("bad").reason
    assert __file__ in world.fault("bad").reason, "the fault says where"

    async def still_there():
        return 1

    assert world.home.run(still_there(), PATIENCE) == 1


def test_a_plugin_object_that_cannot_be_made_is_a_fault(world):
    """What `make` raises fails the plugin."""
    world.add(world.plugin("bad", make=lambda: 1 / 0))
    with pytest.raises(PluginError, match=r"bad: start: making the plugin object raised ZeroDivisionError"):
        world.lifecycle.start("bad")


def test_attributes_that_are_no_methods_are_faults(world):
    """A non-callable attribute of such a name is a fault, and all of them are said at once."""

    class Odd:
        start = "soon"
        health = 3
        stop = None

        def restore(self):
            """Lacks the state."""

    world.add(world.plugin("odd", make=Odd))
    with pytest.raises(PluginError, match=r"odd\.start: it is not a method but str") as caught:
        world.lifecycle.start("odd")
    assert caught.value.stage == "make"


@pytest.mark.parametrize("method", ["start", "stop", "snapshot"])
def test_what_took_too_long_is_what_is_to_end_sooner(method, world):
    """The fix names the method that hangs, and the limit that it missed."""

    class Hanging:
        pass

    setattr(Hanging, method, lambda _: world.gate.wait())
    limit = "start_timeout" if method == "start" else "stop_timeout"
    world.add(world.plugin("hangs", make=Hanging, **{limit: SHORT}))
    with suppress(PluginError):
        world.lifecycle.start("hangs")
    world.lifecycle.stop("hangs")
    fault = world.fault("hangs")
    assert fault.reason.startswith(f"{method}() took longer")
    assert fault.fix.startswith(f"make {method}() end sooner")
    assert limit in fault.fix


def test_a_stop_that_raises_or_hangs_does_not_keep_others_from_stopping(world):
    """Recorded, and the rest stops."""

    class Raising:
        def stop(self):
            raise ValueError("still in use")

    class Hanging:
        def stop(self):
            world.gate.wait()

    world.add(
        world.plugin("base"),
        world.plugin("raises", "base", make=Raising),
        world.plugin("hangs", "base", make=Hanging, stop_timeout=SHORT),
    )
    world.lifecycle.start_all()
    faults = world.lifecycle.stop_all()
    assert world.states() == {"base": "stopped", "raises": "stopped", "hangs": "failed"}
    assert {fault.plugin: fault.stage for fault in faults} == {"raises": "stop", "hangs": "stop"}
    assert "stop() raised ValueError at " in world.fault("raises").reason
    assert "still in use" not in str(faults)
    assert "stop() took longer" in world.fault("hangs").reason
    assert world.log == ["+base", "-base"]


def test_stop_all_keeps_its_bound(world):
    """One bound for all, whatever the plugins' own timeouts are."""

    class Hanging:
        def stop(self):
            world.gate.wait()

    world.add(world.plugin("a", make=Hanging, stop_timeout=PATIENCE), world.plugin("b", "a", make=Hanging))
    world.lifecycle.start_all()
    assert len(world.lifecycle.stop_all(timeout=SHORT)) == 2
    assert world.states() == {"a": "failed", "b": "failed"}


def test_starting_a_plugin_starts_what_it_depends_on(world):
    """A stopped dependency is started first, even without auto_start."""
    world.add(world.plugin("db", auto_start=False), world.plugin("app", "db", auto_start=False))
    assert world.lifecycle.start_all() == ()
    assert world.states() == {"db": "registered", "app": "registered"}
    assert world.lifecycle.start("app").state is PluginState.RUNNING
    assert world.log == ["+db", "+app"]
    assert world.lifecycle.start("app").state is PluginState.RUNNING
    assert world.log == ["+db", "+app"], "what runs is left alone"


def test_a_failed_dependency_is_not_tried_again_and_starting_it_revives_who_is_blocked(world):
    """Blocked means: it starts by itself as soon as what it depends on runs."""
    healthy = threading.Event()

    class Database:
        def start(self):
            world.log.append("db?")
            if not healthy.is_set():
                raise ConnectionError("refused")

    world.add(world.plugin("db", make=Database), world.plugin("app", "db"), world.plugin("ui", "app"))
    world.lifecycle.start_all()
    with pytest.raises(PluginError, match=r"it needs 'db', which failed \(start: start\(\) raised ConnectionError"):
        world.lifecycle.start("app")
    assert world.log == ["db?"]
    healthy.set()
    world.lifecycle.start("db")
    assert world.states() == {"db": "running", "app": "running", "ui": "running"}


def test_stopping_a_plugin_stops_its_dependents_first_and_blocks_them(world):
    """Dependents stop first, in reverse, and come back with what they depend on."""
    world.add(world.plugin("a"), world.plugin("b", "a"), world.plugin("c", "b"), world.plugin("x"))
    world.lifecycle.start_all()
    del world.log[:]
    assert world.lifecycle.stop("a").state is PluginState.STOPPED
    assert world.log == ["-c", "-b", "-a"]
    assert world.states() == {"a": "stopped", "b": "blocked", "c": "blocked", "x": "running"}
    assert world.fault("b").reason == "it needs 'a', which was stopped"
    world.lifecycle.start("a")
    assert world.states() == dict.fromkeys("abcx", "running")
    world.lifecycle.stop("c")
    world.lifecycle.restart("b")
    assert world.states() == {"a": "running", "b": "running", "c": "stopped", "x": "running"}


def test_concurrent_starts_are_one_start(world):
    """Concurrent calls join the same start."""
    entered, count = threading.Event(), []

    class Slow:
        def start(self):
            count.append(1)
            entered.set()
            world.gate.wait(PATIENCE)

    world.add(world.plugin("slow", make=Slow))
    first = world.in_thread(lambda: world.lifecycle.start("slow"))
    assert entered.wait(PATIENCE)
    others = [world.in_thread(lambda: world.lifecycle.start("slow")) for _ in range(8)]
    world.gate.set()
    assert all(join().state is PluginState.RUNNING for join in (first, *others))
    assert count == [1]


def test_the_users_interrupt_ends_the_wait_and_a_stop_is_still_possible(world):
    """Ctrl-C passes through the verb; what was under way is stopped by the next one, within its bound."""
    entered = threading.Event()

    class Hanging:
        def start(self):
            entered.set()
            world.gate.wait(PATIENCE)

    world.add(world.plugin("hangs", make=Hanging, start_timeout=PATIENCE), world.plugin("child", "hangs"))
    with interrupted_when(entered.is_set), pytest.raises(KeyboardInterrupt):
        world.lifecycle.start_all()
    assert world.states() == {"hangs": "starting", "child": "registered"}
    world.lifecycle.stop_all(timeout=SHORT)
    assert world.states() == {"hangs": "failed", "child": "registered"}


def test_a_stop_during_an_async_start_cancels_it(world):
    """The start ends at once, the plugin is stopped, and whoever waited for the start is told."""
    entered = threading.Event()

    class Slow:
        async def start(self):
            entered.set()
            await asyncio.sleep(PATIENCE)

        def stop(self):
            world.log.append("stop")

    world.add(world.plugin("slow", make=Slow), world.plugin("child", "slow"))
    join = world.in_thread(lambda: world.lifecycle.start("slow"))
    assert entered.wait(PATIENCE)
    assert world.lifecycle.stop("slow").state is PluginState.STOPPED
    with pytest.raises(PluginError, match="it is stopped"):
        join()
    assert world.log == [], "what has not started is not stopped"


def test_a_stop_during_a_sync_start_waits_for_it_and_then_stops_the_plugin(world):
    """A sync start cannot be cancelled: it is told, waited for within its deadline, and then stopped."""
    entered = threading.Event()

    class Slow:
        def start(self):
            entered.set()
            world.lifecycle.backgrounds.of("slow").stopping.wait(PATIENCE)

        def stop(self):
            world.log.append("stop")

    world.add(world.plugin("slow", make=Slow, activate=lambda _: world.log.append("active") or ()))
    join = world.in_thread(lambda: world.lifecycle.start("slow"))
    assert entered.wait(PATIENCE)
    assert world.lifecycle.stop("slow").state is PluginState.STOPPED
    assert world.log == ["stop"]
    with pytest.raises(PluginError):
        join()


def test_a_plugin_that_is_stopped_can_be_started_again_at_once(world):
    """A start during a stop waits for it, and then starts."""
    entered = threading.Event()

    class Slow:
        def stop(self):
            entered.set()
            world.gate.wait(PATIENCE)

    world.add(world.plugin("slow", make=Slow))
    world.lifecycle.start("slow")
    stopping = world.in_thread(lambda: world.lifecycle.stop("slow"))
    assert entered.wait(PATIENCE)
    starting = world.in_thread(lambda: world.lifecycle.start("slow"))
    world.gate.set()
    assert starting().state is PluginState.RUNNING
    stopping()


def test_functions_are_registered_after_the_start_and_removed_before_the_stop(world):
    """`activate` gets the object and gives the names; the record shows them while the plugin runs."""

    def activate(target):
        world.log.append("activate")
        assert target.name == "billing"
        return ["billing.charge"]

    world.add(world.plugin("billing", activate=activate, deactivate=lambda: world.log.append("deactivate")))
    world.lifecycle.start_all()
    assert world.lifecycle.records["billing"].functions == ("billing.charge",)
    world.lifecycle.stop("billing")
    assert world.lifecycle.records["billing"].functions == ()
    assert world.log == ["+billing", "activate", "deactivate", "-billing"]


def test_a_plugin_whose_functions_cannot_be_registered_is_stopped_again(world):
    """A failing `activate` fails the plugin, and what was started is stopped."""

    def activate(_target):
        refuse("billing", "register", "the name is taken", "choose another")

    world.add(world.plugin("billing", activate=activate))
    with pytest.raises(PluginError, match="register: the name is taken → choose another"):
        world.lifecycle.start("billing")
    assert world.log == ["+billing", "-billing"]


def test_each_change_is_announced_in_order(world):
    """What is announced is a legal path, with an event of its own for started, stopped, failed."""

    class Bad:
        def start(self):
            raise ValueError

    world.add(world.plugin("a"), world.plugin("bad", make=Bad))
    world.lifecycle.start_all()
    world.lifecycle.stop_all()
    changes = [event for event in world.events if isinstance(event, PluginStateChanged) and event.plugin == "a"]
    path = [changes[0].old, *(event.new for event in changes)]
    assert path == ["discovered", "registered", "starting", "running", "stopping", "stopped"]
    assert PluginStarted("a", "0") in world.events
    assert PluginStopped("a") in world.events
    assert PluginFailed("bad", world.fault("bad")) in world.events


def test_a_plugin_may_ask_how_long_its_start_may_take(world):
    """`remaining()` works in plugin methods of either colour."""
    left = []

    class Asking:
        def start(self):
            left.append(remaining())

        async def stop(self):
            left.append(remaining())

    world.add(world.plugin("asks", make=Asking, start_timeout=7.0, stop_timeout=9.0))
    world.lifecycle.start_all()
    world.lifecycle.stop_all()
    assert 0 < left[0] <= 7.0 < left[1] <= 9.0


def test_add_says_everything_that_is_wrong_and_adds_nothing(world):
    """Unknown names with close ones, cycles drawn, self dependencies, duplicates: all of it, and nothing happens."""
    world.add(world.plugin("database"))
    with pytest.raises(PluginError) as caught:
        world.add(
            world.plugin("app", "databse"),
            world.plugin("me", "me"),
            world.plugin("a", "c"),
            world.plugin("b", "a"),
            world.plugin("c", "b"),
            world.plugin("x", "y"),
            world.plugin("y", "x"),
            world.plugin("database"),
            world.plugin("twice"),
            world.plugin("twice"),
        )
    said = [f"{fault.reason} → {fault.fix}" for fault in caught.value.faults]
    assert sorted(said) == sorted(
        [
            "there is a plugin 'database' already → unload it first",
            "no plugin is named 'databse' → did you mean 'database'?",
            "it depends on itself → take 'me' out of its depends_on",
            "the plugins wait for one another: a → c → b → a → take one of these dependencies away",
            "the plugins wait for one another: x → y → x → take one of these dependencies away",
            "two plugins are named 'twice' → give one of the two another name",
        ]
    )
    assert list(world.lifecycle.records) == ["database"]


def test_an_unknown_name_is_refused_with_close_ones(world):
    """Every verb says what there is instead."""
    world.add(world.plugin("billing"))
    verbs = world.lifecycle
    for verb in (verbs.start, verbs.stop, verbs.restart, verbs.unload, verbs.health):
        with pytest.raises(PluginError, match="no plugin is named 'biling' → did you mean 'billing'"):
            verb("biling")


def test_a_disabled_plugin_is_refused_and_blocks_its_dependents(world):
    """What the operator has switched off does not start, whoever asks for it."""
    world.lifecycle.note("a", disabled=True)
    world.add(world.plugin("a"), world.plugin("b", "a"))
    with pytest.raises(PluginError, match="it is disabled → see JACKFIELD_DISABLE_PLUGINS"):
        world.lifecycle.start("a")
    with pytest.raises(PluginError, match="it needs 'a', which is disabled"):
        world.lifecycle.start("b")
    assert world.lifecycle.start_all() == (world.fault("b"),)
    assert world.state("a") is PluginState.DISABLED


def test_unloading_stops_releases_and_lets_the_name_be_added_again(world):
    """Unload gives a report; what depends on the plugin is blocked until it is back."""
    world.add(world.plugin("a"), world.plugin("b", "a"))
    world.lifecycle.start_all()
    world.lifecycle.ledgers.of("a").record("function", "a.f@0", lambda: world.log.append("released"))
    report = world.lifecycle.unload("a")
    assert report.clean
    assert dict(report.released) == {"function": 1}
    assert world.log == ["+a", "+b", "-b", "-a", "released"]
    assert world.states() == {"a": "unloaded", "b": "blocked"}
    with pytest.raises(PluginError, match="it is unloaded"):
        world.lifecycle.unload("a")
    with pytest.raises(PluginError, match="it is unloaded → add it again first"):
        world.lifecycle.start("a")
    with pytest.raises(PluginError, match="a → b → a"):
        world.add(world.plugin("a", "b"))
    world.add(world.plugin("a", version="2"))
    world.lifecycle.start("a")
    assert world.lifecycle.records["a"].version == "2"
    assert world.state("b") is PluginState.RUNNING


def test_what_was_discovered_or_could_not_be_loaded_has_a_record(world):
    """A plugin that failed to load blocks who depends on it, and can be added once it loads."""
    fault = Fault("import", "db", "db", "No module named 'psycopg'", "pip install psycopg")
    world.add(PluginBundle("db", "1.0", "db.py", fault=fault))
    world.lifecycle.note("lazy")
    assert world.states() == {"db": "failed", "lazy": "discovered"}
    world.add(world.plugin("app", "db"))
    blocked = next(fault for fault in world.lifecycle.start_all() if fault.plugin == "app")
    assert blocked.reason == "it needs 'db', which failed (import: No module named 'psycopg')"
    assert blocked.fix == "pip install psycopg"
    world.add(world.plugin("db"), world.plugin("lazy"))
    world.lifecycle.start("db")
    assert world.states() == {"db": "running", "app": "running", "lazy": "registered"}


def test_a_failure_at_run_time_stops_the_plugin_after_its_dependents(world):
    """`fail` notes a failure: dependents are blocked, the plugin is stopped and failed."""
    world.add(world.plugin("a"), world.plugin("b", "a"))
    world.lifecycle.start_all()
    fault = Fault("worker", "a", "a", "the process died", "look at its memory")
    assert world.lifecycle.fail("a", fault).fault == fault
    assert world.log[-2:] == ["-b", "-a"]
    assert world.states() == {"a": "failed", "b": "blocked"}
    assert world.fault("b").reason == "it needs 'a', which failed (worker: the process died)"


def test_health_says_how_plugins_are_and_changes_nothing(world):
    """Raising, giving False and hanging are unhealthy; all are asked at once."""

    class Health:
        def __init__(self, answer):
            self.answer = answer

        def health(self):
            return self.answer()

    answers = {
        "none": lambda: None,
        "text": lambda: "3 connections",
        "no": lambda: False,
        "raises": lambda: {}["pool"],
        "hangs": world.gate.wait,
    }
    world.add(*(world.plugin(name, make=lambda a=answer: Health(a)) for name, answer in answers.items()))
    world.add(world.plugin("plain"), world.plugin("idle", auto_start=False))
    world.lifecycle.start_all()
    found = world.lifecycle.health(timeout=0.5)
    assert {name for name, health in found.items() if health.healthy} == {"none", "text", "plain"}
    assert found["text"].details == "3 connections"
    assert found["no"].reason == "health() gave False"
    assert "KeyError" in found["raises"].reason
    assert found["hangs"].reason == "health() took longer than 0.5 s"
    assert found["idle"].reason == "it is registered"
    assert world.state("hangs") is PluginState.RUNNING


def test_verbs_refuse_to_block_the_home_loop(world):
    """Waiting for plugins on the loop that they need would never end."""
    world.add(world.plugin("a"))

    async def start():
        world.lifecycle.start("a")

    with pytest.raises(Unavailable, match=r"asyncio\.to_thread"):
        world.home.run(start(), PATIENCE)


def test_records_are_frozen_and_replaced(world):
    """Who holds the mapping sees one moment for ever."""
    world.add(world.plugin("a"))
    before = world.lifecycle.records
    world.lifecycle.start_all()
    assert before["a"].state is PluginState.REGISTERED
    with pytest.raises(TypeError):
        before["a"] = None


def test_a_world_that_raises_when_told_does_not_stop_the_lifecycle(world):
    """What the host's callables raise is logged; a state that has changed has changed."""

    def broken(*_):
        raise RuntimeError("the bus is gone")

    world.publish = world.deliver = broken
    world.add(world.plugin("a"))
    assert world.lifecycle.start_all() == ()
    assert world.lifecycle.stop_all() == ()


def test_a_thousand_plugins_ten_deep_start_and_stop(world):
    """The order holds at size."""
    plugins = [
        world.plugin(f"p{number}", *([f"p{number - 100}", f"p{number - 50}"] if number >= 100 else []))
        for number in range(1000)
    ]
    world.add(*plugins)
    assert world.lifecycle.start_all() == ()
    assert world.lifecycle.stop_all() == ()
    place = {entry: index for index, entry in enumerate(world.log)}
    assert len(place) == 2000
    for plugin in plugins:
        for needed in plugin.depends_on:
            assert place[f"+{needed}"] < place[f"+{plugin.name}"]
            assert place[f"-{plugin.name}"] < place[f"-{needed}"]


def test_verbs_from_many_threads_leave_a_legal_state(world):
    """Whatever happens at once, every change is one of the table, and everything stops in the end."""
    world.add(world.plugin("a"), world.plugin("b", "a"), world.plugin("c", "b"), world.plugin("d", "a"))
    verbs = [
        lambda: world.lifecycle.start("c"),
        lambda: world.lifecycle.stop("a"),
        lambda: world.lifecycle.restart("b"),
        lambda: world.lifecycle.start("d"),
        world.lifecycle.start_all,
        lambda: world.lifecycle.stop("d"),
    ]

    def hammer(verb):
        for _ in range(30):
            try:
                verb()
            except PluginError:
                continue

    joins = [world.in_thread(lambda verb=verb: hammer(verb)) for verb in verbs]
    for join in joins:
        join()
    world.lifecycle.stop_all()
    assert set(world.states().values()) <= {"stopped", "registered"}
    for event in world.events:
        if isinstance(event, PluginStateChanged):
            assert PluginState(event.new) in TRANSITIONS[PluginState(event.old)]
    running = set()
    needs = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"a"}}
    for entry in world.log:
        if entry[0] == "+":
            assert needs[entry[1:]] <= running, f"{entry} without what it needs"
            running.add(entry[1:])
        else:
            running.discard(entry[1:])
            assert not any(entry[1:] in needs[each] for each in running), f"{entry} while somebody needs it"
