"""What admission knows of tenants and of the seats that their calls have."""

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

from jackfield.admission.quota import Bucket
from jackfield.admission.shares import Share
from jackfield.model.admitted import TenantStats
from jackfield.model.stored import BOUNDS, Durations

if TYPE_CHECKING:
    from jackfield.admission.lines import Line


class Tenant:
    """What admission knows of one tenant. Its plain attributes are what every call reads."""

    __slots__ = (
        "admitted", "bucket", "inside", "left", "name", "price", "refused", "reserved", "seats", "seconds", "share",
        "tag", "waited", "waiting", "waits",
    )  # fmt: skip

    def __init__(self, name: str, share: Share, now: float) -> None:
        self.name = name
        self.inside = self.reserved = self.waiting = 0  # calls that have a seat, have one of its own, wait
        self.tag = 0.0  # the time that its calls have taken, at its price
        self.seconds = self.waited = 0.0
        self.admitted = self.left = 0
        self.waits = [0] * len(BOUNDS)  # of those whose turn did not come at once
        self.refused: dict[str, int] = {}
        self.bucket: Bucket | None = None
        self.entitle(share, now)

    def entitle(self, share: Share, now: float) -> None:
        """Give it another share."""
        self.share, self.seats, self.price = share, share.seats, 1.0 / share.weight
        if self.bucket is not None and share.rate is not None:
            self.bucket.change(share.rate, now)
        else:
            self.bucket = None if share.rate is None else Bucket(share.rate, now)

    def refuse(self, reason: str) -> None:
        """Count a call that gets no seat."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def served(self, waited: float) -> None:
        """Count how long a call has waited that gets its seat now."""
        self.waited += waited
        self.waits[bisect_left(BOUNDS, waited)] += 1

    def stats(self) -> TenantStats:
        """Tell what became of its calls."""
        at_once = self.admitted - sum(self.waits)
        waits = Durations((self.waits[0] + at_once, *self.waits[1:]), self.waited)
        return TenantStats(
            self.share.weight, self.seats, self.inside, self.waiting, self.admitted, dict(self.refused), self.seconds,
            waits, self.left, self.share.priority,
        )  # fmt: skip


def unmet(share: Share) -> TenantStats:
    """Tell what is due to a tenant that has made no call."""
    return TenantStats(share.weight, share.seats, 0, 0, 0, {}, 0.0, priority=share.priority)


Ticket: TypeAlias = tuple[Tenant, "Line", float, float, bool]
"""A seat: whose, of which function version, since when, the seconds that were charged, whether it is the tenant's own.

A plain tuple, since one is made for every call.
"""
