"""Canary analysis: the plan, what is collected, and the verdicts of a trial's looks."""

import math
import threading

import pytest

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.ports import BoundObserver
from jackfield.rollout import FAILURES, Analysis, Decision, Sample, Tally, Trial, judge
from jackfield.rollout.exact import error_rate_at_most


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def send(tally, calls, errors=0, duration=0.001, outcome=Outcome.CRASHED):
    for number in range(calls):
        tally.add(outcome if number < errors else Outcome.OK, duration)


def sample(calls, errors=0, duration=0.001, outcome=Outcome.CRASHED) -> Sample:
    tally = Tally()
    send(tally, calls, errors, duration, outcome)
    return tally.take()


def trial(clock=None, **plan):
    canary, stable = Tally(), Tally()
    plan = {"steps": (0.05, 0.5), "looks": 2, "samples": 100, "interval": 0.0, **plan}
    return Trial(Analysis(**plan), canary, stable, clock or Hand()), canary, stable


# The plan


def test_every_plan_that_cannot_be_carried_out_is_refused_with_the_reason():
    """The message names the field, what it must be and what it was."""
    for field, value, said in [
        ("risk", 0, "risk must be above 0 and below 1, not 0"),
        ("risk", math.nan, "not nan"),
        ("risk", "5%", "risk must be above 0 and below 1, not '5%'"),
        ("looks", 0, "looks must be a whole number from 1 to 20, not 0"),
        ("looks", 21, "not 21"),
        ("looks", 2.5, "not 2.5"),
        ("samples", True, "samples must be a whole number of calls from 1, not True"),
        ("interval", -1.0, "interval must be seconds, not negative and finite, not -1.0"),
        ("interval", math.inf, "not inf"),
        ("error_margin", 1.4, "error_margin must be a part of the calls, from 0 and below 1, not 1.4"),
        ("latency_ratio", 0.5, "latency_ratio must be a factor from 1, not 0.5"),
        ("latency_floor", None, "latency_floor must be seconds, not negative and finite, not None"),
        ("steps", (0.5, 0.2), "steps must be shares above 0 and below 1, ascending (20 % is 0.2), not (0.5, 0.2)"),
        ("steps", (0.5, 1.0), "not (0.5, 1.0)"),
        ("steps", 20, "not (20,)"),
        ("steps", ("0.2",), "not ('0.2',)"),
        ("outcomes", (), "outcomes must be some outcomes other than ok"),
        ("outcomes", {Outcome.OK, Outcome.CRASHED}, "other than ok"),
        ("outcomes", "crashed", "other than ok"),
        ("outcomes", 5, "other than ok"),
    ]:
        with pytest.raises(ValueError, match=r"^Analysis: ") as refused:
            Analysis(**{field: value})
        assert said in str(refused.value)


def test_all_that_is_wrong_with_a_plan_is_said_at_once():
    """Nobody mends a plan one error at a time."""
    with pytest.raises(ValueError, match=r"looks must .*; risk must .*; latency_ratio must "):
        Analysis(risk=2.0, looks=-1, latency_ratio=0.0)


def test_a_plan_too_short_to_bound_a_p95_is_refused_with_the_number_that_would_do():
    """A comparison that could never find anything is a mistake in the plan."""
    too_short = r"samples must be at least 135, not 134: .* see the 135 calls .* latency_ratio=math.inf"
    with pytest.raises(ValueError, match=too_short):
        Analysis(steps=(0.1,), looks=1, samples=134, risk=0.004)
    enough = Analysis(steps=(0.1,), looks=1, samples=135, risk=0.004)
    assert judge(enough, sample(135, duration=1.0), sample(135)).decision is Decision.FAIL
    Analysis(steps=(0.1,), looks=1, samples=1, risk=0.004, latency_ratio=math.inf)


def test_the_risk_is_divided_among_steps_looks_and_comparisons():
    """Their sum is the risk of the whole analysis; what is not compared takes none of it."""
    assert Analysis(steps=(0.1, 0.5), looks=5, risk=0.02).risk_of_a_test == pytest.approx(0.001)
    assert Analysis(steps=(0.1, 0.5), looks=5, risk=0.02, latency_ratio=math.inf).risk_of_a_test == pytest.approx(0.002)
    assert Analysis(steps=(), looks=5, risk=0.02).risk_of_a_test == pytest.approx(0.002)


