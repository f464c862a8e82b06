"""What is collected of one version while it is compared: counts of outcomes, and a histogram of durations.

The histogram's buckets grow by a constant factor, so that a percentile read from it is right to about one per cent at
any magnitude, in bounded memory, and two histograms can be subtracted (the idea of DDSketch: C. Masson, J. E. Rim and
H. K. Lee, VLDB 2019).
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from operator import add
from types import MappingProxyType
from typing import Any, Final

import attrs

from jackfield.errors import Outcome
from jackfield.model.call import Call

_PER_DOUBLING: Final = 32
_BOUNDS: Final = tuple(2.0 ** (i / _PER_DOUBLING) for i in range(-20 * _PER_DOUBLING, 17 * _PER_DOUBLING + 1))
"""Upper bounds in seconds: 2.2 % apart, from a microsecond to a day and a half."""

_SPEAKING: Final = frozenset(
    {
        Outcome.OK,
        Outcome.REJECTED,
        Outcome.RESOURCE_EXHAUSTED,
        Outcome.DEADLINE_EXCEEDED,
        Outcome.UNAVAILABLE,
        Outcome.CRASHED,
    }
)
_ASKED: Final = frozenset({"asked", "header"})


def _total(sample: "Sample") -> int:
    return sum(sample.buckets)


@attrs.frozen
class Sample:
    """What a tally had counted at one moment.

    Attributes:
        counts: how many calls ended in each outcome; all of them.
        buckets: how many of the timed calls fell into each bucket of duration.
        timed: how many calls were timed: those that say something of the version. A call that never reached it
            (payload, permission) or that its caller gave up does not.
    """

    counts: Mapping[Outcome, int]
    buckets: tuple[int, ...]
    timed: int = attrs.field(init=False, default=attrs.Factory(_total, takes_self=True))

    def since(self, earlier: "Sample") -> "Sample":
        """Give what came after an earlier sample of the same tally."""
        return Sample(
            MappingProxyType({outcome: count - earlier.counts[outcome] for outcome, count in self.counts.items()}),
            tuple(now - then for now, then in zip(self.buckets, earlier.buckets, strict=True)),
        )

    def together(self, other: "Sample") -> "Sample":
        """Add up what two tallies had counted."""
        return Sample(
            MappingProxyType({outcome: count + other.counts[outcome] for outcome, count in self.counts.items()}),
            tuple(map(add, self.buckets, other.buckets)),
        )

    def plain(self) -> dict[str, Any]:
        """Give it as plain data: what is not zero."""
        counts = {str(outcome): count for outcome, count in self.counts.items() if count}
        return {"counts": counts, "buckets": {place: count for place, count in enumerate(self.buckets) if count}}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Sample":
        """Make it again of what `plain` gave.

        Raises:
            ValueError: if it is no such data.
        """
        try:
            counts, buckets = dict.fromkeys(Outcome, 0), [0] * (len(_BOUNDS) + 1)
            for outcome, count in plain["counts"].items():
                counts[Outcome(outcome)] = _count(count)
            for place, count in plain["buckets"].items():
                buckets[_count(place)] = _count(count)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"it is damaged: {error}") from error
        return cls(MappingProxyType(counts), tuple(buckets))

    def count(self, outcomes: Iterable[Outcome]) -> int:
        """Add up the calls that ended in one of the outcomes."""
        return sum(self.counts[outcome] for outcome in outcomes)

    def calls(self, errors: frozenset[Outcome]) -> int:
        """Count the calls that say something of the version; what counts as an error does in any case.

        Args:
            errors: the outcomes that count as errors.
        """
        return self.count(_SPEAKING | errors)

    def bounds(self, rank: int) -> tuple[float, float]:
        """Give the seconds between which the timed call of that rank lies, counted from the fastest, from 1.

        Args:
            rank: from 1 to `timed`.

        Raises:
            ValueError: if there is no such call.
        """
        if not 1 <= rank <= self.timed:
            raise ValueError(f"rank {rank} is not one of the {self.timed} timed calls")
        index = bisect_left(list(accumulate(self.buckets)), rank)
        return _BOUNDS[index - 1] if index else 0.0, _BOUNDS[index] if index < len(_BOUNDS) else float("inf")

    def percentile(self, part: float) -> float | None:
        """Give a percentile of the durations, within about one per cent.

        Args:
            part: 0.95 for the 95th.

        Returns:
            Seconds, or None when no call was timed.
        """
        if not self.timed:
            return None
        low, high = self.bounds(max(1, -int(-part * self.timed // 1)))
        return (low + high) / 2 if high < float("inf") else low


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"it is damaged: {value!r} is no count")
    return value


class Tally:
    """Counts the calls of one version while it is compared; itself the bound observer of that version.

    A call that asked for its version (`version=`, `x-version`) is left out: it was not drawn, and who asks for the new
    version is not like everybody else.

    Examples:
        >>> tally = Tally()
        >>> for milliseconds in range(1, 101):
        ...     tally.add(Outcome.OK, milliseconds / 1000)
        >>> tally.add(Outcome.CRASHED, 0.001)
        >>> sample = tally.take()
        >>> sample.counts[Outcome.CRASHED], sample.timed, round(sample.percentile(0.95), 3)
        (1, 101, 0.095)
    """

    __slots__ = ("_buckets", "_counts", "_elsewhere", "_lock")

    def __init__(self) -> None:
        # Re-entrant: a signal handler or a finaliser that makes a call may interrupt the holder in its own thread.
        self._lock = threading.RLock()
        self._counts = dict.fromkeys(Outcome, 0)
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._elsewhere: dict[str, Sample] = {}

    def add(self, outcome: Outcome, duration: float) -> None:
        """Count one call. Safe from any thread.

        Args:
            outcome: how it ended.
            duration: how long it took, in seconds.
        """
        bucket = bisect_left(_BOUNDS, duration)
        with self._lock:
            self._counts[outcome] += 1
            if outcome in _SPEAKING:
                self._buckets[bucket] += 1

    def here(self) -> Sample:
        """Copy the counts of this moment; counting goes on."""
        with self._lock:
            counts, buckets = dict(self._counts), tuple(self._buckets)
        return Sample(MappingProxyType(counts), buckets)

    def hear(self, who: str, sample: Sample) -> None:
        """Take note of what another tally of the same version has counted by now; it is kept when that one is gone.

        Args:
            who: names that one.
            sample: all that it has counted.
        """
        with self._lock:
            self._elsewhere[who] = sample

    def take(self) -> Sample:
        """Give the counts of this moment, here and elsewhere."""
        found = self.here()
        with self._lock:
            elsewhere = tuple(self._elsewhere.values())
        for sample in elsewhere:
            found = found.together(sample)
        return found

    def start(self, call: Call) -> None:
        """See a call begin: nothing to do."""

    def finish(self, state: object, call: Call, outcome: Outcome, error: BaseException | None, duration: float) -> None:  # noqa: ARG002  # the observer's protocol
        """Count a call that ended, unless it asked for its version."""
        if call.rule not in _ASKED:
            self.add(outcome, duration)

    def close(self) -> None:
        """Release nothing: a tally refers to nothing outside itself."""
