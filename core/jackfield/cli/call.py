"""`pluginctl call`."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from jackfield.cli import remote
from jackfield.cli.entries import complete_function, misspelt_file
from jackfield.cli.output import abandon, claim_stdout, fail, indented, say, styled
from jackfield.cli.running import Control, told
from jackfield.cli.streams import OutputLost
from jackfield.cli.taken import number, whole
from jackfield.text import printable, printable_json

if TYPE_CHECKING:
    from jackfield.errors import JackfieldError
    from jackfield.host import Host
    from jackfield.model.spec import FunctionSpec

_MISSED: Final = 10  # parts of a result that are named when they could not be written


def call(
    name: Annotated[
        str,
        typer.Argument(
            help="The function, or one of a file as in ./file.py:function.",
            metavar="NAME",
            autocompletion=complete_function,
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="The payload, or - to read it as JSON from stdin.", metavar="[K=V]... | -"),
    ] = None,
    document: Annotated[
        str | None, typer.Option("--json", help="The payload as JSON; - reads it from stdin.", metavar="JSON")
    ] = None,
    lines: Annotated[
        str | None,
        typer.Option(help="Call once for each line of JSON in a file; - reads stdin.", metavar="FILE"),
    ] = None,
    jobs: Annotated[int, typer.Option(parser=whole(1, 40), help="With --lines: calls at a time.", metavar="N")] = 1,
    errors: Annotated[
        Path | None, typer.Option(help="With --lines: write failures here, as JSON lines.", metavar="FILE")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=number(0, TIMEOUT_MAX), help="Seconds that one call may take.", metavar="S"),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whom the call is for.", metavar="T")] = None,
    version: Annotated[str | None, typer.Option(help="The version to call.", metavar="V")] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="A header of the call; may be repeated.", metavar="K=V")
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show the call's spans as a tree, on stderr.")] = False,
    running: Annotated[
        bool, typer.Option("--running", help="Call it in the running host, not in this process.")
    ] = False,
    control: Control = None,
) -> None:
    """Call a function by name, and write its result as JSON.

    A V that is JSON is taken as JSON, any other as text; where the function wants text it is always text. The keys are
    the function's parameters, or the fields of its record if it has only one. What plugins print goes to stderr. What
    of a result JSON has no form for is shown as text, and told; the exit code is then 1.

    How far it has come is shown on a terminal, by a bar for each function that reports it.

    A function of a Python file needs no packaging: ./file.py:function calls it, ./file.py alone shows what there is.
    """
    from jackfield.cli.files import given as as_file
    from jackfield.cli.payload import BadInput, build, pairs

    given = list(arguments or ())
    from_stdin = given == ["-"] or document == "-"
    if given == ["-"]:
        given = []
    if sum((bool(given), from_stdin, document not in {None, "-"}, lines is not None)) > 1:
        raise typer.BadParameter("give the payload once: as name=value, with --json, with --lines, or - for stdin")
    elsewhere = running or control is not None
    _refuse(
        ("--jobs and --errors go with --lines", lines is None and (errors is not None or jobs != 1)),
        ("--trace shows one call, and --lines makes many", lines is not None and trace),
        ("--lines and --trace are for calls in this process", elsewhere and (lines is not None or trace)),
        ("a file is called in this process, not in the running host", elsewhere and as_file(name) is not None),
    )
    there = remote.is_asked(control=control, tenant=tenant)
    _refuse(
        ("--running is the host of this machine, and --host one elsewhere: give one of them", there and running),
        ("--trace is for calls in this process", there and trace),
        ("a file is called in this process, not in a host elsewhere", there and as_file(name) is not None),
    )
    try:
        typed, headers = pairs(given), pairs(header or ())
    except BadInput as bad:
        raise typer.BadParameter(str(bad)) from None
    options = {"timeout": timeout, "tenant": tenant, "version": version, "headers": headers or None}
    out = claim_stdout()
    try:
        if elsewhere:
            _remote(name, options, typed, _text(document, from_stdin), out, control)
        elif there and lines is None:
            _there(name, options, typed, _document(document, from_stdin), out)
        elif lines is not None:
            _many(name, options, lines, out, jobs=jobs, errors=errors)
        else:
            given_json = _document(document, from_stdin)
            make = partial(build, given=typed) if given_json is None else lambda _: given_json[0]
            _one(name, options, make, out, trace=trace)
    except BadInput as bad:
        fail(f"invalid_payload: {name[:200]}: {bad}", keep="")
    except OutputLost as lost:
        abandon(out)
        if isinstance(lost.__cause__, BrokenPipeError):
            raise typer.Exit(1) from None  # not all that was asked for was done
        raise


def _refuse(*mistakes: tuple[str, bool]) -> None:
    """Refuse options that do not go together."""
    for message, made in mistakes:
        if made:
            raise typer.BadParameter(message)


def _document(document: str | None, from_stdin: bool) -> tuple[Any] | None:
    """Give the JSON payload in a tuple, or None when there is none: `null` is a payload."""
    from jackfield.cli.payload import decode, read

    if from_stdin:
        return (read(sys.stdin.buffer),)
    return (decode(document.encode("utf-8", "surrogateescape")),) if document is not None else None


def _text(document: str | None, from_stdin: bool) -> bytes | None:
    """Give the JSON payload as it is, or None when there is none.

    Raises:
        BadInput: if it has more than goes to a running host.
    """
    from jackfield.cli.payload import SENT, BadInput

    if from_stdin:
        text: bytes | None = sys.stdin.buffer.read(SENT + 1)
    else:
        text = document.encode("utf-8", "surrogateescape") if document is not None else None
    if text is not None and len(text) > SENT:
        raise BadInput(f"the payload has more than the {SENT >> 20} MiB that go to a running host at once")
    return text


def _remote(
    name: str,
    options: dict[str, Any],
    typed: dict[str, str],
    document: bytes | None,
    out: BinaryIO,
    control: Path | None,
) -> None:
    """Call a function in the running host, which knows its contract, and so makes the payload."""
    from jackfield.control import ControlClient
    from jackfield.errors import FunctionNotFound, JackfieldError

    try:
        result, missed = ControlClient(control, None).request(
            "console_call", name=name, typed=typed, document=document, **options
        )
    except JackfieldError as error:
        missing = isinstance(error, FunctionNotFound)
        fail(f"{error.outcome.value}: {told(error)}" if missing else _described(error), keep="")
    _show(name, result, missed, out)


def _there(
    name: str, options: dict[str, Any], typed: dict[str, str], document: tuple[Any] | None, out: BinaryIO
) -> None:
    """Call a function of a host elsewhere."""
    from jackfield.cli.payload import BadInput
    from jackfield.errors import JackfieldError
    from jackfield.wire.documents import show_json

    with remote.client() as client:
        try:
            payload = remote.payload_of(client, name, typed, document)
            result, missed = show_json(client.call(name, payload, **options))
        except JackfieldError as error:
            fail(_described(error), keep="")
        except ValueError as error:  # a header that HTTP cannot have
            if isinstance(error, BadInput):
                raise
            raise typer.BadParameter(str(error)) from None
    _show(name, result, missed, out)


def _host(name: str, observer: Any = None) -> tuple["Host", str]:
    """Make the host that has a function, and give the function's name there.

    Raises:
        JackfieldError: when there is a fault that keeps it from being called.
        typer.Exit: when a file is not to be had, or no function of it was named.
    """
    from loguru import logger

    from jackfield.cli.files import given, listing, open_file, refusal, register
    from jackfield.errors import JackfieldError
    from jackfield.host import Host
    from jackfield.stack import show_messages_here

    show_messages_here()
    # What the host has to say of other plugins is `doctor`'s business, and a failed call is reported below.
    logger.disable("jackfield")
    observers = () if observer is None else (observer,)
    file = given(name)
    if file is None:
        if hint := misspelt_file(name):
            fail(f"not_found: no function has the name {name[:200]!r}; {hint}", keep="")
        return Host.discover(lazy=True, observers=observers), name
    try:
        opened = open_file(file, observers)
        if opened.module is None:
            fail(refusal(file, opened.faults))
        if file.attribute:
            return opened.host, register(file, opened.host, opened.module, file.attribute)
    except JackfieldError as error:
        if not error.faults:
            raise
        fail(refusal(file, error.faults))
    for line in listing(file, opened.module):
        say(line)
    raise typer.Exit(2)


def _found(host: "Host", name: str, version: str | None) -> "FunctionSpec":
    """Import the function, in this thread, and give its contract."""
    anything: Any = Any
    host.function(name, anything, anything)
    route = host.snapshot.functions[name]
    endpoint = route.endpoints.get(version or route.default)
    return route.spec if endpoint is None else endpoint.spec


def _one(
    name: str, options: dict[str, Any], make: Callable[["FunctionSpec"], Any], out: BinaryIO, *, trace: bool
) -> None:
    import asyncio

    from jackfield.cli.bar import progress_bar
    from jackfield.errors import JackfieldError
    from jackfield.wire.documents import show_json

    spans = None
    if trace:
        from jackfield.cli.spans import Trace

        spans = Trace()
    try:
        host, called = _host(name, spans and spans.observer)
        with host:
            spec = _found(host, called, options["version"])
            value = make(spec)
            try:
                # Not `call`: a sync function is to leave its caller at the deadline, and so needs a thread.
                with progress_bar(), asyncio.Runner() as runner:
                    runner.get_loop()  # before there is a coroutine to be run on it: the system may give none
                    result, missed = show_json(runner.run(host.acall(called, value, **options)))
            finally:
                if spans is not None:
                    spans.show()
    except JackfieldError as error:
        fail(_described(_as_typed(name, error)), keep="")
    _show(name, result, missed, out)


def _as_typed(name: str, error: "JackfieldError") -> "JackfieldError":
    """Have an error of a file's function name it as it was typed."""
    from jackfield.cli.files import as_given, given

    file = given(name)
    return error if file is None else as_given(file, error)


