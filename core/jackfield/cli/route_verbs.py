"""`pluginctl route`, `canary`, `upgrade` and `rollback`: which version the running host calls."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jackfield.cli.output import columns, say, styled, write_json
from jackfield.cli.running import QUICK, AsJson, Control, Plugin, ask, builds_shown
from jackfield.cli.taken import number, whole


def route(
    name: Annotated[str, typer.Argument(help="A function, or a pattern with * and ?.", metavar="NAME")] = "*",
    default: Annotated[
        str | None, typer.Option(help="Make this version the one that is called by default.", metavar="VERSION")
    ] = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show which versions of functions the running host has, or choose the default one."""
    if default is None:
        found = ask(control, "routes", within=QUICK, pattern=name)
    else:
        found = [ask(control, "reroute", within=QUICK, name=name, default=default)]
    if as_json:
        write_json(found)
        return
    rows = [_row(each, version) for each in found for version in each["versions"]]
    for line in columns([("FUNCTION", "VERSION", "PLUGIN", "CALLS", "GETS"), *rows]) if rows else ():
        typer.echo(line)
    if not rows:
        say("the host has no functions" if name == "*" else f"nothing matches {name!r}")


def canary(
    name: Annotated[
        str | None, typer.Argument(help="A function or plugin; without it, the canaries are listed.", metavar="NAME")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Begin: the version to try.", metavar="V")] = None,
    share: Annotated[
        float | None,
        typer.Option(
            parser=number(), help="Begin: the part of the tenants that go there, 0.0 to 1.0; 20 % is 0.2.", metavar="X"
        ),
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="Begin: a tenant that goes there; may be repeated.", metavar="T")
    ] = None,
    analyse: Annotated[
        bool,
        typer.Option("--analyse", help="Begin: compare the versions, promote in steps, abort when the trial is worse."),
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Begin: only tenants with this label, or --share of them; may be repeated.", metavar="K=V"),
    ] = None,
    ramp: Annotated[float | None, typer.Option(parser=number(), help="Change the share.", metavar="X")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make the version the default, and end.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Send everybody back to the default, and end.")] = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Try a version on a share of the calls, or on some tenants, of the running host."""
    if sum((version is not None, ramp is not None, promote, abort)) > 1:
        raise typer.BadParameter("give one of --version, --ramp, --promote and --abort")
    if version is None and (share is not None or tenant or label or analyse):
        raise typer.BadParameter("--share, --tenant, --label and --analyse go with --version")
    if version is not None and share is None and not tenant and not label and not analyse:
        raise typer.BadParameter("say who is to try it: --share, --tenant, --label or --analyse")
    if version is not None:
        part = None if share is None else _part(share, "--share")
        given: dict[str, Any] = {"version": version, "share": part, "tenants": tenant or [], "labels": _labels(label)}
        found = _change(control, "start", name, **given, analysis={} if analyse else None)
    elif ramp is not None:
        found = _change(control, "ramp", name, share=_part(ramp, "--ramp"))
    elif promote or abort:
        found = _change(control, "promote" if promote else "abort", name)
    else:
        found = [each for each in ask(control, "canary_list", within=QUICK) if name in {None, each["name"]}]
    if as_json:
        write_json(found)
        return
    for each in found:
        typer.echo(canary_line(each))
    if not found:
        say("no canary is under way")


def upgrade(
    plugin: Plugin,
    requirement: Annotated[
        str, typer.Argument(help="The distribution and its version, as demo-ocr==2.1.", metavar="REQUIREMENT")
    ],
    share: Annotated[
        float | None,
        typer.Option(
            parser=number(), help="The part of the tenants that try it first, 0.0 to 1.0; 20 % is 0.2.", metavar="X"
        ),
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="A tenant that tries it first; may be repeated.", metavar="T")
    ] = None,
    analyse: Annotated[
        bool, typer.Option("--analyse", help="Compare the versions, promote in steps, abort when the new one is worse.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only tenants with this label try it first; may be repeated.", metavar="K=V"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Take it although it is not compatible.")] = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Replace a plugin in workers by another version of its distribution, without losing a call.

    The new version starts beside the running one, and gets its state. It is refused when it is not compatible, or asks
    for more than it is allowed. Without --share, --tenant, --label and --analyse the calls move at once; with one of
    them it is a canary: `pluginctl canary PLUGIN --promote` ends the old version, `--abort` the new one.
    """
    part = None if share is None else _part(share, "--share")
    given: dict[str, Any] = {"share": part, "tenants": tenant or [], "labels": _labels(label), "force": force}
    with builds_shown(control):
        done = ask(control, "upgrade", name=plugin, requirement=requirement, **given, analysis={} if analyse else None)
    if as_json:
        write_json(done)
    else:
        typer.echo(canary_line(done))


def rollback(
    revision: Annotated[int, typer.Argument(parser=whole(0), help="One of the last 16.", metavar="REVISION")],
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Bring back the functions that the running host had at an earlier revision.

    It makes a new revision; calls move, the state of plugins does not. `pluginctl dump-state` lists the revisions.
    """
    done = ask(control, "rollback", within=QUICK, revision=revision)
    if as_json:
        write_json(done)
    else:
        typer.echo(f"revision {styled(str(done['revision']), 'good')} has the functions of revision {revision}")


def canary_line(shown: dict[str, Any]) -> str:
    """Render one canary as a line."""
    role = {"running": "odd", "promoted": "good", "aborted": "bad"}[shown["state"]]
    labels = " and ".join(f"{key}={value}" for key, value in shown.get("labels", {}).items())
    tenants = f" of {labels}" if labels else ""
    tenants += f" and {', '.join(shown['tenants'])}" if shown["tenants"] else ""
    reason = f": {shown['reason']}" if shown["reason"] else ""
    trial = f"{shown['name']}: {shown['version']} beside {shown['stable']}"
    return f"{trial}, {shown['share']:.0%}{tenants}: {styled(shown['state'], role)}{reason}"


def _change(control: Path | None, what: str, name: str | None, **arguments: Any) -> list[dict[str, Any]]:
    if name is None:
        raise typer.BadParameter("say of which function or plugin: NAME")
    return [ask(control, f"canary_{what}", within=QUICK, name=name, **arguments)]


def _labels(given: list[str] | None) -> dict[str, str]:
    """Read labels as `tier=beta`."""
    found = {}
    for each in given or ():
        key, sign, value = each.partition("=")
        if not key or not sign:
            raise typer.BadParameter(f"--label {each}: write it as in --label tier=beta")
        found[key] = value
    return found


def _part(share: float, option: str) -> float:
    if not 0.0 <= share <= 1.0:
        raise typer.BadParameter(f"{option} {share:g}: a share is a part of 1, from 0.0 to 1.0; 20 % is 0.2")
    return share


def _row(shown: dict[str, Any], version: dict[str, Any]) -> tuple[str, ...]:
    gets = []
    if version["version"] == shown["default"]:
        gets.append("default")
    if (split := shown["split"]) is not None:
        gets += [f"{part:.0%}" for name, part in split["shares"].items() if name == version["version"]]
        gets += [tenant for tenant, name in split["tenants"].items() if name == version["version"]]
    return shown["name"], version["version"], version["plugin"] or "-", str(version["calls"]), ", ".join(gets) or "-"
