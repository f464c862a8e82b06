"""Watching: what is looked at, when it is acted on; on a fake clock."""

import threading
from queue import SimpleQueue

import pytest

from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.runtime.watching import watch
from jackfield.testing import FakeClock


class Thing:
    """What is watched: it says when it was looked at, and what it was when it was acted on."""

    def __init__(self, known=0):
        self.clock = FakeClock()
        self.control = ControlLoop(self.clock)
        self.state, self.looks, self.acts = 0, SimpleQueue(), SimpleQueue()
        self.seen = lambda: self.state
        self.watch = watch(self.control, Pool(), known, self.look, self.act, every=1.0, settle=0.2)

    def look(self):
        state = self.state
        self.looks.put(state)
        return state

    def act(self):
        self.acts.put(self.state)
        return self.seen()

    def next_look(self):
        """Let time pass until it has looked once more."""
        while self.looks.empty():
            self.clock.advance(0.1)
            threading.Event().wait(0.001)  # the loop's thread has to get there
        return self.looks.get()

    def close(self):
        self.watch.cancel()
        self.control.close()


@pytest.fixture
def thing():
    thing = Thing()
    yield thing
    thing.close()


def test_nothing_is_done_while_nothing_changes(thing):
    """Looks alone."""
    for _ in range(5):
        assert thing.next_look() == 0
    assert thing.acts.empty()


def test_what_changed_before_it_began_is_a_change():
    """It is compared with what was taken over, not with what the first look finds."""
    other = Thing(known=7)
    assert other.next_look() == other.next_look() == 0
    assert other.acts.get(timeout=10) == 0
    other.close()


def test_a_change_is_acted_on_once_when_it_rests(thing):
    """Two looks in a row must show the same; then it is known."""
    thing.state = 1
    assert thing.next_look() == 1
    thing.state = 2
    assert thing.next_look() == 2
    assert thing.acts.empty()
    assert thing.next_look() == 2
    assert thing.acts.get(timeout=10) == 2
    for _ in range(5):
        thing.next_look()
    assert thing.acts.empty()


def test_what_changes_meanwhile_is_acted_on_after_it(thing):
    """What was acted on is what `act` says, not what is there when it has ended."""

    def meanwhile():
        before, thing.state = thing.state, 2
        return before

    thing.seen = meanwhile
    thing.state = 1
    thing.next_look()
    thing.next_look()
    assert thing.acts.get(timeout=10) == 1
    thing.seen = lambda: thing.state
    thing.next_look()
    thing.next_look()
    assert thing.acts.get(timeout=10) == 2


def test_what_could_not_be_done_is_tried_again(thing):
    """`act` gives something else than any look gives."""
    thing.seen = lambda: None
    thing.state = 1
    for _ in range(2):
        thing.next_look()
    for _ in range(3):
        assert thing.acts.get(timeout=10) == 1
        thing.next_look()
        thing.next_look()
