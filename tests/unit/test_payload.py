"""Plain data becomes what the parameters want, or a `PayloadError` says where it does not fit."""

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import io
import pathlib
import re
import types
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TextIO, TypedDict, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from tests.support.collected import alive

from jackfield.contract import specify
from jackfield.contract.payload import PAYLOAD_LIMIT, compile_payload
from jackfield.decorators import inject
from jackfield.errors import PayloadError


def codec(target, name="f"):
    return compile_payload(specify(name, target))


def one(annotation, default=None):
    """Compile a function of one parameter of that type."""

    def f(x): ...

    f.__annotations__ = {"x": annotation}
    return codec(f)


def refused(convert, payload):
    with pytest.raises(PayloadError) as caught:
        convert(payload)
    error = caught.value
    assert error.function == "f"
    return error.path, error.expected, error.got


@attrs.frozen
class Loan:
    amount: int
    months: int = 12


@attrs.frozen
class BigLoan(Loan):
    reason: str = ""


@attrs.frozen
class Book:
    loans: list[Loan]
    best: Loan | None = None
    named: dict[str, Loan] = attrs.field(factory=dict)


@dataclasses.dataclass
class Data:
    x: int
    y: str = "y"


class Typed(TypedDict):
    x: int
    y: NotRequired[str]


class Named(NamedTuple):
    x: int
    y: str = "y"


class Packed(msgspec.Struct):
    x: int
    loan: Loan | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    x: int


class Model(pydantic.BaseModel):
    x: int
    inner: "list[Model]" = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Half(enum.Enum):
    HALF = 0.5


class Node(msgspec.Struct):
    children: "list[Node]" = []


@attrs.define
class Tree:
    value: int
    children: "list[Tree]" = attrs.field(factory=list)


@pydantic.dataclasses.dataclass
class Validated:
    x: Annotated[int, pydantic.Field(gt=0)]


@attrs.frozen
class TakesSelf:
    x: int
    y: int = attrs.field(default=attrs.Factory(lambda self: self.x + 1, takes_self=True))


class PostInit(msgspec.Struct):
    x: str

    def __post_init__(self):
        raise ValueError(f"no {self.x} here")


T = TypeVar("T")


@attrs.frozen
class Box(Generic[T]):
    it: T


Money = NewType("Money", int)
Odd = str | bytes


@attrs.frozen
class OddRecord:
    key: Odd
    loan: Loan
    pattern: re.Pattern | None = None


@attrs.define
class Handmade:
    x: int = attrs.field(converter=int)
    _hidden: int = 0
    made: int = attrs.field(init=False, default=3)


@dataclasses.dataclass
class WithInit:
    x: int
    seed: dataclasses.InitVar[int] = 0
    total: int = dataclasses.field(init=False, default=0)
    count: "collections.Counter[str] | None" = None

    def __post_init__(self, seed):
        self.total = self.x + seed


@attrs.frozen
class Positive:
    x: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class Broken:
    x: int

    def __attrs_post_init__(self):
        raise ZeroDivisionError("secret-4711")


MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("annotation", "payload", "value"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 3.5, 3.5),
        (bool, True, True),
        (str, "a", "a"),
        (bytes, b"a", b"a"),
        (bytes, "YQ==", b"a"),
        (None, None, None),
        (Any, {"a": 1}, {"a": 1}),
        (list[int], (1, 2), [1, 2]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[int], [1, 1], {1}),
        (frozenset[str], ["a"], frozenset({"a"})),
        (Sequence[int], [1], [1]),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (dict[str, list[int] | None], {"a": [1], "b": None}, {"a": [1], "b": None}),
        (int | str, "a", "a"),
        (int | None, None, None),
        (Literal["a", 1], 1, 1),
        (Literal[1.5], 1.5, 1.5),
        (Money, 3, 3),
        (Annotated[int, "a comment"], 3, 3),
        (Colour, "red", Colour.RED),
        (Colour, Colour.RED, Colour.RED),
        (Half, 0.5, Half.HALF),
        (dt.datetime, "2026-01-02T03:04:05Z", MOMENT),
        (dt.datetime, MOMENT, MOMENT),
        (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
        (decimal.Decimal, "1.5", decimal.Decimal("1.5")),
        (uuid.UUID, str(ID), ID),
        (pathlib.Path, "/x", pathlib.Path("/x")),
        (pathlib.Path, pathlib.Path("/x"), pathlib.Path("/x")),
        (list[pathlib.Path], ["/x"], [pathlib.Path("/x")]),
        (pathlib.Path | None, "/x", pathlib.Path("/x")),
        (Loan, {"amount": 1}, Loan(1)),
        (Loan | None, {"amount": 1}, Loan(1)),
        (Loan | None, None, None),
        (list[Loan], [{"amount": 1}, Loan(2)], [Loan(1), Loan(2)]),
        (Book, {"loans": [{"amount": 1}], "best": {"amount": 2}}, Book([Loan(1)], Loan(2))),
        (Data, {"x": 1}, Data(1)),
        (Typed, {"x": 1}, {"x": 1}),
        (Named, [1], Named(1)),
        (Named, {"x": 1}, Named(1)),
        (Named, {"x": 1, "y": "z"}, Named(1, "z")),
        (Packed, {"x": 1, "loan": {"amount": 1}}, Packed(1, Loan(1))),
        (Packed, {"x": 1, "later": 1}, Packed(1)),  # a Struct decides itself
        (Model, {"x": 1, "inner": [{"x": 2}]}, Model(x=1, inner=[Model(x=2)])),
        (list[Model], [{"x": 1}], [Model(x=1)]),
        (Model | None, {"x": 1}, Model(x=1)),
        (Box[int], {"it": 1}, Box(1)),
        (Validated, {"x": 1}, Validated(1)),
        (TakesSelf, {"x": 1}, TakesSelf(1, 2)),
        (Loan | dict[str, Any], {"amount": 1}, Loan(1)),
        (Loan | dict[str, Any], {"b": 1}, {"b": 1}),
        (tuple[int, ...] | list[int], [1], [1]),
        (Box[Odd], {"it": b"1"}, Box(b"1")),
        (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
        (Odd, "a", "a"),
        (Odd, b"a", b"a"),
        (list[Odd], ["a", b"b"], ["a", b"b"]),
        (dict[str, Odd | None], {"a": None}, {"a": None}),
        (dt.datetime | str, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        (Loan | Data, {"x": 1}, Data(1)),
        (Loan | Data, {"amount": 1}, Loan(1)),
        (Loan | Data | list[Loan], [{"amount": 1}], [Loan(1)]),
        (OddRecord, {"key": b"k", "loan": {"amount": 1}}, OddRecord(b"k", Loan(1))),
        (Handmade, {"x": "5", "hidden": 2}, Handmade(5, 2)),
        (WithInit, {"x": 1, "seed": 2}, WithInit(1, 2)),
        (Iterable[int], [1], [1]),
        (Callable[[int], int], len, len),
        ("list[Nowhere]", {1: 2}, {1: 2}),
        (TypeVar("Q"), 3, 3),
        (TypeVar("R", int, str), "a", "a"),
        (collections.OrderedDict, collections.OrderedDict(a=1), collections.OrderedDict(a=1)),
    ],
)
def test_plain_data_is_converted(annotation, payload, value):
    """Every kind of type takes the plain data that stands for it, and leaves the payload as it was."""
    before = copy.deepcopy(payload) if not callable(payload) else payload
    taken = one(annotation).convert(payload)
    assert taken == value
    assert type(taken) is type(value)
    assert payload == before


@pytest.mark.parametrize(
    ("annotation", "payload", "path", "expected", "got"),
    [
        (int, "1", "$", "int", "str"),
        (int, True, "$", "int", "bool"),
        (int, 1.5, "$", "int", "float"),
        (int, None, "$", "int", "None"),
        (str, 1, "$", "str", "int"),
        (str, b"a", "$", "str", "bytes"),
        (dt.date, MOMENT, "$", "date", "datetime"),
        (dt.date, "2026-13-01", "$", "date", "str: invalid RFC3339 encoded date"),
        (bytes, "a", "$", "bytes", "str: invalid base64 encoded string"),
        (Colour, "green", "$", "one of 'red', 'blue'", "another str"),
        (Literal["a"], "b", "$", "'a'", "another str"),
        (list[int], "ab", "$", "list[int]", "str"),
        (list[int], [1, "2"], "$[1]", "int", "str"),
        (dict[str, int], {"secret": "x"}, "$[...]", "int", "str"),
        (dict[str, int], {1: 1}, "$", "keys of type str", "a key of type int"),
        (set[Any], [[1]], "$", "set[anything] of hashable values", "an unhashable one"),
        (tuple[int, int], [1], "$", "2 values", "1 values"),
        (Loan, 3, "$", "Loan", "int"),
        (Loan, {}, "$.amount", "int", "missing"),
        (Loan, {"amount": "1"}, "$.amount", "int", "str"),
        (
            Loan,
            {"amount": 1, "mnths": 2},
            "$",
            "the keys amount, months",
            "unknown key 'mnths' (did you mean 'months'?)",
        ),
        (Loan, {"amout": 1}, "$", "the keys amount, months", "unknown key 'amout' (did you mean 'amount'?)"),
        (Loan, {"amount": 1, 3: 2}, "$", "keys of type str", "a key of type int"),
        (Book, {"loans": [{"amount": 1}, {"amount": None}]}, "$.loans[1].amount", "int", "None"),
        (Book, {"loans": [{"amount": 1, "z": 1}]}, "$.loans[0]", "the keys amount, months", "unknown key 'z'"),
        (Book, {"loans": [], "best": {"amount": 1, "z": 1}}, "$.best", "the keys amount, months", "unknown key 'z'"),
        (
            Book,
            {"loans": [], "named": {"a": {"amount": 1, "z": 1}}},
            "$.named[...]",
            "the keys amount, months",
            "unknown key 'z'",
        ),
        (Loan | None, {"amount": "1"}, "$.amount", "int", "str"),
        (Loan | None, 3, "$", "Loan | None", "int"),
        (Data, {"x": []}, "$.x", "int", "list"),
        (Typed, {"x": 1, "z": 1}, "$", "the keys x, y", "unknown key 'z'"),
        (Typed, {}, "$.x", "int", "missing"),
        (Named, [1, 2], "$.y", "str", "int"),
        (Named, [1, "2", 3], "$", "Named", "list"),
        (Packed, {"loan": {"amount": 1}}, "$.x", "int", "missing"),
        (Packed, {"x": 1, "loan": {"amount": "1"}}, "$.loan.amount", "int", "str"),
        (Strict, {"x": 1, "y": 2}, "$", "the keys x", "unknown key 'y'"),
        (Model, {"inner": []}, "$.x", "a value", "missing"),
        (Model, {"x": 1, "inner": [{"x": []}]}, "$.inner[0].x", "int", "list"),
        (list[Model], [{}], "$[0].x", "a value", "missing"),
        (Box[int], {"it": "1"}, "$.it", "int", "str"),
        (Tree, {"value": 1, "children": [{"value": "2"}]}, "$.children[0].value", "int", "str"),
        (
            Tree,
            {"value": 1, "children": [{"value": 2, "z": 1}]},
            "$.children[0]",
            "the keys value, children",
            "unknown key 'z'",
        ),
        (Odd, 3, "$", "str | bytes", "int"),
        (list[Odd], ["a", 3], "$[1]", "str | bytes", "int"),
        (Loan | Data, {"x": "1"}, "$", "Loan | Data", "dict"),
        (re.Pattern, "a", "$", "Pattern", "str"),
        (TextIO, "a", "$", "TextIO", "str"),
        (OddRecord, {"key": 1, "loan": {"amount": 1}}, "$.key", "str | bytes", "int"),
        (pathlib.Path, 3, "$", "Path", "int"),
        (Handmade, {"x": "five"}, "$", "a valid Handmade", None),
        (Positive, {"x": -5}, "$", "a valid Positive", "one that _NumberValidator.__call__() refuses with ValueError"),
        (list[Broken], [{"x": 1}], "$[0]", "a valid Broken", None),
        (Validated, {"x": 0}, "$", "a valid Validated", None),
        (PostInit, {"x": "me"}, "$", "a valid PostInit", "one that PostInit.__post_init__() refuses with ValueError"),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(annotation, payload, path, expected, got):
    """The error says where, what the contract wants there and the type of what came."""
    found = refused(one(annotation).convert, payload)
    if annotation == Loan | Data or got is None:
        assert found[0].startswith(path)
        return
    assert found == (path, expected, got)


def test_a_value_is_never_part_of_the_message():
    """Whatever is wrong, the value that came is not repeated."""
    for annotation, payload in [
        (int, "secret-4711"),
        (Colour, "secret-4711"),
        (Literal["a"], "secret-4711"),
        (dt.datetime, "secret-4711"),
        (uuid.UUID, "secret-4711"),
        (decimal.Decimal, "secret-4711"),
        (dict[str, int], {"secret-4711": "x"}),
        (dict[int, int], {"secret-4711": 1}),
        (Annotated[str, msgspec.Meta(max_length=2)], "secret-4711"),
        (Annotated[str, annotated_types.Predicate(str.isdigit)], "secret-4711"),
        (Handmade, {"x": "secret-4711"}),
        (Handmade, {"x": ["secret-4711"]}),
        (PostInit, {"x": "secret-4711" * 100}),
        (list[PostInit], [{"x": "secret-4711"}]),
        (Positive, {"x": -4711}),
        (Positive, {"x": -(4711**2000)}),
        (Model, {"x": "secret-4711"}),
        (Loan, {"amount": "secret-4711"}),
    ]:
        with pytest.raises(PayloadError) as caught:
            one(annotation).convert(payload)
        assert "4711" not in str(caught.value)


def test_messages_are_short():
    """Endless keys, names and refusals are cut."""
    many = Literal[tuple(f"value{index}" for index in range(10_000))]
    for annotation, payload in ((Loan, {"amount": 1, "x" * 10**6: 1}), (many, "x"), (list[many], ["x"])):
        assert all(len(part) < 300 for part in refused(one(annotation).convert, payload))


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (Annotated[int, msgspec.Meta(gt=0)], 1, 0),
        (Annotated[int, annotated_types.Gt(0)], 1, 0),
        (list[Annotated[int, annotated_types.Ge(1)]], [1], [0]),
        (Annotated[int, annotated_types.Interval(gt=0, le=5)], 5, 6),
        (Annotated[int, annotated_types.MultipleOf(2)], 2, 3),
        (Annotated[str, annotated_types.Len(1, 2)], "a", "abc"),
        (Annotated[list[int], annotated_types.MinLen(1)], [1], []),
        (Annotated[list[int], msgspec.Meta(max_length=1)], [1], [1, 2]),
        (Annotated[dict[str, Odd], msgspec.Meta(max_length=0)], {}, {"a": b""}),
        (Annotated[str, annotated_types.Predicate(str.islower)], "a", "A"),
        (annotated_types.LowerCase[str], "a", "A"),
        (Annotated[dt.date, annotated_types.Ge(dt.date(2026, 1, 1))], "2026-01-01", "2025-01-01"),
        (Annotated[int, pydantic.Field(gt=0)], 1, 0),
        (Annotated[str | bytes, msgspec.Meta(min_length=1)], b"a", b""),
        (Annotated[int, annotated_types.Gt(0)] | None, None, 0),
    ],
)
def test_constraints_hold(annotation, good, bad):
    """Constraints of msgspec, annotated_types and pydantic's `Field` are checked, and never trusted by type alone."""
    found = one(annotation)
    assert found.trusted is None
    found.convert(good)
    path, expected, got = refused(found.convert, bad)
    assert path.startswith("$")
    assert got.startswith("another ")
    assert expected


AWARE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAIVE = AWARE.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("kind", "tz", "good", "bad"),
    [
        (dt.datetime, True, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
        (dt.datetime, False, "2026-01-01T00:00:00", "2026-01-01T00:00:00+01:00"),
        (dt.datetime, True, AWARE, NAIVE),
        (dt.datetime, False, NAIVE, AWARE),
        (dt.time, True, "05:15:00Z", "05:15:00"),
        (dt.time, False, "05:15:00", "05:15:00Z"),
        (dt.time, False, NAIVE.timetz(), AWARE.timetz()),
    ],
)
def test_a_timezone_is_demanded_or_refused(kind, tz, good, bad):
    """`Meta(tz=...)` holds for text and for instances, by itself, in a record and as one of several parameters."""
    annotation = Annotated[kind, msgspec.Meta(tz=tz)]
    said = f"{kind.__name__} with {'a' if tz else 'no'} timezone component"

    def several(it, n: int = 0): ...

    several.__annotations__["it"] = annotation
    for convert, wrapped, path in [
        (one(annotation).convert, lambda it: it, "$"),
        (one(Box[annotation]).convert, lambda it: {"it": it}, "$.it"),
        (one(list[annotation]).convert, lambda it: [it], "$[0]"),
        (codec(several).convert, lambda it: {"it": it}, "$.it"),
    ]:
        convert(wrapped(good))
        assert refused(convert, wrapped(bad)) == (path, said, f"another {kind.__name__}")


class Stamp(dt.datetime):
    pass


class Degrees(float):
    pass


class Code(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (Annotated[dt.datetime, msgspec.Meta(tz=False)], Stamp(2026, 1, 1), Stamp(2026, 1, 1, tzinfo=dt.UTC)),
        (Annotated[float, msgspec.Meta(le=90)], Degrees(45), Degrees(95)),
        (Annotated[str, msgspec.Meta(max_length=3)], Code("JFK"), Code("Kennedy")),
    ],
)
def test_constraints_hold_for_instances_of_subclasses(annotation, good, bad):
    """An instance of a subclass is passed as it is, if it meets the constraint."""
    convert = one(annotation).convert
    assert convert(good) is good
    assert refused(convert, bad)[0] == "$"


