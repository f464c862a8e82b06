"""`pluginctl check`."""

from typing import Annotated

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import counted, fail, show_faults, styled, write_json


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Functions or plugins; by default all.", metavar="[NAME]...", autocompletion=complete_name),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that importing one module may take.", metavar="S")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Import everything and report every fault.

    In a process of its own; nothing is started. A plugin that ends that process, crashes it or hangs is named, and the
    others are checked all the same.
    """
    from jackfield.cli.probe import Job, probe  # noqa: PLC0415

    if names:
        _refuse_unserved(names)
    report = probe(Job("check", tuple(names or ())), timeout)
    result = report.result or {"functions": [], "notes": []}
    if as_json:
        write_json({"ok": not report.faults, **result, "faults": report.faults})
    else:
        for note in result["notes"]:
            typer.echo(f"{styled('note', 'odd')} {note['function']} [{note['plugin']}]: {note['note']}")
        show_faults(report.faults)
        found = counted(len(report.faults), "fault")
        verdict = styled(found, "bad") if report.faults else styled("no faults", "good")
        typer.echo(f"{counted(len(result['functions']), 'function')} can be called, {verdict}")
    if report.faults:
        raise typer.Exit(1)


def _refuse_unserved(names: list[str]) -> None:
    """Fail for a name that nobody advertises, or that is not served: nothing checked is not nothing wrong."""
    catalogue = read_catalogue()
    for name in names:
        found = catalogue.explain(name)
        if found.served or found.faults:
            continue
        if found.disabled or found.shadowed:
            fail(f"{name!r} is not served: `pluginctl explain {name}` says why")
        unknown(name, found.close)
