"""What admission knows of tenants and of the seats that their calls have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

from jackfield.admission.quota import Bucket
from jackfield.admission.shares import Share

if TYPE_CHECKING:
    from jackfield.admission.lines import Line


class Tenant:
    """What admission knows of one tenant. Its plain attributes are what every call reads."""

    __slots__ = (
        "admitted", "bucket", "inside", "name", "price", "refused", "reserved", "seats", "seconds", "share", "tag",
        "waited", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, share: Share, now: float) -> None:
        self.name = name
        self.inside = self.reserved = self.waiting = 0  # calls that have a seat, have one of its own, wait
        self.tag = 0.0  # the time that its calls have taken, at its price
        self.seconds = self.waited = 0.0
        self.admitted = 0
        self.refused: dict[str, int] = {}
        self.entitle(share, now)

    def entitle(self, share: Share, now: float) -> None:
        """Give it another share."""
        self.share, self.seats, self.price = share, share.seats, 1.0 / share.weight
        self.bucket = None if share.rate is None else Bucket(share.rate, now)


Ticket: TypeAlias = tuple[Tenant, "Line", float, float, bool]
"""A seat: whose, of which function version, since when, the seconds that were charged, whether it is the tenant's own.

A plain tuple, since one is made for every call.
"""


@attrs.frozen
class TenantStats:
    """What became of the calls of one tenant.

    Attributes:
        weight: its share.
        seats: those that are kept for it.
        inside: calls that have a seat.
        waiting: calls that wait for one.
        admitted: calls that got one, since the start.
        refused: reason → calls that got none.
        seconds: that its calls have taken.
        waited: that they have waited.
    """

    weight: float
    seats: int
    inside: int
    waiting: int
    admitted: int
    refused: Mapping[str, int]
    seconds: float
    waited: float


@attrs.frozen
class AdmissionStats:
    """The state of admission at one moment.

    Attributes:
        limit: how many calls may have a seat that is nobody's own.
        inside: how many have one.
        tenants: name → what became of its calls.
        limits: `name@version` → how many of its calls may be inside.
    """

    limit: int
    inside: int
    tenants: Mapping[str, TenantStats]
    limits: Mapping[str, int]
