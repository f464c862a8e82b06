"""Background work of plugins: threads, tasks and repetitions, and their end with the plugin."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from jackfield.errors import Unavailable
from jackfield.model.call import current
from jackfield.model.deadline import deadline
from jackfield.model.record import PluginState
from jackfield.runtime import pool
from jackfield.testing import FakeClock, no_leaks
from support.plugins import PATIENCE, World, wait_for


class Poller(World):
    """A world with one plugin, `poller`, and its background."""

    def __init__(self) -> None:
        super().__init__(FakeClock(1_000.0))
        self.background = self.lifecycle.backgrounds.of("poller")
        self.ledger = self.lifecycle.ledgers.of("poller")

    def run(self, **methods):
        """Start the plugin with these methods."""
        plugin = type("Poller", (), {name: staticmethod(body) for name, body in methods.items()})
        self.add(self.plugin("poller", make=plugin, stop_timeout=0.3))
        self.lifecycle.start("poller")


@pytest.fixture
def world(monkeypatch) -> Iterator[Poller]:
    monkeypatch.setattr(pool, "_IDLE", 0.02)  # the leak check waits for idle threads
    with no_leaks(timeout=PATIENCE):
        world = Poller()
        yield world
        world.close()


def test_threads_and_tasks_end_with_the_plugin(world):
    """Threads see `stopping`, tasks are cancelled and awaited, before the plugin's own stop."""
    log, ready = [], threading.Semaphore(0)

    def thread(word):
        ready.release()
        world.background.stopping.wait(PATIENCE)
        log.append(word)

    async def task():
        ready.release()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0)
            log.append("task")

    def start():
        world.background.spawn(thread, "thread", name="watch")
        world.background.spawn(task)

    world.run(start=start, stop=lambda: log.append("stop"))
    assert ready.acquire(timeout=PATIENCE)
    assert ready.acquire(timeout=PATIENCE)
    assert "poller:watch" in {thread.name for thread in threading.enumerate()}
    assert dict(world.ledger.counts) == {"background thread": 1, "background task": 1}
    assert world.lifecycle.stop("poller").state is PluginState.STOPPED
    assert sorted(log[:2]) == ["task", "thread"]
    assert log[2:] == ["stop"]
    assert not world.ledger.entries


def test_a_thread_that_only_the_plugins_stop_ends_is_ended_by_it(world):
    """Background work gets a moment first, then the object's `stop` is called all the same."""
    own = threading.Event()
    world.run(start=lambda: world.background.spawn(own.wait, PATIENCE), stop=own.set)
    assert world.lifecycle.stop("poller").state is PluginState.STOPPED


def test_what_does_not_end_is_named(world):
    """A thread that does not look at `stopping` is named in the fault, and survives the unload by name."""
    world.run(start=lambda: world.background.spawn(world.gate.wait, name="deaf"))
    fault = world.lifecycle.stop("poller").fault
    assert fault.stage == "stop"
    assert "thread poller:deaf" in fault.reason
    assert "Background.stopping" in fault.fix
    report = world.lifecycle.unload("poller")
    assert [str(survivor) for survivor in report.survivors] == ["background thread poller:deaf"]
    assert report.failed == (fault,)


def test_work_that_ends_by_itself_leaves_the_ledger(world):
    """The ledger has what there is, not what there was."""
    world.run()
    work = world.background.spawn(lambda: None)
    assert work.wait(PATIENCE)
    assert not work.is_alive()
    assert not world.ledger.entries


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [False, True])
def test_exceptions_are_logged_and_harm_nobody(world, error, is_async):
    """A BaseException in a thread or task ends that thread or task alone."""

    def thread():
        raise error

    async def task():
        raise error

    world.run()
    assert world.background.spawn(task if is_async else thread).wait(PATIENCE)
    assert world.background.spawn(task).wait(PATIENCE), "the home loop is still there"
    assert world.lifecycle.records["poller"].state is PluginState.RUNNING


def test_a_task_can_be_cancelled(world):
    """`spawn` gives what cancels it, even before it has begun."""
    world.run()
    for _ in range(50):
        work = world.background.spawn(asyncio.sleep, PATIENCE)
        work.cancel()
        assert work.wait(PATIENCE)


def test_a_lambda_that_gives_a_coroutine_runs_it_as_a_task(world):
    """What a sync function gives is awaited at home, and cancelled like any task."""
    world.run()
    began = threading.Event()

    async def task():
        began.set()
        await asyncio.sleep(PATIENCE)

    work = world.background.spawn(lambda: task())  # noqa: PLW0108  # this is what people write
    assert began.wait(PATIENCE)
    assert world.lifecycle.stop("poller").state is PluginState.STOPPED
    assert not work.is_alive()


@pytest.mark.parametrize("is_async", [False, True])
def test_every_runs_on_the_beat_goes_on_after_errors_and_never_overlaps(world, is_async):
    """Periodic; exceptions do not stop the schedule; no overlap; ends with the plugin."""
    ran = threading.Semaphore(0)
    runs = []

    def tick(word):
        runs.append(word)
        ran.release()
        raise ValueError("again")

    async def atick(word):
        tick(word)

    world.run()
    schedule = world.background.every(5.0, atick if is_async else tick, "tick")
    assert dict(world.ledger.counts) == {"timer": 1}
    for number in range(1, 4):
        world.time.advance(5.0)
        assert ran.acquire(timeout=PATIENCE)
        assert len(runs) == number
        wait_for(lambda: schedule._repetition._due > world.time())  # the run has ended
    world.lifecycle.stop("poller")
    assert schedule.cancelled
    wait_for(lambda: not world.ledger.entries)


def test_a_schedule_can_be_cancelled(world):
    """`every` gives what cancels it."""
    world.run()
    schedule = world.background.every(5.0, lambda: None)
    schedule.cancel()
    schedule.cancel()
    assert schedule.cancelled
    assert not world.ledger.entries


def test_background_takes_no_work_while_the_plugin_does_not_run(world):
    """Neither before its start nor after its stop."""
    for _ in range(2):
        with pytest.raises(Unavailable, match="the background of plugin poller: the plugin is not running"):
            world.background.spawn(print)
        with pytest.raises(Unavailable):
            world.background.every(1.0, print)
        assert world.background.stopping.is_set()
        if not world.lifecycle.records:
            world.run()
            world.lifecycle.stop("poller")


def test_what_an_earlier_start_left_behind_stays_stopped(world):
    """After a restart, an old thread still sees that it is to stop; the new ones do not."""
    seen = []

    def deaf():
        world.gate.wait(PATIENCE)
        seen.append(world.background.stopping.is_set())

    world.run()
    work = world.background.spawn(deaf)
    assert world.lifecycle.stop("poller").state is PluginState.FAILED
    world.lifecycle.start("poller")
    assert not world.background.stopping.is_set()
    world.gate.set()
    assert work.wait(PATIENCE)
    assert seen == [True]


def test_background_work_has_no_deadline_of_whoever_began_it(world):
    """A call's deadline and trace end with the call."""
    world.run()
    found = []

    async def task():
        found.append(current.get())

    with deadline(PATIENCE):
        assert world.background.spawn(lambda: found.append(current.get())).wait(PATIENCE)
        assert world.background.spawn(task).wait(PATIENCE)
    assert found == [None, None]


def test_only_functions_can_be_spawned(world):
    """A result in place of a function is a likely mistake."""
    world.run()
    with pytest.raises(TypeError, match="runs functions, not NoneType"):
        world.background.spawn(world.gate.set())
