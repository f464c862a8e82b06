"""The injector of a host: its providers, its overrides and its singletons."""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from jackfield import injection
from jackfield.decorators import key_of
from jackfield.errors import Fault, InjectionError
from jackfield.injection.bodies import Body, compile_body
from jackfield.injection.closing import Closing, RunAsync, TeardownFailure
from jackfield.injection.graph import Graph
from jackfield.injection.layers import Layer, State, View, arguments, inserted, taken
from jackfield.injection.providers import Provider
from jackfield.injection.scope import Cell, Start, Vault, own_thread
from jackfield.model.atomic import AtomicReference
from jackfield.model.call import Call
from jackfield.model.spec import MISSING, FunctionSpec, Key
from jackfield.strangers import named

_NOTHING: Mapping[Key, Any] = MappingProxyType({})


class Injector:
    """Keeps the providers, checks the graph, compiles bodies, and owns the singletons.

    Every method may be called from any thread. Bodies are bound when they are compiled: after `add`, `remove`,
    `override` and `restore` the host compiles again those that are to see the change.

    Args:
        contextual: types whose object is made for the plugin that asks (its logger, its configuration), and what
            makes it from the plugin's name; called once per plugin. A provider registered for such a type comes
            first.
        start: where threads come from, if any are needed.
    """

    def __init__(
        self, contextual: Mapping[Any, Callable[[str], Any]] = MappingProxyType({}), start: Start = own_thread
    ) -> None:
        self._contextual = dict(contextual)
        self._constants: dict[tuple[Any, str], Any] = {}
        self._vault = Vault(start)
        self._state = AtomicReference(self._seen((), (Layer(_NOTHING),), 0, MappingProxyType({})))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """All providers, in order of registration."""
        return self._state.value.providers

    @property
    def generation(self) -> int:
        """Which providers and overrides there are: another number once any of them has changed."""
        return self._state.value.generation

    @property
    def graph(self) -> Graph:
        """The graph of this moment, overrides included: for drawing it."""
        return self._state.value.top.graph

    def add(
        self, *providers: Provider, since: int | None = None, over: Collection[Provider] = (), version: str = ""
    ) -> bool:
        """Add providers.

        A singleton that is made already keeps what it was made with, even if what it lacked is provided now. The
        providers of one plugin stay together, so that a reload does not change the order of collections and decorators.

        Args:
            providers: nothing is checked; ask `diagnose(specs, adding=…)` before.
            since: the generation that was diagnosed; None for whatever is there.
            over: providers of earlier versions of the same plugin, which stay for a rollback; see `supersede`.
            version: what `remove` is told to bring them back.

        Returns:
            False when something has changed since, and nothing was added.
        """
        while True:
            before = self._state.value
            if since is not None and before.generation != since:
                return False
            added = inserted(before.providers, providers)
            superseded = {**before.superseded}
            for old in over:
                superseded[old] = superseded.get(old, frozenset()) | {version}
            if self._replace(before, added, tuple(before.views), superseded):
                return True

    def supersedes(self, version: str) -> bool:
        """Tell whether a version of a plugin has taken the place of providers that are still there."""
        return any(version in by for by in self._state.value.superseded.values())

    def supersede(self, over: Collection[Provider], by: Collection[Provider]) -> Closing:
        """Forget the singletons of others that have what these provide, once their successors serve.

        Args:
            over: providers in whose place others were added.
            by: those.

        Returns:
            What closes those singletons. Those of the plugin itself stay, for a rollback.
        """
        state, old = self._state.value, frozenset(over)
        before = tuple(provider for provider in state.providers if provider not in by)
        plugins = {provider.plugin for provider in old}
        cells = []
        for layer, view in state.views.items():
            graph = Graph(before, self._contextual, view.graph.overrides, state.superseded.keys() - old)
            users = graph.dependents((), gone=old, among=tuple(layer.cells))
            cells += taken(layer, (provider for provider in users if provider.plugin not in plugins))
        return Closing(self._vault, cells)

    def remove(self, *providers: Provider, version: str = "") -> Closing:
        """Remove providers, and forget their singletons and those that depend on them.

        Args:
            providers: as they were added.
            version: the version that they are of; what it had taken the place of counts again.

        Returns:
            What closes those singletons; the host does that when the calls that may hold them have ended.

        Raises:
            ValueError: if one of them is not there.
        """
        gone = frozenset(providers)
        while True:
            before = self._state.value
            unknown = gone.difference(before.providers)
            if unknown:
                raise ValueError(f"not registered: {', '.join(map(repr, unknown))}")
            left = tuple(provider for provider in before.providers if provider not in gone)
            kept = {old: by - {version} for old, by in before.superseded.items() if old not in gone}
            superseded = {old: by for old, by in kept.items() if by}
            if self._replace(before, left, tuple(before.views), superseded):
                break
        cells = []
        for layer, view in before.views.items():
            keys = {key for provider in gone for key in provider.keys}.difference(view.graph.overrides)
            cells += taken(layer, gone | view.graph.dependents(keys, gone=gone, among=tuple(layer.cells)))
        return Closing(self._vault, cells)

    def diagnose(
        self,
        specs: Iterable[FunctionSpec] = (),
        *,
        adding: Iterable[Provider] = (),
        over: Collection[Provider] = (),
    ) -> "injection.Diagnosis":
        """Find every fault of the graph, and of functions that it is to serve.

        Args:
            specs: the functions.
            adding: providers to be counted in as if they were registered.
            over: those that they would take the place of.
        """
        state, more = self._state.value, tuple(adding)
        view = state.top
        if not more and not over:
            return injection.diagnose(view.graph, specs, known=view.faulty)
        providers = inserted(state.providers, more)
        superseded = {*state.superseded, *over}
        return injection.diagnose(Graph(providers, self._contextual, view.graph.overrides, superseded), specs)

    def check(
        self,
        specs: Iterable[FunctionSpec] = (),
        *,
        adding: Iterable[Provider] = (),
        over: Collection[Provider] = (),
    ) -> None:
        """Refuse a graph with any fault; or providers that would add one.

        Args:
            specs: the functions that it is to serve.
            adding: providers that are to be added; what is wrong without them already does not count.
            over: as for `diagnose`.

        Raises:
            InjectionError: with every fault; the most specific class that fits them all.
        """
        served, more = tuple(specs), tuple(adding)
        found = self.diagnose(served, adding=more, over=over)
        changing = bool(more or over) and bool(found.faults)
        known = frozenset(self.diagnose(served).faults) if changing else frozenset[Fault]()
        if not known.issuperset(found.faults):
            raise found.error(besides=known)

    def upset(self, specs: Iterable[FunctionSpec], adding: Iterable[Provider]) -> tuple[Fault, ...]:
        """Find what that is there already could not be used any more, if providers were added.

        Args:
            specs: the functions that are served.
            adding: the providers.

        Returns:
            The faults that it would have, and has not now.
        """
        served = tuple(specs)
        before, after = self.diagnose(served), self.diagnose(served, adding=adding)
        there = (fault for provider in self.providers for fault in after.providers.get(provider, ()))
        faults = dict.fromkeys((*there, *(fault for found in after.functions.values() for fault in found)))
        return tuple(fault for fault in faults if fault not in before.faults)

    def check_overrides(self, specs: Iterable[FunctionSpec], values: Mapping[Any, Any] | None = None) -> None:
        """Refuse overrides of what nothing provides and nobody asks for.

        Args:
            specs: the functions that are served.
            values: overrides that are to begin; those that are in force when None.

        Raises:
            InjectionError: with a fault for each.
        """
        there = self.graph.overrides
        keys = there.keys() if values is None else _keyed(values).keys() - there.keys()
        if keys:
            faults = injection.strangers(Graph(self.providers, self._contextual), keys, specs)
            if faults:
                raise InjectionError(faults)

    def body(self, spec: FunctionSpec) -> Body:
        """Compile the body of a function against the providers and overrides of this moment.

        Args:
            spec: the function; it is not kept.

        Returns:
            `body(call, value)` with the converted payload; for an async function a coroutine function.

        Raises:
            InjectionError: with every fault that concerns this function; the host asks `diagnose` before.
        """
        view = self._state.value.top
        found = injection.diagnose(view.graph, (spec,), known=view.faulty)
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
        overrides = _keyed(values)
        if Key(Call) in overrides:
            raise ValueError("Call cannot be overridden: it is always the call under way")
        layer = Layer(overrides)
        while True:
            before = self._state.value
            if self._replace(before, before.providers, (*before.views, layer)):
                return layer

    def restore(self, layer: Layer) -> Closing:
        """End an override; those that were made before or after it stay in force.

        Args:
            layer: one that has not ended.

        Returns:
            What closes the singletons made because of it, those of later overrides included.

        Raises:
            ValueError: if it has ended.
        """
        while True:
            before = self._state.value
            if layer not in before.views:
                raise ValueError("this override has ended already")
            layer.last = before.views[layer]
            if self._replace(before, before.providers, tuple(other for other in before.views if other is not layer)):
                break
        cells = list(layer.cells.values())
        keys = {*layer.overrides}
        layers = tuple(before.views)
        for above in layers[layers.index(layer) + 1 :]:
            keys -= above.overrides.keys()
            cells += taken(above, before.views[above].graph.dependents(keys, among=tuple(above.cells)))
        return Closing(self._vault, cells)

    def close(self, run_async: RunAsync, ends: float | None = None) -> tuple[TeardownFailure, ...]:
        """Close all singletons from a thread, in reverse order of creation. Bodies must be compiled again after this.

        Args:
            run_async: runs a coroutine on the home loop and waits for it; only called if there is something async.
            ends: as for `Closing.close`.

        Returns:
            What went wrong, in order.
        """
        return self._everything().close(run_async, ends)

    async def aclose(self, ends: float | None = None) -> tuple[TeardownFailure, ...]:
        """Do the same on the home loop, without blocking it.

        Args:
            ends: as for `Closing.close`.

        Returns:
            What went wrong, in order.
        """
        return await self._everything().aclose(ends)

    def cell(self, layer: Layer, provider: Provider) -> Cell:
        """Give a singleton's place in a layer. For wiring; not for hosts."""
        found = layer.cells.get(provider)
        if found is None:
            found = Cell(provider, self._vault, lambda: arguments(self.view(layer), provider))
            found = layer.cells.setdefault(provider, found)
        return found

    def constant(self, kind: Any, plugin: str) -> Any:
        """Give a plugin's object of a contextual type. For wiring; not for hosts."""
        found = self._constants.get((kind, plugin), MISSING)
        if found is MISSING:
            found = self._constants.setdefault((kind, plugin), self._contextual[kind](plugin))
        return found

    def forget(self, plugin: str) -> None:
        """Make a plugin's objects of contextual types anew when they are next asked for.

        Args:
            plugin: whose; it has been unloaded, or is not loaded yet.
        """
        for key in self._constants.copy():
            if key[1] == plugin:
                self._constants.pop(key, None)

    def view(self, layer: Layer) -> View:
        """Give what a layer sees now, or saw when it ended. For wiring; not for hosts."""
        view = self._state.value.views.get(layer) or layer.last
        assert view is not None  # noqa: S101  # for the type checker: `restore` leaves one behind
        return view

    def _replace(
        self,
        before: State,
        providers: tuple[Provider, ...],
        layers: tuple[Layer, ...],
        superseded: Mapping[Provider, frozenset[str]] | None = None,
    ) -> bool:
        superseded = before.superseded if superseded is None else superseded
        return self._state.compare_and_set(before, self._seen(providers, layers, before.generation + 1, superseded))

    def _seen(
        self,
        providers: tuple[Provider, ...],
        layers: tuple[Layer, ...],
        generation: int,
        superseded: Mapping[Provider, frozenset[str]],
    ) -> State:
        views: dict[Layer, View] = {}
        overrides: Mapping[Key, Any] = _NOTHING
        below: View | None = None
        for layer in layers:
            overrides = {**overrides, **layer.overrides}
            graph = Graph(providers, self._contextual, overrides, superseded)
            below = views[layer] = View(self, layer, graph, below)
        return State(providers, views, generation, superseded)

    def _everything(self) -> Closing:
        cells = [cell for layer in self._state.value.views for cell in taken(layer, tuple(layer.cells))]
        return Closing(self._vault, cells)


def _keyed(values: Mapping[Any, Any]) -> dict[Key, Any]:
    if not isinstance(values, Mapping):
        what = named(type(values))
        raise TypeError(f"an override is a mapping of types to objects, as in {{Cache: fake}}, not {what}")
    return {key_of(key.type, key.name) if isinstance(key, Key) else key_of(key): value for key, value in values.items()}
