"""What passes between steps is what would come out of another process, and nobody else's."""

import datetime as dt
import decimal
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.flow.values import again, by_value
from jackfield.wire.crossing import pack, unpack

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones())
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def typed(value):
    """A value together with the types in it."""
    if isinstance(value, dict):
        return [dict, [(typed(key), typed(item)) for key, item in value.items()]]
    return [list, [*map(typed, value)]] if isinstance(value, list) else [type(value), value]


def containers(value):
    """Every table and list within a value."""
    if isinstance(value, dict | list | tuple):
        yield id(value)
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


@given(values)
def test_a_copy_is_what_crosses(value):
    """The quick way and the long one give the same, to the type; what neither takes neither takes."""
    try:
        crossed = unpack(pack(value))
    except TypeError:
        return
    copy = by_value(value)
    assert typed(copy) == typed(crossed)
    assert typed(again(copy)) == typed(copy)


@given(values)
def test_nothing_that_can_change_is_shared(value):
    """Neither with what was given, nor between two copies."""
    try:
        copy = by_value(value)
    except TypeError:
        return
    assert not {*containers(value)} & {*containers(copy)}
    assert not {*containers(again(copy))} & {*containers(copy)}


def test_what_is_too_deep_or_in_a_circle_is_refused():
    """As everywhere."""
    circle: list = []
    circle.append(circle)
    deep: list = []
    for _ in range(150):
        deep = [deep]
    assert by_value(deep) == deep
    for wrong in (circle, {"x": [uuid.uuid4(), decimal.Decimal(1), circle]}):
        with pytest.raises(TypeError, match="within itself"):
            by_value(wrong)
