"""Overrides: hold after a singleton was built, nest, remake what depends on them and nothing else."""

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from jackfield.decorators import Inject, dependency, inject, provides
from jackfield.errors import MissingDependency
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe, value_provider
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec, Key

CALL = Call("f")


class Engine:
    closed = False


class Repository:
    def __init__(self, engine: Engine):
        self.engine = engine


class Clock: ...


class Logger:
    def __init__(self, plugin):
        self.plugin = plugin


def spec(target, plugin="demo"):
    """Describe a function by hand, without the contract compiler."""
    wanted = tuple(
        dependency(parameter.name, parameter.annotation, parameter.default)
        for parameter in inspect.signature(target).parameters.values()
        if isinstance(parameter.default, Inject)
    )
    return FunctionSpec("f", "0", plugin, "", target, Colour.SYNC, shape="opaque", dependencies=wanted)


def function(x, *, engine: Engine = inject(), repository: Repository = inject(), clock: Clock = inject()):
    return engine, repository, clock


def filled():
    def repository(engine: Engine) -> Iterator[Repository]:
        made = Repository(engine)
        yield made
        made.closed = True

    injector = Injector()
    injector.add(describe(Engine), describe(repository), describe(Clock))
    return injector


def test_an_override_holds_after_the_singleton_was_built():
    """What depends on it is remade around it, what does not is shared, and afterwards all is as before."""
    injector, fake = filled(), Engine()
    before = injector.body(spec(function))(CALL, 1)
    layer = injector.override({Engine: fake})
    engine, repository, clock = injector.body(spec(function))(CALL, 1)
    assert engine is fake
    assert repository is not before[1]
    assert repository.engine is fake
    assert clock is before[2]
    assert injector.body(spec(function))(CALL, 1)[1] is repository
    assert injector.restore(layer).close(asyncio.run) == ()
    assert repository.closed
    after = injector.body(spec(function))(CALL, 1)
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert not hasattr(before[1], "closed")


def test_what_was_not_built_before_is_shared_when_it_does_not_depend_on_the_override():
    """A singleton first needed within an override, and untouched by it, stays."""
    injector = filled()
    layer = injector.override({Engine: Engine()})
    within = injector.body(spec(function))(CALL, 1)
    injector.restore(layer).close(asyncio.run)
    after = injector.body(spec(function))(CALL, 1)
    assert after[2] is within[2]
    assert after[1] is not within[1]


def test_overrides_nest():
    """The innermost wins, and the outer ones stay in force for the rest."""
    injector, first, second, clock = filled(), Engine(), Engine(), Clock()
    outer = injector.override({Engine: first, Clock: clock})
    one = injector.body(spec(function))(CALL, 1)
    inner = injector.override({Engine: second})
    two = injector.body(spec(function))(CALL, 1)
    assert (two[0], two[1].engine, two[2]) == (second, second, clock)
    injector.restore(inner).close(asyncio.run)
    again = injector.body(spec(function))(CALL, 1)
    assert again[1] is one[1]
    injector.restore(outer).close(asyncio.run)
    assert injector.body(spec(function))(CALL, 1)[0] is not first
    with pytest.raises(ValueError, match="has ended"):
        injector.restore(outer)


def test_overrides_end_in_any_order():
    """Leaving one removes it alone; what was made because of both is remade, what was made because of one is not."""
    injector, engine, clock = filled(), Engine(), Clock()

    def repository(engine: Engine, clock: Clock) -> Iterator[Repository]:
        made = Repository(engine)
        made.clock = clock
        yield made
        made.closed = True

    injector.remove(*(each for each in injector.providers if each.key.type is Repository))
    injector.add(describe(repository))
    real = injector.body(spec(function))(CALL, 1)
    first = injector.override({Engine: engine})
    second = injector.override({Clock: clock})
    both = injector.body(spec(function))(CALL, 1)
    assert (both[0], both[2], both[1].engine, both[1].clock) == (engine, clock, engine, clock)
    assert injector.restore(first).close(asyncio.run) == ()
    left = injector.body(spec(function))(CALL, 1)
    assert (left[0], left[2], left[1].engine, left[1].clock) == (real[0], clock, real[0], clock)
    assert both[1].closed
    assert injector.restore(second).close(asyncio.run) == ()
    assert injector.body(spec(function))(CALL, 1) == real
    assert not hasattr(real[1], "closed")


def test_an_override_stands_in_for_what_is_missing_or_broken():
    """In tests a provider whose own needs are not met can be replaced, by type, key or name alone."""

    def engine(url: str = inject(name="url")) -> Engine: ...

    def wants(x, *, engine: Engine = inject()):
        return engine

    injector = Injector()
    injector.add(describe(engine))
    with pytest.raises(MissingDependency):
        injector.check([spec(wants)])
    with pytest.raises(MissingDependency):
        injector.body(spec(wants))
    fake = Engine()
    layer = injector.override({Engine: fake})
    injector.check([spec(wants)])
    assert injector.body(spec(wants))(CALL, 1) is fake
    injector.restore(layer)
    injector.override({Key(str, "url"): "db://"})
    injector.check([spec(wants)])


def test_a_request_provider_can_be_overridden_by_an_object():
    """The same object in every call."""

    @provides(scope="request")
    def engine() -> Iterator[Engine]:
        raise AssertionError("not to be opened")
        yield

    def wants(x, *, engine: Engine = inject()):
        return engine

    injector, fake = Injector(), Engine()
    injector.add(describe(engine))
    injector.override({Engine: fake})
    assert injector.body(spec(wants))(CALL, 1) is fake


def test_an_override_that_is_no_mapping_is_told():
    """An object alone does not say what it stands for."""
    with pytest.raises(TypeError, match=r"a mapping of types to objects, as in {Cache: fake}, not object"):
        Injector().override(object())


def test_the_call_cannot_be_overridden():
    """`Call` is always the call under way."""
    with pytest.raises(ValueError, match="Call cannot be overridden"):
        Injector().override({Call: CALL})


def test_contextual_types_are_made_once_per_plugin_and_can_be_replaced():
    """A function and a provider each get the object of their own plugin."""
    made = []

    def logger(plugin):
        made.append(plugin)
        return Logger(plugin)

    @provides(scope="request")
    def of_provider(log: Logger) -> str:
        return log.plugin

    @provides(name="held")
    def of_singleton(log: Logger) -> str:
        return log.plugin

    def wants(x, *, log: Logger = inject(), theirs: str = inject(), held: str = inject(name="held")):
        return log.plugin, theirs, held

    injector = Injector({Logger: logger})
    injector.add(describe(of_provider, plugin="one"), describe(of_singleton, plugin="two"))
    assert injector.body(spec(wants))(CALL, 1) == ("demo", "one", "two")
    assert injector.body(spec(wants))(CALL, 1) == ("demo", "one", "two")
    assert sorted(made) == ["demo", "one", "two"]
    layer = injector.override({Logger: Logger("fake")})
    assert injector.body(spec(wants))(CALL, 1) == ("fake", "fake", "fake")
    injector.restore(layer)
    injector.add(value_provider(Logger("provided")))
    assert injector.body(spec(wants))(CALL, 1) == ("provided", "provided", "two")


def test_diagnosing_a_provider_before_it_is_added():
    """A host asks first, and adds only what fits."""
    injector = filled()
    assert injector.diagnose(adding=[describe(Engine)]).faults
    assert not injector.diagnose(adding=[value_provider("x")]).faults
    assert len(injector.providers) == 3
