"""Submitted calls while their store cannot be written: they wait, and no more of them are tried than have a seat."""

import time

import pytest

from jackfield import Host
from jackfield.durable.composed import Durability
from jackfield.errors import Unavailable
from jackfield.store import MemoryStore
from support.plugins import wait_for

CALLS, SEATS = 40, 2


class Full(MemoryStore):
    """Takes what is submitted, and for a while no word of what becomes of it."""

    def __init__(self):
        super().__init__()
        self.full, self.refused = True, []

    async def put(self, key, value, /, **options):
        if self.full and key.endswith("/state"):
            self.refused.append(time.monotonic())
            raise Unavailable("store", "it is full", "store", ran=False)
        return await super().put(key, value, **options)


@pytest.mark.slow
def test_a_seat_whose_call_could_not_be_claimed_is_free_a_second_later_and_all_is_run_when_there_is_room():
    """Not the whole backlog once a second: with many calls that is all that a host would do, and log."""
    store = Full()
    host = Host(observers=(), store=store)
    host._submissions.durability = Durability(concurrency=SEATS)
    with host:
        host.register("double", lambda number: number * 2)
        calls = [host.submit("double", number, durable=False) for number in range(CALLS)]
        wait_for(lambda: len(store.refused) >= 4 * SEATS)
        assert (
            store.refused[4 * SEATS - 1] - store.refused[0] >= 2.5
        )  # whose seats were used four times, a second apart
        store.full = False
        assert [call.result(60) for call in calls] == [number * 2 for number in range(CALLS)]
