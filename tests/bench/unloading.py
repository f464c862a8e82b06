"""A file plugin loaded, started, called and unloaded, a thousand times over: what is left of it."""

import gc
import importlib.util
import linecache
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from types import ModuleType

from harness import Effort, Series, forgetting_logs
from prometheus_client import CollectorRegistry
from results import Check, Row, Section, Table

from jackfield import Host, Metrics
from jackfield.config import load_config

_AN_HOUR = 3_600.0
_WARM = 20
_SHOWN = 8
_BLOCKS = "blocks of memory"
_OBJECTS = "objects the collector knows"

_SOURCE = """
import attrs
from jackfield import Background, EventBus, function, inject, provides

GENERATION = {generation}

@attrs.frozen
class Tariff:
    rate: int

@attrs.frozen
class Bill:
    amount: int
    text: str = ""

@attrs.frozen
class Paid:
    amount: int

@provides
def tariff() -> Tariff:
    return Tariff(GENERATION)

@attrs.define(slots=False)
class Billing:
    background: Background = inject()
    bus: EventBus = inject()

    def start(self):
        self.background.every(3_600.0, self.tick)
        self.bus.subscribe(Paid, self.paid)

    def stop(self):
        pass

    def tick(self):
        pass

    def paid(self, event: Paid):
        pass

    @function
    def charge(self, bill: Bill, *, tariff: Tariff = inject()) -> int:
        return bill.amount * tariff.rate
"""

_CONFIG = """
[[plugin]]
name = "billing"
path = "./billing.py:Billing"
"""


