"""The plugins of one host: declared in its configuration or advertised with an object; loaded, wired, unloaded."""

import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from jackfield.config import PluginConfig
from jackfield.errors import Fault, InjectionError, PluginError
from jackfield.events import EventBus
from jackfield.hooks import Hooks
from jackfield.injection.injector import Injector
from jackfield.injection.providers import Provider, describe
from jackfield.model.call import Call
from jackfield.model.route import Endpoint
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logger import host_log
from jackfield.plugins.discovery import PLUGINS, Catalogue, load
from jackfield.plugins.lifecycle import Lifecycle, PluginDefinition, PluginState, SwapReport, UnloadReport
from jackfield.plugins.loading import LoadedPlugin, current_digest, load_source, purge, refuse_reload
from jackfield.ports import Store
from jackfield.registry.change import Addition, Removal
from jackfield.registry.functions import Functions

RunAsync = Callable[[Any], Any]


class Plugins:
    """Brings plugins into the parts of a host, and out of them again.

    What a plugin acquires stands in its ledger in the order in which it did: its code with its providers, its hooks,
    its place in the history, its subscriptions. Unloading releases it in reverse.

    Args:
        functions: where functions go when a plugin has started.
        injector: where providers go; makes plugin objects.
        hooks: where hook implementations go.
        events: whose subscriptions end with a plugin.
        lifecycle: starts and stops plugins.
        run_async: runs a coroutine on the home loop and waits for it.
        store: where plugins' states go when they are replaced.

    Attributes:
        options: plugin → what the operator configured for it.
    """

    def __init__(
        self,
        functions: Functions,
        injector: Injector,
        hooks: Hooks,
        events: EventBus,
        lifecycle: Lifecycle,
        run_async: RunAsync,
        store: Store,
    ) -> None:
        self._functions = functions
        self._injector = injector
        self._hooks = hooks
        self._events = events
        self._lifecycle = lifecycle
        self._run_async = run_async
        self._store = store
        self._replaced: dict[str, tuple[LoadedPlugin, ...]] = {}
        self.loaded: dict[str, tuple[PluginConfig, LoadedPlugin]] = {}
        self.options: dict[str, Mapping[str, Any]] = {}
        purge_abandoned()
        weakref.finalize(self, _abandoned.append, (self.loaded, self._replaced))

    def declare(self, plugins: Iterable[PluginConfig], catalogue: Catalogue) -> tuple[Fault, ...]:
        """Load plugins and register them; one that cannot be loaded fails alone.

        Args:
            plugins: as configured, and checked; each may depend on the others and on those that are there.
            catalogue: for paths that name distributions.

        Returns:
            What was left out, and why.

        Raises:
            PluginError: if a name is taken.
        """
        faults: list[Fault] = []
        definitions = []
        for config in plugins:
            name = config.name
            there = self._lifecycle.records.get(name)
            if there is not None and there.state is not PluginState.UNLOADED:
                raise PluginError(name, "name", f"there is a plugin {name!r} already", "unload it first")
            self.options[name] = config.options
            self._injector.forget(name)  # its `Config` is of other options now
            try:
                loaded = load_source(config, catalogue)
            except PluginError as error:
                found = error.faults or (Fault(error.stage, name, name, error.reason, error.fix),)
                faults += found
                self._lifecycle.discover(name, config.version or "0", config.path, found[0])
                # Registered all the same, so that whoever starts it, or depends on it, hears why it cannot run.
                definitions.append(_definition(config, config.version or "0", make=partial(_raise, error)))
                continue
            faults += loaded.faults
            definitions.append(self._take_in(config, loaded))
        diagnosis = self._injector.diagnose()
        self._injector.remove(*diagnosis.providers)
        self._lifecycle.add(definitions)
        return (*faults, *diagnosis.faults)

    def declared(self) -> tuple[tuple[str, ...], tuple[Fault, ...]]:
        """Tell which functions the loaded plugins would register, and which of them cannot be injected.

        A method of an object that is yet to be made counts as it was checked at load.
        """
        loaded = [one for _, one in self.loaded.values()]
        specs = [spec for one in loaded for spec in (*one.functions, *(spec for _, spec in one.methods))]
        diagnosis = self._injector.diagnose(specs)
        names = tuple(sorted(spec.name for spec in specs if spec.key not in diagnosis.functions))
        return names, tuple(fault for faults in diagnosis.functions.values() for fault in faults)

    def advertised(self, catalogue: Catalogue, besides: Iterable[str]) -> tuple[Fault, ...]:
        """Register the plugin objects that installed distributions advertise.

        Args:
            catalogue: what the scan found.
            besides: plugins that are declared, and so known already.
        """
        faults = []
        known = {*besides}
        for candidate in catalogue.group(PLUGINS):
            name = candidate.plugin
            if name in known:
                continue
            known.add(name)
            try:
                made = load(candidate)
            except PluginError as error:
                faults.append(Fault(error.stage, name, candidate.name, error.reason, error.fix))
                continue
            config = PluginConfig(name, name)
            functions = tuple(endpoint.spec for endpoint in self._functions.endpoints() if endpoint.spec.plugin == name)
            loaded = LoadedPlugin(name, candidate.version, candidate.distribution, object=made, functions=functions)
            self._lifecycle.add([self._take_in(config, loaded)])
        return tuple(faults)

    def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, give back everything that it acquired, and forget its functions in the history.

        Args:
            name: which.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it.
        """
        report = self._lifecycle.unload(name)
        self.options.pop(name, None)
        return report

    def reload(self, name: str, *, keep_warm: float = 0.0) -> SwapReport:
        """Load a file or folder plugin anew beside the running one, and swap without losing a call.

        Args:
            name: which; it is running.
            keep_warm: seconds that the old instance idles before it stops, for a rollback.

        Returns:
            What it came to; the same version twice when the files have not changed.

        Raises:
            PluginError: if it cannot be reloaded in process, or the new version fails; then the old one serves on.
        """
        if name not in self.loaded:
            record = self._lifecycle.records.get(name)
            reason = f"it is {record.state}" if record is not None else f"no plugin is named {name!r}"
            raise PluginError(name, "reload", reason, "see `host.plugins` for what can be reloaded")
        config, old = self.loaded[name]
        if not old.reloadable:
            raise refuse_reload(config)
        if current_digest(config) == old.digest:
            return SwapReport(name, old.version, old.version)
        new = load_source(config, Catalogue())
        if new.version == old.version.partition("+")[0]:
            new = _labelled(new, f"{new.version}+{new.digest[:8]}")
        gone = [endpoint for endpoint in self._functions.endpoints() if endpoint.spec.plugin == name]
        used = {endpoint.spec for endpoint in gone}
        definition = _definition(
            config,
            new.version,
            make=partial(self._make, new) if new.object is not None else None,
            activate=partial(self._replace, new, gone),
            deactivate=partial(self._deactivate, name, config.stop_timeout),
        )
        try:
            self._add_providers(new)
            report = self._lifecycle.swap(
                name,
                definition,
                store=self._store,
                drain=partial(self._drained, gone),
                in_use=lambda: any(endpoint.spec in used for endpoint in self._functions.endpoints()),
                keep_warm=keep_warm,
            )
        except BaseException:
            self._drop(new)
            raise
        self.loaded[name] = config, new
        # What is kept warm, or could be rolled back to, keeps its modules and providers until the next reload.
        for replaced in self._replaced.pop(name, ()):
            self._drop(replaced)
        self._replaced[name] = (old,)
        return report

    def _add_providers(self, loaded: LoadedPlugin) -> None:
        """Add the providers of a version beside those of the one that runs.

        Raises:
            PluginError: if the two clash: both provide a type that neither of them defines.
        """
        diagnosis = self._injector.diagnose(adding=loaded.providers)
        if diagnosis.faults:
            first = diagnosis.faults[0]
            raise PluginError(loaded.name, "inject", first.reason, first.fix, diagnosis.faults)
        self._injector.add(*loaded.providers)

    def _drop(self, loaded: LoadedPlugin) -> None:
        """Take the providers and modules of a version out that serves no more."""
        there = {*self._injector.providers}
        self._remove_providers(tuple(provider for provider in loaded.providers if provider in there))
        purge(loaded)

    def _replace(self, new: LoadedPlugin, gone: Sequence[Endpoint], instance: Any) -> tuple[str, ...]:
        """Move the calls: the new functions come and the old ones go in one swap."""
        additions = self._additions(new, instance)
        removals = [Removal(e.spec.name, e.spec.version, only=e.spec, succeed=True) for e in gone]
        self._functions.commit([*additions, *removals], vetted=True)
        self._hooks.remove(new.name)
        for implementation in new.hooks:
            self._hooks.add(implementation, new.name)
        return tuple(addition.spec.name for addition in additions)

    def _drained(self, gone: Sequence[Endpoint], timeout: float) -> tuple[str, ...]:
        return tuple(sorted({call.name for call in self._functions.drain(gone, timeout)}))

    def _take_in(self, config: PluginConfig, loaded: LoadedPlugin) -> PluginDefinition:
        """Add what a plugin brings before it starts, note it in the ledger, and say how to start it."""
        name, ledger = loaded.name, self._lifecycle.ledger(loaded.name)
        self.loaded[name] = config, loaded
        ledger.record("code", config.path, partial(self._forget, name))
        for implementation in loaded.hooks:
            self._hooks.add(implementation, name)
        ledger.record("hooks", name, partial(self._hooks.remove, name))
        self._injector.add(*loaded.providers)
        ledger.record("history", name, partial(self._functions.purge, name))
        ledger.record("subscriptions", name, partial(self._events.cancel_all, plugin=name))
        return _definition(
            config,
            loaded.version,
            make=partial(self._make, loaded) if loaded.object is not None else None,
            activate=partial(self._activate, loaded),
            deactivate=partial(self._deactivate, name, config.stop_timeout),
        )

    def _forget(self, name: str) -> None:
        for replaced in self._replaced.pop(name, ()):
            self._drop(replaced)
        found = self.loaded.pop(name, None)
        if found is not None:
            self._drop(found[1])

    def _remove_providers(self, providers: tuple[Provider, ...]) -> None:
        if not providers:
            return
        closing = self._injector.remove(*providers)
        self._functions.rewire()
        for failure in closing.close(self._run_async):
            host_log("ERROR", failure.fault)

    def _make(self, loaded: LoadedPlugin) -> object:
        """Give the plugin object; a class is instantiated with its dependencies."""
        if not isinstance(loaded.object, type):
            return loaded.object
        described = describe(loaded.object, plugin=loaded.name)
        diagnosis = self._injector.diagnose(adding=[described])
        if described in diagnosis.providers:
            raise InjectionError(diagnosis.providers[described])
        spec = FunctionSpec(
            f"{loaded.name}.object",
            loaded.version,
            loaded.name,
            loaded.distribution,
            target=loaded.object,
            colour=Colour.SYNC,
            dependencies=described.dependencies,
        )
        return self._injector.body(spec)(Call(spec.name), None)

    def _activate(self, loaded: LoadedPlugin, instance: Any) -> tuple[str, ...]:
        """Register a plugin's functions in one swap, but for those that discovery has registered already."""
        there = {endpoint.spec for endpoint in self._functions.endpoints()}
        additions = self._additions(loaded, instance, besides=there)
        if additions:
            self._functions.commit(additions, vetted=True)
        kept = [spec.name for spec in loaded.functions if spec in there]
        return (*kept, *(addition.spec.name for addition in additions))

    def withdraw(self, faults: Iterable[Fault]) -> None:
        """Take the functions of plugins away that have not started, although discovery has registered them.

        Args:
            faults: of those plugins.
        """
        for name in {fault.plugin for fault in faults}:
            self._deactivate(name, 0.0)

    def _additions(self, loaded: LoadedPlugin, instance: Any, besides: Collection[FunctionSpec] = ()) -> list[Addition]:
        """Check a plugin's functions; a faulty one is left out alone."""
        bound = loaded.bound(instance) if loaded.methods else ()
        specs = [spec for spec in (*loaded.functions, *bound) if spec not in besides]
        diagnosis = self._injector.diagnose(specs)
        additions = []
        for spec in specs:
            faults = diagnosis.functions.get(spec.key) or self._functions.refusals(spec)
            for fault in faults:
                host_log("WARNING", fault)
            if not faults:
                additions.append(Addition(spec))
        return additions

    def _deactivate(self, name: str, timeout: float) -> None:
        """Take a plugin's functions away in one swap, and wait for the calls that are inside."""
        gone = [endpoint for endpoint in self._functions.endpoints() if endpoint.spec.plugin == name]
        if gone:
            # Another plugin may have versions of the same names: the next of them takes over.
            self._functions.commit([Removal(e.spec.name, e.spec.version, only=e.spec, succeed=True) for e in gone])
            left = self._functions.drain(gone, timeout)
            if left:
                names = ", ".join(sorted({call.name for call in left}))
                raise PluginError(name, "stop", f"{len(left)} calls have not ended: {names}", "give them deadlines")


