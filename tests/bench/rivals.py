"""Submitted calls against DBOS on SQLite and Celery on Redis: each engine in processes of its own, turn by turn.

All keep what is accepted on the disk before they answer: SQLite with `synchronous=FULL`, Redis with `appendfsync
always`.
"""

import asyncio
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from harness import Effort, Series, forgetting_logs
from results import Row, Section, Table

_THREADS = 64
_RUNNERS = 16
_WITHIN = 300.0  # seconds for a result, and for an engine
_BARS = {"DBOS on SQLite": 1 / 5, "Celery on Redis": 1 / 2}
Submit = Callable[[], Callable[[], Any]]
"""Submits a call; gives what waits for its result."""


def run(effort: Effort) -> Section:
    """Compare submits, ends and latencies."""
    calls = 100 if effort.quick else 1_000
    engines = {"jackfield": "", "DBOS on SQLite": _without_dbos(), "Celery on Redis": _without_celery()}
    missing = {name: why for name, why in engines.items() if why}
    for name, why in missing.items():
        sys.stderr.write(f"\nNOT MEASURED: {name}, since {why}\n\n")
    there = [name for name in engines if name not in missing]
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in there}
    for turn in range(1 if effort.quick else 3):
        for name in there if turn % 2 == 0 else there[::-1]:
            taken[name].append(_apart(name, calls))
    return Section(
        "Submitted calls against rivals",
        f"{calls:,} calls a turn, each engine in a process of its own, with {_RUNNERS} threads that run calls while "
        "others are submitted. Fsync is on for all: SQLite with `synchronous=FULL`, Redis with `appendfsync always`; "
        f"Celery acknowledges late.{''.join(f' **Not measured: {name}: {why}.**' for name, why in missing.items())}",
        [
            Row(
                f"{what}, from {_THREADS} threads",
                name,
                _series(taken["jackfield"], key),
                _series(taken[name], key),
                bar,
            )
            for name, bar in _BARS.items()
            if name in taken
            for what, key in (("a submit", "many"), ("submit to result", "through"))
        ],
        table=Table(
            ("engine", "submits/s, 1 thread", f"submits/s, {_THREADS} threads", "end to end/s", "p50, ms", "p99, ms"),
            [
                (
                    name,
                    *(round(1 / _series(turns, key).median) for key in ("one", "many", "through")),
                    *(round(_series(turns, key).median * 1e3, 2) for key in ("p50", "p99")),
                )
                for name, turns in taken.items()
            ],
        ),
    )


def _series(turns: list[dict[str, float]], key: str) -> Series:
    return Series(tuple(turn[key] for turn in turns))


def _apart(name: str, calls: int) -> dict[str, float]:
    # Not in the folder for temporary files, which may be in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        command = [sys.executable, __file__, name, folder, str(calls)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_WITHIN * 2)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measured(submit: Submit, calls: int) -> dict[str, float]:
    for _ in range(10):
        submit()()
    begun = perf_counter()
    waiting = [submit() for _ in range(calls // 4)]
    one = (perf_counter() - begun) / len(waiting)
    for wait in waiting:
        wait()
    with ThreadPoolExecutor(_THREADS) as pool:
        begun = perf_counter()
        waiting = list(pool.map(lambda _: submit(), range(calls)))
        many = (perf_counter() - begun) / calls
        for _ in pool.map(lambda wait: wait(), waiting):
            pass
        through = (perf_counter() - begun) / calls
    latencies = []
    for _ in range(max(calls // 20, 10)):
        begun = perf_counter()
        submit()()
        latencies.append(perf_counter() - begun)
    latencies.sort()
    p99 = latencies[int(len(latencies) * 0.99)]
    return {"one": one, "many": many, "through": through, "p50": median(latencies), "p99": p99}


# --- The engines, each in a process of its own ------------------------------------------------------------------------


@contextmanager
def _jackfield(folder: Path) -> Iterator[Submit]:
    from jackfield import Host  # noqa: PLC0415  # of one engine
    from jackfield.store import SQLiteStore  # noqa: PLC0415

    store = SQLiteStore(folder / "jackfield.db")
    with forgetting_logs(), Host(observers=(), store=store) as host:
        host.register("bench.shout", str.upper)
        yield lambda: host.submit("bench.shout", "x").result
    asyncio.run(store.close())


def _without_dbos() -> str:
    return "" if importlib.util.find_spec("dbos") else "the package `dbos` is not installed"


@contextmanager
def _dbos(folder: Path) -> Iterator[Submit]:
    dbos, sqlalchemy = importlib.import_module("dbos").DBOS, importlib.import_module("sqlalchemy")
    engine = importlib.import_module("sqlalchemy.engine").Engine
    sqlalchemy.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = FULL"))
    url = f"sqlite:///{folder / 'dbos.db'}"
    dbos(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "max_executor_threads": _RUNNERS})
    shout = dbos.workflow()(_shout)
    dbos.launch()
    yield lambda: dbos.start_workflow(shout, "x").get_result
    dbos.destroy()


def _without_celery() -> str:
    if not importlib.util.find_spec("celery") or not importlib.util.find_spec("redis"):
        return "the package `celery[redis]` is not installed"
    return "" if shutil.which("redis-server") else "`redis-server` is not installed"


@contextmanager
def _celery(folder: Path) -> Iterator[Submit]:
    socket, server = folder / "redis.sock", shutil.which("redis-server") or ""
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    options += ["--appendonly", "yes", "--appendfsync", "always"]
    worker = [sys.executable, __file__, "worker", str(folder), "0"]
    with _process([server, *options]) as redis:
        while not socket.exists():
            if redis.poll() is not None:
                message = f"redis-server has ended with {redis.returncode}: is the path {socket} too long?"
                raise RuntimeError(message)
            sleep(0.01)
        with _process(worker):
            task = _application(folder).tasks["bench.shout"]
            yield lambda: partial(task.delay("x").get, timeout=_WITHIN)


def _application(folder: Path) -> Any:
    url = f"{folder / 'redis.sock'}"
    celery = importlib.import_module("celery").Celery
    application = celery("bench", broker=f"redis+socket://{url}", backend=f"redis+socket://{url}")
    application.conf.update(task_acks_late=True, broker_connection_retry_on_startup=True)
    application.task(name="bench.shout")(_shout)
    application.finalize()
    return application


@contextmanager
def _process(command: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _shout(text: str) -> str:
    return text.upper()


_ENGINES = {"jackfield": _jackfield, "DBOS on SQLite": _dbos, "Celery on Redis": _celery}


def _child(name: str, folder: Path, calls: int) -> None:
    if name == "worker":
        options = ["--pool=threads", f"--concurrency={_RUNNERS}", "--loglevel=ERROR", "--without-gossip"]
        _application(folder).worker_main(["worker", *options, "--without-mingle"])
        return
    with _ENGINES[name](folder) as submit:
        sys.stdout.write(f"\n{json.dumps(_measured(submit, calls))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
