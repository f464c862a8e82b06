"""Runs are submitted at their planned times, once over all hosts; what was missed is made up for, or left out."""

import threading
import time
from datetime import datetime

import pytest

from jackfield.config import ScheduleConfig
from jackfield.errors import PermissionDenied, Unavailable
from jackfield.model.cron import zone_of
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.schedules import Scheduler
from jackfield.store import MemoryStore
from jackfield.testing import FakeClock

PATIENCE = 30.0
HOUR, DAY = 3600.0, 86_400.0
NOON = datetime(2026, 6, 1, 12, tzinfo=zone_of("UTC")).timestamp()


def until(condition):
    """Wait for what another thread brings about."""
    ends = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < ends, "it has not come about"
        time.sleep(0.002)
    return found


class Accepted:
    """What the durable calls of one store are to schedules: by key, the first one stays."""

    def __init__(self):
        self.calls = {}
        self.asked = []
        self.errors = []
        self._lock = threading.Lock()

    def __call__(self, function, payload, /, *, key, tenant):
        with self._lock:
            self.asked.append(key)
            if self.errors:
                raise self.errors.pop(0)
            self.calls.setdefault(key, (function, payload, tenant))

    @property
    def times(self):
        """When the runs were planned, in UTC."""
        return [key.partition(":")[2].partition(":")[2][5:16] for key in self.calls]


class OneHost:
    """The scheduler of one host, on a control loop with a clock that the test moves."""

    def __init__(self, store, accepted, at=NOON):
        self.clock = FakeClock(wall=at)
        self.control = ControlLoop(self.clock)
        self.store = store

        async def ask(what):
            return await what(self.store)

        self.scheduler = Scheduler(accepted, ask, self.clock, Pool())

    def follow(self, *schedules):
        self.control.run(self.scheduler.adopt(schedules), PATIENCE)
        until(lambda: all(each.next is not None or each.problem for each in self.scheduler.records.values()))

    def advance(self, seconds):
        """Let time pass, and everything happen that is due then."""
        self.clock.advance(seconds)
        self.settle()

    def settle(self):
        until(
            lambda: all(
                each.next is None or each.next > self.clock.wall() or each.problem
                for each in self.scheduler.records.values()
            )
        )

    def close(self):
        self.control.run(self.scheduler.close(), PATIENCE)
        self.control.close()


@pytest.fixture
def host():
    made = []

    def make(store, accepted, at=NOON):
        made.append(OneHost(store, accepted, at))
        return made[-1]

    yield make
    for each in made:
        each.close()


def schedule(cron="0 * * * *", **more):
    return ScheduleConfig("tidy", "store.tidy", cron, **more)


def test_runs_are_submitted_when_they_are_due(host):
    """With payload and tenant, under a key of schedule and planned time."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted)
    one.follow(schedule(payload={"days": 7}, tenant="t"))
    assert not accepted.calls
    one.advance(HOUR - 1)
    assert not accepted.calls
    one.advance(1)
    one.advance(HOUR)
    assert accepted.calls == {
        "schedule:tidy:2026-06-01T13:00:00Z": ("store.tidy", {"days": 7}, "t"),
        "schedule:tidy:2026-06-01T14:00:00Z": ("store.tidy", {"days": 7}, "t"),
    }
    record = one.scheduler.records["tidy"]
    assert (record.last, record.next, record.missed, record.problem) == (NOON + 2 * HOUR, NOON + 3 * HOUR, 0, "")


@pytest.mark.parametrize(
    ("day", "expression", "planned"),
    [
        ((2026, 3, 29), "30 2 * * *", ["03-29T01:00", "03-30T00:30"]),
        ((2026, 10, 25), "30 2 * * *", ["10-25T00:30", "10-26T01:30"]),
        ((2026, 3, 29), "0 2-3 * * *", ["03-29T01:00", "03-30T00:00", "03-30T01:00"]),
    ],
)
def test_both_changes_of_clocks(host, day, expression, planned):
    """Once a day, whatever becomes of the hour; looked at every quarter of an hour."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted, datetime(*day, tzinfo=zone_of("Europe/Berlin")).timestamp() - HOUR)
    one.follow(schedule(expression, timezone="Europe/Berlin"))
    for _ in range(4 * 36):
        one.advance(HOUR / 4)
    assert accepted.times == planned


