"""One JSON Schema against another: whether all that one allows is allowed by the other, and where it is not known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.contract.comparison import Verdict, compare

INTEGER, NUMBER, TEXT, FLAG = ({"type": name} for name in ("integer", "number", "string", "boolean"))

TABLE = [
    ("a number takes integers", NUMBER, INTEGER, Verdict.YES),
    ("an integer takes no numbers", INTEGER, NUMBER, Verdict.NO),
    ("anything is taken by whoever says nothing", {}, TEXT, Verdict.YES),
    ("1 is 1.0", {"enum": [1.0, 2.0]}, {"enum": [1, 2]}, Verdict.YES),
    ("1 is not true", {"enum": [1]}, {"enum": [True]}, Verdict.NO),
    ("all values of a kind are that kind", {"enum": [True, False]}, FLAG, Verdict.YES),
    ("some of them are not", {"enum": [True]}, FLAG, Verdict.NO),
    ("a bound of texts is none of integers", {"type": "integer", "minLength": 3}, INTEGER, Verdict.YES),
    ("a tighter bound", {"type": "integer", "minimum": 3}, INTEGER, Verdict.NO),
    ("a looser bound", {"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 4}, Verdict.YES),
    ("one of several", {"anyOf": [TEXT, INTEGER]}, INTEGER, Verdict.YES),
    ("none of several", {"anyOf": [TEXT, FLAG]}, INTEGER, Verdict.NO),
    (
        "a field that only one side needs",
        {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
        {"type": "object", "properties": {"a": INTEGER}},
        Verdict.NO,
    ),
]


@pytest.mark.parametrize(("wide", "narrow", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_verdicts(wide, narrow, verdict):
    assert compare(wide, narrow).verdict is verdict


kinds = st.recursive(
    st.sampled_from([int, float, str, bool, bytes, None]),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),
        inner.map(lambda kind: dict[str, kind]),
        st.tuples(inner, inner).map(lambda both: tuple[both]),
        inner.map(lambda kind: kind | None if isinstance(kind, type) and kind is not bytes else kind),
    ),
    max_leaves=6,
)


@given(kinds)
def test_a_schema_takes_itself(kind):
    schema = msgspec.json.schema(kind)
    assert compare(schema, schema).verdict is Verdict.YES


@given(kinds, kinds)
def test_what_is_taken_for_certain_is_taken(wide, narrow):
    """What one type has is read as the other, wherever the answer is yes; `convert` of JSON is the judge."""
    if compare(msgspec.json.schema(wide), msgspec.json.schema(narrow)).verdict is Verdict.YES:
        for value in SAMPLES:
            if reads(value, narrow):
                assert reads(value, wide)


SAMPLES = [0, 1, 1.5, True, "", "text", None, [], [1], ["a"], [1.5, None], {}, {"a": 1}, {"a": "b"}, [[1]], [[], {}]]


def reads(value, kind):
    """Tell whether a type has a value."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
