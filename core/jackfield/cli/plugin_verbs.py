"""`pluginctl start`, `stop`, `restart`, `reload` and `unload`: a plugin of the running host."""

from typing import Annotated, Any

import typer

from jackfield.cli.output import counted, say, styled, write_json
from jackfield.cli.running import AsJson, Control, Plugin, ask
from jackfield.cli.taken import number


def start(plugin: Plugin, control: Control = None, as_json: AsJson = False) -> None:
    """Start a plugin of the running host, after those that it depends on."""
    _record(ask(control, "start", plugin=plugin), as_json)


def stop(plugin: Plugin, control: Control = None, as_json: AsJson = False) -> None:
    """Stop a plugin of the running host, after those that depend on it.

    Its functions go first; calls that are inside finish.
    """
    _record(ask(control, "stop", plugin=plugin), as_json)


def restart(plugin: Plugin, control: Control = None, as_json: AsJson = False) -> None:
    """Stop a plugin of the running host and what depends on it, then start them again."""
    _record(ask(control, "restart", plugin=plugin), as_json)


def reload(
    plugin: Plugin,
    keep_warm: Annotated[
        float, typer.Option(parser=number(0), help="Seconds that the old version idles before it stops.", metavar="S")
    ] = 0.0,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Replace a plugin by what its file or folder holds now, without losing a call.

    The state of the old version is handed to the new one. When the new one fails, the old one serves on. Within
    `--keep-warm`, `pluginctl rollback` finds the old version at work.
    """
    report = ask(control, "reload", plugin=plugin, keep_warm=keep_warm)
    if as_json:
        write_json(report)
    elif report["old"] == report["new"]:
        typer.echo(f"{plugin}: {report['old']} has not changed")
    else:
        state = ", state handed over" if report["state_handed"] else ""
        typer.echo(f"{plugin}: {report['old']} → {styled(report['new'], 'good')}{state}")
    if not as_json:
        if report["left"]:
            say(f"calls that have not ended in the old version: {', '.join(report['left'])}")
        _faults(report["faults"])
    if report["faults"]:
        raise typer.Exit(1)


def unload(plugin: Plugin, control: Control = None, as_json: AsJson = False) -> None:
    """Stop a plugin of the running host, and release everything that it holds.

    Exit code 1 when something could not be released, or is still there.
    """
    report = ask(control, "unload", plugin=plugin)
    if as_json:
        write_json(report)
    else:
        released = ", ".join(f"{number} {kind}" for kind, number in sorted(report["released"].items())) or "nothing"
        typer.echo(f"{plugin}: {styled('unloaded', 'good')}; released {released}")
        _faults(report["failed"])
        for survivor in report["survivors"]:
            held = f", held by {', '.join(survivor['held_by'])}" if survivor["held_by"] else ""
            typer.echo(f"{styled('still there:', 'odd')} {survivor['kind']} {survivor['label']}{held}")
    if not report["clean"]:
        raise typer.Exit(1)


def _record(record: dict[str, Any], as_json: bool) -> None:
    """Show what became of a plugin; whatever is wrong with it is a failure."""
    if as_json:
        write_json(record)
    else:
        functions = f", {counted(len(record['functions']), 'function')}" if record["functions"] else ""
        role = "bad" if record["fault"] else "good"
        typer.echo(f"{record['name']} {record['version']}: {styled(record['state'], role)}{functions}")
        _faults([record["fault"]] if record["fault"] else [])
    if record["fault"]:
        raise typer.Exit(1)


def _faults(rows: list[dict[str, Any]]) -> None:
    if rows:
        from jackfield.cli.output import show_faults
        from jackfield.errors import Fault

        show_faults(Fault(**row) for row in rows)