def test_constraints_inside_a_record_hold():
    """annotated_types constraints of a field are checked, which msgspec by itself does not."""

    @attrs.frozen
    class Order:
        count: Annotated[int, annotated_types.Gt(0)]

    assert one(Order).convert({"count": 1}) == Order(1)
    assert refused(one(Order).convert, {"count": 0})[:2] == ("$.count", "int > 0")


@pytest.mark.parametrize(
    ("annotation", "trusted"),
    [
        (int, int),
        (float, float),
        (bool, bool),
        (dt.datetime, dt.datetime),
        (Loan, Loan),
        (Data, Data),
        (Named, Named),
        (Packed, Packed),
        (Model, Model),
        (Colour, Colour),
        (Box[int], Box),
        (list, list),
        (re.Pattern, re.Pattern),
        (str, None),
        (bytes, None),
        (bytearray, None),
        (list[int], None),
        (dict, None),
        (Typed, None),
        (Loan | None, None),
        (Any, None),
        (Annotated[int, msgspec.Meta(gt=0)], None),
        (Literal[1], None),
    ],
)
def test_what_is_trusted_by_its_type(annotation, trusted):
    """Only where the exact class says all is there nothing left to check."""
    assert one(annotation).trusted is trusted


@pytest.mark.parametrize(
    ("annotation", "instance"),
    [
        (Loan, BigLoan(1)),
        (Loan | None, BigLoan(1)),
        (Loan | Data, BigLoan(1)),
        (Model, Model(x=1)),
        (Packed, Packed(1)),
        (Named, Named(1)),
        (Box[int], Box("unchecked")),
        (TextIO, io.StringIO()),
        (int, types.new_class("Count", (int,))(3)),
        (dt.datetime, types.new_class("Stamp", (dt.datetime,))(2026, 1, 1)),
        (str, types.new_class("Text", (str,))("a")),
    ],
)
def test_instances_of_subclasses_are_passed_as_they_are(annotation, instance):
    """An instance of the payload type is trusted, of a subclass too: the very object arrives."""
    assert one(annotation).convert(instance) is instance


