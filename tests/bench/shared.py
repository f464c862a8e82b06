"""Thousands of plugins in few worker processes: each one's start, calls of a Zipf mix, and what they weigh."""

import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from harness import Effort, Series, forgetting_logs
from results import Check, Row, Section, Table

from jackfield import Host

_PLUGIN = """
from jackfield import function

@function
def add(a: int, b: int) -> int:
    return a + b

@function
async def later(a: int, b: int) -> int:
    return a + b
"""
_TABLE = """
[[plugin]]
name = "{name}"
path = "{package}.{module}"
executor = "worker"
auto_start = false
[plugin.worker]
share = true
min = 1
max = 3
idle = 3600.0
allow = ["storage:readonly:{folder}"]
"""
_ADD = {"a": 1, "b": 2}
_THREADS = 8
_FLIGHT = 100
_WORKERS = 64


def run(effort: Effort) -> Section:
    """Start many plugins one after another, call them, and count their processes."""
    count, packages, calls = (40, 4, 500) if effort.quick else (2_800, 20, 20_000)
    with ExitStack() as stack:
        stack.enter_context(forgetting_logs())
        host, names = stack.enter_context(_host(count, packages))
        starts = sorted(_timed(lambda name=name: host.start_plugin(name)) for name in names)
        draw = random.Random(1)  # noqa: S311  # a mix of calls
        mix = draw.choices(names, [1 / (rank + 1) for rank in range(count)], k=calls)
        for name in names:  # each has been called once
            host.call(f"{name}.add", _ADD)
        rates = {
            "one thread": calls / _timed(lambda: _called(host, mix)),
            f"{_THREADS} threads": calls / _timed(lambda: _by_threads(host, mix)),
            f"one loop, {_FLIGHT} in flight": calls / _timed(lambda: asyncio.run(_at_once(host, mix))),
        }
        running = sum(plugin.state == "running" for plugin in host.plugins.values())
        workers = host.workers
        pids = {worker.pid for worker in workers}
        memory = sum(map(_pss, pids))
    p95 = starts[int(len(starts) * 0.95)]
    best = max(rates.values())
    return Section(
        "Many plugins in few workers",
        f"{count:,} plugins of {packages} packages with `share = true`, tier `self`; a Zipf mix of {calls:,} calls.",
        [
            Row("p95: the start of one", "its limit", Series((p95,)), Series((0.8,)), bar=1.0),
            Row("a call of the mix", "17,000 calls/s", Series((1 / best,)), Series((1 / 17_000,)), bar=1.0),
        ],
        checks=[
            Check("plugins that run", running, count, wanted=count),
            Check(f"processes beyond {_WORKERS}", max(0, len(pids) - _WORKERS), len(pids)),
        ],
        table=Table(
            ("what", "figure", "unit"),
            [
                ("the start of one, median", round(starts[len(starts) // 2] * 1e3, 1), "ms"),
                *((f"the mix, {way}", round(rate), "calls/s") for way, rate in rates.items()),
                ("worker processes", len(pids), ""),
                ("their memory, what they share divided", round(memory), "MB"),
            ],
        ),
    )  # fmt: skip


@contextmanager
def _host(count: int, packages: int) -> Iterator[tuple[Host, Sequence[str]]]:
    with tempfile.TemporaryDirectory() as root:
        tables, names = [], []
        for package in range(packages):
            folder = Path(root, "site", f"bench_package{package}")
            folder.mkdir(parents=True)
            (folder / "__init__.py").touch()
            for module in range(count // packages):
                (folder / f"m{module}.py").write_text(_PLUGIN, encoding="utf-8")
                names.append(f"p{package}x{module}")
                tables.append(
                    _TABLE.format(name=names[-1], package=folder.name, module=f"m{module}", folder=folder)
                )  # fmt: skip
        file = Path(root, "jackfield.toml")
        file.write_text("".join(tables), encoding="utf-8")
        sys.path.insert(0, str(Path(root, "site")))
        try:
            with Host.from_config(file, observers=()) as host:
                yield host, names
        finally:
            sys.path.remove(str(Path(root, "site")))


def _timed(what: Callable[[], object]) -> float:
    begun = perf_counter()
    what()
    return perf_counter() - begun


def _called(host: Host, mix: Sequence[str]) -> None:
    for name in mix:
        host.call(f"{name}.add", _ADD)


def _by_threads(host: Host, mix: Sequence[str]) -> None:
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(lambda part: _called(host, part), [mix[first::_THREADS] for first in range(_THREADS)]):
            pass


async def _at_once(host: Host, mix: Sequence[str]) -> None:
    left = iter(mix)

    async def each() -> None:
        for name in left:
            await host.acall(f"{name}.later", _ADD)

    await asyncio.gather(*(each() for _ in range(_FLIGHT)))


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("there is such a line")
