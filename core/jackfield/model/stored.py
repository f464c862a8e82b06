"""What is counted of a host's store: how long it takes, what fails, and what is read without it."""

from collections.abc import Mapping
from typing import Final

import attrs

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Seconds; the upper bounds of the buckets of both histograms."""


@attrs.frozen
class Durations:
    """How often something took how long.

    Attributes:
        counts: for each of `BOUNDS`, how many came to at most that, and to more than the one before.
        seconds: all together.
    """

    counts: tuple[int, ...] = (0,) * len(BOUNDS)
    seconds: float = 0.0

    def __add__(self, other: "Durations") -> "Durations":
        """Give both together."""
        counts = tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Durations(counts, self.seconds + other.seconds)

    @property
    def count(self) -> int:
        """How often that was."""
        return sum(self.counts)

    def within(self, share: float) -> float:
        """Give the least of `BOUNDS` that at least this share of them came to at most; 0.0 if there are none.

        Examples:
            >>> Durations((98, 0, 0, 2, *[0] * 11), 0.1).within(0.99)
            0.005
        """
        wanted, found = share * self.count, 0
        for bound, count in zip(BOUNDS, self.counts, strict=True):
            found += count
            if count and found >= wanted:
                return bound
        return 0.0

    def __sub__(self, earlier: "Durations") -> "Durations":
        """Give what has come since."""
        counts = tuple(mine - theirs for mine, theirs in zip(self.counts, earlier.counts, strict=True))
        return Durations(counts, max(self.seconds - earlier.seconds, 0.0))


@attrs.frozen
class StoreCounts:
    """What one host knows of its store at one moment.

    Attributes:
        taken: operation → how long it took, be it in vain.
        failed: operation → how often it failed; a conflict is no failure.
        cached: by how much reads were behind that were served without the store.
        slow: whether that happens now.
    """

    taken: Mapping[str, Durations] = attrs.field(factory=dict)
    failed: Mapping[str, int] = attrs.field(factory=dict)
    cached: Durations = attrs.field(factory=Durations)
    slow: bool = False
