"""`pluginctl explain`."""

from typing import Annotated

import typer

from jackfield.cli.entries import Row, complete_name, read_catalogue, unknown
from jackfield.cli.flows import Flows, flow_rows, flows_of
from jackfield.cli.output import show_faults, styled, write_json
from jackfield.text import printable


def explain(
    name: Annotated[
        str,
        typer.Argument(
            help="A function's, another entry's or a plugin's name.", metavar="NAME", autocompletion=complete_name
        ),
    ],
    config: Flows = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Say why a name is served as it is.

    Which candidate won, which were shadowed or switched off, and by what rule. Imports none of them.
    """
    if flows := [row for row in flow_rows(config, flows_of(config)) if row.name == name]:
        _flows(flows, as_json=as_json)
        return
    found = read_catalogue().explain(name)
    if found.close or not (found.served or found.shadowed or found.disabled or found.faults):
        unknown(name, found.close)
    if as_json:
        write_json(found)
        return
    for candidate in found.served:
        typer.echo(f"{styled('served', 'good')}    {printable(f'{candidate} as {candidate.value}')}")
    for lost in found.shadowed:
        typer.echo(f"{styled('shadowed', 'odd')}  {printable(str(lost.candidate))}")
        if lost.winner is not None:
            typer.echo(f"            by {printable(str(lost.winner))}")
        typer.echo(f"            {printable(lost.rule)}")
    for off in found.disabled:
        typer.echo(f"{styled('disabled', 'quiet')}  {printable(str(off.candidate))}")
        typer.echo(f"            by {off.switch}")
    show_faults(found.faults)


def _flows(flows: list[Row], *, as_json: bool) -> None:
    """Tell of flows: a configuration says what they are, and nothing can shadow them."""
    if as_json:
        write_json({"name": flows[0].name, "served": [row._asdict() for row in flows]})
        return
    for row in flows:
        text = f"{row.name}@{row.version} of {row.location}, a flow: {row.reference}"
        typer.echo(f"{styled('served', 'good')}    {printable(text)}")
