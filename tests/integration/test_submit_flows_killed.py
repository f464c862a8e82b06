"""Submitted flows: what a step has done is recorded, and never done again, whatever ends between."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from jackfield import Host
from jackfield.store import SQLiteStore

CHILD = """
import os, sys
from pathlib import Path
from jackfield import Flow, Host, function
from jackfield.store import SQLiteStore

log = Path(sys.argv[2])

def once(name, key):
    with log.open("a") as file:
        file.write(f"{name}\\n")
    if name == sys.argv[3]:
        os._exit(9)
    return key

@function(idempotent=True)
def first(key: str) -> str: return once("first", key)

def charge(key: str) -> str: return once("charge", key)

@function(idempotent=True)
def each(item: int) -> int: return once(f"each{item}", item)

@function(idempotent=True)
def last(key: str) -> str: return once("last", key)

flow = (
    Flow("order")
    .step("first", "first", key="$input.key")
    .step("charge", "charge", key="$first")
    .step("each", "each", item="$item", each="$input.items", parallel=1, after=["charge"])
    .step("last", "last", key="$charge", after=["each"])
)
with Host(observers=(), store=SQLiteStore(sys.argv[1])) as host:
    for target in (first, charge, each, last):
        host.register(target.__name__, target)
    host.add_flow(flow)
    submission = host.submit("order", {"key": "k", "items": [1, 2, 3]}, key="one")
    print(submission.id, flush=True)
    try:
        print(submission.result(timeout=60))
    except Exception as error:
        print(type(error).__name__, submission.status.value)
"""


class Runs:
    """Processes that submit one flow under one key, and end in the middle of a step."""

    def __init__(self, folder):
        self.store, self.log = folder / "jackfield.db", folder / "log"

    def run(self, dies_in=""):
        """Run one; give its exit code and what it said."""
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(self.store), str(self.log), dies_in],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.split("\n", 1)[1].strip() if "\n" in done.stdout else done.stderr

    @property
    def done(self):
        return Counter(self.log.read_text().split())


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


@pytest.mark.slow
def test_a_process_that_ends_in_a_step_leaves_the_steps_before_done_once(runs):
    """The next one does that step again, since it may be, and what comes after it."""
    assert runs.run(dies_in="each2")[0] == 9
    assert runs.run() == (0, "k")
    steps = ["first", "charge", "each1", "each2", "each3", "last"]
    assert runs.done == {name: 1 + (name == "each2") for name in steps}


@pytest.mark.slow
def test_a_step_that_may_not_be_done_twice_is_not_and_the_run_is_dead(runs):
    """Nobody knows how far it came; whoever has looked redrives it."""
    assert runs.run(dies_in="charge")[0] == 9
    assert runs.run() == (0, "Unavailable dead")
    assert runs.done == {"first": 1, "charge": 1}
    with Host(observers=(), store=SQLiteStore(runs.store)) as host:
        (submission,) = host.submissions(status="dead")
        host.redrive(submission.id)
    assert runs.run() == (0, "k")
    assert runs.done == {"first": 1, "charge": 2, "each1": 1, "each2": 1, "each3": 1, "last": 1}
