"""Seats over a pool that may have no thread to give: who is refused never runs, who waits is served."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from jackfield.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from jackfield.executors.seats import Seats
from jackfield.model.call import Call
from jackfield.runtime.pool import Pool

PATIENCE = 30.0  # seconds that only broken seats use up


class Scarce(Pool):
    """A pool whose system can be told to give no more threads."""

    empty = False

    def start(self, name, body):
        if self.empty:
            raise ResourceExhausted(name, "the system gives no more threads", 1.0)
        super().start(name, body)


@pytest.fixture
def pool():
    return Scarce()


def until(condition):
    for _ in range(int(PATIENCE * 1000)):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("the condition never came about")


def held(seats, gate, ran, timeout=None):
    """Call something that waits for a gate; give the thread's future."""

    def body(call):
        ran.append(call.name)
        assert gate.wait(PATIENCE)
        return call.name

    def go(name):
        return seats.run(Call(name, deadline=None if timeout is None else monotonic() + timeout), body)

    return go


def test_who_is_refused_never_runs_and_the_next_is_served(pool):
    """Forty refusals leave the counts as they were."""
    seats, ran = Seats(pool, seats=2), []
    pool.empty = True
    for n in range(40):
        with pytest.raises(ResourceExhausted, match=f"f{n}: the system gives no more threads"):
            seats.run(Call(f"f{n}"), lambda call: ran.append(call.name))
    stats = seats.stats()
    assert (stats.enqueued, stats.rejected, stats.pending, stats.busy) == (0, 40, 0, 0)
    pool.empty = False
    assert seats.run(Call("now"), lambda call: call.name) == "now"
    assert ran == []


def test_who_waits_is_served_by_a_thread_that_becomes_free(pool):
    """A caller leaves its thread behind and the system gives no other: another one that works comes to it."""
    seats, ran, gate = Seats(pool, seats=2), [], threading.Event()
    with ThreadPoolExecutor(3) as threads:
        works = threads.submit(held(seats, gate, ran), "works")
        until(lambda: seats.stats().busy == 1)
        stuck = threads.submit(held(seats, gate, ran, timeout=0.2), "stuck")
        until(lambda: seats.stats().busy == 2)
        waits = threads.submit(seats.run, Call("waits"), lambda call: call.name)
        until(lambda: seats.stats().pending == 1)
        pool.empty = True
        assert isinstance(stuck.exception(PATIENCE), DeadlineExceeded)
        assert not waits.done()
        gate.set()
        assert (works.result(PATIENCE), waits.result(PATIENCE)) == ("works", "waits")
    until(lambda: not seats.stats().lingering)
    assert (seats.stats().busy, seats.stats().pending, seats.stats().late) == (0, 0, 1)


def test_who_waits_in_vain_is_refused(pool):
    """When nobody works any more and the system gives no thread, those in line are told, and never run."""
    seats, ran, gate = Seats(pool, seats=1), [], threading.Event()
    with ThreadPoolExecutor(4) as threads:
        stuck = threads.submit(held(seats, gate, ran, timeout=0.2), "stuck")
        until(lambda: seats.stats().busy == 1)
        waiting = [threads.submit(held(seats, gate, ran), f"waits{n}") for n in range(3)]
        until(lambda: seats.stats().pending == 3)
        pool.empty = True
        assert isinstance(stuck.exception(PATIENCE), DeadlineExceeded)
        assert all(isinstance(each.exception(PATIENCE), ResourceExhausted) for each in waiting)
        gate.set()
    until(lambda: not seats.stats().lingering)
    pool.empty = False
    assert seats.run(Call("now"), lambda call: call.name) == "now"
    assert ran == ["stuck"]


def test_closing_refuses_those_in_line_and_leaves_the_rest_alone(pool):
    """They get Unavailable and never run; what runs ends well; nothing new begins."""
    seats, ran, gate = Seats(pool, seats=1), [], threading.Event()
    with ThreadPoolExecutor(3) as threads:
        runs = threads.submit(held(seats, gate, ran), "runs")
        until(lambda: seats.stats().busy == 1)
        waiting = [threads.submit(held(seats, gate, ran), f"waits{n}") for n in range(2)]
        until(lambda: seats.stats().pending == 2)
        assert seats.close() == 1
        assert all(isinstance(each.exception(PATIENCE), Unavailable) for each in waiting)
        gate.set()
        assert runs.result(PATIENCE) == "runs"
    with pytest.raises(Unavailable, match="late: the host has stopped"):
        seats.run(Call("late"), lambda call: call.name)
    assert ran == ["runs"]


def test_who_leaves_the_line_at_its_deadline_never_runs(pool):
    """And the error says that it was not started."""
    seats, ran, gate = Seats(pool, seats=1), [], threading.Event()
    with ThreadPoolExecutor(1) as threads:
        runs = threads.submit(held(seats, gate, ran), "runs")
        until(lambda: seats.stats().busy == 1)
        with pytest.raises(DeadlineExceeded, match="it was not started"):
            held(seats, gate, ran, timeout=0.01)("waits")
        gate.set()
        runs.result(PATIENCE)
    assert ran == ["runs"]


def test_idle_threads_serve_the_next_call_and_end(pool):
    """One thread serves one call after the other."""
    seats = Seats(pool)
    idents = {seats.run(Call("f"), lambda call: threading.get_ident()) for _ in range(1)}
    until(lambda: pool.idle == 1)
    assert seats.run(Call("f"), lambda call: threading.get_ident()) in idents
    until(lambda: pool.idle == 0)
