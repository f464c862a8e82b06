"""Find every fault of a dependency graph at once: missing, ambiguous, cyclic, captive, async for sync."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import attrs

from jackfield.errors import CaptiveDependency, DependencyCycle, Fault, InjectionError, MissingDependency
from jackfield.injection.graph import Graph, ThisCall
from jackfield.injection.providers import Provider, place
from jackfield.model.call import Call
from jackfield.model.cycles import cycles
from jackfield.model.spec import MISSING, Colour, Dependency, FunctionSpec, Key

_SUGGESTIONS = 3


class _Kind(Enum):
    MISSING = auto()
    CYCLE = auto()
    CAPTIVE = auto()
    AMBIGUOUS = auto()
    COLOUR = auto()


_ERRORS: Final[Mapping[_Kind, type[InjectionError]]] = {
    _Kind.MISSING: MissingDependency,
    _Kind.CYCLE: DependencyCycle,
    _Kind.CAPTIVE: CaptiveDependency,
}


@attrs.frozen(eq=False)
class _Finding:
    """One fault, its kind and drawing; for what another one drags down also the path there and its reason."""

    kind: _Kind
    fault: Fault
    drawing: str = ""
    path: tuple[Provider, ...] = ()
    cause: str = ""


Findings = Mapping[Provider, tuple[_Finding, ...]]
"""The providers that cannot be used, and why."""


@attrs.frozen(eq=False)
class Diagnosis:
    """Everything that is wrong with a graph and with the functions that it is to serve.

    Attributes:
        faults: all of them, each once: providers in order of registration, then functions.
        functions: `name@version` → its faults, for the functions that cannot be served.
        providers: provider → its faults, for those that cannot be used, with everything that needs them.
    """

    faults: tuple[Fault, ...]
    functions: Mapping[str, tuple[Fault, ...]]
    providers: Mapping[Provider, tuple[Fault, ...]]
    _by_function: Mapping[str, tuple[_Finding, ...]] = attrs.field(repr=False)
    _all: tuple[_Finding, ...] = attrs.field(repr=False)

    def error(self, function: str | None = None) -> InjectionError:
        """Make the error that reports the faults.

        Args:
            function: `name@version` of one function, to report only what concerns it.

        Returns:
            The most specific class that fits all faults: `MissingDependency`, `DependencyCycle`, `CaptiveDependency`;
            for a mixture an `InjectionError`.
        """
        findings = self._all if function is None else self._by_function.get(function, ())
        kinds = {finding.kind for finding in findings}
        error = _ERRORS.get(kinds.pop(), InjectionError) if len(kinds) == 1 else InjectionError
        drawings = dict.fromkeys(finding.drawing for finding in findings if finding.drawing)
        return error(tuple(finding.fault for finding in findings), "\n".join(drawings))


def diagnose(graph: Graph, specs: Iterable[FunctionSpec] = (), *, known: Findings | None = None) -> Diagnosis:
    """Check a graph and the functions that it is to serve.

    A provider with a fault is left out, and so is whatever needs it. What merely would like to have it (an optional
    dependency, or a provider's parameter with a default of its own) goes without.

    Args:
        graph: the providers.
        specs: the functions.
        known: what `faulty` found in this very graph, to save finding it again.

    Returns:
        Every fault. Linear in the size of the graph and in the number of functions when there is none.
    """
    of_providers = faulty(graph) if known is None else known
    of_functions = {}
    for spec in specs:
        if spec.dependencies:
            found = tuple(_of_function(graph, spec, of_providers))
            if found:
                of_functions[spec.key] = found
    every = dict.fromkeys(f for group in (of_providers.values(), of_functions.values()) for fs in group for f in fs)
    return Diagnosis(
        tuple(finding.fault for finding in every),
        MappingProxyType({key: tuple(f.fault for f in found) for key, found in of_functions.items()}),
        MappingProxyType({provider: tuple(f.fault for f in found) for provider, found in of_providers.items()}),
        of_functions,
        tuple(every),
    )


def faulty(graph: Graph) -> Findings:
    """Find the providers that cannot be used, in order of registration.

    Args:
        graph: the providers.

    Returns:
        Only those with faults, the ones that need them included.
    """
    found: dict[Provider, list[_Finding]] = defaultdict(list)
    for key, rivals in graph.by_key.items():
        if len(rivals) > 1 or key == Key(Call):
            finding = _ambiguous(key, rivals)
            for rival in rivals:
                found[rival].append(finding)
    for provider in graph.providers:
        found[provider].extend(_of_provider(graph, provider))
    for cycle in cycles(graph.needs):
        drawing = _drawn(*cycle, cycle[0])
        reason, fix = f"it needs itself: {drawing}", "make one of them do without, or split it in two"
        finding = _Finding(_Kind.CYCLE, Fault("inject", cycle[0].plugin, cycle[0].label, reason, fix), drawing)
        for member in cycle:
            found[member].append(finding)
    _spread(graph, found)
    return {provider: tuple(found[provider]) for provider in graph.providers if found[provider]}


def _drawn(*steps: Provider | str) -> str:
    return " → ".join(_short(step) for step in steps)


def _short(step: Provider | str) -> str:
    if isinstance(step, Provider):
        return str(step.key) if step.value is not MISSING else step.label.partition(":")[2]
    return str(step)


def _whose(provider: Provider) -> str:
    return f"{provider.label} [{provider.plugin}]" if provider.plugin else provider.label


def _ambiguous(key: Key, rivals: tuple[Provider, ...]) -> _Finding:
    first = rivals[0]
    if key == Key(Call):
        reason, fix = "Call is always the call under way, nothing can provide it", "take the provider out"
    else:
        reason = f"{key} has {len(rivals)} providers: {' and '.join(map(_whose, rivals))}"
        fix = "keep one, or tell them apart with @provides(name=…) and inject(name=…)"
    return _Finding(_Kind.AMBIGUOUS, Fault("inject", first.plugin, first.label, reason, fix))


def _of_provider(graph: Graph, provider: Provider) -> Iterator[_Finding]:
    def fault(kind: _Kind, reason: str, fix: str, drawing: str = "") -> _Finding:
        return _Finding(kind, Fault("inject", provider.plugin, provider.label, reason, fix), drawing)

    for dependency in provider.dependencies:
        sources = graph.candidates(dependency.key)
        if not sources and not dependency.optional and dependency.parameter not in provider.defaults:
            yield fault(_Kind.MISSING, *_missing(graph, dependency))
        if len(sources) > 1 and dependency.key not in graph.by_key:
            yield fault(_Kind.AMBIGUOUS, *_which(graph, dependency))
        if len(sources) != 1:
            continue
        source = sources[0]
        request = isinstance(source, ThisCall) or (isinstance(source, Provider) and source.scope == "request")
        if provider.scope == "singleton" and request:
            drawing = _drawn(provider, source if isinstance(source, Provider) else "Call")
            reason = f"a singleton would keep {dependency.key} beyond its call: {drawing}"
            yield fault(_Kind.CAPTIVE, reason, 'give it @provides(scope="request")', drawing)
        if isinstance(source, Provider) and source.colour is Colour.ASYNC and provider.colour is Colour.SYNC:
            reason = f"it is sync, and {dependency.key} is made by the async {_whose(source)}"
            yield fault(_Kind.COLOUR, reason, "make it an async function")


def _of_function(graph: Graph, spec: FunctionSpec, of_providers: Findings) -> Iterator[_Finding]:
    def fault(kind: _Kind, reason: str, fix: str, drawing: str = "") -> _Finding:
        return _Finding(kind, Fault("inject", spec.plugin, spec.key, reason, fix), drawing)

    for dependency in spec.dependencies:
        sources = graph.candidates(dependency.key)
        if not sources and not dependency.optional:
            yield fault(_Kind.MISSING, *_missing(graph, dependency))
        if len(sources) > 1 and dependency.key not in graph.by_key:
            yield fault(_Kind.AMBIGUOUS, *_which(graph, dependency))
            continue
        source = sources[0] if sources else None
        if not isinstance(source, Provider):
            continue
        if source in of_providers:  # the rivals for one key all are: the first will do
            if not dependency.optional:
                root = of_providers[source][0]
                reason = _blocked(dependency, root.path or (source,), root)
                yield fault(root.kind, reason, root.fault.fix, root.drawing)
        elif source.colour is Colour.ASYNC and spec.colour is Colour.SYNC:
            reason = f"it is sync, and {dependency.key} is made by the async {_whose(source)}"
            yield fault(_Kind.COLOUR, reason, "make it an async function")


def _spread(graph: Graph, found: dict[Provider, list[_Finding]]) -> None:
    """Mark what needs a faulty provider as faulty itself, with the path to the root."""
    users: dict[Provider, list[tuple[Provider, Dependency]]] = defaultdict(list)
    for provider in graph.providers:
        for dependency in provider.dependencies:
            if dependency.optional or dependency.parameter in provider.defaults:
                continue
            for source in graph.candidates(dependency.key):
                if isinstance(source, Provider):
                    users[source].append((provider, dependency))
    frontier = deque(provider for provider in graph.providers if found[provider])
    while frontier:
        broken = frontier.popleft()
        root = found[broken][0]
        for user, dependency in users[broken]:
            if found[user]:
                continue
            path = (user, *(root.path or (broken,)))
            fault = Fault("inject", user.plugin, user.label, _blocked(dependency, path[1:], root), root.fault.fix)
            found[user].append(_Finding(root.kind, fault, root.drawing, path, root.cause or root.fault.reason))
            frontier.append(user)


def _blocked(dependency: Dependency, path: tuple[Provider, ...], finding: _Finding) -> str:
    through = f" (through {_drawn(*path)})" if len(path) > 1 else ""
    return f"it needs {dependency.key}, which cannot be provided{through}: {finding.cause or finding.fault.reason}"


def _which(graph: Graph, dependency: Dependency) -> tuple[str, str]:
    named = [source for source in graph.candidates(dependency.key) if isinstance(source, Provider)]
    both = " and ".join(f"{provider.key} of {_whose(provider)}" for provider in named)
    reason = f"{dependency.parameter!r} asks for the name {dependency.key.name!r}, which several types have: {both}"
    return reason, f"annotate {dependency.parameter!r} with the type that is meant"


def _missing(graph: Graph, dependency: Dependency) -> tuple[str, str]:
    what = f"nothing provides {dependency.key} for {dependency.parameter!r}"
    hints = (hint for provider in graph.providers for hint in _near(dependency.key, provider))
    near = list(islice(hints, _SUGGESTIONS))
    if any(dependency.key.type is known for known in graph.contextual):
        near.append(f"leave the name out: every plugin has its {dependency.key.type.__name__}")
    if near:
        return what, "; or ".join(near)
    return what, "provide it (`jackfield.providers`, host.provide), or ask with inject(optional=True)"


def _near(wanted: Key, provider: Provider) -> Iterator[str]:
    offered, whose = provider.key, _whose(provider)
    same_class = isinstance(wanted.type, type) and isinstance(offered.type, type)
    if offered.type == wanted.type:
        ask = f"ask for it with inject(name={offered.name!r})" if offered.name else "leave the name out"
        yield f"{ask}: {whose} provides {offered}"
    elif offered.name == wanted.name and same_class and _related(offered.type, wanted.type):
        kin = "subclass" if _related(offered.type, wanted.type) == "sub" else "base class"
        yield f"annotate both alike: {whose} provides {offered}, a {kin}"
    elif same_class and offered.type.__qualname__ == wanted.type.__qualname__:
        yield f"import {place(offered.type)} instead of {place(wanted.type)}: {whose} provides that one"
    elif wanted.name is not None and offered.name == wanted.name:
        yield f"annotate it as {offered}: {whose} provides that name"


def _related(offered: Any, wanted: Any) -> str:
    try:
        if wanted is not object and issubclass(offered, wanted):
            return "sub"
        return "super" if offered is not object and issubclass(wanted, offered) else ""
    except TypeError:  # a protocol with data members, or another class that refuses the question
        return ""
