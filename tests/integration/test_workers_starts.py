"""How workers are started: no more than are needed, not too many at once, and slower the more often it fails."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.in_workers import apart, needs_workers, until, written

from jackfield import Host, Unavailable
from jackfield.workers import nursery, pool, supply

pytestmark = needs_workers

CODE = """
import asyncio, os, time
from jackfield import function

@function
def pid() -> int:
    return os.getpid()

@function
async def awaited() -> int:
    await asyncio.sleep(0.01)
    return os.getpid()

@function
def leave() -> None:
    os._exit(3)

@function
def meet(folder: str, number: int) -> int:
    while not os.path.exists(f"{folder}/{number}"):
        time.sleep(0.01)
    return os.getpid()
"""

QUICK = {"BACKOFF": 0.01, "LONGEST": 0.3}


def kept(**settings):
    return "\n".join(("[plugin.worker]", *(f"{name} = {value}" for name, value in settings.items())))


def zygote(host, plugin="apart"):
    """Give the process that a plugin's workers are forked from; they may not ask for it themselves."""
    stat = Path(f"/proc/{host.call(f'{plugin}.pid')}/stat").read_text("ascii")
    return int(stat.rpartition(")")[2].split()[1])


def kill(pid):
    """End a process that a host has started, and nothing else: numbers below 2 stand for many processes."""
    assert pid > 1
    os.kill(pid, signal.SIGKILL)


def workers(zygote):
    """Give the processes that a plugin's zygote has forked."""
    with suppress(FileNotFoundError):  # it has just ended
        return Path(f"/proc/{zygote}/task/{zygote}/children").read_text("ascii").split()
    return []


def leave(host):
    with pytest.raises(Unavailable) as caught:
        host.call("apart.leave")
    return caught.value


def test_many_that_wait_for_what_can_be_shared_start_one(tmp_path):
    """An async function shares its worker: a burst does not start as many as there may be."""
    with apart(tmp_path, CODE, kept(max=8)) as host, ThreadPoolExecutor(20) as threads:
        leave(host)
        assert len(set(threads.map(lambda _: host.call("apart.awaited"), range(20)))) == 1


def test_those_that_wait_for_one_each_start_as_many_as_there_may_be(tmp_path):
    """And all of one zygote, which is made once."""
    others = {*zygotes()}
    with apart(tmp_path, CODE, kept(max=3)) as host, ThreadPoolExecutor(6) as threads:
        before, old = zygote(host), host.call("apart.pid")
        kill(before)
        until(lambda: answered(host, "apart.pid") not in (None, old))
        calls = [
            threads.submit(host.call, "apart.meet", {"folder": str(tmp_path), "number": number}) for number in range(6)
        ]
        until(lambda: len(new := zygotes(others)) == 1 and len(workers(*new)) == 3)
        for number in range(6):
            (tmp_path / str(number)).touch()
        assert len({call.result() for call in calls}) <= 3
        assert zygote(host) != before


def zygotes(others=()):
    """Give the processes that the clean zygotes of this process have forked, but for those of other hosts."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended since it was listed
            for clean in (task / "children").read_text("ascii").split():
                found += Path(f"/proc/{clean}/task/{clean}/children").read_text("ascii").split()
    return [each for each in found if each not in others]


def test_no_more_start_at_once_than_the_machine_has_use_for(tmp_path, monkeypatch):
    """One after the other here; a function that waits for another's start is not in its way."""
    monkeypatch.setattr(nursery, "AT_ONCE", 1)
    seen = tmp_path / "seen"
    seen.mkdir()
    code = f"""
    import os, time
    from jackfield import function
    with open({str(seen)!r} + "/" + __name__.rpartition("_")[2] + str(os.getpid()), "w") as file:
        file.write(f"{{time.monotonic()}} ")
        time.sleep(0.1)
        file.write(f"{{time.monotonic()}}")
    @function
    def pid() -> int:
        return os.getpid()
    """
    for name in ("one", "two", "three"):
        file = written(tmp_path, code, f'[plugin.worker]\nallow = ["storage:{seen}"]', name=name)
    with Host.from_config(file, observers=()) as host, ThreadPoolExecutor(3) as threads:
        functions = ["one.pid", "two.pid", "three.pid"]
        before = set(threads.map(host.call, functions))
        for plugin in ("one", "two", "three"):
            kill(zygote(host, plugin))
        until(lambda: not before & set(threads.map(lambda name: answered(host, name), functions)))
        until(lambda: all(threads.map(lambda name: answered(host, name), functions)))
    times = sorted(tuple(map(float, each.read_text().split())) for each in seen.iterdir())
    assert len(times) == 6
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def answered(host, name):
    try:
        return host.call(name)
    except Unavailable:
        return None


