"""Find every fault of a dependency graph at once: missing, ambiguous, cyclic, captive, async for sync."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum, auto
from functools import cached_property
from types import MappingProxyType
from typing import Final

import attrs

from jackfield.errors import CaptiveDependency, DependencyCycle, Fault, InjectionError, MissingDependency
from jackfield.injection.deriving import Derived, collection_of, roots_of
from jackfield.injection.graph import Graph, Source, ThisCall
from jackfield.injection.providers import Provider
from jackfield.injection.wording import asked, blocked, drawn, missing, near_misses, which, whose
from jackfield.model.call import Call
from jackfield.model.cycles import cycles
from jackfield.model.generics import is_open
from jackfield.model.place import place_of
from jackfield.model.spec import Colour, Dependency, FunctionSpec, Key


class _Kind(Enum):
    MISSING = auto()
    CYCLE = auto()
    CAPTIVE = auto()
    AMBIGUOUS = auto()
    COLOUR = auto()


_UNDECORATED: Final = "provide it (`jackfield.providers`, host.provide), or leave the decorator out"
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

    @property
    def reason(self) -> str:
        """What is wrong at the root."""
        return self.cause or self.fault.reason


_Found = tuple[_Finding, ...]


class Findings:
    """What is wrong with the providers of a graph; for those that follow from them, worked out when asked about.

    Args:
        graph: the providers.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._verdicts = _examined(graph, graph.needs, {})

    def __contains__(self, provider: object) -> bool:
        """Tell whether a provider cannot be used."""
        return isinstance(provider, Provider) and bool(self.of(provider))

    def of(self, provider: Provider) -> _Found:
        """Say why a provider cannot be used; empty if it can."""
        found = self._verdicts.get(provider)
        if found is None:
            nodes = self._graph.reach([provider], self._graph.needs)
            self._verdicts |= _examined(self._graph, nodes, self._verdicts)
            found = self._verdicts[provider]
        return found

    @cached_property
    def every(self) -> Mapping[Provider, _Found]:
        """The faults of all providers that anybody needs, in order; those without are left out."""
        return {provider: found for provider in self._graph.needs if (found := self.of(provider))}

    @cached_property
    def registered(self) -> Mapping[Provider, _Found]:
        """The registered providers that are to be left out.

        A decorator that cannot be used takes what it decorates along: that must not be had without it.
        """
        left_out = {provider: self.every[provider] for provider in self._graph.providers if provider in self.every}
        made: dict[Provider, list[Derived]] = defaultdict(list)
        for provider in self._graph.needs:
            if isinstance(provider, Derived) and provider.decorates is not None:
                made[provider.decorates].append(provider)
        for decorator, results in made.items():
            for result in results:
                own = result in self and not any(self.of(part) for part in result.parts if isinstance(part, Provider))
                for root in roots_of(result) if own else ():
                    left_out.setdefault(root, self.of(result))
            if all(result in self for result in results):
                left_out.setdefault(decorator, self.of(results[0]))
        return {provider: left_out[provider] for provider in self._graph.providers if provider in left_out}


@attrs.frozen(eq=False)
class Diagnosis:
    """Everything that is wrong with a graph and with the functions that it is to serve.

    Attributes:
        faults: all of them, each once: providers in order of registration, then functions.
        functions: `name@version` → its faults, for the functions that cannot be served.
        providers: registered provider → its faults, for those that cannot be used, with everything that needs them.
    """

    faults: tuple[Fault, ...]
    functions: Mapping[str, tuple[Fault, ...]]
    providers: Mapping[Provider, tuple[Fault, ...]]
    _by_function: Mapping[str, tuple[_Finding, ...]] = attrs.field(repr=False)
    _all: tuple[_Finding, ...] = attrs.field(repr=False)

    def error(self, function: str | None = None, *, besides: Collection[Fault] = ()) -> InjectionError:
        """Make the error that reports the faults.

        Args:
            function: `name@version` of one function, to report only what concerns it.
            besides: faults that are not to be reported.

        Returns:
            The most specific class that fits all faults: `MissingDependency`, `DependencyCycle`, `CaptiveDependency`;
            for a mixture an `InjectionError`.
        """
        of_it = self._all if function is None else self._by_function.get(function, ())
        findings = [finding for finding in of_it if finding.fault not in besides]
        kinds = {finding.kind for finding in findings}
        error = _ERRORS.get(kinds.pop(), InjectionError) if len(kinds) == 1 else InjectionError
        drawings = dict.fromkeys(finding.drawing for finding in findings if finding.drawing)
        return error(tuple(dict.fromkeys(finding.fault for finding in findings)), "\n".join(drawings))


