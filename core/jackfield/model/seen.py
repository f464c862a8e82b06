"""What is noted of a call while it is under way, for whoever looks at it later: a part of its trace.

A call that is begun nowhere else, waits for nothing and runs in this process has nothing noted, and pays nothing.
"""

import threading
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import force_setattr

if TYPE_CHECKING:
    from jackfield.errors import Outcome
    from jackfield.model.call import Call

CALLS: Final = 100
"""How many calls below one are noted, those below these included; and as many again that have failed."""

_NOTES: Final = 16  # of one call: an executor may be tried often
_making: Final = threading.Lock()


class Seen:
    """What is noted of one call. Appending is all that several threads do here.

    Attributes:
        rows: the calls in its body that have ended, each as `observe.traces.Row`.
        size: how many these are, with those below them.
        lost: how many more there were.
        failed: how one of them has ended that did not end well; None if all have.
        notes: queues that it has waited in, and the process that ran it, as for `note`.
    """

    __slots__ = ("failed", "lost", "notes", "rows", "size")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.size = self.lost = 0
        self.failed: Outcome | None = None
        self.notes: list[tuple[str, str, float]] = []


def seen_of(call: "Call") -> Seen:
    """Give what is noted of a call.

    Args:
        call: one that is under way.
    """
    seen = call.seen
    if seen is None:
        with _making:
            seen = call.seen
            if seen is None:
                seen = Seen()
                force_setattr(call, "seen", seen)
    return seen


def note(call: "Call", kind: str, what: str, seconds: float) -> None:
    """Note where a call has been.

    Args:
        call: one that is under way.
        kind: "queue", or "worker" for the process that runs it.
        what: which.
        seconds: that it has waited for it.
    """
    notes = seen_of(call).notes
    if len(notes) < _NOTES:
        notes.append((kind, what, seconds))
