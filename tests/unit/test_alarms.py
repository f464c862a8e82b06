"""Alarms: each rings once, not before its time, unless it is cancelled; however many share a timer of the loop."""

import asyncio
import gc
import weakref
from contextvars import ContextVar
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.model.alarms import Alarm


def rung(delays, cancelled=()):
    """Set an alarm a delay on a loop of its own, cancel some, and give by how much the others rang late."""

    async def main():
        loop, late, done = asyncio.get_running_loop(), {}, asyncio.Event()
        began = monotonic()
        expected = set(range(len(delays))) - set(cancelled)

        def ring(number):
            assert number not in late
            late[number] = monotonic() - began - delays[number]
            if late.keys() >= expected:
                done.set()

        alarms = [Alarm(loop, began + delay, lambda n=n: ring(n)) for n, delay in enumerate(delays)]
        for number in cancelled:
            alarms[number].cancel()
        if expected:
            await asyncio.wait_for(done.wait(), 60)
        await asyncio.sleep(0)
        return late

    return asyncio.run(main())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-0.1, 0.3), max_size=30), st.data())
def test_each_rings_in_time_unless_cancelled(delays, data):
    """None before its time, but for what a clock of milliseconds rounds; near ones, far ones, those of the past."""
    cancelled = data.draw(st.sets(st.integers(0, len(delays) - 1))) if delays else set()
    late = rung(delays, cancelled)
    assert late.keys() == set(range(len(delays))) - cancelled
    assert all(each > -0.002 for each in late.values())


def test_one_beyond_the_horizon_has_a_timer_of_the_loop():
    """And takes it with it when it is cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop, monotonic() + 3_600, lambda: None)
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]
        alarm.cancel()
        return len(timers), [handle for handle in loop._scheduled if not handle.cancelled()]

    assert asyncio.run(main()) == (1, [])


@pytest.mark.parametrize("far", [0.01, 5.0, 100.0], ids=["soon", "in a slot", "beyond"])
def test_a_cancelled_one_lets_go_of_what_it_would_call(far):
    """At once, without the collector: each call has one."""

    class Owner:
        def __init__(self, loop):
            self.alarm = Alarm(loop, monotonic() + far, self.ring)

        def ring(self):
            pytest.fail("it was cancelled")

    async def main():
        owner = Owner(asyncio.get_running_loop())
        gone = weakref.ref(owner)
        owner.alarm.cancel()
        gc.disable()
        try:
            del owner
            return gone() is None
        finally:
            gc.enable()

    assert asyncio.run(main())


def test_what_was_there_when_one_was_set_is_not_kept_for_it():
    """A context has the call that it is of, with its payload, and the timer of a slot is there until its time."""

    class Payload:
        pass

    here = ContextVar("here")

    async def set_one():
        payload = Payload()
        here.set(payload)
        Alarm(asyncio.get_running_loop(), monotonic() + 30.0, lambda: None).cancel()
        return weakref.ref(payload)

    async def main():
        gone = await asyncio.create_task(set_one())
        await asyncio.sleep(0)  # what tells that the task has ended is in its context, too
        gc.collect()
        return gone() is None

    assert asyncio.run(main())


def test_loops_of_one_thread_follow_one_another():
    """What one has left behind rings on no other."""

    async def leave():
        Alarm(asyncio.get_running_loop(), monotonic() + 0.2, lambda: pytest.fail("its loop is gone"))

    asyncio.run(leave())
    assert rung([0.25]).keys() == {0}
