"""What a webhook's request says: one payload, or the CloudEvents of it, in whichever of their three modes."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import attrs
import msgspec

from jackfield_contrib.http.exchange import JSON, Exchange
from jackfield_contrib.http.problems import Refused

_STRUCTURED: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_FORM: Final = "application/x-www-form-urlencoded"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_FEW: Final = 1_000  # events of a batch
_LONGEST: Final = 300  # bytes of what tells an event from others


@attrs.frozen
class Event:
    """What is to be one call.

    Attributes:
        payload: of the call.
        headers: beside those of the request: of a CloudEvent its attributes, as `ce-…`.
        name: what tells a CloudEvent from others, "" for anything else.
    """

    payload: Any
    headers: Mapping[str, str] = {}
    name: str = ""


def events_of(exchange: Exchange, body: bytes, *, form: bool = False) -> tuple[list[Event], bool]:
    """Read a request.

    Args:
        exchange: it.
        body: of it.
        form: whether the JSON may be a field of a form, as GitHub sends it unless it is told otherwise.

    Returns:
        Its events, and whether they came as a batch.

    Raises:
        Refused: when it is not what its content type says, or no good CloudEvent.
    """
    kind = exchange.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower().decode("latin-1")
    if kind == f"{_BATCH}+json":
        return [_structured(raw) for raw in _many(body)], True
    if kind == f"{_STRUCTURED}+json":
        return [_structured(body)], False
    if kind.startswith(_STRUCTURED):
        raise Refused(415, "CloudEvents are read as JSON", {"accept": f"{_STRUCTURED}+json, {_BATCH}+json, {JSON}"})
    if b"ce-specversion" in exchange.headers:
        return [_binary(exchange, body, kind)], False
    if form and kind == _FORM:
        return [Event(_json(_field(body)))], False
    return [Event(exchange.read(body))], False


def _field(body: bytes) -> bytes:
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=10)
    except ValueError:
        fields = {}
    if len(fields.get("payload", ())) != 1:
        raise Refused(400, "the form has no field `payload`")
    return fields["payload"][0].encode()


def _many(body: bytes) -> list[msgspec.Raw]:
    try:
        found = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise Refused(400, "the body is no JSON array of CloudEvents") from None
    if len(found) > _FEW:
        raise Refused(413, f"a batch has at most {_FEW:,} events, not {len(found):,}")
    return found


def _structured(raw: bytes | msgspec.Raw) -> Event:
    said = _json(raw)
    if not isinstance(said, dict):
        raise Refused(400, "a CloudEvent is a JSON object")
    data, encoded = said.pop("data", None), said.pop("data_base64", None)
    headers, name = _checked({key: value for key, value in said.items() if value is not None})
    if encoded is not None:
        if data is not None:
            raise Refused(400, "a CloudEvent has `data` or `data_base64`, not both")
        data = _decoded(encoded, str(said.get("datacontenttype") or JSON))
    return Event(data, headers, name)


def _binary(exchange: Exchange, body: bytes, kind: str) -> Event:
    attributes: dict[str, Any] = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in exchange.headers.items()
        if name.startswith(b"ce-")
    }
    if kind:
        attributes["datacontenttype"] = kind
    headers, name = _checked(attributes)
    if _is_json(kind or JSON):
        return Event(exchange.read(body), headers, name)
    return Event(_text(body) if body else None, headers, name)


def _checked(attributes: dict[str, Any]) -> tuple[Mapping[str, str], str]:
    """Check the attributes of a CloudEvent; give them as headers, and what tells it from others."""
    from cloudevents.core.exceptions import BaseCloudEventException  # noqa: PLC0415  # for those who get some
    from cloudevents.core.v1.event import CloudEvent  # noqa: PLC0415  # as above

    for name in _REQUIRED:  # the library makes some of them up
        if name not in attributes:
            raise Refused(400, f"the CloudEvent has no {name}")
    read = dict(attributes)
    try:
        if "time" in read:
            read["time"] = datetime.fromisoformat(read["time"])
        CloudEvent(read)
    except (BaseCloudEventException, TypeError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())[:300]
        raise Refused(400, f"the CloudEvent is none: {said}") from None
    written = {name: _written(value) for name, value in attributes.items()}
    headers = {f"ce-{name}": value for name, value in written.items() if name != "datacontenttype"}
    name = f"{written['source']} {written['id']}"
    return headers, name if len(name.encode()) <= _LONGEST else blake2b(name.encode(), digest_size=16).hexdigest()


def _written(value: Any) -> str:
    """Write an attribute as the headers of binary mode have it, before they are escaped."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int) or not str(value).isprintable():
        raise Refused(400, "an attribute of a CloudEvent is printable text, a whole number, or true or false")
    return str(value)


def _decoded(encoded: Any, kind: str) -> Any:
    try:
        body = base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused(400, "`data_base64` is no base64") from None
    return _json(body) if _is_json(kind) else body


def _text(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _is_json(kind: str) -> bool:
    kind = kind.split(";", 1)[0].strip().lower()
    return kind in {JSON, "text/json"} or kind.endswith("+json")


def _json(raw: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"the body is no JSON: {reason}") from None
