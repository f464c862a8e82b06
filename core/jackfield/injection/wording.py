"""How the faults of a graph are said: whose it is, the way to it, and the likely slip with its fix."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from jackfield.injection.deriving import collection_of
from jackfield.injection.graph import Graph, Source
from jackfield.injection.providers import Provider, place
from jackfield.model.spec import MISSING, Dependency, Key

_SUGGESTIONS = 3
_PROVIDE: Final = "provide it (`jackfield.providers`, host.provide), or ask with inject(optional=True)"


def drawn(*steps: Provider | str) -> str:
    """Draw a way through the graph."""
    return " → ".join(_short(step) for step in steps)


def _short(step: Provider | str) -> str:
    if isinstance(step, Provider):
        return str(step.key) if step.value is not MISSING else step.label.partition(":")[2] or step.label
    return str(step)


def whose(provider: Provider) -> str:
    """Name a provider, and its plugin."""
    return f"{provider.label} [{provider.plugin}]" if provider.plugin else provider.label


def asked(dependency: Dependency) -> str:
    """Name what a dependency asks for, also where it is one certain provider."""
    source = dependency.key.type
    return str(source.key) if isinstance(source, Provider) else str(dependency.key)


def blocked(dependency: Dependency, path: tuple[Provider, ...], cause: str) -> str:
    """Say that something is not to be had because something else is not."""
    through = f" (through {drawn(*path)})" if len(path) > 1 else ""
    return f"it needs {asked(dependency)}, which cannot be provided{through}: {cause}"


def which(dependency: Dependency, sources: tuple[Source, ...]) -> tuple[str, str]:
    """Say that something is ambiguous, and what to do."""
    rivals = [source for source in sources if isinstance(source, Provider)]
    key = dependency.key
    if key.type is object:
        both = " and ".join(f"{provider.key} of {whose(provider)}" for provider in rivals)
        reason = f"{dependency.parameter!r} asks for the name {key.name!r}, which several types have: {both}"
        return reason, f"annotate {dependency.parameter!r} with the type that is meant"
    reason = f"{key} has {len(rivals)} providers: {' and '.join(map(whose, rivals))}"
    return reason, f"keep one; or tell them apart with @provides(name=…) and inject(name=…); or ask for a list[{key}]"


def missing(graph: Graph, dependency: Dependency, fix: str = _PROVIDE) -> tuple[str, str]:
    """Say that something is missing, and what to do: near misses first."""
    what = f"nothing provides {dependency.key} for {dependency.parameter!r}"
    if (collection := collection_of(dependency.key.type)) is not None:
        what += f", nor any {Key(collection[1])} to put in it"
    near = near_misses(graph, dependency.key)
    if any(dependency.key.type is known for known in graph.contextual):
        near.append(f"leave the name out: every plugin has its {dependency.key.type.__name__}")
    if near:
        return what, "; or ".join(near)
    return what, fix


def near_misses(graph: Graph, wanted: Key) -> list[str]:
    """Suggest what may have been meant: the same type by another name, a subclass, the same class of another module."""
    return list(islice((hint for one in graph.providers if not one.inner for hint in _near(wanted, one)), _SUGGESTIONS))


def _near(wanted: Key, provider: Provider) -> Iterator[str]:
    offered, owner = provider.key, whose(provider)
    same_class = isinstance(wanted.type, type) and isinstance(offered.type, type)
    if offered.type == wanted.type:
        ask = f"ask for it with inject(name={offered.name!r})" if offered.name else "leave the name out"
        yield f"{ask}: {owner} provides {offered}"
    elif offered.name == wanted.name and same_class and _related(offered.type, wanted.type):
        kin = "subclass" if _related(offered.type, wanted.type) == "sub" else "base class"
        way = f", or say @provides(as_={wanted.type.__name__})" if kin == "subclass" else ""
        yield f"annotate both alike{way}: {owner} provides {offered}, a {kin}"
    elif same_class and offered.type.__qualname__ == wanted.type.__qualname__:
        yield f"import {place(offered.type)} instead of {place(wanted.type)}: {owner} provides that one"
    elif wanted.name is not None and offered.name == wanted.name:
        yield f"annotate it as {offered}: {owner} provides that name"


def _related(offered: Any, wanted: Any) -> str:
    try:
        if wanted is not object and issubclass(offered, wanted):
            return "sub"
        return "super" if offered is not object and issubclass(wanted, offered) else ""
    except TypeError:  # a protocol with data members, or another class that refuses the question
        return ""