def run(effort: Effort) -> Section:
    """Count what there is before and after, time it against an import by hand, and trace what memory grows."""
    cycles, traced = (40, 20) if effort.quick else (1_000, 200)
    rounds = 4 if effort.quick else 10
    registry = CollectorRegistry()
    with TemporaryDirectory() as folder, forgetting_logs():
        plugin = _File(Path(folder))
        (Path(folder) / "jackfield.toml").write_text(_CONFIG, encoding="utf-8")
        with Host(observers=(Metrics(registry=registry),)) as host:
            cycle = _cycling(host, plugin, Path(folder) / "jackfield.toml")
            unclean = sum(not cycle() for _ in range(_WARM))
            for _ in range(_WARM):
                _import_by_hand(plugin)
            before = _counts(host, registry)
            mine, theirs = [], []
            for _ in range(rounds):
                start = perf_counter()
                unclean += sum(not cycle() for _ in range(cycles // rounds))
                middle = perf_counter()
                for _ in range(cycles // rounds):
                    _import_by_hand(plugin)
                mine.append((middle - start) / (cycles // rounds))
                theirs.append((perf_counter() - middle) / (cycles // rounds))
            after = _counts(host, registry, at_most=before)
            grown, own, lines = _traced(cycle, traced)
    checks = [Check("unloads that left something, by their own report", unclean, cycles + _WARM)]
    checks += [
        Check(f"{what}: more than before ({before[what]:,})", max(after[what] - before[what], 0), after[what])
        for what in before
        if what not in {_BLOCKS, _OBJECTS}
    ]
    blocks, objects = ((after[what] - before[what]) / cycles for what in (_BLOCKS, _OBJECTS))
    return Section(
        f"{cycles:,} times loading and unloading a file plugin",
        "A plugin object with a repetition, a subscription, and a method that takes a typed payload and a provided"
        " dependency; metrics are observed. The file is another one each time. It is loaded into a running host as"
        f" `from_config` does it, started, called, unloaded. Before means after {_WARM} cycles. What stays"
        f" of a cycle: {blocks:+.2f} blocks of memory, {objects:+.2f} objects that the garbage collector knows. Over"
        f" {traced:,} more cycles, traced: {grown / traced:+,.0f} bytes a cycle; the table shows where most of it was"
        f" allocated. Of that {own / traced:.2f} blocks a cycle are the tracer's own, which keeps the file names that"
        " attrs gives to generated code, and are gone when it stops.",
        [
            Row(
                "read the configuration, load, start, call, unload",
                "`importlib`: make the module, run it, call, drop it",
                Series(tuple(mine)),
                Series(tuple(theirs)),
            )
        ],
        checks,
        Table(("allocated at", "blocks a cycle", "bytes a cycle"), lines),
    )


class _File:
    """The plugin's file, which becomes another one when asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "billing.py"
        self._generation = 0

    def renew(self) -> None:
        """Write it anew, an hour ago: a file that has just changed is waited for."""
        self._generation += 1
        self.path.write_text(_SOURCE.format(generation=self._generation), encoding="utf-8")
        then = time.time() - _AN_HOUR + self._generation
        os.utime(self.path, (then, then))


def _cycling(host: Host, file: _File, config: Path) -> Callable[[], bool]:
    """Give one cycle, which tells whether the unload was clean by its own report."""

    def cycle() -> bool:
        file.renew()
        host._inventory.declare(load_config(config).plugins.values())
        host.start_plugin("billing")
        answer = host.call("billing.charge", {"amount": 2})
        report = host.unload("billing")
        if not answer:
            raise RuntimeError(f"the plugin does not work: {host.faults}, {answer}")
        return report.clean

    return cycle


def _import_by_hand(file: _File) -> None:
    file.renew()
    spec = importlib.util.spec_from_file_location("billing_by_hand", file.path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    module.Billing.charge(None, module.Bill(2), tariff=module.tariff())
    del sys.modules[spec.name]
    for name in [name for name in linecache.cache if "billing_by_hand" in name]:
        del linecache.cache[name]


def _counts(host: Host, registry: CollectorRegistry, at_most: dict[str, int] | None = None) -> dict[str, int]:
    """Count everything that could pile up, once threads that are idle have ended."""
    end = monotonic() + 10.0
    threads = threading.active_count()
    quiet = monotonic()
    while monotonic() < end and (monotonic() - quiet < 1.0 or (at_most and threads > at_most["threads"])):
        time.sleep(0.05)  # idle threads end by themselves, and tell nobody
        if threading.active_count() != threads:
            threads, quiet = threading.active_count(), monotonic()
    gc.collect()
    return {
        "threads": threads,
        "file descriptors": sum(1 for _ in Path("/dev/fd").iterdir()),
        "modules": len(sys.modules),
        "cached source files (`linecache`)": len(linecache.cache),
        "functions and versions in the history": len(
            {e.spec for s in host._registry.state.kept for route in s.routes.values() for e in route.endpoints.values()}
        ),
        "providers": len(host._injector.providers),
        "subscriptions": len(host.events.stats()),
        "metric series": sum(len(metric.samples) for metric in registry.collect()),
        _OBJECTS: len(gc.get_objects()),
        _BLOCKS: sys.getallocatedblocks(),
    }


def _traced(cycle: Callable[[], bool], cycles: int) -> tuple[int, int, list[list[str | float]]]:
    """Trace memory over some cycles.

    Returns:
        The bytes that stay; the blocks that go with the tracer; the lines that allocated most of what stays.
    """
    tracemalloc.start()
    try:
        cycle()
        gc.collect()
        first = tracemalloc.take_snapshot()
        for _ in range(cycles):
            cycle()
        gc.collect()
        second = tracemalloc.take_snapshot()
        gc.collect()
        blocks = sys.getallocatedblocks()
    finally:
        tracemalloc.stop()
    own = blocks - sys.getallocatedblocks()
    ours = tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)
    differences = second.filter_traces([ours]).compare_to(first.filter_traces([ours]), "lineno")
    grown = sum(each.size_diff for each in differences)
    most = sorted(differences, key=lambda each: -abs(each.size_diff))[:_SHOWN]
    return grown, own, [[_place(each), each.count_diff / cycles, each.size_diff / cycles] for each in most]


def _place(difference: tracemalloc.StatisticDiff) -> str:
    """Name a line without the folders before its package."""
    frame = difference.traceback[0]
    parts = Path(frame.filename).parts
    return f"{'/'.join(parts[-2:])}:{frame.lineno}"
