"""Judging a canary: one look is a pure function of two samples; a trial knows which look is due."""

from collections.abc import Callable
from enum import StrEnum
from time import monotonic

import attrs

from jackfield.rollout.exact import error_rate_at_most, excess, rank
from jackfield.rollout.settings import SLOW, Analysis
from jackfield.rollout.tally import Sample, Tally


class Decision(StrEnum):
    """What a look at a canary came to."""

    HOLD = "hold"
    PASS = "pass"  # noqa: S105  # not a password
    FAIL = "fail"


@attrs.frozen
class Figures:
    """What one version did since the step began.

    Attributes:
        calls: how many of its calls say something of it.
        errors: how many of them count as errors.
        p95: the measured 95th percentile of its durations in seconds; None without calls.
    """

    calls: int
    errors: int
    p95: float | None

    @property
    def error_rate(self) -> float:
        """The part of the calls that count as errors; 0.0 without calls."""
        return self.errors / self.calls if self.calls else 0.0


@attrs.frozen(kw_only=True)
class Verdict:
    """What a look came to, and why.

    Attributes:
        decision: hold (no look was due), pass (this look found nothing), fail (roll back).
        reason: for people: what was found or is waited for.
        canary: the version under trial.
        stable: the version beside it.
        p_value: how likely so many of the errors would be the canary's by chance; None when nothing was judged.
        p95_at_least: seconds that the canary's true p95 is not below, but for chance; None when latency was not
            compared.
        p95_allowed: seconds that it may not exceed; None likewise.
        step: which step of the plan, from 1.
        share: the share of that step; None for a plan without steps.
        look: how many looks of this step have been taken, this one included.
        step_passed: whether it was the last look of the step and found nothing: go on, or promote.
    """

    decision: Decision
    reason: str
    canary: Figures
    stable: Figures
    p_value: float | None = None
    p95_at_least: float | None = None
    p95_allowed: float | None = None
    step: int = 1
    share: float | None = None
    look: int = 0
    step_passed: bool = False


def judge(analysis: Analysis, canary: Sample, stable: Sample) -> Verdict:
    """Take one look: compare what two versions did in the same time.

    Each look that is taken costs a part of the risk. So take those that were planned and no others; `Trial` does.

    Args:
        analysis: what counts as worse, at what risk.
        canary: what the version under trial did.
        stable: what the stable version did.

    Returns:
        Fail or pass; hold when either has fewer calls than one look needs.
    """
    ours, theirs = figures(analysis, canary), figures(analysis, stable)
    fewest = min(ours.calls, theirs.calls)
    if fewest < analysis.samples:
        reason = f"{fewest} of the {analysis.samples} calls that each version needs for a look"
        return Verdict(decision=Decision.HOLD, reason=reason, canary=ours, stable=theirs)
    allowed = analysis.risk_of_a_test
    p_value = excess(ours.errors, ours.calls, theirs.errors, theirs.calls)
    found = []
    if p_value <= allowed and ours.error_rate - theirs.error_rate > analysis.error_margin:
        found.append(
            f"{ours.errors} errors in {ours.calls} calls ({ours.error_rate:.3%}), the stable version"
            f" {theirs.errors} in {theirs.calls} ({theirs.error_rate:.3%}); chance alone gives that with"
            f" p = {p_value:.2g}, allowed is {allowed:.2g}"
        )
    latency = _latency(analysis, canary, stable)
    if latency is not None and latency[0] > latency[1]:
        found.append(
            f"p95 {_seconds(ours.p95)}, not below {_seconds(latency[0])} but for chance, the stable version's"
            f" {_seconds(theirs.p95)}; allowed is {_seconds(latency[1])}"
        )
    proven = error_rate_at_most(ours.errors, ours.calls)
    nothing = (
        f"nothing found: {ours.errors} errors in {ours.calls} calls prove a rate of at most {proven:.3%}"
        f" with 95 % confidence; p95 {_seconds(ours.p95)}, the stable version's {_seconds(theirs.p95)}"
    )
    return Verdict(
        decision=Decision.FAIL if found else Decision.PASS,
        reason="; ".join(found) or nothing,
        canary=ours,
        stable=theirs,
        p_value=p_value,
        p95_at_least=latency and latency[0],
        p95_allowed=latency and latency[1],
    )


def figures(analysis: Analysis, sample: Sample) -> Figures:
    """Reduce a sample to the figures that people read."""
    return Figures(sample.calls(analysis.outcomes), sample.count(analysis.outcomes), sample.percentile(1.0 - SLOW))


