"""Metrics of submitted calls, asked for when somebody scrapes: how many wait, for how long, and how they end."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jackfield.observe.barrier import observer_failed
from jackfield.strangers import is_interrupt


@attrs.frozen
class SubmissionCounts:
    """What one host knows of submitted calls at one moment.

    Attributes:
        waiting: how many wait to be run, by any host of the store.
        running: how many are being run, by any host of the store.
        age: seconds since the oldest of them was submitted; 0 if there is none.
        submits: function → how many this host has accepted.
        attempts: function → how many it has begun.
        settled: function, status and reason → how many it has settled.
    """

    waiting: int = 0
    running: int = 0
    age: float = 0.0
    submits: Mapping[str, int] = attrs.field(factory=dict)
    attempts: Mapping[str, int] = attrs.field(factory=dict)
    settled: Mapping[tuple[str, str, str], int] = attrs.field(factory=dict)


Source = Callable[[], SubmissionCounts]


class SubmissionCollector(Collector):
    """Expose what hosts know of submitted calls.

    - `jackfield_submissions{state}`, the state being accepted or running: of the whole store, as its hosts see it
    - `jackfield_submission_oldest_seconds`: the age of the oldest one that is not settled
    - `jackfield_submits_total{function}`, `jackfield_submission_attempts_total{function}`
    - `jackfield_submissions_settled_total{function,status,reason}`; dead letters are those of status `dead`

    Hosts that share a registry are added up; of what they see of a store the highest number counts.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with no host: at first, and in a forked child, where those of its parent do not work."""
        # Re-entrant: a signal handler may stop a host while its own thread is in here.
        self._lock = threading.RLock()
        self._sources: dict[object, Source] = {}
        self._ended = SubmissionCounts()

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
                    self._ended = attrs.evolve(_plus(self._ended, last), waiting=0, running=0, age=0.0)

        return unwatch

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask every host and give the families with their samples."""
        states, age, submits, attempts, settled = families = _families()
        with self._lock:
            sources, total = list(self._sources.values()), self._ended
        for counts in sources:
            total = _plus(total, _read(counts))
        states.add_metric(("accepted",), total.waiting)
        states.add_metric(("running",), total.running)
        age.add_metric((), total.age)
        for function, count in total.submits.items():
            submits.add_metric((function,), count)
        for function, count in total.attempts.items():
            attempts.add_metric((function,), count)
        for labels, count in total.settled.items():
            settled.add_metric(labels, count)
        yield from families


def _read(counts: Source) -> SubmissionCounts:
    try:
        return counts()
    except BaseException as error:  # one sick host must not hide all other metrics of the process
        if is_interrupt(error):
            raise
        observer_failed(counts, error)
        return SubmissionCounts()


def _plus(one: SubmissionCounts, other: SubmissionCounts) -> SubmissionCounts:
    return SubmissionCounts(
        max(one.waiting, other.waiting),
        max(one.running, other.running),
        max(one.age, other.age),
        Counter(one.submits) + Counter(other.submits),
        Counter(one.attempts) + Counter(other.attempts),
        Counter(one.settled) + Counter(other.settled),
    )


def _families() -> tuple[
    GaugeMetricFamily, GaugeMetricFamily, CounterMetricFamily, CounterMetricFamily, CounterMetricFamily
]:
    by_function = ("function",)
    ends = ("function", "status", "reason")
    return (
        GaugeMetricFamily("jackfield_submissions", "Submitted calls that are not settled.", labels=("state",)),
        GaugeMetricFamily("jackfield_submission_oldest_seconds", "Age of the oldest of them.", labels=()),
        CounterMetricFamily("jackfield_submits", "Calls that were accepted for later.", labels=by_function),
        CounterMetricFamily("jackfield_submission_attempts", "Attempts of submitted calls.", labels=by_function),
        CounterMetricFamily("jackfield_submissions_settled", "Submitted calls that have ended.", labels=ends),
    )
