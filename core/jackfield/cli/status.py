"""`pluginctl status`, `events` and `dump-state`: what goes on in the running host."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jackfield.cli.output import columns, counted, styled, write_json
from jackfield.cli.route_verbs import canary_line
from jackfield.cli.running import QUICK, AsJson, Control, ask, building_line, follow
from jackfield.cli.shares import function_rows, share_lines
from jackfield.text import printable, printable_json

_EVERY = 1.0  # seconds between two looks
_MAPS = 5  # of each worker; JSON has more
_ROLES = {"running": "good", "failed": "bad", "blocked": "bad", "stopped": "quiet", "unloaded": "quiet"}


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second, until Ctrl-C.")] = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show the doors, plugins, tenants, canaries and faults of the running host.

    What tenants received, waited and were refused is told since the start; with --watch since the last look.
    """
    look = _Look(control)
    if as_json:
        write_json(ask(control, "status", within=QUICK))
        while watch:
            time.sleep(_EVERY)
            write_json(ask(control, "status", within=QUICK))
    elif not watch or not sys.stdout.isatty():
        typer.echo(look())
        while watch:  # one after the other: who reads a pipe sees each, and that it has left is seen at the next one
            time.sleep(_EVERY)
            typer.echo(look())
    else:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(Text.from_ansi(look()), refresh=True)
                time.sleep(_EVERY)


class _Look:
    """Looks at a host, again and again."""

    def __init__(self, control: Path | None) -> None:
        self._control = control
        self._before: dict[str, Any] | None = None

    def __call__(self) -> str:
        """Give what there is to see."""
        state = ask(self._control, "status", within=QUICK)
        before, self._before = self._before, state.get("admission")
        return "\n".join(_lines(state, before))


