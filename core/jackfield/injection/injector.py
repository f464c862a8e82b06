"""The injector of a host: its providers, its overrides and its singletons."""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from jackfield.injection.bodies import Body, compile_body
from jackfield.injection.closing import Closing, RunAsync, TeardownFailure
from jackfield.injection.diagnosis import Diagnosis, Findings, diagnose, faulty
from jackfield.injection.graph import Constant, Contextual, Graph, Source
from jackfield.injection.providers import Provider
from jackfield.injection.scope import Cell, Vault
from jackfield.model.call import Call
from jackfield.model.spec import MISSING, Dependency, FunctionSpec, Key

_NOTHING: Mapping[Key, Any] = MappingProxyType({})


class Layer:
    """One set of overrides and the singletons made because of it; the lowest has no overrides and all other singletons.

    Made by `Injector.override`, ended by `Injector.restore`.
    """

    def __init__(self, overrides: Mapping[Key, Any], below: "Layer | None") -> None:
        self.overrides = overrides
        self.below = below
        self.cells: dict[Provider, Cell] = {}
        self.view: _View

    def merged(self) -> Mapping[Key, Any]:
        """Give these overrides over those below."""
        return self.overrides if self.below is None else {**self.below.merged(), **self.overrides}


class _View:
    """What dependencies resolve to in one layer, with the providers of one moment: the `Wiring` of plans."""

    def __init__(self, injector: "Injector", layer: Layer, graph: Graph) -> None:
        self.graph = graph
        self._injector = injector
        self._layer = layer

    @cached_property
    def faulty(self) -> Findings:
        return faulty(self.graph)

    @cached_property
    def _own(self) -> frozenset[Provider]:
        """The providers whose singletons depend on this layer's overrides."""
        return self.graph.dependents(self._layer.overrides.keys())

    def source(self, dependency: Dependency) -> Source | None:
        return self.graph.source(dependency, self.faulty)

    def cell(self, provider: Provider) -> Cell:
        if self._layer.below is not None and provider not in self._own:
            return self._layer.below.view.cell(provider)
        return self._injector.cell(self._layer, provider)

    def constant(self, kind: Any, plugin: str) -> Any:
        return self._injector.constant(kind, plugin)


