"""`pluginctl flow run`, `show` and `graph`: the flows of a configuration file, or of the running host."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import typer

from jackfield.cli.flows import flows_of
from jackfield.cli.graph import Style
from jackfield.cli.output import claim_stdout, columns, fail, indented, say, styled, write_json
from jackfield.cli.running import QUICK, AsJson, Control, ask
from jackfield.cli.taken import number, word
from jackfield.text import printable, printable_json

if TYPE_CHECKING:
    from jackfield.errors import JackfieldError
    from jackfield.flow.watching import StepReport
    from jackfield.host import Host
    from jackfield.model.flow import Flow

Name: TypeAlias = Annotated[str, typer.Argument(help="The flow.", metavar="NAME")]
Config: TypeAlias = Annotated[
    str, typer.Option(help="The configuration file that has the flow.", metavar="FILE", show_default=True)
]
Version: TypeAlias = Annotated[str | None, typer.Option(help="The version; by default the first.", metavar="V")]
Running: TypeAlias = Annotated[bool, typer.Option("--running", help="Of the running host, not of a file.")]

_FILE = "jackfield.toml"
_ROLES = {"ok": "good", "failed": "bad", "cancelled": "odd", "left out": "odd"}


def run(
    name: Name,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="What it is called with, or - to read it as JSON from stdin.", metavar="[K=V]... | -"),
    ] = None,
    payload: Annotated[str | None, typer.Option(help="What it is called with, as JSON.", metavar="JSON")] = None,
    config: Config = _FILE,
    timeout: Annotated[
        float | None, typer.Option(parser=number(0), help="Seconds that it may take.", metavar="S")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whom the call is for.", metavar="T")] = None,
    version: Version = None,
    graph_file: Annotated[
        Path | None,
        typer.Option(
            "--graph", help="Draw the run, its states in colours: DOT to *.dot, else Mermaid.", metavar="FILE"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object: the result, and each step.")] = False,
) -> None:
    """Run a flow of a configuration file in this process, and write its result as JSON.

    The plugins that the file declares are started, and stopped again. What became of each step goes to stderr. Exit
    code 1 when the flow failed. In the running host, `pluginctl call NAME --running` runs it.
    """
    from jackfield.cli.payload import BadInput
    from jackfield.errors import JackfieldError
    from jackfield.flow.watching import Watch, current_watch
    from jackfield.stack import show_messages_here

    flow = _picked(name, version, flows_of(config))
    out = claim_stdout()
    watch = Watch(flow)
    show_messages_here()
    from loguru import logger

    from jackfield.cli.apart import without_store
    from jackfield.config import load_config
    from jackfield.executors.places import BUILT_IN
    from jackfield.host import Host

    logger.disable("jackfield")
    try:
        host = Host.from_config(without_store(load_config(config, executors=BUILT_IN)), observers=())
        with host:
            given = _payload(host, name, arguments or [], payload)
            faults = [
                fault for fault in host.faults if fault.stage == "flow" and fault.entry.startswith(f"{flow.key} ")
            ]
            for fault in faults:
                say(f"{styled('fault', 'odd')} {printable(str(fault))}")
            current_watch.set(watch)
            try:
                result, error = _called(host, flow, given, timeout=timeout, tenant=tenant), None
            except JackfieldError as failed:
                result, error = None, failed
    except BadInput as bad:
        raise typer.BadParameter(str(bad)) from None
    except JackfieldError as refused:
        fail(str(refused))
    report = watch.report()
    if graph_file is not None:
        from jackfield.flow.drawing import draw

        _write(graph_file, draw(flow, "dot" if graph_file.suffix == ".dot" else "mermaid", report))
    _show_run(flow, result, error, report, out, as_json=as_json)


def show(
    name: Annotated[str | None, typer.Argument(help="The flow; without it all are listed.", metavar="[NAME]")] = None,
    config: Config = _FILE,
    version: Version = None,
    running: Running = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Show the flows of a configuration file, or the steps of one. Imports no plugin."""
    from jackfield.flow.shown import lines, path, plain

    found = _flows(config, running, control)
    if name is None:
        if as_json:
            write_json([plain(flow) for flow in found])
        elif found:
            for line in columns([(flow.key, path(flow)) for flow in found]):
                typer.echo(line)
        else:
            say("there are no flows")
        return
    flow = _picked(name, version, found)
    if as_json:
        write_json(plain(flow))
        return
    limit = f", {flow.timeout:g} s" if flow.timeout is not None else ""
    typer.echo(styled(printable(flow.key), "head") + f"  {printable(path(flow))}{limit}")
    for line in columns(lines(flow), "  "):
        typer.echo(line)


