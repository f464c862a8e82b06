"""All providers of a type at once: what is in a collection, in which order, as what, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import pytest

from jackfield import CaptiveDependency, Host, InjectionError, Key, MissingDependency, decorates, inject, provides

T = TypeVar("T")


class Exporter(Protocol):
    def export(self) -> str: ...


class Named:
    def __init__(self, name):
        self.name = name

    def export(self):
        return self.name


@provides(name="csv")
def csv() -> Exporter:
    return Named("csv")


@provides
def plain() -> Exporter:
    return Named("plain")


@provides
def other() -> Exporter:
    return Named("other")


def started(function, *providers, name="f"):
    host = Host(observers=())
    for provider in providers:
        factory, plugin = provider if isinstance(provider, tuple) else (provider, "")
        host.provide(factory, plugin=plugin)
    host.register(name, function)
    host.start()
    return host


def as_list(*, them: list[Exporter] = inject()):
    return them


def as_tuple(*, them: tuple[Exporter, ...] = inject()):
    return them


def as_sequence(*, them: Sequence[Exporter] = inject()):
    return them


def as_dict(*, them: dict[str, Exporter] = inject()):
    return them


def as_mapping(*, them: Mapping[str, Exporter] = inject()):
    return them


@pytest.mark.parametrize(("function", "kind"), [(as_list, list), (as_tuple, tuple), (as_sequence, tuple)])
def test_all_providers_of_a_type_in_their_order(function, kind):
    """Named and unnamed ones, in the order of registration; also one alone."""
    with started(function, plain, csv, other) as host:
        them = host.call("f")
        assert type(them) is kind
        assert [one.export() for one in them] == ["plain", "csv", "other"]
    with started(function, csv) as host:
        assert [one.export() for one in host.call("f")] == ["csv"]


@pytest.mark.parametrize(("function", "kind"), [(as_dict, dict), (as_mapping, MappingProxyType)])
def test_a_mapping_has_names_or_plugins_as_keys(function, kind):
    """A provider's name if it has one, else the plugin that it belongs to; "" is the host itself."""
    with started(function, (plain, "billing"), (csv, "billing"), other) as host:
        them = host.call("f")
        assert type(them) is kind
        assert {key: one.export() for key, one in them.items()} == {"billing": "plain", "csv": "csv", "": "other"}
        assert list(them) == ["billing", "csv", ""]


def test_two_members_of_one_key_are_ambiguous():
    """A list has both, and so does each mapping in which they can be told apart."""
    with pytest.raises(InjectionError) as caught:
        started(as_mapping, plain, other)
    (fault,) = caught.value.faults
    assert "Mapping[str, Exporter] would have 2 members under ''" in fault.reason
    assert "plain and " in fault.reason
    assert "name=" in fault.fix
    started(as_mapping, (plain, "a"), (other, "b")).stop()


def test_providers_of_one_type_do_not_mind_one_another():
    """Only who asks for the one of several is refused, also when a second one comes."""

    def one(*, it: Exporter = inject()): ...
    def by_name(*, it: Exporter = inject(name="csv")):
        return it.export()

    with started(as_list, plain) as host:
        host.provide(other)
        assert len(host.call("f")) == 2
        with pytest.raises(InjectionError, match=r"ask for a list\[Exporter\]"):
            host.register("one", one)
        host.provide(csv)
        host.register("by.name", by_name)
        assert host.call("by.name") == "csv"
    with started(one, plain) as host:
        with pytest.raises(InjectionError, match="2 providers"):
            host.provide(other)
        host.call("f")


def test_nothing_to_collect_is_missing():
    """A list of nothing is most often a slip: who can do without says so."""

    def lenient(*, them: list[Exporter] | None = inject(optional=True)):
        return them

    class Pool:
        def __init__(self, hosts: list[str] = ("local",)):
            self.hosts = hosts

    def pooled(*, pool: Pool = inject()):
        return pool.hosts

    with pytest.raises(MissingDependency, match=r"nothing provides list\[Exporter\] for 'them', nor any Exporter"):
        started(as_list)
    with started(lenient) as host:
        assert host.call("f") is None
        host.provide(plain)
        assert len(host.call("f")) == 1
    with started(pooled, Pool) as host:
        assert host.call("f") == ("local",)


def test_what_is_provided_itself_comes_first():
    """A provider of `list[T]` is that, whatever providers of T there are; a name asks for that name alone."""

    @provides
    def chosen() -> list[Exporter]:
        return ["chosen"]

    def named(*, them: list[Exporter] = inject(name="csv")): ...

    with started(as_list, plain, chosen) as host:
        assert host.call("f") == ["chosen"]
    with pytest.raises(MissingDependency):
        started(named, csv)
    for odd in (list[Any], list[object], dict[int, Exporter], set[Exporter]):

        def function(*, them=inject()): ...

        function.__annotations__["them"] = odd
        with pytest.raises(MissingDependency):
            started(function, plain)


def test_members_are_the_very_objects_and_the_collection_is_fresh():
    """Singletons are made once; nobody changes the list of another call."""

    def both(*, them: list[Exporter] = inject(), named: Exporter = inject(name="csv")):
        them.append("mine")
        return them, named

    with started(both, plain, csv) as host:
        (first, named), (second, _) = host.call("f"), host.call("f")
        assert first[1] is named
        assert first[:2] == second[:2]
        assert len(second) == 3


