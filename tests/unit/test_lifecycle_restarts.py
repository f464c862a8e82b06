"""What happens by itself: restarts with back-off, health supervision, timers. The clock is moved by hand."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from jackfield.errors import PluginError
from jackfield.model.record import PluginState
from jackfield.plugins.repetition import Repetition
from jackfield.runtime import pool
from jackfield.runtime.control import ControlLoop
from jackfield.testing import FakeClock, no_leaks
from support.plugins import PATIENCE, World, wait_for


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    monkeypatch.setattr(pool, "_IDLE", 0.02)  # the leak check waits for idle threads
    with no_leaks(timeout=PATIENCE):
        world = World(FakeClock(1_000.0))
        yield world
        world.close()


def until_state(world, name, state):
    wait_for(lambda: world.record(name).state is state)


def timers(world):
    """Count what the control loop waits for."""

    async def count():
        return sum(not handle.cancelled() for handle in asyncio.get_running_loop()._scheduled)

    return world.control.run(count())


class Flaky:
    """Starts, and is well, as the test says."""

    def __init__(self) -> None:
        self.starts = 0
        self.failing = True
        self.well = True
        self.attempted = threading.Semaphore(0)

    def start(self):
        self.starts += 1
        self.attempted.release()
        if self.failing:
            raise ConnectionError("refused")

    def health(self):
        return self.well


def test_a_failing_start_is_tried_again_after_waits_that_double_up_to_a_limit(world):
    """Restart policy with exponential back-off and a limit."""
    db = Flaky()
    world.add(world.plugin("db", make=lambda: db, restart="on-failure", restart_limit=3, restart_backoff=2.0))
    world.lifecycle.start_all()
    for number, wait in enumerate((2.0, 4.0, 8.0), 1):
        record = world.record("db")
        assert record.state is PluginState.FAILED
        assert record.restart_at == pytest.approx(world.time.wall() + wait)
        assert db.starts == number
        world.time.advance(wait - 0.01)
        assert world.record("db").restart_at is not None, "not a moment too soon"
        since = world.record("db").restarts
        world.time.advance(0.02)
        wait_for(
            lambda since=since: (
                world.record("db").restarts > since
                and world.record("db").state is PluginState.FAILED
                and (world.record("db").restart_at is not None or "given up" in world.record("db").fault.reason)
            )
        )
    assert db.starts == 4
    assert world.record("db").restarts == 3
    assert world.record("db").restart_at is None
    assert "given up after 3 restarts" in world.record("db").fault.reason
    db.failing = False
    assert world.lifecycle.start("db").state is PluginState.RUNNING, "by hand it can always be started"


def test_always_never_gives_up(world):
    """`always` has no limit; waits grow to five minutes."""
    db = Flaky()
    world.add(world.plugin("db", make=lambda: db, restart="always", restart_limit=0))
    world.lifecycle.start_all()
    for number in range(1, 15):
        wait = world.record("db").restart_at - world.time.wall()
        assert wait == pytest.approx(min(0.5 * 2 ** (number - 1), 300.0))
        world.time.advance(wait + 0.01)
        wait_for(
            lambda number=number: world.record("db").restarts == number and world.record("db").restart_at is not None
        )


def test_without_a_policy_nothing_is_restarted(world):
    """`never` is the default."""
    db = Flaky()
    world.add(world.plugin("db", make=lambda: db))
    world.lifecycle.start_all()
    assert world.record("db").restart_at is None
    assert not timers(world)


def test_a_restart_that_succeeds_revives_what_was_blocked(world):
    """Dependents start with what they waited for."""
    db = Flaky()
    world.add(world.plugin("db", make=lambda: db, restart="on-failure"), world.plugin("app", "db"))
    world.lifecycle.start_all()
    assert world.record("app").state is PluginState.BLOCKED
    db.failing = False
    world.time.advance(1.0)
    until_state(world, "app", PluginState.RUNNING)
    assert world.record("db").restarts == 1


@pytest.mark.parametrize("verb", ["stop", "unload"])
def test_a_verb_takes_a_waiting_restart_back(world, verb):
    """Whoever stops a plugin that waits for its restart has stopped it."""
    db = Flaky()
    world.add(world.plugin("db", make=lambda: db, restart="always"))
    world.lifecycle.start_all()
    assert world.record("db").restart_at is not None
    getattr(world.lifecycle, verb)("db")
    assert world.record("db").restart_at is None
    assert not timers(world)


def test_supervision_fails_and_restarts_what_is_not_well(world):
    """A failing health check leads to failed, and to the restart policy; dependents are blocked and come back."""
    db = Flaky()
    db.failing = False
    world.add(
        world.plugin("db", make=lambda: db, restart="on-failure", restart_limit=2, restart_backoff=1.0),
        world.plugin("app", "db"),
    )
    world.lifecycle.start_all()
    world.lifecycle.supervise(10.0)
    db.well = False
    world.time.advance(10.0)
    until_state(world, "db", PluginState.FAILED)
    fault = world.record("db").fault
    assert (fault.stage, fault.reason) == ("health", "health() gave False")
    assert world.record("app").state is PluginState.BLOCKED
    db.well = True
    wait_for(lambda: world.record("db").restart_at is not None)
    world.time.advance(1.0)
    until_state(world, "app", PluginState.RUNNING)
    assert db.starts == 2


def test_failures_in_a_row_are_forgotten_after_a_well_minute(world):
    """A failure long after the last one counts as the first."""
    db = Flaky()
    db.failing = False
    checked = threading.Semaphore(0)
    ask, db.health = db.health, lambda: (checked.release(), ask())[1]
    world.add(world.plugin("db", make=lambda: db, restart="on-failure", restart_limit=1))
    world.lifecycle.start_all()
    world.lifecycle.supervise(40.0)
    for _ in range(3):
        db.well = False
        world.time.advance(40.0)
        until_state(world, "db", PluginState.FAILED)
        db.well = True
        wait_for(lambda: world.record("db").restart_at is not None or "given up" in world.record("db").fault.reason)
        assert world.record("db").restart_at is not None
        world.time.advance(1.0)
        until_state(world, "db", PluginState.RUNNING)
        while checked.acquire(blocking=False):
            pass
        for _ in range(2):
            plugin = world.lifecycle._roster.plugins["db"]
            world.time.advance(40.0)
            assert checked.acquire(timeout=PATIENCE)
            wait_for(lambda: timers(world))
        wait_for(lambda plugin=plugin: plugin.in_a_row == 0)


def test_a_bad_interval_is_refused(world):
    """An interval is a finite number above 0."""
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="finite number above 0"):
            world.lifecycle.supervise(seconds)


def test_a_repetition_keeps_its_beat_and_never_overlaps():
    """A run that takes longer than the interval makes the beats fall out that it covers."""
    with no_leaks(timeout=PATIENCE):
        clock = FakeClock(1_000.0)
        control = ControlLoop(clock)
        began = threading.Semaphore(0)
        ends = []
        repetition = Repetition(control, 10.0, lambda done: (ends.append(done), began.release()))
        assert not began.acquire(blocking=False), "the first run comes after the interval"
        clock.advance(10.0)
        assert began.acquire(timeout=PATIENCE)
        clock.advance(25.0)
        control.run(asyncio.sleep(0))
        assert not began.acquire(blocking=False), "no run begins while one is under way"
        ends[0]()
        ends[0]()
        wait_for(lambda: repetition._due == 1_040.0)  # the beat stays
        clock.advance(5.0)
        assert began.acquire(timeout=PATIENCE)
        repetition.cancel()
        ends[1]()
        assert repetition.cancelled
        clock.advance(100.0)
        control.run(asyncio.sleep(0))
        assert not began.acquire(blocking=False)
        control.close()


def test_a_plugin_that_is_being_unloaded_is_not_started(world):
    """No start begins while a plugin leaves."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def stop(self):
            inside.set()
            go_on.wait(PATIENCE)

    world.add(world.plugin("db", make=Slow))
    world.lifecycle.start_all()
    thread = threading.Thread(target=world.lifecycle.unload, args=("db",))
    thread.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(PluginError, match="it is being unloaded"):
        world.lifecycle.unload("db")

    def start():
        with pytest.raises(PluginError, match="it is"):
            world.lifecycle.start("db")

    starting = threading.Thread(target=start)
    starting.start()
    go_on.set()
    thread.join(PATIENCE)
    starting.join(PATIENCE)
    assert world.record("db").state is PluginState.UNLOADED
