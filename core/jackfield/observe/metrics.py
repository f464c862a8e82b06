"""Metrics: the counter, the duration histogram and the in-flight gauge of every function, for Prometheus."""

import threading
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import monotonic
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry

from jackfield.errors import Outcome
from jackfield.model.admitted import AdmissionStats
from jackfield.model.call import Call
from jackfield.model.spec import FunctionSpec
from jackfield.model.stored import StoreCounts
from jackfield.observe.admitted import PRIORITIES, QUEUE, AdmissionCollector, as_executor
from jackfield.observe.hosts import HostCollector, WatchedHost
from jackfield.observe.multiprocess import copies
from jackfield.observe.processes import ProcessCollector, ProcessCounts
from jackfield.observe.scheduler import NORMAL, SchedulerCollector
from jackfield.observe.series import CallCollector
from jackfield.observe.stored import StoreCollector
from jackfield.observe.submitted import SubmissionCollector, SubmissionCounts
from jackfield.ports import BoundObserver, ExecutorStats

BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds: a call in this process takes microseconds, one over a network seconds."""


class Metrics:
    """Count calls and outcomes, time them, and show how many are under way.

    - `jackfield_calls_total{function,version,outcome}`
    - `jackfield_call_duration_seconds{function,version}`, a histogram whose exemplars name a sampled trace of each
      bucket
    - `jackfield_calls_in_flight{function,version}`
    - `jackfield_call_retries_total{function,version}`, the attempts that were followed by another
    - of each watched executor the `scheduler_…` metrics, see `watch`
    - and of each host that it observes the states of plugins, faults, the revision and canaries, see `watch_host`.

    The series of a version outlive it: they stay until three scrapes, ten minutes apart, have seen their last numbers,
    and a version that comes back under its name goes on where it was. Any number of hosts may share a registry: they
    share the series of a function that both have. The numbers are this process's own; where `PROMETHEUS_MULTIPROC_DIR`
    is set they are copied into the files of prometheus-client's multi-process mode as well, once a second, while a host
    runs, and a scrape of those adds up all processes.

    Args:
        registry: where the metrics are exposed; by default prometheus-client's global one.
        buckets: upper bounds of the histogram, in seconds, ascending; one set for each registry.
        clock: what the ten minutes are measured with, for tests: a `jackfield.testing.FakeClock`; that of a registry is
            its first one's.

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

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        buckets: Sequence[float] = BUCKETS,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        bounds = tuple(float(bound) for bound in buckets if bound != float("inf"))
        if not bounds or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"Metrics: buckets must be ascending numbers of seconds, not {tuple(buckets)}")
        collectors = _collectors(REGISTRY if registry is None else registry, bounds, clock)
        self._calls, self._scheduler, self._hosts = collectors
        self._registry = REGISTRY if registry is None else registry

    def bind(self, spec: FunctionSpec) -> BoundObserver:
        """Bind to one function version: its series appear, or go on.

        Args:
            spec: the function; its name and version are the labels.

        Returns:
            The bound observer.
        """
        bound = BoundMetrics(self._calls, (spec.name, spec.version))
        # pyright takes the slots, which hold bound methods, for methods of the class that are still to be bound.
        return cast("BoundObserver", bound)

    def watch(self, name: str, stats: Callable[[], ExecutorStats | None], priority: str = NORMAL) -> Callable[[], None]:
        """Expose an executor's counts; they are asked for when the registry is scraped, and cost nothing else.

        Args:
            name: the label `queue_type`; executors of one name are added up.
            stats: gives the counts of the moment, or None when there is nothing left to count, which ends it; called
                from the scraping thread.
            priority: the label of what enters it.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        return _last_copied(self._scheduler.watch(name, stats, priority))

    def watch_admission(self, stats: Callable[[], AdmissionStats | None]) -> Callable[[], None]:
        """Expose who has come to a host's admission, waits, was refused, and runs. A host with shares does this.

        Args:
            stats: gives the state of the moment, or None when there is nothing left to ask.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        ends = [_collector(self._registry, AdmissionCollector).watch(stats)]
        ends += [self._scheduler.watch(QUEUE, as_executor(stats, each), each) for each in PRIORITIES]

        def end() -> None:
            for each in ends:
                each()

        return _last_copied(end)

    def watch_submissions(self, counts: Callable[[], SubmissionCounts]) -> Callable[[], None]:
        """Expose what a host knows of submitted calls. A host that accepts or runs some does this.

        Args:
            counts: gives the counts of the moment.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        return _last_copied(_collector(self._registry, SubmissionCollector).watch(counts))

    def watch_store(self, counts: Callable[[], StoreCounts]) -> Callable[[], None]:
        """Expose how long a host's store takes. A host that starts with a store that lasts does this.

        Args:
            counts: gives the counts of the moment.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        return _last_copied(_collector(self._registry, StoreCollector).watch(counts))

    def watch_processes(self, counts: Callable[[], ProcessCounts]) -> Callable[[], None]:
        """Expose how the processes fare that serve beside this one. `pluginctl serve` does this where it has several.

        Args:
            counts: gives the counts of the moment.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        return _last_copied(_collector(self._registry, ProcessCollector).watch(counts))

    def watch_host(self, host: WatchedHost) -> Callable[[], None]:
        """Expose what a host knows of itself; it is asked when the registry is scraped. A host that starts does this.

        Args:
            host: which; it is not kept alive, and goes from the exposition when it is dropped.

        Returns:
            A function that ends it; calling it again does nothing.
        """
        unwatch, end = _last_copied(self._hosts.watch(host)), copies.begin()

        def finish() -> None:
            unwatch()
            end()

        return finish


class BoundMetrics:
    """The series of one function version."""

    __slots__ = ("__weakref__", "_close", "finish", "retried", "start")

    def __init__(self, calls: CallCollector, key: tuple[str, str]) -> None:
        series = calls.acquire(key)
        self.start: Callable[[Call], None] = series.start
        self.finish: Callable[[object, Call, Outcome, BaseException | None, float], None] = series.finish
        self.retried: Callable[[Call, Outcome, BaseException, float], None] = series.retried
        # The endpoints of a host that is dropped without a stop are closed by nobody.
        self._close = weakref.finalize(self, calls.release, key)
        self._close.atexit = False

    def close(self) -> None:
        """Let go of the series; when the last one has, it stays for a while, so that its last numbers are scraped."""
        self._close()


def _last_copied(unwatch: Callable[[], None]) -> Callable[[], None]:
    """Copy for other processes, where that is done, before what has been counted goes with its source."""

    def end() -> None:
        copies.finish()
        unwatch()

    return end


_Collectors = tuple[CallCollector, SchedulerCollector, HostCollector]
_registries_lock = threading.Lock()
_registries: WeakKeyDictionary[CollectorRegistry, _Collectors] = WeakKeyDictionary()


def _collectors(registry: CollectorRegistry, bounds: tuple[float, ...], clock: Callable[[], float]) -> _Collectors:
    """Give the registry's collectors; the first to ask registers them, as two of one name would be refused."""
    with _registries_lock:
        found = _registries.get(registry)
        if found is None:
            found = _registries[registry] = _register(
                registry, (CallCollector(bounds, clock), SchedulerCollector(), HostCollector())
            )
    if found[0].bounds != bounds:
        raise ValueError(
            f"Metrics: this registry already has jackfield's histogram with buckets {found[0].bounds};"
            " give the same buckets=, or another registry"
        )
    return found


L = TypeVar("L", AdmissionCollector, SubmissionCollector, StoreCollector, ProcessCollector)

_late: WeakKeyDictionary[CollectorRegistry, dict[type[Any], Any]] = WeakKeyDictionary()


def _collector(registry: CollectorRegistry, kind: type[L]) -> L:
    """Give the registry's collector of what most hosts have not."""
    with _registries_lock:
        there = _late.setdefault(registry, {})
        found: L | None = there.get(kind)
        if found is None:
            found = kind()
            registry.register(found)
            copies.add(found)
            there[kind] = found
        return found


def _register(registry: CollectorRegistry, collectors: _Collectors) -> _Collectors:
    """Add collectors to a registry: all, or none when a name is taken."""
    for number, collector in enumerate(collectors):
        try:
            registry.register(collector)
        except ValueError:
            for earlier in collectors[:number]:
                registry.unregister(earlier)
            raise
    for collector in collectors:
        copies.add(collector)
    return collectors