class Router:
    def __init__(self, all_of_them: Sequence[Exporter], by_name: dict[str, Exporter]):
        self.all_of_them, self.by_name = all_of_them, by_name


def test_providers_can_collect_too():
    """A singleton has the singletons; it would keep what belongs to a call, and is refused."""

    def routed(*, router: Router = inject()):
        return router

    with started(routed, Router, csv, plain) as host:
        router = host.call("f")
        assert [one.export() for one in router.all_of_them] == ["csv", "plain"]
        assert router.by_name == {"csv": router.all_of_them[0], "": router.all_of_them[1]}
        assert host.call("f") is router

    @provides(scope="request")
    def session() -> Iterator[Exporter]:
        yield Named("session")

    with pytest.raises(CaptiveDependency, match=r"keep Sequence\[Exporter\] beyond its call"):
        started(routed, Router, csv, session)

    @provides(scope="request")
    def router(all_of_them: Sequence[Exporter], by_name: dict[str, Exporter]) -> Router:
        return Router(all_of_them, by_name)

    with started(routed, router, csv, session) as host:
        assert host.call("f") is not host.call("f")


def test_members_of_a_call_are_opened_and_closed_with_it():
    """In the order of the collection, and closed in reverse; each once, though it is asked for twice."""
    log = []

    @provides(scope="request", name="a")
    def first() -> Iterator[Exporter]:
        log.append("+a")
        yield Named("a")
        log.append("-a")

    @provides(scope="request", name="b")
    def second() -> Iterator[Exporter]:
        log.append("+b")
        yield Named("b")
        log.append("-b")

    def function(*, them: tuple[Exporter, ...] = inject(), keyed: Mapping[str, Exporter] = inject()):
        assert tuple(keyed.values()) == them

    with started(function, first, second) as host:
        host.call("f")
    assert log == ["+a", "+b", "-b", "-a"]


def test_async_members_are_for_async_functions():
    """As with any async provider."""

    async def later() -> Exporter:
        return Named("later")

    @provides(scope="request")
    async def opened() -> AsyncIterator[Exporter]:
        yield Named("opened")

    async def function(*, them: list[Exporter] = inject()):
        return [one.export() for one in them]

    async def router(them: tuple[Exporter, ...]) -> Router:
        return Router(them, {})

    async def routed(*, router: Router = inject()):
        return [one.export() for one in router.all_of_them]

    with started(function, plain, later, opened) as host:
        assert asyncio.run(host.acall("f")) == ["plain", "later", "opened"]
    with started(routed, router, plain, later) as host:
        assert asyncio.run(host.acall("f")) == ["plain", "later"]
    with pytest.raises(InjectionError, match=r"it is sync, and list\[Exporter\] is made by the async"):
        started(as_list, plain, later)


def test_a_collection_goes_without_what_is_faulty():
    """As long as there is any other member; the fault is told all the same."""

    def broken(nothing: bytes) -> Exporter: ...

    with pytest.raises(MissingDependency, match="nothing provides bytes") as caught:
        started(as_list, plain, broken)
    assert len(caught.value.faults) == 1
    with pytest.raises(MissingDependency, match=r"it needs list\[Exporter\], which cannot be provided"):
        started(as_list, broken)


def test_a_member_that_collects_itself_is_a_cycle():
    """A composite is provided as a type of its own."""

    def composite(them: list[Exporter]) -> Exporter: ...

    with pytest.raises(InjectionError, match=r"it needs itself: .*composite → list\[Exporter\] → "):
        started(as_list, composite, plain)


def test_overrides_replace_members_and_collections():
    """The object stands where the first was that it replaces; further names come last."""
    with started(as_list, plain, csv, other) as host:
        with host.override({Exporter: Named("fake")}):
            assert [one.export() for one in host.call("f")] == ["fake", "csv"]
            with host.override({Key(Exporter, "csv"): Named("inner"), Key(Exporter, "new"): Named("new")}):
                assert [one.export() for one in host.call("f")] == ["fake", "inner", "new"]
        with host.override({list[Exporter]: ["whole"]}):
            assert host.call("f") == ["whole"]
        assert len(host.call("f")) == 3


def test_an_override_stands_in_no_place_of_a_generic_provider_of_another_type():
    """Only those of the item's type keep a place for it."""

    def boxed(kind: type[T]) -> dict[T, T]: ...

    with started(as_list, boxed, csv) as host, host.override({Exporter: Named("fake")}):
        assert [one.export() for one in host.call("f")] == ["csv", "fake"]


def test_a_singleton_that_collects_is_made_anew_within_an_override():
    """And is the old one afterwards."""

    def routed(*, router: Router = inject()):
        return router

    with started(routed, Router, csv, plain) as host:
        before = host.call("f")
        with host.override({Key(Exporter, "csv"): Named("fake")}):
            assert [one.export() for one in host.call("f").all_of_them] == ["fake", "plain"]
            assert host.call("f") is host.call("f")
            assert host.call("f").all_of_them[1] is before.all_of_them[1]
        assert host.call("f") is before


def test_decorators_apply_to_each_member_and_to_the_whole():
    """By the key that they decorate."""

    @decorates
    def loud(it: Exporter) -> Exporter:
        return Named(it.export().upper())

    @decorates
    def backwards(them: list[Exporter]) -> list[Exporter]:
        return them[::-1]

    with started(as_list, plain, csv, loud, backwards, other) as host:
        assert [one.export() for one in host.call("f")] == ["OTHER", "csv", "PLAIN"]
