"""What happens by itself: restarts with back-off, health supervision, timers. The clock is moved by hand."""

import threading
from collections.abc import Iterator

import pytest

from jackfield.errors import PluginError
from jackfield.plugins.lifecycle import Lifecycle, PluginDefinition, PluginState, Timetable
from jackfield.plugins.lifecycle.timetable import Repetition
from jackfield.runtime import pool as hands
from jackfield.runtime.home import HomeLoop
from jackfield.testing import no_leaks

PATIENCE = 30.0  # seconds that only a broken lifecycle uses up


class ManualTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timetable = Timetable(self, self.wait)

    def __call__(self) -> float:
        return self.now

    def wait(self, condition, _seconds):
        condition.wait(PATIENCE)

    def advance(self, seconds):
        with self.timetable._changed:
            self.now += seconds
            self.timetable._changed.notify_all()


class World:
    def __init__(self) -> None:
        self.time = ManualTime()
        self.home = HomeLoop()
        self.lifecycle = Lifecycle(self.home, timetable=self.time.timetable, wall=self.time.__call__)

    def until(self, condition):
        """Wait for what other threads are about to bring about."""
        wait_for(condition)

    def until_state(self, name, state):
        self.until(lambda: self.record(name).state is state)

    def record(self, name="db"):
        return self.lifecycle.records[name]


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    monkeypatch.setattr(hands, "_IDLE", 0.02)  # the leak check waits for idle threads
    with no_leaks(timeout=PATIENCE):
        world = World()
        yield world
        world.lifecycle.stop_all(PATIENCE)
        world.home.close()


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
    world.lifecycle.add(
        [PluginDefinition("db", make=lambda: db, restart="on-failure", restart_limit=3, restart_backoff=2.0)]
    )
    world.lifecycle.start_all()
    for number, wait in enumerate((2.0, 4.0, 8.0), 1):
        record = world.record()
        assert record.state is PluginState.FAILED
        assert record.restart_at == pytest.approx(world.time() + wait)
        assert db.starts == number
        world.time.advance(wait - 0.01)
        assert world.record().restart_at is not None, "not a moment too soon"
        since = world.record().restarts
        world.time.advance(0.02)
        world.until(
            lambda since=since: (
                world.record().restarts > since
                and world.record().state is PluginState.FAILED
                and (world.record().restart_at is not None or "given up" in world.record().fault.reason)
            )
        )
    assert db.starts == 4
    assert world.record().restarts == 3
    assert world.record().restart_at is None
    assert "given up after 3 restarts" in world.record().fault.reason
    db.failing = False
    assert world.lifecycle.start("db").state is PluginState.RUNNING, "by hand it can always be started"


def test_always_never_gives_up(world):
    """`always` has no limit; waits grow to five minutes."""
    db = Flaky()
    world.lifecycle.add([PluginDefinition("db", make=lambda: db, restart="always", restart_limit=0)])
    world.lifecycle.start_all()
    for number in range(1, 15):
        wait = world.record().restart_at - world.time()
        assert wait == pytest.approx(min(0.5 * 2 ** (number - 1), 300.0))
        world.time.advance(wait + 0.01)
        world.until(lambda number=number: world.record().restarts == number and world.record().restart_at is not None)


def test_without_a_policy_nothing_is_restarted(world):
    """`never` is the default."""
    db = Flaky()
    world.lifecycle.add([PluginDefinition("db", make=lambda: db)])
    world.lifecycle.start_all()
    assert world.record().restart_at is None
    assert not world.time.timetable._timers


def test_a_restart_that_succeeds_revives_what_was_blocked(world):
    """Dependents start with what they waited for."""
    db = Flaky()
    world.lifecycle.add(
        [PluginDefinition("db", make=lambda: db, restart="on-failure"), PluginDefinition("app", depends_on=("db",))]
    )
    world.lifecycle.start_all()
    assert world.record("app").state is PluginState.BLOCKED
    db.failing = False
    world.time.advance(1.0)
    world.until_state("app", PluginState.RUNNING)
    assert world.record("db").restarts == 1


@pytest.mark.parametrize("verb", ["stop", "disable", "unload"])
def test_a_verb_takes_a_waiting_restart_back(world, verb):
    """Whoever stops a plugin that waits for its restart has stopped it."""
    db = Flaky()
    world.lifecycle.add([PluginDefinition("db", make=lambda: db, restart="always")])
    world.lifecycle.start_all()
    assert world.record().restart_at is not None
    getattr(world.lifecycle, verb)("db")
    assert world.record().restart_at is None
    assert not world.time.timetable._timers


