"""Further types that a provider can be asked for by, and decorators around what others provide."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, runtime_checkable

import pytest

from jackfield import (
    Call,
    CaptiveDependency,
    DependencyCycle,
    Host,
    InjectionError,
    Logger,
    MissingDependency,
    decorates,
    inject,
    provides,
)


class Mailer(ABC):
    @abstractmethod
    def send(self) -> str: ...


class Sender(Protocol):
    def send(self) -> str: ...


class Counter: ...


@provides(as_=Mailer)
class Smtp(Mailer):
    def send(self):
        return "smtp"


class Wrapped:
    def __init__(self, inner, how="wrapped"):
        self.inner, self.how = inner, how

    def send(self):
        return f"{self.how}({self.inner.send()})"


@decorates
def traced(mailer: Mailer) -> Mailer:
    return Wrapped(mailer, "traced")


@decorates(Mailer)
class Retrying:
    def __init__(self, counter: Counter, inner: Mailer):
        self.counter, self.inner = counter, inner

    def send(self):
        return f"retrying({self.inner.send()})"


def started(function, *providers):
    host = Host(observers=())
    for provider in providers:
        host.provide(provider)
    host.register("f", function)
    host.start()
    return host


def use(*, mailer: Mailer = inject()):
    return mailer.send()


def both(*, mailer: Mailer = inject(), smtp: Smtp = inject()):
    return mailer, smtp


# --- Further types --------------------------------------------------------------------------------------------------


def test_one_object_under_each_of_its_types():
    """A class is made once, whichever type it is asked for by."""
    with started(both, Smtp) as host:
        mailer, smtp = host.call("f")
        assert mailer is smtp


def test_several_types_names_and_functions():
    """A tuple of types; a name goes for each; a function's return annotation may be missing then."""

    @provides(as_=(Mailer, Sender), name="main")
    def smtp() -> Smtp:
        return Smtp()

    @provides(as_=Counter)
    def counter():
        return "counter"

    def named(
        *,
        one: Smtp = inject(name="main"),
        two: Mailer = inject(name="main"),
        three: Sender = inject(name="main"),
        four=inject(name="main"),
        five: Counter = inject(),
    ):
        return one is two is three is four, five

    with started(named, smtp, counter) as host:
        assert host.call("f") == (True, "counter")


@runtime_checkable
class Closable(Protocol):
    def close(self): ...


@pytest.mark.parametrize("further", [Counter, Closable])
def test_what_it_is_not_it_cannot_be_asked_for_by(further):
    """As far as classes can tell: a protocol that cannot be checked is the author's word."""

    @provides(as_=further)
    class Other(Smtp): ...

    with pytest.raises(InjectionError, match=f"which is no .*{further.__name__}"):
        Host(observers=()).provide(Other)
    Host(observers=()).provide(provides(as_=Sender)(Other))


def test_an_override_of_one_type_leaves_the_other():
    """The object stands for the type that is overridden."""
    with started(both, Smtp) as host:
        with host.override({Mailer: "fake"}):
            mailer, smtp = host.call("f")
            assert mailer == "fake"
            assert type(smtp) is Smtp
        with host.override({Smtp: "fake"}):
            assert host.call("f")[1] == "fake"


def test_a_near_miss_names_as_():
    """A subclass does not stand in for its base; how it can is said."""

    class Plain(Mailer):
        def send(self): ...

    with pytest.raises(MissingDependency, match=r"or say @provides\(as_=Mailer\): .*Plain, a subclass"):
        started(use, Plain)


# --- Decorators -----------------------------------------------------------------------------------------------------


def test_who_asks_gets_what_the_decorator_makes():
    """The first registered is the innermost, wherever the provider itself is registered; a class is told the type."""
    with started(use, traced, Smtp, Retrying, Counter) as host:
        assert host.call("f") == "retrying(traced(smtp))"


def test_it_is_made_once_where_what_it_decorates_is():
    """A decorator has the scope of what it decorates."""
    made = []

    @decorates
    def counted(mailer: Mailer) -> Mailer:
        made.append(mailer)
        return mailer

    with started(use, Smtp, counted) as host:
        host.call("f")
        host.call("f")
        assert len(made) == 1
    with started(use, provides(scope="request", as_=Mailer)(type("Mine", (Smtp,), {})), counted) as host:
        host.call("f")
        host.call("f")
        assert len(made) == 3


def test_only_the_decorated_key_is_decorated():
    """Neither another type of the same provider, nor another name; one for the name says so."""

    @provides(name="other")
    def other() -> Mailer:
        return Smtp()

    @decorates(name="other")
    def of_other(mailer: Mailer) -> Mailer:
        return Wrapped(mailer, "other")

    def all_of_them(*, one: Mailer = inject(), smtp: Smtp = inject(), two: Mailer = inject(name="other")):
        return one.send(), smtp.send(), two.send()

    with started(all_of_them, Smtp, other, traced, of_other) as host:
        assert host.call("f") == ("traced(smtp)", "smtp", "other(smtp)")