def events(
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened lately to functions, routes and plugins of the running host.

    What plugins publish among themselves is not shown. With `--json`, one object a line.
    """
    from jackfield.wire.documents import shown_json

    for event in follow(control, "events", follow=following):
        typer.echo(printable_json(shown_json(event).decode()) if as_json else _event(event))


def dump_state(control: Control = None, as_json: AsJson = False) -> None:
    """Show everything that the running host knows of itself.

    Routes, calls in flight, subscriptions with what waits in their queues, what each plugin holds, seats, how each
    worker is confined and what is in its memory, threads with their stacks. Payloads, headers, options and values of
    variables are never in it.
    """
    state = ask(control, "dump_state", within=QUICK)
    if as_json:
        write_json(state)
        return
    for line in _lines(state):
        typer.echo(line)
    typer.echo(f"revisions   {', '.join(map(str, state['revisions']))}")
    for title, rows in _tables(state):
        typer.echo(f"\n{styled(title, 'head')}")
        for line in columns(rows, "  ") if rows else ():
            typer.echo(printable(line))


def _lines(state: dict[str, Any], before: dict[str, Any] | None = None) -> Iterator[str]:
    """Render a status; of admission what has come since an earlier one."""
    calls, functions = counted(state["calls"], "call"), counted(state["functions"], "function")
    yield f"{styled(str(state.get('config', 'host')), 'head')}: {state.get('state', 'running')}, {functions}, {calls}"
    for key in ("pid", "revision", "control", "metrics"):
        if key in state:
            yield f"  {key:<9} {state[key]}"
    for kind, address in state.get("doors", {}).items():
        yield f"  {kind:<9} {address}{_traffic(state.get('traffic', {}).get(kind))}"
    yield from _processes(state.get("processes", ()))
    yield from _plugins(state["plugins"])
    yield from _workers(state.get("workers", ()))  # a host of an older version has none
    yield from share_lines(state.get("admission"), before)
    if waiting := state.get("submissions"):
        calls = f"{waiting['waiting']:,} wait, {waiting['running']:,} run"
        some = waiting["waiting"] or waiting["running"]
        oldest = f"; the oldest was submitted {_span(waiting['oldest'])} ago" if some else ""
        yield f"submitted calls: {calls}{oldest}"
    for build in state.get("building", ()):  # as above
        yield printable(building_line(build))
    for canary in state["canaries"]:
        yield f"canary {canary_line(canary)}"
    shown = [plugin["fault"] for plugin in state["plugins"]]
    for fault in state["faults"]:
        if fault not in shown:
            yield printable(f"fault {fault['entry'] or fault['plugin']}: {_told(fault)}")


def _plugins(plugins: Sequence[dict[str, Any]]) -> Iterator[str]:
    apart = any(plugin.get("tier") for plugin in plugins)  # a host of an older version says nothing of it
    rows = [
        ("PLUGIN", "VERSION", "STATE", "FUNCTIONS", "CALLS", "RESTARTS", "FOR", *("SANDBOX", "WORKERS")[: 2 * apart])
    ]
    rows += [
        (
            plugin["name"],
            plugin["version"],
            plugin["state"],
            str(len(plugin["functions"])),
            str(plugin["calls"]),
            str(plugin["restarts"]),
            _span(time.time() - plugin["since"]),
            *((plugin["tier"] or "-", str(plugin["workers"]) if plugin["tier"] else "-") if apart else ()),
        )
        for plugin in plugins
    ]
    head, *lines = columns(rows)
    yield styled(head, "quiet")
    for plugin, line in zip(plugins, lines, strict=True):
        yield styled(printable(line), _ROLES[plugin["state"]]) if plugin["state"] in _ROLES else printable(line)
        if plugin["fault"]:
            yield printable(f"    {_told(plugin['fault'])}")


def _traffic(traffic: dict[str, int] | None) -> str:
    """Render what goes on at a door, where it tells."""
    if not traffic:
        return ""
    words = f"{counted(traffic['connections'], 'connection')}, {counted(traffic['under_way'], 'request')} under way"
    return f"  {words}, {traffic['requests']:,} so far"


def _processes(processes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Render the processes that serve the HTTP door, where there are several."""
    if not processes:
        return
    rows = [("PROCESS", "PID", "STATE", "FOR", "RESTARTS", "CONNECTIONS", "UNDER WAY", "REQUESTS")]
    rows += [
        (
            str(each["number"]),
            "-" if each["pid"] is None else str(each["pid"]),
            each["state"],
            _span(each["seconds"]),
            str(each["restarts"]),
            *(f"{each.get(key, 0):,}" for key in ("connections", "under_way", "requests")),
        )
        for each in processes
    ]
    head, *lines = columns(rows)
    yield styled(head, "quiet")
    for each, line in zip(processes, lines, strict=True):
        yield line if each["state"] == "serving" else styled(line, "bad")


def _workers(workers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Render the processes that run plugins."""
    if not workers:
        return
    rows: list[tuple[str, ...]] = [("WORKER OF", "VERSION", "PID", "STATE", "SANDBOX", "CALLS", "MEMORY")]
    rows += [
        (
            worker["plugin"],
            worker["version"],
            str(worker["pid"]),
            worker["state"],
            worker["tier"] or "none",
            str(worker["calls"]),
            "-" if worker["memory"] is None else f"{worker['memory'] / 2**20:.0f} MiB",
        )
        for worker in workers
    ]
    whose = [_whose(worker) for worker in workers]
    if any(whose):
        rows = [(*row, one) for row, one in zip(rows, ("FOR", *whose), strict=True)]
    head, *lines = columns(rows)
    yield styled(head, "quiet")
    yield from map(printable, lines)


def _whose(worker: dict[str, Any]) -> str:
    """Say whose calls alone a worker runs; "" for anybody's."""
    tenant = worker.get("tenant")  # a host of an older version has none
    words = [] if tenant is None else [f"tenant {tenant}"]
    return ", ".join([*words, "low priority"] if worker.get("low") else words)


def _told(fault: dict[str, Any]) -> str:
    """Render a fault without its name: what is wrong, the line, the fix."""
    where = f" ({fault['where']})" if fault.get("where") else ""  # a host of an older version has none
    fix = f" → {fault['fix']}" if fault["fix"] else ""
    return f"{fault['stage']}: {fault['reason']}{where}{fix}"


def _tables(state: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    yield (
        "routes",
        [
            (
                route["name"],
                each["version"],
                each["plugin"],
                f"{each['calls']} inside",
                "*"[: each["version"] == route["default"]],
            )
            for route in state["routes"]
            for each in route["versions"]
        ],
    )
    yield (
        "calls in flight",
        [
            (
                f"{call['function']}@{call['version']}",
                call["id"],
                call["tenant"] or "-",
                call["rule"] or "default",
                "no deadline" if call["seconds_left"] is None else f"{call['seconds_left']:g} s left",
            )
            for call in state["in_flight"]
        ],
    )
    counts = ("delivered", "pending", "failed", "dropped")
    yield (
        "subscriptions",
        [
            (
                each["event"],
                each["handler"],
                each["plugin"] or "-",
                *(f"{each[key]} {key}" for key in counts),
                "lagging" if each["lagging"] else "",
            )
            for each in state["subscriptions"]
        ],
    )
    yield (
        "ledgers",
        [
            (plugin, ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) or "nothing")
            for plugin, kinds in state["ledgers"].items()
        ],
    )
    yield (
        "executors",
        [(name, *(f"{number} {key}" for key, number in stats.items())) for name, stats in state["executors"].items()],
    )
    yield "seats", function_rows(state.get("admission"))
    yield "sandboxes", [row for each in state.get("sandboxes", ()) for row in _sandbox(each)]
    yield (
        "threads",
        [
            row
            for thread in state["threads"]
            for row in ((thread["name"], ""), *(("", line) for line in thread["stack"]))
        ],
    )


def _sandbox(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Render how a worker is confined, and what it has in memory."""
    name = f"{found['plugin']}@{found['version']}"
    if "confined" not in found:
        yield name, str(found["pid"]), found["tier"] or "none", "the system says nothing of it"
        return
    held = "confined" if found["confined"] else "NOT confined"
    apart = f"namespaces: {', '.join(found['namespaces']) or 'none'}"
    yield name, str(found["pid"]), found["tier"] or "none", f"{held}, {found['threads']} threads, {apart}"
    for each in found["memory"]["maps"][:_MAPS]:
        yield "", "", f"{each['resident'] / 2**10:,.0f} KiB", each["name"]


def _event(event: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    fault = event.get("fault")
    told = [_told(fault)] if fault else []
    told += [f"{key}={value}" for key, value in event.items() if key not in {"at", "event", "fault"} and value != ""]
    return printable(f"{at}  {event['event']:<22}  {' '.join(told)}")


def _span(seconds: float) -> str:
    """Render a time roughly, as in `3 min`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
