"""The control loop: what is scheduled on it is settled, whoever closes it meanwhile, and whatever the system gives."""

import asyncio
import threading
from contextlib import suppress

import pytest

from jackfield.errors import ResourceExhausted, Unavailable
from jackfield.runtime.control import ControlLoop
from support.plugins import PATIENCE


async def soon():
    return 1


def test_what_is_submitted_while_the_loop_is_closed_gets_a_result_or_unavailable(monkeypatch):
    """Between taking the loop and scheduling on it, nobody can close it: no coroutine is lost on a dead loop."""
    control = ControlLoop()
    control.run(soon())
    closer = threading.Thread(target=control.close)
    schedule = asyncio.run_coroutine_threadsafe

    def schedule_late(coroutine, loop):
        closer.start()
        closer.join(0.2)  # it ends within, unless it waits for us as it should
        return schedule(coroutine, loop)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", schedule_late)
    with suppress(Unavailable):  # it was scheduled, and ended with the loop
        assert control.run(soon(), PATIENCE) == 1
    closer.join(PATIENCE)
    assert not closer.is_alive()


def test_a_system_without_threads_is_told_of_as_such_and_the_loop_works_afterwards(monkeypatch):
    """`ResourceExhausted`, no coroutine that nobody awaited, no loop left open; the next one works."""
    control = ControlLoop()
    coroutine = soon()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(ResourceExhausted, match="the control loop"):
            control.run(coroutine)
    assert coroutine.cr_frame is None  # closed
    assert control.run(soon()) == 1
    control.close()


def no_thread(_):
    raise RuntimeError("can't start new thread")