def _show(name: str, result: bytes, missed: Sequence[str], out: BinaryIO) -> None:
    """Write a result, and say what of it could only be shown."""
    if out.isatty():  # else it is data, for whoever reads it next
        result = printable_json(indented(result).decode()).encode()
    out.write(result + b"\n")
    out.flush()
    if missed:
        for line in missed[:_MISSED]:
            say(f"{styled('not JSON:', 'odd')} {printable(f'{name}: {line}')}: shown as text")
        if len(missed) > _MISSED:
            say(f"… and {len(missed) - _MISSED:,} more")
        raise typer.Exit(1)


def _described(error: Exception) -> str:
    """Render an error as its outcome, its message, and the line of the function that crashed."""
    from jackfield.errors import FunctionCrashed, JackfieldError
    from jackfield.stack import frames

    if isinstance(error, JackfieldError) and error.faults:
        more = len(error.faults) - 1
        return f"{error.faults[0]}" + (f" (and {more} more: `pluginctl check` shows them)" if more else "")
    outcome = f"{error.outcome.value}: " if isinstance(error, JackfieldError) else ""
    where = ""
    if isinstance(error, FunctionCrashed):
        own = list(takewhile(lambda line: not line.startswith(("caused by ", "while handling ")), frames(error)))
        where = f" ({own[-1]})" if own else ""
    return f"{outcome}{error}{where}"


