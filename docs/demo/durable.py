"""Calls that survive: 1,000 real records are accepted, the process is killed, and the next one finishes them."""

import itertools
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from loguru import logger
from records import flights
from rich.table import Table
from shown import console

from jackfield import Host, JackfieldError, PayloadError

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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # this very file
        assert process.stdout is not None
        accepted = [line.strip() for line in itertools.islice(process.stdout, RECORDS)]
        process.kill()  # no handler, no farewell
    console.print(f"{len(accepted):,} were accepted by process {process.pid}, which then was killed")
    outcomes: Counter[str] = Counter()
    began = perf_counter()
    with Host.from_config(file, observers=()) as host:
        left = sum(not host.submitted(each).status.settled for each in accepted)
        console.print(f"{left:,} of them were not done yet; another process goes on")
        for each in accepted:
            outcomes[_end(host, each)] += 1
        dead = [*host.submissions(status="dead")]
        if dead:
            why = "they may not be done twice, and nobody knows how far they came: redriven by hand"
            console.print(f"{len(dead)} were under way when it was killed: {why}")
        for submission in dead:
            outcomes["unavailable"] -= 1
            outcomes[f"{_end(host, host.redrive(submission.id).id)}, redriven"] += 1
    table = Table("outcome", "calls", box=None)
    for outcome, number in (+outcomes).most_common():
        table.add_row(outcome, f"{number:,}")
    console.print(table)
    console.print(f"[bold]none is lost[/]: all {outcomes.total():,} have an end, {perf_counter() - began:.1f} s later")


def _end(host: Host, identifier: str) -> str:
    """Wait for the end of a call, and tell how it is."""
    try:
        host.submitted(identifier).result(timeout=60.0)
    except JackfieldError as error:
        return f"{error.outcome.value} {getattr(error, 'code', '')}".strip()
    return "ok"


def submit(file: Path) -> None:
    """Submit records from several threads; say the id of each that is on disk."""
    logger.remove()  # what each call came to is told by the one who finishes them
    with Host.from_config(file, observers=()) as host, ThreadPoolExecutor(32) as threads:

        def one(numbered: tuple[int, dict[str, Any]]) -> str:
            number, row = numbered
            try:
                return host.submit("flights.record", row, key=f"flight-{number}").id
            except PayloadError:  # a flight that never arrived has no delay: it is refused before it is kept
                return ""

        for identifier in threads.map(one, enumerate(itertools.islice(flights(), RECORDS + 100))):
            if identifier:
                sys.stdout.write(f"{identifier}\n")
                sys.stdout.flush()
        sys.stdin.read()  # until it is killed


if __name__ == "__main__":
    submit(Path(sys.argv[1]))
