"""`pluginctl state export` and `import`: what a store has of a host's work, as one portable document."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli.output import counted, fail, say, styled, write_json
from jackfield.cli.running import AsJson, Control, follow, told
from jackfield.cli.store import progress_shown
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.desired.portable import Line
    from jackfield.ports import Store

Config = Annotated[
    Path | None,
    typer.Option("--config", help="A stopped host's configuration: its store, in place of a host.", metavar="FILE"),
]
Url = Annotated[
    str | None, typer.Option("--store", help="The URL of a stopped host's store, as sqlite:FILE.", metavar="URL")
]
_BATCH = 4 * 1024 * 1024  # bytes of lines that are brought in at once
_SHOWN = 20  # conflicts that are told in lines


def export(
    target: Annotated[
        Path | None, typer.Option("--to", help="Write to this file; by default to stdout.", metavar="FILE")
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Take the secret along, of which the ids of keyed calls are made.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: Config = None,
    url: Url = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Write what is desired, the schedules and the submitted calls with their results as one document of JSON lines.

    From the running host; or, with --config or --store, from the store of one that is stopped. Exit code 1 when
    something could not be read, which is told, and is not in the document.
    """
    from jackfield.desired.portable import write_document

    if target is not None and target.exists() and not force:
        fail(f"{target} is there already: name another, or give --force", keep="")
    with progress_shown() as progress, _understood():
        lines = _lines(control, _url(config, url), secrets, progress)
        if target is None:
            header, left = write_document(lines, sys.stdout.buffer)
            sys.stdout.flush()
        else:
            with _whole(target) as file:
                header, left = write_document(lines, file)
    for each in left:
        say(f"{styled('not exported', 'bad')} {printable(f'{each.name}: {each.reason}')}")
    if target is not None and as_json:
        missing = [{"name": each.name, "reason": each.reason} for each in left]
        write_json({"file": str(target), "counts": header.counts, "digest": header.digest, "left": missing})
    elif target is not None:
        typer.echo(f"{printable(str(target))}: {_counts(header.counts)}")
    if left:
        raise typer.Exit(1)


def bring_in(
    source: Annotated[Path, typer.Argument(help="What `state export` has written.", metavar="FILE")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over what is there and is another; never over a call that runs.")
    ] = False,
    config: Config = None,
    url: Url = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Bring a document into a store: what is not there is written, what is there stays, and conflicts are told.

    Into that of the running host; or, with --config or --store, of one that is stopped. The whole document is looked
    through before anything is written. Exit code 1 when there are conflicts, or it was cut off; it may be run again.
    """
    from jackfield.desired.portable import StoreLine, check_document, lines_of, read_line

    found: list[dict[str, Any]] = []
    with _understood(source), source.open("rb") as file:
        total = sum(check_document(file).counts.values())
        first = read_line(next(lines_of(file), '{"record":"store"}'))
        hosts = list(first.hosts) if isinstance(first, StoreLine) else []
        try:
            with progress_shown() as progress, _bringing(control, _url(config, url, new=True)) as bring:
                for batch in _batches(lines_of(file)):
                    found += bring(batch, hosts, replace)
                    progress("importing", len(found), total)
        except (Exception, KeyboardInterrupt):
            say(f"{len(found):,} of {total:,} lines, and perhaps more, were brought in: it may be imported again")
            raise
    _tell(source, found, as_json=as_json)


def _tell(source: Path, found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    fates = Counter(each["fate"] for each in found)
    conflicts = [each for each in found if each["fate"] == "conflict"]
    moved = {each["name"]: each["id"] for each in found if each["id"]}
    if as_json:
        write_json({"file": str(source), **_FATES, **fates, "conflicts": conflicts, "moved": moved})
    else:
        for each in conflicts[:_SHOWN]:
            what = f"{each['record']} {each['name']}: {each['reason']}"
            say(f"{styled('conflict', 'bad')} {printable(what)}")
        if len(conflicts) > _SHOWN:
            say(f"and {len(conflicts) - _SHOWN:,} more; --json has them all")
        if moved:
            say(f"{counted(len(moved), 'call')} with a key have other ids here; --json has them")
        typer.echo(f"{printable(str(source))}: {_counts(fates)}")
    if conflicts:
        raise typer.Exit(1)


_FATES = {"written": 0, "same": 0, "replaced": 0, "conflict": 0}


def _counts(counts: "dict[str, int] | Counter[str]") -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "nothing"


# --- From a host, or from its store -----------------------------------------------------------------------------------


def _url(config: Path | None, url: str | None, *, new: bool = False) -> str | None:
    """Give the URL of a stopped host's store, made absolute; None for that of the running host."""
    from jackfield.errors import ConfigError
    from jackfield.store.looking import require_store

    if config is not None and url is not None:
        raise typer.BadParameter("name one of --config and --store")
    if config is not None:
        from jackfield.config import load_config

        try:
            url = load_config(config).store.url
        except ConfigError as error:
            fail(str(error))
    if url is None:
        return None
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        fail(f"the store {url} is gone with its process: ask the running host, without --config and --store", keep="")
    if scheme == "sqlite":
        path = Path(rest).absolute()
        if path.exists() or not new:
            require_store(path)
        url = f"sqlite:{path}"
    return url


def _lines(
    control: Path | None, url: str | None, secrets: bool, progress: Callable[[str, int, int], None]
) -> "Iterator[Line]":
    from jackfield.desired.portable import PARTS, read_line, taken_out

    if url is None:
        for item in follow(control, "state_export", secrets=secrets):
            progress("exporting", item["done"], item["of"])
            yield from map(read_line, item["lines"])
        return

    with _opened(url) as (store, run):

        async def part_of(part: str) -> "list[Line]":
            return [line async for line in taken_out(store, part, secrets=secrets)]

        for number, part in enumerate(PARTS, 1):
            yield from run(part_of(part))
            progress("exporting", number, len(PARTS))


@contextmanager
def _bringing(
    control: Path | None, url: str | None
) -> Iterator[Callable[[list[str], list[str], bool], list[dict[str, Any]]]]:
    import attrs

    from jackfield.control import ControlClient
    from jackfield.desired.importing import brought_in

    if url is None:
        client = ControlClient(control, None)
        yield lambda lines, hosts, replace: client.request("state_import", lines=lines, hosts=hosts, replace=replace)
        return
    with _opened(url) as (store, run):
        yield lambda lines, hosts, replace: [
            attrs.asdict(each) for each in run(brought_in(store, lines, hosts, replace=replace))
        ]


@contextmanager
def _opened(url: str) -> "Iterator[tuple[Store, Callable[[Coroutine[Any, Any, Any]], Any]]]":
    """Open a store on an event loop of its own."""
    import asyncio

    from jackfield.store.urls import store_of

    opening = store_of(url)
    assert opening is not None  # noqa: S101  # memory was refused
    with asyncio.Runner() as runner:
        store = opening()
        try:
            yield store, runner.run
        finally:
            runner.run(store.close())


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


@contextmanager
def _whole(target: Path) -> Iterator[Any]:
    """Write a file that is there as a whole or not at all, for its user alone, and on the disk at the end."""
    from jackfield.store.maintenance import sync

    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
        sync(target.absolute().parent)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


@contextmanager
def _understood(source: Path | None = None) -> Iterator[None]:
    """Say in a line what went wrong."""
    from jackfield.errors import JackfieldError

    try:
        yield
    except JackfieldError as error:
        fail(told(error))
    except (OSError, ValueError, LookupError) as error:
        fail(f"{source}: {error}" if source is not None and not isinstance(error, OSError) else str(error), keep="")
