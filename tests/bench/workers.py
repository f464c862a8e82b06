"""Plugins in workers: how fast one starts, what a call of it costs, and what it weighs."""

import asyncio
import importlib.util
import mmap
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

from harness import Effort, Sampler, Series, forgetting_logs, measure, statement
from results import Row, Section, Table

from jackfield import Host
from jackfield.workers import messages

_PLUGIN = """
from jackfield import function

@function
def add(a: int, b: int) -> int:
    return a + b

@function
async def later(a: int, b: int) -> int:
    return a + b

@function
def echo(data: bytes) -> bytes:
    return data
"""
_HEAVY = "numpy" if importlib.util.find_spec("numpy") else "asyncio, ctypes, email.mime.text, http.client, sqlite3"
_ADD = {"a": 1, "b": 2}
_MEGABYTE = 1_000_000
_FLIGHT = 100
"""Calls in flight at once: as many async ones as one worker takes."""


def add(a: int, b: int) -> int:
    """Add, in a process of the rival."""
    return a + b


def run(effort: Effort) -> Section:
    """Compare workers with bare processes and with the standard library's."""
    fork = multiprocessing.get_context("fork")
    with ExitStack() as stack:
        stack.enter_context(forgetting_logs())
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))
        pool.submit(add, 1, 2).result()
        small = stack.enter_context(_other(fork, _answer))
        shared = _region(_MEGABYTE)
        large = stack.enter_context(_other(fork, _copying(shared)))
        host = stack.enter_context(_host({"bench": _PLUGIN}))
        with mock.patch("jackfield.workers.making.Prepare", _unconfined):
            bare = stack.enter_context(_host({"bench": _PLUGIN}))
        runner = stack.enter_context(asyncio.Runner())
        data = bytes(_MEGABYTE)
        small_ping = {"small": small, "body": b"x" * 40}
        taken = measure(
            effort,
            {
                "call": statement("host.call('bench.add', plain)", host=host, plain=_ADD),
                "unconfined": statement("host.call('bench.add', plain)", host=bare, plain=_ADD),
                "executor": statement("pool.submit(add, 1, 2).result()", pool=pool, add=add),
                "ping": statement("small.send(body); small.recv(100)", **small_ping),
                "async": _pipelined(runner, host, "bench.later"),
                "sync": _pipelined(runner, host, "bench.add"),
                "awaited": _awaited(runner, pool),
                "megabyte": statement("host.call('bench.echo', data)", host=host, data=data),
                "memfd": statement(
                    "shared[:] = data; large.send(b'x'); large.recv(1); shared[:]",
                    shared=shared, large=large, data=data,
                ),
            },
        )  # fmt: skip
        starts = _start_rows(effort)
        rows = (*starts, ("an idle worker: PSS, USS", *_weight(host), "MB"))
    goal = Series((1 / 30_000,) * effort.rounds)
    return Section(
        "Workers",
        f"Tier `self`. The plugin whose start is measured imports {_HEAVY}. Starts are of {_starts(effort)} in a row; "
        f"pipelined calls are {_FLIGHT} in flight, of one loop to one worker; it runs one sync function at a time.",
        [
            Row("a call", "`ProcessPoolExecutor.submit().result()`", taken["call"], taken["executor"], bar=0.7),
            Row("a call, again", "a ping-pong of 40 bytes on a socket pair", taken["call"], taken["ping"], bar=2.5),
            Row("a confined call", "the same without a sandbox", taken["call"], taken["unconfined"], bar=1.3),
            Row("an async call, pipelined", "30,000 calls/s", taken["async"], goal, bar=1.0),
            Row(
                f"a sync call, {_FLIGHT} wanted at once",
                f"`ProcessPoolExecutor`, {_FLIGHT} awaited at once",
                taken["sync"],
                taken["awaited"],
                bar=0.7,
            ),
            Row(
                "an echo of 1 MB",
                "the same bytes in shared memory, and a byte",
                taken["megabyte"],
                taken["memfd"],
                bar=1 / 0.6,  # 0.6 of its bytes a second
            ),
            *(
                Row(f"p95: {what}", "its limit", Series((worst / 1e3,)), Series((limit,)), bar=1.0)
                for (what, _, worst, _), limit in zip(starts, (0.8, 0.05), strict=True)
            ),
        ],
        table=Table(
            ("what", "median", "p95 or as said", "unit"),
            rows,
        ),
    )


