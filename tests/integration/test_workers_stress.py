"""Threads and event loops that call one plugin at once, leave, and lose their workers: nothing is lost or mixed up."""

import asyncio
import gc
import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.in_workers import apart, needs_workers, until

from jackfield import JackfieldError, Unavailable
from jackfield.model.record import WorkerState

pytestmark = [pytest.mark.slow, needs_workers]

CODE = """
import asyncio
from jackfield import Caller, Logger, function, inject

@function
def now(value: int) -> int:
    return value

@function
async def later(value: int) -> int:
    await asyncio.sleep((value % 7) / 1000)
    return value

@function
async def large(value: bytes) -> bytes:
    await asyncio.sleep(0.001)
    return value

@function
async def nested(value: int, caller: Caller = inject()) -> int:
    return await caller.acall("apart.later", value)

@function
async def outlived(value: int, logger: Logger = inject()) -> int:
    for _ in range(3):
        asyncio.ensure_future(asyncio.to_thread(logger.debug, "its function may have ended"))
    return value
"""
ROUNDS = 60
"""Of each thread and each loop; a loop has up to 20 calls in one."""


def asked(chance):
    """Give a function and what it is to give back."""
    name = chance.choice(["now", "later", "large", "nested", "outlived"])
    if name == "large":
        return f"apart.{name}", bytes([chance.randrange(256)]) * chance.choice([10, 70_000, 500_000])
    return f"apart.{name}", chance.randrange(10**6)


def in_a_thread(host, chance, wrong):
    for _ in range(10 * ROUNDS):
        name, value = asked(chance)
        with suppress(JackfieldError):
            if host.call(name, value, timeout=chance.choice([0.002, 30.0])) != value:
                wrong.append(name)


async def on_a_loop(host, chance, wrong, rounds):
    async def one():
        name, value = asked(chance)
        with suppress(JackfieldError):
            if await host.acall(name, value, timeout=30.0) != value:
                wrong.append(name)

    for _ in range(rounds):
        tasks = [asyncio.ensure_future(one()) for _ in range(chance.randrange(1, 20))]
        await asyncio.sleep(chance.random() / 100)
        for task in tasks:
            if chance.random() < 0.2:
                task.cancel()
        await asyncio.wait(tasks)


def on_loops(host, chance, wrong):
    """Have one loop after the other, so that some end while others go on."""
    left = ROUNDS
    while left > 0:
        rounds = chance.randrange(1, 10)
        asyncio.run(on_a_loop(host, chance, wrong, rounds))
        left -= rounds


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def answers(host):
    with suppress(Unavailable):  # the one that was killed last
        return host.call("apart.now", 1, timeout=30.0) == 1
    return False


@pytest.mark.parametrize("killed", [False, True], ids=["their workers live", "their workers are killed"])
def test_nothing_is_lost_or_mixed_up(tmp_path, killed):
    gc.collect()
    before, wrong = descriptors(), []
    with apart(tmp_path, CODE, "[plugin.worker]\nmax = 3\ncalls = 200\n") as host:
        users = [
            threading.Thread(target=use, args=(host, random.Random(number), wrong))  # noqa: S311  # no secret
            for number, use in enumerate((in_a_thread, in_a_thread, on_loops, on_loops))
        ]
        for each in users:
            each.start()
        chance = random.Random(5)  # noqa: S311  # as above
        for each in users:
            while each.is_alive():
                each.join(chance.random() / 3)
                for worker in host.workers if killed else ():
                    with suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)
        assert wrong == []
        until(lambda: all(each.state is WorkerState.IDLE for each in host.workers))
        assert set(host.worker_tallies["apart"].deaths) <= ({"crashed"} if killed else set())
        until(lambda: answers(host))
    gc.collect()
    assert descriptors() <= before
