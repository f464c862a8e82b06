"""Harm that stays where it is: a segfault, a fork bomb and a leak of 2 GB, while another plugin goes on serving."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from shown import console

from jackfield import Host, JackfieldError, Unavailable

STEADY = """
from jackfield import function

@function
def add(a: int, b: int) -> int:
    return a + b
"""
# Each ends by itself where nothing stops it, in at most 1,024 processes or 2 GB.
HARMFUL = """
import ctypes, os
from jackfield import function

@function
def segfault() -> None:
    ctypes.string_at(0)

@function
def fork_bomb() -> int:
    for _ in range(10):
        os.fork()
    return 1

@function
def leak() -> int:
    kept = []
    for _ in range(2_000):
        kept.append(b"x" * 2**20)
    return len(kept)

@function
def well() -> str:
    return "well"
"""
CONFIGURATION = """
[[plugin]]
name = "steady"
path = "./steady.py"
executor = "worker"

[[plugin]]
name = "harmful"
path = "./harmful.py"
executor = "worker"

[plugin.worker]
memory = "256Mi"
pids = 32
"""
HARM = {
    "segfault": "reads where no memory is",
    "fork_bomb": "doubles its processes, ten times",
    "leak": "keeps 2 GB, may have 256 MiB",
}


def harm(folder: Path) -> bool:
    """Do harm in a worker, three times, while a thread calls another plugin; tell whether there is a sandbox here."""
    for name, code in (("steady", STEADY), ("harmful", HARMFUL)):
        (folder / f"{name}.py").write_text(code, "utf-8")
    (folder / "apart.toml").write_text(CONFIGURATION, "utf-8")
    with Host.from_config(folder / "apart.toml", observers=()) as host:
        for fault in host.faults:
            console.print(f"[yellow]here not all can be had: {fault.reason}[/]")
        if {"steady.add", "harmful.well"} - host.snapshot.functions.keys():
            console.print("without a sandbox nothing harmful is run: `pluginctl sandbox` shows what is missing")
            return False
        tier = host.worker_tiers["harmful"]
        console.print(f"a sandbox of the tier [bold]{tier}[/]; the host's process is {_memory()}")
        with _serving(host) as outcomes:
            for name, what in HARM.items():
                began = perf_counter()
                console.print(f"  {name:<10} {what:<33} [red]{_end(host, name)}[/], {perf_counter() - began:.2f} s")
                host.call("harmful.well", timeout=10.0)  # by a new worker, where the old one is gone
    failed = outcomes.total() - outcomes["ok"]
    console.print(
        f"meanwhile {outcomes['ok']:,} calls of the other plugin succeeded: [bold]{failed} failed[/];"
        f" the host's process is {_memory()}"
    )
    return True


def _end(host: Host, name: str) -> str:
    """Call a function that does harm, and tell what its caller gets."""
    try:
        return f"returned {host.call(f'harmful.{name}', timeout=10.0)}"
    except Unavailable as error:
        return f"Unavailable, cause {error.cause}"
    except JackfieldError as error:
        return f"{type(error).__name__}: {getattr(error, 'error_type', error.outcome.value).rpartition('.')[2]}"


@contextmanager
def _serving(host: Host) -> Iterator[Counter[str]]:
    """Call a function in a thread, and count how the calls end."""
    enough, outcomes = threading.Event(), Counter[str]()

    def run() -> None:
        while not enough.is_set():
            try:
                host.call("steady.add", {"a": 1, "b": 2}, timeout=10.0)
                outcomes["ok"] += 1
            except JackfieldError as error:
                outcomes[str(error)] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcomes
    finally:
        enough.set()
        thread.join()


def _memory() -> str:
    """Say what this process has in memory; "alive" where the system does not tell."""
    file = Path("/proc/self/statm")
    return f"at {int(file.read_text('ascii').split()[1]) * 4 // 1024} MiB" if file.exists() else "alive"
