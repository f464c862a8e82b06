"""Quotas of calls a second."""


class Bucket:
    """A token bucket: so many calls a second, and as many at once after a rest.

    Args:
        rate: calls a second; above 0.
        now: monotonic seconds.
        most: how many at once after a rest; by default as many as in a second.

    Examples:
        >>> bucket = Bucket(2.0, now=0.0)
        >>> [bucket.take(now=0.0) for _ in range(3)]
        [0.0, 0.0, 0.5]
        >>> bucket.take(now=0.5)
        0.0
    """

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, now: float, most: float | None = None) -> None:
        self._rate, self._most = rate, max(rate if most is None else most, 1.0)
        self._left, self._at = self._most, now

    def change(self, rate: float, now: float) -> None:
        """Go on at another rate; what is left of the burst stays, as far as it is not more than a burst is now.

        Args:
            rate: as above, and so many at once.
            now: monotonic seconds.
        """
        self._left = min(self._most, self._left + max(now - self._at, 0.0) * self._rate, max(rate, 1.0))
        self._rate, self._most, self._at = rate, max(rate, 1.0), now

    def take(self, now: float) -> float:
        """Take one call.

        Args:
            now: monotonic seconds.

        Returns:
            0.0; or, when there is none to be had, the seconds until there is one.
        """
        self._left = min(self._most, self._left + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._rate
