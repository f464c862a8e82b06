"""What asks for the same is the same key, however it is spelled; and what was meant as injected is never lost."""
# ruff: noqa: UP006, UP007, UP045  # the other spellings are what is tested

import collections.abc
import dataclasses
import sys
import typing
from typing import Annotated, Any, Final, Generic, NewType, Optional, TypeVar

import attrs
import pytest
import typing_extensions

from jackfield import (
    Background,
    Caller,
    Config,
    ContractError,
    EventBus,
    Host,
    InjectionError,
    Key,
    Logger,
    inject,
    provides,
)
from jackfield.decorators import key_of, marker_of
from jackfield.injection.providers import describe

T = TypeVar("T")


class Engine: ...


class Main(Engine): ...


class Repo(Generic[T]): ...


UserId = NewType("UserId", int)
Endless = typing_extensions.TypeAliasType("Endless", "Endless[list[T]]", type_params=(T,))
EngineDep = Annotated[Engine, inject()]

if sys.version_info >= (3, 12):
    exec("type Alias = Engine\ntype Many[X] = list[X]\ntype Deep = Annotated[Alias, inject()]\ntype Ring = list[Ring]")  # noqa: S102  # no syntax of 3.11


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (typing.List[int], list[int]),
        (typing.List, list),
        (typing.Dict[str, typing.List[int]], dict[str, list[int]]),
        (typing.Tuple[int, ...], tuple[int, ...]),
        (typing.Sequence[int], collections.abc.Sequence[int]),
        (typing.Callable[[int], str], collections.abc.Callable[[int], str]),
        (typing.Type[Engine], type[Engine]),
        (Optional[Engine], Engine),
        (Engine | None, Engine),
        (typing.Union[int, str], int | str),
        (Annotated[Engine, "a note"], Engine),
        (Annotated[Engine | None, "a note"] | None, Engine),
        (list[Annotated[int, "a note"]], list[int]),
        (Repo[typing.List[int]], Repo[list[int]]),
        (Final[Engine], Engine),
        (Any, object),
    ],
)
def test_spellings_of_one_type_are_one_key(one, other):
    """`typing` and `collections.abc`, optional or not, annotated or not."""
    assert key_of(one) == key_of(other)
    assert hash(key_of(one)) == hash(key_of(other))
    assert key_of(key_of(one).type) == key_of(one)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is of 3.12")
def test_aliases_are_what_they_stand_for():
    """Generic ones too; one that stands for itself stays one."""
    assert key_of(Alias) == Key(Engine)  # noqa: F821
    assert key_of(Many[Alias]) == Key(list[Engine])  # noqa: F821
    assert marker_of(None, Deep) == inject()  # noqa: F821
    assert key_of(Ring) == Key(list[Ring])  # noqa: F821


def test_aliases_that_are_made_by_a_call():
    """Those of Python 3.11, where the names in them may stand in strings."""
    of_text = typing_extensions.TypeAliasType("of_text", "list['Engine']")
    of_one = typing_extensions.TypeAliasType("of_one", dict[str, T], type_params=(T,))
    assert key_of(of_text) == Key(list[Engine])
    assert key_of(of_one[Engine]) == Key(dict[str, Engine])


def test_an_alias_without_end_has_one():
    """Its author's function is refused or served, but looking at it ends."""
    assert marker_of(None, Endless[int]) is None
    assert key_of(Endless[int]) == key_of(Endless[int])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is of 3.12")
def test_aliases_of_what_a_generator_yields():
    """The alias is looked through."""
    exec("type Engines = typing.Iterator[Engine]", globals())  # noqa: S102  # no syntax of 3.11

    def engine() -> Engines:  # noqa: F821
        yield Engine()

    assert describe(engine).key == Key(Engine)


def test_a_new_type_is_a_type_of_its_own():
    """That is what it is for."""
    assert key_of(UserId) != key_of(int)
    assert key_of(list[UserId]) != key_of(list[int])


def by_annotation(table: str, engine: Annotated[Engine, inject()]):
    return engine


def by_alias(table: str, engine: EngineDep):
    return engine


def by_optional(table: str, engine: Annotated[Engine, inject()] | None):
    return engine


def by_name(table: str, engine: Annotated[Engine, "a note", inject(name="main")]):
    return engine


def with_default(table: str, engine: Annotated[Engine, inject()] = None):
    return engine


async def asynchronous(table: str, engine: EngineDep):
    return engine


@dataclasses.dataclass
class Plain:
    engine: EngineDep

    def __call__(self, table: str):
        return self.engine


@attrs.define
class Defined:
    engine: Annotated[Engine, inject()]
    size: int = 3

    def __call__(self, table: str):
        return self.engine


@pytest.mark.parametrize(
    "function", [by_annotation, by_alias, by_optional, by_name, with_default, asynchronous, Plain, Defined]
)
def test_a_marker_within_the_annotation_injects(function):
    """`Annotated[T, inject()]`, for functions of both colours and fields of classes; the payload is what is left."""
    engine = Engine()
    host = Host(observers=())
    host.provide(engine, type=Engine, name="main" if function is by_name else None)
    host.register("f", function)
    with host:
        assert host.call("f", "flights") is engine
        assert host.describe("f").shape == "one"


