"""Rules of the plugin lifecycle that hold for any graph and any sequence of verbs."""

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.errors import Fault, PluginError
from jackfield.events import PluginStateChanged
from jackfield.model.record import PluginState
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.order import dependency_faults
from jackfield.plugins.transitions import TRANSITIONS
from support.plugins import World, wait_for

pytestmark = pytest.mark.concurrency

NAMES = "abcdef"


@st.composite
def graphs(draw, size=12):
    """A random DAG: name → what it depends on."""
    names = [f"p{number}" for number in range(draw(st.integers(1, size)))]
    order = draw(st.permutations(names))
    return {
        name: draw(st.sets(st.sampled_from(order[:place]), max_size=4)) if place else set()
        for place, name in enumerate(order)
    }


class Noting:
    def __init__(self, name, log, failing=frozenset()):
        self.name, self.log, self.failing = name, log, failing

    def start(self):
        self.log.append(("+", self.name))
        if self.name in self.failing:
            raise ValueError(self.name)

    def stop(self):
        self.log.append(("-", self.name))


def plugins(world, graph, log, failing=frozenset(), **options):
    return [
        world.plugin(name, *needs, make=lambda name=name: Noting(name, log, failing), **options)
        for name, needs in graph.items()
    ]


@given(graphs())
@settings(max_examples=200)
def test_starts_respect_dependencies_and_stops_are_the_reverse(graph):
    """Start in topological order; stop in reverse."""
    log = []
    world = World()
    lifecycle = world.lifecycle
    lifecycle.add(plugins(world, graph, log))
    assert lifecycle.start_all() == ()
    assert lifecycle.stop_all() == ()
    assert sorted(log) == sorted(itertools.product("+-", graph))
    place = {entry: index for index, entry in enumerate(log)}
    for name, needs in graph.items():
        for needed in needs:
            assert place["+", needed] < place["+", name]
            assert place["-", name] < place["-", needed]


@given(graphs(), st.data())
@settings(max_examples=100)
def test_a_failure_blocks_exactly_its_dependents(graph, data):
    """A dependency that fails blocks its dependents only."""
    failing = frozenset(data.draw(st.sets(st.sampled_from(sorted(graph)))))
    world = World()
    lifecycle = world.lifecycle
    lifecycle.add(plugins(world, graph, [], failing))
    lifecycle.start_all()

    def expected(name):
        if any(expected(needed) != "running" for needed in graph[name]):
            return "blocked"
        return "failed" if name in failing else "running"

    assert {name: record.state.value for name, record in lifecycle.records.items()} == {
        name: expected(name) for name in graph
    }
    lifecycle.stop_all()


verbs = st.tuples(
    st.sampled_from(["start", "stop", "restart", "unload", "add", "fail", "start_all", "stop_all"]),
    st.sampled_from(NAMES),
)


def use(lifecycle, verb, name, definitions):
    with contextlib.suppress(PluginError):
        if verb in ("start_all", "stop_all"):
            getattr(lifecycle, verb)()
        elif verb == "add":
            lifecycle.add([definitions[name]] if name in definitions else [])
        elif verb == "fail":
            lifecycle.fail(name, Fault("test", name, name, "it failed"))
        else:
            getattr(lifecycle, verb)(name)
    # Somebody may have started what needs it: it starts by itself then, and nobody has waited for that.
    on_its_way = (PluginState.STARTING, PluginState.STOPPING)
    wait_for(lambda: not any(record.state in on_its_way for record in lifecycle.records.values()))


def check(records):
    for record in records.values():
        if record.state is PluginState.RUNNING:
            assert all(records[needed].state is PluginState.RUNNING for needed in record.depends_on)
        if record.state in (PluginState.BLOCKED, PluginState.FAILED):
            assert record.fault is not None
        assert record.state not in (PluginState.STARTING, PluginState.STOPPING)


@given(graphs(len(NAMES)), st.sets(st.sampled_from(NAMES), max_size=2), st.lists(verbs, max_size=15))
@settings(max_examples=150)
def test_no_other_transition_ever_happens(graph, failing, sequence):
    """Every change is one of the table and continues where the last one ended; no plugin runs without what it needs."""
    names = dict(zip(graph, NAMES, strict=False))
    graph = {names[name]: {names[each] for each in needs} for name, needs in graph.items()}
    events = []
    world = World()
    world.events, lifecycle = events, world.lifecycle
    definitions = {each.name: each for each in plugins(world, graph, [], failing)}
    lifecycle.add(definitions.values())
    for verb, name in sequence:
        use(lifecycle, verb, name, definitions)
        check(lifecycle.records)
    lifecycle.stop_all()
    at = dict.fromkeys(graph, "discovered")
    for event in events:
        if isinstance(event, PluginStateChanged):
            assert event.old == at[event.plugin]
            assert PluginState(event.new) in TRANSITIONS[PluginState(event.old)]
            at[event.plugin] = event.new
    assert at == {name: record.state.value for name, record in lifecycle.records.items()}


@given(st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), max_size=3)))
@settings(max_examples=200)
def test_every_cycle_is_found_and_what_passes_can_be_started(graph):
    """A graph without faults has an order; one with a fault says which plugins are in it."""
    definitions = [PluginBundle(name, depends_on=tuple(needs)) for name, needs in graph.items()]
    faults = dependency_faults(definitions)
    rest = {name: set(needs) for name, needs in graph.items()}
    while ready := [name for name, needs in rest.items() if not needs]:
        rest = {name: needs - set(ready) for name, needs in rest.items() if name not in ready}
    assert bool(rest) == bool(faults)


def test_every_state_can_be_reached_and_left():
    """The table has no dead ends and no orphans."""
    assert set(TRANSITIONS) == set(PluginState)
    assert {PluginState.DISCOVERED, *itertools.chain.from_iterable(TRANSITIONS.values())} == set(PluginState)
    assert all(TRANSITIONS[state] for state in PluginState)
