"""A constraint is enforced wherever it is written, or a note says which is not; odd annotations are no one's end."""

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import pathlib
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import (
    Annotated,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
)
from unittest.mock import MagicMock

import annotated_types
import attrs
import jsonschema
import msgspec
import pydantic
import pytest
import typing_extensions

from jackfield.cli.payload import build
from jackfield.contract import changes, fits, specify
from jackfield.contract.payload import compile_payload, payload_schema
from jackfield.contract.shapes import render
from jackfield.errors import PayloadError

G = Annotated[int, msgspec.Meta(gt=0)]
A = Annotated[int, annotated_types.Gt(0)]
Positive = NewType("Positive", G)
Twice = NewType("Twice", Positive)
Bound = TypeVar("Bound", bound=G)
OneOf = TypeVar("OneOf", G, str)
T = TypeVar("T")
Alias = typing_extensions.TypeAliasType("Alias", A)
Listed = typing_extensions.TypeAliasType("Listed", list[T], type_params=(T,))
Default = typing_extensions.TypeVar("Default", default=A)
Likewise = typing_extensions.TypeVar("Likewise", default=list[Default])
Defaults = typing_extensions.TypeAliasType("Defaults", dict[T, Default], type_params=(T, Default))
Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")
Circular = typing_extensions.TypeAliasType("Circular", "Other")
Other = typing_extensions.TypeAliasType("Other", "Circular")


@attrs.define
class Defaulted(Generic[Default, Likewise]):
    n: Default
    m: Likewise = attrs.Factory(list)


class FurtherDefaulted(Defaulted): ...


class DefaultedStruct(msgspec.Struct, Generic[Default]):
    n: Default


class NotAlways(TypedDict):
    n: NotRequired[A]


class Outside(TypedDict):
    n: Annotated[NotRequired[int], annotated_types.Gt(0)]


class Strings(TypedDict, total=False):
    n: "Required[A]"
    m: "Annotated[NotRequired[int], msgspec.Meta(lt=5)]"


class Frozen(typing_extensions.TypedDict):
    n: typing_extensions.ReadOnly[Positive]


@dataclasses.dataclass
class Finally:
    n: Final[A] = 1


@dataclasses.dataclass
class Initial:
    n: dataclasses.InitVar[A]


@attrs.define
class Generics(Generic[T]):
    n: list[T]


@attrs.define
class Bounded(Generics[A]): ...


class Further(Bounded): ...


class Named(NamedTuple, Generic[T]):
    n: T


class NamedBound(Named[A]): ...


class Typed(TypedDict, Generic[T]):
    n: T


class TypedBound(Typed[A]): ...


class Struct(msgspec.Struct):
    n: Annotated[int, annotated_types.MultipleOf(2)]


class Tagged(msgspec.Struct, tag="a"):
    x: int


class AlsoTagged(msgspec.Struct, tag="b"):
    x: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


@attrs.define
class Node:
    value: int
    next: Self | None = None


def one(annotation):
    def f(x): ...

    f.__annotations__ = {"x": annotation}
    return specify("f", f)


def takes(spec, payload):
    try:
        return compile_payload(spec).convert(payload)
    except PayloadError as error:
        return error


