"""Reading factories: what they provide, what they need, and everything that is wrong with them at once."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Generic, Protocol, Self, TypeVar

import attrs
import pytest

from jackfield.decorators import Inject, inject, provided, provides
from jackfield.errors import InjectionError
from jackfield.injection.providers import describe, value_provider
from jackfield.model.spec import Colour, Dependency, Key

if TYPE_CHECKING:
    from decimal import Decimal  # never there at run time, as in many a module


T = TypeVar("T")


class Database: ...


class Cache: ...


def test_the_mark_is_a_plain_frozen_default():
    """`inject()` works as the default of a parameter, a dataclass field and an attrs field, and can be hashed."""

    @dataclasses.dataclass
    class Plain:
        db: Database = inject()

    @attrs.define
    class Defined:
        db: Database = inject(name="main")

    assert Plain().db == Inject()
    assert Defined().db == Inject("main")
    assert hash(inject(optional=True)) == hash(inject(optional=True))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        inject().name = "other"


def test_provides_returns_the_very_factory():
    """The decorator only notes scope and name; bare and with arguments, on functions and classes."""

    def factory() -> Database: ...

    class Local: ...

    assert provides(factory) is factory
    assert provided(factory).scope == "singleton"
    assert provides(scope="request", name="x")(Local) is Local
    assert provided(Local) == provided(provides(scope="request", name="x")(factory))


def test_the_note_of_a_class_is_not_inherited():
    """A subclass of a request-scoped class is not request-scoped by accident."""

    @provides(scope="request")
    class Base: ...

    class Derived(Base): ...

    assert provided(Derived) is None


def test_provides_refuses_what_it_cannot_mark():
    """A wrong scope, and things that take no attribute, are refused where they are written."""
    with pytest.raises(ValueError, match="no scope 'session'"):
        provides(scope="session")
    with pytest.raises(TypeError, match="wrap it in a function"):
        provides([].append)
    with pytest.raises(TypeError, match="wrap it in a function"):
        provides(dict)
    with pytest.raises(TypeError, match="functions and classes"):
        provides()(3)


def plain(db: Database) -> Cache: ...
async def asynchronous() -> Cache: ...
def yields() -> Iterator[Cache]: ...
def generates() -> Generator[Cache, None, None]:
    yield Cache()


def iterates() -> Iterator[Cache]:
    yield Cache()


async def async_yields() -> AsyncIterator[Cache]:
    yield Cache()


@pytest.mark.parametrize(
    ("factory", "colour", "generator", "provides"),
    [
        (plain, Colour.SYNC, False, Cache),
        (asynchronous, Colour.ASYNC, False, Cache),
        (yields, Colour.SYNC, False, Iterator[Cache]),
        (generates, Colour.SYNC, True, Cache),
        (iterates, Colour.SYNC, True, Cache),
        (async_yields, Colour.ASYNC, True, Cache),
        (functools.partial(generates), Colour.SYNC, True, Cache),
        (Cache, Colour.SYNC, False, Cache),
    ],
)
def test_the_kind_of_a_factory_is_read_from_its_code(factory, colour, generator, provides):
    """A generator provides what it yields, a function what it returns, a class itself."""
    provider = describe(factory)
    assert (provider.colour, provider.generator, provider.key) == (colour, generator, Key(provides))


def test_every_parameter_is_a_dependency():
    """Marks give name and optionality; what has an ordinary default may be left out; *args are not filled."""

    def factory(
        a: Database,
        b: Annotated[Cache | None, "note"] = inject(optional=True),
        c: Cache = inject(name="second"),
        d: Cache = None,
        e=3,
        *rest: int,
        f: Cache,
        **more: str,
    ) -> list[int]: ...

    provider = describe(factory, plugin="demo")
    assert provider.dependencies == (
        Dependency("a", Key(Database)),
        Dependency("b", Key(Cache), optional=True),
        Dependency("c", Key(Cache, "second")),
        Dependency("d", Key(Cache)),
        Dependency("f", Key(Cache)),
    )
    assert provider.defaults == {"d"}
    assert provider.positional == 4
    assert provider.key == Key(list[int])
    assert provider.plugin == "demo"


class Factory:
    def __call__(self, db: Database) -> Cache: ...

    def method(self, db: Database) -> Cache: ...


@pytest.mark.parametrize("factory", [Factory(), Factory().method, functools.partial(plain)])
def test_objects_methods_and_partials_can_provide(factory):
    """Whatever can be called and says what it returns."""
    provider = describe(factory)
    assert provider.key == Key(Cache)
    assert provider.dependencies == (Dependency("db", Key(Database)),)


def test_what_a_partial_has_bound_is_not_injected():
    """A keyword given to a partial was meant."""
    assert describe(functools.partial(plain, db=Database())).dependencies == ()


def test_a_closure_can_name_what_it_encloses():
    """A local class can be named in an annotation if the function uses it."""

    class Local: ...

    def factory() -> Local:
        return Local()

    assert describe(factory).key == Key(Local)


@attrs.define
class Repository:
    _db: Database
    size: int = 3


@dataclasses.dataclass
class Service:
    repository: Repository
    cache: Cache = inject(optional=True)


class Written:
    def __init__(self, db: Database, *, cache: Cache = inject(name="x")): ...


def test_fields_of_classes_are_dependencies():
    """attrs aliases, dataclass fields and written constructors, with string annotations."""
    assert describe(Repository).dependencies == (Dependency("db", Key(Database)), Dependency("size", Key(int)))
    assert describe(Repository).defaults == {"size"}
    assert describe(Service).dependencies == (
        Dependency("repository", Key(Repository)),
        Dependency("cache", Key(Cache), optional=True),
    )
    assert describe(Written).dependencies == (Dependency("db", Key(Database)), Dependency("cache", Key(Cache, "x")))


@attrs.define
class Shadowing:
    Database: Database = inject()


class Elsewhere:
    def __init__(self, cache: Cache = inject()): ...


class Inherits(Elsewhere, Repository): ...


def test_a_field_named_like_its_type_is_read_as_the_type():
    """And an inherited constructor where it was written."""
    assert describe(Shadowing).dependencies == (Dependency("Database", Key(Database)),)
    assert describe(Inherits).dependencies == (Dependency("cache", Key(Cache)),)


def no_return(): ...
def not_there() -> Decimal: ...
def nothing() -> None: ...
def anything() -> Any: ...
def bare_generator() -> Cache:
    yield Cache()


def positional(db: Database, /) -> Cache: ...
def unannotated(db) -> Cache: ...
@contextmanager
def managed() -> Iterator[Cache]:
    yield Cache()


class Abstract(abc.ABC):
    @abc.abstractmethod
    def run(self): ...


class Shape(Protocol):
    def run(self): ...


@pytest.mark.parametrize(
    ("factory", "reason", "fix"),
    [
        (no_return, "does not say what it provides", "annotate the return type"),
        (not_there, "Decimal", "import the name at run time"),
        (nothing, "None cannot be provided", "annotate"),
        (anything, "neither a type nor a name", "annotate"),
        (bare_generator, "does not say what it yields", "Iterator"),
        (positional, "positional-only", "take the `/` out"),
        (unannotated, "neither a type nor a name", "annotate the type"),
        (managed, "hides its `yield`", "contextmanager"),
        (Abstract, "cannot be made", "concrete"),
        (Shape, "cannot be made", "concrete"),
        (42, "must be callable", "type="),
    ],
)
def test_a_factory_that_cannot_be_used_is_refused_with_the_fix(factory, reason, fix):
    """Each fault names the factory, the plugin, what is wrong and what to do."""
    with pytest.raises(InjectionError) as caught:
        describe(factory, plugin="demo")
    (fault,) = caught.value.faults
    assert reason in fault.reason
    assert fix in fault.fix
    assert fault.plugin == "demo"
    assert fault.stage == "inject"


def sick(a: Decimal, b, c: Database, /, d: Cache) -> Decimal: ...


def test_all_faults_of_a_factory_come_at_once():
    """One odd annotation spoils no other, and hides none."""
    with pytest.raises(InjectionError) as caught:
        describe(sick)
    assert len(caught.value.faults) == 4
    assert all(fault.entry.endswith(":sick") for fault in caught.value.faults)


def test_a_name_may_stand_for_a_type():
    """A factory typed `Any` can be provided under a name."""
    assert describe(provides(name="answer")(anything)).key == Key(object, "answer")


def test_values_are_provided_as_they_are():
    """By their own class, or under the type and name given."""
    db = Database()
    assert value_provider(db).key == Key(Database)
    assert value_provider(db, object, name="x").value is db
    assert value_provider(db, Database | None).key == Key(Database)
    with pytest.raises(InjectionError, match="None cannot be provided"):
        value_provider(None)
    with pytest.raises(InjectionError, match="neither a type nor a name"):
        value_provider(db, Any)


class Made:
    @classmethod
    def make(cls) -> Self:
        return cls()

    @classmethod
    def lend(cls) -> Iterator[Self | None]:
        yield cls()


class MadeFurther(Made): ...


class Maker(Generic[T]):
    def make(self) -> list[T]:
        return []


class IntMaker(Maker[int]): ...


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        (Made.make, Made),
        (MadeFurther.make, MadeFurther),
        (MadeFurther.lend, MadeFurther),
        (IntMaker().make, list[int]),
        (Maker[str]().make, list[str]),
        (functools.partial(Maker[str]().make), list[str]),
    ],
)
def test_a_method_provides_what_its_class_says(factory, kind):
    """`Self`, and the type variables of the class that it was written in."""
    assert describe(factory).key == Key(kind)
