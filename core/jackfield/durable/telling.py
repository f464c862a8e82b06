"""What is told of submitted calls: counts for metrics, and a log record of each settlement."""

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from jackfield.durable.ledger import Entry
from jackfield.log import Level, host_log
from jackfield.model.submission import SubmissionState

if TYPE_CHECKING:
    from jackfield.durable.backlog import Backlog
    from jackfield.observe.submitted import SubmissionCounts


class Telling:
    """Counts what this host does with submitted calls.

    Args:
        wall: seconds since the epoch.

    Attributes:
        submits: function → how many were accepted here.
        attempts: function → how many were begun here.
        settled: function, status and reason → how many were settled here.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._backlog: weakref.ref[Backlog] | None = None
        self.submits: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.settled: Counter[tuple[str, str, str]] = Counter()

    def watch(self, backlog: "Backlog") -> None:
        """Take the depth of the queue from here."""
        self._backlog = weakref.ref(backlog)

    def counts(self) -> "SubmissionCounts":
        """Give the counts of this moment."""
        from jackfield.observe.submitted import SubmissionCounts  # noqa: PLC0415  # for those who have metrics

        backlog = None if self._backlog is None else self._backlog()
        oldest = None if backlog is None else backlog.oldest
        with self._lock:
            return SubmissionCounts(
                0 if backlog is None else backlog.waiting,
                0 if backlog is None else backlog.running,
                0.0 if oldest is None else max(self._wall() - oldest, 0.0),
                dict(self.submits),
                dict(self.attempts),
                dict(self.settled),
            )

    def restart(self) -> None:
        """Count from nothing: what was counted so far has been told."""
        with self._lock:
            self.submits, self.attempts, self.settled = Counter(), Counter(), Counter()

    def accepted(self, function: str) -> None:
        """A call was accepted."""
        with self._lock:
            self.submits[function] += 1

    def changed(self, entry: Entry) -> None:
        """This host has changed the state of a call."""
        state, function = entry.now, entry.call.function
        with self._lock:
            if state.status is SubmissionState.RUNNING:
                self.attempts[function] += 1
            elif state.status.settled:
                self.settled[function, state.status.value, state.reason] += 1
        if state.status.settled:
            reason = f" ({state.reason})" if state.reason else ""
            tenant = f" for {entry.call.tenant}" if entry.call.tenant else ""
            level: Level = (
                "INFO" if state.status in {SubmissionState.SUCCEEDED, SubmissionState.CANCELLED} else "WARNING"
            )
            host_log(
                level,
                f"call {entry.id} of {function}{tenant}: {state.status.value}{reason} after {state.attempt} attempts",
                call=entry.id,
                called=function,
                status=state.status.value,
                reason=state.reason,
                attempt=state.attempt,
                tenant=entry.call.tenant,
                traceparent=entry.call.trace.get("traceparent", ""),
            )
