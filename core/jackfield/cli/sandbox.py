"""`pluginctl sandbox`."""

from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.output import columns, styled, write_json

if TYPE_CHECKING:
    from jackfield.sandbox.overview import Overview


def sandbox(
    runtime: Annotated[
        str | None, typer.Option("--oci", help="The OCI runtime to try, by name or path.", metavar="RUNTIME")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Show what can keep plugins apart here.

    Starts a guest of each tier, and shows what is missing and how to get it.
    """
    from jackfield.sandbox.overview import look

    found = look(runtime)
    if as_json:
        write_json(found.plain())
    else:
        _show(found)
    if not any(tier.available for tier in found.tiers):
        raise typer.Exit(1)


def _show(found: "Overview") -> None:
    from jackfield.text import printable

    width = max(len(tier.tier) for tier in found.tiers)
    for tier in found.tiers:
        mark, said = ("✓", "good") if tier.available else ("✗", "bad")
        word = (
            f"a guest has started and is confined, in {tier.seconds * 1000:.0f} ms" if tier.available else tier.reason
        )
        typer.echo(f"{styled(mark, said)} {tier.tier.ljust(width)}  {printable(word)}".rstrip())
        for note in tier.notes:
            typer.echo(f"    {styled('note', 'odd')}: {note}")
    groups = found.cgroups
    fields = [
        ("landlock", f"version {found.landlock}" if found.landlock else "none"),
        ("seccomp", found.seccomp or "filters can be made"),
        ("cgroups", f"version {groups.version}: {', '.join(groups.homes) or 'none can be made'}"),
        *((f"  {name}", why) for name, why in groups.missing.items()),
        (
            "selinux",
            found.selinux.reason or f"{found.selinux.label}{'' if found.selinux.enforcing else ' (permissive)'}",
        ),
        ("idle", "low priority is SCHED_IDLE" if found.idle else "this system has no SCHED_IDLE"),
    ]
    for line in columns(fields):
        typer.echo(line)
    for note in found.notes:
        typer.echo(f"{styled('note', 'odd')}: {note}")