def test_a_plugin_that_kills_its_workers_is_refused_for_a_while(tmp_path, monkeypatch):
    """Five in a row that end before they have answered anything; then one is tried again, and all is well."""
    for name, value in QUICK.items():
        monkeypatch.setattr(pool, name, value)
        monkeypatch.setattr(supply, name, value, raising=False)
    with apart(tmp_path, CODE) as host:
        assert [leave(host).cause for _ in range(supply.BREAKER)] == ["crashed"] * supply.BREAKER
        refused = leave(host)
        assert (refused.cause, refused.ran) == ("start_failed", False)
        assert "5 times in a row" in str(refused)
        until(lambda: answered(host, "apart.pid"))
        assert leave(host).cause == "crashed"
        assert host.call("apart.pid")


def test_a_worker_that_has_answered_is_no_failed_start(tmp_path):
    """Whatever ends it later: the next call finds another, at once and always."""
    with apart(tmp_path, CODE, kept(max=1)) as host:
        for _ in range(2 * supply.BREAKER):
            assert host.call("apart.pid")
            assert leave(host).cause == "crashed"


def test_a_success_in_between_closes_the_count(tmp_path, monkeypatch):
    """Failures count in a row alone."""
    monkeypatch.setattr(pool, "BACKOFF", 0.0)
    with apart(tmp_path, CODE, kept(max=1)) as host:
        for _ in range(3):
            for _ in range(supply.BREAKER - 1):
                assert leave(host).cause == "crashed"
            assert host.call("apart.pid")


def test_a_call_waits_out_a_back_off(tmp_path, monkeypatch):
    """It is not refused because a start has failed before it came."""
    monkeypatch.setattr(pool, "BACKOFF", 0.2)
    with apart(tmp_path, CODE) as host:
        leave(host)
        assert host.call("apart.pid", timeout=20)


def test_those_that_are_kept_warm_are_replaced_without_a_call(tmp_path):
    """However they end."""
    with apart(tmp_path, CODE, kept(min=2, max=3)) as host:
        source = zygote(host)
        before = set(workers(source))
        assert len(before) == 2
        for pid in before:
            kill(int(pid))
        until(lambda: len(workers(source)) == 2 and not before & set(workers(source)))


def test_those_that_are_kept_warm_are_there_after_their_zygote_has_died(tmp_path):
    """It is made again, and they with it."""
    others = {*zygotes()}
    with apart(tmp_path, CODE, kept(min=2, max=3)) as host:
        kill(zygote(host))
        until(lambda: len(new := zygotes(others)) == 1 and len(workers(*new)) == 2)


@pytest.mark.parametrize("least", [0, 1])
def test_spares_end_when_nobody_has_needed_them(tmp_path, least):
    """Down to those that are kept warm; the next call starts one again."""
    with apart(tmp_path, CODE, kept(min=least, max=3, idle=0.1)) as host, ThreadPoolExecutor(3) as threads:
        source = zygote(host)
        calls = [
            threads.submit(host.call, "apart.meet", {"folder": str(tmp_path), "number": number}) for number in range(3)
        ]
        until(lambda: len(workers(source)) == 3)
        for number in range(3):
            (tmp_path / str(number)).touch()
        assert all(call.result() for call in calls)
        until(lambda: len(workers(source)) == least)
        assert host.call("apart.pid")


def test_a_worker_is_replaced_after_so_many_calls(tmp_path):
    """And one that is kept warm takes its place without a call."""
    with apart(tmp_path, CODE, kept(min=1, max=1, calls=3)) as host:
        assert len({host.call("apart.pid") for _ in range(9)}) == 3
        source = zygote(host)
        until(lambda: len(workers(source)) == 1)
