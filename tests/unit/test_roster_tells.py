"""What the supervisor has to say comes out by itself, without the next verb or event."""

import threading

import pytest

from jackfield import log
from jackfield.errors import ResourceExhausted
from jackfield.runtime.pool import Pool
from support.plugins import PATIENCE, World, wait_for


@pytest.fixture
def world():
    """A world without a host."""
    world = World()
    yield world
    world.close()


@pytest.fixture
def said():
    """Everything that is logged."""
    texts = []
    remove = log.install(lambda message: texts.append(message.text))
    yield texts
    remove()


def speak(world, text):
    """Have the control loop say something beside any verb, as a restart that is due does."""
    world.control.post(world.lifecycle._roster.say, "INFO", text)


def test_what_is_said_beside_any_verb_comes_out_by_itself(world, said):
    """No event goes with it, and nobody calls anything afterwards."""
    speak(world, "by the way")
    wait_for(lambda: said == ["by the way"])


def test_what_is_said_while_the_system_gives_no_thread_comes_out_when_it_does(world, said, monkeypatch):
    """It is asked again later, not all the time."""
    asked = []
    start, relented = Pool.start, threading.Event()

    def starved(pool, name, body):
        asked.append(name)
        if not relented.is_set():
            raise ResourceExhausted(name, "the system gives no more threads", 1.0)
        start(pool, name, body)

    monkeypatch.setattr(Pool, "start", starved)
    monkeypatch.setattr("jackfield.plugins.roster._AGAIN", 0.01)
    speak(world, "first")
    speak(world, "second")
    wait_for(lambda: len(asked) > 2)
    relented.set()
    wait_for(lambda: said == ["first", "second"])
    world.control.run(_nothing(), PATIENCE)
    assert set(asked) == {"jackfield-news"}


def test_nothing_is_told_when_there_is_nothing_to_tell(world, said):
    """The loop rests: a plugin that only becomes known starts no thread."""
    world.add(world.plugin("quiet"))
    names = {thread.name for thread in threading.enumerate()}
    assert said == []
    assert "jackfield-news" not in names


async def _nothing():
    return None
