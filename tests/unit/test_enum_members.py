"""Members of enums are taken as they are, by their values, and by what `to_json` writes of those, whatever they are."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import uuid
from typing import Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Host, PayloadError, to_json
from jackfield.contract.payload.schema import payload_schema


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Body:
    mass: float
    moons: tuple[str, ...] = ()


class Inner(enum.Enum):
    PAIR = ("a", 1)


class Kind(enum.Enum):
    PAIR = (1, 2)
    NESTED = ((1, "x"), [2.5, (None, True)])
    FLOATS = (5.97e24, 1.0)
    FEW = frozenset({"a", "b"})
    TABLE = {"a": (1, 2)}  # noqa: RUF012  # as people write it
    YEARS = {2024: {True: "x"}}  # noqa: RUF012
    QUEUE = collections.deque([7, 8])  # noqa: RUF012
    NONE = None
    HALF = 0.5
    RAW = b"\xff"
    DAY = dt.date(2025, 3, 1)
    TIME = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
    SPAN = dt.timedelta(hours=3)
    MONEY = decimal.Decimal("1.10")
    ID = uuid.UUID(int=5)
    FILE = pathlib.PurePosixPath("/etc/hosts")
    POINT = Point(1, 2.0)
    BODY = Body(1.5, ("Io",))
    OTHER = Inner.PAIR


class Day(dt.date, enum.Enum):
    FIRST = 2025, 3, 1


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.4e23, 3.39e6)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius


def take(annotation, payload):
    def f(it): ...

    f.__annotations__ = {"it": annotation}
    f.__code__ = (lambda it: it).__code__
    with Host(observers=()) as host:
        host.register("f", f)
        return host.call("f", payload)


@pytest.mark.parametrize("member", [*Kind, *Day, *Planet], ids=str)
def test_what_to_json_writes_of_a_member_is_that_member(member):
    """Alone, in a literal, within a list, and in Python as it is."""
    kind, written = type(member), json.loads(to_json(member))
    assert take(kind, written) is member
    assert take(kind, member) is member
    assert take(kind, member.value) is member
    assert take(list[kind], [written]) == [member]
    assert take(Literal[member, 99], written) is member


@pytest.mark.parametrize(
    "value",
    [[1], [1, 3], [True, 2], [1, 2, 3], {"a": [1, 3]}, {"b": [1, 2]}, ["a", "c"], ["a"], "x", {"x": 1}, [[]]],
)
def test_what_is_written_of_no_member_is_refused(value):
    """`True` is not 1, here as elsewhere."""
    with pytest.raises(PayloadError, match=r"payload at \$: expected one of \(1, 2\)"):
        take(Kind, value)


def test_the_text_of_bytes_stands_for_them_in_a_literal():
    """As where an annotation asks for bytes."""
    assert take(Literal[b"x", 1], json.loads(to_json(b"x"))) == b"x"
    with pytest.raises(PayloadError):
        take(Literal[b"x", 1], "x")


def test_whole_numbers_stand_for_floats():
    """JSON of other languages writes 1 for 1.0."""
    assert take(Kind, [5.97e24, 1]) is Kind.FLOATS


def test_two_members_that_are_written_alike_are_told_apart_in_python_alone():
    """Neither is guessed; an alias is the same member."""
    kind = enum.Enum("Alike", {"ROW": (1, 2), "FEW": frozenset({1, 2}), "AGAIN": (1, 2), "LONE": (3,)})
    assert take(kind, (1, 2)) is kind.ROW
    assert take(kind, frozenset({1, 2})) is kind.FEW
    assert take(kind, [3]) is kind.LONE
    with pytest.raises(PayloadError, match="got what is written alike of ROW and FEW"):
        take(kind, [1, 2])


def test_a_member_of_a_class_that_has_no_form_is_taken_as_it_is_alone():
    """Its value is an object that only Python knows."""
    thing = object()
    kind = enum.Enum("Thing", {"IT": thing, "ROW": (1,)})
    assert take(kind, thing) is kind.IT
    assert take(kind, [1]) is kind.ROW
    with pytest.raises(PayloadError):
        take(kind, "object")


def test_the_schema_of_an_enum_has_what_is_taken():
    """Whoever goes by it is not refused."""

    def f(it: Planet): ...

    with Host(observers=()) as host:
        host.register("f", f)
        (definition,) = payload_schema(host.describe("f"))["$defs"].values()
    assert definition["enum"] == [[5.97e24, 6.37e6], [6.4e23, 3.39e6]]


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.dates()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.builds(Point, st.integers(), st.floats(0, 1))
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.lists(_VALUES, min_size=1, max_size=4))
@settings(deadline=None)
def test_whatever_a_member_is_it_comes_back_or_is_refused_as_alike(values):
    """No other member is ever given, but one whose value is the very JSON: `[]` beside `()`."""
    kind = enum.Enum("Any", {f"M{index}": value for index, value in enumerate(values)})
    for member in kind:
        written = json.loads(to_json(member))
        try:
            found = take(kind, written)
            assert found is member or found.value == written
        except PayloadError as error:
            assert "written alike" in error.got  # noqa: PT017  # one of two ends
