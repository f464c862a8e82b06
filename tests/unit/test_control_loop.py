"""The control loop: whoever waits for something on it is told how it ended, whatever else happens to the loop."""

import asyncio
import sys
import threading
from collections import Counter
from concurrent.futures import CancelledError

import pytest

from jackfield.errors import ResourceExhausted, Unavailable
from jackfield.runtime.control import ControlLoop

PATIENCE = 30.0  # seconds that only a broken loop uses up


@pytest.fixture
def _eager_switches():
    """Have threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_switches")
def test_whoever_waits_while_the_loop_is_closed_gets_a_result_or_unavailable():
    """Nothing is lost between the last look at a loop and its end: neither a wait for ever nor a stray error."""
    control, said, over = ControlLoop(), Counter(), threading.Event()

    async def one():
        return "one"

    def ask():
        while not over.is_set():
            try:
                said[control.run(one(), PATIENCE)] += 1
            except Unavailable:
                said["unavailable"] += 1
            except BaseException as error:
                said[f"{type(error).__name__}: {error}"] += 1
                raise

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(10_000):
        control.close()
    over.set()
    for asker in askers:
        asker.join()
    control.close()
    assert set(said) <= {"one", "unavailable"}


def test_what_would_not_end_with_the_loop_is_cancelled_for_whoever_waits():
    """A coroutine that swallows its cancellation keeps neither the loop nor its waiter."""
    control, entered = ControlLoop(), threading.Event()

    async def stubborn():
        entered.set()
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                continue

    future = control.submit(stubborn())
    assert entered.wait(PATIENCE)
    control.close(PATIENCE)
    with pytest.raises(CancelledError):
        future.result(PATIENCE)


def test_a_system_without_threads_is_said_to_be_exhausted_and_the_next_try_may_work(monkeypatch):
    """No coroutine is left behind that nobody awaits, and no loop that nobody runs."""
    control = ControlLoop()

    async def one():
        return 1

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(ResourceExhausted, match="no thread"):
            control.run(one())
    assert control.run(one()) == 1
    control.close()


def _no_thread(_thread):
    raise RuntimeError("can't start new thread")
