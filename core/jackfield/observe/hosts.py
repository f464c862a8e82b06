"""Metrics of hosts, asked for when somebody scrapes: plugins and their states, faults, the revision, canaries."""

import platform
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final, Protocol

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from jackfield.errors import Fault
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.record import PluginRecord, PluginState, WorkerRecord, WorkerState, WorkerTally
from jackfield.model.snapshot import Snapshot
from jackfield.observe.barrier import observer_failed
from jackfield.strangers import is_interrupt

_STATES: Final = tuple(state for state in PluginState if state is not PluginState.UNLOADED)


class _HasStatus(Protocol):
    """A canary."""

    @property
    def status(self) -> CanaryStatus:
        """What there is to know of it now."""
        ...


class WatchedHost(Protocol):
    """What is asked of a host."""

    @property
    def snapshot(self) -> Snapshot:
        """The current revision."""
        ...

    @property
    def plugins(self) -> Mapping[str, PluginRecord]:
        """Name → record."""
        ...

    @property
    def canaries(self) -> Sequence[_HasStatus]:
        """Those that run, and the one that was made last."""
        ...

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What was left out, and why."""
        ...

    @property
    def workers(self) -> Sequence[WorkerRecord]:
        """Its workers."""
        ...

    @property
    def worker_tallies(self) -> Mapping[str, WorkerTally]:
        """Plugin → what became of its workers."""
        ...


@attrs.frozen
class _View:
    """A host at one moment."""

    revision: int
    plugins: tuple[PluginRecord, ...]
    canaries: tuple[CanaryStatus, ...]
    faults: frozenset[Fault]
    workers: tuple[WorkerRecord, ...]
    starts: Mapping[tuple[str, ...], int]
    deaths: Mapping[tuple[str, ...], int]


_Counts = Mapping[tuple[str, ...], int]


class _Sum:
    """A count of what happens to plugins: kept here, since a counter must not fall when one of two hosts goes.

    Args:
        read: gives labels → count, of what was seen of a host; the first label is the plugin.
    """

    def __init__(self, read: Callable[[_View], _Counts]) -> None:
        self._read = read
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._last: dict[object, _Counts] = {}

    def begin(self, token: object, view: _View | None) -> None:
        """Note where a host begins; what it had counted when it ran before is counted already."""
        self._last[token] = {} if view is None else self._read(view)

    def add(self, token: object, view: _View) -> None:
        """Count what has happened since this host was last asked."""
        now = self._read(view)
        before = self._last[token]
        for labels, count in now.items():
            known = before.get(labels, 0)
            self._counts[labels] += count - known if count >= known else count  # less: it was added anew
        self._last[token] = now

    def end(self, token: object) -> None:
        """Forget a host, and the plugins that no other one has."""
        self._last.pop(token, None)

    def total(self) -> _Counts:
        """Give labels → count, of those that are there."""
        there = {labels for last in self._last.values() for labels in last}
        for labels in self._counts.keys() - there:
            del self._counts[labels]
        return {labels: self._counts[labels] for labels in sorted(there)}


class HostCollector(Collector):
    """Expose what hosts know of themselves.

    - `jackfield_plugin_state{plugin,state}`: 1 for the state that a plugin is in, 0 for the others; one that is
      unloaded has none
    - `jackfield_plugin_restarts_total{plugin}`: restarts by itself
    - `jackfield_workers{plugin,state}`, the state being busy or idle; `jackfield_worker_memory_bytes{plugin}`
    - `jackfield_worker_starts_total{plugin}`, `jackfield_worker_deaths_total{plugin,cause}`
    - `jackfield_faults{plugin,stage}`
    - `jackfield_revision`
    - `jackfield_canary_state{name,version,state}`, and while it runs `jackfield_canary_share{name,version}`
    - `jackfield_build_info{version,python}`

    Hosts that share a registry are added up: of a plugin that two of them have, the states count to two. The revision
    and a share are the highest one. A host that has stopped, or was dropped, is no longer in any of them.
    """

    def __init__(self) -> None:
        self._build: dict[str, str] = {}
        self.renew()

    def renew(self) -> None:
        """Begin with no host: at first, and in a forked child, where those of its parent do not work."""
        # Re-entrant: a signal handler may start or stop a host while its own thread is in here.
        self._lock = threading.RLock()
        self._hosts: dict[object, weakref.ref[WatchedHost]] = {}
        self._sums = _Sum(_restarts), _Sum(lambda view: view.starts), _Sum(lambda view: view.deaths)

    def watch(self, host: WatchedHost) -> Callable[[], None]:
        """Add a host, which is not kept alive by this.

        Args:
            host: asked from the scraping thread.

        Returns:
            A function that takes it away again.
        """
        token, reference, view = object(), weakref.ref(host), _view(host)
        with self._lock:
            self._hosts[token] = reference
            for each in self._sums:
                each.begin(token, view)

        def unwatch() -> None:
            there = reference()
            last = None if there is None else _view(there)
            with self._lock:
                if self._hosts.pop(token, None) is not None and last is not None:
                    for each in self._sums:
                        each.add(token, last)
                for each in self._sums:
                    each.end(token)

        return unwatch

    def describe(self) -> Iterator[Metric]:
        """Give the empty families, so that the registry knows the names."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Ask every host and give the families with their samples."""
        families = _families()
        states, restarts, workers, memory, starts, deaths, faults, revision, canary_state, share, build = families
        with self._lock:
            watched = [(token, reference()) for token, reference in self._hosts.items()]
        # Asked without the lock: hosts take locks of their own.
        seen = {token: _view(host) if host is not None else None for token, host in watched}
        views = [view for view in seen.values() if view is not None]
        for state_labels, number in _states(views).items():
            states.add_metric(state_labels, number)
        for family, counts in zip((restarts, starts, deaths), self._counted(dict(watched), seen), strict=True):
            for labels, count in counts.items():
                family.add_metric(labels, count)
        _add_workers(views, workers, memory)
        for labels, count in Counter((f.plugin, f.stage) for view in views for f in view.faults).items():
            faults.add_metric(labels, count)
        if views:
            revision.add_metric((), max(view.revision for view in views))
        _add_canaries(views, canary_state, share)
        build.add_metric((), self._built())
        yield from families

    def _counted(
        self, watched: Mapping[object, WatchedHost | None], seen: Mapping[object, _View | None]
    ) -> Iterable[_Counts]:
        with self._lock:
            for token, view in seen.items():
                if watched[token] is None:  # it was dropped without a stop
                    self._hosts.pop(token, None)
                    for each in self._sums:
                        each.end(token)
                elif view is not None and token in self._hosts:  # else it was stopped meanwhile, and counted then
                    for each in self._sums:
                        each.add(token, view)
            return [each.total() for each in self._sums]

    def _built(self) -> dict[str, str]:
        if not self._build:
            self._build = {"version": version("jackfield"), "python": platform.python_version()}
        return self._build