def _many(name: str, options: dict[str, Any], lines: str, out: BinaryIO, *, jobs: int, errors: Path | None) -> None:
    from contextlib import ExitStack

    from jackfield.cli.lines import Run, progress
    from jackfield.errors import JackfieldError

    with ExitStack() as stack:
        try:
            source = sys.stdin.buffer if lines == "-" else stack.enter_context(Path(lines).open("rb"))
            bad = stack.enter_context(errors.open("wb")) if errors is not None else None
        except OSError as error:
            raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
        host: Host | remote.Client
        try:
            if remote.is_asked():
                host, called = stack.enter_context(remote.client()), name
            else:
                here, called = _host(name)
                host = stack.enter_context(here)
                _found(here, called, options["version"])
        except JackfieldError as error:
            fail(_described(_as_typed(name, error)), keep="")
        told = partial(_as_typed, name)
        with progress(source, out) as advance:
            run = Run(host, called, options, name=name, told=told, jobs=jobs, out=out, errors=bad, advance=advance)
            interrupted = run.all(source)
        for line in run.shown:
            say(line)
        more = run.failed + run.missed - len(run.shown)
        if more > 0 and bad is None:
            say(f"… and {more:,} more; --errors FILE keeps them all")
        say(styled(run.summary(), "bad" if run.failed or run.missed else "good"))
    if interrupted:
        say("interrupted")
        raise typer.Exit(130)
    if run.failed or run.missed:
        raise typer.Exit(1)
