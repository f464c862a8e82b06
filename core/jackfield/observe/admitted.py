"""Metrics of admission, asked for when somebody scrapes: who came, waited, was refused, and what each tenant received.

Tenants are labels here, and few: the first hundred that a scrape finds have series of their own for as long as the
process lives, all others are one. So no series moves from one label to another, and no counter falls.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from jackfield.model.admitted import AT_THE_ENTRANCE, IN_THE_QUEUE, AdmissionStats, FunctionStats, TenantStats
from jackfield.model.stored import BOUNDS
from jackfield.observe.barrier import observer_failed
from jackfield.ports import ExecutorStats
from jackfield.strangers import is_interrupt

QUEUE: Final = "admission"
"""The label `queue_type` of what waits for a seat."""

PRIORITIES: Final = ("normal", "low")

TENANTS: Final = 100
"""How many tenants have series of their own."""

OTHERS: Final = "(other)"
"""The label of all further ones."""

Source = Callable[[], AdmissionStats | None]

_NOTHING: Final = AdmissionStats(0, 0, {}, {})


def as_executor(stats: Source, priority: str) -> Callable[[], ExecutorStats | None]:
    """Give the counts of an admission in the form that executors have: a queue, and seats that are busy or idle.

    Args:
        stats: gives its state.
        priority: of the tenants whose calls count. Idle seats are anybody's, and are told with those of `normal`.
    """

    def counted() -> ExecutorStats | None:
        found = stats()
        if found is None:
            return None
        own = [each for each in found.tenants.values() if each.priority == priority]
        idle = max(found.limit - found.inside, 0) if priority == PRIORITIES[0] else 0
        return ExecutorStats(
            enqueued=sum(each.enqueued for each in own),
            rejected=sum(sum(each.refused.values()) for each in own),
            pending=sum(each.waiting for each in own),
            busy=sum(each.inside for each in own),
            idle=idle,
        )

    return counted


class AdmissionCollector(Collector):
    """Expose what hosts know of their tenants' calls.

    - `scheduler_task_submitted_total{queue_type,priority}`: calls that came;
      `scheduler_task_dispatched_total{queue_type,priority}`: those that got a seat. In between they are counted with
      those of executors: `scheduler_task_enqueued_total`, `scheduler_task_rejected_total`, `scheduler_pending_tasks`
    - `scheduler_admission_admitted_total{tenant}`, `scheduler_admission_rejected_total{tenant,reason}`
    - `scheduler_admission_wait_seconds{tenant}`, a histogram
    - `scheduler_admission_calls{tenant,state}`, the state being inside or waiting
    - `scheduler_admission_weight{tenant}`, `scheduler_admission_reserved_seats{tenant}`: what is due, and
      `scheduler_admission_seconds_total{tenant}`: what was received
    - `scheduler_admission_limit`, `scheduler_admission_inside`: seats that are nobody's own
    - `scheduler_admission_function_limit{function,version}`, and
      `scheduler_admission_function_calls{function,version,state}`

    Hosts that share a registry are added up; a weight, and the seats that are kept, are the highest.
    """

    def __init__(self) -> None:
        self._labels: dict[str, None] = {}
        self.renew()

    def renew(self) -> None:
        """Begin with no host: at first, and in a forked child, where those of its parent do not work."""
        # Re-entrant: a signal handler may stop a host while its own thread is in here.
        self._lock = threading.RLock()
        self._sources: dict[object, Source] = {}
        self._last: dict[object, AdmissionStats] = {}
        self._before: dict[object, Mapping[str, TenantStats]] = {}
        self._ended: Mapping[str, TenantStats] = {}

    def watch(self, stats: Source) -> Callable[[], None]:
        """Add a host.

        Args:
            stats: gives its state of the moment, or None when there is nothing left to ask.

        Returns:
            A function that takes it away again; what it had counted stays.
        """
        token, first = object(), _read(stats)
        with self._lock:
            self._sources[token], self._last[token] = stats, _NOTHING
            # One that is started again has counted before, which is in what has ended.
            self._before[token] = first.tenants if isinstance(first, AdmissionStats) else {}

        def unwatch() -> None:
            last = _read(stats)
            with self._lock:
                self._note(token, last)
                self._end(token)

        return unwatch

    def _note(self, token: object, now: AdmissionStats | BaseException | None) -> None:
        """Keep what a host has counted; one that is sick takes nothing of it back. Only with the lock."""
        if isinstance(now, AdmissionStats) and token in self._sources:
            before = self._before[token]
            tenants = {
                name: _since(each, before[name]) if name in before else each for name, each in now.tenants.items()
            }
            self._last[token] = attrs.evolve(now, tenants=tenants)

    def _end(self, token: object) -> None:
        """Take a host away; what it had counted stays. Only with the lock."""
        if self._sources.pop(token, None) is not None:
            del self._before[token]
            self._ended = _together([self._ended, _over(self._last.pop(token).tenants)])

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _Families().all

    def collect(self) -> Iterator[Metric]:
        """Ask every host and give the families with their samples."""
        with self._lock:
            sources = list(self._sources.items())
        read = {token: _read(stats) for token, stats in sources}  # without the lock: they have locks of their own
        with self._lock:
            for token, now in read.items():
                self._note(token, now)
                if now is None:
                    self._end(token)
            states = list(self._last.values())
            everyone = _together([self._ended, *(state.tenants for state in states)])
            tenants = self._labelled(everyone)
        families = _Families()
        for priority in PRIORITIES:
            own = [each for each in everyone.values() if each.priority == priority]
            families.submitted.add_metric((QUEUE, priority), sum(map(_came, own)))
            families.dispatched.add_metric((QUEUE, priority), sum(each.admitted for each in own))
        for name, tenant in tenants.items():
            families.add(name, tenant)
        families.add_limits(states)
        yield from families.all

    def _labelled(self, tenants: Mapping[str, TenantStats]) -> dict[str, TenantStats]:
        """Put all those together that have no label of their own. Only with the lock."""
        for name in tenants:
            if len(self._labels) >= TENANTS:
                break
            self._labels.setdefault(name)
        others = [{OTHERS: each} for name, each in tenants.items() if name not in self._labels]
        return {**{name: each for name, each in tenants.items() if name in self._labels}, **_together(others)}


class _Families:
    """The families of one scrape, and what goes into them."""

    def __init__(self) -> None:
        by_priority, by_tenant, by_version = ("queue_type", "priority"), ("tenant",), ("function", "version")
        counter, gauge = CounterMetricFamily, GaugeMetricFamily
        self.submitted = counter("scheduler_task_submitted", "Tasks that came to a queue.", labels=by_priority)
        self.dispatched = counter("scheduler_task_dispatched", "Tasks whose turn came.", labels=by_priority)
        self._admitted = counter("scheduler_admission_admitted", "Calls that got a seat.", labels=by_tenant)
        self._rejected = counter(
            "scheduler_admission_rejected", "Calls that got none, by why.", labels=(*by_tenant, "reason")
        )
        self._waits = HistogramMetricFamily(
            "scheduler_admission_wait_seconds", "How long those waited that got a seat.", labels=by_tenant
        )
        self._calls = gauge("scheduler_admission_calls", "Calls that wait or are inside.", labels=(*by_tenant, "state"))
        self._weight = gauge("scheduler_admission_weight", "The share that is due.", labels=by_tenant)
        self._seats = gauge("scheduler_admission_reserved_seats", "Seats that are kept.", labels=by_tenant)
        self._seconds = counter("scheduler_admission_seconds", "The time that calls have taken.", labels=by_tenant)
        self._limit = gauge("scheduler_admission_limit", "Seats that are nobody's own, as found out.", labels=())
        self._inside = gauge("scheduler_admission_inside", "Those of them that are taken.", labels=())
        self._function_limit = gauge(
            "scheduler_admission_function_limit", "Seats of a function version, as found out.", labels=by_version
        )
        self._function_calls = gauge(
            "scheduler_admission_function_calls", "Its calls that wait or are inside.", labels=(*by_version, "state")
        )

    @property
    def all(self) -> Iterator[Metric]:
        """Give them all."""
        return iter(vars(self).values())

    def add(self, name: str, tenant: TenantStats) -> None:
        """Add a tenant."""
        self._admitted.add_metric((name,), tenant.admitted)
        for reason in (*AT_THE_ENTRANCE, *IN_THE_QUEUE):  # what an alert is made of is there from the beginning
            self._rejected.add_metric((name, reason), tenant.refused.get(reason, 0))
        buckets = zip(map(floatToGoString, BOUNDS), accumulate(tenant.waits.counts), strict=True)
        self._waits.add_metric((name,), list(buckets), tenant.waits.seconds)
        self._calls.add_metric((name, "inside"), tenant.inside)
        self._calls.add_metric((name, "waiting"), tenant.waiting)
        self._seconds.add_metric((name,), tenant.seconds)
        if name != OTHERS:
            self._weight.add_metric((name,), tenant.weight)
            self._seats.add_metric((name,), tenant.seats)

    def add_limits(self, states: Sequence[AdmissionStats]) -> None:
        """Add what was found out of the seats that there are."""
        if not states:
            return
        self._limit.add_metric((), sum(state.limit for state in states))
        self._inside.add_metric((), sum(state.inside for state in states))
        versions: dict[str, list[FunctionStats]] = {}
        for state in states:
            for key, stats in state.functions.items():
                versions.setdefault(key, []).append(stats)
        for key, each in versions.items():
            name, _, version = key.partition("@")
            self._function_limit.add_metric((name, version), sum(one.limit for one in each))
            self._function_calls.add_metric((name, version, "inside"), sum(one.inside for one in each))
            self._function_calls.add_metric((name, version, "waiting"), sum(one.waiting for one in each))


def _read(stats: Source) -> AdmissionStats | BaseException | None:
    try:
        return stats()
    except BaseException as error:  # one sick host must not hide all other metrics of the process
        if is_interrupt(error):
            raise
        observer_failed(stats, error)
        return error


def _together(each: Sequence[Mapping[str, TenantStats]]) -> dict[str, TenantStats]:
    found: dict[str, TenantStats] = {}
    for tenants in each:
        for name, tenant in tenants.items():
            found[name] = _plus(found[name], tenant) if name in found else tenant
    return found


def _plus(one: TenantStats, other: TenantStats) -> TenantStats:
    return TenantStats(
        max(one.weight, other.weight), max(one.seats, other.seats), one.inside + other.inside,
        one.waiting + other.waiting, one.admitted + other.admitted, Counter(one.refused) + Counter(other.refused),
        one.seconds + other.seconds, one.waits + other.waits, one.left + other.left, other.priority,
    )  # fmt: skip


def _since(now: TenantStats, before: TenantStats) -> TenantStats:
    """Give what has been counted since an earlier moment."""
    return attrs.evolve(
        now,
        admitted=now.admitted - before.admitted,
        refused=Counter(now.refused) - Counter(before.refused),
        seconds=now.seconds - before.seconds,
        waits=now.waits - before.waits,
        left=now.left - before.left,
    )


def _over(tenants: Mapping[str, TenantStats]) -> dict[str, TenantStats]:
    """Give what stays of tenants when their host has ended: nobody waits or is inside any more, nothing is due."""
    return {
        name: attrs.evolve(each, weight=0.0, seats=0, inside=0, waiting=0, left=each.left + each.waiting)
        for name, each in tenants.items()
    }


def _came(tenant: TenantStats) -> int:
    return tenant.enqueued + sum(tenant.refused.get(reason, 0) for reason in AT_THE_ENTRANCE)
