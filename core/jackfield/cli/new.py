"""`pluginctl new`."""

import re
import sys
from enum import StrEnum
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli.output import fail
from jackfield.cli.taken import word

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]{0,60}[A-Za-z0-9])?", re.ASCII)


class Shape(StrEnum):
    """What the project is to show, beside a function."""

    FUNCTION = "function"
    ASYNC = "async"
    PROVIDER = "provider"
    PLUGIN = "plugin"
    HOOKS = "hooks"


def new(
    name: Annotated[str, typer.Argument(help="The plugin's name, as pip will know it.", metavar="NAME")],
    kind: Annotated[
        Shape,
        typer.Option(
            help="What it has: a function; an async one; and something injected, started, or hooked in.", **word(Shape)
        ),
    ] = Shape.FUNCTION,
) -> None:
    """Write a plugin project.

    Into the new folder NAME: a function, its tests, and all that pip needs.
    """
    from jackfield.cli.project import files

    package = re.sub(r"[-_.]+", "_", name).lower()
    _check(name, package)
    root = Path(name)
    try:
        root.mkdir()
    except FileExistsError:
        fail(f"{root} exists already: nothing has been written")
    except OSError as error:
        fail(f"{root} cannot be made: {error.strerror}")
    for path, text in files(name, package, kind.value).items():
        file = root / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            fail(f"{file} cannot be written, and the project is not complete: {error.strerror}")
        typer.echo(str(file))
    typer.echo(f"\nNow: cd {root} && pip install -e '.[test]' && pytest && pluginctl call {package}.greet name=World")


def _check(name: str, package: str) -> None:
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name[:80]!r} is no name for a distribution: up to 62 letters, digits, '-', '_' and '.',"
            " beginning with a letter and ending with a letter or digit"
        )
    if not package.isidentifier() or iskeyword(package):
        raise typer.BadParameter(f"{name!r} would make a package called {package!r}, which Python cannot import")
    if package in sys.stdlib_module_names or package in {"jackfield", "test", "tests"}:
        raise typer.BadParameter(f"{name!r} would hide the module {package!r}: choose another name")