def test_instances_of_subclasses_are_trusted_inside_containers():
    """msgspec refuses a subclass where the class is meant; here it is taken as it is."""
    big = BigLoan(1)
    assert one(list[Loan]).convert([{"amount": 2}, big])[1] is big
    assert one(Book).convert({"loans": [big], "best": big, "named": {"a": big}}).named["a"] is big
    assert one(dict[str, Loan | None]).convert({"a": big})["a"] is big


def test_a_default_stands_in_for_no_payload():
    """`host.call(name)` of a function with a default takes it, unless None is a value of the type."""

    def f(x: int = 5): ...

    def g(x: int | None = 5): ...

    assert codec(f).convert(None) == 5
    assert codec(g).convert(None) is None


# --- several parameters, none, no signature


def test_several_parameters():
    """A mapping of names; defaults are left to Python, unknown keys are refused, plain values converted."""

    def f(amount: int, when: dt.date, *, loan: Loan | None = None): ...

    convert = codec(f).convert
    payload = {"amount": 1, "when": "2026-01-02"}
    assert convert(payload) == ((), {"amount": 1, "when": dt.date(2026, 1, 2)})
    assert payload == {"amount": 1, "when": "2026-01-02"}
    assert convert(types.MappingProxyType({**payload, "loan": {"amount": 1}}))[1]["loan"] == Loan(1)
    assert refused(convert, {"amount": 1}) == ("$.when", "date", "missing")
    assert refused(convert, None) == ("$.amount", "int", "missing")
    assert refused(convert, {"amount": 1, "whn": "2026-01-02"})[2] == "unknown key 'whn' (did you mean 'when'?)"
    assert refused(convert, {**payload, "loan": {"amount": "x"}}) == ("$.loan.amount", "int", "str")
    assert refused(convert, {**payload, "loan": {"amount": 1, "z": 1}})[0] == "$.loan"
    assert refused(convert, {**payload, "amout": 1})[2] == "unknown key 'amout' (did you mean 'amount'?)"
    assert refused(convert, [1, 2]) == ("$", "an object with the keys amount, when, loan", "list")
    assert refused(convert, '{"amount": 1}')[2] == "str"


