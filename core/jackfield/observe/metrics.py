"""Metrics: the counter, the duration histogram and the in-flight gauge of every function, for Prometheus."""

import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from time import time
from typing import Final, cast
from weakref import WeakKeyDictionary

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import FunctionSpec
from jackfield.observe.logger import host_log
from jackfield.observe.scheduler import SchedulerCollector
from jackfield.ports import BoundObserver, ExecutorStats

BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds: a call in this process takes microseconds, one over a network seconds."""

_LABELS = ("function", "version")
_TEXTS = {outcome: outcome.value for outcome in Outcome}


class Metrics:
    """Count calls and outcomes, time them, and show how many are under way.

    - `jackfield_calls_total{function,version,outcome}`
    - `jackfield_call_duration_seconds{function,version}`, a histogram whose exemplars name a sampled trace of each
      bucket
    - `jackfield_calls_in_flight{function,version}`
    - and of each watched executor the `scheduler_…` metrics, see `watch`.

    A function's series exist while it is registered. Any number of hosts may share a registry: they share the series
    of a function that both have. The numbers are this process's own: prometheus-client's multi-process mode does not
    see them.

    Args:
        registry: where the metrics are exposed; by default prometheus-client's global one.
        buckets: upper bounds of the histogram, in seconds, ascending; one set for each registry.

    Raises:
        ValueError: when the buckets are not ascending, or differ from those already in use on the registry, or when
            the registry has a metric of one of these names from elsewhere.

    Examples:
        >>> registry = CollectorRegistry()
        >>> metrics = Metrics(registry)
        >>> Metrics(registry).watch("thread", lambda: ExecutorStats(busy=3)) is None
        False
        >>> registry.get_sample_value("scheduler_executors", {"queue_type": "thread", "state": "busy"})
        3
    """

    def __init__(self, registry: CollectorRegistry | None = None, buckets: Sequence[float] = BUCKETS) -> None:
        bounds = tuple(float(bound) for bound in buckets if bound != float("inf"))
        if not bounds or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"Metrics: buckets must be ascending numbers of seconds, not {tuple(buckets)}")
        self._calls, self._scheduler = _collectors(REGISTRY if registry is None else registry, bounds)

    def bind(self, spec: FunctionSpec) -> BoundObserver:
        """Bind to one function version: its series appear.

        Args:
            spec: the function; its name and version are the labels.

        Returns:
            The bound observer.
        """
        bound = BoundMetrics(self._calls, (spec.name, spec.version))
        # pyright takes the slots, which hold bound methods, for methods of the class that are still to be bound.
        return cast("BoundObserver", bound)

    def watch(self, name: str, stats: Callable[[], ExecutorStats]) -> Callable[[], None]:
        """Expose an executor's counts; they are asked for when the registry is scraped, and cost nothing else.

        Args:
            name: the label `queue_type`; executors of one name are added up.
            stats: gives the counts of the moment; called from the scraping thread.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        return self._scheduler.watch(name, stats)


class BoundMetrics:
    """The series of one function version."""

    __slots__ = ("_calls", "_key", "finish", "start")

    def __init__(self, calls: "CallCollector", key: tuple[str, str]) -> None:
        self._calls = calls
        self._key = key
        series = calls.acquire(key)
        self.start: Callable[[Call], None] = series.start
        self.finish: Callable[[object, Call, Outcome, BaseException | None, float], None] = series.finish

    def close(self) -> None:
        """Let go of the series; it disappears with the last one that has it."""
        self._calls.release(self._key)


