"""Metrics of executors, asked for when somebody scrapes: what entered, what was refused, what waits, who works."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jackfield.observe.barrier import observer_failed
from jackfield.ports import ExecutorStats
from jackfield.strangers import is_interrupt

Source = Callable[[], ExecutorStats | None]

NORMAL: Final = "normal"
"""The priority of what has none."""

_Key = tuple[str, str]


class SchedulerCollector(Collector):
    """Expose the counts of every watched executor of one registry.

    - `scheduler_task_enqueued_total{queue_type,priority}`, `scheduler_task_rejected_total{queue_type,priority}`
    - `scheduler_late_results_total{queue_type}`: results that came after their deadline
    - `scheduler_pending_tasks{queue_type}`
    - `scheduler_executors{queue_type,state}`, the state being idle, busy or lingering
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with no source: at first, and in a forked child, which has none of its parent's threads."""
        # Re-entrant: a signal handler may stop a host while its own thread is in here.
        self._lock = threading.RLock()
        self._sources: dict[object, tuple[_Key, Source]] = {}
        # What each had counted when it was last asked: one that is sick, or gone, takes nothing of it back.
        self._last: dict[object, ExecutorStats] = {}
        # What ended sources had counted: a counter must not fall while others of its name go on.
        self._ended: dict[_Key, tuple[int, int, int]] = {}

    def watch(self, name: str, stats: Source, priority: str = NORMAL) -> Callable[[], None]:
        """Add a source.

        Args:
            name: the label `queue_type`; sources of one name are added up.
            priority: the label of what enters it.
            stats: gives the counts of the moment, or None when there is nothing left to count, which ends it.

        Returns:
            A function that takes the source away again; the name goes with its last source.
        """
        token = object()
        with self._lock:
            self._sources[token] = ((name, priority), stats)
            self._last[token] = ExecutorStats()

        def unwatch() -> None:
            last = _read(stats)
            with self._lock:
                if isinstance(last, ExecutorStats) and token in self._last:
                    self._last[token] = last
                self._end(token)

        return unwatch

    def _end(self, token: object) -> None:
        """Take a source away; what it had counted stays, or goes with its name. Only with the lock."""
        key, _ = self._sources.pop(token, (("", ""), None))
        last = self._last.pop(token, None)
        if last is None:
            return
        if all(other != key for other, _ in self._sources.values()):
            self._ended.pop(key, None)
        else:
            self._ended[key] = _plus(self._ended.get(key, (0, 0, 0)), last)

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask every source and give the families with their samples."""
        enqueued, rejected, late, pending, executors = families = _families()
        with self._lock:
            sources = list(self._sources.items())
        # Asked without the lock: they are not ours.
        read = {token: (name, _read(stats)) for token, ((name, _), stats) in sources}
        levels: dict[str, tuple[int, int, int, int]] = {}
        with self._lock:
            for token, (name, now) in read.items():
                if now is None:
                    self._end(token)
                elif token not in self._sources or not isinstance(now, ExecutorStats):
                    continue  # it has ended meanwhile, or is sick
                else:
                    self._last[token] = now
                    waiting, idle, busy, lingering = levels.get(name, (0, 0, 0, 0))
                    levels[name] = (waiting + now.pending, idle + now.idle, busy + now.busy, lingering + now.lingering)
            counted = dict(self._ended)
            for token, (key, _) in self._sources.items():
                counted[key] = _plus(counted.get(key, (0, 0, 0)), self._last[token])
        overdue: Counter[str] = Counter()
        for key, (entered, refused, came_late) in counted.items():
            enqueued.add_metric(key, entered)
            rejected.add_metric(key, refused)
            overdue[key[0]] += came_late
        for name, number in overdue.items():
            late.add_metric((name,), number)
        for name, (waiting, idle, busy, lingering) in levels.items():
            pending.add_metric((name,), waiting)
            executors.add_metric((name, "idle"), idle)
            executors.add_metric((name, "busy"), busy)
            executors.add_metric((name, "lingering"), lingering)
        yield from families


def _read(stats: Source) -> ExecutorStats | BaseException | None:
    try:
        return stats()
    except BaseException as error:  # one sick executor must not hide all other metrics of the process
        if is_interrupt(error):
            raise
        observer_failed(stats, error)
        return error


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
