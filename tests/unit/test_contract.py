"""Any callable becomes a spec, or every fault of it is told at once."""

import asyncio
import dataclasses
import functools
import inspect
import math
import operator
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Protocol, TypedDict, Union

import attrs
import msgspec
import pydantic
import pytest

from jackfield.contract import changes, fits, specify
from jackfield.decorators import function, inject
from jackfield.errors import ContractError
from jackfield.model.call import Call
from jackfield.model.spec import MISSING, Colour, Key, Policy


class Database:
    pass


class Cache:
    pass


@attrs.frozen
class Loan:
    amount: int
    months: int = 12


@attrs.frozen
class BigLoan(Loan):
    reason: str = ""


def reasons(name, target, **options):
    with pytest.raises(ContractError) as caught:
        specify(name, target, **options)
    return [f"{fault.stage}: {fault.reason}" for fault in caught.value.faults]


# --- @function


def test_the_decorator_keeps_the_object_and_notes_the_policy():
    """`@function` gives back the very same object, bare or with arguments, whatever it decorates."""

    def plain(x: int) -> int:
        return x

    async def later(x: int) -> int:
        return x

    class Called:
        def __call__(self, x: int) -> int:
            return x

    for target in (plain, later, Called):
        assert function(target) is target
        assert specify("f", target).policy == Policy()
        assert function(timeout=2, executor="thread", idempotent=True)(target) is target
        assert specify("f", target).policy == Policy(timeout=2, executor="thread", idempotent=True)
    assert specify("f", functools.partial(plain)).policy.timeout == 2
    assert specify("f", plain, policy=Policy(timeout=9)).policy == Policy(timeout=9)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
def test_a_timeout_that_is_no_time_is_a_value_error(timeout):
    """Zero, negative, NaN and infinite timeouts are refused where they are written."""
    with pytest.raises(ValueError, match="positive number of seconds"):
        function(timeout=timeout)


@pytest.mark.parametrize(
    "options", [{"timeout": "1"}, {"timeout": True}, {"executor": 3}, {"idempotent": 1}, {"idempotent": "yes"}]
)
def test_a_policy_of_the_wrong_type_is_a_type_error(options):
    """Wrong types are refused where they are written."""
    with pytest.raises(TypeError, match="not"):
        function(**options)


def test_what_cannot_be_marked_is_a_type_error():
    """A number, a builtin and a bound method cannot carry a policy."""
    with pytest.raises(ValueError, match="executor"):
        function(executor="")
    for target in (0.5, math.sqrt, Loan(1).__init__):
        with pytest.raises(TypeError, match="@function"):
            function(target)


# --- callables


def test_a_function_with_one_parameter():
    """Exactly one parameter: the payload is its value."""

    def score(loan: Loan) -> float:
        """Score a loan.

        More.
        """
        return 0.0

    spec = specify("risk.score", score, version="1.2", plugin="risk", distribution="risk-dist")
    assert (spec.name, spec.version, spec.plugin, spec.distribution) == ("risk.score", "1.2", "risk", "risk-dist")
    assert (spec.shape, spec.payload, spec.result, spec.colour) == ("one", Loan, float, Colour.SYNC)
    assert spec.summary == "Score a loan."
    assert spec.target is score
    assert not spec.per_call_instance
    assert spec.parameters[0].default is MISSING


def test_parameters_of_every_kind():
    """`*args` is never filled, `**kwargs` counts as a further parameter, defaults are kept."""

    def f(a, /, b: int, *args: int, c: str = "c", **rest: float):
        return a

    spec = specify("f", f)
    assert spec.shape == "many"
    assert [(item.name, item.annotation, item.default) for item in spec.parameters] == [
        ("a", Any, MISSING),
        ("b", int, MISSING),
        ("c", str, "c"),
        ("rest", float, MISSING),
    ]
    assert specify("f", lambda: None).shape == "none"
    assert specify("f", lambda *args: None).shape == "none"
    assert specify("f", lambda **kwargs: None).shape == "many"
    assert specify("f", lambda *, x: None).shape == "one"


async def _later(x: int, y: int = 0) -> int:
    return x


class Service:
    def method(self, x: int) -> str:
        return str(x)

    async def later(self, x: int) -> str:
        return str(x)

    @classmethod
    def made(cls, x: int) -> "Service":
        return cls()

    @staticmethod
    def static(x: int) -> int:
        return x


