"""Generated bodies: the payload reaches the parameters in every shape, and the text is no way in."""

import asyncio
import functools
import inspect
from types import SimpleNamespace

import attrs
import pytest

from jackfield.decorators import provides
from jackfield.injection import bodies
from jackfield.injection.bodies import invocation
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe, value_provider
from jackfield.model.call import Call
from jackfield.model.spec import Colour, Dependency, FunctionSpec, Key, Parameter

CALL = Call("f")
P = inspect.Parameter


class Engine: ...


class Cache:
    def __init__(self, engine: Engine, size: int = 3, *, name: str = "x"):
        self.engine, self.size, self.name = engine, size, name


def spec(target, shape, *parameters, wanted=(), colour=Colour.SYNC, instance=False):
    return FunctionSpec(
        "f",
        "0",
        "demo",
        "",
        target,
        colour,
        per_call_instance=instance,
        shape=shape,
        parameters=tuple(Parameter(name, kind) for name, kind in parameters),
        dependencies=tuple(wanted),
    )


DB = Dependency("db", Key(str))


def run(function_spec, value):
    injector = Injector()
    injector.add(value_provider("db"))
    return injector.body(function_spec)(CALL, value)


def test_every_shape_of_payload_reaches_its_parameters():
    """None, one by position or by keyword, all the rest, several, and one to a callable without signature."""

    def nothing(*, db):
        return db

    def one(x, /, *, db):
        return x, db

    def keyword(*, x, db):
        return x, db

    def rest(*, db, **more):
        return more, db

    def many(a, /, b, *, c, db):
        return a, b, c, db

    assert run(spec(nothing, "none", wanted=[DB]), "ignored") == "db"
    assert run(spec(one, "one", ("x", P.POSITIONAL_ONLY), wanted=[DB]), 1) == (1, "db")
    assert run(spec(lambda x, db: (x, db), "one", ("x", P.POSITIONAL_OR_KEYWORD), wanted=[DB]), 1) == (1, "db")
    assert run(spec(keyword, "one", ("x", P.KEYWORD_ONLY), wanted=[DB]), 1) == (1, "db")
    assert run(spec(rest, "one", ("more", P.VAR_KEYWORD), wanted=[DB]), {"k": 1}) == ({"k": 1}, "db")
    assert run(spec(many, "many", wanted=[DB]), ((1, 2), {"c": 3})) == (1, 2, 3, "db")
    assert run(spec(max, "opaque"), [1, 3]) == 3


def test_a_payload_cannot_replace_what_is_injected():
    """A record with the name of a dependency is refused by Python itself."""

    def rest(*, db, **more): ...

    with pytest.raises(TypeError, match="multiple values"):
        run(spec(rest, "one", ("more", P.VAR_KEYWORD), wanted=[DB]), {"db": "mine"})


def test_a_class_is_instantiated_with_its_dependencies_for_every_call():
    """The instance is new, holds what is injected, and is called with the payload; sync and async."""

    @attrs.define
    class Shout:
        db: str

        def __call__(self, x):
            return x, self.db, id(self)

    @attrs.define
    class Whisper:
        db: str

        async def __call__(self, x, *, y):
            return x, y, self.db

    one = spec(Shout, "one", ("x", P.POSITIONAL_OR_KEYWORD), wanted=[DB], instance=True)
    assert run(one, 1)[:2] == (1, "db")
    many = spec(Whisper, "many", wanted=[DB], instance=True, colour=Colour.ASYNC)
    assert asyncio.run(run(many, ((1,), {"y": 2}))) == (1, 2, "db")
    assert invocation(one, {"db": "v0"}) == "target(db=v0)(value)"


def test_the_call_itself_is_injected():
    """To a function and to a request provider."""

    @provides(scope="request")
    def name(call: Call) -> bytes:
        return call.name.encode()

    def function(call, name):
        return call, name

    injector = Injector()
    injector.add(describe(name))
    wanted = [Dependency("call", Key(Call)), Dependency("name", Key(bytes))]
    assert injector.body(spec(function, "none", wanted=wanted))(CALL, None) == (CALL, b"f")


def test_optional_dependencies_are_none_and_defaults_apply():
    """What nothing provides is None for an optional one, and left out where the provider has its own default."""

    def function(cache, nothing):
        return cache, nothing

    injector = Injector()
    injector.add(describe(Engine), describe(provides(scope="request")(Cache)))
    wanted = [Dependency("cache", Key(Cache)), Dependency("nothing", Key(bytes), optional=True)]
    cache, nothing = injector.body(spec(function, "none", wanted=wanted))(CALL, None)
    assert (cache.size, cache.name, nothing) == (3, "x", None)
    injector.add(value_provider("given"))
    cache, nothing = injector.body(spec(function, "none", wanted=wanted))(CALL, None)
    assert (cache.size, cache.name) == (3, "given")


def test_a_provider_that_is_a_partial_keeps_what_it_bound():
    """A partial of a class provides the class; what is bound is not injected, not even when it could be."""

    def function(cache):
        return cache

    injector = Injector()
    injector.add(describe(Engine), describe(functools.partial(Cache, size=7)), value_provider(99))
    wanted = [Dependency("cache", Key(Cache))]
    assert injector.body(spec(function, "none", wanted=wanted))(CALL, None).size == 7


def test_functions_of_one_shape_share_their_code():
    """A hundred functions compile once: the cache is keyed by the text alone."""
    injector = Injector()
    injector.add(value_provider("db"))
    codes = set()
    for _ in range(100):

        def function(*, db):
            return db

        codes.add(injector.body(spec(function, "none", wanted=[DB])).__code__)
    assert len(codes) == 1


def test_a_body_without_generators_opens_no_scope():
    """No try, no context, nothing but the calls."""
    wiring = SimpleNamespace(source=lambda _: None)
    text = bodies._Writer(spec(print, "none", wanted=[Dependency("db", Key(str), optional=True)]), wiring).text()
    lines = [line.strip() for line in text.splitlines()]
    assert lines == ["def bind(target):", "def body(call, value):", "return target(db=None)", "return body"]


@pytest.mark.parametrize("name", ["a b", "class", "x=print('!')", "__debug__", "ﬁ"])
def test_an_odd_parameter_name_is_data_and_not_code(name):
    """Names come from strangers' signatures and must not become part of the text as they are."""

    def function(**passed):
        return list(passed.values())

    assert run(spec(function, "none", wanted=[Dependency(name, Key(str))]), None) == ["db"]