def _view(host: WatchedHost) -> _View | None:
    try:
        plugins = tuple(record for record in host.plugins.values() if record.state is not PluginState.UNLOADED)
        canaries = {(each.status.name, each.status.version): each.status for each in host.canaries}
        faults = {*host.faults, *(record.fault for record in plugins if record.fault is not None)}
        tallies = host.worker_tallies
        starts: dict[tuple[str, ...], int] = {(name,): tally.starts for name, tally in tallies.items()}
        deaths: dict[tuple[str, ...], int] = {
            (name, cause): count for name, tally in tallies.items() for cause, count in dict(tally.deaths).items()
        }
        return _View(
            host.snapshot.revision,
            plugins,
            tuple(canaries.values()),
            frozenset(faults),
            tuple(host.workers),
            starts,
            deaths,
        )
    except BaseException as error:  # one sick host must not hide all other metrics of the process
        if is_interrupt(error):
            raise
        observer_failed(host, error)
        return None


def _add_workers(views: Iterable[_View], workers: GaugeMetricFamily, memory: GaugeMetricFamily) -> None:
    there = [record for view in views for record in view.workers]
    for plugin in dict.fromkeys(name for view in views for name, *_ in view.starts):
        mine = [record for record in there if record.plugin == plugin]
        for state in WorkerState:
            workers.add_metric((plugin, state.value), sum(record.state is state for record in mine))
        memory.add_metric((plugin,), sum(record.memory or 0 for record in mine))


def _add_canaries(views: Iterable[_View], canary_state: GaugeMetricFamily, share: GaugeMetricFamily) -> None:
    running = Counter[tuple[str, str, str]]()
    shares: dict[tuple[str, str], float] = {}
    for status in (status for view in views for status in view.canaries):
        name = status.name, status.version
        for state in CanaryState:
            running[*name, state.value] += status.state is state
        if status.state is CanaryState.RUNNING:
            shares[name] = max(status.share, shares.get(name, 0.0))
    for trial, count in running.items():
        canary_state.add_metric(trial, count)
    for trial_name, part in shares.items():
        share.add_metric(trial_name, part)


def _restarts(view: _View) -> _Counts:
    return {(record.name,): record.restarts for record in view.plugins}


def _states(views: Iterable[_View]) -> Mapping[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    for record in (record for view in views for record in view.plugins):
        for state in _STATES:
            counts[record.name, state.value] += record.state is state
    return counts


def _families() -> tuple[
    GaugeMetricFamily,
    CounterMetricFamily,
    GaugeMetricFamily,
    GaugeMetricFamily,
    CounterMetricFamily,
    CounterMetricFamily,
    GaugeMetricFamily,
    GaugeMetricFamily,
    GaugeMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
]:
    trial = ("name", "version")
    return (
        GaugeMetricFamily("jackfield_plugin_state", "1 for the state of a plugin.", labels=("plugin", "state")),
        CounterMetricFamily("jackfield_plugin_restarts", "Restarts of a plugin by itself.", labels=("plugin",)),
        GaugeMetricFamily("jackfield_workers", "Child processes that run a plugin.", labels=("plugin", "state")),
        GaugeMetricFamily("jackfield_worker_memory_bytes", "Memory of a plugin's workers.", labels=("plugin",)),
        CounterMetricFamily("jackfield_worker_starts", "Workers that have started.", labels=("plugin",)),
        CounterMetricFamily("jackfield_worker_deaths", "Workers that have died.", labels=("plugin", "cause")),
        GaugeMetricFamily("jackfield_faults", "What is left out or does not run.", labels=("plugin", "stage")),
        GaugeMetricFamily("jackfield_revision", "The current revision of the functions.", labels=()),
        GaugeMetricFamily("jackfield_canary_state", "1 for the state of a canary.", labels=(*trial, "state")),
        GaugeMetricFamily("jackfield_canary_share", "The part of the calls under trial.", labels=trial),
        InfoMetricFamily("jackfield_build", "What runs here.", labels=()),
    )
