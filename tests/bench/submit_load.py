"""Submit calls to one engine and wait for their results: ``python submit_load.py ENGINE FOLDER CALLS`` prints figures.

Each engine in a process of its own, one after the other on the same machine: jackfield and DBOS on SQLite, Celery on a
Redis that appends to its file and syncs it for each write. What is submitted is on the disk when the submit returns.
"""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

THREADS = 64
Submit = Callable[[], Callable[[], Any]]
"""Submits a call; gives what waits for its result."""


@contextmanager
def jackfield(folder: Path) -> Iterator[Submit]:
    """Have it run in this process, as it does."""
    from jackfield import Host  # noqa: PLC0415  # each engine imports its own alone
    from jackfield.store import SQLiteStore  # noqa: PLC0415  # as above

    store = SQLiteStore(folder / "jackfield.db")
    with Host(observers=(), store=store) as host:
        host.register("bench.shout", str.upper)

        def submit() -> Callable[[], Any]:
            handle = host.submit("bench.shout", "x")
            return lambda: handle.result(120.0)

        yield submit
    asyncio.run(store.close())


@contextmanager
def dbos(folder: Path) -> Iterator[Submit]:
    """Have it run in this process, as it does."""
    from dbos import DBOS  # noqa: PLC0415  # as above

    file = folder / "dbos.sqlite"
    with closing(sqlite3.connect(file)) as connection:  # as ours is; it stays so
        connection.execute("PRAGMA journal_mode = WAL")
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{file}", "log_level": "ERROR"})

    @DBOS.workflow()
    def shout(text: str) -> str:
        return text.upper()

    DBOS.launch()

    def submit() -> Callable[[], Any]:  # at once, and not by a queue, which is polled
        return DBOS.start_workflow(shout, "x").get_result

    yield submit
    DBOS.destroy()


@contextmanager
def celery(folder: Path) -> Iterator[Submit]:
    """Have a worker run beside this process, and a Redis that keeps what it is given."""
    socket = folder / "redis.sock"
    redis = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--appendonly", "yes"]
    with subprocess.Popen([*redis, "--appendfsync", "always"], stdout=subprocess.DEVNULL) as server:
        _until(socket.exists)
        command = [sys.executable, __file__, "celery-worker", str(folder), "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
            app, shout = _celery(folder)
            _until(lambda: bool(app.control.ping(timeout=0.5)))

            def submit() -> Callable[[], Any]:
                got = shout.delay("x")
                return lambda: got.get(timeout=120.0)

            yield submit
            worker.terminate()
        server.terminate()


def _celery(folder: Path) -> tuple[Any, Any]:
    from celery import Celery  # noqa: PLC0415  # as above

    address = f"redis+socket://{folder}/redis.sock"
    app = Celery("bench", broker=address, backend=address)

    @app.task(name="bench.shout")
    def shout(text: str) -> str:
        return text.upper()

    return app, shout


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60.0
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it does not start")
        time.sleep(0.05)


def main(engine: str, folder: Path, calls: int) -> None:
    """Measure one engine."""
    if engine == "celery-worker":
        _celery(folder)[0].worker_main(["worker", "-P", "threads", "-c", "16", "--loglevel", "ERROR"])
        return
    engines = {"jackfield": jackfield, "dbos": dbos, "celery": celery}
    with engines[engine](folder) as submit, ThreadPoolExecutor(THREADS) as pool:
        for got in [submit() for _ in range(20)]:
            got()
        begun = time.perf_counter()
        waiting = [submit() for _ in range(calls)]
        single = calls / (time.perf_counter() - begun)
        for got in waiting:
            got()
        begun = time.perf_counter()
        waiting = list(pool.map(lambda _: submit(), range(calls * 2)))
        many = calls * 2 / (time.perf_counter() - begun)
        for got in waiting:
            got()
        ended = calls * 2 / (time.perf_counter() - begun)
        latencies = []
        for _ in range(max(calls // 4, 10)):
            begun = time.perf_counter()
            submit()()
            latencies.append(time.perf_counter() - begun)
    latencies.sort()
    figures = [single, many, ended, median(latencies) * 1e3, latencies[int(len(latencies) * 0.99)] * 1e3]
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
