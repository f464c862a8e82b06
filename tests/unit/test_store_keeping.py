"""Keeping a lease: renewed in time, through trouble with the store, and given up when others have to."""

import asyncio

import attrs
import pytest

from jackfield.errors import LeaseEnded, Unavailable
from jackfield.runtime.control import ControlLoop
from jackfield.store import MemoryStore, keep_lease
from jackfield.testing import FakeClock

PATIENCE = 30.0


@attrs.define
class Distant:
    """A lease of a store that is out of reach for some renewals: it fails, or never answers."""

    lease: object
    away: int
    silent: bool
    asked: int = 0

    @property
    def id(self):
        return self.lease.id

    @property
    def ttl(self):
        return self.lease.ttl

    async def renew(self):
        self.asked += 1
        if self.asked > self.away:
            await self.lease.renew()
        elif self.silent:
            await asyncio.Event().wait()
        else:
            raise Unavailable("store", "it is far away")


class World:
    """A store and a control loop on one clock, and a key that stands as long as a lease of nine seconds."""

    def __init__(self):
        self.clock = FakeClock()
        self.store, self.control = MemoryStore(self.clock), ControlLoop(self.clock)
        self.lease = self.control.run(self.hold())

    async def hold(self):
        lease = await self.store.lease(9.0)
        await self.store.put("a", b"1", lease=lease)
        return lease

    def keep(self, lease):
        keeping = self.control.submit(keep_lease(lease))
        self.settle()
        return keeping

    def settle(self):
        """Let the loop do what is due, until it waits for time to pass."""
        for _ in range(5):
            self.control.run(asyncio.sleep(0))

    def pass_time(self, seconds):
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.settle()

    @property
    def stands(self):
        return self.control.run(self.store.get("a")) is not None


@pytest.fixture
def world():
    made = World()
    yield made
    made.control.close()


def test_a_lease_that_is_kept_outlives_its_time_until_it_is_left(world):
    """By no more than its time."""
    keeping = world.keep(world.lease)
    world.pass_time(40)
    assert world.stands
    keeping.cancel()
    world.settle()
    world.pass_time(9)
    assert not world.stands


def test_a_lease_that_was_lost_says_so(world):
    """Released by somebody, or over while the machine slept."""
    keeping = world.keep(world.lease)
    world.clock.advance(9.0)
    assert isinstance(keeping.exception(PATIENCE), LeaseEnded)
    assert not world.stands


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "no answer"])
def test_a_store_that_is_away_for_a_moment_costs_no_lease(world, silent):
    """It is asked again while there is time."""
    keeping = world.keep(Distant(world.lease, away=1, silent=silent))
    world.pass_time(30)
    assert world.stands
    assert not keeping.done()
    keeping.cancel()


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "no answer"])
def test_a_store_that_is_away_for_too_long_costs_the_lease(world, silent):
    """Its holder gives up by itself, since others have: the store cannot tell it."""
    keeping = world.keep(Distant(world.lease, away=1000, silent=silent))
    world.pass_time(14)
    assert isinstance(keeping.exception(PATIENCE), LeaseEnded)
