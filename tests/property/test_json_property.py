"""What `to_json` writes of a value of a contract's type, the contract takes again: types and values are generated."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import to_json
from jackfield.contract import specify
from jackfield.contract.payload import compile_payload
from jackfield.wire.documents import from_json


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Private:
    _key: str
    level: Level = attrs.field(default=Level.LOW, alias="importance")


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    _y: float = 0.0


class Named(NamedTuple):
    first: str
    second: int = 0


class Typed(TypedDict):
    at: dt.date
    by: uuid.UUID


class Renamed(msgspec.Struct, rename="camel", frozen=True):
    first_name: str
    more_ids: dict[int, str] = {}


EARLY = dt.datetime.fromisoformat("0002-01-01T00:00:00")


ODD = dt.datetime(1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=561)))


@attrs.frozen
class Total:
    parts: int
    total: int = attrs.field(init=False, default=3)


class Corner(enum.Enum):
    ZERO = (0, 0)
    BOX = {"of": [(0, 1), frozenset({2})]}  # noqa: RUF012  # as people write it
    DAY = dt.date(2025, 3, 1)
    AT = Point(1, 2.0)


class Bit(enum.Flag):
    A = 1
    B = 2


def exactly(first, second):
    return type(first) is type(second) and first == second


MINUTES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
# Each type with its values, and whether they can be keys. NaN is not equal to itself, and infinities are null.
SCALARS = [
    (int, st.integers(), True),
    (float, st.floats(allow_nan=False, allow_infinity=False), True),
    (bool, st.booleans(), True),
    (str, st.text(st.characters(exclude_categories=())), True),
    (bytes, st.binary(), True),
    (dt.datetime, st.datetimes(timezones=st.none() | MINUTES, min_value=EARLY), True),
    (dt.date, st.dates(), True),
    (dt.time, st.times(), True),
    (dt.timedelta, st.timedeltas(), True),
    (uuid.UUID, st.uuids(), True),
    (decimal.Decimal, st.decimals(allow_nan=False), True),
    (PurePosixPath, st.text().map(PurePosixPath), False),
    (Colour, st.sampled_from(Colour), True),
    (Level, st.sampled_from(Level), True),
    (Corner, st.sampled_from(Corner), False),
    (Private, st.builds(Private, st.text(), st.sampled_from(Level)), False),
    (Point, st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False)), False),
    (Named, st.builds(Named, st.text(), st.integers()), False),
    (Typed, st.fixed_dictionaries({"at": st.dates(), "by": st.uuids()}), False),
    (Renamed, st.builds(Renamed, st.text(), st.dictionaries(st.integers(), st.text())), False),
]  # fmt: skip


def typed(kind, values):
    return st.tuples(st.just(kind), st.just(values))


LEAVES = st.sampled_from(SCALARS).map(lambda row: (row[0], row[1]))
KEYS = st.sampled_from([row[:2] for row in SCALARS if row[2]])


def several(inner):
    """Containers of what there is already."""

    def listed(pair):
        kind, values = pair
        items = st.lists(values, max_size=4)
        return st.sampled_from(
            [
                (list[kind], items),
                (tuple[kind, ...], items.map(tuple)),
                (tuple[kind, kind], st.tuples(values, values)),
                (collections.deque[kind], items.map(collections.deque)),
                (kind | None, st.none() | values),
            ]
        )

    def mapped(pairs):
        (key, keys), (kind, values) = pairs
        items = st.dictionaries(keys, values, max_size=4)
        return st.sampled_from(
            [
                (dict[key, kind], items),
                (collections.OrderedDict[key, kind], items.map(collections.OrderedDict)),
                (collections.defaultdict[key, kind], items.map(lambda made: collections.defaultdict(None, made))),
                (collections.Counter[key], st.dictionaries(keys, st.integers(), max_size=4).map(collections.Counter)),
                (set[key], st.sets(keys, max_size=4)),
                (frozenset[key], st.frozensets(keys, max_size=4)),
            ]
        )

    return inner.flatmap(listed) | st.tuples(KEYS, inner).flatmap(mapped)


TYPES = st.recursive(LEAVES, several, max_leaves=4)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_is_written_is_taken_again(data):
    """`docs/reference/payloads.md`: "What `to_json` writes of a value is taken again by its contract"."""
    kind, values = data.draw(TYPES)
    value = data.draw(values)

    def take(it): ...

    take.__annotations__ = {"it": kind}
    taken = compile_payload(specify("take", take)).convert(from_json(to_json(value)))
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (float, float("nan"), "refused"),
        (float | None, float("inf"), None),
        (dict[float, int], {float("inf"): 1}, {float("inf"): 1}),
        (dict[str | int, int], {1: 2}, {"1": 2}),
        (str | dt.date, dt.date(2024, 1, 1), "2024-01-01"),
        (dt.datetime, ODD, dt.datetime(1899, 12, 31, 23, 50, 39, tzinfo=dt.UTC)),
        (Total, Total(1), "refused"),
        (Bit, Bit.A | Bit.B, Bit.A | Bit.B),
        (str | bytes, b"hi", "aGk="),
        (Any, b"hi", "aGk="),
        (Any, {1: 2}, {"1": 2}),
        (Any, Colour.RED, "red"),
    ],
)
def test_what_is_not_the_same_afterwards(kind, value, taken):
    """The exceptions of the table in `docs/reference/payloads.md`."""

    def take(it): ...

    take.__annotations__ = {"it": kind}
    convert = compile_payload(specify("take", take)).convert
    if taken == "refused":
        with pytest.raises(Exception, match="expected"):
            convert(from_json(to_json(value)))
    else:
        assert exactly(convert(from_json(to_json(value))), taken)
