"""A process that runs submitted calls until it is killed; see `tests/integration/test_submit_chaos.py`.

`python durable_child.py STORE LOG`: every call writes a line to LOG, with the number it was given, before it works.
"""

import os
import sys
import time
from pathlib import Path

from jackfield import Host, function
from jackfield.durable.composed import Durability
from jackfield.store import SQLiteStore


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(file: str, log: str) -> None:
    """Serve until killed."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def work(kind: str, number: int) -> int:
        os.write(descriptor, f"{kind} {number}\n".encode())
        time.sleep(0.002)
        return number

    @function(idempotent=True)
    def again(number: int) -> int:
        return work("again", number)

    def once(number: int) -> int:
        return work("once", number)

    host = Host(observers=(), store=SQLiteStore(Path(file)))
    host._submissions.durability = Durability(concurrency=4, attempts=1000, ttl=1.0)
    with host:
        host.register("again", again)
        host.register("once", once)
        say("ready")
        for line in sys.stdin:
            kind, number = line.split()
            handle = host.submit(kind, int(number), key=number)
            say(f"accepted {number} {handle.id}")
        time.sleep(3600)


if __name__ == "__main__":
    main(*sys.argv[1:])
