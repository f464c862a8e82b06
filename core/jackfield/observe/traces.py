"""Whole calls that are kept in memory: all that went wrong, lately, and the slowest, be they sampled or not.

A call that goes well and is quick costs four comparisons in its walk, and nothing of it is kept. What is kept are plain
tuples; they are put into words by `trees` when somebody asks.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from jackfield.errors import Outcome
from jackfield.model.call import Call, came_in
from jackfield.model.names import NAME_LIMIT
from jackfield.model.seen import CALLS, Seen, seen_of
from jackfield.model.spec import FunctionSpec
from jackfield.stack import error_type

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

FAILED: Final = 100
"""How many calls are kept of each outcome but `ok`: a flood of refusals does not push out the one crash."""

SLOWEST: Final = 3
"""How many of each function version are kept of each window, of this one and of the one before."""

WINDOW: Final = 300.0
"""Seconds of a window: what was slow at the start does not hide what is slow now."""

NODES: Final = 50_000
"""How many calls are kept as slow, with those within them; beyond, those of functions go that were slow longest ago."""

Row: TypeAlias = tuple[
    "FunctionTraces", str, Outcome, str, float, float, str | None, "SpanContext | None", int, str, Seen | None
]
"""A call that has ended: its function, the name it was called by, how it ended, with what type of error, when it began,
seconds that it took, for whom, in which trace, the attempt, the rule that picked its version, what is noted of it.

A plain tuple without the call: that refers to its parent, which refers to this. A call of which all the rest is as of
most others, or of the call around it, is a `Short`.
"""

Short: TypeAlias = tuple["FunctionTraces", float, float]
"""A call within another that went well: its function, when it began, seconds that it took."""


@attrs.frozen(eq=False)
class Kept:
    """A whole call that is kept.

    Attributes:
        row: the outermost call.
        id: of that.
        at: when it began, in seconds since the epoch.
        why: how it, or a call within it, failed; `Outcome.OK` for one that was slow.
        door: what it came in by: the kind, what was asked for, when by `perf_counter`; None for a call of the process.
    """

    row: Row
    id: str
    at: float
    why: Outcome
    door: tuple[str, str, float] | None

    @property
    def took(self) -> float:
        """Seconds that it took."""
        return self.row[5]

    @property
    def size(self) -> int:
        """How many calls are kept with it, and it."""
        seen = self.row[10]
        return 1 if seen is None else 1 + seen.size


class Traces:
    """The whole calls that one host keeps."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler or a finaliser that makes a call may interrupt the holder in its own thread.
        self._lock = threading.RLock()
        self._failed: dict[Outcome, deque[Kept]] = {
            outcome: deque(maxlen=FAILED) for outcome in Outcome if outcome is not Outcome.OK
        }
        self._slow: OrderedDict[FunctionTraces, None] = OrderedDict()  # those that have some; the latest last
        self._nodes = 0

    def bind(self, spec: FunctionSpec) -> "FunctionTraces":
        """Bind to one function version.

        Args:
            spec: the function.
        """
        return FunctionTraces(self, spec)

    def find(
        self,
        *,
        plugin: str | None = None,
        tenant: str | None = None,
        identifier: str | None = None,
        errors: bool = False,
        slow: bool = False,
        limit: int = 20,
    ) -> list[dict[str, Any]]:
        """Give the calls that are kept and match, as plain data, each with its `tree`.

        Args:
            plugin: only those in which a function of this plugin was called, or a function of this name.
            tenant: only those for this tenant.
            identifier: only those whose trace, or outermost call, has an id that begins so.
            errors: only those in which a call did not go well.
            slow: only those that are kept since they were slow, the slowest first; else the latest come first.
            limit: at most so many, a thousand at the most.
        """
        from jackfield.observe.trees import find  # noqa: PLC0415  # for those who ask

        return find(self, plugin, tenant, identifier, errors=errors, slow=slow, limit=limit)

    def each(self) -> Iterator[Kept]:
        """Give all that are kept, in no order."""
        with self._lock:
            found = [kept for each in self._failed.values() for kept in list(each)]
            found += [kept for function in self._slow for kept in (*function.earlier, *function.slowest)]
        return iter(found)

    # --- For the functions --------------------------------------------------------------------------------------------

    def failed(self, kept: Kept) -> None:
        """Keep a call that did not go well."""
        self._failed[kept.why].append(kept)

    def slow(self, function: "FunctionTraces", kept: Kept) -> None:
        """Keep a call that is one of the slowest of its function version."""
        with self._lock:
            self._nodes += kept.size - function.forget(kept.row[4])
            quickest = function.take(kept)
            self._nodes -= 0 if quickest is None else quickest.size
            self._slow[function] = None
            self._slow.move_to_end(function)
            while self._nodes > NODES and len(self._slow) > 1:
                oldest, _ = self._slow.popitem(last=False)
                self._nodes -= oldest.clear()


