"""Contracts compared by their JSON Schemas: what fits, what does not, and how one became another."""

import datetime as dt
import decimal
import enum
import uuid
from typing import Any, Literal, TypedDict

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.contract import changes, fits, specify
from jackfield.contract.payload import payload_schema, result_schema, type_schema
from jackfield.contract.schemas import misfits
from jackfield.contract.widening import widened
from jackfield.model.spec import RemoteContract
from jackfield.wire.signature import shown_parameters, shown_result


@attrs.define
class Loan:
    amount: int
    months: int = 12


@attrs.define
class Small:
    amount: int


@attrs.define
class Large:
    amount: int
    months: int
    bank: str


class Partial(TypedDict, total=False):
    amount: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.define
class Tree:
    children: list["Tree"]


FIT = [
    (int, int),
    (float, int),
    (Any, Loan),
    (Loan, Any),
    (Loan, Loan),
    (Loan, Small),
    (Loan, dict[str, int]),
    (list[float], list[int]),
    (int | None, int),
    (int | None, None),
    (dict[str, float], dict[str, int]),
    (tuple[int, str], tuple[int, str]),
    (Literal["a", "b"], Literal["a"]),
    (str, Literal["a"]),
    (Colour, Literal["red"]),
    (dt.date, dt.date),
    (decimal.Decimal, int),
    (uuid.UUID, uuid.UUID),
    (bytes, bytes),
    (Tree, Tree),
    (set[int], list[int]),
]
MISFIT = [
    (int, str, "$: int is wanted, and str is given"),
    (int, float, "$: int is wanted, and float is given"),
    (int, int | None, "$: int is wanted, and None is given"),
    (Large, Loan, "$: 'bank' is wanted, and not given"),
    (Small, Loan, "$: 'months' is given, and not taken"),
    (Loan, dict[str, str], "$.amount: int is wanted, and str is given"),
    (list[int], list[str], "$[]: int is wanted, and str is given"),
    (tuple[int, str], tuple[int, int], "$[1]: str is wanted, and int is given"),
    (tuple[int, str], tuple[int], "$: 2 items are wanted, and 1 are given"),
    (Literal["a"], str, "$: one of 'a' is wanted, and str is given"),
    (Literal["a"], Literal["b"], "$: one of 'a' is wanted, and one of 'b' is given"),
    (str, dt.date, "$: str is wanted, and date is given"),
    (dt.date, str, "$: date is wanted, and str is given"),
    (bytes, str, "$: bytes is wanted, and str is given"),
    (list[Loan], list[dict[str, str]], "$[].amount: int is wanted, and str is given"),
    (int | list[int], list[str], "$: int or list is wanted, and list is given"),
    (Tree, Loan, "$: 'children' is wanted, and not given"),
]


@pytest.mark.parametrize(("wanted", "passed"), FIT)
def test_what_fits(wanted, passed):
    assert misfits(type_schema(wanted), type_schema(passed)) == ()


@pytest.mark.parametrize(("wanted", "passed", "said"), MISFIT)
def test_what_does_not_fit_is_said_with_its_path(wanted, passed, said):
    assert said in misfits(type_schema(wanted), type_schema(passed))


TYPES = st.recursive(
    st.sampled_from([int, float, str, bool, None, bytes, dt.date, Loan, Colour, Literal["a"]]),
    lambda inner: st.one_of(
        inner.map(lambda one: list[one]),
        inner.map(lambda one: dict[str, one]),
        st.tuples(inner, inner).map(lambda two: two[0] | two[1] if two[0] is not None and two[1] is not None else int),
        st.tuples(inner, inner).map(lambda two: tuple[two]),
    ),
    max_leaves=5,
)


@given(TYPES)
@settings(deadline=None)
def test_every_type_fits_itself(kind):
    assert misfits(type_schema(kind), type_schema(kind), strict=True) == ()


def away(spec):
    """Give the same function as it is known of another process."""
    remote = RemoteContract(
        payload_schema(spec), result_schema(spec), tuple(shown_parameters(spec)), shown_result(spec)
    )
    nothing = tuple(attrs.evolve(each, annotation=Any) for each in spec.parameters)
    return attrs.evolve(spec, remote=remote, parameters=nothing, result=Any)


def one(loan: Loan) -> float: ...
def many(loan: Loan, rate: float = 0.1) -> Small: ...
def wider(loan: Loan, rate: float = 0.1, bank: str = "") -> Small: ...
def narrower(loan: Loan, rate: float, bank: str) -> Small: ...
def none() -> None: ...


def test_types_are_held_against_the_schemas_of_another_process():
    """As against types, with the place that differs."""
    spec = away(specify("f", one))
    assert fits(spec, Loan, float) == ()
    assert fits(spec, Any, Any) == ()
    assert fits(spec, str, int) == (
        "payload: expected to pass str, the function takes loan: Loan ($: Loan is wanted, and str is given)",
        "result: expected int, the function returns float ($: int is wanted, and float is given)",
    )
    assert fits(away(specify("f", none)), None, None) == ()
    assert fits(away(specify("f", none)), int, None) != ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (one, one, ()),
        (one, many, ("payload: one value (loan: Loan) became a record of loan, rate", "result: float became Small")),
        (many, wider, ("payload field 'bank' added (optional, str)",)),
        (
            wider,
            narrower,
            ("payload field 'rate' is now required", "payload field 'bank' is now required"),
        ),
        (none, none, ()),
    ],
)
def test_versions_in_different_processes_are_compared(old, new, said):
    assert changes(away(specify("f", old)), specify("f", new)) == said
    assert changes(specify("f", old), away(specify("f", new))) == said


@pytest.mark.parametrize(
    ("old", "new", "broken"), [(many, wider, False), (wider, many, True), (many, narrower, True), (many, many, False)]
)
def test_what_callers_would_miss_breaks(old, new, broken):
    """A parameter that is added and optional breaks nothing; one that goes, or is required now, does."""
    for first, second in [(specify("f", old), specify("f", new)), (away(specify("f", old)), away(specify("f", new)))]:
        assert bool(widened(first, second)) is broken