WRAPPED = {
    "NewType": (Positive, 1, 0),
    "NewType of NewType": (Twice, 1, 0),
    "list of NewType": (list[Positive], [1], [0]),
    "optional NewType": (Positive | None, None, 0),
    "alias": (Alias, 1, 0),
    "subscripted alias": (Listed[A], [1], [0]),
    "bound": (Bound, 1, 0),
    "constraints": (OneOf, "a", 0),
    "NotRequired": (NotAlways, {}, {"n": 0}),
    "Annotated around NotRequired": (Outside, {}, {"n": 0}),
    "Required in a string": (Strings, {"n": 1}, {}),
    "constraint in a string": (Strings, {"n": 1}, {"n": 0}),
    "another in a string": (Strings, {"n": 1, "m": 1}, {"n": 1, "m": 5}),
    "ReadOnly": (Frozen, {"n": 1}, {"n": 0}),
    "Final": (Finally, {}, {"n": 0}),
    "InitVar": (Initial, {"n": 1}, {"n": 0}),
    "subscripted class": (Generics[A], {"n": [1]}, {"n": [0]}),
    "attrs base": (Bounded, {"n": [1]}, {"n": [0]}),
    "base of a base": (Further, {"n": [1]}, {"n": [0]}),
    "NamedTuple base": (NamedBound, [1], [0]),
    "TypedDict base": (TypedBound, {"n": 1}, {"n": "a"}),
    "default of a variable": (Defaulted, {"n": 1}, {"n": 0}),
    "default by another variable": (Defaulted[A], {"n": 1, "m": [1]}, {"n": 1, "m": [0]}),
    "default in a base": (FurtherDefaulted, {"n": 1}, {"n": 0}),
    "default in a Struct": (DefaultedStruct, {"n": 1}, {"n": 0}),
    "default in an alias": (Defaults, {"a": 1}, {"a": 0}),
    "default in a subscripted alias": (Defaults[str], {"a": 1}, {"a": 0}),
    "no default where a type is given": (Defaulted[str], {"n": "a"}, {"n": 1}),
    "a field of a Struct": (Struct, {"n": 2}, {"n": 1}),
    "annotated twice": (Annotated[Positive, msgspec.Meta(lt=5)], 4, 5),
    "annotated within": (Annotated[Annotated[Positive, "doc"], annotated_types.Lt(5)], 4, 0),
    "keys": (dict[NewType("K", Annotated[str, annotated_types.MaxLen(1)]), int], {"a": 1}, {"aa": 1}),
}
AT = annotated_types
BERLIN = dt.timezone(dt.timedelta(hours=1))
CONSTRAINTS = {
    "Decimal": (Annotated[decimal.Decimal, msgspec.Meta(gt=0)], "1", "-1"),
    "Decimal, multiple": (Annotated[decimal.Decimal, AT.MultipleOf(decimal.Decimal("0.5"))], "1.5", "1.2"),
    "Interval": (Annotated[int, AT.Interval(gt=0, lt=3)], 1, 3),
    "Len": (Annotated[list[int], AT.Len(1, 1)], [1], [1, 2]),
    "length of a Path": (Annotated[pathlib.Path, AT.MaxLen(2)], "ab", "abc"),
    "length of a set": (Annotated[set[int], msgspec.Meta(min_length=2)], [1, 2], [1, 1]),
    "Predicate": (Annotated[str, AT.Predicate(str.isdigit)], "1", "a"),
    "naive": (Annotated[dt.datetime, AT.Timezone(None)], "2026-01-01T00:00:00", "2026-01-01T00:00:00Z"),
    "aware": (Annotated[dt.datetime, AT.Timezone(...)], "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
    "a zone by name": (
        Annotated[dt.datetime, AT.Timezone("Europe/Berlin")],
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00Z",
    ),
    "a zone": (Annotated[dt.datetime, AT.Timezone(BERLIN)], "2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00"),
    "pattern of Field": (Annotated[str, pydantic.Field(pattern="^a")], "a", "b"),
    "pattern with braces": (Annotated[str, msgspec.Meta(pattern="^[A-Z]{3,4}$")], "JFK", "kennedy"),
    "pattern of Field with braces": (Annotated[str, pydantic.Field(pattern="^[A-Z]{3,4}$")], "JFK", "kennedy"),
    "StringConstraints": (Annotated[str, pydantic.StringConstraints(max_length=1, pattern="^a")], "a", "ab"),
    "AllowInfNan": (Annotated[float, pydantic.Field(allow_inf_nan=False)], 1.0, float("inf")),
    "digits": (Annotated[decimal.Decimal, pydantic.Field(max_digits=2)], "1.5", "1.55"),
    "UUID4": (pydantic.UUID4, str(uuid.UUID(int=4, version=4)), str(uuid.UUID(int=1))),
    "Strict": (Annotated[dt.date, pydantic.Strict()], dt.date(2026, 1, 1), "2026-01-01"),
    "a discriminator": (
        Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
        {"kind": "dog"},
        {"kind": "cow"},
    ),
    "tags": (Tagged | AlsoTagged, {"type": "b", "x": 1}, {"x": 1}),
    "tags beside what msgspec does not know": (
        Tagged | AlsoTagged | re.Pattern,
        {"type": "b", "x": 1},
        {"type": "c", "x": 1},
    ),
    "items of an Iterable": (Iterable[A], [1], [0]),
    "no items": (tuple[()], [], [1]),
    "a tuple with a rest": (tuple[int, *tuple[str, ...]], [1, "a", "b"], [1, "a", 2]),
    "a tuple with a rest first": (tuple[*tuple[str, ...], A], ["a", 1], ["a", 0]),
    "too few for a rest": (tuple[int, *tuple[str, ...], int], [1, 2], [1]),
    "flattened": (tuple[int, *tuple[str, int]], [1, "a", 2], [1, "a"]),
    "a recursive alias": (Json, {"a": [1, None]}, {"a": b""}),
    "Self": (Node, {"value": 1, "next": {"value": 2}}, {"value": 1, "next": {"value": "2"}}),
    "a literal of enum members": (Literal[Colour.RED, "x"], "red", "blue"),
    "LiteralString": (typing_extensions.LiteralString, "a", 1),
}


@pytest.mark.parametrize("name", [*WRAPPED, *CONSTRAINTS])
def test_a_constraint_is_enforced(name):
    """Without a note, for a parameter alone and for one of several."""
    annotation, good, bad = {**WRAPPED, **CONSTRAINTS}[name]

    def several(x, y=1): ...

    several.__annotations__ = {"x": annotation}
    for spec, wrap in ((one(annotation), lambda it: it), (specify("f", several), lambda it: {"x": it})):
        assert spec.notes == ()
        assert not isinstance(takes(spec, wrap(good)), PayloadError)
        assert isinstance(takes(spec, wrap(bad)), PayloadError)


def test_pydantic_converts_what_its_validators_ask_for():
    """`AfterValidator` sees a converted value, `BeforeValidator` and the like have pydantic convert the whole."""
    assert takes(one(Annotated[str, pydantic.AfterValidator(str.upper)]), "a") == "A"
    assert takes(one(Annotated[int, pydantic.BeforeValidator(lambda it: int(it) + 1)]), "1") == 2
    assert takes(one(Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]), " a ") == "a"
    refused = takes(one(Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]), "  ")
    assert isinstance(refused, PayloadError)


