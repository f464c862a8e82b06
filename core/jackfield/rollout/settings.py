"""What the user states of an analysis: how far, how often, at what risk, and what counts as worse."""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Final

import attrs

from jackfield.errors import OUTCOMES, Outcome

FAILURES: Final = frozenset(outcome for outcome, row in OUTCOMES.items() if row.span_error)
"""The outcomes that count as errors unless told otherwise: those whose span is an error."""

SLOW: Final = 0.05
"""The part of the calls above the percentile that latency is compared at."""

MOST_LOOKS: Final = 20
"""Each look wants twice the calls of the one before: a twentieth wants half a million times those of the first."""


def _shares(values: Iterable[float] | Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Iterable) else (values,)


def _outcomes(values: Iterable[Outcome] | Any) -> frozenset[Outcome]:
    return frozenset(values) if isinstance(values, Iterable) else frozenset({values})


@attrs.frozen(kw_only=True)
class Analysis:
    """How a canary is judged, promoted in steps, and rolled back; without one it moves nothing by itself.

    Attributes:
        steps: the shares that the canary goes through, ascending, each between 0 and 1; after the last it is promoted.
            An empty plan judges the canary at the share, or with the tenants, that it has.
        looks: how many times it is judged at each step.
        samples: how many calls *each* version must have had, at this step, for the first look; for each further look
            twice as many as for the one before, so that what is plainly broken is found early and what is slightly
            worse at all. With fewer the canary holds.
        interval: seconds between two looks of a step, at least. The first is due as soon as the samples are there.
        risk: the probability that a canary which is no worse is rolled back, over all steps and looks.
        error_margin: by how much the canary's rate of errors may exceed the stable version's: 0.01 is one call in a
            hundred. A difference counts when it is beyond the margin and beyond chance.
        latency_ratio: by what factor the canary's p95 must exceed the stable version's to count as slower;
            `math.inf` compares no latency.
        latency_floor: by how many seconds it must exceed it as well: between microseconds no factor matters.
        outcomes: what counts as an error. By default crashed, deadline exceeded, unavailable and resource exhausted.
            Add `Outcome.INVALID_PAYLOAD` when the new version's contract is on trial too: callers' own mistakes then
            count alike against both versions.

    Raises:
        ValueError: if the plan cannot be carried out; says all that is wrong with it.

    Examples:
        >>> Analysis(steps=(0.05, 0.5), looks=5, risk=0.02).risk_of_a_test
        0.001
        >>> Analysis(steps=(5, 20))
        Traceback (most recent call last):
        ...
        ValueError: Analysis: steps must be shares above 0 and below 1, ascending (20 % is 0.2), not (5, 20)
    """

    steps: tuple[float, ...] = attrs.field(default=(0.05, 0.2, 0.5), converter=_shares)
    looks: int = 4
    samples: int = 50
    interval: float = 60.0
    risk: float = 0.05
    error_margin: float = 0.0
    latency_ratio: float = 1.5
    latency_floor: float = 0.005
    outcomes: frozenset[Outcome] = attrs.field(default=FAILURES, converter=_outcomes)

    def __attrs_post_init__(self) -> None:
        """Check the plan."""
        problems = [
            f"{name} must be {wanted}, not {getattr(self, name)!r}"
            for name, wanted, holds in _RULES
            if not _holds(holds, getattr(self, name))
        ]
        if not problems and self.compares_latency:
            needed = math.ceil(math.log(self.risk_of_a_test / 2) / math.log1p(-SLOW))
            if self.samples_for(self.looks) < needed:
                least = -(-needed >> (self.looks - 1))
                problems.append(
                    f"samples must be at least {least}, not {self.samples}: the last of {self.looks} looks must see the"
                    f" {needed} calls that bound a p95 at this risk (or latency_ratio=math.inf)"
                )
        if problems:
            raise ValueError(f"Analysis: {'; '.join(problems)}")

    @property
    def stages(self) -> int:
        """How many steps there are: one when the share stays as it is."""
        return max(1, len(self.steps))

    def samples_for(self, look: int) -> int:
        """Give the calls that each version must have had for a look of a step.

        Args:
            look: from 1.
        """
        return self.samples << (look - 1)

    @property
    def compares_latency(self) -> bool:
        """Whether latency is compared at all."""
        return self.latency_ratio < math.inf

    @property
    def risk_of_a_test(self) -> float:
        """The risk that each single comparison may take."""
        return self.risk / (self.stages * self.looks * (2 if self.compares_latency else 1))


def _holds(rule: Callable[[Any], bool], value: object) -> bool:
    """Apply a rule; what cannot even be compared does not hold."""
    try:
        return rule(value)
    except TypeError:
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_few(value: object) -> bool:
    return _is_count(value) and value in range(1, MOST_LOOKS + 1)


_RULES: Final[tuple[tuple[str, str, Callable[[Any], bool]], ...]] = (
    ("looks", f"a whole number from 1 to {MOST_LOOKS}", _is_few),
    ("samples", "a whole number of calls from 1", _is_count),
    ("interval", "seconds, not negative and finite", lambda it: 0.0 <= it < math.inf),
    ("risk", "above 0 and below 1", lambda it: 0.0 < it < 1.0),
    ("error_margin", "a part of the calls, from 0 and below 1", lambda it: 0.0 <= it < 1.0),
    ("latency_ratio", "a factor from 1", lambda it: it >= 1.0),
    ("latency_floor", "seconds, not negative and finite", lambda it: 0.0 <= it < math.inf),
    (
        "steps",
        "shares above 0 and below 1, ascending (20 % is 0.2)",
        lambda it: all(0.0 < share < 1.0 for share in it) and all(low < high for low, high in pairwise(it)),
    ),
    ("outcomes", "some outcomes other than ok", lambda it: bool(it) and it <= frozenset(Outcome) - {Outcome.OK}),
)