def test_the_mapping_is_never_the_keywords():
    """What the function gets is its own dict, also when every value is passed on as it is."""
    for target in (lambda a, b: None, lambda **rest: None, lambda a, **rest: None):
        payload = {"a": 1, "b": 2}
        kwargs = codec(target).convert(payload)[1]
        assert kwargs == payload
        assert kwargs is not payload


def test_positional_only_parameters():
    """They are passed by position; a gap before a given one takes its default."""

    def f(a, b=2, c=3, /, d=4, **rest): ...

    convert = codec(f).convert
    assert convert({"a": 1}) == ((1,), {})
    assert convert({"a": 1, "c": 5}) == ((1, 2, 5), {})
    assert convert({"a": 1, "d": 5, "x": 6}) == ((1,), {"d": 5, "x": 6})

    def g(a=1, b=2, /): ...

    assert codec(g).convert(None) == ((), {})
    assert codec(g).convert({"b": 5}) == ((1, 5), {})


def test_keyword_rest():
    """`**kwargs` takes the remaining keys, checked by its annotation, and never what is injected or bound."""

    def f(a: int, b: int = 0, *, db: Loan = inject(), **rest: Loan): ...

    convert = codec(f).convert
    assert convert({"a": 1, "z": {"amount": 1}}) == ((), {"a": 1, "z": Loan(1)})
    assert refused(convert, {"a": 1, "z": 3}) == ("$.z", "Loan", "int")
    assert refused(convert, {"a": 1, 3: 3})[1] == "keys of type str"
    assert "'db'" in refused(convert, {"a": 1, "db": {"amount": 1}})[2]
    assert "'b'" in refused(codec(functools.partial(f, b=1)).convert, {"a": 1, "b": 2})[2]

    class Service:
        def method(self, **rest): ...

        def __call__(self, **rest): ...

    for target in (Service().method, Service, Service()):
        assert codec(target).convert({"x": 1}) == ((), {"x": 1})
        assert "'self'" in refused(codec(target).convert, {"self": 1})[2]


