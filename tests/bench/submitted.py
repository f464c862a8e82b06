"""Submitted calls against engines that promise the same: DBOS on SQLite, Celery on a Redis that syncs each write."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Effort, Series
from results import Row, Section, Table

_LOAD = Path(__file__).with_name("submit_load.py")
_KINDS = ("one thread", "64 threads", "64 threads, until the results are there")
_BARS = {"dbos": 0.2, "celery": 0.5}
"""Jackfield's time over theirs: five and two times as fast, from 64 threads."""


def run(effort: Effort) -> Section:
    """Have each engine that is there do the same, one after the other, several times."""
    rounds, calls = (1, 30) if effort.quick else (3, 400)
    missing = {name: why for name in _BARS if (why := _missing(name))}
    engines = ["jackfield", *(name for name in _BARS if name not in missing)]
    taken: dict[str, list[list[float]]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name in engines:
            taken[name].append(_figures(name, calls))
    times = {
        name: [Series(tuple(1.0 / round_[kind] for round_ in found)) for kind in range(len(_KINDS))]
        for name, found in taken.items()
    }
    rows = [
        Row(f"submits, {what}", name, times["jackfield"][kind], times[name][kind], _BARS[name] if kind else None)
        for name in engines[1:]
        for kind, what in enumerate(_KINDS)
    ]
    table = [
        (name, *(round(1.0 / each.median) for each in times[name]), *(_middle(found, place) for place in (3, 4)))
        for name, found in taken.items()
    ]
    absent = "".join(f" **Not measured: {name}: {why}.**" for name, why in missing.items())
    return Section(
        "Submitted calls against others",
        "Each in a process of its own, on the same disk, in turns. jackfield and DBOS on SQLite with WAL and"
        " `synchronous=FULL`, Celery on Redis with"
        f" `appendfsync always` and 16 threads in a worker.{absent}",
        rows,
        table=Table(
            ("engine", *(f"{what}, a second" for what in _KINDS), "end to end p50, ms", "p99, ms"),
            [*table, *((name, *["not measured"] * 5) for name in missing)],
        ),
    )


def _missing(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"`pip install {name}` brings it"
    if name == "celery" and shutil.which("redis-server") is None:
        return "redis-server is not on this machine"
    return ""


def _figures(engine: str, calls: int) -> list[float]:
    # Not in the folder for temporary files, which may be in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        done = subprocess.run(
            [sys.executable, str(_LOAD), engine, folder, str(calls)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=600,
        )
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _middle(found: list[list[float]], place: int) -> float:
    return round(Series(tuple(each[place] for each in found)).median, 2)
