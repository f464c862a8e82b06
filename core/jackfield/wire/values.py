"""What becomes of a value that MessagePack has no type for: a mapping or a list where it is one, else its `repr`.

Nothing is ever pickled: what arrives is plain data. What is asked for is often a state dump, which should say what it
can rather than fail at the one odd value in it.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs
import msgspec

_SHOWN: Final = 2_000  # characters of a `repr`
_DEPTH: Final = 60


def shown(value: Any) -> Any:
    """Give the nearest thing that MessagePack has.

    Args:
        value: of any type that msgspec cannot encode.

    Returns:
        A dict, a list, or at most 2,000 characters of its `repr`.

    Examples:
        >>> shown(range(3)), shown(ValueError("x"))
        ([0, 1, 2], "ValueError('x')")
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | AbstractSet):
        return list(value)
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # a plugin's `__repr__` may raise anything
        return f"<{type(value).__qualname__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def plain(value: Any, depth: int = _DEPTH, above: frozenset[int] = frozenset()) -> Any:
    r"""Copy a value into plain data that can be encoded, whatever is in it: the slow way, when the fast one fails.

    Args:
        value: anything.
        depth: how many levels are followed; what lies deeper becomes "…".
        above: the ids of what the value lies in; what lies within itself becomes "…", too.

    Returns:
        Nothing but None, bools, numbers, text, bytes, lists, and dicts whose keys are those.

    Examples:
        >>> plain({"n": 2**70, "t": "\ud800"})
        {'n': '1180591620717411303424', 't': '\\ud800'}
    """
    if value is None or isinstance(value, bool | int | float | str | bytes | bytearray | memoryview):
        return _scalar(value)
    if depth <= 0 or id(value) in above:
        return "…"
    above |= {id(value)}
    if names := _field_names(value):
        value = {name: getattr(value, name, None) for name in names}
    if isinstance(value, Mapping):
        return {_key(key): plain(item, depth - 1, above) for key, item in list(value.items())}
    if isinstance(value, Sequence | AbstractSet):
        return [plain(item, depth - 1, above) for item in list(value)]
    try:
        return plain(msgspec.to_builtins(value), 1)  # a date, an enum, a UUID, a Decimal
    except (ValueError, TypeError, OverflowError, RecursionError):
        return plain(shown(value), 1)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value) if value.bit_length() <= _SHOWN else hex(value)  # Python limits the digits of `str`
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value


def _key(key: Any) -> Any:
    key = plain(key, 2)
    return str(key) if isinstance(key, list | dict) else key


def _field_names(value: Any) -> list[str]:
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind)]
    return list(getattr(kind, "__dataclass_fields__", ()))
