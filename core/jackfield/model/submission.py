"""What becomes of a call that was submitted."""

from enum import StrEnum
from typing import Final


class SubmissionState(StrEnum):
    """Where a submitted call is.

    Attributes:
        ACCEPTED: it is kept, and waits to be run: for the first time, or again.
        RUNNING: a host runs it.
        SUCCEEDED: it has a result.
        FAILED: it ended with a verdict that another try would not change.
        DEAD: its tries are used up, its time has passed, or nobody knows how it ended.
        CANCELLED: somebody has cancelled it.
    """

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        """Whether nothing happens to it any more by itself."""
        return self in SETTLED


SETTLED: Final = frozenset(
    {SubmissionState.SUCCEEDED, SubmissionState.FAILED, SubmissionState.DEAD, SubmissionState.CANCELLED}
)
