"""The functions of one host: every change of them, from the check of a transaction to the news of it."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from types import MappingProxyType

import attrs

from jackfield import contract
from jackfield.calls.pipeline import compile_refusal
from jackfield.errors import ContractError, Fault, InjectionError, PluginError, Unavailable
from jackfield.events import EventBus
from jackfield.executors.places import Places
from jackfield.hooks import Hooks
from jackfield.injection.injector import Injector
from jackfield.log import host_log
from jackfield.model.atomic import Link
from jackfield.model.call import Call
from jackfield.model.permissions import Permissions
from jackfield.model.record import PluginRecord
from jackfield.model.route import Endpoint, Rule
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.ports import Observer
from jackfield.registry import change as transaction
from jackfield.registry import routes, trials
from jackfield.registry.change import Addition, Expectation, Removal
from jackfield.registry.news import News, hook_of, news_of
from jackfield.registry.registry import Commit, Registry, State, Wiring
from jackfield.registry.workshop import Workshop
from jackfield.strangers import Broken, barrier

Compile = Callable[[FunctionSpec, Sequence[Observer]], Endpoint]


class Functions:
    """Makes every change of a registry, in this order: plan, check, ask the hooks, compile, swap, tell.

    All up to the swap starts from one state, holds no lock, and raises without having changed anything. If the state
    has changed meanwhile, the plan is made again; what was vetted and compiled is kept. A change that is made while its
    own thread is in the middle of another one (by a signal handler, a finalizer, a hook that is being told) is one like
    any other; only `jackfield_register` may not make any.

    Until `open`, and after `close`, functions are there but refuse calls.

    Args:
        registry: what is changed.
        injector: must be able to serve what is registered.
        hooks: are asked and told.
        events: is told.
        compiler: makes an endpoint of a spec.
        places: where functions can run.
    """

    def __init__(
        self,
        registry: Registry,
        injector: Injector,
        hooks: Hooks,
        events: EventBus,
        compiler: Compile,
        places: Places,
    ) -> None:
        self._registry = registry
        self._injector = injector
        self._hooks = hooks
        self._compile = compiler
        self._places = places
        self._pid = os.getpid()
        self._news = News(registry, hooks, events)

    @property
    def running(self) -> bool:
        """Whether calls are let in."""
        return self._registry.state.wiring.running

    @property
    def state(self) -> State:
        """The state of now."""
        return self._registry.state

    def endpoints(self) -> Iterator[Endpoint]:
        """Walk the endpoints of the current snapshot."""
        return _endpoints(self._registry.snapshot)

    def injected(self) -> list[FunctionSpec]:
        """Give the functions of the current snapshot whose dependencies are injected in this process."""
        return [endpoint.spec for endpoint in self.endpoints() if self._places.injects_here(endpoint.spec)]

    def commit(self, operations: Sequence[Addition | Removal], *, vetted: bool = False) -> Snapshot:
        """Apply a transaction: all of it or nothing.

        Args:
            operations: in order.
            vetted: whether the hooks have been asked about each function already.

        Returns:
            The new snapshot.

        Raises:
            JackfieldError: the reason why nothing has changed.
        """
        self.admit()
        workshop = Workshop(self._wire)
        asked = vetted
        latest: transaction.Change | None = None

        def plan(state: State) -> Commit:
            nonlocal asked, latest
            change = latest = transaction.plan(state.snapshot, operations)
            for spec in change.added:
                self._check(spec, state.expectations)
            if not asked:
                self._hooks.vet(change.added)
                asked = True
            if state.wiring.running and workshop.is_new(state.wiring):
                self._check_graph(change.added)
            wired = workshop.endpoints(change.added, state.wiring)
            after = transaction.applied(state.snapshot, change, wired)
            return self._step(state, after, added=change.added, removed=change.removed, touched=change.touched)

        with workshop:
            link = self._change(plan)
        if latest is not None:
            _warn(latest)
        self._news.settle(link)
        return link.value.state.snapshot

    def rollback(self, revision: int) -> Snapshot:
        """Make the functions and rules of an earlier revision current again, as a new revision.

        Args:
            revision: one that is kept.

        Returns:
            The new snapshot.

        Raises:
            LookupError: if it is not kept.
            InjectionError: if what comes back can no longer be injected.
        """
        self.admit()
        workshop = Workshop(self._wire)

        def plan(state: State) -> Commit:
            old = next((kept for kept in state.kept if kept.revision == revision), None)
            if old is None:
                kept = ", ".join(str(each.revision) for each in state.kept)
                raise LookupError(f"revision {revision} is not kept: use one of {kept}")
            old = routes.revived(old, state.snapshot)
            here = {endpoint.spec: endpoint for endpoint in _endpoints(state.snapshot)}
            there = {endpoint.spec for endpoint in _endpoints(old)}
            back = tuple(spec for spec in there if spec not in here)
            gone = tuple(endpoint for spec, endpoint in here.items() if spec not in there)
            if state.wiring.running and workshop.is_new(state.wiring):
                self._check_graph(back)
            found = {**here, **workshop.endpoints(back, state.wiring)}
            after = routes.rolled_back(state.snapshot, old, found.__getitem__)
            return self._step(state, after, added=back, removed=gone, touched={*old.routes, *state.snapshot.routes})

        with workshop:
            link = self._change(plan)
        self._news.settle(link)
        return link.value.state.snapshot

    def decide(self, change: Callable[[Snapshot], Snapshot | None]) -> Snapshot:
        """Change rules, canaries or permissions; versions stay as they are.

        Args:
            change: gives the snapshot that is to follow, or None to change nothing; raises to change nothing. It may be
                called several times, with a later snapshot each time.

        Returns:
            The new snapshot.
        """
        self.admit()

        def plan(state: State) -> Commit | None:
            after = change(state.snapshot)
            if after is None:
                return None
            before = state.snapshot.routes
            touched = [name for name, route in after.routes.items() if before.get(name) is not route]
            return self._step(state, after, touched=touched)

        link = self._change(plan)
        self._news.settle(link)
        return link.value.state.snapshot

    def reroute(self, name: str, default: str) -> Snapshot:
        """Make a version the default of a function, and whenever it is registered again.

        Args:
            name: the function; it is there.
            default: one of its versions.

        Returns:
            The new snapshot.

        Raises:
            LookupError: if there is no such function or version.
            PluginError: if the function is under trial.
        """

        def change(snapshot: Snapshot) -> Snapshot:
            route = snapshot.routes[name]
            if default not in route.endpoints:
                raise LookupError(default)
            if route.split is not None and route.split.trial:
                reason = f"{name} is under trial, with {route.split.trial}"
                raise PluginError(name, "route", reason, "promote or abort that canary first")
            return routes.redecided(snapshot, [name], rules=routes.with_default(snapshot.rules, {name: default}))

        return self.decide(change)

    def set_rules(self, rules: Mapping[str, Rule]) -> Snapshot:
        """Replace what is said of functions, registered or not, in place of all that was said before.

        Args:
            rules: by name.

        Returns:
            The new snapshot.
        """
        return self.decide(
            lambda snapshot: (
                routes.redecided(snapshot, {*snapshot.rules, *rules}, rules=rules) if rules != snapshot.rules else None
            )
        )

    def set_permissions(self, permissions: Permissions) -> Snapshot:
        """Replace what tenants may do.

        Args:
            permissions: from now on.

        Returns:
            The new snapshot; it is no new revision, unless a split goes by the labels of tenants that have others now.
        """
        return self.decide(lambda snapshot: trials.permitted(snapshot, permissions))

    def publish(self, records: Mapping[str, PluginRecord], events: Iterable[object] = ()) -> None:
        """Show what there is to know of the plugins now: no new revision. It runs nobody's code and waits for nobody.

        Args:
            records: name → record, in the order in which they were declared.
            events: what has happened, for hooks and subscribers; whoever calls `deliver` next tells them.
        """
        plugins = MappingProxyType(dict(records))
        happened = tuple(events)
        hooks = tuple(found for event in happened if (found := hook_of(event)) is not None)
        self._change(
            lambda state: Commit(
                state.followed_by(attrs.evolve(state.snapshot, plugins=plugins)), hooks=hooks, events=happened
            )
        )

    def deliver(self) -> None:
        """Call the hooks, and queue the events, that are due; subscribers are not waited for."""
        self._news.tell(self._registry.last.number)

    def expect(self, point: Expectation) -> None:
        """Hold all functions, those that are there and those that come, to an extension point.

        Args:
            point: what is expected.

        Raises:
            ContractError: if a function that is there does not fit.
        """

        def plan(state: State) -> Commit:
            transaction.check_expectations((endpoint.spec for endpoint in _endpoints(state.snapshot)), [point])
            return Commit(attrs.evolve(state, expectations=(*state.expectations, point)))

        self._change(plan)

    def refusals(self, spec: FunctionSpec) -> tuple[Fault, ...]:
        """Check one function by itself and ask the hooks about it, ahead of its transaction.

        Args:
            spec: the function.

        Returns:
            Why it must be left out; empty if it need not.
        """
        try:
            self._check(spec, self.state.expectations)
            self._hooks.vet([spec])
        except (ContractError, PluginError) as error:
            return error.faults
        return ()

    def taken(self, spec: FunctionSpec, plugin: str) -> tuple[Fault, ...]:
        """Say who has a function's name and version already, unless the plugin itself has it.

        Args:
            spec: the function.
            plugin: whose it is.
        """
        route = self._registry.snapshot.routes.get(spec.name)
        there = route.endpoints.get(spec.version) if route is not None else None
        if there is None or there.spec.plugin == plugin:
            return ()
        reason = f"{spec.key} is served by {there.spec.plugin or 'the host'} already"
        return (Fault("duplicate", plugin, spec.key, reason, "give it another name or version, or unload the other"),)

    def open(self) -> None:
        """Check the graph as a whole, and let calls in.

        Raises:
            InjectionError: with every fault.
            Unavailable: after a fork.
        """
        self.check_process()

        def wiring(before: Wiring) -> Wiring:
            self._injector.check(self.injected())
            self._injector.check_overrides(self.injected())
            return attrs.evolve(before, running=True)

        self._rewire(wiring, lambda _: True)

    def close(self, timeout: float) -> tuple[Call, ...]:
        """Let no more calls in, and wait for those that are inside.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The calls that are still inside.
        """
        old = self._rewire(
            lambda wiring: attrs.evolve(wiring, running=False, refusal="the host has stopped"), lambda _: True
        )
        return _drain(old, timeout)

    def watch(self, watchers: Mapping[str, Observer], *, until: bool = False) -> None:
        """Let further observers see the calls of some function versions, or end that.

        Args:
            watchers: `name@version` → who watches it.
            until: end it.
        """

        def wiring(before: Wiring) -> Wiring:
            if not until:
                return attrs.evolve(before, watchers={**before.watchers, **watchers})
            # Another may watch the same version by now.
            left = {key: each for key, each in before.watchers.items() if watchers.get(key) is not each}
            return attrs.evolve(before, watchers=left)

        if watchers:
            self._rewire(wiring, lambda endpoint: endpoint.spec.key in watchers, only_running=True)

    def rewire(self) -> None:
        """Compile every function that has dependencies against the providers and overrides of now."""
        self._rewire(attrs.evolve, lambda endpoint: bool(endpoint.spec.dependencies), only_running=True)

    def drain(self, endpoints: Sequence[Endpoint], timeout: float) -> tuple[Call, ...]:
        """Wait until nobody is inside any of some retired endpoints.

        Args:
            endpoints: they are no longer in the snapshot.
            timeout: seconds to wait at most.

        Returns:
            The calls that are still inside.
        """
        return _drain(endpoints, timeout)

    def purge(self, plugin: str) -> None:
        """Forget a plugin's functions in the history, so that nothing here refers to them.

        Args:
            plugin: whose functions; they are unregistered already.
        """

        def plan(state: State) -> Commit:
            history = tuple(routes.without(kept, plugin) for kept in state.history)
            return Commit(attrs.evolve(state, history=history, left=tuple(gate for gate in state.left if gate.calls)))

        self._news.settle(self._change(plan))

    def let_go(self, names: Collection[str], which: Callable[[FunctionSpec], bool]) -> None:
        """Keep some functions by name and version alone in the history: what they belong to has ended.

        A rollback puts what their plugins serve by then in their place, or nothing.

        Args:
            names: where to look.
            which: tells those functions; they are unregistered already.
        """

        def plan(state: State) -> Commit | None:
            history = tuple(routes.let_go(kept, names, which) for kept in state.history)
            if all(after is before for after, before in zip(history, state.history, strict=True)):
                return None
            gates = (
                found.gate
                for kept in state.history
                for name in names
                if name in kept.routes
                for found in kept.routes[name].endpoints.values()
            )
            left = tuple(gate for gate in dict.fromkeys((*state.left, *gates)) if gate.calls)
            return Commit(attrs.evolve(state, history=history, left=left))

        self._change(plan)

    def admit(self) -> None:
        """Refuse a change where none can be made.

        Raises:
            JackfieldError: from within `jackfield_register`.
            Unavailable: after a fork.
        """
        self.check_process()
        self._hooks.refuse_reentry()

    def check_process(self) -> None:
        """Refuse to work in a child process.

        Raises:
            Unavailable: after a fork.
        """
        if os.getpid() != self._pid:
            raise self.forked()

    def forked(self) -> Unavailable:
        """Make the error of a host that is used after a fork."""
        reason = f"it belongs to process {self._pid}: threads and loops do not survive a fork, make a host in the child"
        return Unavailable("host", reason)

    # ---- inside ----

    def _change(self, plan: Callable[[State], Commit | None]) -> Link[Commit]:
        """Make a change of the state, planned again as often as another one comes first; None changes nothing."""
        while True:
            before = self._registry.last
            commit = plan(before.value.state)
            if commit is None:
                return before
            link = self._registry.commit(before, commit)
            if link is not None:
                return link

    def _step(
        self,
        state: State,
        after: Snapshot,
        *,
        added: Iterable[FunctionSpec] = (),
        removed: Sequence[Endpoint] = (),
        touched: Iterable[str] = (),
    ) -> Commit:
        """Give a change and its news."""
        news = news_of(state.snapshot, after, added, removed, touched)
        return Commit(state.followed_by(after), tuple(removed), *news)

    def _rewire(
        self,
        wiring: Callable[[Wiring], Wiring],
        which: Callable[[Endpoint], bool],
        *,
        only_running: bool = False,
    ) -> tuple[Endpoint, ...]:
        """Replace some endpoints by newly compiled ones, in the same revision; give the old."""
        workshop = Workshop(self._wire_anyhow)
        generation = -1
        current: Wiring | None = None
        old: tuple[Endpoint, ...] = ()

        def plan(state: State) -> Commit:
            nonlocal generation, current, old
            after = wiring(state.wiring)
            old = () if only_running and not after.running else tuple(filter(which, _endpoints(state.snapshot)))
            if self._injector.generation != generation or current is None or not _alike(after, current):
                generation, current = self._injector.generation, after
            fresh = workshop.endpoints([endpoint.spec for endpoint in old], current)
            snapshot = routes.rewired(state.snapshot, lambda endpoint: fresh.get(endpoint.spec, endpoint))
            left = tuple(gate for gate in (*state.left, *(endpoint.gate for endpoint in old)) if gate.calls)
            return Commit(attrs.evolve(state, snapshot=snapshot, wiring=after, left=left), retired=old)

        with workshop:
            link = self._change(plan)
        self._news.settle(link)
        return old

    def _wire(self, spec: FunctionSpec, wiring: Wiring) -> Endpoint:
        if wiring.running:
            watcher = wiring.watchers.get(spec.key)
            return self._compile(spec, () if watcher is None else (watcher,))
        return compile_refusal(spec, lambda call: Unavailable(call.name, wiring.refusal, ran=False), ())

    def _wire_anyhow(self, spec: FunctionSpec, wiring: Wiring) -> Endpoint:
        """Do the same for a function that is there already: what it needs may have gone."""
        try:
            return self._wire(spec, wiring)
        except (ContractError, InjectionError) as error:
            what = "what it needs is gone" if isinstance(error, InjectionError) else "it cannot be called"
            reason = f"{what}: {error.faults[0].reason}" if error.faults else str(error)
            return compile_refusal(spec, lambda call: Unavailable(call.name, reason, "blocked", ran=False), ())

    def _check_graph(self, specs: Iterable[FunctionSpec]) -> None:
        self._injector.check([spec for spec in specs if self._places.injects_here(spec)])

    def _check(self, spec: FunctionSpec, expectations: Iterable[Expectation]) -> None:
        """Check what concerns one function alone.

        Raises:
            ContractError: if it does not fit an extension point, or cannot run with the executor that it asks for.
        """
        transaction.check_expectations([spec], expectations)
        self._places.check(spec)


def _alike(one: Wiring, other: Wiring) -> bool:
    """Tell whether endpoints compiled against one wiring do for another."""
    return (one.running, one.refusal, one.watchers) == (other.running, other.refusal, other.watchers)


def _endpoints(snapshot: Snapshot) -> Iterator[Endpoint]:
    for route in snapshot.routes.values():
        yield from route.endpoints.values()


def _drain(endpoints: Sequence[Endpoint], timeout: float) -> tuple[Call, ...]:
    """Wait until nobody is inside any of some retired endpoints; give the calls that are still there."""
    end = monotonic() + timeout
    for endpoint in endpoints:
        endpoint.gate.drain(max(end - monotonic(), 0.0))
    return tuple(call for endpoint in endpoints for call in list(endpoint.gate.calls))


def _warn(change: transaction.Change) -> None:
    """Say how versions of one name differ: allowed, but a caller should know."""
    for name, versions in change.touched.items():
        specs = [found.spec if isinstance(found, Endpoint) else found for found in versions.values()]
        for new in specs[1:]:
            if new not in change.added:
                continue
            try:
                with barrier("comparing them"):
                    differences = contract.changes(specs[0], new)
            except Broken as broken:
                differences = (broken.reason,)
            if differences:
                text = f"{name}: {new.version} differs from {specs[0].version}: {'; '.join(differences)}"
                host_log("WARNING", text)
