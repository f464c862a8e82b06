"""What the demo is shown with: steps, the command line, outcomes, a trace as a tree."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.tree import Tree

console = Console(highlight=False, width=110)


def step(title: str, how: str) -> None:
    """Announce a step."""
    console.print()
    console.rule(f"[bold]{title}", align="left")
    console.print(how, style="cyan", markup=False)
    console.print()


def pluginctl(*arguments: str) -> None:
    """Run the command line as its user would."""
    environment = {**os.environ, "COLUMNS": "110", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(  # noqa: S603  # our own command line
        [sys.executable, "-m", "jackfield", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    console.out((done.stdout + done.stderr).rstrip(), highlight=False)
    if done.returncode:
        raise SystemExit(f"pluginctl {' '.join(arguments)} ended with {done.returncode}")


def progress(rows: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Show how far it is, on a terminal; the bar goes when it is done."""
    return iter(track(rows, what, total, console=console, transient=True, disable=not console.is_terminal))


def summarise(outcomes: Counter[str], seconds: float) -> None:
    """Show how many calls ended how."""
    table = Table("outcome", "calls", box=None)
    for outcome, number in outcomes.most_common():
        table.add_row(outcome, f"{number:,}")
    console.print(table)
    console.print(f"{sum(outcomes.values()):,} calls in {seconds:.1f} s, every one with a span, metrics and a deadline")


def show_trace(finished: tuple[ReadableSpan, ...]) -> None:
    """Draw the trace of a call."""
    tree = Tree(f"trace {finished[-1].context.trace_id:032x}")
    _grow(tree, None, finished)
    console.print(tree)


def _grow(tree: Tree, parent: int | None, finished: tuple[ReadableSpan, ...]) -> None:
    """Hang each span below its parent."""
    for span in sorted(finished, key=lambda one: one.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent and span.context:
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            version = (span.attributes or {}).get("jackfield.version")
            branch = tree.add(f"{span.name}@{version}  {took:.2f} ms")
            _grow(branch, span.context.span_id, finished)
