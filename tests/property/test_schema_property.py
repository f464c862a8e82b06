"""The schema says what conversion does, and conversion is never laxer than msgspec, for any type and value."""

import decimal
import functools
import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.contract import specify
from jackfield.contract.payload import compile_payload, draw, payload_schema
from jackfield.contract.shapes import Array, Checked, Choice, Fixed, Foreign, Leaf, Record, Table, view
from jackfield.errors import PayloadError
from support.annotated import FOREIGN, ODDER, annotation, plain

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "payloads.md"


def specified(annotation):
    def f(x): ...

    f.__annotations__ = {"x": annotation}
    return specify("f", f)


def parts(value):
    """Give a value and all that is inside."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(inner)


def _leaves(shapes):
    return [shape.type for shape in shapes if isinstance(shape, Leaf) and isinstance(shape.type, type)]


def _constrained(shapes, kinds):
    measured = [shape for shape in shapes if isinstance(shape, Checked)]
    return any(name in constraint.words for shape in measured for constraint in shape.constraints for name in kinds)


TEXTUAL = ("bytes", "datetime", "date", "time", "timedelta", "UUID", "Decimal")
# For each row of the table in the reference, by its first words: whether it can be the reason with these types.
EXCEPTIONS = {
    "a whole number written as": lambda shapes, values: any(
        isinstance(one, float) and one.is_integer() for one in values
    ),
    "text with a `format`": lambda shapes, values: (
        any(getattr(kind, "__name__", "") in TEXTUAL for kind in _leaves(shapes))
        and any(isinstance(one, str) for one in values)
    ),
    "predicates, validators": lambda shapes, values: any(
        constraint.said for shape in shapes if isinstance(shape, Checked) for constraint in shape.constraints
    ),
    "bounds of a `Decimal`": lambda shapes, values: decimal.Decimal in _leaves(shapes) and _constrained(shapes, "<>"),
    "bounds of numbers that are keys": lambda shapes, values: any(
        isinstance(shape, Table) and isinstance(view(shape.key), Checked) for shape in shapes
    ),
    "the values of a set": lambda shapes, values: any(
        isinstance(shape, Array) and shape.make in (set, frozenset) for shape in shapes
    ),
    "lengths of sets count": lambda shapes, values: (
        _constrained(shapes, ["length"])
        and (
            bytes in _leaves(shapes)
            or any(isinstance(shape, Array) and shape.make in (set, frozenset) for shape in shapes)
        )
    ),
    "factors of a `float`": lambda shapes, values: (
        _constrained(shapes, ["multiple"]) and any(isinstance(one, float) for one in values)
    ),
    "numbers beyond the range": lambda shapes, values: any(
        isinstance(one, int) and abs(one) > 10**308 for one in values
    ),
    "positions after": lambda shapes, values: any(isinstance(shape, Fixed) and shape.tail for shape in shapes),
    "numbers for a union of": lambda shapes, values: (
        any(isinstance(shape, Choice) for shape in shapes)
        and bool({float, decimal.Decimal} & set(_leaves(shapes)))
        and any(isinstance(one, int | float) for one in values)
    ),
    "an enum's own": lambda shapes, values: False,
    "pydantic converts": lambda shapes, values: False,
    "payloads that are too long": lambda shapes, values: False,
}


@functools.cache
def table():
    """Read the exceptions of the reference: their words, and who is stricter."""
    section = PAGE.read_text().partition("| exception | who is stricter |")[2].partition("\n\n")[0]
    return {words.strip(): who.strip() for words, who in re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE)}


def excused(annotation, value, stricter):
    """Name the rows of the table that say why one of the two is stricter."""
    shapes = [plan.view for plan in draw(annotation).reach()]
    values = list(parts(value))
    known = {words: who for words, who in table().items() if who in {stricter, "either"}}
    return [
        words
        for words in known
        for start, test in EXCEPTIONS.items()
        if words.startswith(start) and test(shapes, values)
    ]


def test_the_table_of_exceptions_is_the_one_in_the_reference():
    """Each row of the reference is one that this test knows, and the other way round."""
    assert len(table()) == len(EXCEPTIONS)
    for words in table():
        assert [start for start in EXCEPTIONS if words.startswith(start)], words


RANDOM = st.randoms(use_true_random=False)


def disagreement(random):
    """Make a type and values; name the first about which schema and conversion differ, and nothing excuses it."""
    kind = annotation(random, FOREIGN, ODDER)
    spec = specified(kind)
    schema = json.loads(json.dumps(payload_schema(spec), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator, convert = jsonschema.Draft202012Validator(schema), compile_payload(spec).convert
    assert not spec.notes, spec.notes
    for _ in range(5):
        value = plain(random, kind)
        try:
            convert(value)
            problem = None
        except PayloadError as error:
            problem = error
        if validator.is_valid(value) is (problem is None):
            continue
        if not excused(kind, value, "conversion" if problem is not None else "the schema"):
            return f"{kind} {value!r}: {problem or 'taken'}\n{schema}"
    return None


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(RANDOM)
def test_a_value_is_taken_if_and_only_if_the_schema_takes_it(random):
    """But for what JSON Schema cannot say; and the schema is JSON itself."""
    assert disagreement(random) is None


def _mapped(plan):
    """Tell a named tuple, which msgspec does not take by name."""
    return any(isinstance(part.view, Record) and part.view.kind == "namedtuple" for part in plan.reach())


def laxer(random):
    """Make a type that msgspec understands, and values; name the first about which it differs from our conversion."""
    kind = annotation(random)
    if any(part.deadly for part in draw(kind).reach()):
        return None
    try:
        msgspec.convert((), msgspec.defstruct("Box", [("it", kind)], array_like=True))
    except msgspec.ValidationError:
        pass
    except Exception:  # msgspec does not understand the type  # noqa: BLE001
        return None
    convert, plan = compile_payload(specified(kind)).convert, draw(kind)
    if any(isinstance(part.view, Foreign) for part in plan.reach()):  # a class that it leaves to its hooks
        return None
    for _ in range(5):
        value = plain(random, kind)
        expected = _taken(msgspec.ValidationError, lambda value: msgspec.convert(value, kind, str_keys=True), value)
        found = _taken(PayloadError, convert, value)
        if isinstance(expected, Exception):
            same = isinstance(found, PayloadError) or _mapped(plan)
        elif isinstance(found, Exception):
            same = plan.closed or not plan.native
        else:
            same = not plan.native or repr(found) == repr(expected)
        if not same:
            return f"{kind} {value!r}: msgspec {expected!r}, here {found!r}"
    return None


def _taken(error, convert, value):
    try:
        return convert(value)
    except error as problem:
        return problem


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(RANDOM)
def test_conversion_is_what_msgspec_does_where_it_understands_the_type(random):
    """What msgspec refuses is refused, but for a named tuple by name; what it takes is taken, but for unknown keys."""
    assert laxer(random) is None
