"""What a call costs beside the same by hand: one function, called barely, instrumented by hand, and through a host."""

import io
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
from loguru import logger
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from rich.table import Table
from shown import console

from jackfield import Host, Logs, Metrics, Spans

if TYPE_CHECKING:
    from loguru import Message

ROUNDS, CALLS = 7, 1_500


def charge(amount: int) -> int:
    """Do next to nothing: what is measured is what is around it."""
    return amount + 1


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002  # the exporter's protocol
        """Take them."""
        return SpanExportResult.SUCCESS


def by_hand(tracing: TracerProvider) -> Callable[[int], int]:
    """Write around the function what one writes: a span, three metrics, a log record, a check of the payload."""
    registry, tracer = CollectorRegistry(), tracing.get_tracer("demo")
    labels = {"function": "shop.charge"}
    calls = Counter("calls", "Calls.", ["function", "outcome"], registry=registry)
    succeeded, crashed = calls.labels("shop.charge", "ok"), calls.labels("shop.charge", "crashed")
    seconds = Histogram("seconds", "Durations.", ["function"], registry=registry).labels(**labels)
    in_flight = Gauge("in_flight", "Under way.", ["function"], registry=registry).labels(**labels)
    log = logger.bind(**labels)
    lines, encode = io.StringIO(), msgspec.json.Encoder().encode

    def write(message: "Message") -> None:  # one flat JSON object a line, by the fastest encoder there is
        record = message.record
        line = {"time": record["time"].timestamp(), "level": record["level"].name, **record["extra"]}
        lines.write(encode(line).decode() + "\n")

    logger.remove()
    logger.add(write)

    def instrumented(amount: int) -> int:
        if type(amount) is not int:
            raise TypeError("amount must be an int")
        with tracer.start_as_current_span("shop.charge", attributes=labels) as span:
            in_flight.inc()
            began = perf_counter()
            try:
                result = charge(amount)
            except Exception:
                crashed.inc()
                raise
            finally:
                took = perf_counter() - began
                in_flight.dec()
                seconds.observe(took)
            succeeded.inc()
            trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            log.bind(trace_id=trace_id, duration_ms=took * 1e3, outcome="ok").info("called")
            return result

    return instrumented


def compare() -> None:
    """Measure in turns, so that a busy machine is busy for all of them; the best round counts."""
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(Nowhere()))
    observed = Host(observers=[Spans(tracing), Metrics(CollectorRegistry()), Logs(io.StringIO())])
    bare = Host(observers=())
    instrumented = by_hand(tracing)
    with observed, bare:
        for host in (observed, bare):
            host.register("shop.charge", charge)
        rivals: dict[str, Callable[[], object]] = {
            "the function alone": lambda: charge(7),
            "host.call, observers=()": lambda: bare.call("shop.charge", 7),
            "the same with a deadline": lambda: bare.call("shop.charge", 7, timeout=1.0),
            "span, metrics, record, by hand": lambda: instrumented(7),
            "span, metrics, record, host.call": lambda: observed.call("shop.charge", 7),
        }
        best = dict.fromkeys(rivals, float("inf"))
        for _ in range(ROUNDS):
            for name, call in rivals.items():
                began = perf_counter()
                for _ in range(CALLS):
                    call()
                best[name] = min(best[name], (perf_counter() - began) / CALLS)
    hand = best["span, metrics, record, by hand"]
    table = Table("", "µs a call", "by hand = 1", box=None)
    for name, seconds in best.items():
        table.add_row(name, f"{seconds * 1e6:.2f}", f"{seconds / hand:.2f}" if seconds >= hand / 10 else "")
    console.print(table)
    console.print("by hand there is no look-up by name, no version, no drain: nox -s bench measures each part")
