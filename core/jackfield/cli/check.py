"""`pluginctl check`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import counted, fail, show_faults, styled, write_json
from jackfield.cli.taken import number
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.cli.asks import Asking
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
        float, typer.Option(parser=number(0.1), help="Seconds that importing one module may take.", metavar="S")
    ] = 60.0,
    strict_contracts: Annotated[
        bool,
        typer.Option("--strict-contracts", help="Refuse what cannot be checked in full: each note becomes a fault."),
    ] = False,
    in_worker: Annotated[
        bool,
        typer.Option("--in-worker", help="Load plugins in sandboxed workers, as `executor = 'worker'` does."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Import everything and report every fault.

    In a process of its own; nothing is started. A plugin that ends that process, crashes it or hangs is named, and the
    others are checked all the same. With --in-worker each is loaded in a sandboxed worker, with what its manifest asks
    for: what it could not do there is found too. Of a configuration file, every fault is shown with its line; if it has
    none, the plugins that it declares are loaded. A Python file needs no packaging: ./file.py, or ./file.py:function.
    """
    from jackfield.cli.files import given
    from jackfield.cli.probe import Job, probe

    if names and len(names) == 1 and names[0].endswith(".toml"):
        functions, notes, faults = _configuration(Path(names[0]), timeout, in_worker=in_worker)
        asks, wrong = _configured_asks(Path(names[0]))
        _show(functions, notes, _once(faults, wrong), asks, strict=strict_contracts, as_json=as_json)
        return
    files = [name for name in names or () if given(name) is not None]
    installed = [name for name in names or () if name not in files]
    if installed:
        _refuse_unserved(installed)
    if in_worker:
        from jackfield.cli.apart import check_apart

        asks, wrong = _asked(installed, files)
        functions, notes, faults = check_apart(installed, files, timeout)
        _show(functions, notes, _once(faults, wrong), asks, strict=strict_contracts, as_json=as_json)
        return
    jobs = [Job("check", file=file) for file in files]
    if installed or not files:
        jobs.append(Job("check", tuple(installed)))
    reports = [probe(job, timeout) for job in jobs]
    results = [report.result for report in reports if report.result is not None]
    functions = [function for result in results for function in result["functions"]]
    notes = [note for result in results for note in result["notes"]]
    faults = [fault for report in reports for fault in report.faults]
    asks, wrong = _asked(installed, files)
    _show(functions, notes, _once(faults, wrong), asks, strict=strict_contracts, as_json=as_json)


def _once(faults: Iterable["Fault"], wrong: Iterable["Fault"]) -> "list[Fault]":
    """Put together what loading found and what reading a manifest found, which a plugin in workers has told already."""
    found = list(faults)
    told = {(each.plugin, each.entry, each.reason) for each in found}
    return found + [each for each in wrong if (each.plugin, each.entry, each.reason) not in told]


def _asked(installed: list[str], files: list[str]) -> tuple[list["Asking"], list["Fault"]]:
    asks, wrong = _installed_asks(installed) if installed or not files else ([], [])
    for file in files:
        more, also = _file_asks(file)
        asks, wrong = [*asks, *more], [*wrong, *also]
    return asks, wrong


def _installed_asks(names: list[str]) -> tuple[list["Asking"], list["Fault"]]:
    from jackfield.cli.asks import installed
    from jackfield.cli.child import concerns

    catalogue = read_catalogue()
    wanted = {one.plugin: None for one in catalogue.candidates if concerns(tuple(names), one.name, one.plugin)}
    return installed(sorted(wanted), catalogue)


def _file_asks(text: str) -> tuple[list["Asking"], list["Fault"]]:
    from jackfield.cli.asks import of_file
    from jackfield.cli.files import given

    file = given(text)
    return of_file(str(file.root), file.plugin) if file is not None and file.root.exists() else ([], [])


def _configured_asks(path: Path) -> tuple[list["Asking"], list["Fault"]]:
    from jackfield.cli.asks import configured
    from jackfield.config import load_config
    from jackfield.errors import ConfigError

    try:
        configuration = load_config(path)
    except ConfigError:  # told already
        return [], []
    return configured(configuration, read_catalogue())


def _configuration(
    path: Path, timeout: float, *, in_worker: bool
) -> tuple[list[str], list[dict[str, str]], Sequence["Fault"]]:
    from jackfield.cli.configured import check_configuration

    return check_configuration(path, timeout, in_worker=in_worker)


def _show(
    functions: Sequence[str],
    notes: Sequence[dict[str, str]],
    faults: Sequence["Fault"],
    asks: Sequence["Asking"],
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """Show what was found; fail if anything is wrong."""
    if strict:
        notes, faults = (), (*faults, *map(_fault, notes))
    if as_json:
        write_json({"ok": not faults, "functions": functions, "notes": notes, "faults": faults, "asks": asks})
    else:
        for note in notes:
            whose = f" [{note['plugin']}]" if note["plugin"] else ""
            line = printable(f"{note['function']}{whose}: {note['note']}")
            typer.echo(f"{styled('note', 'odd')} {line}")
        for asking in asks:
            if line := _line(asking):
                typer.echo(f"{styled('asks', 'odd')} {printable(line)}")
        show_faults(faults)
        verdict = styled(counted(len(faults), "fault"), "bad") if faults else styled("no faults", "good")
        typer.echo(f"{counted(len(functions), 'function')} can be called, {verdict}")
    if faults:
        raise typer.Exit(1)


def _line(asking: "Asking") -> str:
    from jackfield.cli.asks import shown

    return shown(asking)


def _fault(note: dict[str, str]) -> "Fault":
    from jackfield.errors import Fault

    fix = "use types and constraints that can be checked, or leave out --strict-contracts"
    return Fault("contract", note["plugin"], note["function"], note["note"], fix)


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
