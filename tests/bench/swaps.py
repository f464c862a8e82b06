"""Swaps under full read load: what readers see, and how many swaps a second get through."""

import sys
import threading
import time
from collections.abc import Callable
from time import perf_counter

import attrs
from harness import Effort, Series
from results import Check, Row, Section
from subjects import ITEM, Item

from jackfield import Host

_READERS = 4
_EVENT = 0.0005
"""Seconds the writer waits between swaps, as for an event: each time it has to win the interpreter back."""


@attrs.define
class Tally:
    """What one reader counted."""

    reads: int = 0
    failed: int = 0
    torn: int = 0


class HostSide:
    """A host with two functions that are always replaced together."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._generation = 0
        self.swap()

    def swap(self) -> None:
        """Replace both in one transaction."""
        self._generation += 1
        with self._host.update() as transaction:
            if self._generation > 1:
                transaction.unregister("pair.left")
                transaction.unregister("pair.right")
            for name in ("pair.left", "pair.right"):
                transaction.register(name, _answering(self._generation), version=str(self._generation))

    def roll_back(self) -> None:
        """Bring back the revision before this one."""
        self._host.rollback(self._host.revisions[-2])

    def read(self, tally: Tally) -> None:
        """Call both; within one revision both must be of one transaction."""
        tally.reads += 1
        revision = self._host.snapshot.revision
        try:
            left = self._host.call("pair.left", ITEM)
            right = self._host.call("pair.right", ITEM)
        except Exception:  # noqa: BLE001  # whatever it is, the count must stay zero
            tally.failed += 1
            return
        snapshot = self._host.snapshot
        halves = {snapshot.functions[name].default for name in ("pair.left", "pair.right")}
        if len(halves) > 1 or (left != right and snapshot.revision == revision):
            tally.torn += 1


class DictSide:
    """The floor: a bare dict behind an attribute, replaced whole."""

    def __init__(self) -> None:
        self._generation = 0
        self.functions: dict[str, Callable[[Item], int]] = {}

    def swap(self) -> None:
        """Store a new dict."""
        self._generation += 1
        function = _answering(self._generation)
        self.functions = {**self.functions, "pair.left": function, "pair.right": function}


def run(effort: Effort) -> Section:
    """Compare swaps of the host with stores of a bare dict under the same load, at two switch intervals."""
    seconds, rounds = (0.3, 2) if effort.quick else (1.2, 7)
    rows = []
    total = Tally()
    usual = sys.getswitchinterval()
    with Host(observers=()) as host:
        side = HostSide(host)
        side.swap()  # so that there is a revision to go back to
        writers = {"transaction": side.swap, "rollback": side.roll_back, "dict": DictSide().swap}
        for interval in (usual, 0.0005):
            sys.setswitchinterval(interval)
            try:
                taken: dict[str, list[float]] = {label: [] for label in writers}
                for turn in range(rounds):
                    for label in list(writers) if turn % 2 == 0 else list(writers)[::-1]:
                        taken[label].append(_swap_time(writers[label], side.read, seconds, total))
            finally:
                sys.setswitchinterval(usual)
            series = {label: Series(tuple(samples)) for label, samples in taken.items()}
            rows += [
                _row("a transaction of two functions", series["transaction"], series["dict"], interval, bar=1.25),
                _row("a rollback to the revision before", series["rollback"], series["dict"], interval, bar=None),
            ]
    return Section(
        "Swaps under full read load",
        f"{_READERS} readers spin, calling two functions; a writer swaps both whenever an event from outside wakes it,"
        " or stores a bare dict instead. Times are from one event to the next. The bar allows the thread scheduler a"
        " quarter of noise.",
        rows,
        [
            Check("failed calls", total.failed, total.reads * 2),
            Check("reads that saw half a transaction", total.torn, total.reads),
        ],
    )


def _row(what: str, mine: Series, theirs: Series, interval: float, *, bar: float | None) -> Row:
    rates = f"{1 / mine.median:.0f} a second, switch interval {interval * 1e3:g} ms"
    return Row(f"{what}: {rates}", f"a bare dict store: {1 / theirs.median:.0f} a second", mine, theirs, bar=bar)


def _answering(generation: int) -> Callable[[Item], int]:
    def answer(item: Item) -> int:
        return generation

    return answer


def _swap_time(swap: Callable[[], None], read: Callable[[Tally], None], seconds: float, total: Tally) -> float:
    """Swap for some time while readers spin; add up what they counted.

    Returns:
        Seconds per swap.
    """
    stop = threading.Event()
    tallies = [Tally() for _ in range(_READERS)]

    def spin(tally: Tally) -> None:
        while not stop.is_set():
            read(tally)

    readers = [threading.Thread(target=spin, args=(tally,)) for tally in tallies]
    for reader in readers:
        reader.start()
    swaps = 0
    start = perf_counter()
    try:
        while perf_counter() - start < seconds or not swaps:
            swap()
            swaps += 1
            time.sleep(_EVENT)
        elapsed = perf_counter() - start
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    for tally in tallies:
        total.reads += tally.reads
        total.failed += tally.failed
        total.torn += tally.torn
    return elapsed / swaps
