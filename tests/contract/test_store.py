"""The memory store passes the suite that every store passes; what only it does is beside it."""

import asyncio
import gc
import threading
import tracemalloc
from contextlib import aclosing

import pytest

from jackfield import Host, StoreCompacted
from jackfield.runtime.control import ControlLoop
from jackfield.store import MemoryStore
from jackfield.store.history import EVENTS
from jackfield.testing import FakeClock, no_leaks
from jackfield.testing.stores import StoreConformance

PATIENCE = 30.0
LARGE = 1_000_000


class TestMemoryStore(StoreConformance):
    """On a clock that the suite moves."""

    kept = EVENTS

    async def open_store(self):
        self.clock = FakeClock()
        return MemoryStore(self.clock)

    async def pass_time(self, seconds):
        self.clock.advance(seconds)


def large_values():
    gc.collect()
    return sum(trace.size >= LARGE for trace in tracemalloc.take_snapshot().traces)


def test_large_values_that_are_gone_take_no_memory():
    """What was overwritten or deleted does not live on for those who watch; they are told instead."""

    async def test():
        store = MemoryStore()
        for _ in range(10):
            await store.put("a", bytes(LARGE))
        assert large_values() == 1
        newest = await store.delete("a")
        assert large_values() == 0
        with pytest.raises(StoreCompacted):
            await anext(store.watch(since=newest - 2))
        async with aclosing(store.watch(since=newest - 1)) as events:
            assert (await anext(events)).value is None

    tracemalloc.start()
    try:
        asyncio.run(test())
    finally:
        tracemalloc.stop()


def test_a_watch_on_the_control_loop_hears_of_a_lease_s_end_when_the_clock_moves():
    """Store and loop follow one clock."""
    clock = FakeClock()
    store, control = MemoryStore(clock), ControlLoop(clock)
    waiting = threading.Event()

    async def hold():
        await store.put("a", b"1", lease=await store.lease(10.0))

    async def watch():
        asyncio.get_running_loop().call_soon(waiting.set)  # behind the step in which the watch comes to rest
        async with aclosing(store.watch(since=1)) as events:
            return await anext(events)

    with no_leaks():
        control.run(hold())
        ended = control.submit(watch())
        assert waiting.wait(PATIENCE)
        clock.advance(9.0)
        clock.advance(1.0)
        event = ended.result(PATIENCE)
        assert (event.key, event.value) == ("a", None)
        control.close()


def test_a_lease_ends_by_itself_in_real_time():
    """And wakes a watch, though nobody uses the store."""

    async def test():
        store = MemoryStore()
        await store.put("a", b"1", lease=await store.lease(0.05))
        async with aclosing(store.watch(since=1)) as events, asyncio.timeout(PATIENCE):
            return await anext(events)

    assert asyncio.run(test()).value is None


def test_a_watch_whose_loop_was_closed_disturbs_no_writer():
    """Nobody is there to be woken."""
    store = MemoryStore()
    loop = asyncio.new_event_loop()
    events = store.watch(since=0)
    waiting = loop.create_task(anext(events))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert asyncio.run(store.put("a", b"1")) == 1
    waiting._log_destroy_pending = False  # it is left on purpose


class OldStore:
    """The port of 0.1."""

    def get(self, key):
        return None

    def put(self, key, value, *, expected=None):
        return 1

    def delete(self, key):
        return True

    def keys(self, prefix=""):
        return ()


def test_a_store_of_the_old_port_is_refused_by_the_methods_that_it_misses():
    """When the host is made, not at the first reload; the error names the page that helps."""
    with pytest.raises(
        TypeError, match=r"store=OldStore .* no method range\(\), watch\(\), lease\(\), close\(\) .*stores\.md"
    ):
        Host(observers=(), store=OldStore())
