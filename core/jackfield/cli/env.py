"""`pluginctl env list`, `build`, `remove` and `collect`: the environments of plugins that run apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli.output import columns, counted, fail, say, styled, write_json

if TYPE_CHECKING:
    from jackfield.environments import Environments, EnvironmentSettings, Kept, Step

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def list_environments(as_json: AsJson = False) -> None:
    """List the environments in the cache, what was used last first."""
    with _environments() as environments:
        kept = environments.list()
    if as_json:
        write_json(list(map(_row, kept)))
        return
    for line in columns([_cells(one) for one in kept]) if kept else ():
        typer.echo(line)
    total = sum(one.size for one in kept)
    say(f"{counted(len(kept), 'environment')}, {_shown(total)}")


def build(
    requirement: Annotated[str, typer.Argument(help="As pip has it: demo-ocr==2.0.", metavar="REQUIREMENT")],
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", help="A further distribution that is to be there; may be repeated.", metavar="REQ"),
    ] = None,
    find_links: Annotated[
        list[str] | None,
        typer.Option(help="A folder or page with wheels, beside the index; may be repeated.", metavar="PLACE"),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no index.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="A configuration file whose [environments] holds here as well.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Resolve a requirement anew, and build its environment unless it is there.

    Nothing of it is imported or run; a source distribution, where `build` of [environments] is true, inside a sandbox.
    """
    import attrs

    known = _settings(config)
    settings = attrs.evolve(
        known, find_links=(*known.find_links, *(find_links or ())), offline=offline or known.offline
    )
    with _environments(settings) as environments, _shown_progress() as progress:
        built = environments.get(requirement, with_=with_ or (), refresh=True, progress=progress)
    if as_json:
        write_json(
            {
                "address": built.address,
                "requirement": built.requirement,
                "with": built.further,
                "folder": str(built.folder),
                "python": str(built.python),
                "paths": list(map(str, built.paths)),
                "distributions": [f"{one.name}=={one.version}" for one in built.distributions],
                "size": built.size,
                "lock": built.lock,
            }
        )
        return
    typer.echo(f"{styled(built.address, 'head')} {built.requirement}, {_shown(built.size)} in {built.folder}")
    for one in built.distributions:
        typer.echo(f"  {one.name} {one.version}")


def remove(
    address: Annotated[
        str, typer.Argument(help="Its address, or as many of its first characters as no other has.", metavar="ADDRESS")
    ],
    as_json: AsJson = False,
) -> None:
    """Remove an environment; not one that a live process uses."""
    with _environments() as environments:
        gone = environments.remove(address)
    _gone((gone,), as_json)


def collect(
    size: Annotated[
        str, typer.Option(help="What may stay, as in 512MiB; 0: only what is in use.", metavar="SIZE")
    ] = "4GiB",
    as_json: AsJson = False,
) -> None:
    """Remove what was used least recently, until the cache is small enough; never what a live process uses."""
    from jackfield.environments import bytes_of

    try:
        limit = bytes_of(size)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with _environments() as environments:
        gone = environments.collect(limit)
    _gone(gone, as_json)


def _settings(config: Path | None) -> "EnvironmentSettings":
    """Give what a configuration file says of environments; what is wrong with it ends this with exit code 1."""
    from jackfield.environments import EnvironmentSettings
    from jackfield.errors import ConfigError

    if config is None:
        return EnvironmentSettings()
    from jackfield.config import load_config

    try:
        said = load_config(config).environments
    except ConfigError as error:
        fail(str(error))
    return EnvironmentSettings(said.find_links, said.offline, said.build, said.size_in_bytes)


@contextmanager
def _environments(settings: "EnvironmentSettings | None" = None) -> "Iterator[Environments]":
    from jackfield.environments import Environments
    from jackfield.errors import PluginError

    try:
        with Environments(settings) as environments:
            yield environments
    except PluginError as error:
        # Of `build` it is about a plugin; of the others about an environment.
        fail(str(error) if settings is not None else f"{error.reason} → {error.fix}", keep="")


@contextmanager
def _shown_progress() -> "Iterator[Callable[[Step], None]]":
    """Show the steps as a bar on a terminal, else as lines on stderr."""
    import sys

    if not sys.stderr.isatty():
        yield lambda step: say(f"{step.phase}: {step.text}")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from jackfield.text import printable

    console = Console(stderr=True)
    look = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*look, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(step: "Step") -> None:
            text = escape(printable(f"{step.requirement}: {step.phase} {step.text}"))
            bar.update(task, description=text, completed=step.done, total=step.total)

        yield show


def _gone(gone: "tuple[Kept, ...]", as_json: bool) -> None:
    if as_json:
        write_json(list(map(_row, gone)))
        return
    for one in gone:
        typer.echo(f"{styled('removed', 'good')} {one.address} {one.requirement}")
    say(f"{counted(len(gone), 'environment')} removed, {_shown(sum(one.size for one in gone))}")


def _row(one: "Kept") -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "address": one.address,
        "requirement": one.requirement,
        "with": one.further,
        "distributions": one.distributions,
        "size": one.size,
        "used": datetime.fromtimestamp(one.used, UTC).isoformat(timespec="seconds"),
        "in_use": one.in_use,
    }


def _cells(one: "Kept") -> tuple[str, ...]:
    row = _row(one)
    what = " + ".join((one.requirement, *one.further))
    return one.address, what, _shown(one.size), "in use" if one.in_use else row["used"].replace("+00:00", "Z")


def _shown(size: int) -> str:
    """Render a size.

    Examples:
        >>> _shown(512), _shown(7_734_723)
        ('512 B', '7.4 MiB')
    """
    number, unit = float(size), "B"
    for bigger in ("KiB", "MiB", "GiB"):
        if number < 1024:  # noqa: PLR2004  # the factor of these units
            break
        number, unit = number / 1024, bigger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
