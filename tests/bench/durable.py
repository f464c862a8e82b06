"""Submitted calls on SQLite: accepted per second against bare commits, end to end, and after a restart."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from harness import Effort, Sampler, forgetting_logs, measure
from results import Row, Section, Table
from store import _bare, _commits

from jackfield import Host
from jackfield.durable import Durability
from jackfield.store import SQLiteStore

_THREADS = 64


def run(effort: Effort) -> Section:
    """Compare submits with commits, and time results and a restart."""
    with ExitStack() as stack:
        stack.enter_context(forgetting_logs())
        # Not in the folder for temporary files, which may be in memory, where a sync costs nothing.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        bare = _bare(folder / "bare.db")
        stack.callback(bare.close)
        store = SQLiteStore(folder / "jackfield.db")
        stack.callback(lambda: asyncio.run(store.close()))
        with Host(observers=(), store=store) as host, ThreadPoolExecutor(_THREADS) as pool:
            host.register("bench.shout", str.upper)
            taken = measure(
                effort,
                {
                    "one": _submits(host, pool, 1),
                    "many": _submits(host, pool, _THREADS),
                    "commit": _commits(bare),
                },
            )
            _drained(host)
            latencies = sorted(_end_to_end(host) for _ in range(50 if effort.quick else 500))
        rows = [
            ("end to end, one after the other: p50, ms", f"{median(latencies) * 1e3:.2f}"),
            ("end to end, one after the other: p99, ms", f"{latencies[int(len(latencies) * 0.99)] * 1e3:.2f}"),
            *_restarted(folder / "restart.db", 500 if effort.quick else 10_000),
        ]
    return Section(
        "Submitted calls",
        "On SQLite, `synchronous=FULL`: each submit is on the disk when it returns, and the calls are run meanwhile.",
        [
            Row("a submit, one at a time", "a bare commit of 200 bytes", taken["one"], taken["commit"], bar=2.0),
            Row(f"a submit, from {_THREADS} threads", "a bare commit", taken["many"], taken["commit"]),
        ],
        table=Table(("submitted calls", "figure"), rows),
    )


def _submits(host: Host, pool: ThreadPoolExecutor, threads: int) -> Sampler:
    def some(number: int) -> None:
        for _ in range(number):
            host.submit("bench.shout", "x")

    def sample(number: int) -> float:
        begun = perf_counter()
        if threads == 1:
            some(number)
        else:
            wait([pool.submit(some, -(-number // threads)) for _ in range(threads)])
            return (perf_counter() - begun) * number / (-(-number // threads) * threads)
        return perf_counter() - begun

    return sample


def _end_to_end(host: Host) -> float:
    begun = perf_counter()
    host.submit("bench.shout", "x").result(60.0)
    return perf_counter() - begun


def _restarted(file: Path, calls: int) -> list[tuple[str, str]]:
    """Have a process accept calls without running them and kill itself; time a host that finds them."""
    killed = subprocess.run([sys.executable, __file__, str(file), str(calls)], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.returncode
    store = SQLiteStore(file)
    begun = perf_counter()
    with Host(observers=(), store=store) as host:
        host.register("bench.shout", str.upper)
        _until(lambda: bool(host.durable_calls.telling.settled))
        first = perf_counter() - begun
        _until(lambda: sum(host.durable_calls.telling.settled.values()) >= calls)
        whole = perf_counter() - begun
        listed = perf_counter()
        assert sum(1 for _ in host.submissions()) == calls
        listing = perf_counter() - listed
    asyncio.run(store.close())
    return [
        (f"after `kill -9` with {calls:,} accepted calls: the first has ended after, s", f"{first:.2f}"),
        (f"after `kill -9` with {calls:,} accepted calls: all have ended after, s", f"{whole:.2f}"),
        (f"{calls:,} kept calls are listed in, s", f"{listing:.2f}"),
    ]


def _accept(file: Path, calls: int) -> None:
    accepting = Host(observers=(), store=SQLiteStore(file))
    accepting.durable_calls.durability = Durability(concurrency=0)
    with accepting as host, ThreadPoolExecutor(_THREADS) as pool:
        host.register("bench.shout", str.upper)
        for accepted in [pool.submit(host.submit, "bench.shout", "x") for _ in range(calls)]:
            accepted.result()
        os.kill(os.getpid(), signal.SIGKILL)


def _drained(host: Host) -> None:
    telling = host.durable_calls.telling
    _until(lambda: sum(telling.settled.values()) >= sum(telling.submits.values()))


def _until(true: Callable[[], bool]) -> None:
    while not true():
        sleep(0.005)


if __name__ == "__main__":
    _accept(Path(sys.argv[1]), int(sys.argv[2]))
