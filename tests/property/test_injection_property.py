"""Random graphs: sound ones inject what construction by hand gives, others are refused exactly when they must be."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from hypothesis import given
from hypothesis import strategies as st

from jackfield.errors import CaptiveDependency, DependencyCycle, InjectionError, MissingDependency
from jackfield.injection.diagnosis import diagnose
from jackfield.injection.graph import Graph
from jackfield.injection.injector import Injector
from jackfield.injection.providers import Provider
from jackfield.model.call import Call
from jackfield.model.spec import Colour, Dependency, FunctionSpec, Key

SIZE = 7
TYPES = [type(f"T{index}", (), {}) for index in range(SIZE)]


class Made:
    """What a provider gives: its number and what it was made of."""

    def __init__(self, number, parts):
        self.number, self.parts = number, parts

    def shape(self):
        return self.number, {name: part.shape() for name, part in self.parts.items()}


def provider(number, needs, *, scope="singleton", colour=Colour.SYNC, generator=False, optional=(), log=None):
    """Make provider `number`, which needs the numbers in `needs`."""
    log = [] if log is None else log

    def made(parts):
        log.append(f"+{number}")
        return Made(number, parts)

    def plain(**parts):
        return made(parts)

    async def awaited(**parts):
        await asyncio.sleep(0)
        return made(parts)

    def generated(**parts) -> Iterator[Made]:
        yield made(parts)
        log.append(f"-{number}")

    async def async_generated(**parts) -> AsyncIterator[Made]:
        await asyncio.sleep(0)
        yield made(parts)
        log.append(f"-{number}")

    factories = {
        (Colour.SYNC, False): plain,
        (Colour.ASYNC, False): awaited,
        (Colour.SYNC, True): generated,
        (Colour.ASYNC, True): async_generated,
    }
    dependencies = tuple(Dependency(f"p{need}", Key(TYPES[need]), need in optional) for need in needs)
    return Provider(Key(TYPES[number]), factories[colour, generator], scope, colour, generator, dependencies)


def function(needs, colour=Colour.SYNC):
    """Describe a function that returns what it is given."""

    def target(**given):
        return given

    async def async_target(**given):
        return given

    return FunctionSpec(
        "f",
        "0",
        "demo",
        "",
        async_target if colour is Colour.ASYNC else target,
        colour,
        dependencies=tuple(Dependency(f"p{need}", Key(TYPES[need])) for need in needs),
    )


subsets = st.lists(st.integers(0, SIZE - 1), unique=True, max_size=3)


@st.composite
def sound_graphs(draw):
    """Draw a DAG: each needs only lower numbers, singletons only singletons, sync only sync."""
    scopes, colours, generators, needs = [], [], [], []
    for number in range(SIZE):
        scope = draw(st.sampled_from(["singleton", "request"]))
        colour = draw(st.sampled_from(list(Colour)))
        may = [
            other
            for other in range(number)
            if (scope == "request" or scopes[other] == "singleton")
            and (colour is Colour.ASYNC or colours[other] is Colour.SYNC)
        ]
        scopes.append(scope)
        colours.append(colour)
        generators.append(draw(st.booleans()))
        needs.append(draw(st.lists(st.sampled_from(may), unique=True, max_size=3)) if may else [])
    return list(zip(needs, scopes, colours, generators, strict=True)), draw(st.permutations(range(SIZE)))


@given(sound_graphs(), subsets)
def test_a_sound_graph_injects_what_construction_by_hand_gives(graph, wanted):
    """Each object is made after all that it needs, once in its scope, of the very objects its dependencies name;
    generators close in reverse order of their construction."""
    rows, order = graph
    log = []
    injector = Injector()
    made = {
        n: provider(n, rows[n][0], scope=rows[n][1], colour=rows[n][2], generator=rows[n][3], log=log) for n in order
    }
    injector.add(*(made[n] for n in order))
    assert injector.diagnose([function(wanted, Colour.ASYNC)]).faults == ()

    def by_hand(number, built):
        if number not in built:
            parts = {f"p{need}": by_hand(need, built) for need in rows[number][0]}
            built[number] = Made(number, parts)
        return built[number]

    async def main():
        body = injector.body(function(wanted, Colour.ASYNC))
        first = await body(Call("f"), None)
        construction = [int(entry[1:]) for entry in log if entry[0] == "+"]
        closed = [int(entry[1:]) for entry in log if entry[0] == "-"]
        second = await body(Call("f"), None)
        del log[:]
        failures = await injector.aclose()
        return first, second, construction, closed, failures

    first, second, construction, closed, failures = asyncio.run(main())
    built = {}
    assert {name: one.shape() for name, one in first.items()} == {
        f"p{need}": by_hand(need, built).shape() for need in wanted
    }
    assert sorted(construction) == sorted(built)
    for number in built:
        assert all(construction.index(need) < construction.index(number) for need in rows[number][0])
    in_request = [n for n in construction if rows[n][1] == "request" and rows[n][3]]
    assert closed == in_request[::-1]
    assert failures == ()
    assert log == [f"-{n}" for n in construction[::-1] if rows[n][1] == "singleton" and rows[n][3]]
    shared = {}

    def walk(one):
        assert shared.setdefault(one.number, one) is one
        for part in one.parts.values():
            walk(part)

    for one in first.values():
        walk(one)
    for name, one in second.items():
        assert (one is first[name]) == (rows[one.number][1] == "singleton")


@st.composite
def any_graphs(draw):
    """Draw any graph: missing providers, cycles, captives, colours, optional edges."""
    rows = {}
    for number in draw(st.sets(st.integers(0, SIZE - 1))):
        needs = draw(subsets)
        optional = draw(st.sets(st.sampled_from(needs))) if needs else set()
        scope = draw(st.sampled_from(["singleton", "request"]))
        rows[number] = (needs, optional, scope, draw(st.sampled_from([Colour.SYNC, Colour.SYNC, Colour.ASYNC])))
    return rows


def own_faults(rows):
    """Say by plain reachability which providers have which faults of their own."""

    def reached(start):
        seen, frontier = set(), [start]
        while frontier:
            for need in rows[frontier.pop()][0]:
                if need in rows and need not in seen:
                    seen.add(need)
                    frontier.append(need)
        return seen

    faults = {}
    for number, (needs, optional, scope, colour) in rows.items():
        there = [need for need in needs if need in rows]
        faults[number] = {
            *(MissingDependency for need in needs if need not in rows and need not in optional),
            *(CaptiveDependency for need in there if scope == "singleton" and rows[need][2] == "request"),
            *(InjectionError for need in there if colour is Colour.SYNC and rows[need][3] is Colour.ASYNC),
            *([DependencyCycle] if number in reached(number) else []),
        }
    return faults


def falls(rows, faults):
    """Add to the faulty providers, until nothing changes, those that need one of them."""
    broken = {number for number, kinds in faults.items() if kinds}
    while True:
        more = {
            number
            for number, (needs, optional, _, _) in rows.items()
            if number not in broken and any(need in broken and need not in optional for need in needs)
        }
        if not more:
            return broken
        broken |= more


@given(any_graphs(), subsets)
def test_a_graph_is_refused_exactly_when_it_must_be(rows, wanted):
    """Faulty providers, functions that cannot be served, and the class of the error are those of a plain model."""
    faults = own_faults(rows)
    broken = falls(rows, faults)
    providers = {
        number: provider(number, needs, scope=scope, colour=colour, optional=optional)
        for number, (needs, optional, scope, colour) in rows.items()
    }
    diagnosis = diagnose(Graph(providers.values()), [function(wanted)])
    assert {number for number, one in providers.items() if one in diagnosis.providers} == broken

    refused = any(need not in rows or need in broken or rows[need][3] is Colour.ASYNC for need in wanted)
    assert ("f@0" in diagnosis.functions) == refused
    assert bool(diagnosis.faults) == (bool(broken) or refused)

    kinds = set().union(*faults.values()) if faults else set()
    kinds |= {MissingDependency for need in wanted if need not in rows}
    kinds |= {
        InjectionError for need in wanted if need in rows and need not in broken and rows[need][3] is Colour.ASYNC
    }
    assert type(diagnosis.error()) is (kinds.pop() if len(kinds) == 1 else InjectionError)
    assert str(diagnosis.error())


@given(any_graphs(), subsets)
def test_what_is_not_refused_can_be_called(rows, wanted):
    """Leaving out what is faulty leaves a graph that serves every function that was not refused."""
    injector = Injector()
    injector.add(
        *(
            provider(number, needs, scope=scope, colour=colour, optional=optional)
            for number, (needs, optional, scope, colour) in rows.items()
        )
    )
    asynchronous = function(wanted, Colour.ASYNC)
    diagnosis = injector.diagnose([asynchronous])
    injector.remove(*diagnosis.providers)
    assert injector.diagnose().faults == ()
    if not diagnosis.functions:
        given = asyncio.run(injector.body(asynchronous)(Call("f"), None))
        assert [one.number for one in given.values()] == wanted
