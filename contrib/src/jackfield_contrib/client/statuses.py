"""What a door has answered over gRPC: a result, or the very error that the call raised there."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import attrs
import grpc
import msgspec
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from jackfield import errors
from jackfield.errors import JackfieldError, PayloadError, PermissionDenied, ResourceExhausted, Unavailable
from jackfield.text import printable
from jackfield.wire.crossing import unpack
from jackfield_contrib.client.messages import Request
from jackfield_contrib.client.transport import NotThere
from jackfield_contrib.problems import error_of

Code = grpc.StatusCode

_DOMAIN: Final = "jackfield"
_DRAINING: Final = "DRAINING"  # of a session, not of a call
_SAID: Final = 500  # characters of what a status says that is no error of a call
_DETAILS: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code for code in Code}
_TLS: Final = ("handshake", "ssl", "certificate")
"""What grpcio says of TLS that cannot be: it has no code for that."""


def value(payload: bytes, request: Request, url: str) -> Any:
    """Read a result.

    Raises:
        Unavailable: when it is none.
    """
    try:
        return unpack(payload)
    except (ValueError, RecursionError) as error:
        reason = f"what it answered about {request.what} cannot be read: {error}"
        raise _foreign(url, reason, ran=None) from None


def problem(status: Status) -> Mapping[str, Any] | None:
    """Give how a call ended, as a problem document says it; None when a status is not of a call."""
    info = ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    if info.domain != _DOMAIN or info.reason == _DRAINING:
        return None
    return {"outcome": info.reason.lower(), "detail": status.message, **_fields(info.metadata)}


def of_rpc(error: grpc.aio.AioRpcError) -> Status:
    """Give the whole status of an RPC that has failed."""
    for name, found in error.trailing_metadata() or ():
        if name == _DETAILS and isinstance(found, bytes):
            with suppress(DecodeError):
                return Status.FromString(found)
    return Status(code=error.code().value[0], message=error.details() or "")


def error(status: Status, request: Request, url: str, *, ran: bool | None) -> JackfieldError:  # noqa: PLR0911  # one each
    """Make the error that a status tells of.

    Args:
        status: of the call, or of its RPC.
        request: what was asked.
        url: whom.
        ran: whether the function may have run when the status does not say so: False before the door has the request.
    """
    document = problem(status)
    if document is not None:
        return error_of(document, request.what)
    code = _CODES.get(status.code, Code.UNKNOWN)
    said = printable(status.message[:_SAID]) or code.name
    match code:
        case Code.UNAUTHENTICATED | Code.PERMISSION_DENIED:
            return PermissionDenied(request.what, said)
        case Code.NOT_FOUND if request.verb in ("submitted", "cancel"):
            return NotThere(said)
        case Code.RESOURCE_EXHAUSTED if "limit exceeded" in said:  # grpcio: of RPCs at once
            return ResourceExhausted(request.what, said)
        case Code.RESOURCE_EXHAUSTED if "CLIENT: " in said:  # grpcio: of what was to be received here
            return _foreign(url, f"it answers with more than is taken: {said}", ran=None)
        case Code.RESOURCE_EXHAUSTED:
            return PayloadError(request.what, "$", "what the door takes", said)
        case Code.UNIMPLEMENTED:
            return _foreign(url, f"there is no door of jackfield: {said}", ran=False)
        case Code.INVALID_ARGUMENT | Code.FAILED_PRECONDITION | Code.NOT_FOUND:
            return _foreign(url, f"it answered {code.name}: {said}", ran=False)
        case Code.UNAVAILABLE | Code.CANCELLED:
            return lost(url, said, ran=ran)
        case _:
            return _foreign(url, f"it answered {code.name}: {said}", ran=ran)


def ended(status: Status, url: str) -> Unavailable:
    """Make the error of a call whose session has ended before its reply came.

    What a door has taken it answers, unless it breaks off: one that drains has not begun what has no reply.
    """
    code = _CODES.get(status.code, Code.UNKNOWN)
    said = printable(status.message[:_SAID]) or code.name
    if _drains(status):
        return Unavailable(url, said, "stopped", ran=False)
    return lost(url, said, ran=None)


def lost(url: str, said: str, *, ran: bool | None) -> Unavailable:
    """Tell that there is no connection: `ran` is False when there was none that the request could have gone by."""
    if ran is None:
        return Unavailable(url, f"the connection was lost before the answer came ({said})", "unreachable", ran=ran)
    if any(word in said.lower() for word in _TLS):
        return _foreign(url, f"its certificate is not to be trusted, or TLS cannot be spoken with it: {said}", ran=ran)
    return Unavailable(url, f"no connection to it: {said}: does it run, and is the URL right?", "unreachable", ran=ran)


def _drains(status: Status) -> bool:
    info = ErrorInfo()
    return any(detail.Unpack(info) and info.reason == _DRAINING for detail in status.details)


def _foreign(url: str, reason: str, *, ran: bool | None) -> Unavailable:
    return Unavailable(url, printable(reason), "protocol", ran=ran)


def _fields(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read the fields of an error: what is no text by its type is JSON, since a status has texts alone."""
    kind = getattr(errors, metadata["error"], None) if "error" in metadata else None
    types = {each.name: each.type for each in attrs.fields(kind)} if isinstance(kind, type) and attrs.has(kind) else {}
    found: dict[str, Any] = {}
    for name, text in metadata.items():
        if types.get(name, str) in (str, str | None):
            found[name] = text
        else:
            with suppress(msgspec.DecodeError, RecursionError):
                found[name] = msgspec.json.decode(text)
    return found