# What hosts that were dropped without unloading have left in `sys.modules`. It is purged when the next host is made,
# and not at once: the garbage collector runs finalizers in the middle of anything, somebody's walk over `sys.modules`
# included.
_abandoned: Final[deque[tuple[dict[str, tuple[PluginConfig, LoadedPlugin]], dict[str, tuple[LoadedPlugin, ...]]]]] = (
    deque()
)


def purge_abandoned() -> None:
    """Purge the modules of file plugins whose hosts have been dropped."""
    while _abandoned:
        loaded, replaced = _abandoned.popleft()
        for one in (
            *(each for _, each in loaded.values()),
            *(each for several in replaced.values() for each in several),
        ):
            purge(one)


def _definition(
    config: PluginConfig,
    version: str,
    *,
    make: Callable[[], object | None] | None,
    activate: Callable[[Any], Iterable[str]] | None = None,
    deactivate: Callable[[], object] | None = None,
) -> PluginDefinition:
    definition = PluginDefinition(
        config.name,
        version,
        depends_on=config.depends_on,
        auto_start=config.auto_start,
        location=config.path,
        make=make,
        start_timeout=config.start_timeout,
        stop_timeout=config.stop_timeout,
        restart=config.restart,
        restart_limit=config.restart_limit,
        restart_backoff=config.restart_backoff,
    )
    if activate is not None and deactivate is not None:
        definition = attrs.evolve(definition, activate=activate, deactivate=deactivate)
    return definition


def _labelled(loaded: LoadedPlugin, version: str) -> LoadedPlugin:
    """Give a plugin's functions another version, so that they can stand beside those of the same number."""
    return attrs.evolve(
        loaded,
        version=version,
        functions=tuple(attrs.evolve(spec, version=version) for spec in loaded.functions),
        methods=tuple((attribute, attrs.evolve(spec, version=version)) for attribute, spec in loaded.methods),
    )


def _raise(error: PluginError) -> None:
    raise error