def test_one_odd_annotation_spoils_no_other():
    """Each parameter has its own contract."""

    def f(a: "Nowhere", b: str | bytes, c: Loan, d: re.Pattern | None = None): ...  # noqa: F821

    convert = codec(f).convert
    kwargs = convert({"a": object, "b": b"x", "c": {"amount": 1}})[1]
    assert kwargs == {"a": object, "b": b"x", "c": Loan(1)}
    assert refused(convert, {"a": 1, "b": 3, "c": {"amount": 1}})[0] == "$.b"
    assert refused(convert, {"a": 1, "b": "", "c": {"amount": "1"}})[0] == "$.c.amount"


@attrs.frozen
class Arguments:
    amount: int
    _months: int = 3


class PackedArguments(msgspec.Struct, rename="camel"):
    amount: int
    months: int = 3


class Point(NamedTuple):
    amount: int
    months: int = 3


class ModelArguments(pydantic.BaseModel):
    amount: int
    months: int = 3


@pytest.mark.parametrize("kind", [Arguments, PackedArguments, Point, ModelArguments, Loan])
def test_a_record_instance_stands_for_several_parameters(kind):
    """An instance of a record class gives its fields, read by the names of the constructor's parameters."""

    def f(amount: int, months: int): ...

    assert codec(f).convert(kind(amount=1, months=3)) == ((), {"amount": 1, "months": 3})