def test_no_validator_shows_a_value():
    """Neither its own message nor pydantic's is repeated, nor is pydantic's error the cause, which has the value."""

    def check(value):
        raise ValueError(f"not {value}")

    for kind in (pydantic.AfterValidator(check), pydantic.Field(pattern="^a"), annotated_types.Predicate(check)):
        error = takes(one(Annotated[str, kind]), "secret-4711")
        assert "4711" not in str(error)
        assert not isinstance(error.__cause__, pydantic.ValidationError)


@pytest.mark.parametrize(
    ("annotation", "note"),
    [
        (Annotated[re.Pattern, annotated_types.MinLen(1)], "Pattern: not enforced: MinLen(min_length=1)"),
        (Annotated[str, annotated_types.Gt(0)], "str: not enforced: Gt(gt=0)"),
        (Annotated[dt.datetime, annotated_types.Timezone("Nowhere/At_All")], "datetime: not enforced: Timezone"),
        (Iterator[int], "Iterator[int]: only that it is one is checked"),
        (Callable[[int], str], "Callable[[int], str]: only that it is one is checked"),
        (Circular, "cannot be checked"),
        ([int], "[int] cannot be checked"),
        ({"a": int}, "{'a': <class 'int'>} cannot be checked"),
        (5, "5 cannot be checked"),
        (list["Nowhere"], "Nowhere"),  # noqa: F821
    ],
)
def test_what_is_not_enforced_is_a_note(annotation, note):
    """Each hole in a contract is named."""
    assert note in one(annotation).notes[0]