def _latency(analysis: Analysis, canary: Sample, stable: Sample) -> tuple[float, float] | None:
    """Give the low estimate of the canary's p95, and the limit from the high estimate of the stable version's.

    None when latency is not compared, or there are too few calls for an estimate: the first looks may be that early.
    """
    if not analysis.compares_latency:
        return None
    risk = analysis.risk_of_a_test / 2  # one half for either estimate
    slowest, fastest = rank(canary.timed, SLOW, risk), rank(stable.timed, 1.0 - SLOW, risk)
    if slowest > canary.timed or fastest > stable.timed:
        return None
    at_least, at_most = canary.bounds(canary.timed - slowest + 1)[0], stable.bounds(fastest)[1]
    return at_least, max(at_most * analysis.latency_ratio, at_most + analysis.latency_floor)


def _seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value * 1000:.3g} ms" if value < 1.0 else f"{value:.3g} s"


class Trial:
    """The way of one canary through the steps and looks of its analysis.

    Call `look` as often as you like: it judges only when a planned look is due. For one thread at a time.

    Args:
        analysis: the plan.
        canary: counts the calls of the version under trial.
        stable: counts the calls of the version beside it, in the same time.
        clock: monotonic seconds.

    Attributes:
        analysis: the plan.
        step: the current step, from 1.
    """

    def __init__(
        self, analysis: Analysis, canary: Tally, stable: Tally, clock: Callable[[], float] = monotonic
    ) -> None:
        self.analysis = analysis
        self.step = 1
        self._canary = canary
        self._stable = stable
        self._clock = clock
        self._failed: Verdict | None = None
        self._begin()

    @property
    def share(self) -> float | None:
        """The share that the current step wants; None for a plan without steps."""
        return self.analysis.steps[self.step - 1] if self.analysis.steps else None

    @property
    def next_share(self) -> float | None:
        """The share of the step after this one; None when the canary is to be promoted instead."""
        return self.analysis.steps[self.step] if self.step < len(self.analysis.steps) else None

    def look(self) -> Verdict:
        """Take the next planned look if it is due.

        Returns:
            Hold when none is; after a failure the same verdict again.
        """
        if self._failed is not None:
            return self._failed
        canary, stable = self._canary.take().since(self._from[0]), self._stable.take().since(self._from[1])
        ours, theirs = figures(self.analysis, canary), figures(self.analysis, stable)
        waiting = self._waiting(min(ours.calls, theirs.calls))
        if waiting:
            verdict = Verdict(decision=Decision.HOLD, reason=waiting, canary=ours, stable=theirs)
        else:
            verdict = judge(self.analysis, canary, stable)
            self._looks += 1
            self._not_before = self._clock() + self.analysis.interval
        passed = verdict.decision is Decision.PASS and self._looks == self.analysis.looks
        verdict = attrs.evolve(verdict, step=self.step, share=self.share, look=self._looks, step_passed=passed)
        if verdict.decision is Decision.FAIL:
            self._failed = verdict
        return verdict

    def take_over(self, share: float) -> None:
        """Begin a step anew that somebody else has judged until now.

        Args:
            share: that of the version under trial at this moment.
        """
        self.step = 1 + next((n for n, step in enumerate(self.analysis.steps) if step >= share), 0)
        self._begin()

    def advance(self) -> None:
        """Begin the next step, once the share has been changed: what came before no longer counts.

        Raises:
            ValueError: when the current step has not passed, or is the last.
        """
        if self._failed is not None or self._looks < self.analysis.looks or self.next_share is None:
            raise ValueError(f"step {self.step} of {self.analysis.stages} has not passed, or is the last")
        self.step += 1
        self._begin()

    def _begin(self) -> None:
        self._from = self._canary.take(), self._stable.take()
        self._looks = 0
        self._not_before = self._clock()

    def _waiting(self, fewest: int) -> str:
        """Say what the next look waits for; "" when it is due."""
        if self._looks == self.analysis.looks:
            return f"step {self.step} of {self.analysis.stages} has passed all its looks"
        wanted = self.analysis.samples_for(self._looks + 1)
        which = f"look {self._looks + 1} of {self.analysis.looks}"
        if fewest < wanted:
            return f"{which} waits for calls: the version with fewer has {fewest} of {wanted}"
        left = self._not_before - self._clock()
        return f"{which} is due in {left:.0f} s" if left > 0 else ""
