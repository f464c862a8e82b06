"""The one finder of circles."""

from graphlib import CycleError, TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from jackfield.model.cycles import cycles

graphs = st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 9), max_size=4), max_size=8)


def _can_return(graph, node):
    """Tell whether a node can be reached from itself."""
    seen, waiting = set(), [*graph[node]]
    while waiting:
        here = waiting.pop()
        if here == node:
            return True
        if here in graph and here not in seen:
            seen.add(here)
            waiting += graph[here]
    return False


@given(graphs)
def test_each_circle_is_one_and_every_node_on_any_is_drawn_once_at_least(graph):
    """Each node needs the next; nothing that is on no circle is named; who is on one is in a drawing."""
    found = list(cycles(graph))
    for cycle in found:
        assert len({*cycle}) == len(cycle)
        assert all(after in graph[before] for before, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    assert {node for cycle in found for node in cycle} == {node for node in graph if _can_return(graph, node)}
    assert len(found) <= len(graph)


@given(graphs)
def test_there_is_a_circle_exactly_when_there_is_no_order(graph):
    """As the standard library sees it."""
    try:
        TopologicalSorter({node: [each for each in needs if each in graph] for node, needs in graph.items()}).prepare()
        ordered = True
    except CycleError:
        ordered = False
    assert ordered == (not list(cycles(graph)))


def test_a_long_chain_is_no_matter_of_recursion():
    """Ten thousand nodes in one circle."""
    graph = {number: [(number + 1) % 10_000] for number in range(10_000)}
    (cycle,) = cycles(graph)
    assert len(cycle) == 10_000


def test_the_shortest_of_several_is_drawn():
    """A knot shows by its tightest loop."""
    assert list(cycles({"a": ["b", "c"], "b": ["c"], "c": ["a"]})) == [("a", "c"), ("b", "c", "a")]
