"""How long it takes to take a change back: a canary aborted, an earlier revision restored."""

import gc
from collections.abc import Callable
from time import perf_counter

from harness import Effort, Series, forgetting_logs
from report import spread
from results import Row, Section, Table
from subjects import Item

from jackfield import Host

_SIZES = (10, 10_000)
_BOUND = 1e-3
"""Seconds that an abort may take."""


def run(effort: Effort) -> Section:
    """Time the verbs on a small host and on a large one."""
    with forgetting_logs():
        taken = {size: _figures(effort, size) for size in _SIZES[: 1 if effort.quick else 2]}
    small = taken[_SIZES[0]]
    bound = Series((_BOUND,) * len(small["abort one"].samples))
    return Section(
        "Taking a change back",
        "One function's canary among so many functions, and a canary of the plugin that has them all; a rollback of one"
        " replaced function, and of all of them. From the verb's call to its return, when every new call takes the old"
        " way; the log record included.",
        [
            Row("`canary.abort()`, one function of 10", "a millisecond", small["abort one"], bound, bar=1.0),
            Row("`canary.abort()`, a plugin of 10 functions", "a millisecond", small["abort all"], bound, bar=1.0),
        ],
        table=Table(
            ("functions", *small),
            [[size, *(spread(series) for series in figures.values())] for size, figures in taken.items()],
        ),
    )


def _figures(effort: Effort, size: int) -> dict[str, Series]:
    often = 5 if effort.quick else 50
    seldom = often if size <= _SIZES[0] else 5
    names = [f"bench.echo{number}" for number in range(size)]
    with Host(observers=()) as host:
        generation = _Generation(host)
        for version in ("1", "2"):
            with host.update() as transaction:
                for name in names:
                    transaction.register(name, _own(), version=version, plugin="bench")

        def back() -> None:
            host.rollback(host.revisions[-2])

        return {
            "abort one": _taken(lambda: host.canary(names[0], version="2", share=0.2).abort, often),
            "abort all": _taken(lambda: host.canary("bench", version="2", share=0.2).abort, seldom),
            "roll back one": _taken(lambda: generation.replace(names[:1], back), often),
            "roll back all": _taken(lambda: generation.replace(names, back), seldom),
            "promote one": _taken(lambda: _promoting(host, names[0]), often),
        }


class _Generation:
    """Replaces the second version of functions by ever new ones."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def replace(self, names: list[str], then: Callable[[], None]) -> Callable[[], None]:
        """Replace in one transaction, and give what is to be timed."""
        with self._host.update() as transaction:
            for name in names:
                transaction.unregister(name, version="2")
                transaction.register(name, _own(), version="2", plugin="bench")
        return then


def _promoting(host: Host, name: str) -> Callable[[], None]:
    """Begin a trial of the version that is not the default, and give what promotes it."""
    route = host.snapshot.functions[name]
    other = next(version for version in route.endpoints if version != route.default)
    return host.canary(name, version=other, share=0.2).promote


def _taken(prepare: Callable[[], Callable[[], object]], times: int) -> Series:
    samples = []
    for _ in range(times):
        act = prepare()
        gc.collect(0)
        start = perf_counter()
        act()
        samples.append(perf_counter() - start)
    return Series(tuple(samples))


def _own() -> Callable[[Item], int]:
    def echo(item: Item) -> int:
        return item.count

    return echo
