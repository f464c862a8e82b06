"""Types as data: their fields, their names, their JSON Schema."""

import dataclasses
import datetime as dt
import enum
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypedDict, TypeVar, Union

import annotated_types
import attrs
import msgspec
import pydantic
import pytest

from jackfield.contract import specify
from jackfield.contract.payload import payload_schema, result_schema
from jackfield.contract.shapes import record, render

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


def schema(annotation):
    def f(x): ...

    f.__annotations__ = {"x": annotation, "return": annotation}
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
