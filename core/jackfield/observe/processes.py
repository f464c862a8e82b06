"""Metrics of the processes that serve a door together, asked for when somebody scrapes."""

import threading
from collections.abc import Callable, Iterator, Mapping

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@attrs.frozen
class ProcessCounts:
    """How the processes fare that one process keeps.

    Attributes:
        states: state → how many are in it.
        deaths: cause → how many have ended that nobody had asked to.
    """

    states: Mapping[str, int] = attrs.field(factory=dict)
    deaths: Mapping[str, int] = attrs.field(factory=dict)


Source = Callable[[], ProcessCounts]


class ProcessCollector(Collector):
    """Expose how the processes fare that serve a door together.

    - `jackfield_processes{state}`, the state being starting, serving or down
    - `jackfield_process_deaths_total{cause}`, the cause being `exit` and a status, or a signal
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with none: at first, and in a forked child, which keeps none."""
        self._lock = threading.RLock()
        self._source: Source | None = None

    def watch(self, counts: Source) -> Callable[[], None]:
        """Expose those that one process keeps.

        Args:
            counts: gives the counts of the moment.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._source = counts

        def unwatch() -> None:
            with self._lock:
                self._source = None

        return unwatch

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask, and give the families with their samples."""
        states, deaths = families = _families()
        with self._lock:
            source = self._source
        now = ProcessCounts() if source is None else source()
        for state, count in now.states.items():
            states.add_metric((state,), count)
        for cause, count in now.deaths.items():
            deaths.add_metric((cause,), count)
        yield from families


def _families() -> tuple[GaugeMetricFamily, CounterMetricFamily]:
    return (
        GaugeMetricFamily("jackfield_processes", "Processes that serve the HTTP door.", labels=("state",)),
        CounterMetricFamily("jackfield_process_deaths", "Such processes that have died.", labels=("cause",)),
    )
