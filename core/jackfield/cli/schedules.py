"""`pluginctl schedule list`: when the running host submits what."""

from typing import Any

import typer

from jackfield.cli.output import columns, counted, say, styled, write_json
from jackfield.cli.running import QUICK, AsJson, Control, ask


def list_schedules(control: Control = None, as_json: AsJson = False) -> None:
    """List the schedules of the running host, with their next and last planned times.

    `missed` counts the planned times that this host has found passed without a run, and left so.
    """
    rows: list[dict[str, Any]] = ask(control, "schedules", within=QUICK)
    if as_json:
        write_json(rows)
        return
    if not rows:
        say("the host has no schedules")
        return
    cells = [("name", "function", "cron", "next", "last", "missed"), *map(_cells, rows)]
    head, *lines = columns(cells)
    typer.echo(styled(head, "head"))
    for row, line in zip(rows, lines, strict=True):
        typer.echo(line)
        if row["problem"]:
            typer.echo(styled(f"  {row['problem']}", "bad"))
    say(counted(len(rows), "schedule"))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    tenant = f" for {row['tenant']}" if row["tenant"] else ""
    when = f"{row['cron']} {row['timezone']}"
    missed = f"{row['missed']} ({row['policy']})"
    return row["name"], row["function"] + tenant, when, row["next"] or "never", row["last"] or "-", missed
