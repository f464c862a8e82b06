"""Metrics of stores, asked for when somebody scrapes: how long they take, what fails, what is read without them."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from jackfield.model.stored import BOUNDS, Durations, StoreCounts
from jackfield.observe.barrier import observer_failed
from jackfield.strangers import is_interrupt

Source = Callable[[], StoreCounts]


class StoreCollector(Collector):
    """Expose what hosts know of their stores.

    - `jackfield_store_seconds{operation}`, a histogram: `get`, `range`, `put`, `delete`, `lease`
    - `jackfield_store_errors_total{operation}`
    - `jackfield_store_stale_read_seconds`, a histogram: by how much reads were behind that came from the cache; its
      count is that of these reads
    - `jackfield_store_slow`: 1 while what is known is read at once

    Hosts that share a registry are added up.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with no host: at first, and in a forked child, where those of its parent do not work."""
        # Re-entrant: a signal handler may stop a host while its own thread is in here.
        self._lock = threading.RLock()
        self._sources: dict[object, Source] = {}
        self._ended = StoreCounts()

    def watch(self, counts: Source) -> Callable[[], None]:
        """Add a host.

        Args:
            counts: gives its counts of the moment.

        Returns:
            A function that takes it away again; what it had counted stays.
        """
        token = object()
        with self._lock:
            self._sources[token] = counts

        def unwatch() -> None:
            last = _read(counts)
            with self._lock:
                if self._sources.pop(token, None) is not None:
                    self._ended = attrs.evolve(_plus(self._ended, last), slow=False)

        return unwatch

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask every host and give the families with their samples."""
        taken, failed, cached, slow = families = _families()
        with self._lock:
            sources, total = list(self._sources.values()), self._ended
        for counts in sources:
            total = _plus(total, _read(counts))
        for operation, durations in total.taken.items():
            taken.add_metric((operation,), _cumulated(durations), durations.seconds)
            failed.add_metric((operation,), total.failed.get(operation, 0))
        cached.add_metric((), _cumulated(total.cached), total.cached.seconds)
        slow.add_metric((), total.slow)
        yield from families


def _read(counts: Source) -> StoreCounts:
    try:
        return counts()
    except BaseException as error:  # one sick host must not hide all other metrics of the process
        if is_interrupt(error):
            raise
        observer_failed(counts, error)
        return StoreCounts()


def _plus(one: StoreCounts, other: StoreCounts) -> StoreCounts:
    return StoreCounts(
        {
            name: one.taken.get(name, Durations()) + other.taken.get(name, Durations())
            for name in {**one.taken, **other.taken}
        },
        Counter(one.failed) + Counter(other.failed),
        one.cached + other.cached,
        one.slow or other.slow,
    )


def _cumulated(durations: Durations) -> list[tuple[str, float]]:
    return list(zip(map(floatToGoString, BOUNDS), accumulate(durations.counts), strict=True))


def _families() -> tuple[HistogramMetricFamily, CounterMetricFamily, HistogramMetricFamily, GaugeMetricFamily]:
    by_operation = ("operation",)
    return (
        HistogramMetricFamily("jackfield_store_seconds", "How long the store took.", labels=by_operation),
        CounterMetricFamily("jackfield_store_errors", "What the store failed at.", labels=by_operation),
        HistogramMetricFamily("jackfield_store_stale_read_seconds", "How old reads from the cache were.", labels=()),
        GaugeMetricFamily("jackfield_store_slow", "Whether reads come from the cache at once.", labels=()),
    )
