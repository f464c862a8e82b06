"""`pluginctl store check`, `compact` and `backup`: the file of a store that lasts, while hosts use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.output import counted, fail, say, styled, write_json
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.store.maintenance import Progress

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
File = Annotated[Path, typer.Argument(help="The store's file, or the configuration that names it.", metavar="FILE")]


def check(file: File, as_json: AsJson = False) -> None:
    """Look through the whole file of a store, and say what is in it and what is wrong.

    Nothing is made or changed, and hosts go on. Exit code 1 when anything is wrong: a damaged page, another program's
    file or a newer jackfield's, permissions, a network file system.
    """
    from jackfield.store.looking import look

    found = look(store_file(file))
    if as_json:
        write_json(
            {
                "file": str(found.path),
                "size": found.size,
                "version": found.version,
                "entries": found.entries,
                "revision": found.revision,
                "leases": found.leases,
                "wrong": [
                    {"kind": each.kind, "file": str(each.file), "place": each.place, "what": each.what, "fix": each.fix}
                    for each in found.wrong
                ],
            }
        )
    else:
        for each in found.wrong:
            where = f"{each.file}, {each.place}" if each.place else str(each.file)
            say(f"{styled('fault', 'bad')} {printable(f'{where}: {each.what}')}")
            say(f"    fix: {printable(each.fix)}")
        held = "" if found.entries is None else f", {found.entries:,} entries at revision {found.revision:,}"
        state = f"{counted(len(found.wrong), 'fault')}" if found.wrong else "sound"
        typer.echo(printable(f"{found.path}: {state}{held}, {_shown(found.size)}"))
    if found.wrong:
        raise typer.Exit(1)


def compact(file: File, as_json: AsJson = False) -> None:
    """Give room that nothing takes any more back to the disk.

    Hosts may use the store; their writes wait meanwhile.
    """
    from jackfield.store import maintenance

    path = store_file(file)
    with told():
        before, after = maintenance.compact(path)
    if as_json:
        write_json({"file": str(path), "before": before, "after": after})
    else:
        typer.echo(f"{path}: {_shown(after)}, and was {_shown(before)}")


def backup(
    file: File,
    target: Annotated[Path, typer.Argument(help="The copy.", metavar="TARGET")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a store as it is at one moment, while hosts go on.

    The copy is one file, for its user alone, and there as a whole or not at all; it is on the disk when this has ended.
    """
    from jackfield.store import maintenance

    path = store_file(file)
    with told(), progress_shown() as progress:
        size = maintenance.backup(path, target, force=force, progress=progress)
    if as_json:
        write_json({"file": str(path), "copy": str(target), "size": size})
    else:
        typer.echo(f"{target}: {_shown(size)}")


def store_file(file: Path) -> Path:
    """Give the file of a store: the one that is named, or that of a configuration."""
    if file.suffix != ".toml":
        return file.absolute()
    from jackfield.config import load_config
    from jackfield.errors import ConfigError

    try:
        url = load_config(file).store.url
    except ConfigError as error:
        fail(str(error))
    scheme, _, path = url.partition(":")
    if scheme != "sqlite":
        fail(f'{file} has no store in a file: its [store] says url = "{url}"', keep="")
    return Path(path)


@contextmanager
def told() -> Iterator[None]:
    """Say in a line what went wrong."""
    from jackfield.errors import StoreUnusable, Unavailable

    try:
        yield
    except FileExistsError as error:
        fail(f"{error}: name another (--force replaces what nobody uses)", keep="")
    except (OSError, StoreUnusable, Unavailable) as error:
        fail(str(error), keep="")


@contextmanager
def progress_shown() -> "Iterator[Progress]":
    """Show how far it is, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, total: shown.update(task, description=what, completed=done, total=total or None)


def _shown(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
