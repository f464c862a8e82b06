"""How many calls may be inside at once, found out by what they make one another wait.

The idea is that of TCP Vegas (L. Brakmo and L. Peterson, 1995), as gradient limits use it for servers: while calls take
as long as they take alone, more of them may come; when they take longer, so many are too many. What they take alone may
change, too: so now and then a quarter of them is let in for a moment (as BBR looks for the round trip: N. Cardwell et
al., 2016). Where that makes them no quicker, they are not what makes one another slow.
"""

from math import ceil, sqrt
from typing import Final

WINDOW: Final = 16
"""How many calls one look is made of."""

_TOLERATED: Final = 1.5  # as much longer than alone nobody is troubled
_SMOOTH: Final = 0.3  # how much of each look counts
_PROBE_EVERY: Final = 40  # looks at calls that are slow, at least
_PROBE_AFTER: Final = 5.0  # and seconds of them: while it looks, less is done
_NO_QUICKER: Final = 0.8


class Gradient:
    """An adaptive limit. For one thread at a time.

    Args:
        first: the limit to begin with.
        least: what it never falls below.
        most: what it never exceeds.
        alone: what they take alone, where that is known; else it is found out.

    Attributes:
        limit: how many may be inside now.
    """

    __slots__ = ("_alone", "_known", "_least", "_most", "_probing", "_slow", "_slow_for", "_usual", "limit")

    def __init__(
        self, first: float = 8.0, least: float = 2.0, most: float = 1000.0, alone: float | None = None
    ) -> None:
        self.limit, self._least, self._most = first, least, most
        self._alone, self._known = alone or 0.0, alone is not None
        self._slow, self._slow_for = 0, 0.0  # looks at slow calls since the last probe, and about how long these took
        self._probing = 0  # looks that this probe has left
        self._usual = (first, 0.0)  # the limit and the mean before it

    def saw(self, mean: float, *, full: bool) -> float:
        """Take note of some calls that have ended.

        Args:
            mean: seconds that they took, without what they waited before.
            full: whether as many as half of the limit have been inside with them: fewer tell nothing of more.

        Returns:
            How much longer than alone they took, as a factor; 1.0 while that is not known.
        """
        if not self._known:
            self._learn(mean, few=not full and not self._probing)
        if self._probing:
            self._probe(mean)
        elif full and mean > 0.0:
            self._adapt(mean)
        return mean / self._alone if self._alone else 1.0

    def _learn(self, mean: float, *, few: bool) -> None:
        """Find out what they take alone: the least that was seen, or what they take while so few are inside."""
        if not self._alone or mean < self._alone:
            self._alone = mean
        elif few:
            self._alone += (mean - self._alone) * _SMOOTH

    def _adapt(self, mean: float) -> None:
        slope = max(0.5, min(1.0, _TOLERATED * self._alone / mean))
        wanted = self.limit * slope + sqrt(self.limit)
        self._set(self.limit + (wanted - self.limit) * _SMOOTH)
        if slope == 1.0 or self._known:
            return
        self._slow += 1
        self._slow_for += mean * WINDOW / self.limit
        if self._slow >= _PROBE_EVERY and self._slow_for >= _PROBE_AFTER:
            self._slow, self._slow_for, self._usual = 0, 0.0, (self.limit, mean)
            self._probing = ceil(self.limit / WINDOW) + 1
            self._set(self.limit / 4)

    def _probe(self, mean: float) -> None:
        """Look at a quarter of them. Only the last look counts: in those before it end those that began among all."""
        self._probing -= 1
        if not self._probing:
            limit, before = self._usual
            self._set(limit)
            if mean >= before * _NO_QUICKER:
                self._alone = mean

    def _set(self, limit: float) -> None:
        self.limit = max(self._least, min(self._most, limit))
