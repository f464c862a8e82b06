"""Circles in a graph of who needs whom: the one finder for plugins, configurations and providers."""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def cycles(graph: Mapping[N, Iterable[N]]) -> Iterator[tuple[N, ...]]:
    """Find a shortest circle for every node that is on any, none twice, so that each knot is seen and none is flooded.

    Args:
        graph: node → what it needs; what is no node itself needs nothing.

    Returns:
        Circles, each node needing the next and the last one the first; the first node of each is the earliest of the
        graph that no circle before it had.

    Examples:
        >>> list(cycles({"a": "b", "b": "ac", "c": "b", "d": "a"}))
        [('a', 'b'), ('c', 'b')]
        >>> list(cycles({"a": "b", "b": ""}))
        []
    """
    edges = {node: tuple(dict.fromkeys(each for each in needs if each in graph)) for node, needs in graph.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError:
        drawn: set[N] = set()
        for knot in _knots(edges):
            for start in edges:
                if start in knot and start not in drawn:
                    cycle = _shortest(edges, start, knot)
                    drawn.update(cycle)
                    yield cycle


def _knots(edges: Mapping[N, Collection[N]]) -> Iterator[set[N]]:
    """Give the strongly connected parts that have a circle, each as a set (Tarjan, without recursion)."""
    index: dict[N, int] = {}
    low: dict[N, int] = {}
    stack: list[N] = []
    on_stack: set[N] = set()
    for root in edges:
        work = [(root, iter(edges[root]))] if root not in index else []
        while work:
            node, needs = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            for needed in needs:
                if needed not in index:
                    work.append((needed, iter(edges[needed])))
                    break
                if needed in on_stack:
                    low[node] = min(low[node], index[needed])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    knot = _pop_until(stack, node)
                    on_stack -= knot
                    if len(knot) > 1 or node in edges[node]:
                        yield knot


def _pop_until(stack: list[N], node: N) -> set[N]:
    knot = set()
    while node not in knot:
        knot.add(stack.pop())
    return knot


def _shortest(edges: Mapping[N, Collection[N]], start: N, within: Collection[N]) -> tuple[N, ...]:
    came_from: dict[N, N] = {}
    frontier = deque([start])
    while frontier:
        here = frontier.popleft()
        for needed in edges[here]:
            if needed == start:
                path = [here]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return tuple(reversed(path))
            if needed in within and needed not in came_from:
                came_from[needed] = here
                frontier.append(needed)
    return ()
