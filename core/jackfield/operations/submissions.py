"""The verbs for submitted calls."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import Rejected
from jackfield.host import Host

if TYPE_CHECKING:
    from jackfield.durable.ledger import Entry


def submit(
    host: Host,
    name: str,
    payload: Any = None,
    key: str | None = None,
    timeout: float | None = None,
    tenant: str | None = None,
    version: str | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Accept a call for later; all as for `host.submit`."""
    handle = host.submit(name, payload, key=key, timeout=timeout, tenant=tenant, version=version, headers=headers)
    return {"id": handle.id, "function": handle.function, "status": handle.status.value}


def calls(
    host: Host, function: str = "*", status: str | None = None, tenant: str | None = None
) -> Iterator[dict[str, Any]]:
    """Give the submitted calls that are kept, one by one, in no order."""
    return (_row(entry) for _, entry in host.durable_calls.each(function, status, tenant))


def show(host: Host, identifier: str) -> dict[str, Any]:
    """Give what there is to know of a submitted call but its payload and result."""
    with _known(identifier):
        entry = host.durable_calls.read(identifier)
    return _row(entry) | _more(entry)


def cancel(host: Host, identifier: str) -> dict[str, Any]:
    """Cancel a submitted call."""
    with _known(identifier):
        handle = host.submitted(identifier)
        asked = handle.cancel()
        return {"id": handle.id, "cancelled": asked, "status": handle.status.value}


def result(host: Host, identifier: str, timeout: float = 0.0) -> Any:
    """Give the result of a submitted call, or raise its error; wait for it that long."""
    with _known(identifier):
        return host.submitted(identifier).result(timeout)


def redrive(host: Host, identifier: str) -> dict[str, Any]:
    """Run a submitted call again that is failed, dead or cancelled."""
    with _known(identifier):
        handle = host.redrive(identifier)
        return {"id": handle.id, "status": handle.status.value}


def drop(host: Host, identifier: str) -> dict[str, Any]:
    """Forget a submitted call that has ended."""
    with _known(identifier):
        host.durable_calls.drop(identifier)
        return {"id": identifier, "dropped": True}


def _row(entry: "Entry") -> dict[str, Any]:
    call, state = entry.call, entry.now
    return {
        "id": entry.id,
        "function": call.function,
        "version": call.version,
        "tenant": call.tenant,
        "key": call.key,
        "status": state.status.value,
        "reason": state.reason,
        "attempt": state.attempt,
        "submitted": _utc(call.submitted),
        "since": _utc(state.at),
    }


def _more(entry: "Entry") -> dict[str, Any]:
    from jackfield.durable.records import failure_of  # noqa: PLC0415  # for those who ask

    call, state = entry.call, entry.now
    failed = None
    if state.failure is not None:
        error = failure_of(state, call.function)
        failed = {"type": type(error).__name__, "message": str(error), "outcome": getattr(error, "outcome", "")}
    return {
        "timeout": call.timeout,
        "idempotent": call.repeatable,
        "headers": sorted(call.headers),
        "trace": call.trace.get("traceparent", ""),
        "payload_bytes": len(call.payload),
        "failure": failed,
    }


@contextmanager
def _known(identifier: str) -> Iterator[None]:
    try:
        yield
    except LookupError as error:
        raise Rejected(str(error), code="no_such_call", details={"id": identifier}) from None


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


VERBS: Final[Mapping[str, Callable[..., Any]]] = {
    "submit": submit,
    "calls": calls,
    "call_show": show,
    "call_cancel": cancel,
    "call_result": result,
    "call_redrive": redrive,
    "call_drop": drop,
}
