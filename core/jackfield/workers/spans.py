"""Spans that plugins make in workers with OpenTelemetry's API, as the host takes them: checked, and then as its own.

A worker says nothing that identifies a trace: its spans are of the trace of the call that it runs, below the span that
the host has of that call. What it says that cannot be is left out, and said once; what has another shape than
`messages.Spans` is a breach of the protocol, as any other message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from jackfield.model.call import Call
from jackfield.strangers import Broken, barrier
from jackfield.workers.messages import Spans
from jackfield.workers.traced import SpanFact

EARLIER: Final = 3600 * 10**9
"""Nanoseconds before its call that a span may have begun: authors give times themselves, of what was waited for."""

_LATER: Final = 10**9  # nanoseconds after now that one may have ended: clocks are set

_KINDS: Final = tuple(SpanKind)
_CODES: Final = tuple(StatusCode)


def hand_over(spans: Spans, call: Call) -> tuple[str, ...]:
    """Give spans of a worker to the span processors of the host's own span of the call, which is the current one.

    Args:
        spans: what the worker said.
        call: the call that it ran.

    Returns:
        What is wrong with those that were left out, and what was lost.
    """
    own: Any = trace.get_current_span()  # of the SDK
    around = own.get_span_context()
    if call.trace is None or around != call.trace or not around.trace_flags.sampled:
        return ()  # nobody records this call here
    if not type(own).__module__.startswith("opentelemetry.sdk."):
        return ("they are lost: the host's tracer provider is not that of OpenTelemetry's SDK",)
    made, wrong = _readable(spans.spans, own, around)
    if spans.lost:
        wrong.append("more than one call may have are lost, or what was said of them")
    processor = own._span_processor  # noqa: SLF001  # the SDK has no other way in for spans that another process made
    for span in reversed(made):  # as they end: from the inside out
        try:
            with barrier("taking a span"):
                processor.on_end(span)
        except Broken as broken:
            wrong.append(broken.reason)
            break
    return tuple(dict.fromkeys(wrong))


def _readable(facts: tuple[SpanFact, ...], own: Any, around: SpanContext) -> tuple[list[Any], list[str]]:
    """Make spans of what is true of the facts; say what is not."""
    first, last = own.start_time - EARLIER, time_ns() + _LATER
    known: dict[bytes | None, SpanContext] = {None: around, around.span_id.to_bytes(8, "big"): around}
    made, wrong = [], []
    for fact in facts:
        parent = known.get(fact.parent)
        if fact.id in known or not any(fact.id):
            wrong.append("one has the number of another, or none")
        elif parent is None:
            wrong.append("one is below a span that is not of its call")
        elif not _in_time(fact, first, last):
            wrong.append("one was at a time that cannot be")
        else:
            known[fact.id] = context = SpanContext(
                around.trace_id,
                int.from_bytes(fact.id, "big"),
                is_remote=False,
                trace_flags=around.trace_flags,
                trace_state=around.trace_state,
            )
            made.append(_span(fact, context, parent, own.resource))
    return made, wrong


def _in_time(fact: SpanFact, first: int, last: int) -> bool:
    return first <= fact.start <= fact.end <= last and all(first <= event.time <= last for event in fact.events)


def _span(fact: SpanFact, context: SpanContext, parent: SpanContext, resource: Any) -> Any:
    from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415  # as in `observe.spans`
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415  # as above

    code = _CODES[fact.status]
    return ReadableSpan(
        fact.name,
        context,
        parent,
        resource,
        _attributes(fact.attributes),
        [Event(event.name, _attributes(event.attributes), event.time) for event in fact.events],
        [
            Link(
                SpanContext(
                    int.from_bytes(link.trace, "big"),
                    int.from_bytes(link.span, "big"),
                    is_remote=True,
                    trace_flags=TraceFlags(TraceFlags.SAMPLED),
                ),
                _attributes(link.attributes),
            )
            for link in fact.links
        ],
        _KINDS[fact.kind],
        status=Status(code, fact.description or None if code is StatusCode.ERROR else None),
        start_time=fact.start,
        end_time=fact.end,
        instrumentation_scope=InstrumentationScope(fact.scope[0], fact.scope[1] or None),
    )


def _attributes(said: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}


@contextmanager
def within(span: bytes | None, call: Call | None) -> Iterator[None]:
    """Have a nested call below the span of its plugin in which it was asked for.

    Args:
        span: its number, of the call's trace as all that a worker names.
        call: the call that asks.
    """
    if span is None or not any(span) or call is None or call.trace is None:
        yield
        return
    own = call.trace
    parent = SpanContext(
        own.trace_id,
        int.from_bytes(span, "big"),
        is_remote=False,
        trace_flags=own.trace_flags,
        trace_state=own.trace_state,
    )
    token = attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        yield
    finally:
        detach(token)
