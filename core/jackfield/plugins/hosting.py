"""The host that plugins run in: what they bring goes into its parts, and comes out of them again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from jackfield.errors import Fault, InjectionError, PluginError
from jackfield.events import EventBus
from jackfield.hooks import Hooks
from jackfield.injection.closing import Closing
from jackfield.injection.injector import Injector
from jackfield.injection.providers import Provider, describe
from jackfield.log import confide, host_log
from jackfield.model.call import Call
from jackfield.model.record import PluginRecord
from jackfield.model.route import Endpoint
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.code import Code
from jackfield.plugins.ledger import Ledger, Ledgers
from jackfield.registry.change import Addition, Removal
from jackfield.registry.functions import Functions
from jackfield.strangers import is_a

RunAsync = Callable[[Any], Any]


class Hosting:
    """Adapter of `Deployment`: functions, providers, hooks and subscriptions of plugins in one host.

    What a plugin acquires stands in its ledger in the order in which it did: its code with its providers, its hooks,
    its place in the history, its subscriptions. Unloading releases it in reverse.

    Args:
        functions: where functions go while a plugin runs.
        injector: where providers go; makes plugin objects.
        hooks: where hook implementations go.
        events: whose subscriptions end with a plugin.
        run_async: runs a coroutine on the home loop and waits for it.
        code: loads plugins, and keeps what they brought.
        ledgers: what each plugin holds.
    """

    def __init__(
        self,
        functions: Functions,
        injector: Injector,
        hooks: Hooks,
        events: EventBus,
        run_async: RunAsync,
        code: Code,
        ledgers: Ledgers,
    ) -> None:
        self._functions = functions
        self._injector = injector
        self._hooks = hooks
        self._events = events
        self._run_async = run_async
        self._code = code
        self._ledgers = ledgers
        self._vetted: set[FunctionSpec] = set()
        self._names: dict[str, set[str]] = {}  # plugin → the functions that it, or an earlier version of it, has had

    @property
    def serving(self) -> bool:
        """Whether the host lets calls in."""
        return self._functions.running

    # --- Taking in --------------------------------------------------------------------------------------------------

    def take_in(self, bundles: Sequence[PluginBundle]) -> list[PluginBundle]:
        """Add what plugins bring before they start: hooks and providers; leave out alone what is faulty.

        Everything that can be known of a function before it is called is checked here, with all that the others bring.

        Args:
            bundles: the plugins; those that could not be loaded bring nothing.

        Returns:
            The same without what is faulty, which stands in their `faults`, and is noted.
        """
        loaded = self._checked([bundle for bundle in bundles if bundle.fault is None])
        self._code.kept.update({bundle.name: bundle for bundle in loaded})
        whole = {bundle.name: bundle for bundle in (*bundles, *loaded)}
        self._code.note((f for each in whole.values() for f in each.faults), {each.fault for each in whole.values()})
        return list(whole.values())

    def _checked(self, bundles: Sequence[PluginBundle]) -> list[PluginBundle]:
        faults: dict[str, list[Fault]] = {bundle.name: list(bundle.faults) for bundle in bundles}
        for bundle in bundles:
            self._take_code(bundle, self._ledgers.of(bundle.name), faults[bundle.name])
        diagnosis = self._injector.diagnose([spec for bundle in bundles for spec in bundle.specs])
        self._injector.remove(*diagnosis.providers)
        there = {*self._injector.providers}
        wrong: dict[str, tuple[Fault, ...]] = dict(diagnosis.functions)
        for bundle in bundles:
            of_providers = (f for provider in bundle.providers for f in diagnosis.providers.get(provider, ()))
            faults[bundle.name] += of_providers
            for spec in bundle.specs:
                found = wrong.get(spec.key) or self._functions.refusals(spec)
                if found:
                    wrong[spec.key] = found
                    faults[bundle.name] += found
                else:
                    self._vetted.add(spec)
            faults[bundle.name] += self._object_faults(bundle)
        return [
            attrs.evolve(
                bundle.without(wrong),
                providers=tuple(one for one in bundle.providers if one in there),
                faults=tuple(dict.fromkeys(faults[bundle.name])),
            )
            for bundle in bundles
        ]

    def needs(self, bundle: PluginBundle) -> bool:
        """Tell whether what a plugin brings, but for its functions, has anything injected."""
        if any(provider.dependencies for provider in bundle.providers):
            return True
        try:
            return isinstance(bundle.object, type) and bool(describe(bundle.object, plugin=bundle.name).dependencies)
        except InjectionError:
            return False  # it cannot be made at all, which is a fault of its own

    def add_function(self, bundle: PluginBundle, spec: FunctionSpec) -> None:
        """Add one more function to a plugin that was taken in, and as `take_in` does."""
        diagnosis = self._injector.diagnose([spec])
        faults = diagnosis.functions.get(spec.key) or self._functions.refusals(spec)
        if not faults:
            self._vetted.add(spec)
            bundle = attrs.evolve(bundle, functions=(*bundle.functions, spec))
        self._code.kept[bundle.name] = attrs.evolve(bundle, faults=(*bundle.faults, *faults))
        self._code.note(faults)

    def add_providers(self, bundle: PluginBundle) -> None:
        """Add the providers of a version in the place of those of the one that runs, which stay for a rollback.

        Raises:
            PluginError: if something could not be injected any more.
        """
        over = self._earlier(bundle)
        try:
            self._injector.check(self._functions.injected(), adding=bundle.providers, over=over)
        except InjectionError as error:
            first = error.faults[0]
            raise PluginError(bundle.name, "inject", first.reason, first.fix, error.faults) from error
        self._injector.add(*bundle.providers, over=over, version=bundle.root)

    def _earlier(self, bundle: PluginBundle) -> tuple[Provider, ...]:
        """Give the providers of earlier versions of a plugin."""
        of_plugin = (provider for provider in self._injector.providers if provider.plugin == bundle.name)
        return tuple(provider for provider in of_plugin if provider not in bundle.providers)

    def drop(self, bundle: PluginBundle) -> None:
        """Take the providers and modules of a version out that serves no more."""
        there = {*self._injector.providers}
        providers = [provider for provider in bundle.providers if provider in there]
        if providers or self._injector.supersedes(bundle.root):
            self._close_after(self._injector.remove(*providers, version=bundle.root))
        self._code.purge(bundle)

    def _take_code(self, bundle: PluginBundle, ledger: Ledger, faults: list[Fault]) -> None:
        name = bundle.name
        self._injector.forget(name)  # its `Config` may be of other options now
        ledger.record("code", bundle.location, partial(self._forget, name))
        for implementation in bundle.hooks:
            try:
                self._hooks.add(implementation, name)
            except PluginError as error:
                faults += error.faults or (Fault(error.stage, name, "hooks", error.reason, error.fix),)
        ledger.record("hooks", name, partial(self._hooks.remove, name))
        self._injector.add(*self._welcome(bundle, faults))
        ledger.record("history", name, partial(self._purge, name))
        ledger.record("subscriptions", name, partial(self._events.cancel_all, plugin=name))

    def _welcome(self, bundle: PluginBundle, faults: list[Fault]) -> Sequence[Provider]:
        """Leave out the providers of a newcomer for which something that serves would have to go."""
        if not bundle.providers or not self.serving:
            return bundle.providers
        specs = self._functions.injected()
        if not self._injector.upset(specs, bundle.providers):
            return bundle.providers
        welcome: list[Provider] = []
        for provider in bundle.providers:
            if upset := self._injector.upset(specs, (*welcome, provider)):
                reason = f"with it {upset[0].entry} could not be served any more: {upset[0].reason}"
                faults.append(Fault("inject", bundle.name, provider.label, reason, upset[0].fix, provider.where))
            else:
                welcome.append(provider)
        return welcome

    def _forget(self, name: str) -> None:
        """Take out what is left of a plugin's code."""
        for bundle in self._code.forget(name):
            self.drop(bundle)

    def _purge(self, name: str) -> None:
        self._names.pop(name, None)
        self._functions.purge(name)

    def _object_faults(self, bundle: PluginBundle) -> tuple[Fault, ...]:
        """Say why a plugin's object could not be made, as far as that can be seen before its start."""
        if not is_a(bundle.object, type):
            return ()
        try:
            self._object_spec(bundle)
        except InjectionError as error:
            return error.faults
        return ()

    def _object_spec(self, bundle: PluginBundle) -> FunctionSpec:
        """Describe the making of a plugin's object as a function whose parameters are all injected.

        Raises:
            InjectionError: with every fault of the constructor.
        """
        described = describe(bundle.object, plugin=bundle.name)
        diagnosis = self._injector.diagnose(adding=[described])
        if described in diagnosis.providers:
            raise InjectionError(diagnosis.providers[described])
        return bundle.making()

    def _close_after(self, closing: Closing) -> None:
        """Compile everything against the providers of now, and then close singletons that nobody gets any more."""
        self._functions.rewire()
        for failure in closing.close(self._run_async):
            if failure.error is not None:
                confide(f"{failure.provider}: its teardown", failure.error)
            host_log("ERROR", failure.fault)

    # --- `Deployment` -----------------------------------------------------------------------------------------------

    def load(self, bundle: PluginBundle) -> PluginBundle:
        """Load a plugin that could not be loaded, and take it in; or give it, if that was done too late for a start."""
        if (late := self._code.kept.get(bundle.name)) is not None:
            return late
        loaded = self._code.load(self._code.configs[bundle.name])
        self._code.strike(bundle.faults.__contains__)
        return self.take_in([loaded])[0]

    def make(self, bundle: PluginBundle) -> Any:
        """Give the plugin object; a class is instantiated with its dependencies."""
        if not is_a(bundle.object, type):
            return bundle.object
        spec = self._object_spec(bundle)
        return self._injector.body(spec)(Call(spec.name), None)

    def activate(self, bundle: PluginBundle, instance: Any) -> tuple[FunctionSpec, ...]:
        """Register a plugin's functions in one swap; a faulty one is left out alone, and said so."""
        there = {each.spec for each in self._endpoints(bundle.name)}
        additions = self._additions(bundle, instance, there)
        if additions:
            self._functions.commit(additions, vetted=True)
        kept = [spec for spec in bundle.functions if spec in there]
        return (*kept, *(addition.spec for addition in additions))

    def replace(self, bundle: PluginBundle, instance: Any) -> tuple[tuple[FunctionSpec, ...], tuple[Endpoint, ...]]:
        """Move the calls: the new functions come and the old ones go in one swap; then the hooks."""
        gone = self._endpoints(bundle.name)
        additions = self._additions(bundle, instance)
        removals = [Removal(e.spec.name, e.spec.version, only=e.spec, succeed=True) for e in gone]
        self._functions.commit([*additions, *removals], vetted=True)
        self._hooks.remove(bundle.name)
        for implementation in bundle.hooks:
            self._hooks.add(implementation, bundle.name)
        self._close_after(self._injector.supersede(self._earlier(bundle), bundle.providers))
        return tuple(addition.spec for addition in additions), gone

    def withdraw(self, plugin: str, only: Sequence[FunctionSpec] | None = None) -> tuple[Endpoint, ...]:
        """Take a plugin's functions away in one swap; other plugins' versions of the same names take over.

        No rollback brings them back: it might be to an object that has stopped.
        """
        gone: list[Endpoint] = []
        while there := [each for each in self._endpoints(plugin) if only is None or each.spec in only]:
            # Again, when a rollback came in between.
            self._functions.commit([Removal(e.spec.name, e.spec.version, only=e.spec, succeed=True) for e in there])
            self._let_go(plugin, lambda spec: only is None or spec in only)
            gone += there
        return tuple(gone)

    def keep_only(self, plugin: str, specs: Collection[FunctionSpec]) -> None:
        """Let go of the other functions of a plugin in the history."""
        self._let_go(plugin, lambda spec: spec not in specs)

    def _let_go(self, plugin: str, which: Callable[[FunctionSpec], bool]) -> None:
        names = self._names.get(plugin, ())
        self._functions.let_go(tuple(names), lambda spec: spec.plugin == plugin and which(spec))

    def drain(self, endpoints: Sequence[Endpoint], timeout: float) -> tuple[str, ...]:
        """Wait until nobody is inside functions that were taken away."""
        return tuple(sorted({call.name for call in self._functions.drain(endpoints, timeout)}))

    def retire(self, bundle: PluginBundle) -> None:
        """Let go of a version whose instance has stopped, if its code is in processes of its own, and end those."""
        if bundle.apart is not None:
            specs = {*bundle.functions}
            self._let_go(bundle.name, specs.__contains__)
            self._code.purge(bundle)

    def in_use(self, endpoints: Sequence[Endpoint]) -> bool:
        """Tell whether any of these can be called: a rollback may have brought them back."""
        used = {endpoint.spec for endpoint in endpoints}
        return any(endpoint.spec in used for endpoint in self._functions.endpoints())

    def publish(self, records: Mapping[str, PluginRecord], events: Sequence[object]) -> None:
        """Take over the records of all plugins, and queue what happened."""
        self._functions.publish(records, events)

    def deliver(self) -> None:
        """Deliver what was queued, to hooks and subscribers."""
        self._functions.deliver()

    def _endpoints(self, plugin: str) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoint in self._functions.endpoints() if endpoint.spec.plugin == plugin)

    def _additions(self, bundle: PluginBundle, instance: Any, there: Collection[FunctionSpec] = ()) -> list[Addition]:
        """Check a plugin's functions against what is there now; a faulty one is left out alone."""
        specs = [spec for spec in bundle.bound(instance) if spec not in there]
        by_key = {spec.key: spec for spec in bundle.specs}
        diagnosis = self._injector.diagnose(specs)
        additions = []
        for spec in specs:
            faults: tuple[Fault, ...] = diagnosis.functions.get(spec.key, ())
            vetted = by_key[spec.key]
            if not faults and vetted not in self._vetted:
                faults = self._functions.refusals(spec)
            self._vetted.discard(vetted)  # when it becomes visible again, it is asked about again
            faults = faults or self._functions.taken(spec, bundle.name)
            for fault in faults:
                host_log("WARNING", fault)
            if not faults:
                additions.append(Addition(spec))
        self._names.setdefault(bundle.name, set()).update(addition.spec.name for addition in additions)
        return additions