def test_several_hosts_of_one_store_make_one_run(host):
    """All of them submit; the key is the same."""
    store, accepted = MemoryStore(), Accepted()
    hosts = [host(store, accepted) for _ in range(3)]
    for each in hosts:
        each.follow(schedule())
    for _ in range(4):
        for each in hosts:
            each.clock.advance(HOUR)
        for each in hosts:
            each.settle()
    assert accepted.times == ["06-01T13:00", "06-01T14:00", "06-01T15:00", "06-01T16:00"]


def test_hosts_whose_clocks_are_an_hour_apart_make_one_run(host):
    """At the time of the one that is ahead."""
    store, accepted = MemoryStore(), Accepted()
    ahead, behind = host(store, accepted, NOON + HOUR), host(store, accepted, NOON)
    for each in (ahead, behind):
        each.follow(schedule())
    for _ in range(4):
        for each in (ahead, behind):
            each.advance(HOUR)
    assert sorted(accepted.times) == sorted(set(accepted.times))
    assert accepted.times[-1] == "06-01T17:00"


@pytest.mark.parametrize(
    ("missed", "runs", "left"),
    [
        ("skip", [], 5),
        ("once", ["06-01T18:00"], 4),
        ("all", [f"06-01T{hour}:00" for hour in range(14, 19)], 0),
    ],
)
def test_what_is_missed_while_no_host_runs(host, missed, runs, left):
    """After a restart: nothing, the latest, or each."""
    store, accepted = MemoryStore(), Accepted()
    first = host(store, accepted)
    first.follow(schedule(missed=missed))
    first.advance(HOUR)
    first.close()
    accepted.calls.clear()
    second = host(store, accepted, NOON + 6.5 * HOUR)
    second.follow(schedule(missed=missed))
    assert accepted.times == runs
    assert second.scheduler.records["tidy"].missed == left
    second.advance(HOUR / 2)
    assert accepted.times == [*runs, "06-01T19:00"]


def test_what_is_late_by_less_than_a_minute_is_not_missed(host):
    """A restart over the planned time costs no run, also with `skip`."""
    store, accepted = MemoryStore(), Accepted()
    first = host(store, accepted)
    first.follow(schedule(missed="skip"))
    first.close()
    second = host(store, accepted, NOON + HOUR + 59)
    second.follow(schedule(missed="skip"))
    assert accepted.times == ["06-01T13:00"]


def test_a_new_schedule_has_missed_nothing(host):
    """Nor one whose times have changed: those were never planned."""
    store, accepted = MemoryStore(), Accepted()
    first = host(store, accepted)
    first.follow(schedule("0 0 * * *", missed="all"))
    first.close()
    second = host(store, accepted, NOON + 100 * DAY)
    second.follow(schedule("0 * * * *", missed="all"))
    assert not accepted.calls
    second.advance(HOUR)
    assert accepted.times == ["09-09T13:00"]


def test_hosts_with_different_times_of_one_schedule_starve_neither(host):
    """While a changed file is rolled out."""
    store, accepted = MemoryStore(), Accepted()
    old, new = host(store, accepted), host(store, accepted)
    old.follow(schedule("0 * * * *"))
    new.follow(schedule("30 * * * *"))
    for _ in range(4):
        for each in (old, new):
            each.clock.advance(HOUR / 2)
            each.settle()
    assert accepted.times == ["06-01T12:30", "06-01T13:00", "06-01T13:30", "06-01T14:00"]


@pytest.mark.parametrize(
    ("missed", "runs"),
    [("skip", []), ("once", ["06-02T12:00"]), ("all", [f"{at // 24 + 1:02}T{at % 24:02}:00" for at in range(13, 37)])],
)
def test_a_clock_that_is_put_forward(host, missed, runs):
    """What lies between was missed; seen at once."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted)
    one.follow(schedule(missed=missed))
    one.clock.set_wall(NOON + DAY + 120.0)
    one.settle()
    assert [at[-8:] for at in accepted.times] == [at[-8:] for at in runs]


def test_a_clock_that_is_put_back(host):
    """No planned time has two runs."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted)
    one.follow(schedule())
    one.advance(2 * HOUR)
    one.clock.set_wall(NOON + 0.5 * HOUR)
    for _ in range(5):
        one.advance(HOUR / 2)
    assert accepted.times == ["06-01T14:00", "06-01T15:00"]
    assert len(accepted.asked) == 2


