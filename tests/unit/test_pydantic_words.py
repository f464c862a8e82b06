"""What pydantic misses in a payload is told in the words that jackfield has for the same, whatever the kind."""

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import pydantic
import pytest
from pydantic import Field

from jackfield import Host, PayloadError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(pydantic.BaseModel):
    n: int


@pytest.mark.parametrize(
    ("annotation", "value", "expected", "got"),
    [
        (int, "x", "int", "str"),
        (int, [], "int", "list"),
        (int, 1.5, "int", "float"),
        (float, "x", "float", "str"),
        (bool, "maybe", "bool", "str"),
        (str, 5, "str", "int"),
        (bytes, 5, "bytes", "int"),
        (list[int], 5, "list", "int"),
        (dict[str, int], 5, "dict", "int"),
        (set[int], 5, "set", "int"),
        (frozenset[int], 5, "frozenset", "int"),
        (tuple[int, int], 5, "tuple", "int"),
        (None, 5, "None", "int"),
        (dt.date, "x", "date", "str"),
        (dt.datetime, "x", "datetime", "str"),
        (dt.time, "x", "time", "str"),
        (dt.timedelta, "x", "timedelta", "str"),
        (Decimal, "x", "Decimal", "str"),
        (uuid.UUID, "x", "UUID", "str"),
        (pydantic.HttpUrl, "x", "URL", "str"),
        (pydantic.HttpUrl, "ftp://x", "URL with the scheme 'http' or 'https'", "str"),
        (pydantic.PastDate, "2999-01-01", "date in the past", "str"),
        (pydantic.AwareDatetime, "2020-01-01T00:00:00", "datetime with a timezone", "str"),
        (pydantic.FiniteFloat, float("inf"), "finite float", "float"),
        (Annotated[int, Field(gt=0)], 0, "value > 0", "int"),
        (Annotated[int, Field(ge=1)], 0, "value >= 1", "int"),
        (Annotated[int, Field(lt=0)], 0, "value < 0", "int"),
        (Annotated[int, Field(le=1)], 2, "value <= 1", "int"),
        (Annotated[int, Field(multiple_of=5)], 3, "multiple of 5", "int"),
        (Annotated[str, Field(min_length=3)], "ab", "str of length >= 3", "str"),
        (Annotated[str, Field(max_length=1)], "ab", "str of length <= 1", "str"),
        (Annotated[str, Field(pattern="^x$")], "ab", "str matching regex '^x$'", "str"),
        (Annotated[list[int], Field(min_length=1)], [], "list of length >= 1", "list"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "list of length <= 1", "list"),
        (Annotated[Decimal, Field(max_digits=2)], "123", "Decimal of at most 2 digits", "str"),
        (Annotated[Decimal, Field(decimal_places=1)], "1.23", "Decimal of at most 1 decimal places", "str"),
        (pydantic.UUID4, "00000000-0000-1000-8000-000000000000", "UUID of version 4", "str"),
        (Literal["a", "b"], "c", "one of 'a' or 'b'", "str"),
        (Colour, "green", "one of 'red' or 'blue'", "str"),
        (Inner, 5, "Inner", "int"),
        (pydantic.Json, "{", "JSON text", "str"),
    ],
)
def test_an_expectation_is_in_our_words(annotation, value, expected, got):
    """The same words as for a payload that is no model of pydantic's; the value is not among them."""
    model = pydantic.create_model("Model", field=(annotation, ...))

    def take(given: model) -> int: ...

    take.__annotations__ = {"given": model}
    host = Host(observers=())
    host.register("f", take)
    with host, pytest.raises(PayloadError) as caught:
        host.call("f", {"field": value})
    assert (caught.value.path, caught.value.expected, caught.value.got) == ("$.field", expected, got)


class Unfinished(pydantic.BaseModel):
    field: "Nowhere"  # noqa: F821  # a slip, or an import that was forgotten


class Around(pydantic.BaseModel):
    inner: Unfinished


class Early(pydantic.BaseModel):
    later: "Later"


class Later(pydantic.BaseModel):
    y: int


class Deferred(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True)
    y: int


class Strange(pydantic.BaseModel):
    field: "cls"  # noqa: F821  # a name that jackfield's own code has


@pytest.mark.parametrize(
    ("annotation", "model", "name"),
    [
        (Unfinished, "Unfinished", "Nowhere"),
        (list[Unfinished], "Unfinished", "Nowhere"),
        (Unfinished | None, "Unfinished", "Nowhere"),
        (Around, "Around", "Nowhere"),
        (Strange, "Strange", "cls"),
    ],
)
def test_a_model_with_a_name_that_is_nowhere_is_noted_at_registration(annotation, model, name):
    """As a Struct with such a field; what a call gets is a payload that does not fit, not a crash."""

    def take(given: annotation) -> int: ...

    take.__annotations__ = {"given": annotation}
    with Host(observers=()) as host:
        host.register("f", take)
        (note,) = host.describe("f").notes
        fix = f"define {name}, or call {model}.model_rebuild()"
        assert note == f"parameter 'given': the fields of {model} cannot be evaluated: {fix}"
        with pytest.raises(PayloadError):
            host.call("f", [{"field": 1}] if annotation == list[Unfinished] else {"field": 1})


@pytest.mark.parametrize("model", [Early, Deferred, Colour])
def test_a_model_that_was_not_built_when_it_was_defined_is_built_at_registration(model):
    """Then there is nothing to note."""

    def take(given: model) -> int: ...

    take.__annotations__ = {"given": model}
    host = Host(observers=())
    host.register("f", take)
    assert host.describe("f").notes == ()


def test_what_a_validator_of_a_model_raises_refuses_the_payload_whatever_it_is():
    """Pydantic passes on what is no `ValueError`."""

    class Model(pydantic.BaseModel):
        field: int

        @pydantic.field_validator("field")
        def check(cls, value):  # noqa: N805  # pydantic makes a class method of it
            raise TypeError("hunter2")

    def take(given: Model) -> int: ...

    take.__annotations__ = {"given": Model}
    with Host(observers=()) as host:
        host.register("f", take)
        with pytest.raises(PayloadError, match=r"a valid Model, got one that .*check\(\) refuses with TypeError"):
            host.call("f", {"field": 1})