def test_without_a_provider_the_default_applies():
    """What has a default of its own keeps it, as a provider's parameters do; what has none is missing."""
    host = Host(observers=())
    host.register("f", with_default)
    with host:
        assert host.call("f", "flights") is None
        with pytest.raises(InjectionError, match="nothing provides Engine"):
            host.register("g", by_annotation)


def test_providers_are_asked_within_the_annotation():
    """The name and the option stand there as in a default."""

    class Session:
        def __init__(
            self, engine: Annotated[Engine, inject(name="main")], *, log: Annotated[Repo[int], inject(optional=True)]
        ):
            self.engine, self.log = engine, log

    def use(*, session: Session = inject()):
        return session

    host = Host(observers=())
    host.provide(Engine(), type=Engine, name="main")
    host.provide(Session)
    host.register("use", use)
    with host:
        assert host.call("use").log is None


def forgotten(table: str, engine: Engine = inject): ...
def forgotten_within(table: str, engine: Annotated[Engine, inject]): ...


@attrs.define
class Forgotten:
    engine: Engine = inject

    def __call__(self, table: str): ...


@pytest.mark.parametrize("function", [forgotten, forgotten_within, Forgotten])
def test_inject_without_parentheses_is_told(function):
    """The function itself is not a mark: it would have been the default, or lost."""
    with pytest.raises(ContractError) as caught:
        Host(observers=()).register("f", function)
    (fault,) = caught.value.faults
    assert "'engine' is marked with `inject`, the function itself" in fault.reason
    assert fault.fix == "write `inject()`"


class Undecorated:
    engine: Annotated[Engine, inject()]

    def __call__(self, table: str): ...


def test_a_marked_field_that_no_constructor_takes_is_told():
    """A plain class has no fields: nothing would ever be there."""
    with pytest.raises(ContractError, match=r"'engine' is `inject\(\)`, but no constructor parameter takes it"):
        Host(observers=()).register("f", Undecorated)


def test_inject_without_parentheses_is_told_of_providers():
    """Likewise."""

    def session(engine: Engine = inject) -> Repo[int]: ...

    with pytest.raises(InjectionError, match=r"write `inject\(\)`"):
        Host(observers=()).provide(session)


@pytest.mark.parametrize("kind", [Logger, EventBus, Config, Caller, Background])
def test_what_only_jackfield_has_must_be_asked_for(kind):
    """No payload brings a logger: the parameter was meant as injected. With a default it is noted."""

    def required(table: str, it): ...
    def defaulted(table: str, it=None): ...

    required.__annotations__["it"] = kind
    defaulted.__annotations__["it"] = kind | None
    host = Host(observers=())
    with pytest.raises(ContractError) as caught:
        host.register("f", required)
    (fault,) = caught.value.faults
    assert f"the {kind.__name__} 'it'" in fault.reason
    assert fault.fix == f"write `it: {kind.__name__} = inject()`"
    host.register("f", defaulted)
    assert any(f"write `it: {kind.__name__} = inject()`" in note for note in host.describe("f").notes)


def test_an_override_of_what_nobody_has_is_told():
    """A slip of the pen in a test would else leave the real thing in place; what is asked for can be overridden."""

    def use(*, engine: Engine = inject(), repo: Repo[int] = inject(optional=True)):
        return engine, repo

    host = Host(observers=())
    host.provide(Engine)
    host.register("use", use)
    with host:
        with pytest.raises(InjectionError, match="override of Main") as caught, host.override({Main: Main()}):
            pass
        assert "provides Engine, a base class" in caught.value.faults[0].fix
        with pytest.raises(InjectionError, match="override of Engine 'main'"), host.override({Key(Engine, "main"): 1}):
            pass
        with host.override({Repo[int]: "asked for"}):
            assert host.call("use")[1] == "asked for"
    with host.override({Main: Main()}), pytest.raises(InjectionError, match="override of Main"):
        host.start()


class Constructed:
    def __init__(self, size: int = 3, /, host: "NotThere" = "local", *, engine: Engine = inject()) -> None:  # noqa: F821
        self.size, self.host, self.engine = size, host, engine


def test_a_constructor_keeps_defaults_that_cannot_be_injected():
    """Positional-only ones, and those whose annotation cannot be evaluated, as for functions."""

    def use(*, made: Constructed = inject()):
        return made

    host = Host(observers=())
    host.provide(Engine)
    host.provide(Constructed)
    host.register("use", use)
    with host:
        made = host.call("use")
        assert (made.size, made.host, type(made.engine)) == (3, "local", Engine)


def test_faults_name_the_line():
    """Of the function whose parameter it is, of the provider, of the class."""

    def wants(*, engine: Engine = inject()): ...

    @provides
    def repo(engine: Engine) -> Repo[int]: ...

    host = Host(observers=())
    host.register("f", wants)
    host.provide(repo)
    with pytest.raises(InjectionError) as caught:
        host.start()
    first = wants.__code__.co_firstlineno
    assert {fault.where for fault in caught.value.faults} == {f"{__file__}:{first}", f"{__file__}:{first + 2}"}
    assert f"({__file__}:{first})" in str(caught.value)