@pytest.mark.parametrize(
    ("target", "colour", "shape"),
    [
        (_later, Colour.ASYNC, "many"),
        (functools.partial(_later, 1), Colour.ASYNC, "one"),
        (functools.partial(functools.partial(_later, 1), y=2), Colour.ASYNC, "none"),
        (Service().method, Colour.SYNC, "one"),
        (Service().later, Colour.ASYNC, "one"),
        (functools.partial(Service().later, 3), Colour.ASYNC, "none"),
        (Service.made, Colour.SYNC, "one"),
        (Service.static, Colour.SYNC, "one"),
        (math.sqrt, Colour.SYNC, "one"),
        ({}.get, Colour.SYNC, "many"),
        (functools.lru_cache(Service.static), Colour.SYNC, "one"),
    ],
)
def test_callables_that_are_no_plain_function(target, colour, shape):
    """Partials, methods, builtins and wrappers are functions like any other."""
    spec = specify("f", target)
    assert (spec.colour, spec.shape) == (colour, shape)


def test_what_a_partial_binds_is_not_the_callers():
    """A keyword that a partial has bound is no payload parameter: no caller may replace it."""

    def f(a: int, bound: str, b: int) -> int:
        return a

    spec = specify("f", functools.partial(f, bound="s"))
    assert [item.name for item in spec.parameters] == ["a", "b"]
    assert specify("f", functools.partial(functools.partial(f, b=1), bound="s")).shape == "one"


def test_no_signature_means_opaque():
    """Where `inspect.signature` finds nothing, the payload is the one positional argument."""
    assert specify("f", operator.itemgetter(1)).colour is Colour.SYNC  # has a signature in some Pythons only

    class Mute:
        __signature__ = "nonsense"

        def __call__(self, x):
            return x

    spec = specify("f", Mute())
    assert spec.shape == "opaque"
    assert "unchecked" in spec.notes[0]


def test_wraps_is_looked_through():
    """A wrapper made with `functools.wraps` has the signature, the annotations and the colour of what it wraps."""

    def traced(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs)

        return wrapper

    spec = specify("f", traced(_later))
    assert (spec.shape, spec.colour, spec.result) == ("many", Colour.ASYNC, int)
    assert "awaited" in spec.notes[0]
    assert specify("f", functools.partial(traced(_later), 1)).colour is Colour.ASYNC


def test_a_class_with_call_is_instantiated_per_call():
    """A class's constructor gives its dependencies, its `__call__` the payload, sync or async."""

    @attrs.define
    class Underwrite:
        """Underwrite loans."""

        db: Database = inject()
        _log: Any = inject(name="app-logger")
        cache: Cache | None = inject(optional=True)
        retries: int = 3

        async def __call__(self, loan: Loan) -> float:
            return 0.0

    spec = specify("risk.underwrite", Underwrite)
    assert spec.per_call_instance
    assert (spec.colour, spec.shape, spec.payload, spec.result) == (Colour.ASYNC, "one", Loan, float)
    assert [(item.parameter, item.key, item.optional) for item in spec.dependencies] == [
        ("db", Key(Database), False),
        ("log", Key(object, "app-logger"), False),
        ("cache", Key(Cache), True),
    ]
    assert spec.summary == "Underwrite loans."


def test_a_dataclass_or_plain_class_with_injected_parameters():
    """Dataclasses and constructors written by hand work alike."""

    @dataclasses.dataclass
    class Counted:
        db: Database = inject()

        def __call__(self, x: int, y: int) -> int:
            return x

    class ByHand:
        def __init__(self, db: Database = inject(), size: int = 3, *args, **kwargs) -> None:
            self.db = db

        def __call__(self) -> None:
            """Do it."""

    class Child(ByHand):
        pass

    assert specify("f", Counted).dependencies == specify("f", ByHand).dependencies == specify("f", Child).dependencies
    assert specify("f", Counted).summary == ""
    assert specify("f", Child).summary == "Do it."
    assert specify("f", ByHand).result is type(None)


def test_an_instance_with_call():
    """An object with `__call__` is called as it is; its `__call__` may be injected into."""

    class Greeter:
        def __init__(self, word):
            self.word = word

        async def __call__(self, name: "str", *, db: "Database" = inject()) -> "str":
            return self.word + name

    spec = specify("f", Greeter("hi"))
    assert not spec.per_call_instance
    assert (spec.colour, spec.payload, spec.result) == (Colour.ASYNC, str, str)
    assert [item.key for item in spec.dependencies] == [Key(Database)]