def test_metadata_that_is_no_constraint_is_no_note():
    """Comments, units and whatever others put there."""
    for entry in (
        "a comment",
        5,
        object(),
        MagicMock(),
        Broken(),
        annotated_types.doc("words"),
        pydantic.Field(description="x"),
    ):
        assert one(Annotated[int, entry]).notes == ()
        assert isinstance(takes(one(Annotated[int, entry]), "1"), PayloadError)


def test_keyword_arguments_of_a_typed_dict():
    """`**options: Unpack[Options]` takes these keys, and no others."""

    class Options(TypedDict):
        size: A
        name: NotRequired[str]

    def f(x: int, **options: Unpack[Options]): ...

    spec = specify("f", f)
    assert takes(spec, {"x": 1, "size": 2}) == ((), {"x": 1, "size": 2})
    for bad in ({"x": 1}, {"x": 1, "size": 0}, {"x": 1, "size": 1, "colour": 2}, {"x": 1, "size": 1, "name": 2}):
        assert isinstance(takes(spec, bad), PayloadError)
    assert build(spec, {"x": "1", "size": "2", "name": "42"}) == {"x": 1, "size": 2, "name": "42"}
    schema = payload_schema(spec)
    assert schema["required"] == ["x", "size"]
    assert schema["additionalProperties"] is False
    assert fits(spec, dict[str, str], None)


def test_self_in_a_method_is_its_class():
    """As a parameter, and of the class that is called."""

    @attrs.define
    class Money:
        amount: int

        def plus(self, other: Self): ...

    assert takes(specify("f", Money(1).plus), {"amount": 2}) == Money(2)
    assert isinstance(takes(specify("f", Money(1).plus), {"amount": "2"}), PayloadError)


class Handler(Generic[T]):
    def __call__(self, item: T) -> list[T]: ...

    def each(self, items: list[T]): ...

    @classmethod
    def make(cls, items: list[T]): ...


class Handles(Handler[A]): ...


class ListHandler(Handler[list[T]]): ...


class HandlesLists(ListHandler[A]): ...


@pytest.mark.parametrize(
    ("target", "good", "bad"),
    [
        (Handles, 1, 0),
        (Handles(), 1, 0),
        (Handles().each, [1], [0]),
        (Handles.make, [1], [0]),
        (functools.partial(Handles().each), [1], [0]),
        (HandlesLists, [1], [0]),
        (HandlesLists().each, [[1]], [[0]]),
        (Handler[A](), 1, 0),
        (ListHandler[A](), [1], [0]),
    ],
)
def test_a_type_variable_in_a_method_is_what_its_class_says(target, good, bad):
    """Of a class that is called, and of methods: where they were written it was not known yet."""
    spec = specify("f", target)
    assert spec.notes == ()
    assert not isinstance(takes(spec, good), PayloadError)
    assert isinstance(takes(spec, bad), PayloadError)


def test_the_result_of_an_inherited_method_is_known_too():
    """For those who compare contracts."""
    assert specify("f", Handles).result == list[A]


