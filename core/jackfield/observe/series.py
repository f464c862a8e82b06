"""The series of function versions: counted into by calls, rendered at a scrape, kept for a while after their end.

Why they are kept, for how long, and why nothing is counted twice: `docs/decisions/0023-series-outlive-versions.md`.
"""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import time
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from jackfield.errors import OUTCOMES, Outcome
from jackfield.model.call import Call

SCRAPES: Final = 3
"""Scrapes that must have seen the last numbers of a version before its series go."""

KEPT: Final = 600.0
"""Seconds that these scrapes must span at least: two servers, or somebody who looks by hand, use up no other's."""

ENDED: Final = 256
"""Function versions that are kept after their end, however few others there are."""

DROPPED: Final = "(dropped)"
"""Function under which is counted what no scrape has seen of series that had to go before."""

Key = tuple[str, str]
_LABELS: Final = ("function", "version")
_TEXTS: Final = {outcome: outcome.value for outcome in Outcome}
# What an alert is made of is there from the beginning: `increase()` cannot see a series come into being at 50.
_ZEROS: Final = {Outcome.OK: 0} | {outcome: 0 for outcome, row in OUTCOMES.items() if row.span_error}


class Numbers(NamedTuple):
    """What a series holds at one moment."""

    in_flight: int
    outcomes: Mapping[Outcome, int]
    retries: int
    seconds: float
    buckets: list[int]
    exemplars: list[tuple[SpanContext, float, float] | None]

    @property
    def ended(self) -> int:
        """How many calls have ended."""
        return sum(self.buckets)


class Series:
    """The numbers of one function version, under one lock.

    The client library keeps a metric object and a lock for each number, which makes five locks a call, and checks
    each exemplar's text as it comes. Here a call takes the lock twice, and an exemplar is rendered when somebody
    scrapes.
    """

    __slots__ = (
        "_bounds",
        "_buckets",
        "_exemplars",
        "_in_flight",
        "_lock",
        "_outcomes",
        "_retries",
        "_seconds",
        "seen",
        "users",
    )

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.users = 0
        self._bounds = bounds
        self.renew()

    def renew(self) -> None:
        """Begin at zero: at first, and in a forked child, whose parent goes on with what it has counted."""
        self.seen: Numbers | None = None  # what the last scrape was given
        # Re-entrant: a signal handler or a finaliser that makes a call may interrupt the holder in its own thread.
        self._lock = threading.RLock()
        bounds = self._bounds
        self._in_flight = 0
        self._outcomes: dict[Outcome, int] = {}
        self._retries = 0
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

    def retried(self, call: Call, outcome: Outcome, error: BaseException, duration: float) -> None:  # noqa: ARG002
        """Count an attempt that is followed by another."""
        with self._lock:
            self._retries += 1

    def read(self) -> Numbers:
        """Copy the numbers of one moment."""
        with self._lock:
            return Numbers(
                self._in_flight,
                dict(self._outcomes),
                self._retries,
                self._seconds,
                list(self._buckets),
                list(self._exemplars),
            )

    def take_over(self, numbers: Numbers, seen: Numbers | None) -> None:
        """Add what another series has counted since a scrape saw it.

        Args:
            numbers: what it holds.
            seen: what the last scrape was given, and whoever scrapes has counted already.
        """
        with self._lock:
            for outcome, count in numbers.outcomes.items():
                new = count - (seen.outcomes.get(outcome, 0) if seen else 0)
                if new:
                    self._outcomes[outcome] = self._outcomes.get(outcome, 0) + new
            self._retries += numbers.retries - (seen.retries if seen else 0)
            self._seconds += numbers.seconds - (seen.seconds if seen else 0.0)
            for bucket, count in enumerate(numbers.buckets):
                self._buckets[bucket] += count - (seen.buckets[bucket] if seen else 0)


class _Ended:
    """What scrapes have seen of a series since its end."""

    __slots__ = ("calls", "scrapes", "since")

    def __init__(self) -> None:
        self.calls = -1
        self.scrapes = 0
        self.since = 0.0

    def is_over(self, numbers: Numbers, now: float) -> bool:
        """Count one scrape; tells whether nobody needs another one."""
        if numbers.in_flight or numbers.ended != self.calls:
            self.calls, self.scrapes, self.since = numbers.ended, 1, now
        else:
            self.scrapes += 1
        return not numbers.in_flight and self.scrapes >= SCRAPES and now - self.since >= KEPT


