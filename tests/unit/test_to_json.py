"""Whatever a function returns becomes JSON: what has a form is written in it, and the rest spoils nothing."""

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import itertools
import json
import pathlib
import threading
import types
import unittest.mock
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import to_json
from jackfield.wire.documents import show_json


class Text(str):  # noqa: SLOT000  # as strangers write it
    def __str__(self):
        return "a lie"


class Whole(int):
    def __int__(self):
        return 0


class Real(float):
    def __float__(self):
        return 0.0


class Raw(bytes): ...


class When(dt.datetime): ...


class Day(dt.date): ...


class Span(dt.timedelta): ...


class Money(decimal.Decimal):
    def __str__(self):
        return "a lie"


class Names(list): ...


class Lowercase(dict):
    def __getitem__(self, key):
        return super().__getitem__(key.lower())


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Bit(enum.Flag):
    A = 1
    B = 2


class Corner(enum.Enum):
    ZERO = (0, 0)


class Pair(NamedTuple):
    left: int
    right: int


@attrs.frozen
class Private:
    _key: str
    kept: int = attrs.field(default=1, alias="keep")


@attrs.define
class Total:
    parts: list
    total: int = attrs.field(init=False, default=3)


@dataclasses.dataclass
class Point:
    x: object
    y: dataclasses.InitVar[int] = 0
    unset: int = dataclasses.field(init=False)

    @functools.cached_property
    def cached(self):
        return 1


class Renamed(msgspec.Struct, rename="camel", tag="r", omit_defaults=True):
    first_name: str
    more: list = []
    maybe: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, array_like=True):
    a: int
    b: object


