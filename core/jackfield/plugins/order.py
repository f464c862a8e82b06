"""Who depends on whom: what is wrong with it, and what belongs together."""

from collections.abc import Collection, Sequence

from jackfield.errors import Fault
from jackfield.model.cycles import cycles
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
    for cycle in cycles(graph):
        drawing = " → ".join([*cycle, cycle[0]])
        fix = "take one of these dependencies away"
        faults.append(Fault(STAGE, cycle[0], cycle[0], f"the plugins wait for one another: {drawing}", fix))
    return tuple(faults)


def _close(name: str, names: Collection[str]) -> str:
    close = close_names(name, sorted(names))
    return f"did you mean {' or '.join(map(repr, close))}?" if close else "add that plugin too, or drop the dependency"
