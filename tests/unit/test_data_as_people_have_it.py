"""Plain data meets contracts: keys that JSON has as text, collections of the library, names for type checkers."""

import collections
import datetime as dt
import decimal
import enum
import functools
import importlib
import math
import pathlib
import sys
import textwrap
import uuid
from typing import Annotated, Any, Literal

import annotated_types
import attrs
import msgspec
import pydantic
import pytest

from jackfield import ContractError, PayloadError
from jackfield.contract import specify
from jackfield.contract.payload import compile_payload
from jackfield.injection.bodies import invocation


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = "red"


class Half(enum.Enum):
    HALF = 0.5


class Table(msgspec.Struct):
    rows: dict[int, str]


@attrs.frozen
class Page:
    rows: dict[int, "collections.deque[int]"]


def converting(kind):
    def take(it): ...

    take.__annotations__ = {"it": kind}
    return compile_payload(specify("take", take)).convert


@pytest.mark.parametrize(
    ("kind", "plain", "taken"),
    [
        (dict[int, str], {"1": "a", "-20": "b", "0": "c"}, {1: "a", -20: "b", 0: "c"}),
        (dict[int, str], {1: "a"}, {1: "a"}),
        (dict[int, int], {str(2**80): 1}, {2**80: 1}),
        (dict[bool, str], {"true": "a", "false": "b"}, {True: "a", False: "b"}),
        (dict[float, str], {"1.5": "a", "2": "b", "1e3": "c"}, {1.5: "a", 2.0: "b", 1000.0: "c"}),
        (dict[Level, str], {"1": "a"}, {Level.LOW: "a"}),
        (dict[Colour, str], {"red": "a"}, {Colour.RED: "a"}),
        (dict[Half, str], {"0.5": "a"}, {Half.HALF: "a"}),
        (dict[Literal[1, "a", True], str], {"1": "x", "a": "y"}, {1: "x", "a": "y"}),
        (dict[int | None, str], {"null": "a", "1": "b"}, {None: "a", 1: "b"}),
        (dict[uuid.UUID, str], {str(uuid.UUID(int=1)): "a"}, {uuid.UUID(int=1): "a"}),
        (dict[dt.date, str], {"2024-01-01": "a"}, {dt.date(2024, 1, 1): "a"}),
        (dict[decimal.Decimal, str], {"1.5": "a"}, {decimal.Decimal("1.5"): "a"}),
        (dict[pathlib.PurePath, str], {"a/b": "c"}, {pathlib.PurePath("a/b"): "c"}),
        (dict[Annotated[int, msgspec.Meta(ge=1)], str], {"1": "a"}, {1: "a"}),
        (list[dict[int, dict[int, Any]]], [{"1": {"2": {"3": 4}}}], [{1: {2: {"3": 4}}}]),
        (dict[int, str] | None, {"1": "a"}, {1: "a"}),
        (Table, {"rows": {"1": "a"}}, Table({1: "a"})),
        (Page, {"rows": {"1": [2]}}, Page({1: collections.deque([2])})),
        # text wins where text is wanted
        (dict[str, str], {"1": "a"}, {"1": "a"}),
        (dict[int | str, str], {"1": "a"}, {"1": "a"}),
        (dict[Any, str], {"1": "a"}, {"1": "a"}),
    ],
    ids=str,
)
def test_a_key_is_taken_as_what_the_contract_wants(kind, plain, taken):
    """JSON has only text for it."""
    made = converting(kind)(plain)
    assert made == taken
    if isinstance(taken, dict):
        assert list(map(type, made)) == list(map(type, taken))


