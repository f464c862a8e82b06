"""An error of a call as what a problem document says of it, and the same error again on the other side.

What is not named here stays where it happened: what a function's own exception says, and its stack; the faults of
files and plugins. Of these a client learns the outcome alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from jackfield.errors import (
    Cancelled,
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    JackfieldError,
    PayloadError,
    PermissionDenied,
    Rejected,
    ResourceExhausted,
    SubmissionConflict,
    Unavailable,
)
from jackfield.wire.errors import Failure, restore

NOT_TOLD: Final = "(not told)"
"""The type of the exception where a fault of the host ended a call: that is for its own log."""

_TOLD: Final[Mapping[type[JackfieldError], tuple[str, ...]]] = MappingProxyType(
    {
        Rejected: ("code", "details"),
        PayloadError: ("function", "path", "expected", "got"),
        FunctionNotFound: ("function", "close", "version", "versions", "fault"),
        PermissionDenied: ("function", "reason"),
        ResourceExhausted: ("function", "reason", "retry_after"),
        DeadlineExceeded: ("function", "overdue", "reason"),
        Cancelled: ("function", "reason"),
        Unavailable: ("what", "reason", "cause", "ran"),
        FunctionCrashed: ("function", "error_type", "version", "plugin"),
        SubmissionConflict: ("function", "key", "id"),
    }
)


def members_of(error: JackfieldError) -> dict[str, Any]:
    """Give what a problem document says of an error: the name of its class, as `error`, and its fields.

    Args:
        error: what a call raised.

    Examples:
        >>> members_of(DeadlineExceeded("f", 0.5, "it was cancelled"))
        {'error': 'DeadlineExceeded', 'function': 'f', 'overdue': 0.5, 'reason': 'it was cancelled'}
    """
    kind = next((kind for kind in type(error).__mro__ if kind in _TOLD), None)
    if kind is None:
        return {}
    return {"error": kind.__name__} | {name: getattr(error, name) for name in _TOLD[kind]}


def error_of(document: Mapping[str, Any], what: str) -> JackfieldError:
    """Make the error that a problem document tells of: of the same class, with the same fields.

    Args:
        document: it has an `outcome`.
        what: what was called, for an error that does not say so.

    Examples:
        >>> error_of({"outcome": "rejected", "error": "Rejected", "detail": "too early", "code": "early"}, "f")
        Rejected(message='too early', code='early', details={})
    """
    detail, name = _text(document.get("detail")), _text(document.get("error"))
    fields = dict(document)
    kind = next((kind for kind in _TOLD if kind.__name__ == name), FunctionCrashed)
    if kind is Rejected:
        fields["message"] = detail
    elif kind is FunctionCrashed:
        fields = {"function": what, "error_type": NOT_TOLD} | {key: fields[key] for key in _TOLD[kind] if key in fields}
        fields["message"] = detail
    return restore(Failure(kind.__name__, detail, _text(document.get("outcome")), fields), what)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
