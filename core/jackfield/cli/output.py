"""What every verb writes with: results on stdout, everything else on stderr."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

import typer

from jackfield.cli.streams import results

if TYPE_CHECKING:
    from jackfield.errors import Fault

_COLOURS = {"bad": "red", "good": "green", "odd": "yellow", "quiet": "bright_black", "head": "bright_blue"}


def styled(text: str, role: str) -> str:
    """Colour a text by its role; typer takes colours off again where the stream is no terminal.

    Args:
        text: what to show.
        role: `bad`, `good`, `odd`, `quiet` or `head`.
    """
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=_COLOURS[role])


def say(text: str) -> None:
    """Write a line that is no result to stderr; when that is gone, nobody is left to be told."""
    with suppress(OSError):
        typer.echo(text, err=True)


def fail(text: str) -> NoReturn:
    """Say what went wrong and end with exit code 1.

    Raises:
        typer.Exit: always.
    """
    say(f"{styled('error:', 'bad')} {printable(text, keep=NEWLINE)}")
    raise typer.Exit(1)


NEWLINE = "\n"


def printable(text: str, keep: str = "") -> str:
    r"""Escape what would do something to a terminal: plugins choose the texts of their errors.

    Args:
        text: any text.
        keep: characters that stay as they are.

    Examples:
        >>> printable("Grüße\x1b[31m")
        'Grüße\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in text
    )


def write_json(value: Any) -> None:
    """Write a value to stdout as JSON: indented on a terminal, else in one line."""
    from jackfield.wire.documents import shown_json

    text = shown_json(value)
    typer.echo(indented(text) if sys.stdout.isatty() else text)


def indented(document: bytes) -> bytes:
    """Lay a JSON document out for reading."""
    import msgspec

    try:
        return msgspec.json.format(document, indent=2)
    except msgspec.DecodeError:  # a lone surrogate, which it takes for no JSON
        import json

        return json.dumps(json.loads(document), indent=2).encode()


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Align rows of cells without colours; the last cell is as long as it likes.

    Examples:
        >>> list(columns([("a", "one"), ("bcd", "two")]))
        ['a    one', 'bcd  two']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show_faults(faults: Iterable["Fault"]) -> None:
    """Write faults to stdout, each with its fix on a line of its own."""
    for fault in faults:
        where = fault.entry or fault.plugin
        whose = f" [{fault.plugin}]" if fault.plugin and fault.plugin != where else ""
        typer.echo(f"{styled('✗', 'bad')} {where}{whose}: {fault.stage}: {fault.reason}")
        if fault.fix:
            typer.echo(f"    fix: {fault.fix}")


def counted(number: int, noun: str) -> str:
    """Render a count with its noun.

    Examples:
        >>> counted(1, "fault"), counted(1200, "fault")
        ('1 fault', '1,200 faults')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def claim_stdout() -> BinaryIO:
    """Take stdout for results alone: whatever plugins print from now on, from C or Python, goes to stderr.

    Returns:
        The stream for results. Where stdout is no real file (a test's), nothing is moved.
    """
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return sys.stdout.buffer
    mine = results(os.dup(descriptor))
    with suppress(OSError, ValueError):  # stderr may be closed: then what plugins print goes nowhere better
        os.dup2(sys.stderr.fileno(), descriptor)
    sys.stdout = sys.stderr
    return cast(BinaryIO, mine)


def abandon(stream: BinaryIO) -> None:
    """Point a stream whose reader has gone away to nowhere, so that nothing complains when it is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