@pytest.mark.parametrize(
    ("kind", "plain", "expected"),
    [
        (dict[int, str], {"x": "a"}, "keys of type int"),
        (dict[int, str], {"1.0": "a"}, "keys of type int"),
        (dict[int, str], {"01": "a"}, "keys of type int"),
        (dict[int, str], {" 1": "a"}, "keys of type int"),
        (dict[int, str], {"1\n": "a"}, "keys of type int"),
        (dict[int, str], {"true": "a"}, "keys of type int"),
        (dict[bool, str], {"True": "a"}, "keys of type bool"),
        (dict[bool, str], {"1": "a"}, "keys of type bool"),
        (dict[Level, str], {"7": "a"}, "keys of type one of 1"),
        (dict[Annotated[int, msgspec.Meta(ge=1)], str], {"0": "a"}, "keys of type int >= 1"),
        (dict[float, str], {"1": "a", "x": "c"}, "keys of type float"),
        (dict[float, str], {"1": "a", "1.0": "b"}, "keys that differ"),
    ],
    ids=str,
)
def test_a_key_of_another_type_is_refused(kind, plain, expected):
    """With what is wanted, and never the key itself."""
    with pytest.raises(PayloadError) as caught:
        converting(kind)(plain)
    assert (caught.value.path, caught.value.expected) == ("$", expected)
    assert not any(repr(key) in str(caught.value) for key in plain)


@pytest.mark.parametrize(
    ("kind", "plain", "taken"),
    [
        (collections.deque[int], [1, 2], collections.deque([1, 2])),
        (collections.deque, ["a", 1], collections.deque(["a", 1])),
        (collections.deque[int], collections.deque([1], maxlen=3), collections.deque([1], maxlen=3)),
        (collections.OrderedDict[str, int], {"b": 1, "a": 2}, collections.OrderedDict(b=1, a=2)),
        (collections.OrderedDict, {"b": 1}, collections.OrderedDict(b=1)),
        (collections.Counter[str], {"a": 1}, collections.Counter(a=1)),
        (collections.Counter[int], {"1": 1}, collections.Counter({1: 1})),
        (collections.Counter, {"a": 1}, collections.Counter(a=1)),
        (collections.defaultdict[str, int], {"a": 1}, collections.defaultdict(int, a=1)),
        (list[collections.deque[int]], [[1]], [collections.deque([1])]),
        (collections.deque[int] | None, [1], collections.deque([1])),
    ],
    ids=str,
)
def test_a_collection_of_the_library_is_filled(kind, plain, taken):
    """As what it is annotated as, its items checked."""
    made = converting(kind)(plain)
    assert made == taken
    assert type(made) is type(taken)
    assert getattr(made, "maxlen", None) == getattr(taken, "maxlen", None)


@pytest.mark.parametrize(
    ("kind", "plain", "path"),
    [
        (collections.deque[int], ["x"], "$[0]"),
        (collections.deque[int], collections.deque(["x"]), "$[0]"),
        (collections.deque[int], "ab", "$"),
        (collections.Counter[str], {"a": "x"}, "$[...]"),
        (collections.OrderedDict[str, int], [["a", 1]], "$"),
    ],
    ids=str,
)
def test_what_does_not_fit_into_a_collection_is_refused(kind, plain, path):
    """With its path; an instance is looked at as well."""
    with pytest.raises(PayloadError) as caught:
        converting(kind)(plain)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (collections.defaultdict[str, list[int]], []),
        (collections.defaultdict[str, int], 0),
        (collections.defaultdict[str, dict[str, int]], {}),
        (collections.defaultdict[str, collections.defaultdict[str, set[int]]], collections.defaultdict(set)),
        (collections.defaultdict[str, Annotated[int, msgspec.Meta(ge=0)]], 0),
    ],
    ids=str,
)
def test_a_defaultdict_begins_as_its_annotation_says(kind, first):
    """An instance keeps its own factory; a type without an empty value has none."""
    made = converting(kind)({})
    assert made["new"] == first
    assert type(made["new"]) is type(first)
    assert converting(kind)(collections.defaultdict(str))["new"] == ""
    assert converting(collections.defaultdict[str, Page])({}).default_factory is None
    assert converting(collections.defaultdict)({}).default_factory is None


@pytest.mark.parametrize("builtin", [math.hypot, math.gcd, math.lcm])
def test_the_arguments_of_a_builtin_are_its_payload(builtin):
    """`*args` of what has no author to ask for a list."""
    spec = specify("f", builtin)
    assert (spec.shape, spec.notes) == ("one", ())
    assert compile_payload(spec).convert([3, 4]) == [3, 4]
    assert invocation(spec, {}) == "target(*value)"
    with pytest.raises(PayloadError, match="expected list"):
        compile_payload(spec).convert(3)