def test_call_may_be_a_static_or_class_method():
    """The kind of `__call__` decides whether it takes `self`."""

    class Static:
        @staticmethod
        def __call__(x: int) -> int:
            return x

    class OfClass:
        @classmethod
        async def __call__(cls, x: int) -> int:
            return x

    assert specify("f", Static).shape == specify("f", OfClass).shape == "one"
    assert specify("f", OfClass).colour is Colour.ASYNC


# --- injection and annotations


def test_injected_parameters_and_call_are_no_payload():
    """Parameters marked `inject()` and those annotated `Call` are dependencies, the rest is the payload."""

    def f(
        x: int,
        call: Call,
        *,
        db: Annotated[Database, "main"] = inject(),
        log: object = inject(name="log"),
        cache: Cache | None = inject(),
        maybe: Call | None = None,
    ) -> None: ...

    spec = specify("f", f)
    assert spec.shape == "one"
    assert [(item.parameter, item.key, item.optional) for item in spec.dependencies] == [
        ("call", Key(Call), False),
        ("db", Key(Database), False),
        ("log", Key(object, "log"), False),
        ("cache", Key(Cache), False),
        ("maybe", Key(Call), False),
    ]


def test_one_annotation_that_cannot_be_evaluated_spoils_no_other():
    """A string annotation that names nothing is `Any` with a note; the others hold."""

    def f(a: "int", b: "Missing", c: "list['Loan']", d: "no type at all") -> "Gone":  # noqa: F722, F821
        ...

    spec = specify("f", f)
    assert [item.annotation for item in spec.parameters] == [int, Any, list[Loan], Any]
    assert spec.result is Any
    assert len(spec.notes) == 3
    assert "'b'" in spec.notes[0]
    assert "Missing" in spec.notes[0]


def test_future_annotations_in_a_module_of_strangers():
    """Under `from __future__ import annotations` functions, partials, objects and local classes are all understood."""
    source = """
from __future__ import annotations
import functools, attrs
from jackfield.decorators import inject

class Engine: ...

def f(x: int, e: Engine = inject()) -> list[Engine]: ...

@attrs.define
class Base:
    engine: Engine = inject()

class Caller:
    def __call__(self, x: list[int]) -> Engine: ...

g = functools.partial(f)
h = Caller()

def local():
    class Inner:
        x: int
    def takes(inner: Inner) -> Inner:
        return Inner()
    return takes
"""
    module = types.ModuleType("strangers")
    exec(compile(source, "strangers.py", "exec"), vars(module))  # noqa: S102
    for target in (module.f, module.g):
        spec = specify("f", target)
        assert (spec.payload, spec.result) == (int, list[module.Engine])
        assert spec.dependencies[0].key == Key(module.Engine)
    assert specify("h", module.h).payload == list[int]
    local = specify("local", module.local())
    assert local.payload.__name__ == "Inner"


def test_a_field_of_a_base_class_in_another_module_is_evaluated_there(monkeypatch):
    """A subclass inherits injected fields whose annotations are strings of the base's module."""
    source = """
from __future__ import annotations
import attrs
from jackfield.decorators import inject
class Engine: ...
@attrs.define
class Base:
    engine: Engine = inject()
"""
    module = types.ModuleType("far_away")
    monkeypatch.setitem(__import__("sys").modules, "far_away", module)
    exec(compile(source, "far_away.py", "exec"), vars(module))  # noqa: S102

    @attrs.define
    class Near(module.Base):
        def __call__(self) -> None: ...

    assert specify("f", Near).dependencies[0].key == Key(module.Engine)


def test_odd_annotations_are_noted_never_a_fault():
    """What cannot be checked is noted; what `isinstance` can check is not."""

    class Shape(Protocol):
        side: int

    def f(a: str | bytes, b: Shape, c: object, d: Annotated[int, {}]) -> None: ...

    assert [note.partition(":")[0] for note in specify("f", f).notes] == ["parameter 'b'"]


# --- faults


def test_every_fault_is_told_at_once():
    """Name, version and contract are judged together; each fault has plugin, reason and fix."""

    def f(db: Database = inject(), /, *, nothing=inject(), gone: "Missing" = inject()):  # noqa: F821
        yield db

    with pytest.raises(ContractError) as caught:
        specify("no good", f, version="1 2", plugin="shop")
    faults = caught.value.faults
    assert [fault.stage for fault in faults] == ["name", "name", *["contract"] * 4]
    assert all(fault.plugin == "shop" and fault.reason and fault.fix for fault in faults)
    assert "generator" in str(caught.value)
    assert "positional-only" in str(caught.value)
    assert "'nothing'" in str(caught.value)
    assert "'gone'" in str(caught.value)


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


