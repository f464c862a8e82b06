"""Rules of canary analysis that hold for any counts, any durations and any order of looks."""

from fractions import Fraction
from itertools import combinations
from math import ceil, comb, inf
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jackfield.errors import Outcome
from jackfield.rollout import Analysis, Decision, Tally, Trial, judge
from jackfield.rollout.exact import at_least, error_rate_at_most, excess, rank

CLOSE = 1 / 32  # a bucket's width and rounding: what a duration read from the histogram may be off by
tables = st.tuples(st.integers(1, 60), st.integers(1, 60)).flatmap(
    lambda calls: st.tuples(st.integers(0, calls[0]), st.just(calls[0]), st.integers(0, calls[1]), st.just(calls[1]))
)
rates = st.sampled_from([0.05, 0.95, 0.5, 0.001, 0.37])
durations = st.floats(1e-6, 1e5)


def counted(calls, errors=0, duration=0.001):
    tally = Tally()
    for number in range(calls):
        tally.add(Outcome.CRASHED if number < errors else Outcome.OK, duration)
    return tally.take()


def timed(values):
    tally = Tally()
    for value in values:
        tally.add(Outcome.OK, value)
    return tally.take()


def exactly(errors, calls, other_errors, other_calls):
    marked = errors + other_errors
    ways = sum(
        comb(calls, x) * comb(other_calls, marked - x)
        for x in range(errors, min(marked, calls) + 1)
        if marked - x <= other_calls
    )
    return Fraction(ways, comb(calls + other_calls, marked))


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_excess_is_the_part_of_all_arrangements_that_are_as_bad(calls, other_calls, data):
    """Fisher's test counts arrangements: put the failures on every possible set of calls, and see."""
    errors = data.draw(st.integers(0, calls))
    other_errors = data.draw(st.integers(0, other_calls))
    arrangements = list(combinations(range(calls + other_calls), errors + other_errors))
    as_bad = sum(sum(call < calls for call in arrangement) >= errors for arrangement in arrangements)
    assert excess(errors, calls, other_errors, other_calls) == pytest.approx(as_bad / len(arrangements), rel=1e-10)


@given(tables)
def test_excess_equals_exact_fractions(table):
    """The sum by ratios gives what integers give."""
    assert excess(*table) == pytest.approx(float(exactly(*table)), rel=1e-10)


@given(st.integers(0, 40), st.integers(1_000, 1_000_000), st.integers(0, 40), st.integers(1_000, 1_000_000))
def test_excess_is_exact_for_a_million_calls(errors, calls, other_errors, other_calls):
    """Large counts cost no accuracy that a decision could see."""
    expected = float(exactly(errors, calls, other_errors, other_calls))
    assert excess(errors, calls, other_errors, other_calls) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@given(st.integers(1, 80), st.data(), rates)
def test_at_least_equals_exact_fractions(calls, data, rate):
    """The binomial tail as well."""
    count = data.draw(st.integers(-1, calls + 1))
    p = Fraction(rate)
    expected = sum(comb(calls, x) * p**x * (1 - p) ** (calls - x) for x in range(max(0, count), calls + 1))
    assert at_least(count, calls, rate) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


@given(st.integers(1, 5_000), rates, st.floats(1e-9, 0.4))
def test_rank_is_the_smallest_that_keeps_the_risk(calls, rate, risk):
    """One rank lower would take more than the risk."""
    found = rank(calls, rate, risk)
    assert at_least(found, calls, rate) <= risk < at_least(found - 1, calls, rate)


@given(st.integers(1, 100_000), st.data(), st.floats(1e-6, 0.4))
def test_the_bound_of_the_error_rate_is_where_its_probability_meets_the_risk(calls, data, risk):
    """A rate just above the bound would have shown more errors, but for the risk."""
    errors = data.draw(st.integers(0, min(calls, 1_000)))
    bound = error_rate_at_most(errors, calls, risk)
    assert errors / calls <= bound <= 1.0
    if bound < 1.0:
        assert 1.0 - at_least(errors + 1, calls, bound) == pytest.approx(risk, rel=1e-3, abs=1e-9)


@given(st.lists(durations, min_size=1, max_size=200), st.data())
def test_the_histogram_is_right_to_a_bucket(values, data):
    """A rank's bounds hold the value of that rank, and lie close together."""
    sample, values = timed(values), sorted(values)
    position = data.draw(st.integers(1, len(values)))
    low, high = sample.bounds(position)
    assert low <= values[position - 1] <= high
    assert high - low <= max(CLOSE * high, 1e-6)
    percentile = values[ceil(len(values) * 0.95) - 1]
    assert sample.percentile(0.95) == pytest.approx(percentile, rel=CLOSE, abs=1e-6)


calls = st.lists(st.tuples(st.sampled_from(Outcome), durations), max_size=50)


