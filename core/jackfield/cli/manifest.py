"""`pluginctl manifest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli.entries import complete_name, read_catalogue, unknown
from jackfield.cli.output import fail, say, show_faults, write_json
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.cli.manifests import Subject


def manifest(
    plugin: Annotated[
        str,
        typer.Argument(
            help="An installed plugin; a project's folder, a plugin's file or folder, or a manifest; by default the"
            " project in this folder.",
            metavar="[PLUGIN|PATH]",
            autocompletion=complete_name,
        ),
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write the proposal where it is found, and set up its packaging.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of manifests.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Show a plugin's manifest, or propose one.

    From files and metadata alone: imports nothing.
    """
    if schema:
        from jackfield.manifests.schema import json_schema

        write_json(json_schema())
        return
    from jackfield.cli.manifests import subject
    from jackfield.errors import ConfigError, JackfieldError

    found = None
    try:
        found = subject(plugin or ".", read_catalogue())
    except ConfigError as error:
        _refuse(error, as_json=as_json)
    except JackfieldError as error:
        fail(str(error))
    if found is None:
        unknown(plugin, read_catalogue().explain(plugin).close)
    if write:
        _write(found)
    if as_json:
        write_json(_plain(found))
        return
    say(f"{printable(str(found.file))}:" if found.file else _hint(found, written=write))
    typer.echo(printable(found.text, keep="\n"), nl=False)


def _plain(found: "Subject") -> dict[str, Any]:
    return {
        "plugin": found.plugin,
        "file": str(found.file or ""),
        "proposed": found.file is None,
        "place": str(found.place or ""),
        "text": found.text,
        "asks": found.asks,
    }


def _hint(found: "Subject", *, written: bool) -> str:
    if written:
        return f"written to {found.place}:"
    where = f"--write writes it to {found.place}" if found.place else "it belongs into the sources of the distribution"
    return printable(f"{found.plugin} has no manifest; this is a proposal, {where}:")


def _refuse(error: Any, *, as_json: bool) -> None:
    """Show every fault of a manifest, and fail."""
    if as_json:
        write_json({"faults": error.faults})
    elif error.faults:
        say(f"{printable(error.file)}:")
        show_faults(error.faults)
    else:
        fail(str(error))
    raise typer.Exit(1)


def _write(found: "Subject") -> None:
    if found.file is not None:
        fail(f"{found.file} is there already: nothing has been written")
    if found.place is None:
        fail(f"{found.plugin} is not installed from its sources: run this in the project that it is built from")
    try:
        with Path(found.place).open("x", encoding="utf-8", newline="\n") as file:
            file.write(found.text)
    except FileExistsError:
        fail(f"{found.place} is there already: nothing has been written")
    except OSError as error:
        fail(f"{found.place} cannot be written: {error.strerror}")
    if found.packaging is not None:
        from jackfield.cli.packaging import add_package_data

        say(printable(add_package_data(*found.packaging)))