class Bare:
    pass


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class WithMeta(metaclass=Meta):
    pass


class GeneratorCall:
    def __call__(self):
        yield 1


class Demanding:
    def __init__(self, size: int, db: Database = inject()) -> None: ...

    def __call__(self) -> None: ...


class Forgotten:
    db: Database = inject()

    def __call__(self) -> None: ...


class Abstract(ABC):
    @abstractmethod
    def __call__(self) -> None: ...


class InCall:
    def __call__(self, x: int, db: Database = inject()) -> None: ...


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (_generator, "generator function"),
        (functools.partial(_generator), "generator function"),
        (_async_generator, "async generator function"),
        (GeneratorCall, "generator function"),
        (GeneratorCall(), "generator function"),
        (Bare, "no `__call__` of its own"),
        (WithMeta, "no `__call__` of its own"),
        (int, "no `__call__` of its own"),
        (Bare(), "of type Bare"),
        (3, "of type int"),
        (None, "of type NoneType"),
        (math, "a module"),
        (Demanding, "'size' is required and not injected"),
        (Forgotten, "'db' is `inject()`, but no constructor parameter takes it"),
        (Abstract, "abstract"),
        (InCall, "dependencies as fields"),
    ],
)
def test_what_cannot_be_a_function(target, reason):
    """Generators, classes that cannot be called, and what is no callable at all are refused with the reason."""
    found = reasons("f", target)
    assert len(found) == 1
    assert found[0].startswith("contract: ")
    assert reason in found[0]


def test_names_that_are_no_strings_and_endless_names():
    """A name of 10,000 characters and a name that is no string are refused without repeating them."""
    assert all(len(reason) < 300 for reason in reasons("x" * 10_000, len))
    assert reasons(None, len)[0].startswith("name: ")


# --- fits


class Point(NamedTuple):
    amount: int
    months: int


class Keys(TypedDict):
    amount: int
    months: int


class Fewer(TypedDict):
    amount: int


class Packed(msgspec.Struct):
    amount: int
    months: int


class Model(pydantic.BaseModel):
    amount: int
    months: int


@dataclasses.dataclass
class Data:
    amount: int
    months: str


Money = NewType("Money", int)


class Walks(Protocol):
    def walk(self) -> int: ...


def _one(payload, result):
    def f(x): ...

    f.__annotations__ = {"x": payload, "return": result}
    return specify("f", f)


@pytest.mark.parametrize(
    ("wanted", "passed"),
    [
        (Any, int),
        (int, Any),
        (object, str),
        (Loan, Loan),
        (Loan, BigLoan),
        (Loan, dict),
        (Loan, dict[str, Any]),
        (Loan, Keys),
        (Loan | None, Loan),
        (Loan | None, None),
        (int | str, str),
        (int | str | None, int | None),
        (float, int),
        (list, list[int]),
        (list[int], list),
        (Sequence[int], list[int]),
        (list[int], tuple[int, ...]),
        (tuple[int, ...], tuple[int, int]),
        (Mapping[str, int], dict[str, int]),
        (dict[str, list[Loan]], dict[str, list[BigLoan]]),
        (Literal["a", "b"], Literal["a"]),
        (str, Literal["a"]),
        (int, Money),
        (Money, int),
        (Annotated[int, msgspec.Meta(gt=0)], int),
        (Walks, int),
        (Callable[[int], float], Callable[[int], int]),
        (type[Loan], type[BigLoan]),
        (Keys, dict[str, Any]),
        (Keys, Keys),
    ],
)
def test_payloads_that_fit(wanted, passed):
    """The function must accept what the caller passes; plain data that is converted counts."""
    assert fits(_one(wanted, None), passed, None) == ()


@pytest.mark.parametrize(
    ("wanted", "passed"),
    [
        (BigLoan, Loan),
        (Loan, Data),
        (Loan, str),
        (int, str),
        (int, float),
        (int, bool),
        (int, int | None),
        (list[int], list[str]),
        (list[int], int),
        (dict[str, int], dict[int, int]),
        (Literal["a"], Literal["a", "b"]),
        (Literal["a"], str),
        (Literal[1], Literal[True]),
        (tuple[int, int], tuple[int, str]),
        (Keys, Fewer),
        (str, None),
    ],
)
def test_payloads_that_do_not_fit(wanted, passed):
    """What differs is said in the user's words."""
    (difference,) = fits(_one(wanted, None), passed, None)
    assert difference.startswith("payload: expected to pass ")


