"""`pluginctl list`."""

from itertools import groupby
from typing import Annotated

import typer

from jackfield.cli import remote
from jackfield.cli.entries import Row, complete_name, matching, read_catalogue, rows
from jackfield.cli.flows import Flows, flow_rows, flows_of
from jackfield.cli.output import columns, counted, say, styled, write_json

_ROLES = {"ok": "good", "shadowed": "odd", "disabled": "quiet", "faulty": "bad"}


def list_entries(
    pattern: Annotated[
        str,
        typer.Argument(
            help="Part of a name or plugin, or a pattern with * and ?.",
            metavar="[PATTERN]",
            autocompletion=complete_name,
        ),
    ] = "",
    config: Flows = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON array.")] = False,
) -> None:
    """List what installed packages advertise.

    By plugin, from metadata alone: imports none of them. With --host: what can be called there.
    """
    if remote.is_asked():
        _there(pattern, as_json=as_json)
        return
    catalogue = read_catalogue()
    every = [*rows(catalogue), *flow_rows(config, flows_of(config))]
    found = list(matching(every, pattern)) if pattern else every
    if as_json:
        write_json([row._asdict() for row in found])
        return
    for plugin, entries in groupby(found, lambda row: row.plugin):
        _show(plugin, list(entries))
    if not found:
        say(f"nothing matches {pattern!r}" if pattern else "no installed package advertises anything to jackfield")
    if catalogue.faults:
        say(styled(f"{counted(len(catalogue.faults), 'fault')}: `pluginctl doctor` shows them", "odd"))


def _there(pattern: str, *, as_json: bool) -> None:
    """List the functions of a host elsewhere."""
    with remote.client() as client:
        given = remote.checked(client.functions(), "name", "plugin", "version", "about")
    about = {row["name"]: row["about"] for row in given}
    every = sorted((Row(row["name"], "function", row["plugin"], row["version"]) for row in given), key=_by_plugin)
    found = list(matching(every, pattern)) if pattern else every
    if as_json:
        write_json([row._asdict() | {"about": about[row.name]} for row in found])
        return
    for plugin, entries in groupby(found, lambda row: row.plugin):
        _show(plugin or "(registered by the host itself)", [row._replace(reference=about[row.name]) for row in entries])
    if not found:
        say(f"nothing matches {pattern!r}" if pattern else "nothing can be called there")


def _by_plugin(row: Row) -> tuple[str, str]:
    return row.plugin, row.name


def _show(plugin: str, entries: list[Row]) -> None:
    version = next((row.version for row in entries if row.version), "")
    typer.echo(styled(f"{plugin} {version}".rstrip(), "head"))
    lines = columns([(row.name, row.kind, row.reference or row.reason) for row in entries], "  ")
    for row, line in zip(entries, lines, strict=True):
        why = f" ({row.reason})" if row.reason and row.reference else ""
        typer.echo(line if row.status == "ok" else styled(line + why, _ROLES[row.status]))
