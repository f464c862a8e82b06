"""Generic providers: one of `Repo[T]` serves every `Repo[int]` that somebody asks for."""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Generic, NewType, Protocol, TypeVar

import attrs
import pytest
import typing_extensions

from jackfield import ContractError, Host, InjectionError, MissingDependency, decorates, inject, provides
from jackfield.decorators import key_of
from jackfield.injection.providers import describe
from jackfield.model.generics import matched
from jackfield.model.spec import Key

T = TypeVar("T")
U = TypeVar("U")
Number = TypeVar("Number", bound=int)
Word = TypeVar("Word", str, bytes)


class Engine: ...


class Repo(Generic[T]):
    def __init__(self, engine: Engine):
        self.engine = engine


class Pair(Generic[T, U]): ...


class Store(Protocol[T]): ...


class Needy(Generic[T]):
    def __init__(self, item: T): ...


UserId = NewType("UserId", int)


@pytest.mark.parametrize(
    ("pattern", "wanted", "bindings"),
    [
        (Repo[T], Repo[int], {T: int}),
        (Repo[T], Repo[list[int]], {T: list[int]}),
        (Repo[list[T]], Repo[list[int]], {T: int}),
        (Repo[list[T]], Repo[int], None),
        (Repo[T], Pair[int, str], None),
        (Repo[T], Repo, {T: Any}),
        (Pair[T, U], Pair[int, str], {T: int, U: str}),
        (Pair[T, T], Pair[int, int], {T: int}),
        (Pair[T, T], Pair[int, str], None),
        (Pair[int, T], Pair[int, str], {T: str}),
        (Pair[int, T], Pair[str, str], None),
        (Pair[Repo[T], U], Pair[Repo[int], Repo[str]], {T: int, U: Repo[str]}),
        (Repo[Number], Repo[bool], {Number: bool}),
        (Repo[Number], Repo[str], None),
        (Repo[Number], Repo[int | bool], {Number: int | bool}),
        (Repo[Word], Repo[bytes], {Word: bytes}),
        (Repo[Word], Repo[int], None),
        (Repo[T], Repo[UserId], {T: UserId}),
        (dict[str, T], dict[str, int], {T: int}),
    ],
)
def test_a_pattern_matches_what_its_variables_admit(pattern, wanted, bindings):
    """Bounds, constraints, and the same type for the same variable."""
    assert matched(pattern, wanted) == bindings


def started(function, *providers):
    host = Host(observers=())
    for provider in providers:
        host.provide(provider)
    host.register("f", function)
    host.start()
    return host


def wants(*, ints: Repo[int] = inject(), strings: Repo[str] = inject(), again: Repo[int] = inject()):
    return ints, strings, again


def made(kind: type[T], engine: Engine) -> Repo[T]:
    repo = Repo(engine)
    repo.kind = kind
    return repo


def test_a_function_serves_every_type():
    """Each is a singleton of its own; `type[T]` is the very type."""
    with started(wants, made, Engine) as host:
        ints, strings, again = host.call("f")
        assert ints is again
        assert (ints.kind, strings.kind) == (int, str)
        assert ints.engine is strings.engine
        assert host.call("f")[0] is ints


def test_a_class_serves_every_type():
    """And itself, when it is asked for without arguments."""

    def bare(*, repo: Repo = inject(), ints: Repo[int] = inject()):
        return repo, ints

    with started(wants, Repo, Engine) as host:
        ints, strings, again = host.call("f")
        assert ints is again
        assert ints is not strings
        host.register("bare", bare)
        assert all(type(one) is Repo for one in host.call("bare"))


def test_arguments_reach_what_it_needs():
    """A parameter of type T is injected as what T stands for, however deep."""

    class Service(Generic[T]):
        def __init__(self, repo: Repo[T], item: T, items: list[T]):
            self.repo, self.item, self.items = repo, item, items

    def use(*, service: Service[int] = inject(), repo: Repo[int] = inject()):
        return service.repo is repo, service.item, service.items

    host = Host(observers=())
    for provider in (Service, Repo, Engine):
        host.provide(provider)
    host.provide(7, type=int)
    host.register("f", use)
    with host:
        assert host.call("f") == (True, 7, [7])


def test_what_is_provided_for_one_type_comes_before_what_is_for_any():
    """It says more; several generic ones are ambiguous, and whichever does not admit the type does not count."""

    @provides
    def of_int() -> Repo[int]:
        return "of int"

    def numbers(kind: type[Number]) -> Repo[Number]:
        return kind

    with started(wants, of_int, Repo, Engine) as host:
        ints, strings, _ = host.call("f")
        assert (ints, type(strings)) == ("of int", Repo)
    with pytest.raises(InjectionError, match=r"Repo\[int\] has 2 providers") as caught:
        started(wants, numbers, Repo, Engine)
    assert len(caught.value.faults) == 1


