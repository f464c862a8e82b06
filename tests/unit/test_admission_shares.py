"""Shares of seats among tenants, simulated with a clock of its own, against the max-min fair ones."""

import heapq
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.admission import Admission, Share
from jackfield.errors import ResourceExhausted
from jackfield.model.call import Call


class Fixed:
    def __init__(self, limit):
        self.limit = limit

    def saw(self, mean, *, full):
        return 1.0


class Load:
    """Tenants that make calls of given lengths at given times, on a machine whose time is simulated."""

    def __init__(self, shares, first=4.0):
        self.now = 0.0
        self.admission = Admission(clock=lambda: self.now, first=first)
        self.admission._limit = Fixed(first)  # the seats are given, not found out
        self.admission.configure(shares)
        self.line = self.admission.line("f@1")
        self.line.gradient = Fixed(1000.0)
        self.events, self.numbers = [], count()
        self.served = dict.fromkeys(shares, 0.0)
        self.refused = dict.fromkeys(shares, 0)
        self.waits = {name: [] for name in shares}

    def at(self, when, what):
        heapq.heappush(self.events, (when, next(self.numbers), what))

    def arrive(self, tenant, seconds, then=lambda: None, deadline=None):
        asked = self.now

        def begin(ticket):
            self.waits[tenant].append(self.now - asked)

            def end():
                self.served[tenant] += seconds
                self.admission.leave(ticket)
                then()

            self.at(self.now + seconds, end)

        def waiting(call, of, since):
            waiter = Waiter(call, of, since)
            waiter.begin = begin
            return waiter

        try:
            ticket, _ = self.admission.ask(self.line, Call("f", tenant=tenant, deadline=deadline), waiting)
        except ResourceExhausted:
            self.refused[tenant] += 1
        else:
            if ticket is not None:
                begin(ticket)

    def always(self, tenant, seconds, inside):
        """Have a tenant keep so many calls under way, each as long as the next of these."""
        lengths = iter(seconds)

        def again():
            self.arrive(tenant, next(lengths), again)

        for _ in range(inside):
            self.at(0.0, again)

    def every(self, tenant, pause, seconds):
        """Have a tenant make a call so often."""

        def again():
            self.at(self.now + pause, again)
            self.arrive(tenant, seconds)

        self.at(0.0, again)

    def run(self, until):
        while self.events and self.events[0][0] <= until:
            self.now, _, what = heapq.heappop(self.events)
            what()
        self.now = until


class Waiter:
    def __init__(self, call, tenant, since):
        self.call, self.tenant, self.since = call, tenant, since
        self.ticket, self.refused = None, ""

    def wake(self):
        if self.ticket is not None:
            self.begin(self.ticket)


def repeated(values):
    while True:
        yield from values


LENGTHS = st.lists(st.floats(0.001, 0.1), min_size=1, max_size=6)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.floats(0.2, 8.0), LENGTHS), min_size=2), st.data())
def test_who_always_wants_more_gets_time_by_weight(tenants, data):
    """Whatever their calls take, and however many they have waiting."""
    load = Load({name: Share(weight) for name, (weight, _) in tenants.items()})
    for name, (_, lengths) in tenants.items():
        load.always(name, repeated(lengths), data.draw(st.integers(20, 200)))
    load.run(until=100.0)
    capacity, weights = 4 * 100.0, sum(weight for weight, _ in tenants.values())
    for name, (weight, _) in tenants.items():
        assert load.served[name] / capacity == pytest.approx(weight / weights, abs=0.03, rel=0.05)


def max_min(weights, demands, capacity):
    """Give the max-min fair shares: nobody gets more than it wants, and what is left goes to the others by weight."""
    got, open_ = {}, dict(weights)
    while open_:
        unit = (capacity - sum(got.values())) / sum(open_.values())
        satisfied = [name for name, weight in open_.items() if demands[name] <= unit * weight]
        if not satisfied:
            return {**got, **{name: unit * weight for name, weight in open_.items()}}
        for name in satisfied:
            got[name] = demands[name]
            del open_[name]
    return got


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0.5, 4.0), st.floats(0.05, 6.0)), min_size=2, max_size=6))
def test_shares_are_max_min_fair(tenants):
    """Who wants less than its share gets all of it, and the others what is left, by weight."""
    weights = {f"t{number}": weight for number, (weight, _) in enumerate(tenants)}
    demands = {f"t{number}": demand for number, (_, demand) in enumerate(tenants)}  # seats that it would fill
    load = Load({name: Share(weight) for name, weight in weights.items()})
    for name, demand in demands.items():
        load.every(name, 0.05 / demand, 0.05)
    load.run(until=60.0)
    wanted = max_min(weights, demands, 4.0)
    for name in weights:
        assert load.served[name] / 60.0 == pytest.approx(wanted[name], abs=0.12, rel=0.06)


def test_a_flood_does_not_delay_a_tenant_that_stays_below_its_share():
    """A thousand to one: it waits for the seat that is free next, and no longer."""
    load = Load({"flood": Share(), "quiet": Share()})
    load.always("flood", repeated([0.02, 0.005]), 900)
    load.every("quiet", 0.1, 0.01)
    load.run(until=50.0)
    assert max(load.waits["quiet"]) <= 0.02
    assert len(load.waits["quiet"]) >= 500


def test_reserved_seats_are_never_lent():
    """So that their tenant never waits while it uses no more."""
    load = Load({"flood": Share(), "vip": Share(seats=2)})
    load.always("flood", repeated([10.0]), 900)
    load.every("vip", 0.1, 0.15)
    load.run(until=50.0)
    assert max(load.waits["vip"]) == 0.0


def test_nobody_saves_time_up():
    """Who comes after a long while is served as the others from then on, and not first until all is even."""
    load = Load({"early": Share(), "late": Share()}, first=1.0)
    load.always("early", repeated([0.01]), 50)
    load.run(until=100.0)
    load.served = dict.fromkeys(load.served, 0.0)
    load.always("late", repeated([0.01]), 50)
    load.run(until=110.0)
    assert load.served["late"] == pytest.approx(load.served["early"], abs=0.3)


def test_nobody_starves_beside_any_weight():
    """A weight of a millionth still gets its calls done."""
    load = Load({"heavy": Share(1000.0), "light": Share(0.1)}, first=1.0)
    load.always("heavy", repeated([0.001]), 100)
    load.always("light", repeated([0.001]), 1)
    load.run(until=120.0)
    assert load.served["light"] >= 0.005


def test_weights_may_change_while_calls_wait():
    """From then on they count."""
    load = Load({"a": Share(), "b": Share()}, first=1.0)
    load.always("a", repeated([0.01]), 50)
    load.always("b", repeated([0.01]), 50)
    load.run(until=10.0)
    load.admission.configure({"a": Share(3.0), "b": Share()})
    load.served = dict.fromkeys(load.served, 0.0)
    load.run(until=50.0)
    assert load.served["a"] / load.served["b"] == pytest.approx(3.0, rel=0.05)
