"""`pluginctl explain`."""

from typing import Annotated

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import show_faults, styled, write_json
from jackfield.text import printable


def explain(
    name: Annotated[
        str,
        typer.Argument(
            help="A function's, another entry's or a plugin's name.", metavar="NAME", autocompletion=complete_name
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Say why a name is served as it is.

    Which candidate won, which were shadowed or switched off, and by what rule. Imports none of them.
    """
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
