"""An adaptive limit finds how many calls may be inside, on machines that are simulated."""

from heapq import heapify, heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.admission.gradient import WINDOW, Gradient

FIRST, LEAST, MOST = 8.0, 2.0, 1000.0


def worked(gradient, seconds, rounds=3000):
    """Keep as many calls inside as it allows, where one takes `seconds(inside)`; give what that comes to."""
    last = [0.0]
    for _ in range(rounds):
        inside = int(gradient.limit)
        gradient.saw(seconds(inside), full=True)
        last = [*last[-15:], gradient.limit]
    return max(last)  # it may be looking at fewer just now


@given(st.integers(2, 64), st.floats(0.0005, 0.5))
def test_with_so_many_processors_it_allows_about_as_many(processors, alone):
    """Calls that compute: beyond that they only make one another slower."""
    limit = worked(Gradient(), lambda inside: alone * max(1.0, inside / processors))
    assert processors * 0.9 <= limit <= processors * 3 + 6


@given(st.floats(0.0005, 0.5))
def test_where_calls_do_not_slow_one_another_it_opens(alone):
    """Calls that wait for something."""
    assert worked(Gradient(), lambda _: alone) > 500


def test_it_stays_where_nobody_has_tried_whether_there_is_room():
    """Few calls tell nothing of many."""
    gradient = Gradient()
    for number in range(1000):
        gradient.saw(0.01 + number % 7 / 100, full=False)
    assert gradient.limit == FIRST


def test_it_never_closes():
    """However slow calls become."""
    gradient = Gradient()
    seconds = 0.001
    for _ in range(2000):
        gradient.saw(seconds, full=True)
        seconds *= 1.05 if seconds < 100.0 else 1.0
        assert LEAST <= gradient.limit <= MOST


def test_a_function_that_has_become_slower_for_good_is_not_held_down_for_good():
    """What a call takes alone is learnt anew."""
    gradient = Gradient()
    worked(gradient, lambda _: 0.001)
    assert worked(gradient, lambda _: 0.01, rounds=20_000) > 500


def test_the_first_calls_are_judged_by_nothing():
    """A factor of 1 until there is something to compare with."""
    gradient = Gradient()
    assert gradient.saw(1.0, full=False) == 1.0
    assert gradient.saw(2.0, full=True) == pytest.approx(2.0)


def queued(gradient, threads, seconds, calls):
    """Keep as many calls inside as it allows, of which so many run at once and the others stand in line.

    Returns:
        How many are inside after each look, and what part of the time the threads were busy.
    """
    free, inside, took, limits = [0.0] * threads, [], [], []
    heapify(free)
    now = 0.0
    for _ in range(calls):
        while len(inside) < int(gradient.limit):
            end = max(now, heappop(free)) + seconds
            heappush(free, end)
            heappush(inside, (end, now))
        now, began = heappop(inside)
        took.append(now - began)
        if len(took) == WINDOW:
            gradient.saw(sum(took) / WINDOW, full=True)
            limits.append(gradient.limit)
            took.clear()
    return limits, calls * seconds / (now * threads)


@pytest.mark.parametrize("threads", [4, 40])
@pytest.mark.parametrize("seconds", [0.005, 0.1])
def test_a_line_within_does_not_pass_for_what_calls_take_alone(threads, seconds):
    """However often it looks: those that end first began among all, and had waited in line for the others."""
    limits, busy = queued(Gradient(), threads, seconds, 100_000)
    assert max(limits[len(limits) // 2 :]) <= threads * 2 + 6
    assert busy > 0.93


def test_what_they_take_alone_may_be_known():
    """Then it is not learnt, and no time is lost with looking."""
    gradient = Gradient(alone=1.0)
    limits = [gradient.limit for _ in range(2000) if gradient.saw(3.0, full=True) == 3.0]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] < FIRST