class Injector:
    """Keeps the providers, checks the graph, compiles bodies, and owns the singletons.

    Every method may be called from any thread. Bodies are bound when they are compiled: after `add`, `remove`,
    `override` and `restore` the host compiles again those that are to see the change.

    Args:
        contextual: types whose object is made for the plugin that asks (its logger, its configuration), and what
            makes it from the plugin's name; called once per plugin. A provider registered for such a type comes
            first.
    """

    def __init__(self, contextual: Mapping[Any, Callable[[str], Any]] = MappingProxyType({})) -> None:
        self._contextual = dict(contextual)
        self._constants: dict[tuple[Any, str], Any] = {}
        self._lock = threading.RLock()
        self._vault = Vault()
        self._providers: tuple[Provider, ...] = ()
        self._top = Layer(_NOTHING, None)
        self._rewire()

    @property
    def providers(self) -> tuple[Provider, ...]:
        """All providers, in order of registration."""
        return self._providers

    @property
    def graph(self) -> Graph:
        """The graph of this moment, overrides included: for drawing it."""
        return self._top.view.graph

    def add(self, *providers: Provider) -> None:
        """Add providers.

        A singleton that is made already keeps what it was made with, even if what it lacked is provided now.

        Args:
            providers: nothing is checked; ask `diagnose(specs, adding=…)` before.
        """
        with self._lock:
            self._providers = (*self._providers, *providers)
            self._rewire()

    def remove(self, *providers: Provider) -> Closing:
        """Remove providers, and forget their singletons and those that depend on them.

        Args:
            providers: as they were added.

        Returns:
            What closes those singletons; the host does that when the calls that may hold them have ended.

        Raises:
            ValueError: if one of them is not there.
        """
        gone = frozenset(providers)
        with self._lock:
            unknown = gone.difference(self._providers)
            if unknown:
                raise ValueError(f"not registered: {', '.join(map(repr, unknown))}")
            cells = []
            for layer in self._layers():
                keys = {provider.key for provider in gone}.difference(layer.merged())
                for provider in gone | layer.view.graph.dependents(keys):
                    cell = layer.cells.pop(provider, None)
                    cells += [cell] if cell is not None else []
            self._providers = tuple(provider for provider in self._providers if provider not in gone)
            self._rewire()
        return Closing(self._vault, cells)

    def diagnose(self, specs: Iterable[FunctionSpec] = (), *, adding: Iterable[Provider] = ()) -> Diagnosis:
        """Find every fault of the graph, and of functions that it is to serve.

        Args:
            specs: the functions.
            adding: providers to be counted in as if they were registered.
        """
        more, view = tuple(adding), self._top.view
        if not more:
            return diagnose(view.graph, specs, known=view.faulty)
        return diagnose(Graph((*view.graph.providers, *more), self._contextual, view.graph.overrides), specs)

    def check(self, specs: Iterable[FunctionSpec] = ()) -> None:
        """Refuse a graph with any fault.

        Args:
            specs: the functions that it is to serve.

        Raises:
            InjectionError: with every fault; the most specific class that fits them all.
        """
        found = self.diagnose(specs)
        if found.faults:
            raise found.error()

    def body(self, spec: FunctionSpec) -> Body:
        """Compile the body of a function against the providers and overrides of this moment.

        Args:
            spec: the function; it is not kept.

        Returns:
            `body(call, value)` with the converted payload; for an async function a coroutine function.

        Raises:
            InjectionError: with every fault that concerns this function; the host asks `diagnose` before.
        """
        view = self._top.view
        found = diagnose(view.graph, (spec,), known=view.faulty)
        if found.functions:
            raise found.error(spec.key)
        return compile_body(spec, view)

    def override(self, values: Mapping[Any, Any]) -> Layer:
        """Put objects in the place of what is provided, over any earlier overrides, also for what is made already.

        Singletons that depend on them, directly or through others, are made anew within; the others are shared.

        Args:
            values: type or `Key` → object.

        Returns:
            What `restore` takes back.

        Raises:
            ValueError: if `Call` is to be overridden, which is always the call under way.
        """
        overrides = {key if isinstance(key, Key) else Key(key): value for key, value in values.items()}
        if Key(Call) in overrides:
            raise ValueError("Call cannot be overridden: it is always the call under way")
        with self._lock:
            layer = Layer(overrides, self._top)
            self._see(layer)
            self._top = layer
            return layer

    def restore(self, layer: Layer) -> Closing:
        """End an override.

        Args:
            layer: the latest that was made and not ended.

        Returns:
            What closes the singletons made within.

        Raises:
            ValueError: if it is not the latest.
        """
        with self._lock:
            if layer is not self._top or layer.below is None:
                raise ValueError("overrides end in reverse order: this is not the latest one")
            self._top = layer.below
            return Closing(self._vault, layer.cells.values())

    def close(self, run_async: RunAsync) -> tuple[TeardownFailure, ...]:
        """Close all singletons from a thread, in reverse order of creation. Bodies must be compiled again after this.

        Args:
            run_async: runs a coroutine on the home loop and waits for it; only called if there is something async.

        Returns:
            What went wrong, in order.
        """
        return self._everything().close(run_async)

    async def aclose(self) -> tuple[TeardownFailure, ...]:
        """Do the same on the home loop, without blocking it.

        Returns:
            What went wrong, in order.
        """
        return await self._everything().aclose()

    def cell(self, layer: Layer, provider: Provider) -> Cell:
        """Give a singleton's place in a layer. For wiring; not for hosts."""
        with self._lock:
            if provider not in layer.cells:
                layer.cells[provider] = Cell(provider, self._vault, partial(_arguments, layer, provider))
            return layer.cells[provider]

    def constant(self, kind: Any, plugin: str) -> Any:
        """Give a plugin's object of a contextual type. For wiring; not for hosts."""
        with self._lock:
            if (kind, plugin) not in self._constants:
                self._constants[kind, plugin] = self._contextual[kind](plugin)
            return self._constants[kind, plugin]

    def forget(self, plugin: str) -> None:
        """Make a plugin's objects of contextual types anew when they are next asked for.

        Args:
            plugin: whose; it has been unloaded, or is not loaded yet.
        """
        with self._lock:
            self._constants = {key: made for key, made in self._constants.items() if key[1] != plugin}

    def _layers(self) -> list[Layer]:
        layers, layer = [self._top], self._top.below
        while layer is not None:
            layers.append(layer)
            layer = layer.below
        return layers

    def _rewire(self) -> None:
        for layer in reversed(self._layers()):
            self._see(layer)

    def _see(self, layer: Layer) -> None:
        layer.view = _View(self, layer, Graph(self._providers, self._contextual, layer.merged()))

    def _everything(self) -> Closing:
        with self._lock:
            cells = [cell for layer in self._layers() for cell in layer.cells.values()]
            for layer in self._layers():
                layer.cells = {}
        return Closing(self._vault, cells)


def _arguments(layer: Layer, provider: Provider) -> dict[str, Any]:
    """Give what a singleton is made with, at the moment when it is made; a `Cell` stands for another singleton."""
    given: dict[str, Any] = {}
    for dependency in provider.dependencies:
        match layer.view.source(dependency):
            case None:
                if dependency.optional:
                    given[dependency.parameter] = None
            case Constant(value):
                given[dependency.parameter] = value
            case Contextual(kind):
                given[dependency.parameter] = layer.view.constant(kind, provider.plugin)
            case Provider() as other:
                given[dependency.parameter] = layer.view.cell(other) if other.value is MISSING else other.value
    return given
