"""What a process has counted and said, in the form of OpenTelemetry's SDK, for its exporters.

There is one account of metrics, the registry that is scraped, and one of log records: here they are translated, not
kept a second time. Imported where they are exported, and nowhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from time import time_ns
from typing import Any, Final

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from jackfield.log import Message
from jackfield.observe.record import Record, fields_of, sentence
from jackfield.stack import error_type, frames

SCOPE: Final = InstrumentationScope("jackfield")

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_LEVELS: Final = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "SUCCESS": SeverityNumber.INFO2,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "CRITICAL": SeverityNumber.FATAL,
}
_OWN: Final = ("timestamp", "level", "trace_id", "span_id")  # of a record; OpenTelemetry has places for them


# --- Metrics ----------------------------------------------------------------------------------------------------------


def metrics_of(registry: CollectorRegistry, resource: Resource, since: int) -> MetricsData:
    """Translate what a registry shows at this moment. Names and labels are those of a scrape.

    Args:
        registry: asked as for a scrape.
        resource: what it is of.
        since: when counting began, in nanoseconds since the epoch.
    """
    now = time_ns()
    metrics = [metric for family in registry.collect() for metric in _translated(family, since, now)]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def _translated(family: Family, since: int, now: int) -> Iterator[Metric]:
    if family.type == "histogram":
        points = [_distribution(samples, since, now) for samples in _by_labels(family.samples)]
        if points:
            yield Metric(family.name, family.documentation, "", Histogram(points, _CUMULATIVE))
        return
    by_name: dict[str, list[NumberDataPoint]] = {}
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            point = NumberDataPoint(dict(sample.labels), since, now, sample.value)
            by_name.setdefault(sample.name, []).append(point)
    for name, numbers in by_name.items():
        grows = family.type == "counter" or (family.type == "summary" and name.endswith(("_count", "_sum")))
        data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if grows else Gauge(numbers)
        yield Metric(name, family.documentation, "", data)


def _by_labels(samples: Iterable[Sample]) -> Iterable[Sequence[Sample]]:
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        found.setdefault(labels, []).append(sample)
    return found.values()


def _distribution(samples: Sequence[Sample], since: int, now: int) -> HistogramDataPoint:
    """Translate the samples of one histogram: its buckets count what is below them as well, OpenTelemetry's do not."""
    bounds: list[float] = []
    counts: list[int] = []
    exemplars: list[Exemplar] = []
    total, below = 0.0, 0
    labels: dict[str, str] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        if sample.name.endswith("_sum"):
            total = sample.value
        elif sample.name.endswith("_bucket"):
            bounds.append(float(sample.labels["le"]))
            counts.append(int(sample.value) - below)
            below = int(sample.value)
            exemplars += _exemplar(sample, now)
    unknown: Any = None  # the least and the most are not kept
    return HistogramDataPoint(
        labels, since, now, below, total, counts, bounds[:-1], min=unknown, max=unknown, exemplars=exemplars
    )


def _exemplar(sample: Sample, now: int) -> Iterator[Exemplar]:
    found = sample.exemplar
    if found is not None and "trace_id" in found.labels:
        at = now if found.timestamp is None else int(float(found.timestamp) * 1e9)
        span, trace = found.labels.get("span_id", "0"), found.labels["trace_id"]
        yield Exemplar({}, found.value, at, int(span, 16), int(trace, 16))


# --- Logs -------------------------------------------------------------------------------------------------------------


def log_sinks(provider: Any) -> tuple[Callable[[Record], None], Callable[[Message], None]]:
    """Give what has a logger provider take the records of calls, and what the host and its plugins say.

    Args:
        provider: one of OpenTelemetry's SDK.

    Returns:
        A sink of records, and one of messages. They neither wait nor raise: the provider's processors export.
    """
    calls, messages = provider.get_logger("jackfield.calls"), provider.get_logger("jackfield")

    def take_record(record: Record) -> None:
        fields = {name: value for name, value in fields_of(record).items() if name not in _OWN}
        at = int(datetime.fromisoformat(record.timestamp).timestamp() * 1e9)
        _emit(calls, at, record.level, sentence(record), fields, _below(record.trace_id, record.span_id))

    def take_message(message: Message) -> None:
        fields = {name: _plain(value) for name, value in message.fields.items() if value is not None}
        trace = str(fields.pop("trace_id", "")), str(fields.pop("span_id", ""))
        if message.error is not None:
            fields |= {"error_type": error_type(message.error), "stack": frames(message.error)}
        place = {"code.function.name": f"{message.module}.{message.function}"} if message.module else {}
        _emit(messages, time_ns(), message.level, message.text, {**fields, **place}, _below(*trace))

    return take_record, take_message


def _emit(logger: Any, at: int, level: str, body: str, fields: Mapping[str, Any], context: Context) -> None:
    logger.emit(
        timestamp=at,
        observed_timestamp=at,
        context=context,
        severity_number=_LEVELS.get(level, SeverityNumber.UNSPECIFIED),
        severity_text=level,
        body=body,
        attributes=fields,
    )


def _below(trace: str, span: str) -> Context:
    """Give the context of a span, by its ids as text; an empty one where nothing is traced."""
    if not trace or not span:
        return Context()
    found = SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(found), Context())


def _plain(value: object) -> Any:
    """Give a field as an attribute: what OpenTelemetry has no form for as text."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return list(value)
    return str(value)