def test_a_clock_that_was_years_ahead_for_a_moment_stops_no_schedule(host):
    """What it noted for a day to come is not believed."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted)
    one.follow(schedule())
    one.clock.set_wall(NOON + 3650 * DAY)
    until(lambda: accepted.calls)
    one.settle()
    one.close()
    accepted.calls.clear()
    two = host(one.store, accepted, NOON)
    two.follow(schedule())
    two.advance(HOUR)
    assert accepted.times == ["06-01T13:00"]


def test_a_store_that_is_away_is_asked_again(host):
    """The run is late, and not lost; the schedule says what is wrong."""
    accepted = Accepted()
    accepted.errors = [Unavailable("store", "it is away", "store") for _ in range(3)]
    one = host(MemoryStore(), accepted)
    one.follow(schedule(missed="skip"))
    one.clock.advance(HOUR)
    until(lambda: one.scheduler.records["tidy"].problem)
    assert "it is away" in one.scheduler.records["tidy"].problem

    def tries():
        one.clock.advance(2.0)
        return accepted.calls

    until(tries)
    assert accepted.times == ["06-01T13:00"]
    until(lambda: not one.scheduler.records["tidy"].problem)


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_what_comes_while_the_store_is_away_is_late_and_not_missed(host, missed):
    """However long that is, and whatever the policy: a host has seen it come."""
    accepted, store = Accepted(), MemoryStore()
    one = host(store, accepted)
    one.follow(schedule(missed=missed))

    looks = []

    class Away:
        async def get(self, _):
            looks.append(one.clock())
            raise Unavailable("store", "it is away", "store")

    one.store = Away()
    for _ in range(3 * 60):
        one.clock.advance(60.0)
        until(lambda: one.clock.advance(0.0) or one.clock() < HOUR or looks[-1:] == [one.clock()])
    one.store = store

    def tries():
        one.clock.advance(2.0)
        return len(accepted.calls) == 3

    until(tries)
    assert accepted.times == ["06-01T13:00", "06-01T14:00", "06-01T15:00"]
    assert one.scheduler.records["tidy"].missed == 0


def test_a_run_that_is_refused_is_told_of_and_the_next_one_comes(host):
    """A verdict is none the better for being asked for again."""
    accepted = Accepted()
    accepted.errors = [PermissionDenied("store.tidy", "not yours")]
    one = host(MemoryStore(), accepted)
    one.follow(schedule())
    one.clock.advance(HOUR)
    until(lambda: one.scheduler.records["tidy"].problem)
    until(lambda: one.scheduler.records["tidy"].next == NOON + 2 * HOUR)
    one.clock.advance(HOUR)
    until(lambda: accepted.calls)
    assert accepted.times == ["06-01T14:00"]


def test_schedules_are_replaced_while_they_run(host):
    """Those that stay go on; those that go end; a changed one begins anew."""
    accepted = Accepted()
    one = host(MemoryStore(), accepted)
    one.follow(schedule(), ScheduleConfig("b", "f.b", "0 * * * *"), ScheduleConfig("c", "f.c", "0 * * * *"))
    one.follow(schedule(), ScheduleConfig("c", "f.d", "0 * * * *"))
    one.advance(HOUR)
    assert sorted(function for function, _, _ in accepted.calls.values()) == ["f.d", "store.tidy"]
    assert list(one.scheduler.records) == ["tidy", "c"]


def test_an_entry_that_cannot_be_read_is_written_anew(host):
    """By hand, or of a later version."""
    store, accepted = MemoryStore(), Accepted()
    one = host(store, accepted)
    one.control.run(store.put("schedules/tidy", b"nonsense"), PATIENCE)
    one.follow(schedule())
    one.advance(HOUR)
    assert accepted.times == ["06-01T13:00"]