def test_supervision_fails_and_restarts_what_is_not_well(world):
    """A failing health check leads to failed, and to the restart policy; dependents are blocked and come back."""
    db = Flaky()
    db.failing = False
    world.lifecycle.add(
        [
            PluginDefinition("db", make=lambda: db, restart="on-failure", restart_limit=2, restart_backoff=1.0),
            PluginDefinition("app", depends_on=("db",)),
        ]
    )
    world.lifecycle.start_all()
    world.lifecycle.supervise(10.0)
    db.well = False
    world.time.advance(10.0)
    world.until_state("db", PluginState.FAILED)
    fault = world.record("db").fault
    assert (fault.stage, fault.reason) == ("health", "health() gave False")
    assert world.record("app").state is PluginState.BLOCKED
    db.well = True
    world.until(lambda: world.record("db").restart_at is not None)
    world.time.advance(1.0)
    world.until_state("app", PluginState.RUNNING)
    assert db.starts == 2


def test_failures_in_a_row_are_forgotten_after_a_well_minute(world):
    """A failure long after the last one counts as the first."""
    db = Flaky()
    db.failing = False
    checked = threading.Semaphore(0)
    ask, db.health = db.health, lambda: (checked.release(), ask())[1]
    world.lifecycle.add([PluginDefinition("db", make=lambda: db, restart="on-failure", restart_limit=1)])
    world.lifecycle.start_all()
    world.lifecycle.supervise(40.0)
    for _ in range(3):
        db.well = False
        world.time.advance(40.0)
        world.until_state("db", PluginState.FAILED)
        db.well = True
        world.until(lambda: world.record().restart_at is not None or "given up" in world.record().fault.reason)
        assert world.record().restart_at is not None
        world.time.advance(1.0)
        world.until_state("db", PluginState.RUNNING)
        while checked.acquire(blocking=False):
            pass
        for _ in range(2):
            slot = world.lifecycle._board.slots["db"]
            world.time.advance(40.0)
            assert checked.acquire(timeout=PATIENCE)
            wait_for(lambda: world.time.timetable._timers)
        wait_for(lambda slot=slot: slot.in_a_row == 0)


def wait_for(condition):
    """Wait for what another thread is about to do."""
    ends = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        ends.wait(0.01)
    raise AssertionError("it did not happen")


def test_a_bad_interval_is_refused(world):
    """An interval is a finite number above 0."""
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="finite number above 0"):
            world.lifecycle.supervise(seconds)


def test_timers_fire_in_order_of_their_time_and_not_when_cancelled():
    """A timetable does things at their time."""
    with no_leaks(timeout=PATIENCE):
        time, seen, done = ManualTime(), [], threading.Event()
        time.timetable.after(3.0, lambda: seen.append(3) or done.set())
        time.timetable.after(1.0, lambda: seen.append(1))
        time.timetable.after(1.5, lambda: 1 / 0)
        gone = time.timetable.after(2.0, lambda: seen.append(2))
        gone.cancel()
        gone.cancel()
        time.advance(2.5)
        time.advance(0.5)
        assert done.wait(PATIENCE)
        assert seen == [1, 3]


def test_a_repetition_keeps_its_beat_and_never_overlaps():
    """A run that takes longer than the interval makes the beats fall out that it covers."""
    with no_leaks(timeout=PATIENCE):
        time = ManualTime()
        began = threading.Semaphore(0)
        ends = []
        repetition = Repetition(time.timetable, 10.0, lambda done: (ends.append(done), began.release()))
        assert not began.acquire(blocking=False), "the first run comes after the interval"
        time.advance(10.0)
        assert began.acquire(timeout=PATIENCE)
        time.advance(25.0)
        assert not time.timetable._timers, "no run begins while one is under way"
        ends[0]()
        ends[0]()
        (timer,) = time.timetable._timers
        assert timer.due == 1_040.0, "the beat stays"
        time.advance(5.0)
        assert began.acquire(timeout=PATIENCE)
        repetition.cancel()
        ends[1]()
        assert repetition.cancelled
        assert not time.timetable._timers


def test_a_plugin_that_is_being_unloaded_is_not_started(world):
    """No start begins while a plugin leaves."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def stop(self):
            inside.set()
            go_on.wait(PATIENCE)

    world.lifecycle.add([PluginDefinition("db", make=Slow)])
    world.lifecycle.start_all()
    thread = threading.Thread(target=world.lifecycle.unload, args=("db",))
    thread.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(PluginError, match="it is being unloaded"):
        world.lifecycle.disable("db")

    def start():
        with pytest.raises(PluginError, match="it is"):
            world.lifecycle.start("db")

    starting = threading.Thread(target=start)
    starting.start()
    go_on.set()
    thread.join(PATIENCE)
    starting.join(PATIENCE)
    assert world.record().state is PluginState.UNLOADED
