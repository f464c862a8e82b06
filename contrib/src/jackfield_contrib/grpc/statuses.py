"""What went wrong, as `google.rpc.Status`: the code of the outcome, and details that programs understand."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from jackfield import to_json
from jackfield.errors import OUTCOMES, JackfieldError, PayloadError, ResourceExhausted, Unavailable
from jackfield_contrib.http import problems
from jackfield_contrib.http.problems import Refused

DOMAIN: Final = "jackfield"
"""Of every `ErrorInfo`: whose reasons these are."""

_SAID: Final = frozenset({"type", "title", "status", "detail", "outcome"})  # by the status itself
_MESSAGE: Final = 600  # bytes; percent-encoded it may be three times as much
_DETAILS: Final = 4_000  # bytes: more would not pass what clients take as trailing metadata, 8 KiB

_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    431: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


def of(error: Refused | JackfieldError) -> Status:
    """Describe what never became a call, or how one has ended."""
    return of_request(error) if isinstance(error, Refused) else of_error(error)


def of_request(refused: Refused) -> Status:
    """Describe what never became a call: it has no details."""
    code = _CODES.get(refused.status, grpc.StatusCode.INVALID_ARGUMENT)
    return Status(code=code.value[0], message=_text(refused.detail))


def of_error(error: JackfieldError) -> Status:
    """Describe how a call ended; a crash without the function's own words, which are for the log.

    Args:
        error: what the call raised.

    Returns:
        The status, with an `ErrorInfo` whose reason is the outcome in capitals; also a `BadRequest` when the payload
        does not fit, and a `RetryInfo` when it is known when to come back.
    """
    document = problems.of_error(error).document
    further = {key: _text(value) for key, value in document.items() if key not in _SAID and value not in (None, {})}
    reason = document["outcome"].upper()
    status = Status(code=OUTCOMES[error.outcome].grpc, message=_text(document["detail"]))
    _add(status, ErrorInfo(reason=reason, domain=DOMAIN, metadata=further))
    if isinstance(error, PayloadError):
        wrong = _text(f"expected {document['expected']}, got {document['got']}")
        violation = BadRequest.FieldViolation(field=_text(document["path"]), description=wrong)
        _add(status, BadRequest(field_violations=[violation]))
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        wait = RetryInfo()
        wait.retry_delay.FromNanoseconds(max(0, int(error.retry_after * 1e9)))
        _add(status, wait)
    return status


def unread(patience: float) -> Status:
    """Describe the end of a session whose client takes nothing."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    return Status(code=code.value[0], message=f"the client has read nothing for {patience:g} s")


def draining() -> Status:
    """Describe the end of a session that the server ends: what has no reply was not begun."""
    status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="this host takes no more calls")
    _add(status, ErrorInfo(reason="DRAINING", domain=DOMAIN, metadata={"ran": "false"}))
    return status


def not_begun() -> Status:
    """Describe the end of a call that came to a session when its server took no more."""
    return of_error(Unavailable("the host", "it takes no more calls", "stopped", ran=False))


def trailing(status: Status) -> grpc.Status:
    """Make the status of an RPC, which has to fit where clients take it: what is too long for that is left out."""
    if len(status.message.encode()) > _MESSAGE:
        status.message = status.message.encode()[:_MESSAGE].decode(errors="ignore")
    if status.ByteSize() > _DETAILS:
        info = ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info):
                break
        kept = {key: value for key, value in info.metadata.items() if len(value.encode()) <= _MESSAGE}
        del status.details[:]
        _add(status, ErrorInfo(reason=info.reason, domain=info.domain, metadata=kept))
    made: grpc.Status = rpc_status.to_status(status)
    return made


def _add(status: Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def _text(value: Any) -> str:
    """Write a value as text that protobuf takes: half of a surrogate pair, as of a file's odd name, is escaped."""
    text = value if isinstance(value, str) else to_json(value).decode()
    return text.encode("utf-8", "backslashreplace").decode()
