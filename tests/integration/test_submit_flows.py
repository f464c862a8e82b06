"""Submitted flows: a completed step is never done again, and one whose end is unknown is not done twice."""

import asyncio
import threading

import pytest

from jackfield import Flow, Host, JackfieldError, SubmissionState, Unavailable, function
from jackfield.store import SQLiteStore

LONG = 30.0


@pytest.fixture
def store(tmp_path):
    """A store that lasts."""
    made = SQLiteStore(tmp_path / "jackfield.db")
    yield made
    asyncio.run(made.close())


def flow() -> Flow:
    return (
        Flow("checkout")
        .step("charge", "pay.charge", amount="$input.amount")
        .step("send", "mail.send", receipt="$charge")
    )


class Steps:
    """Two functions that note what they did."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures = 0
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def add_to(self, host: Host, *, charge_again: bool = False) -> None:
        def charge(amount: int) -> str:
            self.done.append("charge")
            return f"receipt {amount}"

        @function(idempotent=True)
        def send(receipt: str) -> str:
            self.done.append("send")
            self.begun.set()
            self.go.wait(LONG)
            if self.failures > 0:
                self.failures -= 1
                raise OSError("no mail today")
            return receipt

        host.register("pay.charge", function(idempotent=charge_again)(charge))
        host.register("mail.send", send)
        host.add_flow(flow())


def test_a_step_that_is_done_is_not_done_again_at_the_next_attempt(store):
    """The second attempt goes on where the first one failed."""
    steps = Steps()
    steps.failures = 1
    with Host(observers=(), store=store) as host:
        steps.add_to(host)
        assert host.submit("checkout", {"amount": 7}).result(LONG) == "receipt 7"
    assert steps.done == ["charge", "send", "send"]


def test_another_host_goes_on_where_the_first_one_was(store):
    """Its completed steps are in the store; the stale host's are refused."""
    first, second = Steps(), Steps()
    first.go.clear()
    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        first.add_to(one)
        handle = one.submit("checkout", {"amount": 7})
        assert first.begun.wait(LONG)
        second.add_to(other)
        asyncio.run(store.delete(f"runners/{one._submissions._runner.id}"))
        assert other.submitted(handle.id).result(LONG) == "receipt 7"
        first.go.set()
    assert (first.done, second.done) == (["charge", "send"], ["send"])


def test_a_step_whose_end_is_unknown_makes_the_run_dead(store):
    """It is not idempotent and may have done its work: reason `unknown`, until somebody redrives it."""
    begun, go, ran = threading.Event(), threading.Event(), []

    def hold(amount: int) -> str:
        begun.set()
        go.wait(LONG)
        return "late"

    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        one.register("pay.charge", hold)
        one.register("mail.send", lambda receipt: receipt)
        one.add_flow(flow())
        handle = one.submit("checkout", {"amount": 7})
        assert begun.wait(LONG)
        other.register("pay.charge", lambda amount: ran.append(amount) or "receipt")
        other.register("mail.send", lambda receipt: receipt)
        other.add_flow(flow())
        asyncio.run(store.delete(f"runners/{one._submissions._runner.id}"))
        with pytest.raises(Unavailable, match="nobody knows how it ended"):
            other.submitted(handle.id).result(LONG)
        assert other.submitted(handle.id).status is SubmissionState.DEAD
        assert not ran
        assert other.redrive(handle.id).result(LONG) == "receipt"
        go.set()


def test_a_step_that_is_not_idempotent_and_fails_is_not_tried_again(store):
    """Its failure is a verdict on the whole run."""
    ran = []

    def crash(amount: int) -> str:
        ran.append(amount)
        raise OSError("declined")

    with Host(observers=(), store=store) as host:
        host.register("pay.charge", crash)
        host.register("mail.send", lambda receipt: receipt)
        host.add_flow(flow())
        handle = host.submit("checkout", {"amount": 7})
        with pytest.raises(JackfieldError, match="declined"):
            handle.result(LONG)
        assert handle.status is SubmissionState.FAILED
    assert ran == [7]
