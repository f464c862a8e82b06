"""A process that stops itself, as SIGSTOP or a sleeping machine does, right after it wrote what it is about to do.

`python stopped_child.py STORE LOG WHERE TTL`; see `tests/integration/test_submit_stopped.py`.
"""

import os
import signal
import sys
import time
from pathlib import Path

from jackfield import Flow, Host, JackfieldError, function
from jackfield.durable.composed import Durability
from jackfield.durable.records import read_state
from jackfield.durable.steps import read_step
from jackfield.model.submission import SubmissionState
from jackfield.store import SQLiteStore

TTL = 3.0
FLOW = Flow("order").step("first", "first", key="$input.key").step("second", "second", key="$first")


class Sleepy(SQLiteStore):
    """Stops the process when a claim, or the begin of a step, is on the disk and nobody was told."""

    where = ""

    async def put(self, key: str, value: bytes, /, **options: object) -> int:
        """Write a value, and sleep."""
        revision = await super().put(key, value, **options)  # type: ignore[arg-type]
        if _is_there(self.where, key, value):
            self.where = ""
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.5)  # noqa: ASYNC251  # the signal may stop another thread a moment before it stops this one
        return revision


def _is_there(where: str, key: str, value: bytes) -> bool:
    if where == "claim":
        return key.endswith("/state") and read_state(value, "").status is SubmissionState.RUNNING
    return bool(where) and key.endswith(f"/steps/{where}") and read_step(value).status == "begun"


def make_host(store: SQLiteStore, log: Path, ttl: float = TTL) -> Host:
    """Make a host whose functions leave a line each time they run."""

    def noted(name: str, key: str) -> str:
        with log.open("a") as file:
            file.write(f"{name}\n")
        return key

    @function(idempotent=True)
    def first(key: str) -> str:
        return noted("first", key)

    @function(idempotent=True)
    def second(key: str) -> str:
        return noted("second", key)

    def charge(key: str) -> str:
        return noted("charge", key)

    host = Host(observers=(), store=store)
    host._submissions.durability = Durability(attempts=1000, ttl=ttl)
    host.start()
    for target in (first, second, charge):
        host.register(target.__name__, target)
    host.add_flow(FLOW)
    return host


def main(file: str, log: str, where: str, ttl: str) -> None:
    """Submit one call, which stops this process; once it goes on, wait for the end of that call and of this host."""
    store = Sleepy(file)
    store.where = where
    with make_host(store, Path(log), float(ttl)) as host:
        name, payload = ("charge", "k") if where == "claim" else ("order", {"key": "k"})
        submission = host.submit(name, payload, key="one")
        try:
            submission.result(timeout=120)
        except JackfieldError as error:
            sys.stdout.write(f"{type(error).__name__}\n")
        host.submit("first", "k").result(timeout=120)  # it has done what it had in hand


if __name__ == "__main__":
    main(*sys.argv[1:])