def test_errors_are_what_makes_a_span_an_error():
    """What the caller did wrong or the function refused is none, unless the plan says so."""
    assert {
        Outcome.CRASHED,
        Outcome.DEADLINE_EXCEEDED,
        Outcome.UNAVAILABLE,
        Outcome.RESOURCE_EXHAUSTED,
    } == FAILURES
    assert Analysis(outcomes=[Outcome.CRASHED]).outcomes == {Outcome.CRASHED}


# What is collected


def test_a_tally_is_a_bound_observer():
    """It can be put among the observers of an endpoint."""
    tally = Tally()
    bound: BoundObserver = tally
    call = Call("f", version="2", rule="share")
    bound.finish(bound.start(call), call, Outcome.CRASHED, RuntimeError(), 0.5)
    bound.close()
    assert tally.take().counts[Outcome.CRASHED] == 1


def test_calls_that_asked_for_their_version_are_left_out():
    """They were not drawn: only the draw makes the two versions comparable."""
    tally = Tally()
    for rule in ("asked", "header", "share", "tenant", "set", ""):
        tally.finish(None, Call("f", rule=rule), Outcome.OK, None, 0.001)
    assert tally.take().timed == 4


def test_calls_that_say_nothing_of_the_version_are_counted_but_not_compared():
    """A refused payload takes no time: it would make any version look fast."""
    tally = Tally()
    for outcome in Outcome:
        tally.add(outcome, 0.001)
    taken = tally.take()
    assert dict.fromkeys(Outcome, 1) == taken.counts
    assert taken.calls(FAILURES) == taken.timed == 6
    assert taken.calls(FAILURES | {Outcome.INVALID_PAYLOAD}) == 7


def test_a_sample_stays_as_it_was_taken():
    """Counting goes on, what was taken does not move."""
    tally = Tally()
    send(tally, 3)
    taken = tally.take()
    send(tally, 4)
    assert taken.timed == taken.counts[Outcome.OK] == 3
    with pytest.raises(TypeError):
        taken.counts[Outcome.OK] = 5


@pytest.mark.parametrize("odd", [0.0, -1.0, 1e-12, 1e9, math.inf, math.nan])
def test_a_duration_that_cannot_be_is_counted_all_the_same(odd):
    """A clock that jumps harms no call."""
    taken = sample(1, duration=odd)
    assert taken.timed == 1
    assert taken.percentile(0.95) is not None


def test_a_percentile_of_nothing_is_none_and_a_rank_beyond_the_calls_is_refused():
    """Neither invents a number."""
    assert sample(0).percentile(0.95) is None
    for rank in (0, 4):
        with pytest.raises(ValueError, match=f"rank {rank} is not one of the 3 timed calls"):
            sample(3).bounds(rank)


def test_no_call_is_lost_when_many_threads_count():
    """The counts of eight threads add up, and every sample taken meanwhile is whole."""
    tally, threads, each = Tally(), 8, 5_000
    go = threading.Barrier(threads + 1)

    def count():
        go.wait()
        for _ in range(each):
            tally.add(Outcome.OK, 0.001)

    crew = [threading.Thread(target=count) for _ in range(threads)]
    for thread in crew:
        thread.start()
    go.wait()
    while any(thread.is_alive() for thread in crew):
        taken = tally.take()
        assert taken.timed == taken.counts[Outcome.OK]
    for thread in crew:
        thread.join()
    assert tally.take().timed == threads * each


# One look


def test_a_canary_with_more_errors_than_chance_allows_fails_with_the_figures():
    """The reason can be read without the figures, the figures without the reason."""
    verdict = judge(Analysis(), sample(100, errors=20), sample(1_900, errors=19))
    assert verdict.decision is Decision.FAIL
    assert "20 errors in 100 calls (20.000%), the stable version 19 in 1900 (1.000%)" in verdict.reason
    assert (verdict.canary.errors, verdict.canary.calls, verdict.canary.error_rate) == (20, 100, 0.2)
    assert verdict.stable.error_rate == 0.01
    assert verdict.p_value is not None
    assert verdict.p_value < Analysis().risk_of_a_test


def test_errors_that_both_versions_have_are_not_the_canarys():
    """A bad hour of the whole service rolls nothing back."""
    assert judge(Analysis(), sample(400, errors=200), sample(400, errors=200)).decision is Decision.PASS


def test_a_canary_with_fewer_errors_passes():
    """The test is one-sided: better is not worse."""
    assert judge(Analysis(), sample(400, errors=0), sample(400, errors=200)).decision is Decision.PASS


