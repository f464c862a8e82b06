"""A fully observed call, against the same function instrumented by hand."""

import copy
from collections.abc import Callable
from time import perf_counter
from typing import Any

import loguru
import msgspec
from harness import Effort, Sampler, measure, statement
from loguru import logger as default_logger
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from results import Row, Section
from subjects import ITEM, Item, echo

from jackfield import Host, Logs, Metrics, Spans

_LABELS = ("bench.echo", "0")


class LastLine:
    """Takes encoded text and forgets all but the last of it: what is measured is making it, not a disk."""

    text = ""

    def write(self, text: str) -> int:
        """Take it."""
        self.text = text
        return len(text)

    def flush(self) -> None:
        """Have nothing to do."""


class NullExporter(SpanExporter):
    """Takes finished spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:
        """Take them."""
        return SpanExportResult.SUCCESS


def by_hand(provider: TracerProvider, log: "loguru.Logger") -> Callable[[Item], int]:
    """Instrument the function as its author would: a span with attributes, kept label children, a bound log record."""
    registry = CollectorRegistry()
    tracer = provider.get_tracer("bench")
    by_function = ("function", "version")
    calls = Counter("calls", "Calls.", [*by_function, "outcome"], registry=registry)
    succeeded = calls.labels(*_LABELS, "ok")
    crashed = calls.labels(*_LABELS, "crashed")
    seconds = Histogram("seconds", "Durations.", by_function, registry=registry).labels(*_LABELS)
    in_flight = Gauge("in_flight", "Under way.", by_function, registry=registry).labels(*_LABELS)
    attributes = {"code.function.name": "bench.echo", "bench.version": "0", "bench.plugin": "bench"}

    def instrumented(item: Item) -> int:
        with tracer.start_as_current_span("bench.echo", attributes=attributes) as span:
            in_flight.inc()
            start = perf_counter()
            try:
                result = echo(item)
            except Exception:
                crashed.inc()
                raise
            finally:
                elapsed = perf_counter() - start
                in_flight.dec()
                seconds.observe(elapsed)
            succeeded.inc()
            where = span.get_span_context()
            log.bind(
                trace_id=trace.format_trace_id(where.trace_id),
                span_id=trace.format_span_id(where.span_id),
                func_name="bench.echo",
                duration_ms=elapsed * 1e3,
                outcome="ok",
            ).info("called")
            return result

    return instrumented


def independent_loggers() -> "tuple[loguru.Logger, loguru.Logger]":
    """Make two loggers with handlers of their own, as loguru's recipes do it: copies of one without handlers."""
    default_logger.remove()
    return copy.deepcopy(default_logger), copy.deepcopy(default_logger)


def flat_json(stream: LastLine) -> Callable[["loguru.Message"], None]:
    """Make the fastest loguru sink there is: one flat JSON record by a fast encoder, with no formatting before it."""
    encoder = msgspec.json.Encoder()

    def sink(message: "loguru.Message") -> None:
        record = message.record
        line = {
            "time": record["time"].timestamp(),
            "level": record["level"].name,
            "message": record["message"],
            **record["extra"],
        }
        stream.write(encoder.encode(line).decode() + "\n")

    return sink


def under(parent: TraceFlags, sampler: Sampler) -> Sampler:
    """Run the operations below a parent from elsewhere that is, or is not, sampled."""
    span = NonRecordingSpan(SpanContext(0x1234, 0x5678, is_remote=True, trace_flags=parent))

    def sample(number: int) -> float:
        token = context.attach(trace.set_span_in_context(span))
        try:
            return sampler(number)
        finally:
            context.detach(token)

    return sample


def flushed(provider: TracerProvider, sampler: Sampler) -> Sampler:
    """Begin each sample with an empty span queue, so that nobody pays for the other's spans."""

    def sample(number: int) -> float:
        provider.force_flush()
        return sampler(number)

    return sample


def run(effort: Effort) -> Section:
    """Compare the observed host with the function instrumented by hand, sampled and not."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(NullExporter()))
    streams: dict[str, Any] = {kind: LastLine() for kind in ("host", "flat", "serialized")}
    flat_log, serialized_log = independent_loggers()
    flat_log.add(flat_json(streams["flat"]), format="", level="INFO", catch=False)
    serialized_log.add(streams["serialized"], serialize=True, level="INFO", catch=False)
    flat = by_hand(provider, flat_log)
    serialized = by_hand(provider, serialized_log)
    observers = (Spans(provider), Metrics(CollectorRegistry()), Logs(streams["host"]))
    with Host(observers=observers) as host, Host(observers=()) as silent:
        host.register("bench.echo", echo)
        silent.register("bench.echo", echo)
        observed = statement("host.call('bench.echo', item)", host=host, item=ITEM)
        samplers = {
            "host": observed,
            "host unsampled": under(TraceFlags(TraceFlags.DEFAULT), observed),
            "flat": statement("call(item)", call=flat, item=ITEM),
            "flat unsampled": under(TraceFlags(TraceFlags.DEFAULT), statement("call(item)", call=flat, item=ITEM)),
            "serialized": statement("call(item)", call=serialized, item=ITEM),
            "silent": statement("host.call('bench.echo', item)", host=silent, item=ITEM),
        }
        taken = measure(effort, {label: flushed(provider, sampler) for label, sampler in samplers.items()})
    provider.shutdown()
    for kind, stream in streams.items():
        if "trace_id" not in stream.text or "duration_ms" not in stream.text:
            raise RuntimeError(f"{kind}: the last call left no complete log record: {stream.text!r}")
    call = "`host.call` with span, counter, gauge, histogram, log record"
    hand = "by hand: `start_as_current_span`, kept label children, `logger.bind(…).info`"
    return Section(
        "A call, fully observed",
        "Spans go to a batch processor whose exporter forgets them; every record is encoded as JSON and written to a"
        " stream that forgets it. By hand the record goes through loguru: with a sink of one's own that encodes it flat"
        " (the rival of the bar), or with `serialize=True`.",
        [
            Row(call, f"{hand}, own JSON sink", taken["host"], taken["flat"], bar=0.9),
            Row(call, f"{hand}, `serialize=True`", taken["host"], taken["serialized"]),
            Row("the same under an unsampled parent", "sampled", taken["host unsampled"], taken["host"], bar=0.35),
            Row(
                "the same under an unsampled parent",
                "by hand under it, own JSON sink",
                taken["host unsampled"],
                taken["flat unsampled"],
            ),
            Row(call, "`host.call` with observers off", taken["host"], taken["silent"]),
        ],
    )
