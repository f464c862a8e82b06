"""The functions of one host: every change of them, from the check of a transaction to the news of it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic

from jackfield.calls.pipeline import compile_refusal
from jackfield.contract import changes
from jackfield.errors import ContractError, Fault, PluginError, Unavailable
from jackfield.events import Announcement, EventBus, FunctionRegistered, FunctionUnregistered, RouteChanged
from jackfield.executors.places import Places
from jackfield.hooks import Hooks
from jackfield.injection.injector import Injector
from jackfield.model.call import Call
from jackfield.model.record import PluginRecord
from jackfield.model.route import Endpoint, Route, Rule
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.observe.logger import host_log
from jackfield.ports import Observer
from jackfield.registry import change as transaction
from jackfield.registry.change import Addition, Expectation, Removal
from jackfield.registry.registry import Registry

Compile = Callable[[FunctionSpec, Sequence[Observer]], Endpoint]


class Functions:
    """Makes every change of a registry, in this order: plan, check, ask the hooks, compile, swap, tell.

    All up to the swap happens under the registry's write lock, and raises without having changed anything. What is told
    is queued under the lock and delivered after it, so that everybody hears of the revisions in their order.

    Until `open`, and after `close`, functions are there but refuse calls.

    Args:
        registry: what is changed.
        injector: must be able to serve what is registered.
        hooks: are asked and told.
        events: is told.
        compiler: makes an endpoint of a spec.
        places: where functions can run.

    Attributes:
        running: whether calls are let in.
        rules: what the configuration says of functions, registered or not.
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
        self._events = events
        self._compile = compiler
        self._places = places
        self._expectations: tuple[Expectation, ...] = ()
        self._pid = os.getpid()
        self._watchers: Mapping[str, Observer] = {}
        self._refusal = "the host is not started: use `with host:` or `host.start()`"
        self.running = False
        self.rules: Mapping[str, Rule] = {}

    def endpoints(self) -> Iterator[Endpoint]:
        """Walk the endpoints of the current snapshot."""
        return _endpoints(self._registry.snapshot)

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
        self.check_process()
        self._hooks.refuse_reentry()
        with self._registry.writing() as snapshot:
            change = transaction.plan(snapshot.routes, operations)
            for spec in change.added:
                self.check(spec)
            if not vetted:
                self._hooks.vet(change.added)
            self._check_graph(change.added)
            wired = {spec: self._wire(spec) for spec in change.added}
            _warn(change)
            new = transaction.routes(change, snapshot.routes, wired, self.rules)
            announcement = self._swap(new, change.added, change.removed, change.touched)
        self._deliver(announcement)
        return self._registry.snapshot

    def rollback(self, revision: int) -> Snapshot:
        """Make the functions of an earlier revision current again, as a new revision.

        Args:
            revision: one that is kept.

        Returns:
            The new snapshot.

        Raises:
            LookupError: if it is not kept.
            InjectionError: if what comes back can no longer be injected.
        """
        self.check_process()
        self._hooks.refuse_reentry()
        with self._registry.writing() as snapshot:
            old = self._registry.revision(revision)
            if old is None:
                kept = ", ".join(map(str, self._registry.revisions))
                raise LookupError(f"revision {revision} is not kept; there are {kept}")
            here = {endpoint.spec: endpoint for endpoint in _endpoints(snapshot)}
            there = {endpoint.spec for endpoint in _endpoints(old)}
            back = [spec for spec in there if spec not in here]
            gone = [endpoint for spec, endpoint in here.items() if spec not in there]
            self._check_graph(back)
            new = transaction.rewired(old.routes, lambda e: here.get(e.spec) or self._wire(e.spec))
            new = {name: _without_trial(route) for name, route in new.items()}
            announcement = self._swap(new, back, gone, old.routes)
        self._deliver(announcement)
        return self._registry.snapshot

    def reroute(self, change: Callable[[Route], Route], names: Iterable[str]) -> Snapshot:
        """Change the rules of some routes in one swap; versions stay as they are.

        Args:
            change: gives the new route; raises to change nothing.
            names: the functions; one that is gone is passed over.

        Returns:
            The new snapshot.
        """
        self.check_process()
        with self._registry.writing() as snapshot:
            new = {name: change(snapshot.routes[name]) for name in names if name in snapshot.routes}
            revision = self._registry.swap({**snapshot.routes, **new}).revision
            news = [RouteChanged(name, route.default, revision) for name, route in new.items()]
            announcement = self._events.announce(news)
        self._deliver(announcement)
        return self._registry.snapshot

    def expect(self, point: Expectation) -> None:
        """Hold all functions, those that are there and those that come, to an extension point.

        Args:
            point: what is expected.

        Raises:
            ContractError: if a function that is there does not fit.
        """
        with self._registry.writing():
            transaction.check_expectations((endpoint.spec for endpoint in self.endpoints()), [point])
            self._expectations = (*self._expectations, point)

    def check(self, spec: FunctionSpec) -> None:
        """Check what concerns one function alone.

        Args:
            spec: the function.

        Raises:
            ContractError: if it does not fit an extension point, or cannot run with the executor that it asks for.
        """
        transaction.check_expectations([spec], self._expectations)
        self._places.check(spec)

    def refusals(self, spec: FunctionSpec) -> tuple[Fault, ...]:
        """Check one function by itself and ask the hooks about it, ahead of its transaction.

        Args:
            spec: the function.

        Returns:
            Why it must be left out; empty if it need not.
        """
        try:
            self.check(spec)
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

    def publish(self, records: Mapping[str, PluginRecord]) -> None:
        """Take over the records of all plugins."""
        self.records = records

    def open(self) -> None:
        """Check the graph as a whole, and let calls in.

        Raises:
            InjectionError: with every fault.
            Unavailable: after a fork.
        """
        self.check_process()
        with self._registry.writing():
            self._injector.check([e.spec for e in self.endpoints() if self._places.injects_here(e.spec)])
            self.running = True
            self._rewire(lambda _: True)

    def close(self, timeout: float) -> tuple[Call, ...]:
        """Let no more calls in, and wait for those that are inside.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The calls that are still inside.
        """
        with self._registry.writing():
            self._refusal = "the host has stopped"
            self.running = False
            old = self._rewire(lambda _: True)
        return _drain(old, timeout)

    def watch(self, watchers: Mapping[str, Observer], *, until: bool = False) -> None:
        """Let further observers see the calls of some function versions, or end that.

        Args:
            watchers: `name@version` → who watches it.
            until: end it.
        """
        if not watchers:
            return
        with self._registry.writing():
            if until:  # another may watch the same version by now
                mine = {key for key, watcher in watchers.items() if self._watchers.get(key) is watcher}
                self._watchers = {key: watcher for key, watcher in self._watchers.items() if key not in mine}
            else:
                mine = set(watchers)
                self._watchers = {**self._watchers, **watchers}
            if self.running:
                self._rewire(lambda endpoint: endpoint.spec.key in mine)

    def rewire(self) -> None:
        """Compile every function that has dependencies against the providers and overrides of now."""
        with self._registry.writing():
            if self.running:
                self._rewire(lambda endpoint: bool(endpoint.spec.dependencies))

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

        def keep(route: Route) -> Route | None:
            left = {version: e for version, e in route.endpoints.items() if e.spec.plugin != plugin}
            if len(left) == len(route.endpoints):
                return route
            default = route.default if route.default in left else next(iter(left), None)
            return None if default is None else Route(route.name, default, left)

        with self._registry.writing():
            self._registry.purge(keep)

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

    def _rewire(self, which: Callable[[Endpoint], bool]) -> list[Endpoint]:
        """Replace some endpoints by newly compiled ones; give the old, retired. Only inside `writing()`."""
        old = [endpoint for endpoint in self.endpoints() if which(endpoint)]
        if old:
            new = transaction.rewired(
                self._registry.snapshot.functions, lambda e: self._wire(e.spec) if which(e) else e
            )
            self._registry.swap(new)
        for endpoint in old:
            endpoint.gate.retired = True
            endpoint.close()
        return old

    def _wire(self, spec: FunctionSpec) -> Endpoint:
        if self.running:
            watcher = self._watchers.get(spec.key)
            return self._compile(spec, () if watcher is None else (watcher,))
        return compile_refusal(spec, lambda call: Unavailable(call.name, self._refusal), ())

    def _check_graph(self, specs: Sequence[FunctionSpec]) -> None:
        if self.running:
            self._injector.check([spec for spec in specs if self._places.injects_here(spec)])

    def _swap(
        self,
        routes: dict[str, Route],
        added: Iterable[FunctionSpec],
        removed: Iterable[Endpoint],
        touched: Iterable[str],
    ) -> Announcement:
        """Swap, and queue the news while the order is ours. Only inside `writing()`."""
        before = self._registry.snapshot.routes
        revision = self._registry.swap(routes).revision
        news: list[object] = []
        for endpoint in removed:
            endpoint.gate.retired = True
            endpoint.close()
            self._hooks.queue("jackfield_unregistered", function=endpoint.spec)
            news.append(FunctionUnregistered(endpoint.spec, revision))
        for spec in added:
            self._hooks.queue("jackfield_registered", function=spec)
            news.append(FunctionRegistered(spec, revision))
        moved = [name for name in {*touched} & before.keys() & routes.keys() if _differ(before[name], routes[name])]
        news += [RouteChanged(name, routes[name].default, revision) for name in moved]
        return self._events.announce(news)

    def _deliver(self, announcement: Announcement) -> None:
        """Deliver the news: to the hooks in this thread, then wait for the subscribers of the bus, a second at most."""
        self._hooks.deliver()
        announcement.wait()


def _endpoints(snapshot: Snapshot) -> Iterator[Endpoint]:
    for route in snapshot.routes.values():
        yield from route.endpoints.values()


def _without_trial(route: Route) -> Route:
    """Drop the split of a canary: whoever made it may have ended, and nobody could end it again."""
    if route.split is None or not route.split.trial:
        return route
    return Route(route.name, route.default, route.endpoints)


def _differ(old: Route, new: Route) -> bool:
    return (old.default, old.split) != (new.default, new.split)


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
            if new in change.added and (differences := changes(specs[0], new)):
                text = f"{name}: {new.version} differs from {specs[0].version}: {'; '.join(differences)}"
                host_log("WARNING", text)