def test_a_difference_within_the_margin_is_tolerated_however_certain_it_is():
    """The margin says which difference matters, the test whether there is one."""
    canary, stable = sample(20_000, errors=400), sample(20_000, errors=200)
    assert judge(Analysis(), canary, stable).decision is Decision.FAIL
    assert judge(Analysis(error_margin=0.02), canary, stable).decision is Decision.PASS


def test_zero_failures_are_reported_as_what_they_prove():
    """None in a thousand proves 99.70 %, not 100 %; 99.999 % takes 299,572 calls."""
    verdict = judge(Analysis(), sample(1_000), sample(1_000))
    assert "0 errors in 1000 calls prove a rate of at most 0.299% with 95 % confidence" in verdict.reason
    assert error_rate_at_most(0, 299_572) <= 1e-5 < error_rate_at_most(0, 299_571)


def test_no_calls_at_all_hold():
    """A canary without data is neither promoted nor rolled back."""
    verdict = judge(Analysis(), sample(0), sample(0))
    assert verdict.decision is Decision.HOLD
    assert verdict.reason == "0 of the 50 calls that each version needs for a look"
    assert (verdict.canary.p95, verdict.canary.error_rate) == (None, 0.0)


@pytest.mark.parametrize(
    ("usual", "now", "decision"),
    [
        (0.020, 0.060, Decision.FAIL),
        (0.001, 0.004, Decision.PASS),  # four times as slow, but by three milliseconds only
        (1.000, 1.300, Decision.PASS),  # slower by 300 milliseconds, but by less than half
        (0.060, 0.020, Decision.PASS),
    ],
)
def test_slower_means_by_the_ratio_and_by_the_floor(usual, now, decision):
    """Neither a factor of almost nothing nor some milliseconds of a second count."""
    verdict = judge(Analysis(), sample(400, duration=now), sample(400, duration=usual))
    assert verdict.decision is decision
    assert verdict.canary.p95 == pytest.approx(now, rel=0.02)
    assert verdict.p95_allowed == pytest.approx(max(usual * 1.5, usual + 0.005), rel=0.03)


def test_one_slow_call_in_thirty_does_not_raise_the_p95():
    """Outliers below the percentile are not what it measures."""
    tally = Tally()
    send(tally, 970)
    send(tally, 30, duration=5.0)
    assert judge(Analysis(), tally.take(), sample(1_000)).decision is Decision.PASS


def test_two_slow_calls_too_many_are_chance():
    """Six slow calls in a hundred instead of four make the measured p95 fifty times higher, and fail nobody."""
    canary, stable = Tally(), Tally()
    for tally, slow in ((canary, 12), (stable, 8)):
        send(tally, 200 - slow)
        send(tally, slow, duration=0.05)
    verdict = judge(Analysis(), canary.take(), stable.take())
    assert verdict.canary.p95 == pytest.approx(0.05, rel=0.02)
    assert verdict.stable.p95 == pytest.approx(0.001, rel=0.02)
    assert verdict.decision is Decision.PASS


def test_latency_can_be_left_out():
    """An infinite ratio compares nothing, and says so by giving no bounds."""
    verdict = judge(Analysis(latency_ratio=math.inf), sample(400, duration=9.0), sample(400))
    assert verdict.decision is Decision.PASS
    assert (verdict.p95_at_least, verdict.p95_allowed) == (None, None)


def test_too_few_calls_for_a_p95_leave_the_errors_to_be_compared():
    """An early look judges what it can."""
    verdict = judge(Analysis(), sample(50, duration=9.0), sample(50))
    assert verdict.decision is Decision.PASS
    assert verdict.p95_at_least is None
    assert judge(Analysis(), sample(50, errors=50), sample(50)).decision is Decision.FAIL


def test_both_findings_are_told():
    """Slower and failing more often: one reason holds both."""
    verdict = judge(Analysis(), sample(400, errors=200, duration=9.0), sample(400))
    assert "200 errors" in verdict.reason
    assert "p95 9" in verdict.reason


def test_a_contract_that_refuses_what_was_accepted_fails_where_asked():
    """With invalid payloads among the outcomes, a version that nobody can call any more is rolled back."""
    canary, stable = sample(400, errors=400, outcome=Outcome.INVALID_PAYLOAD), sample(400)
    assert judge(Analysis(), canary, stable).decision is Decision.HOLD
    asked = Analysis(outcomes=FAILURES | {Outcome.INVALID_PAYLOAD})
    assert judge(asked, canary, stable).decision is Decision.FAIL


