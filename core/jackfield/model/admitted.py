"""What is counted of admission: who came, who waited for how long, who was refused and why, and what each received."""

from collections.abc import Mapping
from typing import Final

import attrs

from jackfield.model.stored import Durations

AT_THE_ENTRANCE: Final = ("concurrency", "rate", "full", "late")
"""Why a call is refused when it comes: its tenant's quotas, a queue that is full, a turn that would come too late."""

IN_THE_QUEUE: Final = ("expired", "deadline")
"""Why one is refused after it has waited: too little time is left when its turn comes, or its time was up before."""


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
        waits: how long those that got a seat have waited for it.
        left: calls whose callers left while they waited.
        priority: `low`, or `normal`.
    """

    weight: float
    seats: int
    inside: int
    waiting: int
    admitted: int
    refused: Mapping[str, int]
    seconds: float
    waits: Durations = attrs.field(factory=Durations)
    left: int = 0
    priority: str = "normal"

    @property
    def waited(self) -> float:
        """Seconds that its calls have waited for the seats that they got."""
        return self.waits.seconds

    @property
    def enqueued(self) -> int:
        """Calls that were let into its queue, be it that their turn came at once."""
        shed = sum(self.refused.get(reason, 0) for reason in IN_THE_QUEUE)
        return self.admitted + self.waiting + self.left + shed


@attrs.frozen
class FunctionStats:
    """The calls of one function version, as admission sees them.

    Attributes:
        limit: how many may be inside; found out, not configured.
        inside: how many are.
        waiting: how many wait.
        typical: seconds that one takes at present; 0.0 before any has ended.
    """

    limit: int
    inside: int
    waiting: int
    typical: float


@attrs.frozen
class AdmissionStats:
    """The state of admission at one moment.

    Attributes:
        limit: how many calls may have a seat that is nobody's own.
        inside: how many have one.
        tenants: name → what became of its calls: those that something is due to, and those that have made calls.
        functions: `name@version` → its calls.
    """

    limit: int
    inside: int
    tenants: Mapping[str, TenantStats]
    functions: Mapping[str, FunctionStats]
