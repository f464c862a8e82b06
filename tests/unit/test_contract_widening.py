"""Whether a version takes what the one before it took: a table of changes, and what is said of each."""

import datetime as dt
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from jackfield.contract import specify
from jackfield.contract.widening import widened


@attrs.frozen
class Tree:
    """A record of records."""

    name: str
    parts: "list[Tree]" = attrs.field(factory=list)


class Old(TypedDict):
    """A record."""

    x: int
    y: NotRequired[str]


class More(TypedDict):
    """One that has another optional field."""

    x: int
    y: NotRequired[str]
    z: NotRequired[str]


class Needs(TypedDict):
    """One that has another required field."""

    x: int
    y: NotRequired[str]
    z: str


class Fewer(TypedDict):
    """One that has a field less."""

    x: int


def takes(kind):
    """Make a function that takes a type."""

    def f(value):
        """Do nothing."""

    f.__annotations__ = {"value": kind, "return": Any}
    return specify("f", f)


def gives(kind):
    """Make a function that gives a type."""

    def f():
        """Do nothing."""

    f.__annotations__ = {"return": kind}
    return specify("f", f)


SMALL = Annotated[int, Meta(ge=0, le=9)]
LARGE = Annotated[int, Meta(ge=0, le=99)]

WIDER = [
    (int, int), (int, float), (int, int | str), (Literal["a"], Literal["a", "b"]), (Literal["a"], str), (SMALL, LARGE),
    (SMALL, int), (list[int], list[float]), (list[int], list[int] | None), (dict[str, int], dict[str, Any]), (Old, More),
    (Tree, Tree), (str, Any), (tuple[int, int], tuple[int, ...]), (None, int | None), (bytes, bytes),
    (dt.date, dt.date | None), (int | str, str | int | None),
]  # fmt: skip

NARROWER = [
    (float, int, "payload: it took number, and takes integer"),
    (int | str, int, "payload: it took string, and takes integer"),
    (Literal["a", "b"], Literal["a"], "payload: it took 'a' or 'b', and takes 'a'"),
    (str, Literal["a"], "payload: it took string, and takes 'a'"),
    (LARGE, SMALL, "payload: maximum was 99, and is 9"),
    (int, SMALL, "payload: minimum was not said, and is 0"),
    (list[float], list[int], "payload[]: it took number, and takes integer"),
    (int | None, int, "payload: it took null, and takes integer"),
    (Old, Needs, "payload.z: it is required now"),
    (Old, Fewer, "payload.y: it is not taken any more"),
    (tuple[int, ...], tuple[int, int], "payload: minItems was not said, and is 2"),
    (str, dt.date, "payload: format was not said, and is 'date'"),
    (Any, int, "payload: it took anything, and takes integer"),
    (dict[str, float], dict[str, int], "payload.*: it took number, and takes integer"),
]


@pytest.mark.parametrize(("old", "new"), WIDER, ids=str)
def test_a_version_may_take_more(old, new):
    """And what a version gives may be less."""
    assert widened(takes(old), takes(new)) == ()
    assert widened(gives(new), gives(old)) == ()


@pytest.mark.parametrize(("old", "new", "said"), NARROWER, ids=str)
def test_a_version_may_not_take_less(old, new, said):
    """The place and what has changed there are told."""
    assert said in widened(takes(old), takes(new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (int, float, "result: it gave integer, and gives number"),
        (int, int | None, "result: it gave integer, and gives null"),
        (Old, Fewer, ""),
        (Old, Needs, ""),
        (Needs, Old, "result.z: it may be missing now"),
        (SMALL, LARGE, "result: maximum was 9, and is 99"),
    ],
)
def test_a_version_may_give_more_fields_and_nothing_else(old, new, said):
    """Callers that know the earlier version pass over what they do not know."""
    assert said in (widened(gives(old), gives(new)) or ("",))


def test_parameters_are_fields_of_one_record():
    """One more with a default is taken; one more without, and one less, is not."""

    def old(a: int, b: int = 0) -> None: ...
    def more(a: int, b: int = 0, c: str = "") -> None: ...
    def needs(a: int, b: int) -> None: ...
    def fewer(a: int, *, d: int = 1) -> None: ...
    def one(a: int) -> None: ...

    specs = {each.__name__: specify("f", each) for each in (old, more, needs, fewer, one)}
    assert widened(specs["old"], specs["more"]) == ()
    assert widened(specs["old"], specs["needs"]) == ("payload.b: it is required now",)
    assert widened(specs["old"], specs["fewer"]) == ("payload.b: it is not taken any more",)
    assert widened(specs["one"], specs["old"]) == ("payload: it took integer, and takes object",)


PLAIN = st.recursive(
    st.sampled_from([int, float, str, bool, bytes, type(None), Literal["a", 1], Old, Tree, SMALL, dt.date]),
    lambda inner: inner.map(lambda kind: list[kind]) | inner.map(lambda kind: dict[str, kind]) | inner.map(lambda kind: kind | None),
    max_leaves=4,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(PLAIN)
def test_a_contract_takes_its_own_place(kind):
    """And so does one that takes or gives that or nothing."""
    assert widened(takes(kind), takes(kind)) == ()
    assert widened(gives(kind), gives(kind)) == ()
    assert widened(takes(kind), takes(kind | None)) == ()
    assert widened(takes(kind), takes(Any)) == ()
