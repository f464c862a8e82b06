"""`pluginctl submit`, `calls`, `cancel`, `result` and `dead`: the submitted calls of the running host's store."""

import sys
from collections.abc import Iterable
from threading import TIMEOUT_MAX
from typing import Annotated, Any, Final

import typer

from jackfield.cli import remote
from jackfield.cli.output import columns, counted, fail, say, styled, write_json
from jackfield.cli.running import QUICK, AsJson, Control, ask, follow, told
from jackfield.cli.taken import number
from jackfield.text import printable, printable_json

_ROLES: Final = {"succeeded": "good", "failed": "bad", "dead": "bad", "cancelled": "odd", "running": "odd"}
_LOOK: Final = 5.0  # seconds that the host waits for an end before it is asked again

Call = Annotated[str, typer.Argument(help="The id of the call, as `submit` and `calls` write it.", metavar="ID")]
Function = Annotated[str, typer.Option(help="A function, or a pattern with * and ?.", metavar="NAME")]


def submit(
    name: Annotated[str, typer.Argument(help="The function.", metavar="NAME")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="The payload, or - to read it as JSON from stdin.", metavar="[K=V]... | -"),
    ] = None,
    document: Annotated[str | None, typer.Option("--payload", help="The payload as JSON.", metavar="JSON")] = None,
    key: Annotated[str | None, typer.Option(help="Stands for this one call: never a second one.", metavar="K")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=number(0, TIMEOUT_MAX), help="Seconds until it must have ended.", metavar="S"),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whom the call is for.", metavar="T")] = None,
    version: Annotated[str | None, typer.Option(help="The version to call.", metavar="V")] = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """Have the running host accept a call for later, and write its id: it is kept then, and run whatever happens."""
    from jackfield.cli.payload import LIMIT, BadInput, pairs

    given = list(arguments or ())
    from_stdin = given == ["-"]
    if given and not from_stdin and document is not None:
        raise typer.BadParameter("give the payload once: as name=value, with --payload, or - for stdin")
    try:
        typed = {} if from_stdin else pairs(given)
    except BadInput as bad:
        raise typer.BadParameter(str(bad)) from None
    payload = sys.stdin.buffer.read(LIMIT + 1) if from_stdin else None if document is None else document.encode()
    options: dict[str, Any] = {"key": key, "timeout": timeout, "tenant": tenant, "version": version}
    if remote.is_asked(control=control, tenant=tenant):
        done = _submitted_there(name, typed, payload, options)
    else:
        done = ask(control, "console_submit", name=name, typed=typed, document=payload, **options)
    if as_json:
        write_json(done)
    else:
        typer.echo(printable(done["id"]))


def calls(
    status: Annotated[
        str | None, typer.Option(help="accepted, running, succeeded, failed, dead or cancelled.", metavar="STATUS")
    ] = None,
    function: Function = "*",
    tenant: Annotated[str | None, typer.Option(help="Whom they are for.", metavar="T")] = None,
    control: Control = None,
    as_json: AsJson = False,
) -> None:
    """List the submitted calls that are kept, of all hosts of the store; with --json one object a line."""
    from jackfield.model.submission import SubmissionState

    if status is not None and status not in set(SubmissionState):
        raise typer.BadParameter(f"--status {status}: one of {', '.join(SubmissionState)}")
    if remote.is_asked(control=control, tenant=tenant):
        with remote.client() as client:
            given = list(client.submissions(function, status=status))
        rows = remote.checked(given, "id", "function", "status", "submitted", maybe=("reason", "tenant", "key"))
        _list(rows, as_json=as_json)
        return
    _list(follow(control, "calls", function=function, status=status, tenant=tenant), as_json=as_json)