def graph(
    name: Name,
    style: Annotated[
        Style, typer.Option("--format", help="The language of the drawing.", **word(Style))
    ] = Style.MERMAID,
    config: Config = _FILE,
    version: Version = None,
    running: Running = False,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Draw the steps of a flow. Imports no plugin.

    `pluginctl flow run NAME --graph FILE` draws a run, with its states in colours.
    """
    from jackfield.flow.drawing import draw

    flow = _picked(name, version, _flows(config, running, control))
    drawing = draw(flow, "dot" if style is Style.DOT else "mermaid")
    if as_json:
        write_json({"flow": flow.name, "version": flow.version, "format": style.value, "drawing": drawing})
    else:
        typer.echo(drawing, nl=False)


def _flows(config: str, running: bool, control: Path | None) -> "list[Flow]":
    if not running and control is None:
        return flows_of(config)
    from jackfield.flow.shown import flow_from

    return [flow_from(one) for one in ask(control, "flows", within=QUICK)]


def _picked(name: str, version: str | None, found: "list[Flow]") -> "Flow":
    mine = [flow for flow in found if flow.name == name]
    if not mine:
        _unknown(name, list(dict.fromkeys(flow.name for flow in found)))
    fitting = [flow for flow in mine if version in (None, flow.version)]
    if not fitting:
        fail(f"the flow {name!r} has no version {version!r}; there are {', '.join(flow.version for flow in mine)}")
    return fitting[0]


def _unknown(name: str, known: list[str]) -> NoReturn:
    from jackfield.model.flow_faults import close

    hint = close(name, known) or "`pluginctl flow show` lists those there are"
    fail(f"there is no flow {name[:200]!r}; {hint}")


def _payload(host: "Host", name: str, arguments: list[str], document: str | None) -> Any:
    import sys

    from jackfield.cli.payload import BadInput, build, decode, pairs, read

    if bool(arguments) and document is not None:
        raise BadInput("give the payload once: as name=value, with --payload, or - for stdin")
    if arguments == ["-"]:
        return read(sys.stdin.buffer)
    if document is not None:
        return decode(document.encode("utf-8", "surrogateescape"))
    return build(host.describe(name), pairs(arguments))


def _called(host: "Host", flow: "Flow", given: Any, *, timeout: float | None, tenant: str | None) -> Any:
    import asyncio

    with asyncio.Runner() as runner:
        return runner.run(host.acall(flow.name, given, timeout=timeout, tenant=tenant, version=flow.version))


def _write(place: Path, text: str) -> None:
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{place}: {error.strerror}")


def _show_run(
    flow: "Flow",
    result: Any,
    error: "JackfieldError | None",
    report: "Mapping[str, StepReport]",
    out: Any,
    *,
    as_json: bool,
) -> None:
    import attrs

    from jackfield.flow.shown import lines
    from jackfield.wire.documents import show_json

    told = None if error is None else {"outcome": error.outcome.value, "message": str(error)}
    steps = {name: attrs.asdict(one) for name, one in report.items()}
    whole = {"flow": flow.name, "version": flow.version, "result": result, "error": told, "steps": steps}
    if not as_json:
        for row, line in zip(lines(flow, report), columns(lines(flow, report), "  "), strict=True):
            say(styled(line, _ROLES.get(report[row[0]].state.value, "quiet")))
    if as_json or error is None:
        document, missed = show_json(whole if as_json else result)
        if out.isatty():
            document = printable_json(indented(document).decode()).encode()
        out.write(document + b"\n")
        out.flush()
        for line in missed:
            say(f"{styled('not JSON:', 'odd')} {printable(line)}: shown as text")
    if error is not None:
        with suppress(AttributeError):  # notes say where a refusal was
            for note in error.__notes__:
                say(printable(note))
        if not as_json:
            fail(f"{error.outcome.value}: {error}", keep="")
        raise typer.Exit(1)