def test_results_are_covariant():
    """A function may return a subclass of what is expected, never more than that."""
    assert fits(_one(int, BigLoan), int, Loan) == ()
    assert fits(_one(int, Loan), int, BigLoan) == ("result: expected BigLoan, the function returns Loan",)
    assert fits(_one(int, int | None), int, int) == ("result: expected int, the function returns int | None",)
    assert fits(_one(int, str), int, bytes) == ("result: expected bytes, the function returns str",)
    assert fits(_one(int, dict), int, Loan) != ()  # results are not converted
    assert fits(_one(int, tuple[int, ...]), int, list[int]) != ()
    assert fits(_one(int, list[int]), int, Sequence[object]) == ()
    assert fits(_one(int, None), int, None) == ()
    assert fits(_one(int, Keys), int, Mapping[str, Any]) == ()
    assert fits(_one(int, Keys), int, Fewer) == ()
    assert fits(_one(int, Any), int, str) == ()


def test_several_parameters_and_record_types():
    """Several parameters fit a record whose fields cover them with fitting types, and a mapping."""

    def f(amount: int, months: int = 1) -> None: ...

    spec = specify("f", f)
    for payload in (Loan, Point, Keys, Packed, Model, Fewer, dict, dict[str, int], Mapping[str, Any], Any):
        assert fits(spec, payload, None) == ()
    assert fits(spec, Data, None) == ("payload: 'months': expected to pass str, the function takes int",)
    assert fits(spec, BigLoan, None) == ("payload: the function has no parameter 'reason', a field of BigLoan",)
    assert fits(spec, dict[str, str], None) == ("payload: 'amount': expected to pass str, the function takes int",)
    assert fits(spec, int, None) == ("payload: expected to pass int, the function takes a record of amount, months",)
    assert fits(spec, None, None) != ()
    assert fits(specify("f", lambda a=1, b=2: None), None, None) == ()

    def needs(amount: int, months: int, more: int) -> None: ...

    assert fits(specify("f", needs), Loan, None) == ("payload: Loan need not have 'more', which the function requires",)

    def rest(amount: int, **more: int) -> None: ...

    assert fits(specify("f", rest), Loan, None) == ()
    assert fits(specify("f", rest), BigLoan, None) != ()


def test_no_parameter_and_no_signature():
    """A function without parameters fits no payload; one without a signature fits every one."""
    assert fits(specify("f", lambda: None), None, Any) == ()
    assert fits(specify("f", lambda: None), int, Any) == ("payload: expected to pass int, the function takes none",)


# --- changes


def test_changes_in_words():
    """Everything a caller could notice is named; nothing is said of equal contracts."""

    def old(a: int, b: int, c: str = "") -> float: ...

    async def new(a: str, c: str, d: Loan, e: int = 0) -> int: ...

    assert changes(specify("f", old), specify("f", old)) == ()
    assert changes(specify("f", old), specify("f", new)) == (
        "parameter 'a': int became str",
        "parameter 'b' removed",
        "parameter 'c' is now required",
        "parameter 'd' added (required, Loan)",
        "parameter 'e' added (optional, int)",
        "result: float became int",
        "colour: sync became async",
    )


def test_changes_of_one_parameter():
    """The name of the only parameter is nothing a caller sees; the fields of its class are."""
    now = attrs.make_class("Loan", {"amount": attrs.field(type=str), "months": attrs.field(type=int)})
    now.__qualname__ = "Loan"
    assert changes(_one(Loan, None), _one(Loan, None)) == ()
    assert changes(_one(Loan, None), _one(now, None)) == (
        "payload: Loan field 'amount': int became str",
        "payload: Loan field 'months' is now required",
    )
    tighter = Annotated[int, msgspec.Meta(gt=0)]
    assert changes(_one(int, None), _one(tighter, None)) == ("payload: int has other constraints",)
    assert changes(_one(int, None), specify("f", lambda: None))[0] == "payload: one value (x: int) became none"


def test_specs_are_found_alike_inside_a_running_loop():
    """Reading a contract runs nothing of the function."""

    async def main():
        return specify("f", _later)

    assert asyncio.run(main()).colour is Colour.ASYNC
    assert inspect.iscoroutinefunction(_later)


def test_a_note_on_an_endless_annotation_is_shortened():
    """Whoever lists notes is to see the others, too."""

    def f(x): ...

    kinds = tuple(type(f"T{number}", (), {"__attrs_attrs__": 5}) for number in range(300))
    f.__annotations__["x"] = Union[kinds]  # noqa: UP007  # not known in advance
    (note,) = specify("f", f).notes
    assert 400 < len(note) < 600