def test_a_constraint_holds_where_pydantic_is_imported_and_not_used():
    """It imports its parts when they are asked for: there may be no `pydantic.fields` yet."""
    code = (
        "import sys, typing, annotated_types, pydantic\n"
        "from jackfield.contract import specify\n"
        "def f(x: typing.Annotated[int, annotated_types.Gt(0)]): ...\n"
        "def g(x: type): ...\n"
        "sys.exit([*specify('f', f).notes, *specify('g', g).notes] != [])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # our own code


def test_an_iterator_is_passed_as_it_is():
    """Reading it would use it up."""
    items = iter([1, 2])
    assert takes(one(Iterable[int]), items) is items
    assert isinstance(takes(one(Iterable[int]), {"a": 1}), PayloadError)


class NoHash(type):  # noqa: PLW1641  # which is what is odd about it
    def __eq__(cls, other):
        return cls is other


class Raising(type):
    def __getattribute__(cls, name):
        raise RuntimeError(name)


class NoInstances(type):
    def __instancecheck__(cls, value):
        raise RuntimeError

    def __repr__(cls):
        raise RuntimeError


class Broken:
    __hash__ = None

    def __repr__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError


class Proxy:
    def __getattribute__(self, name):
        raise RuntimeError("outside of the application's context")


@attrs.define
class Fields:
    a: int


@attrs.define
class Growing(Generic[T]):
    inner: "Growing[list[T]] | None" = None


Fields.__attrs_attrs__ = (1, 2)


class NoKeys(TypedDict):
    a: int


NoKeys.__required_keys__ = None
NoTable = dataclasses.make_dataclass("NoTable", ["a"])
NoTable.__dataclass_fields__ = {"a": 3}
ODD = [
    [int],
    {"a": int},
    5,
    Broken(),
    Proxy(),
    MagicMock(),
    NoHash("K", (), {}),
    Raising("K", (), {}),
    NoInstances("K", (), {}),
    Fields,
    NoKeys,
    NoTable,
    Growing[int],
    Circular,
    Annotated[int, Proxy()],
    list[[int]],
    dict[NoHash("K", (), {}), NoInstances("K", (), {})],
    lambda: int,
    ...,
    NotImplemented,
]


@pytest.mark.parametrize("index", range(len(ODD)))
def test_an_odd_annotation_ends_nothing(index):
    """The function is served, the parameter unchecked with a note, the others checked; the schema is one."""
    annotation = ODD[index]

    def f(x=None, y=1): ...

    f.__annotations__ = {"x": annotation, "y": int}
    for spec in (specify("f", f), one(annotation)):
        assert any("parameter 'x'" in note for note in spec.notes)
        takes(spec, {"x": {}})
        schema = json.loads(json.dumps(payload_schema(spec), allow_nan=False))
        jsonschema.Draft202012Validator.check_schema(schema)
        assert changes(spec, specify("f", f)) is not None
        assert render(annotation)
    assert isinstance(takes(specify("f", f), {"y": "1"}), PayloadError)


def test_recursion_ends():
    """In a plan, in a message, in a schema and in a comparison."""
    other = typing_extensions.TypeAliasType("Other", dict[str, "Json"] | list["Json"] | str)
    spec = one(Json)
    assert "Json" in str(takes(spec, b""))
    schema = payload_schema(spec)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"a": [1, {"b": None}]})
    assert fits(spec, other, None) is not None
    assert fits(spec, Json, None) == ()


def test_a_union_that_would_end_msgspec_is_checked_without_it():
    """msgspec 0.22 writes beyond its memory for a bound beside a fixed tuple, and a pattern beside a container."""
    for kind, good, bad in [
        (Annotated[int, msgspec.Meta(lt=3)] | tuple[int, str], [1, "a"], 3),
        (Annotated[str, msgspec.Meta(pattern="^a")] | list[int], "a", "b"),
        (Bound | tuple[()], [], 0),
    ]:
        for _ in range(50):
            assert not isinstance(takes(one(kind), good), PayloadError)
            assert isinstance(takes(one(kind), bad), PayloadError)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` statements")
def test_type_statements():
    """Aliases of Python 3.12, generic, recursive and circular ones too."""
    names = {"A": A}
    exec(  # noqa: S102  # syntax that Python 3.11 has not
        "type Items[T] = list[T]\ntype Json = dict[str, Json] | list[Json] | str | None\n"
        "type Round = Trip\ntype Trip = Round\ntype Deep[T] = Deep[list[T]]\n"
        "def items(x: Items[A]): ...\ndef tree(x: Json): ...\ndef circle(x: Round): ...\ndef deep(x: Deep[int]): ...\n",
        names,
    )
    assert isinstance(takes(specify("f", names["items"]), [0]), PayloadError)
    assert isinstance(takes(specify("f", names["tree"]), {"a": 1}), PayloadError)
    for name in ("circle", "deep"):
        spec = specify("f", names[name])
        assert "cannot be checked" in spec.notes[0]
        assert takes(spec, 5) == 5
