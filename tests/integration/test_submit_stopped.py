"""A process that slept for longer than its sign of life is good: what another one took over it does not do again."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jackfield import SubmissionState, Unavailable
from jackfield.store import SQLiteStore

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")]
SUPPORT = Path(__file__).parents[1] / "support"
LONG = 120.0


class Sleeper:
    """A process that has stopped itself with a call in hand."""

    def __init__(self, folder, where, ttl):
        self.store, self.log = folder / "jackfield.db", folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, SUPPORT / "stopped_child.py", self.store, self.log, where, str(ttl)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status

    def wake(self):
        """Let it go on, to its end."""
        self.process.send_signal(18)  # SIGCONT; it is not there on Windows
        assert self.process.wait(LONG) == 0

    @property
    def done(self):
        return Counter(self.log.read_text().split())


@pytest.fixture
def asleep(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SUPPORT))
    sleepers = []

    def start(where, ttl=3.0):
        sleepers.append(Sleeper(tmp_path, where, ttl))
        return sleepers[-1]

    yield start
    for each in sleepers:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize(("where", "again"), [("first", {"first": 1, "second": 1}), ("second", {"second": 1})])
def test_a_step_that_was_recorded_meanwhile_is_not_done_by_who_had_begun_it(asleep, where, again):
    """Not even where it had written that it begins, and was stopped before it did."""
    sleeper = asleep(where)
    before = {"first": 1} if where == "second" else {}
    from stopped_child import make_host  # noqa: PLC0415  # it is no package

    with make_host(SQLiteStore(sleeper.store), sleeper.log) as host:
        (submission,) = host.submissions()
        assert submission.result(LONG) == "k"
        assert sleeper.done == Counter(before) + Counter(again)
    sleeper.wake()
    assert sleeper.done == {"first": 2, "second": 1}  # and one that it was given afterwards


def test_a_call_that_was_decided_meanwhile_is_not_run_by_who_had_claimed_it(asleep):
    """Nobody knows whether the sleeper ran it: it is dead. Whoever has it run again may rely on that."""
    sleeper = asleep("claim")
    from stopped_child import make_host  # noqa: PLC0415  # as above

    with make_host(SQLiteStore(sleeper.store), sleeper.log) as host:
        (submission,) = host.submissions()
        with pytest.raises(Unavailable):
            submission.result(LONG)
        assert submission.status is SubmissionState.DEAD
        assert host.redrive(submission.id).result(LONG) == "k"
    sleeper.wake()
    assert sleeper.done == {"charge": 1, "first": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere its lease is waited for")
def test_what_a_process_of_this_machine_had_that_was_killed_is_taken_over_before_its_lease_ends(asleep):
    """The kernel knows that it has ended; a lease of an hour would not."""
    sleeper = asleep("second", ttl=3600.0)
    sleeper.process.kill()
    sleeper.process.wait()
    from stopped_child import make_host  # noqa: PLC0415  # as above

    with make_host(SQLiteStore(sleeper.store), sleeper.log, ttl=3600.0) as host:
        (submission,) = host.submissions()
        assert submission.result(LONG) == "k"
    assert sleeper.done == {"first": 1, "second": 1}
