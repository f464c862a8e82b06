"""Properties of payload conversion, for parameter lists and payloads that nobody thought of."""

import copy
import dataclasses
import datetime as dt
import inspect
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from jackfield.contract import specify
from jackfield.contract.payload import compile_payload
from jackfield.errors import PayloadError

KINDS = inspect._ParameterKind
TEXT = st.text("abx\u00e9\ud800 1", max_size=5)
SAMPLES = {
    int: st.integers(),
    str: TEXT,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    Any: st.none(),
}


@attrs.define
class Loan:
    amount: int
    parts: "list[Loan]" = attrs.field(factory=list)


@dataclasses.dataclass
class Data:
    x: int
    when: dt.date | None = None


class Typed(TypedDict):
    x: dict[str, int]


class Named(NamedTuple):
    x: int
    y: str = ""


class Packed(msgspec.Struct):
    x: int | str
    y: list[float] = []


ANNOTATIONS = st.sampled_from(
    [
        int,
        str,
        bytes,
        float | None,
        list[int],
        set[str],
        set[Any],
        dict[str, int],
        dict[int, str],
        tuple[int, ...],
        tuple[int, str],
        Loan,
        list[Loan],
        Loan | None,
        Loan | Data,
        Data,
        Typed,
        Named,
        Packed,
        str | bytes,
        list[str | bytes],
        dt.datetime,
        dt.date | str,
        frozenset[tuple[int, ...]],
        Any,
    ]
)
KEYS = st.sampled_from(["amount", "parts", "x", "y", "when", "a", ""]) | TEXT
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=5)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=10,
)


@st.composite
def signatures(draw):
    """Make a parameter list of every kind, with values for some of the parameters."""
    kinds = draw(
        st.lists(
            st.sampled_from([KINDS.POSITIONAL_ONLY, KINDS.POSITIONAL_OR_KEYWORD, KINDS.KEYWORD_ONLY]),
            min_size=2,
            max_size=6,
        )
    )
    parameters, values, optional = [], {}, False
    for index, kind in enumerate(sorted(kinds)):
        name, annotation = f"p{index}", draw(st.sampled_from(list(SAMPLES)))
        optional = (optional and kind is not KINDS.KEYWORD_ONLY) or draw(st.booleans())
        default = draw(SAMPLES[annotation]) if optional else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
        if not optional or draw(st.booleans()):
            values[name] = draw(SAMPLES[annotation])
    if draw(st.booleans()):
        parameters.append(inspect.Parameter("rest", KINDS.VAR_KEYWORD))
        values |= draw(st.dictionaries(st.sampled_from(["q", "r"]), st.integers()))
    return inspect.Signature(parameters), values


@given(signatures())
def test_a_converted_call_is_the_call_by_hand(drawn):
    """With several, the payload is a mapping of parameter names, defaults applying, positional-only by position."""
    signature, values = drawn

    def f(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    f.__signature__ = signature
    f.__annotations__ = {item.name: item.annotation for item in signature.parameters.values()}
    before = dict(values)
    args, kwargs = compile_payload(specify("f", f)).convert(values)
    assert values == before
    expected: dict[str, Any] = {}
    for item in signature.parameters.values():
        if item.kind is KINDS.VAR_KEYWORD:
            expected[item.name] = {name: value for name, value in values.items() if name not in signature.parameters}
        else:
            expected[item.name] = values.get(item.name, item.default)
    assert f(*args, **kwargs) == expected


@given(ANNOTATIONS, JUNK)
def test_junk_is_converted_or_refused(annotation, junk):
    """Whatever comes either converts or is a PayloadError, and is never changed."""

    def f(x): ...

    f.__annotations__ = {"x": annotation}
    before = copy.deepcopy(junk)
    try:
        compile_payload(specify("f", f)).convert(junk)
    except PayloadError as error:
        assert error.path.startswith("$")  # noqa: PT017
        assert error.expected  # noqa: PT017
        assert error.got  # noqa: PT017
    assert repr(junk) == repr(before)


@given(JUNK)
def test_junk_for_several_parameters(junk):
    """The same for a record of several parameters."""

    def f(x: int, y: "str | bytes" = "", *, amount: Loan | None = None, **rest: int): ...

    before = copy.deepcopy(junk)
    for target in (f, lambda x, y: None, lambda a=1, /, **rest: None):
        try:
            args, kwargs = compile_payload(specify("f", target)).convert(junk)
        except PayloadError:
            continue
        assert isinstance(args, tuple)
        assert kwargs is not junk
    assert repr(junk) == repr(before)


@given(ANNOTATIONS, JUNK)
def test_what_was_converted_converts_to_itself(annotation, junk):
    """A converted value fits the contract it came from."""

    def f(x): ...

    f.__annotations__ = {"x": annotation}
    convert = compile_payload(specify("f", f)).convert
    try:
        value = convert(junk)
    except PayloadError:
        return
    again = convert(value)
    assert again == value or repr(again) == repr(value)  # NaN is not equal to itself