def diagnose(graph: Graph, specs: Iterable[FunctionSpec] = (), *, known: Findings | None = None) -> Diagnosis:
    """Check a graph and the functions that it is to serve.

    A provider with a fault is left out, and so is whatever needs it. What merely would like to have it (an optional
    dependency, or a provider's parameter with a default of its own) goes without.

    Args:
        graph: the providers.
        specs: the functions.
        known: what was found in this very graph, to save finding it again.

    Returns:
        Every fault. Linear in the size of the graph and in the number of functions when there is none.
    """
    findings = Findings(graph) if known is None else known
    of_functions = {}
    for spec in specs:
        if spec.dependencies and (found := tuple(_of_function(graph, spec, findings))):
            of_functions[spec.key] = found
    groups = (findings.every.values(), findings.registered.values(), of_functions.values())
    every = dict.fromkeys(finding for group in groups for found in group for finding in found)
    return Diagnosis(
        tuple(dict.fromkeys(finding.fault for finding in every)),
        MappingProxyType({key: tuple(f.fault for f in found) for key, found in of_functions.items()}),
        MappingProxyType({provider: tuple(f.fault for f in found) for provider, found in findings.registered.items()}),
        of_functions,
        tuple(every),
    )


def strangers(graph: Graph, keys: Iterable[Key], specs: Iterable[FunctionSpec]) -> tuple[Fault, ...]:
    """Find the keys of overrides that nothing provides and nobody asks for: a slip of the pen.

    Args:
        graph: the providers, without those overrides.
        keys: what is overridden.
        specs: the functions.
    """
    users: Iterable[FunctionSpec | Provider] = (*specs, *graph.needs)
    wanted = {dependency.key for user in users for dependency in user.dependencies}
    items = {collection[1] for key in wanted if (collection := collection_of(key.type)) is not None}
    found = []
    for key in keys:
        by_name = key.name is not None and Key(object, key.name) in wanted
        if not (key in wanted or key.type in items or by_name or graph.candidates(key)):
            fix = (
                "; or ".join(near_misses(graph, key)) or "override what a provider offers, or what a parameter asks for"
            )
            reason = "it is overridden, but nothing provides it and nobody asks for it"
            found.append(Fault("inject", "", f"override of {key}", reason, fix))
    return tuple(found)


def _examined(
    graph: Graph, nodes: Mapping[Provider, tuple[Provider, ...]], known: Mapping[Provider, _Found]
) -> dict[Provider, _Found]:
    """Find what is wrong with some providers, and with those that need them."""
    found: dict[Provider, list[_Finding]] = defaultdict(list)
    for provider in nodes:
        found[provider].extend(_of_provider(graph, provider))
    for cycle in cycles(nodes):
        drawing = drawn(*cycle, cycle[0])
        reason, fix = f"it needs itself: {drawing}", "make one of them do without, or split it in two"
        finding = _Finding(_Kind.CYCLE, _fault_of(cycle[0], reason, fix), drawing)
        for member in cycle:
            found[member].append(finding)
    _spread(graph, nodes, found, known)
    return {provider: tuple(found[provider]) for provider in nodes}


def _fault_of(provider: Provider, reason: str, fix: str) -> Fault:
    return Fault("inject", provider.plugin, provider.label, reason, fix, provider.where)


def _of_provider(graph: Graph, provider: Provider) -> Iterator[_Finding]:
    def fault(kind: _Kind, reason: str, fix: str, drawing: str = "") -> _Finding:
        return _Finding(kind, _fault_of(provider, reason, fix), drawing)

    if Key(Call) in provider.keys:
        reason = "Call is always the call under way, nothing can provide it"
        yield fault(_Kind.AMBIGUOUS, reason, "take the provider out")
    if provider.inner:
        yield from _of_decorator(graph, provider)
    if isinstance(provider, Derived) and provider.shape in {"dict", "mapping"}:
        yield from _clashes(provider)
    for dependency in provider.settled:
        sources = graph.candidates(dependency.key)
        yield from _of_choice(graph, dependency, sources, fault)
        if len(sources) != 1:
            continue
        source = sources[0]
        request = isinstance(source, ThisCall) or (isinstance(source, Provider) and source.scope == "request")
        if provider.scope == "singleton" and request:
            drawing = drawn(provider, source if isinstance(source, Provider) else "Call")
            reason = f"a singleton would keep {asked(dependency)} beyond its call: {drawing}"
            mark = "decorates" if isinstance(provider, Derived) and provider.decorates is not None else "provides"
            yield fault(_Kind.CAPTIVE, reason, f'give it @{mark}(scope="request")', drawing)
        if isinstance(source, Provider) and source.colour is Colour.ASYNC and provider.colour is Colour.SYNC:
            reason = f"it is sync, and {asked(dependency)} is made by the async {whose(source)}"
            yield fault(_Kind.COLOUR, reason, "make it an async function")


