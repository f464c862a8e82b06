"""Doors under load: ``python tests/bench/doors/run.py``; ``--help`` lists its options.

Server and load generator share the same cores, each server is a process of its own, and those that are compared take
turns. Ratios say something on a machine that does other things as well; rates do so on a quiet one alone.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fair  # the harness of the other benches is a folder above
import report  # as above
import soak  # as above
import throughput  # as above
from harness import FULL, QUICK, Effort  # as above
from load import missing  # as above
from results import Section  # as above

BENCHES: dict[str, Callable[[Effort], Section]] = {
    "http": throughput.http,
    "batch": throughput.batch,
    "workers": throughput.workers,
    "grpc": throughput.grpc,
    "admission": throughput.admission,
    "fairness": fair.fairness,
    "soak": soak.run,
}

_LIBRARIES = ("jackfield", "fastapi", "grpcio", "httptools", "msgspec", "uvicorn", "uvloop")


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen benches; 0, or with ``--strict`` 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description="Measure the doors against their rivals, under load.")
    parser.add_argument(
        "--only", action="append", choices=list(BENCHES), metavar="NAME", help="run this one; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="see that it runs, in a minute or so")
    parser.add_argument("--soak", type=float, default=300.0, metavar="SECONDS", help="how long the soak takes: 300")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args(arguments)
    if reason := missing():
        sys.stdout.write(f"NOT MEASURED: {reason}\n")
        return 1 if options.strict else 0
    effort = attrs.evolve(QUICK, load=5.0) if options.quick else attrs.evolve(FULL, load=options.soak)
    about = report.environment(effort, _LIBRARIES)
    sys.stdout.write(report.header(about) + "\n")
    sections: dict[str, Section] = {}
    for name in options.only or BENCHES:
        sections[name] = BENCHES[name](effort)
        sys.stdout.write(report.markdown(sections[name]) + "\n")
        sys.stdout.flush()
    short = [what for section in sections.values() for what in section.short]
    sys.stdout.write(
        "Every bar is met.\n" if not short else "Short of the bar:\n" + "".join(f"- {each}\n" for each in short)
    )
    if options.json:
        data: dict[str, Any] = {"environment": about, "short": short}
        data["benches"] = {name: report.plain(section) for name, section in sections.items()}
        options.json.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if options.strict and short else 0


if __name__ == "__main__":
    raise SystemExit(main())
