"""The leases of a store in memory: when each ends, and which keys go with it."""

import math
import os

import attrs

from jackfield.errors import LeaseEnded


@attrs.define
class _Granted:
    ttl: float
    ends: float
    keys: set[str] = attrs.field(factory=set)


class Leases:
    """A table of leases on one clock. Its owner locks it, and deletes the keys of those that have ended.

    Examples:
        >>> leases = Leases()
        >>> lease = leases.grant(10.0, now=0.0)
        >>> leases.attach("hosts/blue-1/claim", lease, 10.0)
        >>> leases.renew(lease, 10.0, now=9.0)
        >>> leases.overdue(now=18.0), leases.overdue(now=19.0) == (lease,)
        ((), True)
    """

    def __init__(self) -> None:
        self._granted: dict[str, _Granted] = {}
        self._holder: dict[str, str] = {}  # key → lease

    def grant(self, ttl: float, now: float) -> str:
        """Begin a lease and give its id.

        Args:
            ttl: seconds.
            now: on the store's clock.

        Raises:
            ValueError: if the time is not a positive number.
        """
        if not 0.0 < ttl < math.inf:
            raise ValueError(f"a lease lives for a positive number of seconds, not {ttl!r}")
        lease = os.urandom(16).hex()
        self._granted[lease] = _Granted(ttl, now + ttl)
        return lease

    def renew(self, lease: str, ttl: float, now: float) -> None:
        """Begin a lease's time anew.

        Args:
            lease: its id.
            ttl: its time, for the error.
            now: on the store's clock.

        Raises:
            LeaseEnded: if it is over.
        """
        self._of(lease, ttl).ends = now + ttl

    def attach(self, key: str, lease: str, ttl: float) -> None:
        """Let a key go with a lease, and with no other; arguments and errors as for `renew`."""
        granted = self._of(lease, ttl)
        self.detach(key)
        granted.keys.add(key)
        self._holder[key] = lease

    def detach(self, key: str) -> None:
        """Let a key go with no lease."""
        lease = self._holder.pop(key, None)
        if lease is not None:
            self._granted[lease].keys.discard(key)

    def end(self, lease: str) -> tuple[str, ...]:
        """Forget a lease; give its keys, sorted, none if it was over already."""
        granted = self._granted.pop(lease, None)
        if granted is None:
            return ()
        for key in granted.keys:
            del self._holder[key]
        return tuple(sorted(granted.keys))

    def overdue(self, now: float) -> tuple[str, ...]:
        """Give the leases whose time is up, the earliest first."""
        due = [(granted.ends, lease) for lease, granted in self._granted.items() if granted.ends <= now]
        return tuple(lease for _, lease in sorted(due))

    def next_end(self) -> float | None:
        """Give the moment at which the next lease with keys ends; None if there is none."""
        return min((granted.ends for granted in self._granted.values() if granted.keys), default=None)

    def _of(self, lease: str, ttl: float) -> _Granted:
        granted = self._granted.get(lease)
        if granted is None:
            raise LeaseEnded(lease, ttl)
        return granted