class CallCollector(Collector):
    """All series of one registry.

    Args:
        bounds: of the histogram's buckets.
        clock: gives the seconds that `KEPT` is measured with.
    """

    def __init__(self, bounds: tuple[float, ...], clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self._clock = clock
        self._texts = (*map(floatToGoString, bounds), "+Inf")
        self._series: dict[Key, Series] = {}
        self._ended: dict[Key, _Ended] = {}  # those without users, in the order of their ends
        self._let_go: deque[Key] = deque()
        self._dropped = Series(bounds)
        self.renew()

    def renew(self) -> None:
        """Begin at zero: at first, and in a forked child, where no other thread holds a lock, or ever gives it back."""
        # Re-entrant: a signal handler may register a function while its own thread is in here.
        self._lock = threading.RLock()
        for series in (self._dropped, *self._series.values()):
            series.renew()

    def acquire(self, key: Key) -> Series:
        """Give the series of a function version, the same to all that ask, also after its end: it goes on."""
        with self._lock:
            self._settle()
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = Series(self.bounds)
            series.users += 1
            self._ended.pop(key, None)
            return series

    def release(self, key: Key) -> None:
        """Undo one `acquire`. Takes no lock: the garbage collector may do this at any line, in here too."""
        self._let_go.append(key)

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        """Give the families with their samples; what has been seen often enough since its end is not given again."""
        calls, retries, seconds, in_flight = families = self._families()
        for labels, numbers in self._scrape():
            outcomes = _ZEROS | dict(numbers.outcomes) if labels[0] != DROPPED else numbers.outcomes
            for outcome, count in outcomes.items():
                calls.add_metric((*labels, _TEXTS[outcome]), count)
            retries.add_metric(labels, numbers.retries)
            seconds.add_metric(labels, self._cumulated(numbers), numbers.seconds)
            in_flight.add_metric(labels, numbers.in_flight)
        yield from families

    def _scrape(self) -> list[tuple[Key, Numbers]]:
        now = self._clock()
        rows = []
        with self._lock:
            self._settle()
            for key, series in list(self._series.items()):
                numbers = series.seen = series.read()
                rows.append((key, numbers))
                ended = self._ended.get(key)
                if ended is not None and ended.is_over(numbers, now):
                    del self._series[key], self._ended[key]
            numbers = self._dropped.read()
        if numbers.ended:
            rows.append(((DROPPED, DROPPED), numbers))
        return rows

    def _settle(self) -> None:
        """Note whose last user has gone, and keep what has ended within its bound. Only with the lock."""
        while self._let_go:
            key = self._let_go.popleft()
            self._series[key].users -= 1
            if not self._series[key].users:
                self._ended[key] = _Ended()
        excess = len(self._ended) - max(ENDED, len(self._series) - len(self._ended))
        for key in list(self._ended) if excess > 0 else ():
            numbers = self._series[key].read()
            if not numbers.in_flight:
                self._dropped.take_over(numbers, self._series[key].seen)
                del self._series[key], self._ended[key]
                excess -= 1
                if not excess:
                    return

    def _families(self) -> tuple[CounterMetricFamily, CounterMetricFamily, HistogramMetricFamily, GaugeMetricFamily]:
        return (
            CounterMetricFamily("jackfield_calls", "Calls that ended, by outcome.", labels=(*_LABELS, "outcome")),
            CounterMetricFamily("jackfield_call_retries", "Attempts that were followed by another.", labels=_LABELS),
            HistogramMetricFamily("jackfield_call_duration_seconds", "How long calls took.", labels=_LABELS),
            GaugeMetricFamily("jackfield_calls_in_flight", "Calls that are under way.", labels=_LABELS),
        )

    def _cumulated(self, numbers: Numbers) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        rows: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        count = 0
        for text, own, exemplar in zip(self._texts, numbers.buckets, numbers.exemplars, strict=True):
            count += own
            if exemplar is None:
                rows.append((text, count))
            else:
                trace, value, at = exemplar
                ids = {"trace_id": format_trace_id(trace.trace_id), "span_id": format_span_id(trace.span_id)}
                rows.append((text, count, Exemplar(ids, value, at)))
        return rows
