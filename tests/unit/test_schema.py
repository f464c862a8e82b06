"""Types as data: their fields, their names, their JSON Schema."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import numbers
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypedDict, TypeVar, Union

import annotated_types
import attrs
import jsonschema
import msgspec
import pydantic
import pytest

from jackfield.contract import specify
from jackfield.contract.payload import compile_payload, payload_schema, result_schema
from jackfield.contract.shapes import record, render
from jackfield.errors import PayloadError

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@attrs.frozen
class Loan:
    amount: int
    _months: int = 12


@dataclasses.dataclass
class Tree:
    value: int
    children: "list[Tree]" = dataclasses.field(default_factory=list)


class Typed(TypedDict, total=False):
    x: int
    y: "NotRequired[str]"


class Named(NamedTuple):
    x: int
    y: str = "y"


class Packed(msgspec.Struct, rename="camel"):
    some_key: int


class Model(pydantic.BaseModel):
    x: int
    loan: "Model | None" = None


class Colour(enum.Enum):
    RED = "red"


class Half(enum.Enum):
    HALF = 0.5


T = TypeVar("T")


@attrs.frozen
class Box(Generic[T]):
    it: T


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Gap(enum.Flag):
    ONE = 1
    FOUR = 4


class Bit(enum.IntFlag):
    ONE = 1


def annotated(annotation):
    def f(x): ...

    f.__annotations__ = {"x": annotation, "return": annotation}
    return f


def schema(annotation):
    f = annotated(annotation)
    taken, given = payload_schema(specify("f", f)), result_schema(specify("f", f))
    assert taken == given
    assert taken.pop("$schema") == DIALECT
    return taken


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "anything"),
        (Loan, "Loan"),
        (Optional[Loan], "Loan | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["a", 1], "'a' | 1"),
        (Annotated[int, "x"], "int"),
        (Callable[[int], str], "Callable[[int], str]"),
        (Sequence[Loan], "Sequence[Loan]"),
        (Box[int], "Box[int]"),
        (re.Pattern[str], "Pattern[str]"),
    ],
)
def test_types_have_the_names_their_users_write(annotation, shown):
    """A type in a message looks as it does in code."""
    assert render(annotation) == shown


def test_a_local_class_has_a_short_name():
    """Where a class was defined is not part of its name."""

    class Local: ...

    assert render(list[Local]) == "list[Local]"


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (Loan, [("amount", int, True), ("months", int, False)]),
        (Tree, [("value", int, True), ("children", list[Tree], False)]),
        (Typed, [("x", int, False), ("y", str, False)]),
        (Named, [("x", int, True), ("y", str, False)]),
        (Packed, [("someKey", int, True)]),
        (Box[int], [("it", int, True)]),
    ],
)
def test_the_fields_of_records(cls, fields):
    """Every kind of record class shows its fields alike."""
    assert [(field.name, field.type, field.required) for field in record(cls).fields] == fields


@pytest.mark.parametrize("annotation", [int, Model, list[int], Any, "text", Loan | None])
def test_what_is_no_record(annotation):
    """Anything else has no fields."""
    assert record(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (str | bytes, {"anyOf": [{"type": "string"}, {"type": "string", "contentEncoding": "base64"}]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (frozenset[int], {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a"], {"enum": ["a"]}),
        (Literal[1.5], {"enum": [1.5]}),
        (pathlib.Path, {"type": "string", "format": "path"}),
        (dt.date, {"type": "string", "format": "date"}),
        (Annotated[int, msgspec.Meta(gt=0)], {"type": "integer", "exclusiveMinimum": 0}),
        (Annotated[int, annotated_types.Gt(0)], {"type": "integer", "exclusiveMinimum": 0}),
        (
            Annotated[list[int], msgspec.Meta(max_length=2)],
            {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        ),
        (Annotated[str, annotated_types.Predicate(str.islower)], {"type": "string", "description": "passes islower"}),
        (re.Pattern, {"not": {}, "description": "an instance of Pattern"}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
            },
        ),
    ],
)
def test_the_schema_of_plain_types(annotation, body):
    """What JSON can say is said; what it cannot is `{}` with a description."""
    assert schema(annotation) == body


def test_records_are_definitions():
    """Records, recursive ones too, are definitions that refuse unknown keys."""
    assert schema(list[Tree]) == {
        "type": "array",
        "items": {"$ref": "#/$defs/Tree"},
        "$defs": {
            "Tree": {
                "title": "Tree",
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                },
                "required": ["value"],
                "additionalProperties": False,
            }
        },
    }
    assert set(schema(Box[int] | Box[str])["$defs"]) == {"Box_int", "Box_str"}
    assert schema(Loan)["$defs"]["Loan"]["properties"].keys() == {"amount", "months"}
    assert schema(Packed)["$defs"]["Packed"]["required"] == ["someKey"]
    assert schema(Named)["$defs"]["Named"]["minItems"] == 1
    assert schema(Colour)["$defs"]["Colour"]["enum"] == ["red"]
    assert schema(Half)["$defs"]["Half"]["enum"] == [0.5]


def test_two_classes_of_one_name_are_two_definitions():
    """A definition is never overwritten by another class's."""

    def made(field):
        return attrs.make_class("Same", {field: attrs.field(type=int)})

    assert len(schema(tuple[made("a"), made("b")])["$defs"]) == 2


