"""What stays of a function version after its end: until it was scraped for a while, within a bound, counted once."""

import weakref

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.collected import alive

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.metrics import Metrics
from jackfield.observe.series import DROPPED, ENDED, KEPT, SCRAPES
from jackfield.testing import FakeClock

LABELS = {"function": "risk.score", "version": "1.4"}
OK = {**LABELS, "outcome": "ok"}
IN_FLIGHT = "jackfield_calls_in_flight"


def spec(name="risk.score", version="1.4"):
    return FunctionSpec(name, version, "risk", "", str.lower, Colour.SYNC)


def run(bound, outcome=Outcome.OK, duration=0.002):
    call = Call("risk.score")
    bound.finish(bound.start(call), call, outcome, None, duration)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry, clock):
    return Metrics(registry, clock=clock)


def scrape(registry):
    """Give the value of every sample of the counter, as one scrape sees them."""
    families = [family for family in registry.collect() if family.name == "jackfield_calls"]
    return {tuple(sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def crashed(registry):
    return sum(value for labels, value in scrape(registry).items() if ("outcome", "crashed") in labels)


def test_the_numbers_of_a_closed_version_are_still_scraped(registry, metrics):
    """Counter and histogram stay as they were, and nothing is in flight."""
    bound = metrics.bind(spec())
    run(bound, Outcome.CRASHED)
    bound.close()
    assert crashed(registry) == 1
    assert registry.get_sample_value("jackfield_call_duration_seconds_count", LABELS) == 1
    assert registry.get_sample_value(IN_FLIGHT, LABELS) == 0


def test_a_version_goes_once_it_was_scraped_for_a_while(registry, metrics, clock):
    """Enough scrapes that span enough time, the last of them included, must have seen the last numbers."""
    run(bound := metrics.bind(spec()))
    bound.close()
    for _ in range(SCRAPES - 1):
        assert scrape(registry)
    clock.advance(KEPT)
    assert scrape(registry)
    assert not scrape(registry)


@pytest.mark.parametrize(("scrapes", "seconds"), [(SCRAPES + 2, 0.9 * KEPT), (SCRAPES - 2, 9 * KEPT), (0, 9 * KEPT)])
def test_neither_scrapes_nor_time_alone_take_it_away(registry, metrics, clock, scrapes, seconds):
    """A burst of scrapes by hand takes nothing from a server that comes later, nor does a server that was away."""
    run(bound := metrics.bind(spec()), Outcome.CRASHED)
    bound.close()
    for _ in range(scrapes):
        scrape(registry)
    clock.advance(seconds)
    assert crashed(registry) == 1
    assert crashed(registry) == 1


def test_a_call_that_ends_late_is_counted_and_seen_for_as_long(registry, metrics, clock):
    """Calls inside a version that was replaced end there; while one is inside, the gauge shows it."""
    bound = metrics.bind(spec())
    late = Call("late")
    bound.start(late)
    bound.close()
    for _ in range(2 * SCRAPES):
        clock.advance(KEPT)
        assert registry.get_sample_value(IN_FLIGHT, LABELS) == 1
    bound.finish(None, late, Outcome.CRASHED, None, 9.0)
    assert crashed(registry) == 1
    clock.advance(KEPT)
    assert crashed(registry) == 1
    assert registry.get_sample_value(IN_FLIGHT, LABELS) == 0


def test_a_version_that_comes_back_goes_on(registry, metrics, clock):
    """A restart is no reset: the same series, once, and it lives as long as any other again."""
    run(first := metrics.bind(spec()))
    first.close()
    scrape(registry)
    run(second := metrics.bind(spec()))
    for _ in range(2 * SCRAPES):
        clock.advance(KEPT)
        assert registry.get_sample_value("jackfield_calls_total", OK) == 2
    assert generate_latest(registry).decode().count('jackfield_calls_total{function="risk.score",outcome="ok"') == 1
    second.close()


def test_ended_versions_are_bounded_and_those_that_ended_first_go_first(registry, metrics):
    """Without a scraper, too; what nobody has seen of them is counted under a name of its own."""
    kept = 10
    for number in range(ENDED + kept):
        run(bound := metrics.bind(spec(version=str(number))))
        bound.close()
    other = metrics.bind(spec("other"))
    seen = scrape(registry)
    versions = {dict(labels)["version"] for labels in seen if dict(labels)["function"] == "risk.score"}
    assert versions == {str(number) for number in range(kept, ENDED + kept)}
    assert sum(seen.values()) == ENDED + kept
    dropped = {"function": DROPPED, "version": DROPPED}
    assert registry.get_sample_value("jackfield_calls_total", {**dropped, "outcome": "ok"}) == kept
    assert registry.get_sample_value("jackfield_call_duration_seconds_count", dropped) == kept
    other.close()


def test_what_a_scrape_has_seen_is_not_counted_again_when_it_goes(registry, metrics):
    """Else an alert on the increase would see every crash of the past once more."""
    run(bound := metrics.bind(spec()), Outcome.CRASHED)
    scrape(registry)
    run(bound, Outcome.CRASHED)
    bound.close()
    for number in range(ENDED + 1):
        metrics.bind(spec("other", str(number))).close()
    metrics.bind(spec("another"))
    assert crashed(registry) == 1


def test_the_whole_of_a_large_host_may_be_replaced_at_once(registry, metrics):
    """As many ended versions are kept as there are others."""
    many = 2 * ENDED
    for old in [metrics.bind(spec(f"f{number}", "1")) for number in range(many)]:
        run(old, Outcome.CRASHED)
        old.close()
    living = [metrics.bind(spec(f"f{number}", "2")) for number in range(many)]
    assert crashed(registry) == many
    assert len(living) == many


def test_a_version_that_nobody_closed_ends_with_its_last_reference(registry, metrics, clock):
    """The endpoints of a host that is dropped without a stop do not stay for ever."""
    bound = metrics.bind(spec())
    run(bound)
    gone = weakref.ref(bound)
    del bound
    assert alive(gone) == []
    for _ in range(SCRAPES + 1):
        scrape(registry)
        clock.advance(KEPT)
    assert not scrape(registry)


def test_closing_twice_is_closing_once(registry, metrics):
    """Another user of the series keeps it."""
    first, second = metrics.bind(spec()), metrics.bind(spec())
    first.close()
    first.close()
    run(second)
    assert registry.get_sample_value(IN_FLIGHT, LABELS) == 0
