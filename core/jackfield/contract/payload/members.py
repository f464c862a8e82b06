"""Members of enums and literals that msgspec does not know: taken by their values, and by what is written of those."""

from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, get_args

from jackfield.contract.payload.leaves import json_scalar
from jackfield.contract.payload.limits import is_mapping
from jackfield.contract.payload.misfit import Misfit, members, own_code, type_name
from jackfield.contract.payload.nodes import Plan
from jackfield.contract.shapes import strip

_ROWS: Final = (list, tuple, deque)
_Compile = Callable[[Any], Plan]


def one_of(plan: Plan, compiled: _Compile) -> Callable[[Any], Any]:
    """Take a member by its value, or by what `to_json` writes of that.

    Args:
        plan: of the literal or the enum.
        compiled: gives the plan of a class. It is asked when a value is of one, and not before: that may hold the enum.
    """
    kind = strip(plan.annotation)
    find = _member if isinstance(kind, type) else _literal

    def take(value: Any) -> Any:
        try:
            return find(kind, value, compiled)
        except (RecursionError, MemoryError, Misfit):
            raise
        except LookupError:
            raise Misfit("", members(kind), f"another {type_name(value)}") from None
        except Exception as error:  # noqa: BLE001  # an enum may have a `_missing_` of its own
            raise Misfit("", members(kind), f"another {type_name(value)}") from own_code(error)

    return take


def _member(kind: Any, value: Any, compiled: _Compile) -> Any:
    if isinstance(value, kind):
        return value
    try:
        found = kind(value)
    except Exception:
        own = (one for name, one in kind.__members__.items() if one.name == name)  # no aliases
        alike = [one for one in own if _is_written(value, one.value, compiled)]
        if len(alike) > 1:
            shown = " and ".join(one.name for one in alike)
            raise Misfit("", members(kind), f"what is written alike of {shown}") from None
        if not alike:
            raise
        return alike[0]
    if found.value == value and not _is_same(value, found.value):
        raise ValueError("True is not 1, nor is 1.0")
    return found


def _literal(kind: Any, value: Any, compiled: _Compile) -> Any:
    for one in get_args(kind):
        if _is_same(value, one) or (isinstance(one, bytes | Enum) and _is_written(value, one, compiled)):
            return one
    raise LookupError


def _is_same(value: Any, one: Any) -> bool:
    """Tell equal values of one type; an `int` is as good as the `float`."""
    kind = type(value)
    return (kind is type(one) or (kind is int and type(one) is float)) and bool(value == one)


def _is_written(value: Any, one: Any, compiled: _Compile) -> bool:  # noqa: PLR0911  # one for each kind of value
    """Tell whether plain data is what is written of a member's value."""
    if isinstance(one, Enum):
        return _is_written(value, one.value, compiled)
    if isinstance(one, _ROWS):
        pairs = zip(value, one, strict=True) if isinstance(value, list | tuple) and len(value) == len(one) else None
        return pairs is not None and all(_is_written(item, other, compiled) for item, other in pairs)
    if isinstance(one, AbstractSet):
        if not isinstance(value, list | tuple) or len(value) != len(one):
            return False
        return all(any(_is_written(item, other, compiled) for item in value) for other in one)
    if isinstance(one, Mapping):
        return (
            is_mapping(value)
            and len(value) == len(one)
            and all(
                any(_is_key(key, name, compiled) and _is_written(value[key], other, compiled) for key in value)
                for name, other in one.items()
            )
        )
    try:
        return _is_same(value, one) or bool(compiled(type(one)).take(value) == one)
    except Misfit:
        return False


def _is_key(key: Any, name: Any, compiled: _Compile) -> bool:
    read = json_scalar(key) if isinstance(key, str) else key
    return _is_written(key, name, compiled) or (read is not key and _is_written(read, name, compiled))
