"""What workers may use: memory, CPU time, threads and processes; each by something that really takes too much."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.support.in_workers import apart, needs_workers, until

from jackfield import ConfigError, FunctionCrashed, FunctionNotFound, Unavailable
from jackfield.sandbox import cgroups
from jackfield.workers import limits, pool

pytestmark = needs_workers

needs_groups = pytest.mark.skipif(
    os.name != "posix" or set(cgroups.find().homes) != set(cgroups.CONTROLLERS), reason="needs cgroups to write to"
)

CODE = """
import asyncio, mmap, os, threading, time
from jackfield import function

kept = []

@function
def pid() -> int:
    return os.getpid()

@function
def allocate(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))

@function
def keep(megabytes: int) -> int:
    for _ in range(megabytes):
        shared = mmap.mmap(-1, 1 << 20)  # RLIMIT_DATA does not count it
        for place in range(0, 1 << 20, mmap.PAGESIZE):
            shared[place] = 1
        kept.append(shared)
    return os.getpid()

@function
def keep_until(megabytes: int, file: str) -> int:
    keep(megabytes)
    while not os.path.exists(file):
        time.sleep(0.01)
    return os.getpid()

@function
def threads(number: int) -> int:
    for begun in range(number):
        try:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        except RuntimeError:
            return begun
    return number
"""


def limited(*lines):
    return "\n".join(("[plugin.worker]", *lines))


def groups():
    """Give the folders of the control groups that this process has made."""
    homes = set(cgroups.find().homes.values())
    return [folder for home in homes for folder in home.glob(f"jackfield-{os.getpid()}-*")]


def test_an_allocation_past_the_limit_is_a_memory_error(tmp_path):
    """It is the function's own error, and its worker goes on."""
    with apart(tmp_path, CODE, limited('memory = "128MiB"')) as host:
        before = host.call("apart.pid")
        with pytest.raises(FunctionCrashed) as caught:
            host.call("apart.allocate", 500)
        assert caught.value.error_type == "MemoryError"
        assert host.call("apart.pid") == before


@pytest.mark.parametrize("grouped", [True, False])
def test_a_worker_that_uses_more_than_it_may_is_killed(tmp_path, monkeypatch, grouped):
    """With a cgroup around it and without; its caller is told why, and the next call has another worker."""
    if not grouped:
        monkeypatch.setattr(limits, "find", nowhere)
    with apart(tmp_path, CODE, limited('memory = "96MiB"')) as host:
        before = host.call("apart.pid")
        with pytest.raises(Unavailable, match="memory") as caught:
            host.call("apart.keep", 2000)
        assert caught.value.cause == "out_of_memory"
        assert host.call("apart.pid") != before


def test_a_worker_that_comes_near_its_limit_is_replaced_between_calls(tmp_path):
    """No call is lost by it."""
    with apart(tmp_path, CODE, limited('memory = "256MiB"')) as host:
        full = host.call("apart.keep", 205)
        until(lambda: host.call("apart.pid") != full)


def test_a_worker_that_comes_near_its_limit_finishes_its_calls(tmp_path):
    """Another takes its place meanwhile, even where there may be one only."""
    end = tmp_path / "end"
    with apart(tmp_path, CODE, limited('memory = "256MiB"', "max = 1")) as host, ThreadPoolExecutor(1) as threads:
        running = threads.submit(host.call, "apart.keep_until", {"megabytes": 205, "file": str(end)}, timeout=30)
        other = host.call("apart.pid", timeout=30)
        assert not running.done()
        end.touch()
        assert running.result() != other
        assert host.call("apart.pid") == other


def test_what_a_worker_keeps_between_calls_is_bounded_without_a_limit(tmp_path, monkeypatch):
    """It grows over what it began with: it is replaced when it rests."""
    monkeypatch.setattr(limits, "GROWN", 32 << 20)
    monkeypatch.setattr(limits, "SELDOM", 0.05)
    with apart(tmp_path, CODE) as host:
        full = host.call("apart.keep", 60)
        until(lambda: host.call("apart.pid") != full)


