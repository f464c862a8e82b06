"""One host process of a campaign, which submits until it is told to stop: ``python driver.py FOLDER NUMBER``."""

import os
import random
import sys
import threading
import time
from pathlib import Path

_OFFSET = float(os.environ.get("CHAOS_CLOCK", "0"))
if _OFFSET:  # a machine whose clock is wrong: before anything takes the function
    _real = time.time
    time.time = lambda: _real() + _OFFSET

from troubled import TroubledStore  # noqa: E402
from work import mark  # noqa: E402

from jackfield import Host, JackfieldError  # noqa: E402
from jackfield.store import SQLiteStore  # noqa: E402

SUBMITTERS = 4


def main(folder: Path, number: str) -> None:
    """Serve and submit."""
    marks = folder / "marks"
    store = TroubledStore(SQLiteStore(folder / "jackfield.db"), folder / "trouble", marks)
    with Host.from_config(folder / "jackfield.toml", observers=(), store=store) as host:
        (folder / f"ready-{number}").touch()
        threads = [
            threading.Thread(target=_submit, args=(host, folder, f"{number}-{thread}")) for thread in range(SUBMITTERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while not (folder / "end").exists():
            time.sleep(0.05)


def _submit(host: Host, folder: Path, who: str) -> None:
    draw, marks, count = random.Random(who), str(folder / "marks"), 0  # noqa: S311
    while not (folder / "quiet").exists():
        key = f"{who}-{count}"
        count += 1
        function, payload = _drawn(draw, key)
        try:
            submission = host.submit(function, payload, key=key, timeout=3600.0)
        except JackfieldError as error:  # the store is away: it has not been accepted, which is said
            mark(marks, f"refused:{type(error).__name__}", key)
        else:
            mark(marks, f"accepted:{function}:{submission.id}", key)
        time.sleep(draw.uniform(0.0, 0.04))


def _drawn(draw: random.Random, key: str) -> tuple[str, dict[str, object]]:
    seconds = draw.choice([0.0, 0.0, 0.01, 0.1])
    match draw.choice(["charge", "fetch", "flow", "apart"]):
        case "charge":
            return "work.charge", {"key": key, "seconds": seconds}
        case "apart":
            return "apart.charge", {"key": key, "seconds": seconds}
        case "fetch":
            return "work.fetch", {"key": key, "seconds": seconds, "fails": draw.choice([0, 0, 1])}
        case _:
            return "pipeline", {"key": key}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
