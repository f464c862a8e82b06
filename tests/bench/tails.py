"""Hot swaps under full read load: the slowest hundredth of look-ups and calls, beside the same readers undisturbed."""

import sys
import threading
import time
from collections.abc import Callable
from time import perf_counter, perf_counter_ns
from typing import Final

import attrs
from harness import Effort, Series
from results import Check, Row, Section, Table
from subjects import ITEM
from swaps import HostSide

from jackfield import Host

_READERS: Final = 4
_INTERVAL: Final = 0.0005
"""Seconds: the switch interval, with which a reader that has to wait for the others waits a hundredth of the usual."""

_EVENT: Final = 0.0005
"""Seconds between two swaps."""

_BUCKET: Final = 10
"""Nanoseconds that one bucket of a histogram spans."""

_BUCKETS: Final = 400_000
"""Up to 4 ms; what takes longer is counted in the last."""

_TURN: Final = 10_000
"""The bucket of 0.1 ms: what takes longer has waited for other threads' turns."""


@attrs.define
class Reader:
    """What one reader measured: two histograms, and what must never happen."""

    looks: list[int] = attrs.field(factory=lambda: [0] * _BUCKETS)
    calls: list[int] = attrs.field(factory=lambda: [0] * _BUCKETS)
    failed: int = 0
    missing: int = 0

    def spin(self, host: Host, stop: threading.Event) -> None:
        """Look up and call, timing each by itself, until it is stopped."""
        looks, calls, last, clock = self.looks, self.calls, _BUCKETS - 1, perf_counter_ns
        while not stop.is_set():
            begun = clock()
            try:
                host.snapshot.functions["pair.left"]
            except KeyError:
                self.missing += 1
            looked = clock()
            try:
                host.call("pair.left", ITEM)
            except Exception:  # noqa: BLE001  # whatever it is, the count must stay zero
                self.failed += 1
            called = clock()
            looks[min((looked - begun) // _BUCKET, last)] += 1
            calls[min((called - looked) // _BUCKET, last)] += 1


@attrs.frozen
class Round:
    """What all readers of one round measured together."""

    looks: list[int]
    calls: list[int]
    failed: int
    missing: int
    swaps: int
    seconds: float


def run(effort: Effort) -> Section:
    """Compare readers while functions are swapped with the same readers while nothing is."""
    rounds = 3 if effort.quick else 6
    busy: list[Round] = []
    quiet: list[Round] = []
    usual = sys.getswitchinterval()
    with Host(observers=()) as host:
        side = HostSide(host)
        sys.setswitchinterval(_INTERVAL)
        try:
            for turn in range(rounds):
                for kind in (busy, quiet) if turn % 2 else (quiet, busy):
                    seconds = effort.load / rounds / (1 if kind is busy else 2)
                    kind.append(_round(host, side.swap if kind is busy else None, seconds))
        finally:
            sys.setswitchinterval(usual)
    calls = sum(sum(each.calls) for each in busy)
    swaps = sum(each.swaps for each in busy)
    seconds = sum(each.seconds for each in busy)
    return Section(
        "Hot swaps under full read load: the tail",
        f"{_READERS} readers spin, switch interval {_INTERVAL * 1e3:g} ms, each look-up and each call timed by itself;"
        f" meanwhile {swaps:,} transactions of two functions in {seconds:.0f} s ({swaps / seconds:.0f} a second), or"
        " none. About one call in a thousand waits for the other threads' turns, swaps or no swaps: that lies beyond"
        " the 99th percentile. Every time includes a clock read.",
        [
            _row("p99 of `host.snapshot.functions[name]`", busy, quiet, lambda each: each.looks),
            _row("p99 of `host.call(name, item)`", busy, quiet, lambda each: each.calls),
        ],
        [
            Check("failed calls during swaps", sum(each.failed for each in busy), calls),
            Check("look-ups that found nothing", sum(each.missing for each in busy), calls),
        ],
        Table(
            ("readers", "operation", "p50 (ns)", "p99 (ns)", "p99.9 (ns)", "over 0.1 ms, of a million"),
            [
                _line("quiet", "look-up", quiet, lambda each: each.looks),
                _line("swaps", "look-up", busy, lambda each: each.looks),
                _line("quiet", "call", quiet, lambda each: each.calls),
                _line("swaps", "call", busy, lambda each: each.calls),
            ],
        ),
    )


def _round(host: Host, swap: Callable[[], None] | None, seconds: float) -> Round:
    """Let readers spin for some time; swap meanwhile, or sleep."""
    stop = threading.Event()
    readers = [Reader() for _ in range(_READERS)]
    threads = [threading.Thread(target=reader.spin, args=(host, stop)) for reader in readers]
    for thread in threads:
        thread.start()
    swaps = 0
    start = perf_counter()
    try:
        if swap is None:
            time.sleep(seconds)
        while swap is not None and (perf_counter() - start < seconds or not swaps):
            swap()
            swaps += 1
            time.sleep(_EVENT)
        elapsed = perf_counter() - start
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return Round(
        _sum([reader.looks for reader in readers]),
        _sum([reader.calls for reader in readers]),
        sum(reader.failed for reader in readers),
        sum(reader.missing for reader in readers),
        swaps,
        elapsed,
    )


def _sum(histograms: list[list[int]]) -> list[int]:
    return [sum(counts) for counts in zip(*histograms, strict=True)]


def _percentile(histogram: list[int], part: float) -> float:
    """Give the seconds within which that part of the operations were through."""
    wanted = sum(histogram) * part
    so_far = 0
    for index, count in enumerate(histogram):
        so_far += count
        if so_far >= wanted:
            return (index + 1) * _BUCKET / 1e9
    raise AssertionError(part)  # the whole histogram holds every part of itself


def _row(what: str, busy: list[Round], quiet: list[Round], which: Callable[[Round], list[int]]) -> Row:
    mine, theirs = (Series(tuple(_percentile(which(each), 0.99) for each in kind)) for kind in (busy, quiet))
    return Row(what, "the same while nothing is swapped", mine, theirs, bar=2.0)


def _line(kind: str, what: str, rounds: list[Round], which: Callable[[Round], list[int]]) -> list[str | float]:
    histogram = _sum([which(each) for each in rounds])
    parts = [_percentile(histogram, part) * 1e9 for part in (0.5, 0.99, 0.999)]
    return [kind, what, *parts, sum(histogram[_TURN:]) / sum(histogram) * 1e6]