def test_what_a_variable_does_not_admit_is_missing():
    """A bound is kept."""

    def numbers(kind: type[Number]) -> Repo[Number]: ...

    with pytest.raises(MissingDependency, match=r"nothing provides Repo\[str\] for 'strings'"):
        started(wants, numbers)


def test_faults_are_those_of_the_type_that_is_asked_for():
    """What a generic provider needs of every type is missed once, what it needs of one only by who asks for it."""

    def use(*, one: Needy[int] = inject(), other: Needy[str] = inject()): ...

    host = Host(observers=())
    host.provide(Needy)
    host.provide("text", type=str)
    host.register("f", use)
    with pytest.raises(MissingDependency) as caught:
        host.start()
    (fault,) = caught.value.faults
    assert "it needs Needy[int], which cannot be provided" in fault.reason
    assert "nothing provides int for 'item'" in fault.reason
    with pytest.raises(MissingDependency, match="nothing provides Engine for 'engine'"):
        started(lambda: None, Repo)


def test_types_that_grow_without_end_are_missing():
    """A provider of `Repo[T]` that needs `Repo[list[T]]` does not hang the host."""

    def endless(inner: Repo[list[T]]) -> Repo[T]: ...

    with pytest.raises(MissingDependency):
        started(wants, endless)


def test_scopes_and_generators_are_those_of_the_generic_provider():
    """One for each call and type, closed with the call."""
    closed = []

    @provides(scope="request")
    def opened(kind: type[T]) -> Iterator[Repo[T]]:
        yield kind
        closed.append(kind)

    with started(wants, opened) as host:
        assert host.call("f") == (int, str, int)
    assert closed == [str, int]


def test_async_generic_providers():
    """Of either scope."""

    async def soon(kind: type[T]) -> Repo[T]:
        return kind

    @provides(scope="request")
    async def opened(kind: type[T]) -> AsyncIterator[Pair[T, T]]:
        yield kind

    async def use(*, repo: Repo[int] = inject(), pair: Pair[str, str] = inject()):
        return repo, pair

    with started(use, soon, opened) as host:
        assert asyncio.run(host.acall("f")) == (int, str)


class Base(Generic[T]):
    def __init__(self, item: T):
        self.item = item


class Ints(Base[int]): ...


class Middle(Base[list[U]], Generic[U]): ...


class Last(Middle[str]): ...


class Shadowing(Base[str], Generic[T]):
    def __init__(self, own: T):
        super().__init__("hello")
        self.own = own


@dataclasses.dataclass
class Record(Generic[T]):
    item: T


@dataclasses.dataclass
class IntRecord(Record[int]):
    other: str


@attrs.define
class Defined(Generic[T]):
    item: T


@attrs.define
class StrDefined(Defined[str]):
    engine: Engine


@pytest.mark.parametrize(
    ("factory", "key", "needs"),
    [
        (Ints, Ints, [int]),
        (Last, Last, [list[str]]),
        (Middle[bytes], Middle[bytes], [list[bytes]]),
        (Shadowing[int], Shadowing[int], [int]),
        (IntRecord, IntRecord, [int, str]),
        (StrDefined, StrDefined, [str, Engine]),
        (Defined[int], Defined[int], [int]),
        (Base, Base, [T]),
    ],
)
def test_variables_of_generic_bases_are_resolved(factory, key, needs):
    """What an inherited constructor or field calls T is what the class says that it is."""
    provider = describe(factory)
    assert provider.key == Key(key)
    assert [dependency.key.type for dependency in provider.dependencies] == needs


def test_a_class_with_its_arguments_can_be_provided():
    """`host.provide(Repo[int])` serves that type alone."""

    def use(*, repo: Repo[int] = inject()):
        return repo

    def other(*, repo: Repo[str] = inject()): ...

    with started(use, Repo[int], Engine) as host:
        assert type(host.call("f")) is Repo
        with pytest.raises(MissingDependency):
            host.register("g", other)


def test_generic_further_types():
    """An implementation of `Store[T]` serves `Store[int]`, and is the same object under both names."""

    @provides(as_=Store[T])
    class Memory(Generic[T]): ...

    def use(*, store: Store[int] = inject(), memory: Memory[int] = inject(), other: Store[str] = inject()):
        return store is memory, other is memory

    with started(use, Memory) as host:
        assert host.call("f") == (True, False)


def test_generic_providers_are_members_of_collections_and_can_be_decorated():
    """Of the type that is collected."""

    @decorates
    def marked(repo: Repo[T], kind: type[T]) -> Repo[T]:
        return [repo, kind]

    def use(*, them: list[Repo[int]] = inject(), one: Repo[str] = inject()):
        return them, one

    with started(use, made, Engine, marked) as host:
        ((repo, kind),), (other, text) = host.call("f")
        assert (repo.kind, kind, other.kind, text) == (int, int, str, str)