# --- What is measured ------------------------------------------------------------------------------------------------


@contextmanager
def _host(plugins: dict[str, str], worker: str = "min = 1\nmax = 1\ncalls = 0") -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for name, text in plugins.items():
            Path(folder, f"{name}.py").write_text(text, encoding="utf-8")
            lines.append(
                f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\nexecutor = "worker"\n[plugin.worker]\n{worker}\n'
            )
        file = Path(folder, "jackfield.toml")
        file.write_text("\n".join(lines), encoding="utf-8")
        with Host.from_config(file, observers=()) as host:
            yield host


def _unconfined(config: bytes, paths: tuple[str, ...], sites: tuple[str, ...], *_: object) -> messages.Prepare:
    return messages.Prepare(config, paths, sites)


def _pipelined(runner: asyncio.Runner, host: Host, name: str) -> Sampler:
    return _at_once(runner, lambda: host.acall(name, _ADD))


def _awaited(runner: asyncio.Runner, pool: ProcessPoolExecutor) -> Sampler:
    return _at_once(runner, lambda: asyncio.get_running_loop().run_in_executor(pool, add, 1, 2))


def _at_once(runner: asyncio.Runner, call: Callable[[], Awaitable[Any]]) -> Sampler:
    async def calls(number: int) -> None:
        left = iter(range(number))

        async def each() -> None:
            for _ in left:
                await call()

        await asyncio.gather(*(each() for _ in range(min(_FLIGHT, number))))

    def sample(number: int) -> float:
        begun = perf_counter()
        runner.run(calls(number))
        return perf_counter() - begun

    return sample


def _starts(effort: Effort) -> int:
    return 5 if effort.quick else 40


def _start_rows(effort: Effort) -> list[tuple[str, float, float, str]]:
    """Time a whole cold start, zygotes and all, and that of one more worker from the plugin's zygote."""
    text = f"import {_HEAVY}\n{_PLUGIN}"
    cold, warm = [], []
    for _ in range(_starts(effort)):
        begun = perf_counter()
        with _host({"bench": text}) as host:
            host.call("bench.add", _ADD)
            cold.append(perf_counter() - begun)
    with _host({"bench": text}, "calls = 1") as host:  # each call takes a worker of its own
        for _ in range(_starts(effort)):
            begun = perf_counter()
            host.call("bench.add", _ADD)
            warm.append(perf_counter() - begun)
    return [
        ("host, zygotes and first worker, cold", *_percentiles(cold), "ms"),
        ("one more worker, from the zygote, and a call", *_percentiles(warm[1:]), "ms"),
    ]


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return round(ordered[len(ordered) // 2] * 1e3, 1), round(ordered[int(len(ordered) * 0.95)] * 1e3, 1)


def _weight(host: Host) -> tuple[float, float]:
    """Give the megabytes of a worker, its share of what is shared counted and not counted."""
    worker = host.workers[0]
    sizes = {"Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for line in Path(f"/proc/{worker.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return round(sizes["Pss"] / 1024, 1), round((sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024, 1)


# --- Bare processes --------------------------------------------------------------------------------------------------


@contextmanager
def _other(context: Any, serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    process = context.Process(target=_served, args=(serve, there, here), daemon=True)
    process.start()
    there.close()
    yield here
    here.close()
    process.terminate()
    process.join()


def _region(size: int) -> mmap.mmap:
    descriptor = os.memfd_create("bench")
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _served(serve: Callable[[socket.socket], None], mine: socket.socket, others: socket.socket) -> None:
    others.close()
    serve(mine)


def _answer(connection: socket.socket) -> None:
    while data := connection.recv(100):
        connection.send(data)


def _copying(shared: mmap.mmap) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        while connection.recv(1):
            shared[:] = shared[:]
            connection.send(b"x")

    return serve
