"""Who depends on whom: what is wrong with it, and what belongs together."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from jackfield.errors import Fault
from jackfield.model.names import close_names
from jackfield.plugins.bundle import PluginBundle

STAGE = "depends_on"


def dependency_faults(bundles: Sequence[PluginBundle], known: Collection[str] = ()) -> tuple[Fault, ...]:
    """Find all that is wrong with names and dependencies.

    Args:
        bundles: the plugins that are to be added.
        known: names of plugins that are there already, none of them defined anew.

    Returns:
        A fault for each name that is given twice, each dependency that nobody knows, and each cycle.

    Examples:
        >>> for fault in dependency_faults([PluginBundle("a", depends_on=("b",)), PluginBundle("b")]):
        ...     print(fault)
        >>> for fault in dependency_faults([PluginBundle("billing", depends_on=("databse",))], ["database"]):
        ...     print(fault)
        billing: depends_on: no plugin is named 'databse' → did you mean 'database'?
    """
    faults: list[Fault] = []
    graph: dict[str, list[str]] = {}
    names = {*known, *(bundle.name for bundle in bundles)}
    for bundle in bundles:
        name = bundle.name
        if name in graph:
            fix = "give one of the two another name"
            faults.append(Fault("name", name, name, f"two plugins are named {name!r}", fix))
            continue
        wanted = dict.fromkeys(bundle.depends_on)
        graph[name] = [each for each in wanted if each in names and each != name]
        for each in wanted:
            if each == name:
                faults.append(Fault(STAGE, name, name, "it depends on itself", f"take {name!r} out of its depends_on"))
            elif each not in names:
                faults.append(Fault(STAGE, name, name, f"no plugin is named {each!r}", _close(each, names - {name})))
    for cycle in _cycles(graph):
        drawing = " → ".join([*cycle, cycle[0]])
        fix = "take one of these dependencies away"
        faults.append(Fault(STAGE, cycle[0], cycle[0], f"the plugins wait for one another: {drawing}", fix))
    return tuple(faults)


def _close(name: str, names: Collection[str]) -> str:
    close = close_names(name, sorted(names))
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "add that plugin too, or drop the dependency"


def _cycles(graph: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Find cycles, each plugin depending on the next, the first by name first; one edge of each is cut to find more."""
    rest = {name: list(wanted) for name, wanted in graph.items()}
    while True:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            ring: list[str] = error.args[1][:0:-1]  # graphlib draws from the one that is waited for, its first twice
            rest[ring[0]].remove(ring[1] if len(ring) > 1 else ring[0])
            start = ring.index(min(ring))
            yield [*ring[start:], *ring[:start]]
        else:
            return