def test_two_pydantic_models_of_one_name_are_two_definitions():
    """pydantic knows nothing of other models' definitions, nor of ours."""
    one = pydantic.create_model("Outer", inner=(pydantic.create_model("Inner", x=(int, ...)), ...))
    two = pydantic.create_model("Outer", inner=(pydantic.create_model("Inner", y=(str, ...)), ...))
    found = schema(tuple[one, two])
    validator = jsonschema.Draft202012Validator(found)
    assert validator.is_valid([{"inner": {"x": 1}}, {"inner": {"y": "a"}}])
    assert not validator.is_valid([{"inner": {"y": "a"}}, {"inner": {"y": "a"}}])


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (Annotated[int | None, msgspec.Meta(gt=0)], {"exclusiveMinimum": 0}),
        (Annotated[list[int] | None, msgspec.Meta(max_length=2)], {"maxItems": 2}),
        (Annotated[collections.deque[int], annotated_types.MaxLen(2)], {"maxItems": 2}),
        (Annotated[float, annotated_types.Lt(float("inf"))], {"type": "number"}),
        (Literal[Colour.RED, b"x", 1], {"enum": ["red", "eA==", 1]}),
        (decimal.Decimal, {"type": ["string", "number"]}),
        (dict[int, str], {"propertyNames": {"pattern": "^-?(0|[1-9][0-9]*)$"}}),
        (dict[bool, str], {"propertyNames": {"enum": ["true", "false"]}}),
        (dict[Colour, str], {"propertyNames": {"enum": ["red"]}}),
        (tuple[()], {"type": "array", "maxItems": 0}),
        (tuple[int, *tuple[str, ...]], {"minItems": 1, "items": {"type": "string"}}),
        (numbers.Number, {"type": ["boolean", "integer", "number"]}),
        (Callable[[int], str], {"not": {}}),
    ],
)
def test_what_a_schema_says_is_what_conversion_does(annotation, body):
    """In JSON, of what has no form in it too; see also the property tests."""
    found = json.loads(json.dumps(schema(annotation), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(found)
    assert found.items() >= body.items()


def flag(kind, value):
    try:
        return kind(value)
    except ValueError:
        return None


@pytest.mark.parametrize("kind", [Right, Gap, Bit])
def test_flags_take_members_together(kind):
    """As Python does; `IntFlag` keeps bits that it does not know."""
    found, convert = schema(kind), compile_payload(specify("f", annotated(kind))).convert
    validator = jsonschema.Draft202012Validator(found)
    for value in range(-9, 9):
        wanted = flag(kind, value)
        assert validator.is_valid(value) is (wanted is not None)
        if wanted is not None:
            assert convert(value) == wanted
    for value in (True, 1.0, "READ"):
        with pytest.raises(PayloadError):
            convert(value)


def test_defaults_are_plain_data():
    """Infinity, objects and keys that are no text are not JSON."""

    def f(a: float = float("inf"), b: dict = {1: 2}, c: object = object(), d: int = 1): ...  # noqa: B006

    found = payload_schema(specify("f", f))["properties"]
    assert [one.get("default") for one in found.values()] == [None, {"1": 2}, None, 1]
    assert payload_schema(specify("f", f))["type"] == ["object", "null"]


def test_none_is_the_default_of_the_only_parameter():
    """As conversion takes it."""

    def f(x: int = 5): ...

    found = payload_schema(specify("f", f))
    assert found["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert found["default"] == 5


def test_a_pydantic_model_describes_itself():
    """pydantic's own schema is used, its definitions beside ours."""
    assert "Model" in schema(Model)["$defs"]
    assert schema(list[Model])["items"]


def test_the_schema_of_several_parameters():
    """An object whose properties are the parameters, with defaults, and no others unless `**kwargs` takes them."""

    def f(a: int, b: "Nowhere" = None, *, c: Loan = Loan(1), d: object = object(), **rest: int): ...  # noqa: F821

    found = payload_schema(specify("f", f))
    assert found["required"] == ["a"]
    assert found["properties"]["a"] == {"type": "integer"}
    assert found["properties"]["b"]["default"] is None
    assert found["properties"]["c"] == {"$ref": "#/$defs/Loan", "default": {"amount": 1}}
    assert found["properties"]["d"] == {}
    assert found["additionalProperties"] == {"type": "integer"}
    assert payload_schema(specify("f", lambda a, b: None))["additionalProperties"] is False


def test_the_schema_of_no_parameter_and_no_signature():
    """No parameter takes null or an empty object; without a signature anything goes."""

    class Mute:
        __signature__ = "nonsense"

        def __call__(self, x): ...

    assert payload_schema(specify("f", lambda: None)) == {
        "$schema": DIALECT,
        "type": ["null", "object"],
        "maxProperties": 0,
    }
    assert payload_schema(specify("f", Mute())) == {"$schema": DIALECT, "description": "passed on unchecked"}
