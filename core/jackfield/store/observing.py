"""Which leases have ended, as far as this process can tell: those whose renewals it has not seen for their time."""

import threading
from collections.abc import Iterable

import attrs


@attrs.define
class _Seen:
    ttl: float
    renewals: int
    since: float


class Observing:
    """What was seen of the leases of a store that several processes use, on this process's own clock.

    A lease that another process has begun counts from when it was first seen: its time before that nobody here knows.

    Examples:
        >>> observing = Observing()
        >>> observing.look([("a", 10.0, 0)], now=0.0)
        >>> observing.look([("a", 10.0, 1)], now=9.0)
        >>> observing.overdue(18.0), observing.overdue(19.0)
        ((), (('a', 1),))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def look(self, leases: Iterable[tuple[str, float, int]], now: float) -> None:
        """Take note of all that there are: id, time, renewals."""
        with self._lock:
            seen = {}
            for lease, ttl, renewals in leases:
                before = self._seen.get(lease)
                same = before is not None and before.renewals >= renewals
                seen[lease] = before if before is not None and same else _Seen(ttl, renewals, now)
            self._seen = seen

    def note(self, lease: str, ttl: float, renewals: int, now: float) -> None:
        """Take note of one that this process has begun or renewed."""
        with self._lock:
            self._seen[lease] = _Seen(ttl, renewals, now)

    def forget(self, lease: str) -> None:
        """Take note that one is over."""
        with self._lock:
            self._seen.pop(lease, None)

    def overdue(self, now: float) -> tuple[tuple[str, int], ...]:
        """Give those whose time is up, with the renewals that were seen; the earliest first."""
        with self._lock:
            due = [(seen.since + seen.ttl, lease, seen.renewals) for lease, seen in self._seen.items()]
        return tuple((lease, renewals) for ends, lease, renewals in sorted(due) if ends <= now)

    def next_end(self) -> float | None:
        """Give the moment at which the next one ends; None if there is none."""
        with self._lock:
            return min((seen.since + seen.ttl for seen in self._seen.values()), default=None)
