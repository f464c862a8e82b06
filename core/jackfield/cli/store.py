"""`pluginctl store check`, `compact` and `backup`: the file of a store that lasts, while hosts use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli.output import fail, say, styled, write_json

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
File = Annotated[Path, typer.Argument(help="The store's file, or the configuration that names it.", metavar="FILE")]


def check(file: File, as_json: AsJson = False) -> None:
    """Look through the whole file of a store, and say what is in it.

    Nothing is changed, and hosts go on. Exit code 1 when it is damaged.
    """
    from jackfield.store import maintenance

    with _told():
        found = maintenance.check(_store(file))
    if as_json:
        write_json(
            {
                "file": str(found.path),
                "size": found.size,
                "entries": found.entries,
                "revision": found.revision,
                "leases": found.leases,
                "wrong": found.wrong,
            }
        )
    else:
        for each in found.wrong:
            say(f"{styled('fault', 'bad')} {each}")
        state = "damaged" if found.wrong else "sound"
        typer.echo(
            f"{found.path}: {state}, {found.entries:,} entries at revision {found.revision:,}, {_shown(found.size)}"
        )
    if found.wrong:
        raise typer.Exit(1)


def compact(file: File, as_json: AsJson = False) -> None:
    """Give room that nothing takes any more back to the disk.

    Hosts may use the store; their writes wait meanwhile.
    """
    from jackfield.store import maintenance

    path = _store(file)
    with _told():
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

    The copy is one file, for its user alone, and there as a whole or not at all.
    """
    from jackfield.store import maintenance

    path = _store(file)
    with _told(), _progress() as progress:
        size = maintenance.backup(path, target, force=force, progress=progress)
    if as_json:
        write_json({"file": str(path), "copy": str(target), "size": size})
    else:
        typer.echo(f"{target}: {_shown(size)}")


def _store(file: Path) -> Path:
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
def _told() -> Iterator[None]:
    from jackfield.errors import StoreUnusable, Unavailable

    try:
        yield
    except FileExistsError as error:
        fail(f"{error}: name another (--force replaces what nobody uses)", keep="")
    except (OSError, StoreUnusable, Unavailable) as error:
        fail(str(error), keep="")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show how far a copy is, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("copying", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _shown(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
