"""The journal of a flow's steps, when its process is stopped between the write and the call that follows it."""

import asyncio

import pytest

from jackfield import Unavailable
from jackfield.durable.ledger import Entry
from jackfield.durable.records import Submitted, new_id
from jackfield.durable.steps import StepJournal
from jackfield.runtime.control import ControlLoop
from jackfield.store import MemoryStore
from jackfield.testing import FakeClock


class Stopped:
    """A store whose process is stopped right after a write, while another host does what it likes."""

    def __init__(self, store, clock, seconds, meanwhile):
        self._store, self._clock, self._seconds, self._meanwhile = store, clock, seconds, meanwhile

    async def get(self, key):
        return await self._store.get(key)

    async def put(self, key, value, *, expected=None):
        revision = await self._store.put(key, value, expected=expected)
        seconds, self._seconds = self._seconds, 0.0
        if seconds:
            self._clock.advance(seconds)
            await self._meanwhile(key)
        return revision


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def loop(clock):
    made = ControlLoop(clock, "store")
    yield made
    made.close()


def begun(store, loop):
    """Begin a step as a flow does."""
    call = Submitted("f", "0", b"", b"", b"nonce", 0.0, 0.0, flow=True)
    journal = StepJournal(store, loop, Entry(new_id(), call, None, 0))

    async def begin():
        await journal.recorded("right")
        await journal.begin("right", "work.step", idempotent=True)

    asyncio.run(begin())


def test_a_step_that_another_host_has_meanwhile_is_not_called(clock, loop):
    """It was stopped for longer than its lease, and whoever took over has begun the step, or recorded it."""
    store = MemoryStore()

    async def other(key):
        await store.put(key, b"the other's")

    with pytest.raises(Unavailable, match="another host has taken the flow over"):
        begun(Stopped(store, clock, 20.0, other), loop)


def test_a_step_that_nobody_else_has_is_called(clock, loop):
    """However long it was stopped."""

    async def nobody(key):
        pass

    begun(Stopped(MemoryStore(), clock, 20.0, nobody), loop)
