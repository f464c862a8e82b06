"""`pluginctl graph`."""

from enum import StrEnum
from typing import Annotated

import typer

from jackfield.cli.flows import Flows, flows_of
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
    config: Flows = None,
) -> None:
    """Draw what is injected into what, and the steps of flows.

    Missing things included. Imports all plugins, in a process of its own.
    """
    from jackfield.cli.probe import Job, probe

    flows = flows_of(config)
    report = probe(Job("graph", style=style.value), timeout)
    for fault in report.faults:
        say(f"left out: {fault}")
    if report.result is None:
        raise typer.Exit(1)
    drawing = report.result["drawing"]
    if flows:
        from jackfield.flow.drawing import beside

        drawing = beside(drawing, flows, "dot" if style is Style.DOT else "mermaid")
    typer.echo(drawing, nl=False)