class Typed(Generic[T]):
    def __init__(self, kind: type[T]):
        self.kind = kind


@attrs.define
class Counting(Generic[T]):
    repo: Typed[T] = inject()

    def __call__(self):
        return self.repo.kind


class CountingInts(Counting[int]): ...


class Counts(Generic[T]):
    def count(self, *, repo: Typed[T] = inject()):
        return repo.kind


class CountsText(Counts[str]): ...


@pytest.mark.parametrize(
    ("function", "kind"), [(CountingInts, int), (CountsText().count, str), (Counts[bytes]().count, bytes)]
)
def test_a_function_has_what_the_variables_of_its_class_stand_for(function, kind):
    """A class that is called, and a method."""
    with started(function, Typed) as host:
        assert host.call("f") is kind


@pytest.mark.parametrize("function", [Counting, Counts().count])
def test_a_function_of_any_type_is_refused(function):
    """It would be given a repository of a variable, which nobody can make."""
    with pytest.raises(ContractError, match=r"nothing says what the type variables of Typed\[~T\] stand for"):
        Host(observers=()).register("f", function)


def test_a_variable_alone_cannot_be_provided():
    """It could be anything."""

    def anything() -> T: ...

    with pytest.raises(InjectionError, match="could be any type"):
        Host(observers=()).provide(anything)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_variables_of_the_new_syntax():
    """Of classes and functions, also where annotations are strings."""
    space = {"Repo": Repo, "Engine": Engine}
    exec(  # noqa: S102  # no syntax of 3.11
        "from __future__ import annotations\n"
        "class Box[X]:\n"
        "    def __init__(self, item: X): self.item = item\n"
        "def listed[X](item: X, kind: type[X]) -> list[X]: return [item, kind]\n",
        space,
    )
    Box = space["Box"]  # noqa: N806

    def use(*, box=inject(), them: list[int] = inject()):
        return box.item, them

    use.__annotations__["box"] = Box[int]
    host = Host(observers=())
    host.provide(Box)
    host.provide(space["listed"])
    host.provide(7, type=int)
    host.register("f", use)
    with host:
        assert host.call("f") == (7, [7, int])


Plain = typing_extensions.TypeVar("Plain", default=int)
After = typing_extensions.TypeVar("After", default=list[Plain])


class Shelf(Generic[Plain]):
    def __init__(self, items: tuple[Plain, ...] = ()):
        self.items = items


class Two(Generic[Plain, After]): ...


class Half(Generic[T, Plain]): ...


class Below(Shelf[str]): ...


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (Shelf, Shelf[int]),
        (Shelf[str], Shelf[str]),
        (Shelf | None, Shelf[int]),
        (list[Shelf], list[Shelf[int]]),
        (dict[str, Shelf], dict[str, Shelf[int]]),
        (Annotated[Shelf, "a note"], Shelf[int]),
        (type[Shelf], type[Shelf[int]]),
        (Two, Two[int, list[int]]),
        (Two[bool], Two[bool, list[bool]]),
        (Two[bool, str], Two[bool, str]),
        (Half[str], Half[str, int]),
        (Half, Half),  # of its first variable nothing is known
        (Below, Below),
        (Repo, Repo),
    ],
)
def test_what_is_not_said_of_a_type_its_variables_defaults_say(written, meant):
    """PEP 696, "Using defaults": so there is one key, however it is written, as there is one contract."""
    assert key_of(written) == key_of(meant) == Key(meant)


@pytest.mark.parametrize("asked", [Shelf, Shelf[int], Shelf[str]])
@pytest.mark.parametrize("provided", [Shelf, Shelf[int], "generic", "class", "value", "override"])
def test_a_type_with_a_default_is_found_however_it_is_asked_for(provided, asked):
    """By its name alone, or with the argument that the name stands for; another argument is another type."""

    def made():
        return Shelf((1,))

    def one(kind: type[T]):
        return Shelf((kind,))

    def f(number: int, *, it=inject()):
        return it.items

    f.__annotations__["it"] = asked
    made.__annotations__["return"] = provided
    one.__annotations__["return"] = Shelf[T]
    with Host(observers=()) as host, contextlib.ExitStack() as stack:
        if provided == "class":
            host.provide(Shelf)
        elif provided == "value":
            host.provide(Shelf((1,)), type=Shelf)
        elif provided == "override":
            host.provide(Shelf[int])
            stack.enter_context(host.override({Shelf: Shelf((1,))}))
        else:
            host.provide(one if provided == "generic" else made)
        if asked == Shelf[str] and provided not in {"generic", "class"}:
            with pytest.raises(MissingDependency, match=r"Shelf\[str\]"):
                host.register("f", f)
            return
        host.register("f", f)
        kind = str if asked == Shelf[str] else int
        assert host.call("f", 1) == {"generic": (kind,), "class": ()}.get(provided, (1,))