def _of_choice(
    graph: Graph, dependency: Dependency, sources: tuple[Source, ...], fault: Callable[[_Kind, str, str], _Finding]
) -> Iterator[_Finding]:
    """Find whether there is the one source that a dependency asks for, or may do without."""
    if not sources and not dependency.optional and not dependency.defaulted:
        yield fault(_Kind.MISSING, *missing(graph, dependency))
    if len(sources) > 1:
        yield fault(_Kind.AMBIGUOUS, *which(dependency, sources))


def _of_decorator(graph: Graph, decorator: Provider) -> Iterator[_Finding]:
    """Find whether a decorator has anything to decorate."""
    sources = () if is_open(decorator.key.type) else graph.candidates(decorator.key)
    if not sources and not is_open(decorator.key.type):
        what, fix = missing(graph, Dependency(decorator.inner, decorator.key), _UNDECORATED)
        yield _Finding(_Kind.MISSING, _fault_of(decorator, f"it decorates {decorator.key}, but {what}", fix))
    elif sources and not isinstance(sources[0], Provider):
        reason = f"{decorator.key} is jackfield's own and made for each plugin or call: it cannot be decorated"
        yield _Finding(_Kind.MISSING, _fault_of(decorator, reason, "provide a type of your own that wraps it"))


def _clashes(mapping: Derived) -> Iterator[_Finding]:
    """Find the members of a mapping that have the same label."""
    for label, count in Counter(mapping.labels).items():
        if count > 1:
            members = (part for part in mapping.parts if part[0] == label)
            both = " and ".join(whose(one) if isinstance(one, Provider) else "an override" for _, one in members)
            reason = f"{mapping.key} would have {count} members under {label!r}: {both}"
            fix = "tell them apart with @provides(name=…), or ask for a list"
            yield _Finding(_Kind.AMBIGUOUS, _fault_of(mapping, reason, fix))


def _of_function(graph: Graph, spec: FunctionSpec, findings: Findings) -> Iterator[_Finding]:
    def fault(kind: _Kind, reason: str, fix: str, drawing: str = "") -> _Finding:
        return _Finding(kind, Fault("inject", spec.plugin, spec.key, reason, fix, place_of(spec.target)), drawing)

    for dependency in spec.dependencies:
        sources = graph.candidates(dependency.key)
        yield from _of_choice(graph, dependency, sources, fault)
        source = sources[0] if len(sources) == 1 else None
        if not isinstance(source, Provider):
            continue
        if source in findings:
            if not dependency.optional and not dependency.defaulted:
                root = findings.of(source)[0]
                reason = blocked(dependency, root.path or (source,), root.reason)
                yield fault(root.kind, reason, root.fault.fix, root.drawing)
        elif source.colour is Colour.ASYNC and spec.colour is Colour.SYNC:
            reason = f"it is sync, and {dependency.key} is made by the async {whose(source)}"
            yield fault(_Kind.COLOUR, reason, "make it an async function")


def _spread(
    graph: Graph,
    nodes: Mapping[Provider, tuple[Provider, ...]],
    found: dict[Provider, list[_Finding]],
    known: Mapping[Provider, _Found],
) -> None:
    """Mark what needs a faulty provider as faulty itself, with the path to the root.

    A collection goes without its faulty members, as long as it has any others.
    """
    users: dict[Provider, list[tuple[Provider, Dependency]]] = defaultdict(list)
    whole: dict[Provider, set[Provider]] = {}
    for provider in nodes:
        for dependency, source in graph.edges(provider):
            if isinstance(source, Provider) and not dependency.optional and not dependency.defaulted:
                users[source].append((provider, dependency))
        if isinstance(provider, Derived) and provider.shape is not None and len(nodes[provider]) == len(provider.parts):
            whole[provider] = set(nodes[provider])
    frontier = deque(provider for provider in (*nodes, *users) if found.get(provider) or known.get(provider))
    while frontier:
        broken = frontier.popleft()
        root = (found.get(broken) or known[broken])[0]
        for user, dependency in users[broken]:
            if isinstance(user, Derived) and user.shape is not None:
                whole.get(user, set()).discard(broken)
                if whole.get(user, True):
                    continue
            if found[user]:
                continue
            path = (user, *(root.path or (broken,)))
            fault = _fault_of(user, blocked(dependency, path[1:], root.reason), root.fault.fix)
            found[user].append(_Finding(root.kind, fault, root.drawing, path, root.reason))
            frontier.append(user)
