"""What functions in workers report of how far they have come: heard in the host, at a pace that it can bear."""

import asyncio

import pytest

from jackfield import Unavailable
from jackfield.model.progress import Progress, listening
from support.apart import host_of, until, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

CODE = """
import asyncio, os, socket, threading, time
from pathlib import Path
import msgspec
from jackfield import Caller, current_call, function, inject

@function
def work(count: int) -> int:
    for number in range(count):
        current_call().progress(number + 1, count, f"item {number}")
    return count

@function
async def awork(count: int) -> int:
    for number in range(count):
        await asyncio.sleep(0)
        current_call().progress(number + 1, count)
    return count

@function
def waits(path: str) -> None:
    current_call().progress(1, 2, "it waits")
    while not Path(path).exists():
        time.sleep(0.01)

@function
def outer(caller: Caller = inject()) -> int:
    current_call().progress(0)
    return caller.call("guest.work", 1)

@function
def lies(done: str, text: int) -> None:
    body = msgspec.msgpack.encode((6, 1, float(done), None, "x" * text))
    for each in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(each)) as to:
                to.setblocking(True)
                to.sendall(len(body).to_bytes(4, "big") + body)
            return time.sleep(60)
        except OSError:
            pass

@function
def late() -> None:
    call = current_call()
    import contextvars
    context = contextvars.copy_context()
    def go_on():
        for number in range(1000):
            context.run(call.progress, number)
            time.sleep(0.0001)
    threading.Thread(target=go_on, daemon=True).start()
"""


@pytest.fixture
def host(tmp_path):
    with host_of(tmp_path, guest=(CODE, f'[plugin.worker]\nallow = ["storage:readonly:{tmp_path}"]')) as made:
        yield made


@pytest.fixture
def heard():
    said = []
    token = listening.set(said.append)
    yield said
    listening.reset(token)


@pytest.mark.parametrize("name", ["guest.work", "guest.awork"])
@pytest.mark.parametrize("way", ["call", "acall"])
def test_the_last_report_comes_before_the_result(host, heard, name, way):
    """However many there were: what comes in between is left out."""
    count = 5_000
    result = host.call(name, count) if way == "call" else asyncio.run(host.acall(name, count))
    assert result == count
    assert (heard[-1].function, heard[-1].done, heard[-1].total) == (name, count, count)
    assert [each.done for each in heard] == sorted({each.done for each in heard})
    assert len(heard) < count / 2


def test_a_report_comes_while_the_function_runs(host, tmp_path):
    """It does not wait for the next one, nor for the end."""
    said = []

    def listen(progress):
        said.append(progress)
        (tmp_path / "go").touch()

    token = listening.set(listen)
    try:
        host.call("guest.waits", str(tmp_path / "go"), timeout=60.0)
    finally:
        listening.reset(token)
    assert said == [Progress("guest.waits", 1, 2, "it waits")]


def test_nested_calls_are_heard_through_the_worker(host, heard):
    """Under their own names, which the host gives."""
    assert host.call("guest.outer") == 1
    assert {each.function for each in heard} == {"guest.outer", "guest.work"}


def test_what_is_said_after_the_end_is_dropped(host, heard):
    """By a thread that the function has left behind."""
    host.call("guest.late")
    heard.clear()
    assert host.call("guest.work", 1) == 1
    assert {each.function for each in heard} == {"guest.work"}


def test_nothing_crosses_where_nobody_listens(host):
    """The function finds nobody."""
    assert host.call("guest.work", 5_000) == 5_000


@pytest.mark.parametrize(("done", "text"), [("nan", 0), ("inf", 0), ("1", 1_001)])
def test_a_lie_costs_the_worker(host, heard, done, text):
    """No honest one sends such a thing."""
    with pytest.raises(Unavailable) as caught:
        host.call("guest.lies", {"done": done, "text": text}, timeout=20.0)
    assert caught.value.cause == "protocol"
    assert heard == []
    assert until(lambda: host.call("guest.work", 1, timeout=20.0)) == 1
