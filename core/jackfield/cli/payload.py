"""What is typed on a command line → a payload."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from jackfield.model.spec import MISSING
from jackfield.wire.documents import from_json

if TYPE_CHECKING:
    from jackfield.model.spec import FunctionSpec

LIMIT: Final = 64 << 20
"""Bytes that a JSON payload may have."""


SENT: Final = 15 << 20
"""Bytes of it that go to a running host: a frame has 16 MiB, with what is around it."""


class BadInput(ValueError):
    """What was given is no payload."""


def decode(text: bytes, limit: int = LIMIT) -> Any:
    """Decode one JSON document.

    Args:
        text: UTF-8.
        limit: bytes that it may have.

    Raises:
        BadInput: if it is too long, nested too deeply, or no JSON.

    Examples:
        >>> decode(b'{"text": "hello"}')
        {'text': 'hello'}
    """
    if len(text) > limit:
        raise BadInput(f"the payload has more than {limit >> 20} MiB")
    try:
        return from_json(text)
    except RecursionError:
        raise BadInput("the payload is nested too deeply") from None
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from None


def read(stream: BinaryIO) -> Any:
    """Read one JSON document from a stream, and no more of it than a payload may have.

    Raises:
        BadInput: as for `decode`.
    """
    return decode(stream.read(LIMIT + 1))


def pairs(arguments: Sequence[str]) -> dict[str, str]:
    """Split arguments of the form `k=v`.

    Raises:
        BadInput: for one that is none, and for a key that comes twice.

    Examples:
        >>> pairs(["text=a=b", "n=3"])
        {'text': 'a=b', 'n': '3'}
    """
    found: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise BadInput(f"{argument[:80]!r} is not of the form name=value")
        if key in found:
            raise BadInput(f"{key!r} is given twice")
        found[key] = value
    return found


def build(spec: "FunctionSpec", given: Mapping[str, str]) -> Any:  # noqa: PLR0911  # each shape of a payload is one
    """Make a payload of what was typed as `k=v`.

    A value that is JSON is taken as JSON, any other as text; where the function wants text it is always text. For a
    function of one parameter the keys are fields of its record; the parameter's own name gives its value as a whole.

    Args:
        spec: the function.
        given: as typed.

    Raises:
        BadInput: for another key than the name of a parameter that takes no keys, and if it must be given and is not.

    Examples:
        >>> from jackfield.contract import specify
        >>> def repeat(text: str, times: int = 2) -> str: ...
        >>> build(specify("text.repeat", repeat), {"text": "42", "times": "3"})
        {'text': '42', 'times': 3}
        >>> def double(number: int) -> int: ...
        >>> build(specify("double", double), {"number": "21"})
        21
    """
    if not given and spec.shape != "one":
        return None if spec.shape == "none" else {}
    if spec.shape != "one":
        types = _types(spec)
        return _record(given, types)
    (parameter,) = spec.parameters
    if not given:
        if parameter.default is MISSING and _is_plain(parameter.annotation, none=False):
            raise BadInput(f"missing: {parameter.name}=…")
        return None
    from jackfield.contract.payload.naming import fields, is_whole

    if spec.remote is not None:
        if is_whole(spec, given.keys()):
            return _value(given[parameter.name], str if _is_text(spec.remote.payload) else Any)
        return _record(given, _texts(spec.remote.payload))
    if is_whole(spec, given.keys()):
        return _value(given[parameter.name], parameter.annotation)
    if _is_plain(parameter.annotation):
        key = next(key for key in given if key != parameter.name)
        raise BadInput(f"unknown key {key[:80]!r}: the function takes {parameter.name}=… and nothing else")
    return _record(given, fields(parameter.annotation))


def _record(given: Mapping[str, str], types: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _value(text, types.get(key, Any)) for key, text in given.items()}


def _types(spec: "FunctionSpec") -> Mapping[str, Any]:
    """Give the types of the parameters of a function that takes several."""
    if spec.remote is not None:
        return _texts(spec.remote.payload)
    from jackfield.contract.shapes import parameters

    return {field.name: field.type for field in parameters(spec.parameters).fields}


def _texts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields that are text, by a schema: that is all there is of a function of another process."""
    from jackfield.contract.reading import Document

    found = Document(schema).resolved(schema)
    known = {} if isinstance(found, bool) else found.get("properties", {})
    return {name: str for name, part in known.items() if _is_text(part, schema)}


def _is_text(part: Any, root: Mapping[str, Any] | None = None) -> bool:
    from jackfield.contract.reading import Document

    found = Document(part if root is None else root).resolved(part)
    return not isinstance(found, bool) and found.get("type") == "string"


def _is_plain(annotation: Any, *, none: bool = True) -> bool:
    """Tell whether a type has no value that is made of keys, nor, without `none`, the value None."""
    from jackfield.contract.shapes import Array, Checked, Choice, Fixed, Leaf, children, strip, view

    seen = view(annotation)
    if isinstance(seen, Choice | Checked):
        return all(_is_plain(part, none=none) for part in children(seen))
    return isinstance(seen, Leaf | Array | Fixed) and (none or strip(annotation) not in (None, type(None)))


def _value(text: str, annotation: Any) -> Any:
    from jackfield.contract.shapes import strip

    if strip(annotation) is str:
        return text
    try:
        return from_json(text)
    except (ValueError, RecursionError):
        return text