def test_the_arguments_of_a_function_are_never_filled():
    """Its author can take a list, as the note says where there is nothing else to fill."""
    assert specify("f", lambda *numbers: numbers).notes == ("`*numbers` is never filled: take a list instead",)
    assert specify("f", lambda n, *rest: rest).notes == ()
    assert specify("f", max).shape == "opaque"


class Shop:
    def sell(self, n: int) -> int:
        return n

    @functools.lru_cache  # noqa: B019
    def cached(self, n: int) -> int:
        return n

    @staticmethod
    def static(n: int) -> int:
        return n

    @classmethod
    def made(cls, n: int) -> int:
        return n

    def namespaced(n: int) -> int:  # noqa: N805
        return n


def local():
    class Inner:
        def sell(self, n: int) -> int:
            return n

    return Inner


@pytest.mark.parametrize(("method", "owner"), [(Shop.sell, "Shop"), (local().sell, "Inner")])
def test_a_method_without_its_object_is_refused(method, owner):
    """With what to advertise instead."""
    with pytest.raises(ContractError) as caught:
        specify("f", method)
    (fault,) = caught.value.faults
    assert fault.reason == f"it is a method of {owner}, and there is no object to call it on"
    assert f"`sell = {owner}(…).sell`" in fault.fix


@pytest.mark.parametrize(
    "target",
    [Shop().sell, Shop.static, Shop.made, Shop.namespaced, local()().sell, functools.partial(Shop.sell, Shop())],
)
def test_what_needs_no_object_is_none_of_that(target):
    """Bound, static and class methods, and functions in a class that is but a namespace."""
    assert specify("f", target).shape == "one"
    assert specify("f", str.upper).shape == "one"


@pytest.mark.parametrize(
    ("function", "payload", "hint"),
    [
        (Shop().sell, {"n": 1}, True),
        (Shop().sell, {"m": 1}, False),
        (Shop().sell, {"n": 1, "m": 2}, False),
        (Shop().sell, [1], False),
    ],
)
def test_a_single_parameter_given_by_name_is_told_to_pass_the_value(function, payload, hint):
    """It is how functions of several are called; a parameter that takes anything takes that, too."""
    assert compile_payload(specify("f", lambda n: n)).convert({"n": 1}) == {"n": 1}
    convert = compile_payload(specify("f", function)).convert
    with pytest.raises(PayloadError) as caught:
        convert(payload)
    assert ("with the key 'n': pass the value itself" in caught.value.got) is hint


def test_a_record_given_by_the_name_of_the_parameter_is_told_so_too():
    """Not that its fields are missing."""

    def show(page: Page): ...

    with pytest.raises(PayloadError, match=r"expected Page, got dict with the key 'page': pass the value itself$"):
        compile_payload(specify("f", show)).convert({"page": {"rows": {}}})


class Shelf(pydantic.BaseModel):
    it: int


@pytest.mark.parametrize(
    ("kind", "payload", "path"),
    [
        (Shelf, {"it": "one"}, "$.it"),
        (Shelf | None, {"it": "one"}, "$.it"),
        (dict[str, int], {"it": "one"}, "$[...]"),
        (Annotated[dict[str, int], annotated_types.MinLen(1)], {"it": "one"}, "$[...]"),
    ],
)
def test_what_is_wrong_inside_an_object_of_that_key_is_told_and_no_hint_is_given(kind, payload, path):
    """The key is the type's own; what would fit without it gets the hint all the same."""
    with pytest.raises(PayloadError) as caught:
        converting(kind)(payload)
    assert caught.value.path == path
    assert "pass the value itself" not in caught.value.got
    with pytest.raises(PayloadError, match=r"with the key 'it': pass the value itself$"):
        converting(kind)({"it": {"it": 1}})