def test_generators_decorate_and_clean_up():
    """In reverse order, with the scope of what they decorate or a narrower one."""
    log = []

    @decorates
    def kept(mailer: Mailer) -> Iterator[Mailer]:
        yield Wrapped(mailer, "kept")
        log.append("kept closed")

    @decorates(scope="request")
    def per_call(mailer: Mailer, call: Call) -> Iterator[Mailer]:
        yield Wrapped(mailer, call.name)
        log.append("call closed")

    with started(use, Smtp, kept, per_call) as host:
        assert host.call("f") == "f(kept(smtp))"
        assert log == ["call closed"]
    assert log == ["call closed", "kept closed"]


def test_async_decorators():
    """Of sync and async providers, for async functions."""

    async def smtp() -> Mailer:
        return Smtp()

    @decorates
    async def soon(mailer: Mailer) -> Mailer:
        return Wrapped(mailer, "soon")

    @decorates(scope="request")
    async def opened(mailer: Mailer) -> AsyncIterator[Mailer]:
        yield Wrapped(mailer, "opened")

    async def function(*, mailer: Mailer = inject()):
        return mailer.send()

    with started(function, smtp, soon, opened) as host:
        assert asyncio.run(host.acall("f")) == "opened(soon(smtp))"
    with pytest.raises(InjectionError, match="it is sync, and Mailer is made by the async"):
        started(function, smtp, traced)


def nothing(*, counter: Counter = inject()): ...


@pytest.mark.parametrize(
    ("function", "providers", "kind", "reason"),
    [
        (nothing, (Counter, traced), MissingDependency, "it decorates Mailer, but nothing provides Mailer"),
        (use, (Smtp, Retrying), MissingDependency, "nothing provides Counter for 'counter'"),
        (use, (traced,), MissingDependency, "nothing provides Mailer for 'mailer'"),
        (nothing, (Counter, traced), MissingDependency, "→ provide it .*, or leave the decorator out"),
        (use, (traced,), MissingDependency, r"'mailer' \(.*\) → provide it"),
    ],
)
def test_faults_of_decorators_are_found_at_the_start(function, providers, kind, reason):
    """Nothing to decorate, and what else a decorator needs."""
    with pytest.raises(kind, match=reason):
        started(function, *providers)


def test_cycles_through_decorators_are_drawn():
    """What a decorator needs may need what it decorates."""

    class Needs:
        def __init__(self, mailer: Mailer): ...

    @decorates
    def around(mailer: Mailer, needs: Needs) -> Mailer: ...

    with pytest.raises(DependencyCycle, match=r"Needs → .*around → .*Needs|around → .*Needs → .*around"):
        started(use, Smtp, around, Needs)


def test_a_singleton_keeps_nothing_of_a_call_through_a_decorator():
    """The decorator is to say that it is for a call, and then a singleton cannot have what it makes."""

    @decorates
    def nosy(mailer: Mailer, call: Call) -> Mailer: ...

    class Holder:
        def __init__(self, mailer: Mailer): ...

    with pytest.raises(CaptiveDependency, match=r'@decorates\(scope="request"\)'):
        started(use, Smtp, nosy)
    with pytest.raises(CaptiveDependency, match="keep Mailer beyond its call"):
        started(use, Smtp, decorates(scope="request")(nosy), Holder)


def test_what_cannot_be_decorated_is_told():
    """A decorator that takes nothing of the type; jackfield's own objects; a wrong scope."""

    @decorates
    def deaf(counter: Counter) -> Mailer: ...

    @decorates
    def of_logger(log: Logger) -> Logger: ...

    with pytest.raises(InjectionError, match="no parameter takes the Mailer that it decorates"):
        Host(observers=()).provide(deaf)
    with pytest.raises(InjectionError, match="Logger is jackfield's own"):
        started(lambda: None, of_logger)
    with pytest.raises(ValueError, match="no scope 'session'"):
        decorates(scope="session")
    with pytest.raises(TypeError, match="wrap it in a function"):
        decorates([].append)


def test_an_override_is_not_decorated():
    """It replaces the whole, decorators included."""
    with started(use, Smtp, traced) as host:
        with host.override({Mailer: Smtp()}):
            assert host.call("f") == "smtp"
        assert host.call("f") == "traced(smtp)"


def test_a_decorated_singleton_is_made_anew_where_an_override_concerns_it():
    """And shared where it does not."""

    def function(*, mailer: Mailer = inject()):
        return mailer

    class Fake(Counter): ...

    with started(function, Smtp, Retrying, Counter) as host:
        before = host.call("f")
        with host.override({Counter: Fake()}):
            assert type(host.call("f").counter) is Fake
            assert host.call("f").inner is before.inner
        assert host.call("f") is before
        with host.override({Smtp: "unused"}):
            assert host.call("f") is before


def test_values_are_decorated_too():
    """Whoever provides them."""
    host = Host(observers=())
    host.provide(Smtp(), type=Mailer)
    host.provide(traced)
    host.register("f", use)
    with host:
        assert host.call("f") == "traced(smtp)"


def test_drawings_show_what_is_derived():
    """Decorated providers and collections, and what they are made of."""
    host = Host(observers=())
    host.provide(Smtp)
    host.provide(traced)

    def function(*, them: list[Mailer] = inject()): ...

    host.register("f", function)
    drawn = host.graph()
    assert "list[Mailer]" in drawn
    assert ":traced" in drawn
    assert drawn.count("-->") == 3
