"""A thousand plugins that depend on one another, started and stopped; against the same done by hand."""

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from graphlib import TopologicalSorter
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import attrs
from harness import Effort, Series, forgetting_logs
from results import Check, Row, Section

from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.state import PluginStates
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool
from jackfield.store import MemoryStore

_DEPTH = 10
_NEEDS = 3
_WIDTH = 64
"""Threads by hand: as many plugins as the lifecycle starts at the same time."""

Graph = Mapping[str, tuple[str, ...]]


@attrs.define
class Plugin:
    """Takes its time to start and to stop, as a connection does, and knows whether it runs."""

    pause: float
    running: bool = False

    def start(self) -> None:
        """Start."""
        if self.pause:
            time.sleep(self.pause)
        self.running = True

    def stop(self) -> None:
        """Stop."""
        if self.pause:
            time.sleep(self.pause)
        self.running = False


def run(effort: Effort) -> Section:
    """Compare the lifecycle with a topological sorter and a pool of threads."""
    count, rounds = (200, 2) if effort.quick else (1_000, 7)
    graph = _graph(count)
    rows, wrong = [], 0
    for pause, kind, bar in ((0.0, "that do nothing", 4.0), (0.005, "that take 5 ms each", 1.5)):
        taken: dict[str, list[tuple[float, float]]] = {"lifecycle": [], "hand": []}
        for turn in range(rounds):
            for label in list(taken) if turn % 2 == 0 else list(taken)[::-1]:
                plugins = {name: Plugin(pause) for name in graph}
                with forgetting_logs():
                    began, ended, missed = (_lifecycle if label == "lifecycle" else _by_hand)(graph, plugins)
                taken[label].append((began, ended))
                wrong += missed
        for index, verb in enumerate(("start", "stop")):
            mine, theirs = (Series(tuple(pair[index] for pair in pairs)) for pairs in taken.values())
            what = f"{verb} of {count:,} plugins {kind}"
            rows.append(Row(what, "`graphlib` and `ThreadPoolExecutor`", mine, theirs, bar=bar))
    return Section(
        "Starting and stopping plugins",
        f"{_DEPTH} layers, each plugin depends on {_NEEDS} of the layer below; {_WIDTH} at a time on either side. By"
        " hand there are no deadlines, no states, no records, no events, no background work, and no report of what"
        " failed. The start includes `Lifecycle.add`, which checks the graph.",
        rows,
        [Check("plugins not in the state that was asked for", wrong, count * rounds * len(rows) * 2)],
    )


def _graph(count: int) -> Graph:
    chosen = random.Random(0)  # noqa: S311  # only a graph
    layers = [[f"plugin{number:04}" for number in range(layer, count, _DEPTH)] for layer in range(_DEPTH)]
    return {
        name: tuple(chosen.sample(layers[depth - 1], _NEEDS)) if depth else ()
        for depth, layer in enumerate(layers)
        for name in layer
    }


def _lifecycle(graph: Graph, plugins: Mapping[str, Plugin]) -> tuple[float, float, int]:
    home, control = HomeLoop(), ControlLoop()
    try:
        states = PluginStates(MemoryStore(), "bench")
        lifecycle = Lifecycle(_Nowhere(), states, control, home, Pool())
        bundles = [PluginBundle(name, depends_on=needs, object=plugins[name]) for name, needs in graph.items()]

        def start() -> None:
            lifecycle.add(bundles)
            lifecycle.start_all()

        return _both(start, lifecycle.stop_all, plugins)
    finally:
        control.close()
        home.close()


class _Nowhere:
    """A place without functions: what is measured is the supervision alone; adapter of `Deployment`."""

    serving = True

    def load(self, bundle: PluginBundle) -> PluginBundle:
        return bundle

    def make(self, bundle: PluginBundle) -> Any:
        return bundle.object

    def activate(self, _bundle: PluginBundle, _instance: Any) -> tuple[()]:
        return ()

    def replace(self, _bundle: PluginBundle, _instance: Any) -> tuple[tuple[()], tuple[()]]:
        return (), ()

    def withdraw(self, _plugin: str, _only: Any = None) -> tuple[()]:
        return ()

    def keep_only(self, _plugin: str, _specs: Any) -> None:
        return

    def drain(self, _endpoints: Any, _timeout: float) -> tuple[()]:
        return ()

    def in_use(self, _endpoints: Any) -> bool:
        return False

    def publish(self, _records: Any, _events: Any) -> None:
        return

    def deliver(self) -> None:
        return


def _by_hand(graph: Graph, plugins: Mapping[str, Plugin]) -> tuple[float, float, int]:
    above: dict[str, list[str]] = {name: [] for name in graph}
    for name, needs in graph.items():
        for need in needs:
            above[need].append(name)
    with ThreadPoolExecutor(_WIDTH) as pool:

        def walk(order: Mapping[str, list[str] | tuple[str, ...]], act: Callable[[str], None]) -> None:
            sorter = TopologicalSorter(order)
            sorter.prepare()
            through: SimpleQueue[tuple[str, Future[None]]] = SimpleQueue()
            while sorter.is_active():
                for name in sorter.get_ready():
                    pool.submit(act, name).add_done_callback(lambda done, name=name: through.put((name, done)))  # type: ignore[misc]  # mypy does not infer the default
                name, done = through.get()
                done.result()
                sorter.done(name)

        return _both(
            lambda: walk(graph, lambda name: plugins[name].start()),
            lambda: walk(above, lambda name: plugins[name].stop()),
            plugins,
        )


def _both(
    start: Callable[[], object], stop: Callable[[], object], plugins: Mapping[str, Plugin]
) -> tuple[float, float, int]:
    """Time a start and a stop of everything, and count the plugins that missed it."""
    begun = perf_counter()
    start()
    started = perf_counter()
    missed = sum(not plugin.running for plugin in plugins.values())
    stopping = perf_counter()
    stop()
    stopped = perf_counter()
    missed += sum(plugin.running for plugin in plugins.values())
    return started - begun, stopped - stopping, missed
