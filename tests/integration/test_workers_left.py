"""Calls that nobody waits for any more: what they hold comes back, and what they ask is answered."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from tests.support.in_workers import apart, needs_workers, until

from jackfield import DeadlineExceeded
from jackfield.model.record import WorkerState
from jackfield.workers.arena import LARGEST

pytestmark = [pytest.mark.slow, needs_workers]

CODE = """
import asyncio, os, time
from jackfield import Caller, EventBus, function, inject

class Told:
    pass

@function
def pid() -> int:
    return os.getpid()

@function
def late(size: int, seconds: float) -> bytes:
    time.sleep(seconds)
    return bytes(size)

@function
async def alate(size: int, seconds: float) -> bytes:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
    return bytes(size)

@function
def echo(data: bytes) -> bytes:
    return data

@function
def fail(data: bytes) -> None:
    raise LookupError(len(data))

@function
def talks_on(seconds: float, caller: Caller = inject()) -> None:
    time.sleep(seconds)
    try:
        caller.call("apart.nothing")
    except Exception:
        pass
    while True:
        time.sleep(0.01)

@function
def publishes_on(seconds: float, bus: EventBus = inject()) -> None:
    time.sleep(seconds)
    try:
        bus.publish(Told())
    except Exception:
        pass
    while True:
        time.sleep(0.01)

@function
def nested(caller: Caller = inject()) -> None:
    caller.call("apart.sleeps")

@function
async def sleeps() -> None:
    await asyncio.sleep(600.0)

@function
def large_question(caller: Caller = inject()) -> None:
    try:
        caller.call("apart.echo", bytes(1_000_000))
    except Exception:
        pass
"""


def rests(host):
    return all(each.state is WorkerState.IDLE for each in host.workers)


ONE = "[plugin.worker]\nmax = 1\n"


async def left(host, name, payload=None, *, after):
    """Call a function, and leave after some seconds; it has no deadline itself."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await host.acall(name, payload)


@pytest.mark.parametrize("name", ["late", "alate"])
def test_a_large_result_that_nobody_waits_for_any_more_keeps_no_room(tmp_path, name):
    """All of them together are more than there is room for at once."""
    size = LARGEST // 4
    with apart(tmp_path, CODE, ONE) as host:
        pid = host.call("apart.pid")
        for _ in range(6):
            asyncio.run(left(host, f"apart.{name}", {"size": size, "seconds": 0.3}, after=0.1))
            until(lambda: rests(host))
        assert host.call("apart.late", {"size": size, "seconds": 0.0}) == bytes(size)
        assert host.call("apart.pid") == pid


@pytest.mark.parametrize("name", ["talks_on", "publishes_on"])
def test_one_that_asks_past_its_deadline_is_killed_all_the_same(tmp_path, name):
    with apart(tmp_path, CODE, ONE) as host:
        pid = host.call("apart.pid")
        with pytest.raises(DeadlineExceeded):
            host.call(f"apart.{name}", 0.3, timeout=0.2)
        until(lambda: pid not in {each.pid for each in host.workers})
        assert host.call("apart.pid") != pid


def test_what_a_call_asks_is_refused_when_its_caller_has_left(tmp_path):
    """Else it would wait for ever, and its worker with it."""
    with apart(tmp_path, CODE, "[plugin.worker]\nmax = 3\n") as host:
        asyncio.run(left(host, "apart.nested", after=0.5))
        until(lambda: rests(host))


def test_a_worker_that_takes_many_calls_at_once_is_replaced_in_time(tmp_path):
    """It never rests, so it gets no more calls, and ends with the last that it has."""

    async def flow(host):
        pids = set()
        running = {asyncio.ensure_future(host.acall("apart.alate", {"size": 1, "seconds": 0.1})) for _ in range(4)}
        for _ in range(60):
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running |= {asyncio.ensure_future(host.acall("apart.alate", {"size": 1, "seconds": 0.1})) for _ in done}
            pids |= {each.pid for each in host.workers}
        await asyncio.wait(running)
        return pids

    with apart(tmp_path, CODE, "[plugin.worker]\nmax = 1\ncalls = 20\n") as host:
        assert len(asyncio.run(flow(host))) > 1


def test_a_loop_that_is_closed_over_its_calls_gives_them_back(tmp_path):
    with apart(tmp_path, CODE, ONE) as host:
        pid = host.call("apart.pid")
        for _ in range(3):
            loop = asyncio.new_event_loop()
            tasks = [loop.create_task(host.acall("apart.alate", {"size": 100_000, "seconds": 0.2})) for _ in range(5)]
            loop.run_until_complete(asyncio.sleep(0.05))
            loop.close()
            del tasks, loop
        until(lambda: rests(host))
        assert host.call("apart.pid") == pid
        gc.collect()  # until then the host waits for these calls when it stops


def test_no_room_is_lost_when_calls_end_in_every_way(tmp_path):
    with apart(tmp_path, CODE, "[plugin.worker]\nmax = 6\n") as host, ThreadPoolExecutor(3) as threads:
        data = bytes(1_000_000)

        def one(number):
            with suppress(Exception):
                if number % 3 == 0:
                    host.call("apart.fail", data)
                elif number % 3 == 1:
                    host.call("apart.echo", data, timeout=0.001)
                else:
                    host.call("apart.large_question", timeout=5.0)

        list(threads.map(one, range(600)))
        until(lambda: rests(host))
        whole = bytes(60_000_000)
        for _ in host.workers:
            assert host.call("apart.echo", whole) == whole
