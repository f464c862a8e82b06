"""`pluginctl trace`: whole calls of the running host that went wrong or were slow, as trees."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from jackfield.cli.output import counted, say, styled, write_json
from jackfield.cli.running import QUICK, AsJson, Control, ask
from jackfield.text import printable

_ROLES = {"ok": "good", "rejected": "odd", "cancelled": "odd"}


def trace(
    plugin: Annotated[
        str | None, typer.Option(help="Only with a call of this plugin, or of this function.", metavar="P")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only for this tenant.", metavar="T")] = None,
    identifier: Annotated[
        str | None,
        typer.Option("--id", help="Only of this trace, or of this call: the beginning is enough.", metavar="ID"),
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only those in which a call did not go well.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="Only the slowest, the slowest first.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000, metavar="N")] = 20,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show whole calls that went wrong lately, and the slowest, sampled or not: from the door down to nested calls.

    The latest come first. They are in the host's memory: the last hundred of each outcome but ok, and of each function
    the three slowest of these five minutes and of those before.
    """
    found = ask(
        control, "trace", within=QUICK, plugin=plugin, tenant=tenant, identifier=identifier, errors=errors, slow=slow,
        limit=limit,
    )  # fmt: skip
    if as_json:
        write_json(found)
        return
    for number, each in enumerate(found):
        typer.echo("\n".join([*([""] if number else ()), *_lines(each)]))
    if not found:
        say("no such call is kept")


def _lines(kept: dict[str, Any]) -> Iterator[str]:
    """Render a call as a tree."""
    tenant = f"  tenant {kept['tenant']}" if kept["tenant"] else ""
    ids = f"trace {kept['trace_id']}" if kept["trace_id"] else f"call {kept['id']}"
    yield styled(printable(f"{kept['at']}  {ids}{tenant}"), "quiet")
    yield from _node(kept["tree"], "", "")


def _node(node: dict[str, Any], head: str, rest: str) -> Iterator[str]:
    yield head + _label(node)
    below = list(node.get("below", ()))
    if node.get("lost"):
        below.append({"kind": "", "name": f"and {counted(node['lost'], 'more call')}"})
    for number, each in enumerate(below, 1):
        last = number == len(below)
        yield from _node(each, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))


def _label(node: dict[str, Any]) -> str:
    kind = node["kind"]
    version = f"@{node['version']}" if node.get("version") else ""
    words = [printable(f"{'' if kind in ('call', '') else f'{kind} '}{node['name']}{version}")]
    if "ms" in node:
        words.append(f"{node['ms']:,.2f} ms")
    if "outcome" in node:
        error = f": {node['error_type']}" if node.get("error_type") else ""
        words.append(styled(f"{node['outcome']}{error}", _ROLES.get(node["outcome"], "bad")))
    words += [printable(f"{key} {node[key]}") for key in ("executor", "attempt", "rule") if node.get(key)]
    return "  ".join(words)
