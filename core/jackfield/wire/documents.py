"""JSON documents: the one way in which results, events, records and messages are written."""

import base64
import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgspec

from jackfield.wire.values import Format, NoForm, Odd, name_of, plain, text_of


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
        >>> to_json([1, {"z": 2j}])
        Traceback (most recent call last):
        ...
        TypeError: $[1].z: complex has no form in plain data: give a record, a mapping, a sequence or text, or pass \
`fallback=`
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
    made = plain(value, _JSON, odd)
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
