"""An observer that fails is reported, seldom, and never to the caller."""

import pytest
from loguru import logger as loguru

from jackfield import Host, Logs
from jackfield.observe.barrier import observer_failed


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