# A trial


def test_a_good_canary_goes_through_every_look_of_every_step():
    """Each look needs twice the calls of the one before, of each version, since the step began."""
    under, canary, stable = trial()
    seen = []
    for step_end in (False, True):
        for wanted in (100, 200):
            send(canary, 100 if wanted == 100 else 99)
            send(stable, 100)
            if wanted == 200:
                waiting = under.look()
                assert waiting.decision is Decision.HOLD
                assert waiting.reason == "look 2 of 2 waits for calls: the version with fewer has 199 of 200"
                send(canary, 1)
            verdict = under.look()
            assert verdict.decision is Decision.PASS
            seen.append((verdict.step, verdict.share, verdict.look, verdict.step_passed, verdict.canary.calls))
        assert under.next_share == (None if step_end else 0.5)
        if not step_end:
            under.advance()
    assert seen == [
        (1, 0.05, 1, False, 100),
        (1, 0.05, 2, True, 200),
        (2, 0.5, 1, False, 100),
        (2, 0.5, 2, True, 200),
    ]


def test_a_look_is_taken_once_however_often_it_is_asked_for():
    """Looking again at the same calls would take risk that was not planned."""
    under, canary, stable = trial()
    send(canary, 150)
    send(stable, 150)
    assert [under.look().decision for _ in range(3)] == [Decision.PASS, Decision.HOLD, Decision.HOLD]


def test_looks_keep_their_interval_but_the_first_does_not_wait():
    """What is plainly broken is rolled back at once; a promotion takes its time however busy the function is."""
    clock = Hand()
    under, canary, stable = trial(clock, interval=30.0)
    send(canary, 10_000)
    send(stable, 10_000)
    assert under.look().decision is Decision.PASS
    clock.now += 20
    waiting = under.look()
    assert (waiting.decision, waiting.reason) == (Decision.HOLD, "look 2 of 2 is due in 10 s")
    clock.now += 10
    assert under.look().step_passed


def test_a_step_that_has_passed_holds_until_it_is_followed():
    """Further looks were not planned; the verdict that allows the next step is given once."""
    under, canary, stable = trial()
    send(canary, 200)
    send(stable, 200)
    assert [under.look().step_passed for _ in range(3)] == [False, True, False]
    assert under.look().reason == "step 1 of 2 has passed all its looks"


def test_what_came_before_a_step_does_not_count_in_it():
    """Neither does what came before the trial."""
    canary, stable = Tally(), Tally()
    send(canary, 500, errors=500)
    send(stable, 500)
    under = Trial(Analysis(steps=(0.1, 0.5), looks=1, samples=200, interval=0.0), canary, stable, Hand())
    send(canary, 200)
    send(stable, 200)
    assert under.look().step_passed
    send(canary, 500, errors=500)  # between the verdict and the change of the share
    under.advance()
    held = under.look()
    assert (held.decision, held.canary.calls, held.step) == (Decision.HOLD, 0, 2)


def test_a_failure_is_final():
    """Whatever comes after it: the calls that failed are not undone by better ones."""
    under, canary, stable = trial()
    send(canary, 100, errors=50)
    send(stable, 100)
    failed = under.look()
    assert (failed.decision, failed.step, failed.look, failed.share) == (Decision.FAIL, 1, 1, 0.05)
    send(canary, 10_000)
    send(stable, 10_000)
    assert under.look() is failed
    with pytest.raises(ValueError, match="has not passed"):
        under.advance()


def test_a_step_is_not_left_before_its_looks():
    """Nor is there one after the last."""
    under, canary, stable = trial(steps=(0.2,))
    with pytest.raises(ValueError, match="step 1 of 1 has not passed, or is the last"):
        under.advance()
    send(canary, 200)
    send(stable, 200)
    under.look()
    assert under.look().step_passed
    with pytest.raises(ValueError, match="or is the last"):
        under.advance()


def test_a_plan_without_steps_judges_the_share_as_it_is():
    """A canary of chosen tenants has no share to be raised."""
    under, canary, stable = trial(steps=())
    send(canary, 200)
    send(stable, 200)
    assert (under.share, under.next_share) == (None, None)
    under.look()
    assert under.look().step_passed
