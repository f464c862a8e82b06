"""The ledger of a plugin: release in reverse, guarded, with what survives."""

import sys
import threading
import weakref

import pytest

from jackfield.plugins.ledger import Ledger, Survivor
from jackfield.testing import no_leaks

PATIENCE = 30.0


class Thing:
    """Something that can be weakly referred to."""


def test_everything_is_released_in_reverse_and_one_that_raises_keeps_nobody():
    """In reverse order, each guarded; the report counts by kind."""
    ledger, log = Ledger("billing"), []
    ledger.record("function", "a", lambda: log.append("a"))
    ledger.record("hook", "b", lambda: 1 / 0)
    ledger.record("hook", "exit", lambda: sys.exit(1))
    ledger.record("function", "c", lambda: log.append("c"))
    report = ledger.release_all()
    assert log == ["c", "a"]
    assert dict(report.released) == {"function": 2}
    assert [fault.entry for fault in report.failed] == ["hook exit", "hook b"]
    assert "ZeroDivisionError" in report.failed[1].reason
    assert not report.clean
    assert "failed: hook b [billing]: unload" in str(report)
    assert ledger.release_all().clean, "nothing is released twice"


def test_what_was_given_back_before_is_not_released():
    """`forget` takes an entry out."""
    ledger, log = Ledger("billing"), []
    entry = ledger.record("timer", "t", lambda: log.append("t"))
    assert ledger.forget(entry)
    assert not ledger.forget(entry)
    assert ledger.release_all().clean
    assert log == []


def test_objects_that_are_still_referred_to_are_named_with_what_holds_them():
    """Weak probes are looked at after a collection; the ledger itself keeps nothing alive."""
    ledger = Ledger("billing")
    kept, cyclic = Thing(), Thing()
    cyclic.itself = cyclic
    holder = {"cache": kept}
    gone = weakref.ref(cyclic)
    ledger.record("singleton", "cyclic", lambda: None, cyclic)
    ledger.record("singleton", "kept", lambda: None, kept)
    ledger.record("singleton", "by reference", lambda: None, weakref.ref(kept))
    del kept, cyclic
    report = ledger.release_all()
    assert gone() is None
    assert [survivor.label for survivor in report.survivors] == ["kept", "by reference"]
    assert "dict" in report.survivors[0].held_by
    assert "still there: singleton kept, held by dict" in str(report)
    assert holder


def test_threads_that_are_alive_are_named():
    """A thread survives while it lives."""
    with no_leaks(timeout=PATIENCE):
        ledger, gate = Ledger("billing"), threading.Event()
        alive = threading.Thread(target=gate.wait, name="billing:poll")
        ended = threading.Thread(target=lambda: None)
        for thread in (alive, ended):
            thread.start()
        ended.join()
        for thread in (alive, ended):
            ledger.record("thread", thread.name, lambda: None, thread)
        assert ledger.release_all().survivors == (Survivor("thread", "billing:poll"),)
        gate.set()


def test_a_probe_that_cannot_be_asked_is_refused():
    """An int can neither be weakly referred to nor asked."""
    ledger = Ledger("billing")
    with pytest.raises(TypeError):
        ledger.record("number", "one", lambda: None, 1)
    assert not ledger.entries


def test_many_threads_may_write_at_once():
    """Nothing is lost and nothing is released twice."""
    ledger, released, start = Ledger("billing"), [], threading.Barrier(8)

    def work(number):
        start.wait(PATIENCE)
        for index in range(200):
            entry = ledger.record("thing", f"{number}.{index}", lambda key=(number, index): released.append(key))
            if index % 2:
                ledger.forget(entry)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.release_all().released["thing"] == 800
    assert len(set(released)) == len(released) == 800