@given(calls, calls)
def test_a_difference_of_samples_is_what_came_between(before, after):
    """What came before a step does not count in it."""
    whole, later = Tally(), Tally()
    for outcome, duration in before:
        whole.add(outcome, duration)
    earlier = whole.take()
    for outcome, duration in after:
        whole.add(outcome, duration)
        later.add(outcome, duration)
    assert whole.take().since(earlier) == later.take()


plans = st.builds(
    Analysis,
    risk=st.sampled_from([0.01, 0.05, 0.2]),
    error_margin=st.sampled_from([0.0, 0.01, 0.1]),
    latency_ratio=st.just(inf),
)


@given(plans, st.integers(0, 300), st.integers(0, 300), st.data())
def test_more_errors_of_the_canary_never_save_it(analysis, canary_calls, stable_calls, data):
    """Of two canaries alike but for their errors, the better one does not fail alone."""
    fewer, more = sorted(data.draw(st.tuples(*[st.integers(0, canary_calls)] * 2)))
    stable = counted(stable_calls, data.draw(st.integers(0, stable_calls)))
    better, worse = (judge(analysis, counted(canary_calls, errors), stable).decision for errors in (fewer, more))
    assert better is not Decision.FAIL or worse is Decision.FAIL


@given(plans, st.integers(0, 200), st.integers(0, 200), st.data())
def test_too_few_calls_hold(analysis, canary_calls, stable_calls, data):
    """'Too few samples hold', whatever they were like, and whichever version lacks them."""
    assume(min(canary_calls, stable_calls) < analysis.samples)
    canary = counted(canary_calls, data.draw(st.integers(0, canary_calls)), duration=10.0)
    verdict = judge(analysis, canary, counted(stable_calls))
    assert verdict.decision is Decision.HOLD
    assert verdict.p_value is None


@given(st.floats(1e-5, 10.0), st.floats(1e-5, 10.0))
def test_slower_means_beyond_the_ratio_and_the_floor(usual, now):
    """'A ratio and an absolute floor': both must be exceeded, and what plainly exceeds both fails."""
    analysis = Analysis()
    limit = max(usual * analysis.latency_ratio, usual + analysis.latency_floor)
    decision = judge(analysis, counted(400, duration=now), counted(400, duration=usual)).decision
    if now <= limit:
        assert decision is Decision.PASS
    elif now > limit * (1 + CLOSE) ** 2:
        assert decision is Decision.FAIL


def follow(analysis, seed, canary_call, stable_call):
    """Send calls by the share of each step until the trial fails (its verdict) or is through (None)."""
    random = Random(seed)  # noqa: S311  # a simulation that must repeat
    canary, stable = Tally(), Tally()
    trial = Trial(analysis, canary, stable)
    while True:
        for _ in range(analysis.samples):
            if random.random() < trial.share:
                canary.add(*canary_call(random))
            else:
                stable.add(*stable_call(random))
        verdict = trial.look()
        if verdict.decision is Decision.FAIL:
            return verdict
        if verdict.step_passed:
            if trial.next_share is None:
                return None
            trial.advance()


def ordinary(random):
    """One call in twelve fails, and one in twenty is fifty times as slow: where measured p95s jump about."""
    return Outcome.CRASHED if random.random() < 1 / 12 else Outcome.OK, 0.05 if random.random() < 0.05 else 0.001


@pytest.mark.slow
def test_false_alarms_stay_within_the_risk():
    """A canary that is no worse is rolled back with at most the stated probability, over all steps, looks and tests."""
    analysis = Analysis(steps=(0.2, 0.5), looks=3, samples=40, interval=0.0, risk=0.2)
    runs = 200
    alarms = sum(follow(analysis, seed, ordinary, ordinary) is not None for seed in range(runs))
    assert at_least(alarms, runs, analysis.risk) > 0.001, f"{alarms} false alarms in {runs} runs"


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_a_canary_that_is_plainly_worse_is_caught_early(share):
    """One call in five fails instead of one in a hundred: the first or the second look sees it."""

    def failing(rate):
        return lambda random: (Outcome.CRASHED if random.random() < rate else Outcome.OK, 0.001)

    for seed in range(20):
        verdict = follow(Analysis(steps=(share,), interval=0.0), seed, failing(0.2), failing(0.01))
        assert verdict is not None
        assert verdict.look <= 2, verdict.reason


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_canary_that_is_plainly_slower_is_caught(share):
    """Three times as slow, among durations that scatter, is found within one step."""

    def taking(seconds):
        return lambda random: (Outcome.OK, seconds * random.lognormvariate(0.0, 0.3))

    for seed in range(10):
        verdict = follow(Analysis(steps=(share,), interval=0.0), seed, taking(0.06), taking(0.02))
        assert verdict is not None
        assert "p95" in verdict.reason