def test_no_parameter():
    """No parameter: nothing, or an empty mapping."""
    found = codec(lambda: None)
    assert found.trusted is type(None)
    assert found.convert(None) is None
    assert found.convert({}) is None
    for payload in ({"a": 1}, [], 0, ""):
        assert refused(found.convert, payload)[1] == "no payload"


def test_no_signature():
    """Without a signature the payload is passed on untouched."""

    class Mute:
        __signature__ = "nonsense"

        def __call__(self, x): ...

    payload = object()
    assert codec(Mute()).convert(payload) is payload


# --- sick payloads


@pytest.mark.parametrize("make", [bytes, bytearray, lambda size: "x" * size])
def test_a_huge_payload_is_refused(make):
    """A text or bytes over the limit is refused, as the payload and as a direct value of it."""
    huge, fitting = make(PAYLOAD_LIMIT + 1), make(3)

    def f(a: Any, n: int = 0): ...

    for convert, payload, path in [
        (one(type(fitting)).convert, huge, "$"),
        (one(Any).convert, huge, "$"),
        (one(Any).convert, {"a": huge}, "$.a"),
        (one(dict).convert, {"a b": huge}, "$[...]"),
        (one(str | bytes | bytearray).convert, huge, "$"),
        (codec(f).convert, {"a": huge}, "$.a"),
        (codec(lambda **rest: None).convert, {"a": huge}, "$.a"),
        (one(Box[Any]).convert, {"it": huge}, "$.it"),
    ]:
        found = refused(convert, payload)
        assert found[0] == path
        assert "64 MiB" in found[1]
        assert "64.0 MiB" in found[2]
    assert one(type(fitting)).convert(fitting) is fitting


def _deep(make):
    nested = make(None)
    for _ in range(200_000):  # what a C stack holds is thousands, on some Pythons tens of thousands
        nested = make(nested)
    return nested


def _nodes(inner):
    return {"children": [inner] if inner is not None else []}


def _trees(inner):
    return {"value": 1, "children": [inner] if inner is not None else []}


@pytest.mark.parametrize(
    ("annotation", "make"),
    [(Node, _nodes), (list[Node], lambda inner: [_nodes(None)] if inner is None else [_nodes(inner)]), (Tree, _trees)],
)
def test_deep_and_circular_payloads_are_refused(annotation, make):
    """Data nested 200,000 deep, or in itself, is an error and no crash."""
    if annotation in (Node, Tree):
        assert refused(one(annotation).convert, _deep(make))[2] == "deeper or circular data"
        circle = make(None)
        circle["children"].append(circle)
        assert refused(one(annotation).convert, circle)[2] == "deeper or circular data"


def test_a_full_stack_is_not_the_payloads_fault():
    """When the recursion limit is met although the payload is flat, the RecursionError passes."""
    convert = one(Tree).convert

    def recurse():
        convert({"value": 1})
        recurse()

    with pytest.raises(RecursionError):
        recurse()


def test_json_text_is_not_parsed():
    """A string that happens to be JSON is a string."""
    assert refused(one(Loan).convert, '{"amount": 1}') == ("$", "Loan", "str")
    assert refused(one(list[int]).convert, "[1]")[2] == "str"


def test_the_cause_is_the_classes_own_exception():
    """What a payload class raises is chained, so that its author sees where; msgspec's own errors are not."""
    with pytest.raises(PayloadError) as caught:
        one(Broken).convert({"x": 1})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(PayloadError) as caught:
        one(Loan).convert({"amount": "x"})
    assert caught.value.__cause__ is None


def test_the_codec_does_not_keep_the_function_alive():
    """Nothing in a codec refers to the spec or its target."""

    def f(a: int, b: str, **rest): ...

    found, watch = codec(f), weakref.ref(f)
    del f
    assert alive(watch) == []
    assert found.convert({"a": 1, "b": ""})
