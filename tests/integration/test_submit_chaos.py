"""Processes that run submitted calls are killed at random: nothing accepted is lost, nothing is done twice."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import jackfield
from jackfield import Host, JackfieldError, SubmissionState, Unavailable, function
from jackfield.store import SQLiteStore

CHILD = Path(__file__).parents[1] / "support" / "durable_child.py"
CALLS = 200
LONG = 60.0


class Child:
    """One process; its stdin takes what to submit, its stdout says what was accepted."""

    def __init__(self, store: Path, log: Path) -> None:
        environment = {"PYTHONPATH": ":".join([str(Path(jackfield.__file__).parents[1]), *sys.path])}
        self.process = subprocess.Popen(
            [sys.executable, CHILD, store, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def submit(self, kind: str, number: int) -> str:
        """Submit; give the id when it is accepted."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {number}\n")
        self.process.stdin.flush()
        word, said, identifier = self.process.stdout.readline().split()
        assert (word, said) == ("accepted", str(number))
        return identifier

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.communicate()


@pytest.mark.slow
def test_killed_at_random_no_accepted_call_is_lost_and_none_is_done_twice(tmp_path: Path) -> None:
    """After each kill the next process goes on. What is not idempotent has run once at most, whatever is killed when.

    One whose end is unknown is `dead` with that reason, and is never a success that has not run.
    """
    store, log = tmp_path / "jackfield.db", tmp_path / "log"
    rng = random.Random(20261126)  # noqa: S311  # a seed, so that a failure can be repeated
    accepted: dict[int, tuple[str, str]] = {}
    child = Child(store, log)
    try:
        kill_after = rng.randrange(5, 30)
        for number in range(CALLS):
            kind = rng.choice(("again", "once"))
            accepted[number] = kind, child.submit(kind, number)
            kill_after -= 1
            if kill_after == 0:
                kill_after = rng.randrange(5, 30)
                time.sleep(rng.uniform(0.0, 0.02))  # so that it is killed anywhere in its work
                child.kill()
                child = Child(store, log)
    finally:
        child.kill()

    kept = SQLiteStore(store)
    with Host(observers=(), store=kept) as host:
        host.register("again", function(idempotent=True)(lambda number: _work(log, "again", number)))
        host.register("once", lambda number: _work(log, "once", number))
        ends = Counter()
        for number, (kind, identifier) in accepted.items():
            handle = host.submitted(identifier)
            try:
                assert handle.result(LONG) == number
            except Unavailable:
                assert (kind, handle.status) == ("once", SubmissionState.DEAD)
            except JackfieldError as error:
                pytest.fail(f"{kind} {number}: {error!r}")
            ends[kind, handle.status.value] += 1
        assert len(list(host.submissions())) == CALLS
    asyncio.run(kept.close())

    done = Counter(log.read_text().splitlines())
    for number, (kind, _) in accepted.items():
        times = done[f"{kind} {number}"]
        assert times <= 1 if kind == "once" else times >= 1, (kind, number, times)
    succeeded = {kind: ends[kind, "succeeded"] for kind in ("again", "once")}
    assert sum(ends.values()) == CALLS
    assert sum(1 for line in done if line.startswith("once")) >= succeeded["once"]


def _work(log: Path, kind: str, number: int) -> int:
    with log.open("a") as file:
        file.write(f"{kind} {number}\n")
    return number
