"""What went wrong, as problem details (RFC 9457)."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from jackfield.errors import OUTCOMES, FunctionCrashed, JackfieldError, Outcome, Rejected, ResourceExhausted
from jackfield.wire.frames import shown
from jackfield_contrib.problems import members_of

CONTENT_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:jackfield:outcome:"
"""What the type of an outcome's document begins with."""

TITLES: Final[Mapping[Outcome, str]] = {
    Outcome.REJECTED: "The function refused",
    Outcome.INVALID_PAYLOAD: "The payload does not fit",
    Outcome.NOT_FOUND: "There is no such function",
    Outcome.PERMISSION_DENIED: "Not allowed",
    Outcome.RESOURCE_EXHAUSTED: "A bound is reached",
    Outcome.DEADLINE_EXCEEDED: "The time was up",
    Outcome.CANCELLED: "Cancelled",
    Outcome.UNAVAILABLE: "Not available now",
    Outcome.CRASHED: "The function crashed",
}


@attrs.frozen
class Refused(Exception):
    """A request that never became a call.

    Attributes:
        status: the HTTP status.
        detail: what is wrong with it, and what would be right.
        headers: of the response.
    """

    status: int
    detail: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Problem:
    """A problem document and what goes with it.

    Attributes:
        status: the HTTP status.
        document: plain data.
        headers: of the response.
    """

    status: int
    document: Mapping[str, Any]
    headers: Mapping[str, str] = attrs.field(factory=dict)


def of_request(refused: Refused) -> Problem:
    """Describe a request that never became a call: it has no outcome."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    return Problem(refused.status, document, refused.headers)


def of_error(error: JackfieldError) -> Problem:
    """Describe how a call ended; a crash without the function's own words, which are for the log.

    Args:
        error: what the call raised.
    """
    outcome = error.outcome
    status = OUTCOMES[outcome].http
    document: dict[str, Any] = {
        "type": TYPE + outcome.value,
        "title": TITLES[outcome],
        "status": status,
        "outcome": outcome.value,
    }
    headers = {}
    match error:
        case Rejected():
            document["detail"] = error.message
        case FunctionCrashed():
            document["detail"] = "its log record says why"
        case _ if outcome is Outcome.CRASHED:
            document["detail"] = "the host's log says why"
        case _:
            document["detail"] = str(error)
    document |= members_of(error)
    if isinstance(error, Rejected):
        document["details"] = shown(error.details)  # a refusal is told though these have no form
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return Problem(status, document, headers)
