"""One trace from a submit to its result: a span for the submit, and one for each attempt, which links to the others."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Link, SpanKind, Tracer, TracerProvider, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jackfield.durable.ledger import Entry
from jackfield.durable.untraced import Untraced
from jackfield.observe.spans import ATTEMPT, FUNCTION, SCOPE

SUBMISSION: Final = "jackfield.submission"


class Tracing(Untraced):
    """Makes the spans of submitted calls; the span of the call itself is below that of its attempt.

    Args:
        provider: where spans come from; None for the global one.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider

    @contextmanager
    def submit(self, function: str, submission: str) -> Iterator[dict[str, str]]:
        """Have a span around a submit; give what carries it to the attempts, with the baggage."""
        attributes = {FUNCTION: function, SUBMISSION: submission}
        with self._tracer().start_as_current_span(
            f"submit {function}", kind=SpanKind.PRODUCER, attributes=attributes, record_exception=False
        ):
            yield _carrier()

    @contextmanager
    def attempt(self, entry: Entry) -> Iterator[str]:
        """Have a span around an attempt; give it as `traceparent` has it, "" if there is none."""
        call, state = entry.call, entry.now
        parent = propagate.extract(call.trace, context.Context())
        token = context.attach(parent)
        try:
            with self._tracer().start_as_current_span(
                f"attempt {call.function}",
                kind=SpanKind.CONSUMER,
                attributes={FUNCTION: call.function, SUBMISSION: entry.id, ATTEMPT: state.attempt},
                links=_links([call.trace.get("traceparent", ""), *state.links]),
            ):
                yield _carrier().get("traceparent", "")
        finally:
            context.detach(token)

    def _tracer(self) -> Tracer:
        provider = self._provider if self._provider is not None else trace.get_tracer_provider()
        return provider.get_tracer(SCOPE)


def _carrier() -> dict[str, str]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def _links(spans: Iterable[str]) -> list[Link]:
    reading = TraceContextTextMapPropagator()
    found = (get_current_span(reading.extract({"traceparent": span})).get_span_context() for span in spans if span)
    return [Link(each) for each in found if each.is_valid]
