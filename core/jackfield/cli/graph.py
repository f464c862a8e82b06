"""`pluginctl graph`."""

from enum import StrEnum
from typing import Annotated

import typer

from jackfield.cli.output import say
from jackfield.cli.taken import number, word


class Style(StrEnum):
    """The languages a graph can be drawn in."""

    MERMAID = "mermaid"
    DOT = "dot"


def graph(
    style: Annotated[
        Style, typer.Option("--format", help="The language of the drawing.", **word(Style))
    ] = Style.MERMAID,
    timeout: Annotated[
        float, typer.Option(parser=number(0.1), help="Seconds that importing one module may take.", metavar="S")
    ] = 60.0,
) -> None:
    """Draw what is injected into what.

    Missing things included. Imports all plugins, in a process of its own.
    """
    from jackfield.cli.probe import Job, probe

    report = probe(Job("graph", style=style.value), timeout)
    for fault in report.faults:
        say(f"left out: {fault}")
    if report.result is None:
        raise typer.Exit(1)
    typer.echo(report.result["drawing"], nl=False)
