"""What is sent arrives as plain data, and no odd value stops the rest."""

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import types
import uuid
from collections import deque

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.control import pack, unpack
from jackfield.wire.values import DEPTH, text_of


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Pair:
    left: object
    right: object = None


@dataclasses.dataclass
class Point:
    x: object


class Struct(msgspec.Struct):
    x: object


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


def sent(value):
    return unpack(pack(value)[4:])


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (range(3), [0, 1, 2]),
        (deque([1, 2]), [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (Pair(1, Colour.RED), {"left": 1, "right": "red"}),
        (Point(dt.timedelta(1)), {"x": "P1D"}),
        (pathlib.PurePosixPath("/x"), "/x"),
        (KeyError("x"), "KeyError('x')"),
        (Rude(), "<Rude whose repr raises RuntimeError>"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.5"), "1.5"),
        (2**70, str(2**70)),
        (2**9_000, str(2**9_000)),
        (2**20_000, hex(2**20_000)),
        ({2**70: [Pair("\ud800")]}, {str(2**70): [{"left": "\\ud800", "right": None}]}),
        (Struct(2**70), {"x": str(2**70)}),
        (Point(2**70), {"x": str(2**70)}),
        (
            [2**70, Colour.RED, bytearray(b"b"), Rude(), 1.5, None],
            [str(2**70), "red", b"b", "<Rude whose repr raises RuntimeError>", 1.5, None],
        ),
        ({(1, 2**70): 1}, {f"(1, {2**70})": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_arrives_as_the_nearest_plain_data(value, arrives):
    """Containers stay containers, records become dicts, what is neither becomes text."""
    assert sent(value) == arrives


def test_a_value_within_itself_ends_in_dots():
    """A circle is cut where it closes; what is next to it arrives."""
    circle = {"name": "ring", "more": []}
    circle["more"] += [circle, "end"]
    assert sent(circle) == {"name": "ring", "more": ["…", "end"]}


def test_what_lies_too_deep_ends_in_dots():
    """A value is cut where the other side could not read it any more."""
    deep = []
    for _ in range(200_000):
        deep = [deep]
    arrived, levels = sent(deep), 0
    while isinstance(arrived, list):
        arrived, levels = arrived[0], levels + 1
    assert (arrived, levels) == ("…", DEPTH)


def test_a_long_repr_is_cut():
    """One object with a large `repr` does not fill the frame."""
    assert len(text_of(type("Long", (), {"__repr__": lambda self: "x" * 1_000_000})())) == 2_001


@given(
    st.recursive(
        st.none() | st.integers() | st.text(st.characters(exclude_categories=())) | st.binary() | st.builds(object),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner) | st.builds(Pair, inner, inner)
        ),
        max_leaves=20,
    )
)
def test_anything_can_be_sent(value):
    """No value makes `pack` fail, and what has arrived is not changed by sending it again."""
    assert sent(sent(value)) == sent(value)
