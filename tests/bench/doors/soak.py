"""Five minutes at 70 % of what the host can take, while it is changed and hurt every ten seconds."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import servers
from clients import Answer, Tenant, percentile
from harness import Effort
from results import Check, Section, Table

_EVERY = 10.0
_LOAD = 0.7
_SAMPLE = 3.0  # seconds that it takes to see what can be had
_GROWN = 1.1  # as much more memory than after a quarter of the time is called flat
_BODY = b'{"a":1,"b":2}'
_PATHS = {"in the host": "add.later", "in a worker, idempotent": "apart.steady", "in a worker": "apart.once"}
_APART = """
import time
from jackfield import function

@function(idempotent=True)
def steady(a: int, b: int) -> int:
    time.sleep(0.002)
    return a + b

@function
def once(a: int, b: int) -> int:
    time.sleep(0.002)
    return a + b
"""
_MORE = """
[[plugin]]
name = "other"
path = "./plugin.py"
version = "2"
functions = { "add.later" = "later" }
[[plugin]]
name = "apart"
path = "./apart.py"
executor = "worker"
[plugin.worker]
min = 1
max = 2
[plugin.retry]
attempts = 5
backoff = 0.05
"""


def run(effort: Effort) -> Section:
    """Count what is lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "apart.py").write_text(_APART, "utf-8")
        with servers.jackfield(folder, more=_MORE) as server:
            rate, answers, blows, memory = asyncio.run(_soak(server, folder, effort.load))
    lost = {what: sum(each.status != 200 for each in found) for what, found in answers.items()}
    kept = [*answers["in the host"], *answers["in a worker, idempotent"]]
    bad = lost["in the host"] + lost["in a worker, idempotent"]
    allowed = len(kept) // 10_000
    killed, inside = blows["kill"], blows["inside"]
    rows = [
        (
            what,
            len(found),
            lost[what],
            ", ".join(f"{status}: {count}" for status, count in Counter(each.status for each in found).items()),
            round(percentile(found, 0.5) * 1e3, 1),
            round(percentile(found, 0.99) * 1e3, 1),
        )
        for what, found in answers.items()
    ]
    return Section(
        "Soak",
        f"{rate:,.0f} calls a second for {effort.load:g} s, 70 % of what the same client got before; every {_EVERY:g} s"
        f" in turn a canary begins or ends, a plugin is reloaded, a worker is killed: {dict(blows)}. MiB from a"
        f" quarter of the time to its end: {memory[0]:.0f} → {memory[1]:.0f}.",
        [],
        checks=[
            Check(f"calls beyond 1 in 10,000 that failed ({bad})", max(0, bad - allowed), len(kept)),
            Check(
                f"calls of workers that failed ({lost['in a worker']}) beyond those inside {killed} killed ({inside})",
                max(0, lost["in a worker"] - inside),
                len(answers["in a worker"]),
            ),
            Check("memory has grown by more than a tenth", int(memory[1] > memory[0] * _GROWN), 1),
        ],
        table=Table(("calls", "how many", "failed", "by status", "p50, ms", "p99, ms"), rows),
    )


async def _soak(
    server: servers.Server, folder: Path, seconds: float
) -> tuple[float, dict[str, list[Answer]], Counter[str], tuple[float, float]]:
    tenant = Tenant(server.url, servers.KEY)
    ends = time.perf_counter() + _SAMPLE
    seen = await asyncio.gather(
        *[
            tenant.press(6, lambda: time.perf_counter() > ends, f"/v1/functions/{path}", _BODY)
            for path in _PATHS.values()
        ]
    )
    rates = [len(found) / _SAMPLE * _LOAD for found in seen]
    blows: Counter[str] = Counter()
    hurting = asyncio.create_task(_hurt(server.process.pid, folder, blows))
    early = asyncio.create_task(_memory_after(server.process.pid, seconds / 4))
    found = await asyncio.gather(
        *[
            tenant.pace(rate, seconds, f"/v1/functions/{path}", _BODY)
            for rate, path in zip(rates, _PATHS.values(), strict=True)
        ]
    )
    hurting.cancel()
    with suppress(asyncio.CancelledError):
        await hurting
    return sum(rates), dict(zip(_PATHS, found, strict=True)), blows, (await early, _memory(server.process.pid))


async def _hurt(pid: int, folder: Path, blows: Counter[str]) -> None:
    for turn in itertools.count():
        await asyncio.sleep(_EVERY)
        what = ("canary", "reload", "kill")[turn % 3]
        if what == "kill":
            workers = _workers(pid)
            if workers:
                blows["inside"] += 8  # as many calls of it as may be inside or on their way
                os.kill(workers[0], signal.SIGKILL)
        elif what == "reload":
            await _pluginctl(folder, "reload", "add")
        elif turn % 6 == 0:
            await _pluginctl(folder, "canary", "add.later", "--version", "2", "--share", "0.5")
        else:
            await _pluginctl(folder, "canary", "add.later", "--abort")
        blows[what] += 1


async def _pluginctl(folder: Path, *verb: str) -> None:
    command = [sys.executable, "-m", "jackfield", *verb, "--control", str(folder / "c.sock")]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(verb)}: {said.decode()}")


def _workers(pid: int) -> list[int]:
    """Find the processes that have no children, below one: zygotes have some."""
    below = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    every = [child for each in Path(f"/proc/{pid}/task").iterdir() for child in (each / "children").read_text().split()]
    found = {*below, *map(int, every)}
    leaves = []
    while found:
        one = found.pop()
        with suppress(OSError):
            children = {
                int(each)
                for task in Path(f"/proc/{one}/task").iterdir()
                for each in (task / "children").read_text().split()
            }
            if children:
                found |= children
            else:
                leaves.append(one)
    return leaves


async def _memory_after(pid: int, seconds: float) -> float:
    await asyncio.sleep(seconds)
    return _memory(pid)


def _memory(pid: int) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Pss"].split()[0]) / 1024
