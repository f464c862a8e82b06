"""The benchmark programme: ``python tests/bench/run.py``; ``--help`` lists its options.

Every bench measures jackfield and a named rival, or the floor that bare Python sets, in the same run, and prints the
ratio beside the bar it has to meet.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import apply
import attrs
import calls
import canaries
import colours
import discovery
import durable
import fanout
import flows
import growth
import imports
import injection
import lookup
import observed
import payloads
import report
import rivals
import rollbacks
import shared
import startup
import store
import swaps
import tails
import unloading
import workers
from harness import FULL, QUICK, Effort
from results import Section

BENCHES: dict[str, Callable[[Effort], Section]] = {
    "lookup": lookup.run,
    "calls": calls.run,
    "injection": injection.run,
    "observed": observed.run,
    "discovery": discovery.run,
    "imports": imports.run,
    "swaps": swaps.run,
    "tails": tails.run,
    "canaries": canaries.run,
    "rollbacks": rollbacks.run,
    "startup": startup.run,
    "apply": apply.run,
    "fanout": fanout.run,
    "flows": flows.run,
    "unloading": unloading.run,
    "growth": growth.run,
    "colours": colours.run,
    "payloads": payloads.run,
    "workers": workers.run,
    "shared": shared.run,
    "store": store.run,
    "durable": durable.run,
    "rivals": rivals.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen benches.

    Returns:
        0; 1 when a bench crashed, or with ``--strict`` when a bar is missed.
    """
    options = _options(arguments)
    effort = QUICK if options.quick else FULL
    if options.load is not None:
        effort = attrs.evolve(effort, load=options.load)
    about = report.environment(effort)
    pages = [report.header(about)]
    _say(pages[0])
    sections: dict[str, Section] = {}
    crashed: list[str] = []
    begun = perf_counter()
    for name in options.only or BENCHES:
        try:
            sections[name] = BENCHES[name](effort)
        except Exception:  # noqa: BLE001  # one bench that crashes must not take the others' figures with it
            crashed.append(name)
            page = f"## {name}\n\ncrashed:\n\n```\n{traceback.format_exc()}```\n"
        else:
            page = report.markdown(sections[name])
        pages.append(page)
        _say(page)
    short = [what for section in sections.values() for what in section.short]
    pages.append(_summary(short, crashed, perf_counter() - begun))
    _say(pages[-1])
    if options.markdown:
        options.markdown.write_text("\n".join(pages), encoding="utf-8")
    if options.json:
        data: dict[str, Any] = {"environment": about, "short": short, "crashed": crashed}
        data["benches"] = {name: report.plain(section) for name, section in sections.items()}
        options.json.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if crashed or (options.strict and short) else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure jackfield against its rivals and floors.")
    parser.add_argument(
        "--only", action="append", choices=list(BENCHES), metavar="NAME", help="run this bench; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="see that it runs, in a minute or so")
    parser.add_argument(
        "--load", type=float, metavar="SECONDS", help="hot swaps under read load: 60 s, 10 with --quick"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed to a file too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    return parser.parse_args(arguments)


def _summary(short: list[str], crashed: list[str], seconds: float) -> str:
    lines = [
        "## Summary",
        "",
        "Every bar is met." if not short else "Short of the bar:",
        *(f"- {what}" for what in short),
    ]
    if crashed:
        lines.append(f"Crashed: {', '.join(crashed)}.")
    return "\n".join([*lines, "", f"Took {seconds:.0f} s.", ""])


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
