"""How cost grows with the number of functions: look-up, call, registration of all in one transaction, memory."""

import gc
import random
import statistics
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import islice
from time import perf_counter

from harness import Effort, Series, measure, statement
from results import Section, Table
from subjects import ITEM, Item

from jackfield import Host

_SIZES = (10, 100, 1_000, 10_000, 100_000)
_SAMPLE = 1_000
_MORE = 5
_TRACED = 10_000


def run(effort: Effort) -> Section:
    """Take the figures at every size."""
    columns = (
        "functions",
        "bare dict (ns)",
        "look-up (ns)",
        "call (ns)",
        "register all, one transaction (s)",
        "per function (µs)",
        "one more (µs)",
        "memory per function (KiB)",
    )
    sizes = _SIZES[:3] if effort.quick else _SIZES
    return Section(
        "Growth",
        f"Names are drawn at random, up to {_SAMPLE:,} of them, so that large registries miss the processor's caches"
        " as they would in service. Every function is an object of its own; its own memory is not counted. Memory is"
        f" that of up to {_TRACED:,} functions: tracing more takes minutes.",
        table=Table(columns, [_figures(effort, size) for size in sizes]),
    )


def _figures(effort: Effort, size: int) -> list[float | int]:
    functions = {f"bench.group{number % 97}.echo{number}": _own(number) for number in range(size)}
    with Host(observers=()) as host:
        gc.collect()
        elapsed = _timed(lambda: _register(host, functions))
        more = [_timed(partial(host.register, f"bench.more{number}", _own(number))) for number in range(_MORE)]
        taken = _reading(effort, host, functions)
    nanoseconds = [taken[label].median * 1e9 for label in ("dict", "look-up", "call")]
    microseconds = [elapsed / size * 1e6, statistics.median(more) * 1e6]
    return [size, *nanoseconds, elapsed, *microseconds, _memory(functions) / 1024]


def _reading(effort: Effort, host: Host, functions: dict[str, Callable[[Item], int]]) -> dict[str, Series]:
    """Measure look-ups and calls of names in random order."""
    names = random.Random(0).choices(list(functions), k=min(len(functions), _SAMPLE))  # noqa: S311  # only an order
    lookup, call = "for name in names: host.snapshot.functions[name]", "for name in names: host.call(name, item)"
    samplers = {
        "dict": statement("for name in names: functions[name]", per=len(names), names=names, functions=functions),
        "look-up": statement(lookup, per=len(names), names=names, host=host),
        "call": statement(call, per=len(names), names=names, host=host, item=ITEM),
    }
    gc.freeze()  # else the collection before each sample walks the whole registry, for seconds
    try:
        return measure(effort, samplers)
    finally:
        gc.unfreeze()


def _memory(functions: dict[str, Callable[[Item], int]]) -> float:
    """Count the bytes for each function that a host holds once it is registered."""
    traced = dict(islice(functions.items(), _TRACED))
    with Host(observers=()) as host:
        gc.collect()
        tracemalloc.start()
        try:
            _register(host, traced)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / len(traced)
        finally:
            tracemalloc.stop()


def _timed(action: Callable[[], object]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def _register(host: Host, functions: dict[str, Callable[[Item], int]]) -> None:
    with host.update() as transaction:
        for name, function in functions.items():
            transaction.register(name, function)


def _own(number: int) -> Callable[[Item], int]:
    def echo(item: Item) -> int:
        return number

    return echo
