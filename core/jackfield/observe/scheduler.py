"""Metrics of executors, asked for when somebody scrapes: what entered, what was refused, what waits, who works."""

import threading
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jackfield.observe.barrier import observer_failed
from jackfield.ports import ExecutorStats

Source = Callable[[], ExecutorStats]

_PRIORITY = "normal"  # the only one there is so far; dashboards can already group by it


class SchedulerCollector(Collector):
    """Expose the counts of every watched executor of one registry.

    - `scheduler_task_enqueued_total{queue_type,priority}`, `scheduler_task_rejected_total{queue_type,priority}`
    - `scheduler_late_results_total{queue_type}`: results that came after their deadline
    - `scheduler_pending_tasks{queue_type}`
    - `scheduler_executors{queue_type,state}`, the state being idle, busy or lingering
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[object, tuple[str, Source]] = {}
        # What ended sources had counted: a counter must not fall while others of its name go on.
        self._ended: dict[str, tuple[int, int, int]] = {}

    def watch(self, name: str, stats: Source) -> Callable[[], None]:
        """Add a source.

        Args:
            name: the label `queue_type`; sources of one name are added up.
            stats: gives the counts of the moment.

        Returns:
            A function that takes the source away again; the name goes with its last source.
        """
        token = object()
        with self._lock:
            self._sources[token] = (name, stats)

        def unwatch() -> None:
            last = _read(stats) or ExecutorStats()
            with self._lock:
                if self._sources.pop(token, None) is None:
                    return
                if all(other != name for other, _ in self._sources.values()):
                    self._ended.pop(name, None)
                else:
                    self._ended[name] = _plus(self._ended.get(name, (0, 0, 0)), last)

        return unwatch

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask every source and give the families with their samples."""
        enqueued, rejected, late, pending, executors = families = _families()
        with self._lock:
            sources = list(self._sources.values())
            counted = dict(self._ended)
        levels: dict[str, tuple[int, int, int, int]] = {}
        for name, stats in sources:
            if (now := _read(stats)) is None:
                continue
            counted[name] = _plus(counted.get(name, (0, 0, 0)), now)
            waiting, idle, busy, lingering = levels.get(name, (0, 0, 0, 0))
            levels[name] = (waiting + now.pending, idle + now.idle, busy + now.busy, lingering + now.lingering)
        for name, (entered, refused, overdue) in counted.items():
            enqueued.add_metric((name, _PRIORITY), entered)
            rejected.add_metric((name, _PRIORITY), refused)
            late.add_metric((name,), overdue)
        for name, (waiting, idle, busy, lingering) in levels.items():
            pending.add_metric((name,), waiting)
            executors.add_metric((name, "idle"), idle)
            executors.add_metric((name, "busy"), busy)
            executors.add_metric((name, "lingering"), lingering)
        yield from families


def _read(stats: Source) -> ExecutorStats | None:
    try:
        return stats()
    except Exception as error:  # noqa: BLE001  # one sick executor must not hide all other metrics of the process
        observer_failed(stats, error)
        return None


def _plus(counts: tuple[int, int, int], now: ExecutorStats) -> tuple[int, int, int]:
    entered, refused, late = counts
    return entered + now.enqueued, refused + now.rejected, late + now.late


def _families() -> tuple[
    CounterMetricFamily, CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily
]:
    by_priority = ("queue_type", "priority")
    return (
        CounterMetricFamily("scheduler_task_enqueued", "Tasks that an executor accepted.", labels=by_priority),
        CounterMetricFamily("scheduler_task_rejected", "Tasks that an executor refused.", labels=by_priority),
        CounterMetricFamily("scheduler_late_results", "Results after their deadline.", labels=("queue_type",)),
        GaugeMetricFamily("scheduler_pending_tasks", "Tasks accepted and not yet running.", labels=("queue_type",)),
        GaugeMetricFamily("scheduler_executors", "Threads or workers by state.", labels=("queue_type", "state")),
    )
