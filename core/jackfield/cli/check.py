"""`pluginctl check`."""

from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import counted, fail, show_faults, styled, write_json
from jackfield.text import printable


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Functions or plugins, or one configuration file; by default all that is installed.",
            metavar="[NAME|CONFIG]...",
            autocompletion=complete_name,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that importing one module may take.", metavar="S")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Import everything and report every fault.

    In a process of its own; nothing is started. A plugin that ends that process, crashes it or hangs is named, and the
    others are checked all the same. Of a configuration file, every fault is shown with its line; if it has none, the
    plugins that it declares are loaded.
    """
    from jackfield.cli.probe import Job, probe

    if names and len(names) == 1 and names[0].endswith(".toml"):
        _configuration(Path(names[0]), timeout, as_json=as_json)
        return
    if names:
        _refuse_unserved(names)
    report = probe(Job("check", tuple(names or ())), timeout)
    result = report.result or {"functions": [], "notes": []}
    if as_json:
        write_json({"ok": not report.faults, **result, "faults": report.faults})
    else:
        for note in result["notes"]:
            line = printable(f"{note['function']} [{note['plugin']}]: {note['note']}")
            typer.echo(f"{styled('note', 'odd')} {line}")
        show_faults(report.faults)
        found = counted(len(report.faults), "fault")
        verdict = styled(found, "bad") if report.faults else styled("no faults", "good")
        typer.echo(f"{counted(len(result['functions']), 'function')} can be called, {verdict}")
    if report.faults:
        raise typer.Exit(1)


def _configuration(path: Path, timeout: float, *, as_json: bool) -> None:
    from jackfield.cli.configured import check_configuration

    functions, faults = check_configuration(path, timeout)
    if as_json:
        write_json({"ok": not faults, "functions": functions, "notes": [], "faults": faults})
    else:
        show_faults(faults)
        verdict = styled(counted(len(faults), "fault"), "bad") if faults else styled("no faults", "good")
        typer.echo(f"{counted(len(functions), 'function')} can be called, {verdict}")
    if faults:
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
