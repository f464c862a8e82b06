"""What is asked of a door, whichever it is: each question as one request. Nothing here waits."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from jackfield.model.call import Call, current
from jackfield.model.deadline import seconds_of, tighten
from jackfield.model.headers import Headers
from jackfield.wire.crossing import pack

Verb = Literal["call", "submit", "submitted", "cancel", "submissions", "functions", "describe"]

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
_NO_HEADERS: Final[Mapping[str, str]] = {}


@attrs.frozen
class Request:
    """One request.

    Attributes:
        verb: what is asked.
        what: what is asked for, as errors name it: a function, or a submitted call.
        name: the function, the id of the submitted call, or the pattern that functions are looked for by.
        payload: of a call: MessagePack; empty for none.
        headers: of a call.
        version: of the function, or None.
        key: stands for a call that is submitted, or None.
        timeout: seconds that a submitted call has from when it is accepted, or None.
        wait: seconds that the door is asked to wait for the end of a submitted call.
        status: of the submitted calls that are looked for, or None.
        deadline: until when there must be an answer, on `time.monotonic`'s clock, or None. Of a call the door learns
            how much time is left.
        repeatable: whether asking twice is as good as asking once.
    """

    verb: Verb
    what: str
    name: str = ""
    payload: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(default=_NO_HEADERS, repr=False)
    version: str | None = None
    key: str | None = None
    timeout: float | None = None
    wait: float = 0.0
    status: str | None = None
    deadline: float | None = None
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
    return _function("call", name, payload, tenant, version, headers, deadline=_until(timeout))


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
    if key is not None:
        _value("a key", key)
    seconds = None if timeout is None else float(seconds_of(timeout))
    return _function(
        "submit",
        name,
        payload,
        tenant,
        version,
        headers,
        key=key,
        timeout=seconds,
        deadline=_until(_ANSWER),
        repeatable=key is not None,
    )


def _function(
    verb: Verb,
    name: str,
    payload: Any,
    tenant: str | None,
    version: str | None,
    headers: Mapping[str, str] | None,
    **more: Any,
) -> Request:
    if not isinstance(name, str):
        raise TypeError(f"a function's name is a str, not {type(name).__name__}")
    name.encode()  # ValueError: half of a surrogate pair goes nowhere
    if version is not None:
        if not isinstance(version, str):
            raise TypeError(f"a version is a str, not {type(version).__name__}")
        _value("a version", version)
    if tenant is not None:
        raise ValueError("whom a call over a network is for its key says, not its caller: leave tenant out")
    sent = _trace()
    if headers is not None:
        sent = {**sent, **_checked(headers)}
    body = b"" if payload is None else pack(payload)
    return Request(verb, name, name, body, sent, version, **more)


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
    body = b"" if call.payload is None else pack(call.payload)
    return Request("call", call.name, call.name, body, {**headers, **trace}, deadline=call.deadline)


def submitted(identifier: str, function: str, wait: float = 0.0) -> Request:
    """Ask where a submitted call is, and have the answer wait for its end for a while."""
    return _look("submitted", function or identifier, _identifier(identifier), wait=wait)


def cancel(identifier: str, function: str) -> Request:
    """Ask for a submitted call to be cancelled."""
    return _look("cancel", function or identifier, _identifier(identifier))


def submissions(function: str, status: str | None) -> Request:
    """Ask which submitted calls there are."""
    return _look("submissions", "submitted calls", function, status=status)


def functions() -> Request:
    """Ask what can be called."""
    return _look("functions", "functions")


def description(name: str) -> Request:
    """Ask for the contract of a function."""
    if not isinstance(name, str):
        raise TypeError(f"a function's name is a str, not {type(name).__name__}")
    return _look("describe", name, name)


def _look(verb: Verb, what: str, name: str = "", **more: Any) -> Request:
    return Request(verb, what, name, deadline=_until(_ANSWER), repeatable=True, **more)


def _identifier(identifier: str) -> str:
    if not isinstance(identifier, str):
        raise TypeError(f"the id of a call is a str, not {type(identifier).__name__}")
    return identifier


def _trace() -> Mapping[str, str]:
    """Give what continues the current trace there; nothing where nobody traces."""
    context = sys.modules.get("opentelemetry.context")
    # Where nobody has imported it there is no current span either, and importing it takes 20 ms.
    if context is None or not context.get_current():
        return _NO_HEADERS
    from opentelemetry import propagate  # noqa: PLC0415  # as said

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    given = headers if type(headers) is Headers else Headers(headers)
    for name in given:
        if not _NAME.fullmatch(name) or name.lower() in _NOT_A_CALLS:
            raise ValueError(f"{ascii(name)[:80]} is no header that a call over a network can have")
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: str) -> str:
    """Check what a header says; it is not part of the error, since it may be a secret."""
    if not _VALUE.fullmatch(value):
        raise ValueError(f"what {name[:80]} says cannot be in a header: that is ASCII without control characters")
    return value