def test_an_old_worker_is_replaced_when_it_rests(tmp_path, monkeypatch):
    """Whatever it uses."""
    monkeypatch.setattr(pool, "OLDEST", 0.2)
    monkeypatch.setattr(limits, "SELDOM", 0.05)
    with apart(tmp_path, CODE) as host:
        old = host.call("apart.pid")
        until(lambda: host.call("apart.pid") != old)


@needs_groups
@pytest.mark.parametrize(("cpu", "quota"), [("500m", 50_000), ("2", 200_000)])
def test_a_quota_of_cpu_time_is_around_each_worker(tmp_path, cpu, quota):
    """The kernel holds it; the groups go with the host's workers."""
    with apart(tmp_path, CODE, limited(f'cpu = "{cpu}"')) as host:
        pid = host.call("apart.pid")
        (mine,) = {
            folder
            for folder in groups()
            if (folder / "cgroup.procs").read_text().split() == [str(pid)]
            and any((folder / name).exists() for name in ("cpu.cfs_quota_us", "cpu.max"))
        }
        file = next(mine / name for name in ("cpu.cfs_quota_us", "cpu.max") if (mine / name).exists())
        assert int(file.read_text().split()[0]) == quota
    assert groups() == []


@needs_groups
def test_threads_are_bounded(tmp_path):
    """Whoever uses them up gets no more, and the plugin stops as others do."""
    with apart(tmp_path, CODE, limited("pids = 20")) as host:
        assert 0 < host.call("apart.threads", 100) < 20
        assert host.call("apart.pid")
    assert host.faults == ()


@needs_groups
def test_a_fork_bomb_at_import_is_bounded_and_ends_with_its_host(tmp_path):
    """It is inside its group before it is imported."""
    code = """
    import os, time
    from jackfield import function
    forked = []
    try:
        while len(forked) < 1000:
            pid = os.fork()
            if not pid:
                time.sleep(1000)
                os._exit(0)
            forked.append(pid)
    except OSError:
        pass
    @function
    def bombs() -> list[int]:
        return forked
    """
    with apart(tmp_path, code, limited("pids = 20")) as host:
        with pytest.raises(Unavailable, match="no process"):
            host.call("apart.bombs")
        assert max(len((folder / "cgroup.procs").read_text().split()) for folder in groups()) <= 20
    assert groups() == []


def nowhere():
    return cgroups.Cgroups(0, MappingProxyType({}), MappingProxyType(dict.fromkeys(cgroups.CONTROLLERS, "not here")))


@pytest.mark.parametrize(
    ("line", "unheld"),
    [('cpu = "500m"', ["cpu"]), ("pids = 20", ["pids"]), ('memory = "1GiB"', []), ("open_files = 100", [])],
)
def test_what_nothing_holds_here_is_said_or_refused(tmp_path, monkeypatch, line, unheld):
    """Memory and descriptors are held everywhere; the rest takes a cgroup that may be written."""
    monkeypatch.setattr(limits, "find", nowhere)
    with apart(tmp_path, CODE, limited(line)) as host:
        assert host.call("apart.pid")
        assert [fault.reason for fault in host.faults] == [f"nothing holds here: {name}: not here" for name in unheld]
    refused = tmp_path / "refused"
    refused.mkdir()
    with apart(refused, CODE, limited(line, "enforce = true")) as host:
        with pytest.raises(FunctionNotFound) if unheld else nullcontext():
            host.call("apart.pid")
        assert [fault.stage for fault in host.faults] == ["limits"] * bool(unheld)


@needs_groups
def test_what_is_held_is_not_said(tmp_path):
    """All limits at once, and somebody insists."""
    lines = ('cpu = "500m"', 'memory = "256MiB"', "pids = 64", "open_files = 100", "enforce = true")
    with apart(tmp_path, CODE, limited(*lines)) as host:
        assert host.faults == ()
        held = Path(f"/proc/{host.call('apart.pid')}/limits").read_text("ascii")
        assert [line.split()[3] for line in held.splitlines() if line.startswith("Max open files")] == ["100"]


def test_no_workers_at_all_is_a_fault_of_the_configuration(tmp_path):
    """`max = 0` would refuse every call."""
    with pytest.raises(ConfigError, match="max"):
        apart(tmp_path, CODE, limited("max = 0"))
