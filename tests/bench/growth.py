"""How cost grows with the number of functions: look-up, call, registration of all in one transaction, memory."""

import gc
import random
import tracemalloc
from collections.abc import Callable
from time import perf_counter

from harness import Effort, measure, statement
from results import Section, Table
from subjects import ITEM, Item

from jackfield import Host

_SIZES = (10, 100, 1_000, 10_000, 100_000)
_SAMPLE = 1_000


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
        " as they would in service. Every function is an object of its own; its own memory is not counted.",
        table=Table(columns, [_figures(effort, size) for size in sizes]),
    )


def _figures(effort: Effort, size: int) -> list[float | int]:
    functions = {f"bench.group{number % 97}.echo{number}": _own(number) for number in range(size)}
    names = random.Random(size).choices(list(functions), k=min(size, _SAMPLE))  # noqa: S311  # only an order
    memory = _memory(functions)
    with Host(observers=()) as host:
        gc.collect()
        start = perf_counter()
        _register(host, functions)
        elapsed = perf_counter() - start
        start = perf_counter()
        host.register("bench.one_more", _own(size))
        one_more = perf_counter() - start
        shared = {"names": names, "host": host}
        taken = measure(
            effort,
            {
                "dict": statement(
                    "for name in names: functions[name]", per=len(names), names=names, functions=functions
                ),
                "look-up": statement("for name in names: host.snapshot.functions[name]", per=len(names), **shared),
                "call": statement("for name in names: host.call(name, item)", per=len(names), item=ITEM, **shared),
            },
        )
    nanoseconds = [taken[label].median * 1e9 for label in ("dict", "look-up", "call")]
    return [size, *nanoseconds, elapsed, elapsed / size * 1e6, one_more * 1e6, memory / size / 1024]


def _memory(functions: dict[str, Callable[[Item], int]]) -> int:
    """Count the bytes that a host holds for the functions, once they are registered."""
    with Host(observers=()) as host:
        gc.collect()
        tracemalloc.start()
        try:
            _register(host, functions)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()


def _register(host: Host, functions: dict[str, Callable[[Item], int]]) -> None:
    with host.update() as transaction:
        for name, function in functions.items():
            transaction.register(name, function)


def _own(number: int) -> Callable[[Item], int]:
    def echo(item: Item) -> int:
        return number

    return echo
