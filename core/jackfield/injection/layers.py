"""What an injector sees: its providers and overrides at one moment, and where the singletons made of them are kept."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

import attrs

from jackfield import injection
from jackfield.injection.deriving import Derived
from jackfield.injection.graph import Contextual, Graph, Source
from jackfield.injection.providers import Constant, Provider
from jackfield.injection.scope import Cell, Gathered
from jackfield.model.spec import MISSING, Dependency, Key


class Owner(Protocol):
    """The injector, as a view needs it."""

    def cell(self, layer: "Layer", provider: Provider) -> Cell:
        """Give a singleton's place in a layer."""
        ...

    def constant(self, kind: Any, plugin: str) -> Any:
        """Give a plugin's object of a contextual type."""


class Layer:
    """One set of overrides and the singletons made because of it; the lowest has no overrides and all other singletons.

    Made by `Injector.override`, ended by `Injector.restore`, in any order.
    """

    def __init__(self, overrides: Mapping[Key, Any]) -> None:
        self.overrides = overrides
        self.cells: dict[Provider, Cell] = {}
        self.last: View | None = None  # what it saw when it ended: calls may still be inside


class View:
    """What dependencies resolve to in one layer, with the providers of one moment: the `Wiring` of plans."""

    def __init__(self, injector: Owner, layer: Layer, graph: Graph, below: "View | None") -> None:
        self.graph = graph
        self._injector = injector
        self._layer = layer
        self._below = below

    @cached_property
    def faulty(self) -> "injection.Findings":
        """What cannot be used."""
        return injection.Findings(self.graph)

    @cached_property
    def _own(self) -> frozenset[Provider]:
        """The providers whose singletons depend on this layer's overrides."""
        return self.graph.dependents(self._layer.overrides.keys())

    def _is_own(self, provider: Provider) -> bool:
        if provider in self.graph.needs:
            return provider in self._own
        return provider in self.graph.dependents(self._layer.overrides.keys(), among=[provider])

    def source(self, dependency: Dependency) -> Source | None:
        """Resolve a dependency; None if nothing is injected."""
        return self.graph.source(dependency, self.faulty)

    def cell(self, provider: Provider) -> Cell:
        """Give the place of a singleton: in this layer if its overrides concern it, else below."""
        if self._below is not None and not self._is_own(provider):
            return self._below.cell(provider)
        return self._injector.cell(self._layer, provider)

    def constant(self, kind: Any, plugin: str) -> Any:
        """Give a plugin's object of a contextual type."""
        return self._injector.constant(kind, plugin)


@attrs.frozen(eq=False)
class State:
    """The providers and overrides of one moment; replaced as a whole.

    Attributes:
        providers: in order of registration.
        views: of every layer, the lowest first.
        generation: grows with every change.
        superseded: providers → the versions of their plugin that have taken their place.
    """

    providers: tuple[Provider, ...]
    views: dict[Layer, View]
    generation: int
    superseded: Mapping[Provider, frozenset[str]]

    @property
    def top(self) -> View:
        """What calls see that begin now."""
        return self.views[next(reversed(self.views))]


def taken(layer: Layer, providers: Iterable[Provider]) -> list[Cell]:
    """Take singletons out of a layer."""
    return [cell for provider in providers if (cell := layer.cells.pop(provider, None)) is not None]


def inserted(providers: tuple[Provider, ...], more: Iterable[Provider]) -> tuple[Provider, ...]:
    """Put providers behind the last one of the same plugin, else at the end."""
    there = list(providers)
    for provider in more:
        same = (index for index in reversed(range(len(there))) if there[index].plugin == provider.plugin)
        there.insert(next(same, len(there) - 1) + 1, provider)
    return tuple(there)


def arguments(view: View, provider: Provider) -> dict[str, Any]:
    """Give what a singleton is made with, at the moment when it is made; a `Cell` stands for another singleton."""
    given: dict[str, Any] = {}
    for dependency in provider.dependencies:
        source = view.source(dependency)
        if source is not None:
            given[dependency.parameter] = _given(view, source, provider.plugin)
        elif dependency.optional:
            given[dependency.parameter] = None
    return given


def _given(view: View, source: Source, plugin: str) -> Any:
    match source:
        case Constant():
            return source.value
        case Contextual():
            return view.constant(source.type, plugin)
        case Derived() if source.shape is not None:
            members = [
                (label, view.source(each)) for label, each in zip(source.labels, source.dependencies, strict=True)
            ]
            there = [(label, _given(view, member, plugin)) for label, member in members if member is not None]
            return Gathered(source.shape, tuple(label for label, _ in there), tuple(one for _, one in there))
        case Provider():
            return view.cell(source) if source.value is MISSING else source.value
    raise AssertionError(source)  # the call under way: no singleton has it
