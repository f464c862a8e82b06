"""`pluginctl apply` and `diff`: the running host, and what a configuration file says."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli.output import columns, say, styled, write_json
from jackfield.cli.running import AsJson, Control, ask, builds_shown
from jackfield.text import printable

if TYPE_CHECKING:
    from jackfield.desired.plan import Plan

DIFFERENT = 3
"""The exit code of `diff` when something differs: neither of those for what failed (1) and wrong usage (2)."""

_ROLES = {"+": "good", "-": "bad", "~": "odd", "!": "bad"}


def apply(
    file: Annotated[Path, typer.Argument(help="The configuration file.", metavar="FILE")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Where the file and somebody else changed the same field, take the file's.")
    ] = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Bring the running host to what a configuration file says.

    Only what differs is touched, and what was changed by hand elsewhere stays. The host's process reads the file, and
    what you see there must be the same. Exit code 1 when a step failed, or a conflict kept it from beginning.
    """
    found = _asked(control, "apply", file, dry_run=dry_run, force=force)
    _show(found, as_json)
    if not found.ok:
        raise typer.Exit(1)


def diff(
    file: Annotated[
        Path | None, typer.Argument(help="The configuration file; by default the last applied one.", metavar="[FILE]")
    ] = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between the running host and a configuration file; nothing is changed.

    Exit code 0 when nothing differs, 3 when something does: a step that an apply would take, a conflict, a field that
    was changed by hand, or what only a restart brings.
    """
    found = _asked(control, "diff", file)
    _show(found, as_json)
    if found.differs:
        raise typer.Exit(DIFFERENT)


def history(control: Control = None, as_json: AsJson = False) -> None:
    """List what has changed of what the running host is to be.

    Each line is a revision: a file that was applied, or what a verb has written; by whom, and when. `undo` goes back to
    one. They are kept in a store that lasts.
    """
    found = ask(control, "history")
    if as_json:
        write_json(found)
        return
    rows = [(f"d{each['number']}", _when(each["at"]), each["by"], each["verb"], each["what"]) for each in found]
    for line in columns(rows):
        typer.echo(printable(line))
    if not found:
        say('nothing is kept: a store that lasts is [store] with url = "sqlite:jackfield.db"')


def undo(
    revision: Annotated[str, typer.Argument(help="The revision, as `history` lists it.", metavar="REVISION")],
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Bring the running host back to what was desired at an earlier revision.

    That is a new revision itself, so it can be undone, too. Exit code 1 when a step failed.
    """
    from jackfield.desired.plan import plan_of

    number = revision.removeprefix("d")
    if not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"a revision is a number, as in d41, not {revision!r}: `pluginctl history` lists them")
    found = plan_of(ask(control, "undo", revision=int(number)))
    _show(found, as_json)
    if not found.ok:
        raise typer.Exit(1)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")


def _asked(control: Path | None, verb: str, file: Path | None, **arguments: Any) -> "Plan":
    from jackfield.config.files import whole
    from jackfield.desired.plan import plan_of

    if file is not None:
        arguments["path"] = whole(str(file))
        arguments["digest"] = _digest(file)
    with builds_shown(control):
        return plan_of(ask(control, verb, **arguments))


def _digest(file: Path) -> str | None:
    """Give the digest of what is seen here; None when only the host may read it, which then says what is wrong."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    except OSError:
        return None


def _show(plan: "Plan", as_json: bool) -> None:
    if as_json:
        write_json(plan.plain())
        return
    for line in str(plan).splitlines():
        sign = line.lstrip()[:1]
        shown = printable(line)
        typer.echo(shown.replace(sign, styled(sign, _ROLES[sign]), 1) if sign in _ROLES else shown)
