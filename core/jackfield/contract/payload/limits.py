"""How long and how deeply nested a payload may be."""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from jackfield.contract.payload.misfit import Misfit, key_step
from jackfield.contract.payload.nodes import SIZED
from jackfield.contract.shapes import NUMBERS, SCALARS, Record, View, strip
from jackfield.errors import PayloadError
from jackfield.model.generics import is_union

PAYLOAD_LIMIT: Final = 64 * 1024 * 1024
"""The longest `str`, `bytes` or `bytearray`, in characters or bytes, that a payload or a direct value of it may be."""

_NO_MAPPINGS: Final = SCALARS | {list, tuple, set, frozenset}  # an `isinstance` of an abstract class costs 300 ns
_NESTED: Final = 100  # levels beyond which a RecursionError is blamed on the payload


def is_mapping(value: Any) -> bool:
    """Tell a mapping, quickly for what plain data is made of."""
    return isinstance(value, dict) or (type(value) not in _NO_MAPPINGS and isinstance(value, Mapping))


def size_check(annotation: Any, shape: View) -> Callable[[Any], None] | None:
    """Compile the test against `PAYLOAD_LIMIT`.

    Returns:
        A function that looks at the fields that could be long, or at whatever comes, and raises `Misfit`; None where
        nothing can be long.
    """
    if _short_by_type(annotation):
        return None
    if not (isinstance(shape, Record) and shape.rest is None):
        return _check_any
    names = tuple(field.name for field in shape.fields if not _short_by_type(field.type))

    def check_fields(payload: Any) -> None:
        if isinstance(payload, dict) or is_mapping(payload):
            get = payload.get
            for name in names:
                value = get(name)
                if isinstance(value, SIZED) and len(value) > PAYLOAD_LIMIT:
                    raise _too_long(f".{name}", value)

    return check_fields if names else None


def _short_by_type(annotation: Any) -> bool:
    """Tell that a type has no long values: numbers, and unions of them with None."""
    bare = strip(annotation)
    members = get_args(bare) if is_union(bare) else (bare,)
    return all(any(strip(one) is kind for kind in (*NUMBERS, type(None))) for one in members) and bare is not type(None)


def _check_any(payload: Any) -> None:
    if isinstance(payload, SIZED):
        if len(payload) > PAYLOAD_LIMIT:
            raise _too_long("", payload)
    elif is_mapping(payload):
        for key, value in payload.items():
            if isinstance(value, SIZED) and len(value) > PAYLOAD_LIMIT:
                raise _too_long(key_step(key), value)


def _too_long(path: str, value: str | bytes | bytearray) -> Misfit:
    limit = f"at most {PAYLOAD_LIMIT // 2**20} MiB (PAYLOAD_LIMIT)"
    return Misfit(path, limit, f"a {type(value).__name__} of {len(value) / 2**20:.1f} MiB")


def blame_nesting(function: str, payload: Any) -> None:
    """Say after a `RecursionError` whose fault it was: nothing if the stack was full before the payload came.

    Raises:
        PayloadError: if the payload is nested too deeply.
    """
    level = [payload]
    for _ in range(_NESTED):
        inner: dict[int, Any] = {}
        for value in level:
            below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
            inner.update((id(child), child) for child in below)
        level = list(inner.values())
    if level:
        limit = f"data nested at most {_NESTED} levels deep"
        raise PayloadError(function, "$", limit, "deeper or circular data") from None
