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

    def read(self, tally: Tally) -> None:
        """Call both, and look whether one snapshot ever holds halves of two transactions."""
        tally.reads += 1
        try:
            left = self._host.call("pair.left", ITEM)
            right = self._host.call("pair.right", ITEM)
        except Exception:  # noqa: BLE001  # whatever it is, the count must stay zero
            tally.failed += 1
            return
        functions = self._host.snapshot.functions
        if right < left or functions["pair.left"].default != functions["pair.right"].default:
            tally.torn += 1


class DictSide:
    """A bare dict behind an attribute, replaced whole."""

    def __init__(self) -> None:
        self._generation = 0
        self._functions: dict[str, Callable[[Item], int]] = {}
        self.swap()

    def swap(self) -> None:
        """Store a new dict."""
        self._generation += 1
        function = _answering(self._generation)
        self._functions = {**self._functions, "pair.left": function, "pair.right": function}

    def read(self, tally: Tally) -> None:
        """Call both out of it."""
        tally.reads += 1
        self._functions["pair.left"](ITEM)
        self._functions["pair.right"](ITEM)


def run(effort: Effort) -> Section:
    """Compare swaps of the host with stores of a bare dict, at two switch intervals."""
    seconds, rounds = (0.3, 2) if effort.quick else (1.5, 5)
    rows = []
    total = Tally()
    usual = sys.getswitchinterval()
    with Host(observers=()) as host:
        host_side, dict_side = HostSide(host), DictSide()
        for interval in (usual, 0.0005):
            sys.setswitchinterval(interval)
            try:
                taken: dict[str, list[float]] = {"host": [], "dict": []}
                for _ in range(rounds):
                    taken["host"].append(_swap_time(host_side, seconds, total))
                    taken["dict"].append(_swap_time(dict_side, seconds, Tally()))
            finally:
                sys.setswitchinterval(usual)
            mine, theirs = Series(tuple(taken["host"])), Series(tuple(taken["dict"]))
            rate = f"{1 / mine.median:.0f} swaps a second, switch interval {interval * 1e3:g} ms"
            rows.append(Row(rate, f"a bare dict store: {1 / theirs.median:.0f} a second", mine, theirs, bar=1.25))
    return Section(
        "Swaps under full read load",
        f"{_READERS} readers spin; a writer replaces two functions in one transaction whenever an event from outside"
        " wakes it. The bar allows the thread scheduler a quarter of noise.",
        rows,
        [
            Check("failed calls", total.failed, total.reads * 2),
            Check("reads that saw half a transaction", total.torn, total.reads),
        ],
    )


def _answering(generation: int) -> Callable[[Item], int]:
    def answer(item: Item) -> int:
        return generation

    return answer


def _swap_time(side: HostSide | DictSide, seconds: float, total: Tally) -> float:
    """Swap for some time while readers spin; add up what they counted.

    Returns:
        Seconds per swap.
    """
    stop = threading.Event()
    tallies = [Tally() for _ in range(_READERS)]

    def spin(tally: Tally) -> None:
        while not stop.is_set():
            side.read(tally)

    readers = [threading.Thread(target=spin, args=(tally,)) for tally in tallies]
    for reader in readers:
        reader.start()
    swaps = 0
    start = perf_counter()
    try:
        while perf_counter() - start < seconds or not swaps:
            side.swap()
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
