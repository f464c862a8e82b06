"""The metrics of several processes in one scrape, by way of prometheus-client's multi-process mode.

Where `PROMETHEUS_MULTIPROC_DIR` is set, each process copies what its collectors have into the client's files, once a
second; whoever is scraped adds up the files. Why so: `docs/decisions/0037-metrics-of-several-workers.md`.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from jackfield.log import host_log
from jackfield.observe.barrier import observer_failed

PAUSE: Final = 1.0
"""Seconds between two copies, at least: so old may be what a scrape finds of another process."""

_SHARE: Final = 50  # pauses are this many times longer than copies: at most 2 % of a core go there
_HIGHEST: Final = frozenset(
    {
        "jackfield_revision", "jackfield_canary_share", "jackfield_build", "scheduler_admission_weight",
        "scheduler_admission_reserved_seats", "jackfield_submissions", "jackfield_submission_oldest_seconds",
    }
)  # fmt: skip
_MODES: Final = {True: "livemax", False: "livesum"}

_Key = tuple[str, tuple[str, ...]]


class Renewable(Protocol):
    """A collector whose numbers are those of one process."""

    def collect(self) -> Iterator[Metric]:
        """Give the families with their samples."""
        ...

    def renew(self) -> None:
        """Begin anew in a forked child: at zero, with locks that nobody holds."""
        ...


def is_shared() -> bool:
    """Tell whether prometheus-client keeps metrics in files, which it decides when it is imported."""
    return values.ValueClass is not values.MutexValue


def share(folder: Path) -> None:
    """Keep the metrics of this process, and of those that it starts, in the files of a folder, before there are any.

    Args:
        folder: an empty one.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # what the client does when imported


def process_registry() -> CollectorRegistry:
    """Give what a scrape of this process shows unless it is told otherwise.

    Returns:
        prometheus-client's global registry; in multi-process mode one that adds up all processes.
    """
    if not is_shared():
        return REGISTRY
    registry = CollectorRegistry()
    registry.register(_AllProcesses())
    return registry


class _AllProcesses(Collector):
    """The files of all processes, added up, after those of this one are up to date and the levels of dead ones gone."""

    def describe(self) -> Iterator[Metric]:
        """Name nothing: what there is depends on the files."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give the sums."""
        copies.write()
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        forget_dead(folder)
        files = [str(file) for file in folder.glob("*.db") if file.is_file()]
        try:
            found = _added_up(files)
        except Exception as error:  # noqa: BLE001  # one is cut short: its process was killed, or the disk was full
            observer_failed(self, error)
            found = _added_up(file for file in files if _is_whole(file))
        yield from found


def _added_up(files: Iterable[str]) -> list[Metric]:
    return list(MultiProcessCollector.merge(files, accumulate=True))  # type: ignore[no-untyped-call]


def _is_whole(file: str) -> bool:
    try:
        _added_up([file])
    except Exception:  # noqa: BLE001  # the client reads what it wrote, and checks nothing
        return False
    return True


