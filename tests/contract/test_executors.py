"""What every executor must do; an adapter joins by a class of its own."""

import asyncio
import threading
from contextvars import Context

import pytest

from jackfield.executors.inline import InlineExecutor
from jackfield.executors.thread import ThreadExecutor
from jackfield.runtime.home import HomeLoop
from jackfield.testing import executors
from jackfield.testing.executors import ExecutorSuite


class TestThread(ExecutorSuite):
    """Threads with seats."""

    def make(self):
        return ThreadExecutor()


class TestOneSeat(ExecutorSuite):
    """Nothing may lean on there being several."""

    def make(self):
        return ThreadExecutor(seats=1)


class TestInline(ExecutorSuite):
    """The caller's own thread, and a home loop."""

    frees = False

    def make(self):
        self.home = HomeLoop()
        return InlineExecutor(self.home)

    def end(self, executor):
        self.home.close()


class Spoilt(ThreadExecutor):
    """Threads, spoilt in one way."""

    def __init__(self, **spoil):
        super().__init__()
        self.spoil = spoil

    def bind(self, spec, local):
        return SpoiltBound(super().bind(spec, local), local, **self.spoil)


class SpoiltBound:
    def __init__(self, bound, local, run=None, arun=None):
        self.bound, self.local = bound, local
        self.spoilt_run, self.spoilt_arun = run, arun

    def run(self, call):
        return self.spoilt_run(self, call) if self.spoilt_run else self.bound.run(call)

    async def arun(self, call):
        return await (self.spoilt_arun(self, call) if self.spoilt_arun else self.bound.arun(call))

    def close(self):
        self.bound.close()


def without_context(bound, call):
    return Context().run(bound.local, call)


def without_errors(bound, call):
    try:
        return bound.bound.run(call)
    except Exception:  # noqa: BLE001  # that is the fault
        return None


async def cancelled(bound, call):
    raise asyncio.CancelledError


def left_behind(bound, call):
    threading.Thread(target=forever.wait, daemon=True).start()
    return bound.bound.run(call)


forever = threading.Event()


@pytest.mark.parametrize(
    ("spoil", "test"),
    [
        ({"run": without_context}, "test_context_variables_go_along_unless_it_injects_elsewhere"),
        ({"run": without_context}, "test_a_caller_is_freed_at_its_deadline"),
        ({"run": without_errors}, "test_what_a_function_raises_arrives_and_harms_nobody_else"),
        ({"arun": cancelled}, "test_results_arrive_whoever_calls"),
        ({"run": left_behind}, "test_nothing_is_left_behind"),
    ],
)
def test_the_suite_finds_what_is_wrong(spoil, test, monkeypatch):
    """An executor that is spoilt in one way fails the test of that."""
    monkeypatch.setattr(executors, "_PATIENCE", 0.3)

    class Suite(ExecutorSuite):
        def make(self):
            return Spoilt(**spoil)

    try:
        with pytest.raises((AssertionError, asyncio.CancelledError)):
            getattr(Suite(), test)()
    finally:
        forever.set()