def result(
    identifier: Call,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    control: Control = None,
    as_json: AsJson = False,  # noqa: ARG001  # as everywhere; a result is JSON anyway
) -> None:
    """Write the result of a submitted call as JSON, or say how it failed, with exit code 1."""
    from jackfield.control import ControlClient
    from jackfield.errors import DeadlineExceeded, JackfieldError

    if remote.is_asked(control=control):
        with remote.client() as client:
            found = client.submitted(identifier).result(None if wait else 0.0)
        write_json(found)
        return
    while True:
        try:
            found = ControlClient(control, None).request(
                "call_result", identifier=identifier, timeout=_LOOK if wait else 0.0
            )
        except DeadlineExceeded as error:
            if wait and ControlClient(control, QUICK).request("call_show", identifier=identifier)["status"] in {
                "accepted",
                "running",
            }:
                continue
            fail(told(error))
        except JackfieldError as error:
            fail(told(error))
        write_json(found)
        return


def cancel(identifier: Call, control: Control = None, as_json: AsJson = False) -> None:
    """Cancel a submitted call: it does not run, or ends where it runs."""
    if remote.is_asked(control=control):
        with remote.client() as client:
            handle = client.submitted(identifier)
            asked = handle.cancel()
            done = {"id": identifier, "cancelled": asked, "status": str(handle.status)}
    else:
        done = ask(control, "call_cancel", within=QUICK, identifier=identifier)
    if as_json:
        write_json(done)
    elif done["cancelled"]:
        say(f"call {identifier} is cancelled")
    if not done["cancelled"]:
        fail(f"call {identifier} has ended already: {done['status']}")


def list_dead(function: Function = "*", control: Control = None, as_json: AsJson = False) -> None:
    """List the submitted calls that are dead or failed; with --json one object a line."""
    rows = (row for status in ("dead", "failed") for row in follow(control, "calls", function=function, status=status))
    _list(rows, as_json=as_json)


def show_dead(identifier: Call, control: Control = None, as_json: AsJson = False) -> None:
    """Show what there is to know of a submitted call: all but its payload and result."""
    found = ask(control, "call_show", within=QUICK, identifier=identifier)
    if as_json:
        write_json(found)
        return
    failure = found.pop("failure")
    for line in columns([(key, str(value)) for key, value in found.items() if value not in (None, "", [])]):
        typer.echo(line)
    if failure is not None:
        typer.echo(styled(f"{failure['type']}: {failure['message']}", "bad"))


def redrive_dead(identifier: Call, control: Control = None, as_json: AsJson = False) -> None:
    """Run a submitted call again that is dead, failed or cancelled: its attempts and its time begin anew."""
    done = ask(control, "call_redrive", within=QUICK, identifier=identifier)
    if as_json:
        write_json(done)
    else:
        say(f"call {identifier} is {done['status']}")


def drop_dead(identifier: Call, control: Control = None, as_json: AsJson = False) -> None:
    """Forget a submitted call that has ended."""
    done = ask(control, "call_drop", within=QUICK, identifier=identifier)
    if as_json:
        write_json(done)
    else:
        say(f"call {identifier} is forgotten")


def _submitted_there(
    name: str, typed: dict[str, str], payload: bytes | None, options: dict[str, Any]
) -> dict[str, Any]:
    from jackfield.cli.payload import BadInput, decode

    with remote.client() as client:
        try:
            made = remote.payload_of(client, name, typed, None if payload is None else (decode(payload),))
        except BadInput as bad:
            fail(f"invalid_payload: {name[:200]}: {bad}")
        handle = client.submit(name, made, **options)
    return {"id": handle.id, "function": handle.function, "status": "accepted"}


def _list(rows: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """Write rows as they come: there may be many."""
    from jackfield.wire.documents import shown_json

    count = 0
    for row in rows:
        count += 1
        if as_json:
            typer.echo(printable_json(shown_json(row).decode()))
            continue
        why = f" ({row['reason']})" if row["reason"] else ""
        state = styled(printable(f"{row['status']}{why}").ljust(16), _ROLES.get(row["status"], "quiet"))
        tenant = f" for {row['tenant']}" if row["tenant"] else ""
        key = f" key {row['key']}" if row["key"] else ""
        which = printable(f"{row['submitted']}  {row['function']}{tenant}{key}")
        typer.echo(f"{printable(row['id'])}  {state}  {which}")
    if not as_json:
        say(counted(count, "call") if count else "no calls")
