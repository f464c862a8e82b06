"""What is asked of a door: each question as one request over HTTP. Nothing here waits."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from jackfield.model.call import Call, current
from jackfield.model.deadline import seconds_of, tighten
from jackfield.model.headers import Headers
from jackfield.wire.crossing import pack

MESSAGEPACK: Final = "application/msgpack"
MOST_ROWS: Final = 10_000
"""The most submitted calls that a door lists at once."""

_ANSWER: Final = 30.0  # seconds within which a door answers what is no call

_NOT_A_CALLS: Final = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "cookie",
        "expect", "host", "idempotency-key", "keep-alive", "prefer", "te", "trailer", "transfer-encoding", "upgrade",
        "x-timeout",
    }
)  # fmt: skip
"""Headers that are about the request, so that they are not a caller's to set."""

_TRACE: Final = frozenset({"traceparent", "tracestate", "baggage"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")  # and 5.5: what is beyond ASCII each server reads as it likes


@attrs.frozen
class Request:
    """One request.

    Attributes:
        what: what is asked for, as errors name it: a function, or a submitted call.
        method: the HTTP method.
        path: below the door, with its query.
        headers: without those that every request has.
        body: MessagePack; empty for none.
        deadline: until when there must be an answer, on `time.monotonic`'s clock, or None.
        tells_time: whether the door is told how much time is left, for the call that it makes.
        repeatable: whether asking twice is as good as asking once.
    """

    what: str
    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    deadline: float | None = None
    tells_time: bool = False
    repeatable: bool = False


def call(
    name: str,
    payload: Any,
    timeout: float | None,
    tenant: str | None,
    version: str | None,
    headers: Mapping[str, str] | None,
) -> Request:
    """Ask for a call; arguments as for `Client.call`.

    Raises:
        TypeError: if an argument has the wrong type, or the payload has no form that can be sent.
        ValueError: if the timeout or a header cannot be one, or a tenant is named.
    """
    return _function(
        "/v1/functions/", name, payload, tenant, version, headers, deadline=_until(timeout), tells_time=True
    )


def submit(
    name: str,
    payload: Any,
    key: str | None,
    timeout: float | None,
    tenant: str | None,
    version: str | None,
    headers: Mapping[str, str] | None,
) -> Request:
    """Ask for a call to be accepted; arguments as for `Client.submit`, errors as for `call`.

    The time that the call has is not the time that accepting it may take.
    """
    if key is not None and not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    more = {} if key is None else {"Idempotency-Key": _value("a key", key)}
    if timeout is not None:
        more["X-Timeout"] = repr(float(seconds_of(timeout)))
    request = _function(
        "/v1/submit/", name, payload, tenant, version, headers, deadline=_until(_ANSWER), repeatable=key is not None
    )
    return attrs.evolve(request, headers={**request.headers, **more})


def _function(
    path: str,
    name: str,
    payload: Any,
    tenant: str | None,
    version: str | None,
    headers: Mapping[str, str] | None,
    **more: Any,
) -> Request:
    if not isinstance(name, str):
        raise TypeError(f"a function's name is a str, not {type(name).__name__}")
    if version is not None and not isinstance(version, str):
        raise TypeError(f"a version is a str, not {type(version).__name__}")
    if tenant is not None:
        raise ValueError("whom a call over a network is for its key says, not its caller: leave tenant out")
    sent = _trace()
    if headers is not None:
        sent |= _checked(headers)
    if version is not None:
        sent["x-version"] = _value("a version", version)
    body = b""
    if payload is not None:
        body = pack(payload)
        sent["Content-Type"] = MESSAGEPACK
    return Request(name, "POST", path + quote(name, safe=""), sent, body, **more)


def _until(timeout: float | None) -> float | None:
    """Give when there must be an answer: in so many seconds, and within the call that is running here."""
    outer = current.get()
    return tighten(None if outer is None else outer.deadline, timeout)


def passed_on(call: Call) -> Request:
    """Ask for a call that is made here to be run there: within its time and trace, with its headers.

    Raises:
        TypeError: if its payload has no form that can be sent.
    """
    trace = _trace()
    dropped = _NOT_A_CALLS | ({"x-version"} if not trace else {"x-version", *_TRACE})
    headers = {
        name: value
        for name, value in call.headers.items()
        if name.lower() not in dropped and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    }
    body, sent = b"", headers | trace
    if call.payload is not None:
        body, sent["Content-Type"] = pack(call.payload), MESSAGEPACK
    path = f"/v1/functions/{quote(call.name, safe='')}"
    return Request(call.name, "POST", path, sent, body, deadline=call.deadline, tells_time=True)


def submitted(identifier: str, function: str, wait: float = 0.0) -> Request:
    """Ask where a submitted call is, and have the answer wait for its end for a while (`Prefer`, RFC 7240)."""
    headers = {"Prefer": f"wait={wait:.0f}"} if wait >= 1.0 else {}
    return _look(function or identifier, _call(identifier), headers)


def cancel(identifier: str, function: str) -> Request:
    """Ask for a submitted call to be cancelled."""
    return attrs.evolve(_look(function or identifier, _call(identifier)), method="DELETE")


def submissions(function: str, status: str | None) -> Request:
    """Ask which submitted calls there are."""
    wanted = {"function": function, "limit": str(MOST_ROWS)} | ({} if status is None else {"status": status})
    return _look("submitted calls", f"/v1/calls?{urlencode(wanted)}")


def functions() -> Request:
    """Ask what can be called."""
    return _look("functions", "/v1/functions")


def description(name: str) -> Request:
    """Ask for the contract of a function."""
    if not isinstance(name, str):
        raise TypeError(f"a function's name is a str, not {type(name).__name__}")
    return _look(name, f"/v1/functions/{quote(name, safe='')}")


def _look(what: str, path: str, headers: Mapping[str, str] | None = None) -> Request:
    return Request(what, "GET", path, headers or {}, deadline=_until(_ANSWER), repeatable=True)


def _call(identifier: str) -> str:
    if not isinstance(identifier, str):
        raise TypeError(f"the id of a call is a str, not {type(identifier).__name__}")
    return f"/v1/calls/{quote(identifier, safe='')}"


def _trace() -> dict[str, str]:
    """Give what continues the current trace there; nothing where nobody traces."""
    if "opentelemetry.trace" not in sys.modules:  # then there is no current span either, and importing it takes 20 ms
        return {}
    from opentelemetry import propagate  # noqa: PLC0415  # as said

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    given = headers if type(headers) is Headers else Headers(headers)
    for name in given:
        if not _NAME.fullmatch(name) or name.lower() in _NOT_A_CALLS:
            raise ValueError(f"{ascii(name)[:80]} is no header that a call over HTTP can have")
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: str) -> str:
    """Check what a header says; it is not part of the error, since it may be a secret."""
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"what {name[:80]} says cannot be in a header of HTTP: that is ASCII without control characters"
        )
    return value
