"""Calls that survive: 1,000 real records are accepted, the process is killed, and the next one finishes them."""

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

from records import flights
from shown import console, summarise

from jackfield import Host, JackfieldError

RECORDS = 1_000
CONFIGURATION = """
discover = true

[store]
url = "sqlite:calls.db"
"""


def survive(folder: Path) -> None:
    """Have another process accept records, kill it, and finish them in this one."""
    file = folder / "durable.toml"
    file.write_text(CONFIGURATION, "utf-8")
    command = [sys.executable, __file__, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # this very file
        assert process.stdout is not None
        accepted = [line.strip() for line in itertools.islice(process.stdout, RECORDS)]
        process.kill()  # no handler, no farewell
    console.print(f"{len(accepted):,} were accepted by process {process.pid}, which ended with {process.returncode}")
    outcomes: Counter[str] = Counter()
    began = perf_counter()
    with Host.from_config(file, observers=()) as host:
        open_still = sum(host.submitted(each).status.value in {"accepted", "running"} for each in accepted)
        console.print(f"{open_still:,} of them were not done then; a new process goes on")
        for each in accepted:
            try:
                host.submitted(each).result(timeout=60.0)
                outcomes["ok"] += 1
            except JackfieldError as error:
                outcomes[f"{error.outcome.value} {getattr(error, 'code', '') or getattr(error, 'path', '')}"] += 1
    summarise(outcomes, perf_counter() - began)


def submit(file: Path) -> None:
    """Submit the records, one after the other; say the id of each that is on disk."""
    with Host.from_config(file, observers=()) as host:
        for number, row in enumerate(itertools.islice(flights(), RECORDS)):
            submission = host.submit("flights.record", row, key=f"flight-{number}")
            sys.stdout.write(f"{submission.id}\n")
            sys.stdout.flush()
        sys.stdin.read()  # until it is killed


if __name__ == "__main__":
    submit(Path(sys.argv[1]))
