"""Workers that calls can have: whoever leaves in the very moment in which one comes has it, and gives it back."""

import threading

import attrs
import pytest

from jackfield import DeadlineExceeded, ResourceExhausted, Unavailable
from jackfield.executors.worker import Undelivered
from jackfield.model.call import Call
from jackfield.workers import supply as supplies
from jackfield.workers.settings import SHARED, WorkerSettings
from jackfield.workers.supply import Supply
from jackfield.workers.tickets import Ticket


@attrs.define(eq=False)
class Worker:
    """What a supply looks at of a worker."""

    began: float = 0.0
    exclusive: bool = False
    shared: int = 0
    dead: bool = False
    answered: bool = True
    served: int = 0
    served_then: int = -1


class Told(list):
    """A supply, and what it has told."""

    def __init__(self, **settings):
        self.supply = Supply(
            "a",
            WorkerSettings(**settings),
            lambda: self.append("wanted"),
            lambda worker, rests: self.append((worker, rests)),
        )
        self.supply.open()


def call(deadline=0.0):
    return Call("a.f", None, deadline=deadline)


def test_the_one_that_was_used_last_is_used_next():
    supply, one, other = Told().supply, Worker(1.0), Worker(2.0)
    for each in (one, other):
        supply.admit(each, started=False)
    assert supply.take(call(), exclusive=True) is other
    supply.give_back(other, exclusive=True)
    assert supply.take(call(), exclusive=True) is other


def test_async_ones_share_a_worker_and_sync_ones_do_not():
    supply = Told(max=1).supply
    supply.admit(Worker(), started=False)
    (only,) = supply.there()
    assert {supply.take(call(), exclusive=False) for _ in range(SHARED)} == {only}
    for exclusive in (True, False):
        with pytest.raises(DeadlineExceeded):
            supply.take(call(), exclusive=exclusive)


def test_an_async_call_does_not_join_a_sync_one_because_of_an_event():
    supply, one = Told(max=1).supply, Worker()
    supply.admit(one, started=False)
    supply.take(call(), exclusive=True)
    supply.use(one)
    with pytest.raises(DeadlineExceeded):
        supply.take(call(), exclusive=False)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, None])
def test_one_that_comes_while_its_caller_leaves_is_given_back(monkeypatch, interrupt):
    """After it has been taken out of the line for it, and before it is told."""
    supply, one = Told(max=1).supply, Worker()

    def sleep(self, timeout):
        self.settle = lambda *_: None  # whoever has it does not come to that before it leaves
        supply.admit(one, started=False)
        if interrupt is not None:
            raise interrupt
        return False

    class Waiter(supplies._Waiter):  # it may have attributes of its own
        pass

    Waiter.sleep = sleep
    monkeypatch.setattr(supplies, "_Waiter", Waiter)
    with pytest.raises(interrupt or DeadlineExceeded):
        supply.take(call(), exclusive=True)
    assert supply.rests(one)
    assert not one.exclusive


def test_one_that_is_interrupted_stands_in_no_line_any_more(monkeypatch):
    def sleep(self, timeout):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ticket, "sleep", sleep)
    supply = Told(max=1).supply
    with pytest.raises(KeyboardInterrupt):
        supply.take(call(), exclusive=True)
    assert supply.stats().pending == 0


def test_one_that_never_rests_is_replaced_in_time():
    told, one = Told(max=1, calls=3), Worker()
    supply = told.supply
    supply.admit(one, started=False)
    for _ in range(3):
        supply.take(call(), exclusive=False)
        one.served += 1
    supply.give_back(one, exclusive=False)
    assert supply.there() == []
    assert told == [(one, False)]
    supply.give_back(one, exclusive=False)
    supply.give_back(one, exclusive=False)
    assert told[-1] == (one, True)


def test_those_who_wait_are_told_when_none_can_be_started():
    told = Told(max=1)
    supply, raised = told.supply, []

    def wait():
        try:
            supply.take(call(None), exclusive=True)
        except Unavailable as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while told != ["wanted"]:
        pass
    wrong = Unavailable("a", "no", "start_failed", ran=False)
    supply.start_failed(wrong)
    thread.join()
    assert raised == [wrong]


def test_after_enough_starts_that_failed_calls_are_refused_at_once():
    supply = Told(max=1).supply
    for _ in range(supplies.BREAKER):
        with pytest.raises(DeadlineExceeded):
            supply.take(call(), exclusive=True)
        supply.start_failed(Unavailable("a", "no", "start_failed", ran=False))
    with pytest.raises(Unavailable, match="in a row"):
        supply.take(call(), exclusive=True)


def test_the_line_has_an_end(monkeypatch):
    monkeypatch.setattr(supplies, "PENDING", 0)
    with pytest.raises(ResourceExhausted):
        Told().supply.take(call(), exclusive=True)


def test_only_what_nobody_needs_retires():
    supply, one = Told(max=1).supply, Worker()
    supply.admit(one, started=False)
    supply.take(call(), exclusive=True)
    assert not supply.retire()
    supply.give_back(one, exclusive=True)
    assert supply.retire()
    with pytest.raises(Undelivered):
        supply.take(call(), exclusive=True)