class Series:
    """The numbers of one function version, under one lock.

    The client library keeps a metric object and a lock for each number, which makes five locks a call, and checks
    each exemplar's text as it comes. Here a call takes the lock twice, and an exemplar is rendered when somebody
    scrapes.
    """

    __slots__ = ("_bounds", "_buckets", "_exemplars", "_in_flight", "_lock", "_outcomes", "_seconds", "users")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.users = 0
        # Re-entrant: a signal handler or a finaliser that makes a call may interrupt the holder in its own thread.
        self._lock = threading.RLock()
        self._bounds = bounds
        self._in_flight = 0
        self._outcomes: dict[Outcome, int] = {}
        self._seconds = 0.0
        self._buckets = [0] * (len(bounds) + 1)
        self._exemplars: list[tuple[SpanContext, float, float] | None] = [None] * (len(bounds) + 1)

    def start(self, call: Call) -> None:  # noqa: ARG002  # the observer's protocol
        """Count a call in."""
        with self._lock:
            self._in_flight += 1

    def finish(self, state: object, call: Call, outcome: Outcome, error: BaseException | None, duration: float) -> None:  # noqa: ARG002
        """Count a call out."""
        bucket = bisect_left(self._bounds, duration)
        trace = call.trace
        exemplar = (trace, duration, time()) if trace is not None and trace.trace_flags.sampled else None
        with self._lock:
            self._in_flight -= 1
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
            self._seconds += duration
            self._buckets[bucket] += 1
            if exemplar is not None:
                self._exemplars[bucket] = exemplar

    def read(self) -> tuple[int, dict[Outcome, int], float, list[int], list[tuple[SpanContext, float, float] | None]]:
        """Copy the numbers of one moment: in flight, outcomes, seconds, buckets, exemplars."""
        with self._lock:
            return self._in_flight, dict(self._outcomes), self._seconds, list(self._buckets), list(self._exemplars)


class CallCollector(Collector):
    """All series of one registry."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._texts = (*map(floatToGoString, bounds), "+Inf")
        self._lock = threading.Lock()
        self._series: dict[tuple[str, str], Series] = {}

    def acquire(self, key: tuple[str, str]) -> Series:
        """Give the series of a function version, the same to all that ask."""
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = Series(self.bounds)
            series.users += 1
            return series

    def release(self, key: tuple[str, str]) -> None:
        """Undo one `acquire`."""
        with self._lock:
            series = self._series[key]
            series.users -= 1
            if series.users == 0:
                del self._series[key]

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        """Give the families with their samples."""
        calls, seconds, in_flight = families = self._families()
        with self._lock:
            everything = list(self._series.items())
        for labels, series in everything:
            running, outcomes, total, buckets, exemplars = series.read()
            for outcome, count in outcomes.items():
                calls.add_metric((*labels, _TEXTS[outcome]), count)
            seconds.add_metric(labels, self._cumulated(buckets, exemplars), total)
            in_flight.add_metric(labels, running)
        yield from families

    def _families(self) -> tuple[CounterMetricFamily, HistogramMetricFamily, GaugeMetricFamily]:
        return (
            CounterMetricFamily("jackfield_calls", "Calls that ended, by outcome.", labels=(*_LABELS, "outcome")),
            HistogramMetricFamily("jackfield_call_duration_seconds", "How long calls took.", labels=_LABELS),
            GaugeMetricFamily("jackfield_calls_in_flight", "Calls that are under way.", labels=_LABELS),
        )

    def _cumulated(
        self, buckets: list[int], exemplars: list[tuple[SpanContext, float, float] | None]
    ) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        rows: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        count = 0
        for text, own, exemplar in zip(self._texts, buckets, exemplars, strict=True):
            count += own
            if exemplar is None:
                rows.append((text, count))
            else:
                trace, value, at = exemplar
                ids = {"trace_id": format_trace_id(trace.trace_id), "span_id": format_span_id(trace.span_id)}
                rows.append((text, count, Exemplar(ids, value, at)))
        return rows


_registries_lock = threading.Lock()
_registries: WeakKeyDictionary[CollectorRegistry, tuple[CallCollector, SchedulerCollector]] = WeakKeyDictionary()


def _collectors(registry: CollectorRegistry, bounds: tuple[float, ...]) -> tuple[CallCollector, SchedulerCollector]:
    """Give the registry's collectors; the first to ask registers them, as two of one name would be refused."""
    with _registries_lock:
        found = _registries.get(registry)
        if found is None:
            found = CallCollector(bounds), SchedulerCollector()
            registry.register(found[0])
            try:
                registry.register(found[1])
            except ValueError:
                registry.unregister(found[0])
                raise
            _registries[registry] = found
            if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
                host_log(
                    "WARNING",
                    "PROMETHEUS_MULTIPROC_DIR is set, and the metrics of jackfield are not written there:"
                    " expose the registry of each process by itself",
                )
    if found[0].bounds != bounds:
        raise ValueError(
            f"Metrics: this registry already has jackfield's histogram with buckets {found[0].bounds};"
            " give the same buckets=, or another registry"
        )
    return found