def forget_dead(folder: Path) -> None:
    """Take away the levels, such as calls in flight, of processes that no longer live; what they counted stays.

    Args:
        folder: that of the files.
    """
    for pid in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        if pid.isdecimal() and not _lives(int(pid)):
            with suppress(FileNotFoundError):  # another process was quicker
                mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Copies:
    """Copies the numbers of this process's collectors into the client's files, while a host runs.

    A copy is a scrape: of a counter goes into the file by what it has grown since the last one, so that neither a
    series that ends nor a process that comes after this one under its id takes anything back.
    """

    def __init__(self) -> None:
        self._collectors: weakref.WeakSet[Renewable] = weakref.WeakSet()
        self._renew()

    def _renew(self) -> None:
        self._turn = threading.RLock()  # one copy after the other: an older one must not be written after a newer
        self._writing = threading.RLock()  # held while the client's lock is, which must be free when a child is forked
        self._numbers: dict[str, dict[_Key, tuple[Any, float]]] = {}  # by family: the client's value, what we have seen
        self._users = 0
        self._awake: threading.Event | None = None
        self._failed = False

    def add(self, collector: Renewable) -> None:
        """Copy one more collector, for as long as there is one."""
        self._collectors.add(collector)

    def begin(self) -> Callable[[], None]:
        """Copy from now on; nothing happens outside of multi-process mode.

        Returns:
            A function that ends it when nobody else wants it, after a last copy; calling it again does nothing.
        """
        if not is_shared():
            return lambda: None
        with self._turn:
            self._users += 1
            if self._awake is None:
                self._awake = threading.Event()
                threading.Thread(target=self._run, args=(self._awake,), name="jackfield-metrics", daemon=True).start()
        left = [self._awake]

        def end() -> None:
            if not left or left.pop() is not self._awake:
                return  # ended before; or this is a forked child, where it never began
            self.write()
            with self._turn:
                self._users -= 1
                if not self._users and self._awake is not None:
                    self._awake.set()
                    self._awake = None

        return end

    def write(self) -> None:
        """Copy everything once."""
        with self._turn:
            try:
                for collector in list(self._collectors):
                    families = list(collector.collect())
                    with self._writing:
                        for family in families:
                            self._copy(family)
            except Exception as error:  # noqa: BLE001  # no folder, a full disk: calls go on, and so do later copies
                if not self._failed:
                    self._failed = True
                    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
                    host_log("ERROR", f"metrics cannot be written to PROMETHEUS_MULTIPROC_DIR ({folder})", error)
            else:
                self._failed = False

    def finish(self) -> None:
        """Copy what has been counted since the last copy, if there was one: calls may end after their host."""
        if self._numbers:
            self.write()

    def _run(self, awake: threading.Event) -> None:
        pause = PAUSE
        while not awake.wait(pause):
            began = perf_counter()
            self.write()
            pause = max(PAUSE, _SHARE * (perf_counter() - began))

    def _copy(self, family: Metric) -> None:
        # What is no counter is a level; those of a process that ends go with it.
        typ = family.type if family.type in {"counter", "histogram"} else "gauge"
        numbers = self._numbers.setdefault(family.name, {})
        gone = set(numbers)
        for name, labels, now in _own(family):
            key = name, tuple(labels.values())
            gone.discard(key)
            value, before = numbers.get(key) or (self._value(typ, family, name, labels), 0.0)
            if now != before:
                value.set(now) if typ == "gauge" else value.inc(now - before if now > before else now)
            numbers[key] = value, now
        for key in gone:  # a series that comes back begins at zero
            value, before = numbers[key]
            if typ == "gauge" and before:
                value.set(0.0)
            numbers[key] = value, 0.0

    def _value(self, typ: str, family: Metric, name: str, labels: Mapping[str, str]) -> Any:
        mode = _MODES[family.name in _HIGHEST]
        return values.ValueClass(
            typ, name if typ == "gauge" else family.name, name, tuple(labels), tuple(labels.values()),
            family.documentation, multiprocess_mode=mode,
        )  # fmt: skip

    def before_fork(self) -> None:
        """Wait for a copy that is being written."""
        self._writing.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._writing.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: what the parent has counted is the parent's."""
        self._renew()
        for collector in list(self._collectors):
            collector.renew()


def _own(family: Metric) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Give name, labels and value of each sample as the files have them: each bucket without those below it."""
    below = 0.0
    for sample in family.samples:
        if family.type == "histogram" and sample.name.endswith("_count"):
            continue  # it is the sum of the buckets
        if sample.name.endswith("_bucket"):
            yield sample.name, sample.labels, sample.value - below
            below = 0.0 if sample.labels["le"] == "+Inf" else sample.value
        else:
            yield sample.name, sample.labels, sample.value


copies: Final = Copies()
"""Those of this process."""

atexit.register(copies.finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=copies.before_fork,
        after_in_parent=copies.after_fork_in_parent,
        after_in_child=copies.after_fork_in_child,
    )