class FunctionTraces:
    """Sees the calls of one function version end.

    Attributes:
        name: of the function.
        version: of it.
        plugin: whose it is.
        executor: where it runs.
        bar: seconds; what takes no longer is not one of the slowest.
        until: when this window ends, by `perf_counter`.
        slowest: those of this window.
        earlier: those of the one before.
    """

    __slots__ = ("_traces", "bar", "earlier", "executor", "name", "plugin", "slowest", "until", "version")

    def __init__(self, traces: Traces, spec: FunctionSpec) -> None:
        self._traces = traces
        self.name, self.version, self.plugin = spec.name, spec.version, spec.plugin
        self.executor = spec.policy.executor or ""
        self.slowest: list[Kept] = []
        self.earlier: list[Kept] = []
        self.bar, self.until = 0.0, perf_counter() + WINDOW

    def good(self, call: Call, began: float, took: float) -> None:
        """See a call end well that is slow, is within another, or has others within it.

        Args:
            call: the call.
            began: when it began, by `perf_counter`.
            took: seconds.
        """
        parent = call.parent
        if parent is not None and call.seen is None and parent.name:
            # Written out for most calls within calls: a helper would cost each of them 2 %.
            around = parent.seen or seen_of(parent)
            if around.size >= CALLS:
                around.lost += 1
                return
            if call.tenant is parent.tenant and call.attempt == 1 and not call.rule:
                around.rows.append((self, began, took))
                around.size += 1
                return
        self._keep(call, Outcome.OK, "", began, took)

    def bad(self, call: Call, outcome: Outcome, error: BaseException, began: float, took: float) -> None:
        """See a call end that did not go well; how, and with what.

        Args:
            call: the call.
            outcome: how it ended.
            error: what it raised.
            began: when it began, by `perf_counter`.
            took: seconds.
        """
        self._keep(call, outcome, error_type(error), began, took)

    def _keep(self, call: Call, outcome: Outcome, error: str, began: float, took: float) -> None:
        seen, parent = call.seen, call.parent
        row = (
            self, call.name[:NAME_LIMIT], outcome, error, began, took, call.tenant, call.trace, call.attempt,
            call.rule, seen,
        )  # fmt: skip
        while parent is not None and not parent.name:  # `deadline()` around it
            parent = parent.parent
        failed = outcome if outcome is not Outcome.OK else None if seen is None else seen.failed
        if parent is not None:
            _put_below(seen_of(parent), row, failed)
        elif failed is not None:
            self._traces.failed(self._whole(call, row, failed))
        elif took > self.bar or began >= self.until:
            self._traces.slow(self, self._whole(call, row, Outcome.OK))

    @staticmethod
    def _whole(call: Call, row: Row, why: Outcome) -> Kept:
        door, began = came_in.get(), row[4]
        return Kept(row, call.id, time() - (perf_counter() - began), why, door)

    # --- For `Traces`, under its lock ---------------------------------------------------------------------------------

    def forget(self, now: float) -> int:
        """Begin another window when it is time; give how many calls are kept no more."""
        if now < self.until:
            return 0
        gone = sum(kept.size for kept in self.earlier)
        self.earlier, self.slowest = self.slowest, []
        self.bar, self.until = 0.0, now + WINDOW
        return gone

    def take(self, kept: Kept) -> Kept | None:
        """Keep one more; give the one that is kept no more."""
        self.slowest.append(kept)
        gone = None
        if len(self.slowest) > SLOWEST:
            gone = min(self.slowest, key=lambda each: each.took)
            self.slowest.remove(gone)
        if len(self.slowest) == SLOWEST:
            self.bar = min(each.took for each in self.slowest)
        return gone

    def clear(self) -> int:
        """Keep nothing; give how many calls that were."""
        gone = sum(kept.size for kept in (*self.earlier, *self.slowest))
        self.earlier, self.slowest, self.bar = [], [], 0.0
        return gone


def _put_below(seen: Seen, row: Row, failed: Outcome | None) -> None:
    """Note a call of the one that made it: whole, if there is room, else alone, else as one more."""
    below = row[10]
    size = 1 if below is None else 1 + below.size
    most = CALLS if failed is None else 2 * CALLS
    if failed is not None:
        seen.failed = failed
    if seen.size + size <= most:
        seen.rows.append(row)
        seen.size += size
        return
    if seen.size < most:
        seen.rows.append((*row[:10], None))
        seen.size, size = seen.size + 1, size - 1
    seen.lost += size + (0 if below is None else below.lost)
