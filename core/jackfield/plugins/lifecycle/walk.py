"""Walking a graph of plugins: each as soon as those before it are through, independent ones together."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from graphlib import TopologicalSorter
from queue import Empty, Queue
from time import monotonic

from jackfield.plugins.lifecycle.board import Attempt

WIDTH = 64
"""How many plugins one walk starts or stops at the same time."""

_LONG = 3600.0  # seconds; locks refuse to wait for years


def walk(
    graph: Mapping[str, Iterable[str]], step: Callable[[str], Attempt | None], expire: Callable[[Attempt], object]
) -> None:
    """Take every plugin of a graph through its steps, and wait for all of them.

    Args:
        graph: plugin → those that must be through before it. Names that are no keys are ignored.
        step: begins the next step of a plugin, or joins one that is under way; None when it is through.
        expire: gives up an attempt whose time is up.
    """
    sorter = TopologicalSorter(
        {name: [each for each in sorted(before) if each in graph] for name, before in sorted(graph.items())}
    )
    sorter.prepare()
    ended: Queue[str] = Queue()  # not a `SimpleQueue`, whose `get(timeout=…)` may wait for ever on Python 3.11
    under_way: dict[str, Attempt] = {}
    todo = deque(sorter.get_ready())
    while sorter.is_active():
        while todo and len(under_way) < WIDTH:
            name = todo.popleft()
            attempt = step(name)
            if attempt is None:
                sorter.done(name)
                todo.extend(sorter.get_ready())
            else:
                under_way[name] = attempt
                attempt.done.add_done_callback(partial(_put, ended, name))
        if under_way:
            name = _next(ended, under_way, expire)
            del under_way[name]
            todo.appendleft(name)


def _put(ended: "Queue[str]", name: str, _done: object) -> None:
    ended.put(name)


def _next(ended: "Queue[str]", under_way: Mapping[str, Attempt], expire: Callable[[Attempt], object]) -> str:
    while True:
        # What is decided already only has to be told to everybody.
        undecided = [attempt.ends for attempt in under_way.values() if attempt.slot.attempt is attempt]
        left = min(undecided) - monotonic() if undecided else _LONG
        try:
            return ended.get(timeout=min(max(left, 0.0), _LONG))
        except Empty:
            now = monotonic()
            for attempt in under_way.values():
                if attempt.ends <= now:
                    expire(attempt)
