"""What a door has answered over HTTP: a result, or the very error that the call raised there."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from jackfield.errors import JackfieldError, PayloadError, PermissionDenied, ResourceExhausted, Unavailable
from jackfield.text import printable
from jackfield.wire.crossing import unpack
from jackfield_contrib.client.messages import Request
from jackfield_contrib.client.transport import NotThere
from jackfield_contrib.problems import error_of

_SAID: Final = 500  # characters of what an answer says that is no problem document
_OK: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_AWAY: Final = frozenset({502, 503, 504})
"""What a proxy answers when the door behind it does not: who knows how far the request came."""


@attrs.frozen
class Answer:
    """One answer.

    Attributes:
        status: the HTTP status.
        headers: name in lower case → value.
        body: as it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status in _OK

    @property
    def kind(self) -> str:
        """What its body is: the content type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def value(answer: Answer, request: Request, url: str) -> Any:
    """Read what an answer that is `ok` gives.

    Raises:
        Unavailable: when it is nothing that a door of jackfield answers.
    """
    try:
        if "msgpack" in answer.kind:
            return unpack(answer.body)
        if answer.kind == "application/json":
            return msgspec.json.decode(answer.body)
    except (ValueError, RecursionError) as error:
        raise _foreign(url, f"what it answered about {request.what} cannot be read: {error}") from None
    raise _foreign(url, f"it answered about {request.what} as {answer.kind[:80] or 'nothing that has a type'}")


def error(answer: Answer, request: Request, url: str) -> JackfieldError:  # noqa: PLR0911  # one for each status
    """Make the error that an answer tells of.

    Args:
        answer: it is not `ok`.
        request: what was asked.
        url: whom.
    """
    document = _document(answer)
    if "outcome" in document:
        return error_of(document, request.what)
    said = _said(answer, document)
    match answer.status:
        case 401 | 403:
            return PermissionDenied(request.what, said)
        case 404 if document and request.verb in ("submitted", "cancel"):
            return NotThere(said)
        case 413 | 431:
            return PayloadError(request.what, "$", "what the door takes", said)
        case 429:
            return ResourceExhausted(request.what, said, _seconds(answer.headers.get("retry-after")))
        case status if status in _AWAY:
            return Unavailable(url, f"it answered {status}: {said}", "unreachable", ran=None)
        case status if status in _REDIRECTS:
            to = printable(answer.headers.get("location", "elsewhere")[:_SAID])
            return _foreign(url, f"it sends on to {to}: give that URL", ran=False)
        case 404 | 405:
            return _foreign(url, f"there is no door of jackfield: {said}", ran=False)
        case status:
            ran = False if status < 500 else None  # noqa: PLR2004  # 4xx: it was not taken
            return _foreign(url, f"it answered {status}: {said}", ran=ran)


def _document(answer: Answer) -> Mapping[str, Any]:
    if answer.kind not in ("application/problem+json", "application/json"):
        return {}
    try:
        found = msgspec.json.decode(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(answer: Answer, document: Mapping[str, Any]) -> str:
    said = document.get("detail")
    if not isinstance(said, str):
        said = answer.body[:_SAID].decode("utf-8", "replace").strip() if answer.kind == "text/plain" else ""
    return printable(said[:_SAID]) or f"status {answer.status}"


def _foreign(url: str, reason: str, *, ran: bool | None = None) -> Unavailable:
    return Unavailable(url, printable(reason), "protocol", ran=ran)


def _seconds(said: str | None) -> float | None:
    return float(said) if said is not None and said.isascii() and said.isdigit() else None
