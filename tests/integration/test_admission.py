"""Calls of tenants take a seat, wait for their turn, or are refused: sync and async, in threads and in workers."""

import asyncio
import sys
import textwrap
import threading

import pytest
from tests.support.in_workers import until

from jackfield import DeadlineExceeded, Host, ResourceExhausted

PLUGIN = """
import asyncio, threading, time
from jackfield import Caller, function, inject

gate = threading.Event()

@function
def hold() -> str:
    gate.wait(60.0)
    return "held"

@function
async def ahold() -> str:
    while not gate.is_set():
        await asyncio.sleep(0.005)
    return "held"

@function
def quick() -> str:
    return "quick"

@function
async def nested(*, caller: Caller = inject()) -> str:
    return await caller.acall("slow.quick")

@function
def crash() -> None:
    raise ValueError("no")

@function
def open() -> None:
    gate.set()
"""
FILE = """
[[plugin]]
name = "slow"
path = "./slow.py"
[tenants.few]
concurrency = 2
[tenants.rare]
rate = 2.0
[tenants.kept]
seats = 3
[tenants.heavy]
weight = 2.0
sla = 2.0
[tenants.plain]
"""


@pytest.fixture
def host(tmp_path):
    (tmp_path / "slow.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(FILE)
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        yield host
        host.call("slow.open")


def caller(host, way):
    """Give what calls: from a thread, or from an event loop."""
    if way == "sync":
        return host.call

    def call(*arguments, **named):
        return asyncio.run(host.acall(*arguments, **named))

    return call


def begin(host, way, name, tenant, count, **named):
    """Begin so many calls, each in a thread; give what they end in."""
    ends = []

    def one():
        try:
            ends.append(caller(host, way)(name, tenant=tenant, **named))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is judged
            ends.append(error)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return ends, threads


def of(host, tenant):
    return host.admission.tenants.get(tenant)


WAYS = [("sync", "slow.hold"), ("async", "slow.hold"), ("async", "slow.ahold")]


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_more_than_its_concurrency_of_a_tenant_is_refused(host, way, name):
    """At once, and with what would mend it; the others are not concerned."""
    ends, threads = begin(host, way, name, "few", 2)
    until(lambda: of(host, "few") and of(host, "few").inside == 2)
    with pytest.raises(ResourceExhausted, match=r"tenant 'few' has 2 calls inside, its `concurrency`"):
        caller(host, way)("slow.quick", tenant="few")
    assert caller(host, way)("slow.quick", tenant="plain") == "quick"
    host.call("slow.open")
    for thread in threads:
        thread.join(60.0)
    assert ends == ["held", "held"]
    assert caller(host, way)("slow.quick", tenant="few") == "quick"
    assert of(host, "few").refused == {"concurrency": 1}


@pytest.mark.parametrize("way", ["sync", "async"])
def test_more_than_its_rate_of_a_tenant_is_refused_with_when_to_come_back(host, way):
    """As many at once as in a second."""
    call = caller(host, way)
    ends, threads = begin(host, way, "slow.quick", "rare", 20)
    for thread in threads:
        thread.join(60.0)
    refused = [end for end in ends if isinstance(end, ResourceExhausted)]
    assert len(refused) >= 10
    assert all(0.0 < each.retry_after <= 0.5 for each in refused)
    until(lambda: not isinstance(attempt(call, "slow.quick", tenant="rare"), Exception))


def attempt(call, *arguments, **named):
    try:
        return call(*arguments, **named)
    except ResourceExhausted as error:
        return error


def fill(host, way, name, tenant="plain"):
    """Have a tenant take every seat that there is, and wait for more."""
    ends, threads = begin(host, way, name, tenant, 30)
    until(lambda: of(host, tenant) and of(host, tenant).waiting > 3)
    return ends, threads


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_a_call_waits_for_its_turn_and_has_it(host, way, name):
    """When somebody leaves."""
    ends, threads = fill(host, way, name)
    host.call("slow.open")
    for thread in threads:
        thread.join(60.0)
    assert ends == ["held"] * 30
    found = of(host, "plain")
    assert (found.inside, found.waiting, found.admitted, found.refused) == (0, 0, 30, {})


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_reserved_seats_are_there_whatever_the_others_do(host, way, name):
    """And are nobody else's."""
    fill(host, way, name)
    assert caller(host, way)("slow.quick", tenant="kept", timeout=30.0) == "quick"


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_who_waits_leaves_at_its_deadline(host, way, name):
    """And its place is the next one's; what never began is not called late."""
    fill(host, way, name)
    with pytest.raises(DeadlineExceeded):
        caller(host, way)(name, tenant="heavy", timeout=0.1)
    until(lambda: of(host, "heavy").waiting == 0)
    assert of(host, "heavy").inside == 0


def test_a_task_that_is_cancelled_while_it_waits_leaves_no_seat_behind(host):
    """As one that has gone away at a door."""
    fill(host, "sync", "slow.hold")

    async def gone():
        task = asyncio.create_task(host.acall("slow.hold", tenant="heavy"))
        while not (of(host, "heavy") and of(host, "heavy").waiting):  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(gone())
    assert (of(host, "heavy").inside, of(host, "heavy").waiting) == (0, 0)


def test_nested_calls_and_calls_of_nobody_take_no_seat(host):
    """Else a call would wait for the seat that it has."""
    fill(host, "sync", "slow.hold")
    assert host.call("slow.quick") == "quick"
    ends, threads = begin(host, "async", "slow.nested", "kept", 3)
    for thread in threads:
        thread.join(60.0)
    assert ends == ["quick"] * 3


def test_a_call_that_fails_gives_its_seat_back(host):
    """Whatever it fails of."""
    for _ in range(50):
        with pytest.raises(Exception, match="no"):
            host.call("slow.crash", tenant="few")
        with pytest.raises(Exception, match="slow"):
            host.call("slow.quick", {"no": "parameter"}, tenant="few")
    assert of(host, "few").inside == 0


def test_what_is_due_to_a_tenant_changes_with_an_apply_and_ends_with_it(host, tmp_path):
    """From the next call on; without shares nobody takes a seat."""
    file = tmp_path / "jackfield.toml"
    file.write_text(FILE.replace("concurrency = 2", "concurrency = 1"))
    assert host.apply(file).ok
    begin(host, "sync", "slow.hold", "few", 1)
    until(lambda: of(host, "few") and of(host, "few").inside == 1)
    with pytest.raises(ResourceExhausted):
        host.call("slow.quick", tenant="few")
    file.write_text(FILE.split("[tenants.few]", maxsplit=1)[0])
    assert host.apply(file).ok
    assert host.admission is None
    assert host.call("slow.quick", tenant="few") == "quick"
    file.write_text(FILE)
    assert host.apply(file).ok
    assert host.call("slow.quick", tenant="kept") == "quick"
    assert of(host, "kept").admitted >= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_calls_of_plugins_in_workers_have_their_turn_too(tmp_path):
    """And a worker that is killed gives back the seats of its calls."""
    (tmp_path / "apart.py").write_text(
        textwrap.dedent("""
        import os, signal
        from jackfield import function

        @function
        def die() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        @function
        def quick() -> str:
            return "quick"
        """)
    )
    text = '[[plugin]]\nname = "apart"\npath = "./apart.py"\nexecutor = "worker"\n[tenants.t]\nconcurrency = 1\n'
    (tmp_path / "jackfield.toml").write_text(text)
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        for _ in range(3):
            with pytest.raises(Exception, match="apart"):
                host.call("apart.die", tenant="t", timeout=60.0)
            until(lambda: attempt(host.call, "apart.quick", tenant="t", timeout=60.0) == "quick")
        assert of(host, "t").inside == 0
