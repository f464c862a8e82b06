"""A long campaign: ``python tests/chaos/run.py --seed 1 --rounds 200``; exit code 1 where something was lost."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from campaign import Campaign

FAULTS = (
    "kill",
    "kill",
    "kill all",
    "kill a worker",
    "stop for longer than a lease",
    "slow",
    "away",
    "full",
    "no room",
)


def main() -> int:
    """Run it and print its report, as Markdown."""
    parser = argparse.ArgumentParser(description="Kill, stop, slow and cut off hosts under submissions.")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the draw of faults")
    parser.add_argument("--rounds", type=int, default=200, help="faults")
    parser.add_argument("--hosts", type=int, default=2, help="on one store at once")
    parser.add_argument("--json", type=Path, help="keep the report here, as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Campaign(Path(folder), given.seed, given.hosts).run(given.rounds, FAULTS)
    if given.json:
        given.json.write_text(json.dumps(report.document(), indent=2), encoding="utf-8")
    sys.stdout.write(str(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
