"""JSON documents: the one way in which results, events, records and messages are written."""

import base64
import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgspec

from jackfield.wire.values import Format, NoForm, Odd, name_of, plain, text_of

_BYTES: Final = "$bytes"


def to_json(value: Any, *, fallback: Callable[[Any], Any] | None = None) -> bytes:
    r"""Write a value as JSON: what the contracts of functions take, and what people return.

    Numbers, text, None and bools, instances of subclasses too (numpy's and pandas' scalars are such), are written as
    themselves, NaN and infinities as `null`; Decimal, UUID, paths, dates, times and durations as text; bytes as base64;
    enums as their values. Mappings and records (attrs, dataclass, `msgspec.Struct`, pydantic) become objects, their
    keys text; sequences, sets and named tuples become arrays, and so does what has a `tolist`. Lone surrogates are
    escaped.

    Args:
        value: anything.
        fallback: called with each object that has no form, one that lies within itself or more than 200 levels deep
            included; what it gives is written in that object's place.

    Returns:
        One line of UTF-8.

    Raises:
        TypeError: when something has no form; the text says where. Also when `fallback` raises, or gives what has none.

    Examples:
        >>> to_json({"mean": float("nan"), "of": {1, 2}, "raw": b"hi"})
        b'{"mean":null,"of":[1,2],"raw":"aGk="}'
        >>> to_json([1, {"z": 2j}], fallback=str)
        b'[1,{"z":"2j"}]'
        >>> to_json([1, {"z": 2j}])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        TypeError: $[1].z: complex has no form in plain data: give a record, a mapping, a sequence or text, ...
    """

    def odd(leaf: Any, path: str, reason: str) -> Any:
        if fallback is None:
            raise _refusal(leaf, path, reason)
        try:
            made = fallback(leaf)
        except Exception as error:
            raise _refusal(leaf, path, reason) from error
        if made is leaf:
            raise _refusal(leaf, path, reason)
        return made

    return _written(value, odd)


def from_json(document: bytes | str) -> Any:
    """Read a JSON document, as what `to_json` writes of plain data.

    JSON has no bytes. Where a contract asks for them their base64 text will do; where nothing says so, an object whose
    only key is `$bytes` stands for them: `{"$bytes": "aGk="}`.

    Args:
        document: UTF-8.

    Returns:
        Plain data.

    Raises:
        ValueError: if it is no JSON, or what stands under `$bytes` is no base64.
        RecursionError: if it is nested too deeply.

    Examples:
        >>> from_json(b'{"name": "a.txt", "data": {"$bytes": "aGk="}}')
        {'name': 'a.txt', 'data': b'hi'}
    """
    try:
        read = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError):
        text = document if isinstance(document, str) else document.decode()
        if "\\ud" not in text.lower():
            raise
        read = json.loads(text, parse_constant=_no_constant)  # it takes a lone surrogate
    marked = _BYTES in document if isinstance(document, str) else _BYTES.encode() in document
    return _with_bytes(read) if marked else read


def _with_bytes(read: Any) -> Any:
    if isinstance(read, list):
        return [_with_bytes(item) for item in read]
    if not isinstance(read, dict):
        return read
    if read.keys() == {_BYTES} and isinstance(read[_BYTES], str):
        try:
            return base64.b64decode(read[_BYTES], validate=True)
        except ValueError as error:
            raise ValueError(f"what stands under {_BYTES!r} is no base64: {error}") from None
    return {key: _with_bytes(item) for key, item in read.items()}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def show_json(value: Any) -> tuple[bytes, list[str]]:
    """Write a value as JSON, whatever it is: what has no form is shown as its `repr`, for people.

    Args:
        value: anything.

    Returns:
        The JSON, and for each object that could not be written what `to_json` would say.

    Examples:
        >>> show_json({"z": 2j})
        (b'{"z":"2j"}', ['$.z: complex has no form in plain data'])
    """
    missed: dict[str, str] = {}

    def odd(leaf: Any, path: str, reason: str) -> Any:
        missed.setdefault(path, f"{path}: {name_of(leaf)} {reason}")
        return text_of(leaf, path, reason)

    return _written(value, odd), list(missed.values())


def shown_json(value: Any) -> bytes:
    """Write a value as JSON, whatever it is, as `show_json` does, for whoever cannot do without."""
    return _written(value, text_of)


def _refusal(leaf: Any, path: str, reason: str) -> TypeError:
    return TypeError(
        f"{path}: {name_of(leaf)} {reason}: give a record, a mapping, a sequence or text, or pass `fallback=`"
    )


def _written(value: Any, odd: Odd) -> bytes:
    made = value if type(value) in _JSON.quick else plain(value, _JSON, odd)
    try:
        return msgspec.json.encode(made)
    except (ValueError, TypeError):  # a lone surrogate, an endless integer, a list that another thread has changed
        made = plain(made, _JSON, odd, careful=True)
        return json.dumps(made, separators=(",", ":"), allow_nan=False).encode()


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int):
        try:
            str(value)
        except ValueError:
            raise NoForm("has more digits than Python writes (`sys.set_int_max_str_digits`)") from None
    return value


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, float) else str(_scalar(value))


_JSON: Final = Format(_scalar, _key)
