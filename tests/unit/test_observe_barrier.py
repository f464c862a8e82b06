"""An observer that fails is reported, seldom, and never to the caller."""

import asyncio
import signal

import pytest
from loguru import logger as loguru

from jackfield import FunctionCrashed, Host, Logs
from jackfield.observe.barrier import observer_failed
from jackfield.testing import Recorder


@pytest.fixture
def records():
    seen = []
    number = loguru.add(lambda message: seen.append(message.record), level="DEBUG", catch=False)
    yield seen
    loguru.remove(number)


@pytest.mark.parametrize(
    ("observers", "says"),
    [
        ([Logs], r"has the class Logs, not an object: write Logs\(\)"),
        (Logs(), r"is a sequence of observers, not Logs: write observers=\[…\]"),
        ([Logs(), print], r"an object of type builtin_function_or_method, which has no method bind\(\)"),
        (3, "is a sequence of observers, not int"),
    ],
)
def test_what_is_no_observer_is_refused_when_the_host_is_made(observers, says):
    """Not at the first call, by a line in a log."""
    with pytest.raises(TypeError, match=says):
        Host(observers=observers)


def broken(kind=ValueError):
    try:
        raise kind("secret payload")  # noqa: TRY301  # to have a traceback
    except kind as error:
        return error


def test_a_failure_names_observer_error_and_place(records):
    """The message has all that is needed to find it, and no text of the error, which may quote a payload."""

    class Audit:
        pass

    observer_failed(Audit(), broken())
    (record,) = records
    assert "Audit" in record["message"]
    assert "ValueError" in record["message"]
    assert f"{__file__}:" in record["message"]
    assert "secret" not in str(record)


def test_the_same_failure_is_not_repeated_and_another_kind_is_not_hidden(records):
    """A broken observer under load fills no disk."""

    class Audit:
        pass

    for _ in range(1_000):
        observer_failed(Audit(), broken())
    observer_failed(Audit(), broken(KeyError))
    assert [record["extra"]["error_type"] for record in records] == ["ValueError", "KeyError"]


def test_what_was_held_back_is_counted(records, monkeypatch):
    """The next message after the quiet time says how many there were."""

    class Audit:
        pass

    now = [0.0]
    monkeypatch.setattr("jackfield.observe.barrier.monotonic", lambda: now[0])
    for _ in range(5):
        observer_failed(Audit(), broken())
    now[0] = 61.0
    observer_failed(Audit(), broken())
    assert len(records) == 2
    assert "4 more" in records[1]["message"]


def test_a_sink_that_raises_reaches_nobody():
    """Reporting a failure never becomes one."""

    class Audit:
        pass

    def sink(_):
        raise RuntimeError("sink")

    number = loguru.add(sink, catch=False)
    try:
        observer_failed(Audit(), broken())
    finally:
        loguru.remove(number)


class Weird(BaseException):
    """Not an Exception."""


class Eye:
    """An observer that raises at one place, and counts what it is told."""

    def __init__(self, at, error):
        self.at, self.error, self.told = at, error, []

    def _see(self, place):
        self.told.append(place)
        if place == self.at:
            raise self.error

    def bind(self, spec):
        self._see("bind")
        return self

    def start(self, call):
        self._see("start")

    def finish(self, *_):
        self._see("finish")

    def close(self):
        self._see("close")


async def _later(value):
    await asyncio.sleep(0)
    return 1 / value


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit, asyncio.CancelledError, Weird])
@pytest.mark.parametrize("at", ["bind", "start", "finish", "close"])
@pytest.mark.parametrize("way", ["sync", "async", "awaited", "within a task"])
def test_no_observer_decides_a_call_whatever_it_raises(way, at, error):
    """The call ends as it would without it, others see all of it, and nothing is held open."""
    eye, recorder = Eye(at, error), Recorder()

    def call(value):
        if way == "awaited":
            return asyncio.run(host.acall("f", value))
        return asyncio.run(_awaited(host, value)) if way == "within a task" else host.call("f", value)

    with Host(observers=[recorder, eye, recorder]) as host:
        host.register("f", _later if way == "async" else lambda value: 1 / value)
        assert call(1) == 1
        with pytest.raises(FunctionCrashed, match="ZeroDivisionError"):
            call(0)
        host.unregister("f")
        assert not host.calls
    assert [seen.outcome for seen in recorder.calls] == ["ok", "ok", "crashed", "crashed"]
    assert at in eye.told


@pytest.mark.parametrize("at", ["start", "finish"])
def test_an_interrupt_that_an_observer_makes_up_beside_the_main_thread_decides_nothing(at):
    """Python delivers Ctrl-C to the main thread alone."""
    with Host(observers=[Eye(at, KeyboardInterrupt)]) as host:
        host.register("f", _later)  # on the host's own loop
        assert host.call("f", 1) == 1


async def _awaited(host, value):
    async def outer(value):
        return await host.acall("f", value)

    return await asyncio.create_task(outer(value))


@pytest.mark.parametrize("bound", [None, 3, type("Half", (), {"start": lambda *_: None})()])
def test_what_an_observer_binds_and_is_none_is_left_out(bound, records):
    """Functions are registered and called without it."""

    odd = type(f"Odd{type(bound).__name__}", (), {"bind": lambda *_: bound})  # each is told once a minute
    with Host(observers=[odd()]) as host:
        host.register("f", abs)
        assert host.call("f", -1) == 1
    assert any(f"{odd.__name__} failed with AttributeError" in record["message"] for record in records)


@pytest.mark.parametrize("at", ["start", "finish"])
def test_the_users_interrupt_within_an_observer_passes_and_leaves_no_call_open(at):
    """Ctrl-C is meant for whoever calls."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    first = Recorder()
    with Host(observers=[first, Eye(at, KeyboardInterrupt)]) as host:
        host.register("f", abs)
        with pytest.raises(KeyboardInterrupt):
            host.call("f", -1)
        assert not host.calls
    if at == "start":  # it ends the call, so those that saw it begin see it end
        assert len(first.calls) == 1


def test_a_sink_that_wants_to_exit_reaches_nobody():
    """As one that raises."""

    class Audit:
        pass

    def sink(_):
        raise SystemExit("sink")

    number = loguru.add(sink, catch=False)
    try:
        observer_failed(Audit(), broken())
    finally:
        loguru.remove(number)
