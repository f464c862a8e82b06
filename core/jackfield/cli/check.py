"""`pluginctl check`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import counted, fail, show_faults, styled, write_json
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.errors import Fault


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Functions, plugins, or Python files; or one configuration file; by default all that is installed.",
            metavar="[NAME|FILE|CONFIG]...",
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
    plugins that it declares are loaded. A Python file needs no packaging: ./file.py, or ./file.py:function.
    """
    from jackfield.cli.files import given
    from jackfield.cli.probe import Job, probe

    if names and len(names) == 1 and names[0].endswith(".toml"):
        _configuration(Path(names[0]), timeout, as_json=as_json)
        return
    files = [name for name in names or () if given(name) is not None]
    installed = [name for name in names or () if name not in files]
    if installed:
        _refuse_unserved(installed)
    jobs = [Job("check", file=file) for file in files]
    if installed or not files:
        jobs.append(Job("check", tuple(installed)))
    reports = [probe(job, timeout) for job in jobs]
    results = [report.result for report in reports if report.result is not None]
    functions = [function for result in results for function in result["functions"]]
    notes = [note for result in results for note in result["notes"]]
    _show(functions, notes, [fault for report in reports for fault in report.faults], as_json=as_json)


def _configuration(path: Path, timeout: float, *, as_json: bool) -> None:
    from jackfield.cli.configured import check_configuration

    functions, faults = check_configuration(path, timeout)
    _show(functions, [], faults, as_json=as_json)


def _show(
    functions: Sequence[str], notes: Sequence[dict[str, str]], faults: Sequence["Fault"], *, as_json: bool
) -> None:
    if as_json:
        write_json({"ok": not faults, "functions": functions, "notes": notes, "faults": faults})
    else:
        for note in notes:
            whose = f" [{note['plugin']}]" if note["plugin"] else ""
            line = printable(f"{note['function']}{whose}: {note['note']}")
            typer.echo(f"{styled('note', 'odd')} {line}")
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