SOURCE = """
    {future}
    import functools
    import typing
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        import decimal as d, nowhere_at_all
        from decimal import Decimal
        from nowhere_at_all import Gone
        Money = Decimal
        class Row(typing.TypedDict):
            cost: Money
    if typing.TYPE_CHECKING:
        try:
            from uuid import UUID as Id
        except ImportError:
            Id = str

    def money(it: {q}Decimal | None{q}): ...
    def through_a_module(it: {q}d.Decimal | None{q}): ...
    def an_alias(it: {q}Money{q}): ...
    def a_class(it: {q}list[Row]{q}): ...
    def renamed(it: {q}Id{q}): ...
    def gone(it: {q}Gone{q}): ...
    def never(it: {q}Never_{q}): ...

    def wrapped_in(decorate):
        return decorate(money)
"""

DECORATORS = """
    import functools

    def plain(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs): return fn(*args, **kwargs)
        return wrapper

    def bare(fn):
        def wrapper(it): return fn(it)
        functools.update_wrapper(wrapper, fn)
        del wrapper.__wrapped__
        return wrapper

    class Called:
        def __init__(self, fn): functools.update_wrapper(self, fn)
        def __call__(self, *args): return self.__wrapped__(*args)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Modules in files: one whose annotations are text, and one of decorators."""
    folder = tmp_path_factory.mktemp("names")
    source = textwrap.dedent(SOURCE)
    (folder / "names_future.py").write_text(source.format(future="from __future__ import annotations", q=""), "utf-8")
    (folder / "names_quoted.py").write_text(source.format(future="", q='"'), "utf-8")
    (folder / "names_decorators.py").write_text(textwrap.dedent(DECORATORS), "utf-8")
    sys.path.insert(0, str(folder))
    names = ["names_future", "names_quoted", "names_decorators"]
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(folder))
    for name in names:
        del sys.modules[name]


@pytest.mark.parametrize("module", ["names_future", "names_quoted"])
@pytest.mark.parametrize(
    ("function", "payload", "taken"),
    [
        ("money", "1.5", decimal.Decimal("1.5")),
        ("through_a_module", "1.5", decimal.Decimal("1.5")),
        ("an_alias", "1.5", decimal.Decimal("1.5")),
        ("a_class", [{"cost": "1.5"}], [{"cost": decimal.Decimal("1.5")}]),
        ("renamed", str(uuid.UUID(int=1)), uuid.UUID(int=1)),
    ],
)
def test_names_for_type_checkers_are_found(modules, module, function, payload, taken):
    """Imported, aliased or defined under `TYPE_CHECKING`; the module itself stays as it is."""
    spec = specify("f", getattr(modules[module], function))
    assert spec.notes == ()
    assert compile_payload(spec).convert(payload) == taken
    with pytest.raises(PayloadError):
        compile_payload(spec).convert(object())
    assert not hasattr(modules[module], "Decimal")


@pytest.mark.parametrize("decorator", ["plain", "bare", "Called"])
def test_a_wrapper_is_read_where_its_annotations_come_from(modules, decorator):
    """In the module that it says it is of, not in that of the decorator."""
    spec = specify("f", modules["names_future"].wrapped_in(getattr(modules["names_decorators"], decorator)))
    assert spec.notes == ()
    assert compile_payload(spec).convert("1.5") == decimal.Decimal("1.5")


def test_a_name_that_cannot_be_found_is_a_note_with_file_line_and_fix(modules):
    """The line where it stands for type checkers, or the function's."""
    module = modules["names_future"]
    (gone,), (never,) = specify("f", module.gone).notes, specify("f", module.never).notes
    lines = pathlib.Path(module.__file__).read_text(encoding="utf-8").splitlines()
    at = 1 + next(number for number, text in enumerate(lines) if "Gone" in text)
    assert f"'Gone' is there for type checkers only, at {module.__file__}:{at}, and ModuleNotFoundError" in gone
    assert "bind it outside of `if TYPE_CHECKING:`): taken as Any" in gone
    line = module.never.__code__.co_firstlineno
    assert f"name 'Never_' is not defined at {module.__file__}:{line}; define or import it there" in never
