"""What is typed becomes a payload, and a result becomes JSON, whatever either is."""

from typing import Annotated, Any, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import to_json
from jackfield.cli.payload import LIMIT, BadInput, build, decode, pairs
from jackfield.contract import specify


@attrs.frozen
class Loan:
    amount: int
    name: str = ""


class Row(TypedDict):
    amount: int
    name: str


def several(text: str, times: int = 2, flag: Any = None): ...
def one(number: int): ...
def text_only(text: str): ...
def record(loan: Loan): ...
def maybe(loan: Loan | None = None): ...
def typed_dict(row: Row): ...
def table(values: dict[str, int]): ...
def nothing(): ...
def annotated(text: Annotated[str, msgspec.Meta(min_length=1)]): ...
def clash(amount: Loan): ...
def listed(numbers: list[int]): ...
def optional(number: int | None): ...
def defaulted(number: int = 7): ...
def anything(value: Any): ...


@pytest.mark.parametrize(
    ("function", "typed", "payload"),
    [
        (several, {"text": "42", "times": "3", "flag": "true"}, {"text": "42", "times": 3, "flag": True}),
        (several, {"text": '"quoted"', "flag": "not json"}, {"text": '"quoted"', "flag": "not json"}),
        (several, {}, {}),
        (one, {"number": "21"}, 21),
        (text_only, {"text": "true"}, "true"),
        (annotated, {"text": "1"}, "1"),
        (record, {"amount": "5", "name": "12"}, {"amount": 5, "name": "12"}),
        (record, {"loan": '{"amount": 5}'}, {"amount": 5}),
        (maybe, {"amount": "5", "name": "12"}, {"amount": 5, "name": "12"}),
        (typed_dict, {"amount": "5", "name": "12"}, {"amount": 5, "name": "12"}),
        (table, {"a": "1", "b": "2"}, {"a": 1, "b": 2}),
        (table, {"values": '{"a": 1}'}, {"a": 1}),
        (clash, {"amount": "5"}, {"amount": 5}),
        (optional, {}, None),
        (defaulted, {}, None),
        (anything, {}, None),
        (anything, {"n": "1"}, {"n": 1}),
        (record, {}, None),
        (nothing, {}, None),
        (nothing, {"x": "1"}, {"x": 1}),
        (max, {"a": "1"}, {"a": 1}),
    ],
)
def test_typed_arguments_become_the_payload_that_the_function_takes(function, typed, payload):
    """JSON where it is JSON, text where text is wanted; fields of a record, or the one parameter's name."""
    assert build(specify("f", function), typed) == payload


@pytest.mark.parametrize(
    ("function", "typed", "says"),
    [
        (one, {"numbr": "21"}, "unknown key 'numbr': the function takes number=… and nothing else"),
        (one, {"number": "21", "times": "2"}, "unknown key 'times': the function takes number=…"),
        (annotated, {"txt": "1"}, "unknown key 'txt': the function takes text=…"),
        (listed, {"n": "1"}, "unknown key 'n': the function takes numbers=…"),
        (optional, {"n": "1"}, "unknown key 'n': the function takes number=…"),
        (one, {}, "missing: number=…"),
        (listed, {}, "missing: numbers=…"),
        (annotated, {}, "missing: text=…"),
    ],
)
def test_a_slip_in_the_name_of_the_one_parameter_is_told(function, typed, says):
    """By the name that it has on the command line, not by the place in a payload that nobody has written."""
    with pytest.raises(BadInput, match=says):
        build(specify("f", function), typed)


@pytest.mark.parametrize("bad", [["nonsense"], ["=3"], ["a=1", "a=2"], [""]])
def test_arguments_of_another_form_are_refused(bad):
    """With what is wrong, not with a guess."""
    with pytest.raises(BadInput):
        pairs(bad)


def test_a_value_may_have_equals_signs_and_be_empty():
    """Only the first sign counts."""
    assert pairs(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" * 1_000_000 + b"]" * 1_000_000, "nested too deeply"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'"' + b"x" * LIMIT + b'"', "more than 64 MiB"),
        (b"{bad", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'"\xff"', "not JSON"),
    ],
)
def test_documents_that_are_no_payload_are_refused(text, says):
    """Too long, too deep, malformed, no UTF-8: an error and no crash."""
    with pytest.raises(BadInput, match=says):
        decode(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_plain_data_survives_there_and_back(value):
    """What `to_json` writes `decode` reads."""
    assert decode(to_json(value)) == value