class NotADict(Mapping):
    def __getitem__(self, key):
        return {"a": 1}[key]

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class Squares(Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError
        return index**2


class Scalar:
    """As numpy's `int64` and torch's tensors."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


class NotATime(dt.datetime):
    """As `pandas.NaT`."""

    __hash__ = None

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True


NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
PARIS_1900 = dt.timezone(dt.timedelta(seconds=561))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (2**100, 2**100),
        (float("nan"), None),
        ([float("inf"), -float("inf"), 1.5], [None, None, 1.5]),
        ("Grüße", "Grüße"),
        (b"hi", "aGk="),
        (bytearray(b"hi"), "aGk="),
        (memoryview(b"h_i_")[::2], "aGk="),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (NOON, "2024-01-01T12:00:00Z"),
        (NOON.replace(tzinfo=None), "2024-01-01T12:00:00"),
        (dt.datetime(1900, 1, 1, tzinfo=PARIS_1900), "1899-12-31T23:50:39Z"),
        (NOON.date(), "2024-01-01"),
        (NOON.time(), "12:00:00"),
        (dt.timedelta(days=1, seconds=2), "P1DT2S"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        # instances of subclasses are what their base is, whatever they say of themselves
        (Text("a"), "a"),
        (Whole(3), 3),
        (Real(1.5), 1.5),
        (Raw(b"hi"), "aGk="),
        (When(2024, 1, 1), "2024-01-01T00:00:00"),
        (Day(2024, 1, 1), "2024-01-01"),
        (Span(1), "P1D"),
        (Money("1.5"), "1.5"),
        (Names([1]), [1]),
        (Lowercase(a=1), {"a": 1}),
        (NotATime(2024, 1, 1), None),
        (collections.UserString("a"), "a"),
        # enums are their values
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Bit.A | Bit.B, 3),
        (Corner.ZERO, [0, 0]),
        # mappings, their keys text
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (NotADict(), {"a": 1}),
        ({None: 1, True: 2, 3: 3, 1.5: 4, b"x": 5}, {"null": 1, "true": 2, "3": 3, "1.5": 4, "eA==": 5}),
        ({Colour.RED: 1, Level.HIGH: 2, Text("t"): 3}, {"red": 1, "3": 2, "t": 3}),
        ({NOON: 1, uuid.UUID(int=1): 2}, {"2024-01-01T12:00:00Z": 1, "00000000-0000-0000-0000-000000000001": 2}),
        # sequences, sets, arrays
        ((1, (2, 3)), [1, [2, 3]]),
        (Pair(1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (collections.deque([1]), [1]),
        (collections.UserList([1]), [1]),
        (Squares(), [0, 1, 4]),
        ({1}, [1]),
        (frozenset([1]), [1]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (array.array("d", [1.5]), [1.5]),
        (Scalar(3), 3),
        ([Scalar([1, [Scalar(2)]])], [[1, [2]]]),
        # records, under the names that their constructors take
        (Private("k"), {"key": "k", "keep": 1}),
        (Total([1, 2]), {"parts": [1, 2], "total": 3}),
        (Point(NOON), {"x": "2024-01-01T12:00:00Z"}),
        (Renamed("Ada"), {"type": "r", "firstName": "Ada"}),
        (Renamed("Ada", [1], 2), {"type": "r", "firstName": "Ada", "more": [1], "maybe": 2}),
        (Row(1, Whole(2)), [1, 2]),
        ([msgspec.Raw(b'{"a":1}')], [{"a": 1}]),
        # lone surrogates, as in a file's name that is no UTF-8
        ({"\udc80": ["a\udc80", float("nan"), NOON]}, {"\udc80": ["a\udc80", None, "2024-01-01T12:00:00Z"]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_a_form_is_written_in_it(value, written):
    """Nested, too: as an item, as a field, as a value."""
    for within, expected in [(value, written), ([value], [written]), ({"k": (value,)}, {"k": [written]})]:
        document = to_json(within)
        assert json.loads(document, parse_constant=pytest.fail) == expected
        assert show_json(within) == (document, [])
    read = json.loads(to_json(value))
    assert type(read) is type(written)


def test_a_model_of_pydantic_writes_itself():
    """By its aliases, which is what it takes; a field that its JSON mode refuses is looked at as any other value."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        when: dt.date = pydantic.Field(alias="at")
        secret: pydantic.SecretStr = pydantic.SecretStr("s3cret")
        other: object = None

    assert json.loads(to_json([Model(at=dt.date(2020, 1, 2))])) == [
        {"at": "2020-01-02", "secret": "**********", "other": None}
    ]
    assert json.loads(to_json(Model(at=dt.date(2020, 1, 2), other=Scalar(5))))["other"] == 5
    with pytest.raises(TypeError, match=r"^\$\.other: object has no form"):
        to_json(Model(at=dt.date(2020, 1, 2), other=object()))


class Rude:
    def __repr__(self):
        raise SystemExit(3)


def odd():
    """Pytest itself cannot have such a class in a module."""

    class Meta(type):
        def __hash__(cls):
            raise RuntimeError("odd")

        def __getattribute__(cls, name):
            raise SystemExit(3)

    return Meta("Odd", (), {})()


def no_class():
    """Nor is Hypothesis prepared for this one."""

    class NoClass:
        __class__ = property(lambda self: 1 / 0)

    return NoClass()


class NoDict:
    @property
    def __dict__(self):
        raise RuntimeError("no")


class Crooked(dict):
    def items(self):
        raise ValueError("no")


class Endless(Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return index


class Evasive(Sequence):
    def __len__(self):
        return -1  # noqa: PLE0303  # on purpose

    def __getitem__(self, index):
        return index


class Liar(dt.datetime):
    def utcoffset(self):
        raise KeyError("no")


class Mirror:
    def tolist(self):
        return Mirror()


@dataclasses.dataclass
class Field:
    it: object

    @property
    def broken(self):
        raise RuntimeError("no")


def ring():
    around = []
    around.extend([around, around])
    return around


NO_FORM = {
    "object": object,
    "a class": lambda: object,
    "a repr that exits": Rude,
    "an odd metaclass": odd,
    "no dict": NoDict,
    "no class": no_class,
    "items that raise": lambda: Crooked(a=1),
    "more items than it says": Endless,
    "a length below zero": Evasive,
    "a datetime that raises": lambda: Liar(2024, 1, 1),
    "a tolist that gives itself": Mirror,
    "a mock": unittest.mock.Mock,
    "a magic mock": unittest.mock.MagicMock,
    "a mock of a dict": lambda: unittest.mock.Mock(spec=dict),
    "a mock of a list": lambda: unittest.mock.NonCallableMagicMock(spec=list),
    "a range too long": lambda: range(10**12),
    "a complex": lambda: 1j,
    "a builtin": lambda: len,
    "a function": lambda: odd,
    "a lock": threading.Lock,
    "a generator": lambda: (one for one in [1]),
    "an iterator": lambda: iter([1]),
    "an ellipsis": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "a namespace": lambda: types.SimpleNamespace(a=1),
    "an exception": lambda: ValueError("x"),
    "too many digits": lambda: 10**5000,
    "a key that is a tuple": lambda: {(1, 2): 3},
    "two keys alike": lambda: {1: "a", "1": "b"},
    "a circle": ring,
}


@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_form_is_refused_with_its_path(name):
    """And shown alone where it may be: what is around it is written."""
    leaf = NO_FORM[name]()
    with pytest.raises(TypeError, match=r"^\$\.rows\[1\]\.it.*: "):
        to_json({"rows": [1, Field(leaf)], "more": 1.5})
    document, missed = show_json({"rows": [1, Field(leaf)], "more": 1.5})
    shown = json.loads(document)
    assert (shown["rows"][0], shown["more"]) == (1, 1.5)
    assert all(line.startswith("$.rows[1].it") for line in missed)
    assert missed
    written = json.loads(to_json({"rows": [1, Field(leaf)]}, fallback=lambda _: "?"))
    assert written["rows"][1]["it"] in ("?", {"?": 3}, ["?", "?"])


def test_a_fallback_may_give_anything_that_has_a_form():
    """What it gives is written as any value; what it gives may have leaves of its own without one."""

    class Owner:
        def __init__(self, name, boss=None):
            self.name, self.boss = name, boss

    assert to_json([Owner("a", Owner("b"))], fallback=vars) == b'[{"name":"a","boss":{"name":"b","boss":null}}]'
    around = Owner("a")
    around.boss = around
    with pytest.raises(TypeError, match=r"\$\[0\]\.boss"):
        to_json([around], fallback=vars)


@pytest.mark.parametrize(
    "fallback",
    [lambda leaf: leaf, lambda leaf: [leaf, leaf], lambda _: [object()] * 2, lambda _: {"a": object()}, len],
    ids=["itself", "around itself", "another", "deeper", "raises"],
)
def test_a_fallback_that_gives_nothing_that_has_a_form_is_refused(fallback):
    """Soon, and with the path."""
    with pytest.raises(TypeError, match=r"^\$\[0\]"):
        to_json([object()], fallback=fallback)


def test_what_is_nested_too_deeply_is_refused():
    """However deep it is; up to 200 levels it is written."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="nested too deeply"):
        to_json(deep)
    document, missed = show_json(deep)
    assert document.strip(b"[]").decode() == '"…"'
    assert len(missed) == 1
    fine = 1
    for _ in range(200):
        fine = {"a": [fine]} if isinstance(fine, list) else [fine]
        if to_json(fine).count(b"[") + to_json(fine).count(b"{") > 190:
            break
    assert json.loads(to_json(fine)) == fine


def test_what_is_there_twice_is_written_twice():
    """Only a circle is one."""
    twice = [1]
    assert to_json([twice, twice, {"a": twice}]) == b'[[1],[1],{"a":[1]}]'


def test_what_would_never_end_is_refused(monkeypatch):
    """A list that is in another twice, forty times over, is no circle; two million parts would take their time."""
    monkeypatch.setattr("jackfield.wire.values.PARTS", 1_000)
    doubled = [1]
    for _ in range(40):
        doubled = [doubled, doubled]
    with pytest.raises(TypeError, match=r"list is one of more than 2,000,000 lists and tables"):
        to_json(doubled)


def test_nothing_is_changed():
    """Neither the value nor what is in it."""
    value = {"a": [1, Whole(2)], "b": collections.deque([1])}
    to_json(value)
    assert list(map(type, value["a"])) == [int, Whole]
    assert type(value["b"]) is collections.deque


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_is_written_as_it_is(value):
    """What JSON can hold comes back equal."""
    assert json.loads(to_json(value)) == value


@given(
    st.recursive(
        st.sampled_from([make for name, make in NO_FORM.items() if name != "no class"]).map(lambda make: make())
        | st.floats()
        | st.text(st.characters(exclude_categories=()))
        | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner) | st.builds(Field, inner),
        max_leaves=15,
    )
)
def test_whatever_it_is_some_of_it_is_shown(value):
    """Valid JSON, and each miss has a path."""
    document, missed = show_json(value)
    json.loads(document, parse_constant=pytest.fail)
    assert all(line.startswith("$") for line in missed)


class Interrupting:
    def __repr__(self):
        raise KeyboardInterrupt


def test_an_interrupt_that_nobody_has_sent_spoils_the_object_that_raises_it_alone():
    """Python interrupts the main thread alone; in any other it is as any exception of a stranger's code."""
    shown = []
    thread = threading.Thread(target=lambda: shown.append(show_json([1, Interrupting()])[0]))
    thread.start()
    thread.join()
    assert shown == [b'[1,"<Interrupting whose repr raises KeyboardInterrupt>"]']


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, deque])
def test_a_subclass_of_a_sequence_whose_iteration_has_no_end_has_no_form(kind):
    """It is read to where it says that it ends; one that merely orders its items is written as it gives them."""

    class Endless(kind):
        def __iter__(self):
            return itertools.count()

    class Reversed(kind):
        def __iter__(self):
            return iter(sorted(kind.__iter__(self), reverse=True))

    with pytest.raises(TypeError, match="more items than it says"):
        to_json(Endless([1]))
    assert to_json({"of": Reversed([1, 2, 3])}) == b'{"of":[3,2,1]}'
