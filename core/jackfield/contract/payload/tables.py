"""Making the mappings that are no plain `dict`: `OrderedDict`, `Counter`, `defaultdict`."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, get_origin

from jackfield.contract.shapes import Table, identity, strip, view

_EMPTY: Final = (int, float, bool, str, bytes, list, dict, set, frozenset, tuple, Counter, OrderedDict)


def table_maker(shape: Table) -> Callable[[Mapping[Any, Any], dict[Any, Any]], Any] | None:
    """Give what makes the mapping of a type; None where a `dict` is wanted.

    A `defaultdict[str, list[int]]` that is made here begins with an empty list for each key, as its annotation says; a
    value type without an empty value leaves it without. An instance keeps its own factory.

    Args:
        shape: the shape of the type.

    Returns:
        A function of the mapping that came, and of the keys and values that were taken in.
    """
    if shape.kind is dict:
        return None
    if shape.kind is not defaultdict:
        return lambda _, taken: shape.kind(taken)
    empty = _factory(shape)
    return lambda value, taken: defaultdict(value.default_factory if isinstance(value, defaultdict) else empty, taken)


def _factory(shape: Table) -> Any:
    """Give what makes the first value of a missing key."""
    bare = strip(shape.value)
    kind = get_origin(bare) or bare
    if kind is defaultdict:
        inner = view(bare)
        return partial(defaultdict, _factory(inner)) if isinstance(inner, Table) else None
    return kind if identity(kind) in _EMPTY else None
