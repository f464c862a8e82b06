"""Whole calls that were kept, put into words: for each a document with a tree, from the door down to nested calls."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry.trace import format_span_id, format_trace_id

from jackfield.errors import Outcome
from jackfield.model.seen import Seen
from jackfield.observe.traces import Kept, Row, Short, Traces

MOST: Final = 1_000
"""How many are given at once."""

_DEPTH: Final = 100  # a recursive function calls itself as deep as it likes; a document is read by parsers


_NOTICED: Final = 0.0005  # seconds of waiting for a worker that are worth a line


def find(
    traces: Traces,
    plugin: str | None,
    tenant: str | None,
    identifier: str | None,
    *,
    errors: bool,
    slow: bool,
    limit: int,
) -> list[dict[str, Any]]:
    """Give the calls that are kept and match; all as for `Traces.find`."""
    found = [
        kept
        for kept in traces.each()
        if (plugin is None or any(plugin in _names(row) for row in _rows(kept.row)))
        and (tenant is None or kept.row[6] == tenant)
        and (identifier is None or any(each.startswith(identifier.lower()) for each in (kept.id, _trace(kept.row))))
        and (not (errors or slow) or (errors and kept.why is not Outcome.OK) or (slow and kept.why is Outcome.OK))
    ]
    found.sort(key=lambda kept: kept.took if slow and not errors else kept.at, reverse=True)
    return [document(kept) for kept in found[: min(limit, MOST)]]


def document(kept: Kept) -> dict[str, Any]:
    """Put a whole call into words.

    Args:
        kept: it.

    Returns:
        What it was, and as `tree` its outermost span; each has `kind` ("http" and the like of a door, "submission",
        "queue", "call", "worker"), `name`, `start_ms` from the beginning of the tree, `ms`, and `below`.
    """
    function, name, outcome, error, began, took, tenant, *_ = kept.row
    tree = _call(kept.row, kept.door[2] if kept.door is not None else began, 0)
    if kept.door is not None:
        kind, asked, came = kept.door
        tree = {"kind": kind, "name": asked, "start_ms": 0.0, "ms": _ms(began + took - came), "below": [tree]}
    return {
        "id": kept.id,
        "trace_id": _trace(kept.row),
        "at": datetime.fromtimestamp(kept.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "kept": "slow" if kept.why is Outcome.OK else "error",
        "function": name,
        "version": function.version,
        "plugin": function.plugin,
        "tenant": tenant or "",
        "outcome": outcome.value,
        "error_type": error,
        "ms": _ms(took),
        "tree": tree,
    }


def _call(row: Row, origin: float, depth: int) -> dict[str, Any]:
    function, name, outcome, error, began, took, tenant, trace, attempt, rule, seen = row
    node = {
        "kind": "call",
        "name": name,
        "version": function.version,
        "plugin": function.plugin,
        "start_ms": _ms(began - origin),
        "ms": _ms(took),
        "outcome": outcome.value,
    }
    facts = {
        "error_type": error,
        "executor": function.executor,
        "tenant": tenant or "",
        "rule": rule,
        "span_id": "" if trace is None else format_span_id(trace.span_id),
        "attempt": attempt if attempt > 1 else "",
    }
    node |= {key: value for key, value in facts.items() if value}
    if seen is None:
        return node
    calls = [_call(_whole(each), origin, depth + 1) for each in list(seen.rows)] if depth < _DEPTH else []
    below = _below(seen, sorted(calls, key=lambda each: float(each["start_ms"])))
    lost = seen.lost if depth < _DEPTH else seen.size + seen.lost
    return node | ({"below": below} if below else {}) | ({"lost": lost} if lost else {})


def _below(seen: Seen, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what is below a call: queues that it waited in, then the process that ran it, or the calls in its body."""
    queues: list[dict[str, Any]] = []
    worker: dict[str, Any] | None = None
    for kind, what, seconds in list(seen.notes):
        if kind != "worker":
            queues.append({"kind": kind, "name": what, "ms": _ms(seconds)})
            continue
        if seconds >= _NOTICED:
            queues.append({"kind": "queue", "name": kind, "ms": _ms(seconds)})
        worker = {"kind": kind, "name": f"process {what}", "pid": int(what)}
    if worker is None:
        return queues + calls
    return [*queues, worker | ({"below": calls} if calls else {})]


def _whole(row: Row | Short) -> Row:
    if len(row) != 3:  # noqa: PLR2004  # a `Short`
        return row
    function, began, took = row
    return function, function.name, Outcome.OK, "", began, took, None, None, 1, "", None


def _rows(row: Row, depth: int = 0) -> Iterator[Row]:
    """Give a call and those below it."""
    yield row
    if row[10] is not None and depth < _DEPTH:
        for each in list(row[10].rows):
            yield from _rows(_whole(each), depth + 1)


def _names(row: Row) -> tuple[str, ...]:
    return row[0].plugin, row[1]


def _trace(row: Row) -> str:
    return "" if row[7] is None else format_trace_id(row[7].trace_id)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
