"""A process is said to have ended only where that is beyond doubt."""

import os
import signal
import subprocess
import sys

import pytest

from jackfield.durable.process import has_ended, mark_of_this

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")
CHILD = """
import sys
from jackfield.durable.process import mark_of_this
sys.stdout.buffer.write(mark_of_this() + b"\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def child():
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_one_that_works_or_is_stopped_has_not_ended_and_one_that_was_killed_has(child):
    """Whoever is stopped may go on."""
    mark = child.stdout.readline().strip()
    assert not has_ended(mark)
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert not has_ended(mark)
    child.kill()
    child.wait()
    assert has_ended(mark)


def test_who_has_its_number_now_is_another_one():
    """A start time tells them apart."""
    assert has_ended(mark_of_this() + b"1")


def _elsewhere(change):
    machine, _, started = mark_of_this().split()
    return b" ".join([change(machine), b"99999999", started])


@pytest.mark.parametrize(
    "mark",
    [
        b"",
        b"blue-1",
        b"\xff\xfe \x00",
        b"a b c d",
        pytest.param(_elsewhere(lambda machine: b"0" + machine), id="of another boot"),
        pytest.param(_elsewhere(lambda machine: machine + b"1"), id="of another namespace"),
    ],
)
def test_of_what_it_does_not_know_nothing_is_said(mark):
    """It may be alive, on another machine."""
    assert not has_ended(mark)


def test_one_of_this_machine_that_is_not_there_has_ended():
    assert has_ended(_elsewhere(lambda machine: machine))
