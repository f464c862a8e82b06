"""Workers come and go, thousands of times, and nothing of them stays.

`JACKFIELD_WORKER_CYCLES=10000 pytest -m slow -s tests/integration/test_worker_cycles.py` prints the counts.
"""

import gc
import os
import sys
import threading
from pathlib import Path

import pytest

from jackfield import Unavailable
from support.apart import below, descriptors, host_of, until, why_not, zombies

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

CYCLES = int(os.environ.get("JACKFIELD_WORKER_CYCLES", "500"))
WARM = 50
GROWN = 16 * 1024  # kB for whatever number of cycles: 2 kB each of 10,000 would be more

CODE = """
import os
from jackfield import function

@function
def pid() -> int:
    return os.getpid()

@function
def leave() -> None:
    os._exit(3)
"""


def resident(pid):
    """Give the kB that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def counts(at_rest):
    """Count what this process has, once as many processes are below it as there should be."""
    gc.collect()
    until(lambda: len(below()) == at_rest and not zombies())
    there = below()
    return {
        "processes": len(there),
        "zombies": len(zombies()),
        "groups": len({each.group for each in there.values()}),
        "descriptors": len(descriptors()),
        "threads": threading.active_count(),
        "host kB": resident(os.getpid()),
        "guests kB": sum(resident(pid) for pid in there),
    }


def cycle(host, numbers):
    """Have as many workers begin and end: four of five are replaced after their call, one leaves by itself."""
    for number in numbers:
        if number % 5:
            host.call("often.pid", timeout=30.0)
        else:
            host.call("sick.pid", timeout=30.0)  # a worker that has answered does not count as a start that failed
            with pytest.raises(Unavailable):
                host.call("sick.leave", timeout=30.0)


def test_nothing_stays_of_workers_that_have_gone(tmp_path):
    """No process, zombie, process group, descriptor or thread, and no memory to speak of."""
    with host_of(tmp_path, often=(CODE, "[plugin.worker]\ncalls = 1\nmax = 1\n"), sick=CODE) as host:
        cycle(host, range(1, WARM + 1))
        host.call("sick.pid", timeout=30.0)
        host.call("often.pid", timeout=30.0)
        until(lambda: not zombies())
        at_rest = min(len(below()) for _ in range(20))
        before, began = counts(at_rest), host.worker_tallies
        started = sum(tally.starts for tally in began.values())
        cycle(host, range(1, CYCLES + 1))
        host.call("sick.pid", timeout=30.0)
        after = counts(at_rest)
        started = sum(tally.starts for tally in host.worker_tallies.values()) - started
    lines = [f"{started} workers in {CYCLES} cycles", *(f"{key}: {before[key]} → {after[key]}" for key in before)]
    sys.stdout.write("\n".join(["", *lines, ""]))
    assert started >= CYCLES
    for what in ("processes", "zombies", "groups", "descriptors", "threads"):
        assert after[what] <= before[what], (what, before, after)
    for what in ("host kB", "guests kB"):
        assert after[what] - before[what] < GROWN, (what, before, after)
    until(lambda: not below())
    assert below() == {}
