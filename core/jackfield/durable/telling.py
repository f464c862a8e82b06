"""What is told of submitted calls: counts for metrics, and a log record of each settlement."""

import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING

from jackfield.durable.ledger import Entry
from jackfield.log import Level, host_log
from jackfield.model.submission import SubmissionState

if TYPE_CHECKING:
    from jackfield.durable.backlog import Backlog


class Telling:
    """Counts what this host does with submitted calls.

    Attributes:
        submits: function → how many were accepted here.
        attempts: function → how many were begun here.
        settled: function, status and reason → how many were settled here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backlog: weakref.ref[Backlog] | None = None
        self.submits: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.settled: Counter[tuple[str, str, str]] = Counter()

    def watch(self, backlog: "Backlog") -> None:
        """Take the depth of the queue from here."""
        self._backlog = weakref.ref(backlog)

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
            )
