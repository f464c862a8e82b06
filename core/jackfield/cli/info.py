"""`pluginctl info`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli import remote
from jackfield.cli.entries import Row, complete_name, read_catalogue, rows, unknown
from jackfield.cli.flows import Flows, flow_rows, flows_of
from jackfield.cli.output import columns, fail, show_faults, styled, write_json

if TYPE_CHECKING:
    from jackfield.cli.asks import Asking
    from jackfield.model.flow import Flow


def info(  # noqa: C901  # what a name can be
    name: Annotated[
        str,
        typer.Argument(
            help="A function's or a plugin's name, or a function of a file as in ./file.py:function.",
            metavar="NAME",
            autocompletion=complete_name,
        ),
    ],
    contract: Annotated[
        bool, typer.Option("--contract", help="Import the function, in a process of its own, and show its contract.")
    ] = False,
    config: Flows = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Show what is known of a function or plugin, or the steps of a flow.

    Imports nothing, unless `--contract` asks for it; of a file there is nothing else to be shown, nor with --host.
    """
    from jackfield.cli.files import given

    if remote.is_asked():
        _there(name, as_json=as_json)
        return
    if (file := given(name)) is not None:
        if not file.attribute:
            raise typer.BadParameter(f"say which function: `pluginctl call {name}` shows those there are")
        _of_file(name, as_json=as_json)
        return
    if flows := [flow for flow in flows_of(config) if flow.name == name]:
        _flows(flows, config, as_json=as_json)
        return
    catalogue = read_catalogue()
    explanation = catalogue.explain(name)
    known = {
        (one.name, one.location)
        for one in (
            *explanation.served,
            *(lost.candidate for lost in explanation.shadowed),
            *(off.candidate for off in explanation.disabled),
        )
    }
    found = [row for row in rows(catalogue) if (row.name, row.location) in known]
    if not found and not explanation.faults:
        unknown(name, explanation.close)
    shown = None
    if contract:
        if catalogue.find(name) is None:
            fail(f"no function {name!r} is served: `pluginctl explain {name}` says why")
        shown = _contract((name,))
    from jackfield.cli.asks import installed

    asks, wrong = installed(sorted({row.plugin for row in found}), catalogue)
    faults = (*explanation.faults, *wrong)
    if as_json:
        entries = [row._asdict() for row in found]
        write_json({"name": name, "entries": entries, "faults": faults, "contract": shown, "asks": asks})
        return
    for row in found:
        _show(row)
    for asking in asks:
        _show_asking(asking)
    show_faults(faults)
    if shown is not None:
        _show_contract(shown)


def _flows(flows: "list[Flow]", config: str | None, *, as_json: bool) -> None:
    from jackfield.flow.shown import lines, plain

    found = flow_rows(config, flows)
    if as_json:
        write_json({"name": flows[0].name, "entries": [row._asdict() for row in found], "flows": [*map(plain, flows)]})
        return
    for row, flow in zip(found, flows, strict=True):
        _show(row)
        for number, line in enumerate(columns(lines(flow))):
            typer.echo(f"  {'steps' if number == 0 else '':9}  {line}")


def _of_file(name: str, *, as_json: bool) -> None:
    shown = _contract(file=name)
    if as_json:
        write_json({"name": name, "entries": [], "faults": [], "contract": shown})
    else:
        typer.echo(styled(name, "head"))
        _show_contract(shown)


def _there(name: str, *, as_json: bool) -> None:
    """Show the contract of a function of a host elsewhere."""
    with remote.client() as client:
        spec = client.describe(name)
    shown, row = remote.described(spec), Row(spec.name, "function", spec.plugin, spec.version)
    if as_json:
        write_json({"name": name, "entries": [row._asdict()], "faults": [], "contract": shown})
        return
    typer.echo(styled(name, "head"))
    for line in columns([("plugin", f"{row.plugin} {row.version}".strip())], "  "):
        typer.echo(line)
    _show_contract(shown)


def _show(row: Row) -> None:
    typer.echo(styled(row.name, "head"))
    status = f"{row.status} ({row.reason})" if row.reason else row.status
    fields = [
        ("kind", row.kind),
        ("plugin", f"{row.plugin} {row.version}"),
        ("reference", row.reference),
        ("metadata", row.location),
        ("status", status),
    ]
    for line in columns(fields, "  "):
        typer.echo(line)


def _show_asking(asking: "Asking") -> None:
    typer.echo(styled(asking.plugin, "head"))
    fields = [
        ("manifest", asking.manifest),
        *(("asks" if number == 0 else "", text) for number, text in enumerate(asking.asks or ["nothing"])),
        *([("missing", asking.allow)] if asking.missing else []),
    ]
    for line in columns(fields, "  "):
        typer.echo(line)


def _contract(names: tuple[str, ...] = (), file: str = "") -> dict[str, Any]:
    from jackfield.cli.probe import Job, probe

    report = probe(Job("info", names, file))
    if report.faults or report.result is None:
        show_faults(report.faults)
        raise typer.Exit(1)
    return report.result


def _said(value: Any) -> str:
    if isinstance(value, dict):  # of how it is tried again
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)


def _show_contract(shown: dict[str, Any]) -> None:
    fields = [
        ("summary", shown["summary"]),
        ("colour", shown["colour"]),
        *(("payload" if number == 0 else "", text) for number, text in enumerate(shown["parameters"] or ["none"])),
        *(("", f"  {text}") for text in shown["fields"]),
        ("result", shown["result"]),
        ("", shown["untyped"]),
        *(("injected" if number == 0 else "", text) for number, text in enumerate(shown["dependencies"])),
        *((key, _said(value)) for key, value in shown["policy"].items() if value),
        *(("note", note) for note in shown["notes"]),
    ]
    for line in columns([field for field in fields if field[1]], "  "):
        typer.echo(line)
