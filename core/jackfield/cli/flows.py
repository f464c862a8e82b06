"""The flows of a configuration file, for verbs that show what there is."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from jackfield.cli.entries import Row
from jackfield.cli.output import fail

if TYPE_CHECKING:
    from jackfield.model.flow import Flow

Flows: TypeAlias = Annotated[
    str | None, typer.Option("--config", help="A configuration file, whose flows are shown as well.", metavar="FILE")
]


def flows_of(config: str | None) -> "list[Flow]":
    """Read the flows of a file; none without one.

    Raises:
        typer.Exit: if there is anything wrong with the file.
    """
    if config is None:
        return []
    from jackfield.config import load_config
    from jackfield.errors import ConfigError

    try:
        return [flow for versions in load_config(config).flows.values() for flow in versions]
    except ConfigError as error:
        fail(str(error))


def flow_rows(config: str | None, flows: "list[Flow]") -> list[Row]:
    """List flows as what is installed is listed."""
    if not flows:
        return []
    from jackfield.flow.shown import path

    where = str(config)
    return [Row(flow.name, "flow", where, flow.version, path(flow), where) for flow in flows]
