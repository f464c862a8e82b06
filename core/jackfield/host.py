"""The composition root: a host wires registry, injection, executors, hooks, events and observers."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import attrs

from jackfield import boot, transaction
from jackfield.contract import changes, fits
from jackfield.discovery import FUNCTIONS, HOOKS, PROVIDERS, Candidate, Catalogue, Switches, scan
from jackfield.dispatch import Caller, compile_endpoint, compile_refusal
from jackfield.errors import AsyncCallRequired, ContractError, Fault, FunctionNotFound, PluginError, Unavailable
from jackfield.events import Announcement, EventBus, FunctionRegistered, FunctionUnregistered
from jackfield.executors.loop import HomeLoop
from jackfield.executors.thread import ThreadExecutor
from jackfield.handles import Function, Registration
from jackfield.hooks import Hooks
from jackfield.injection.closing import TeardownFailure
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe, value_provider
from jackfield.model.call import Call
from jackfield.model.names import close_names
from jackfield.model.options import Config
from jackfield.model.route import Endpoint, Route
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logger import Logger, host_log
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans
from jackfield.ports import Executor, Observer
from jackfield.registry import Registry
from jackfield.transaction import Addition, Expectation, Removal, Update

P = TypeVar("P")
R = TypeVar("R")

_UNKNOWN = FunctionSpec("(unknown)", "", "", "", target=lambda: None, colour=Colour.SYNC)


class Host(Caller):
    """Calls functions by name, with everything around them.

    A host is used as a context manager, sync or async. It can be filled before it is started; calls are taken once it
    is.

    Args:
        observers: see every call; the default is `Spans()`, `Metrics()` and `Logs()` on the process's own providers,
            `()` is none.
        executors: further places to run functions, by the name that policies use.
        timeout: seconds for calls that neither their caller nor their function limits.

    Attributes:
        events: the event bus.
        faults: everything that was left out when plugins were loaded, and why.

    Examples:
        >>> with Host(observers=()) as host:
        ...     _ = host.register("text.shout", str.upper)
        ...     host.call("text.shout", "hello")
        'HELLO'
    """

    def __init__(
        self,
        *,
        observers: Sequence[Observer] | None = None,
        executors: Mapping[str, Executor] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._observers = (Spans(), Metrics(), Logs()) if observers is None else tuple(observers)
        self._extra_executors = dict(executors or {})
        self._home = HomeLoop()
        self._threads = ThreadExecutor()
        self._hooks = Hooks()
        self._expectations: tuple[Expectation, ...] = ()
        self._options: dict[str, Mapping[str, Any]] = {}
        self._timeout = timeout
        self._state = "new"
        self._pid = os.getpid()
        self._lazy: dict[str, Candidate] = {}
        self._loading = threading.RLock()
        self._catalogue = Catalogue()
        self.faults: tuple[Fault, ...] = ()
        self.events = EventBus(lambda coroutine: self._home.submit("events", coroutine))
        unknown = compile_refusal(_UNKNOWN, self._not_found, self._observers)
        super().__init__(Registry(), unknown, self._load)
        self._caller = caller = Caller(self._registry, unknown, self._load)
        self._injector = Injector(
            contextual={
                Logger: Logger,
                Config: lambda plugin: Config(plugin, self._options.get(plugin, {})),
                Caller: lambda _: caller,
                EventBus: lambda _: self.events,
            }
        )
        _living.add(self)

    # --- Filling
    # ------------------------------------------------------------------------------------------------------------

    @classmethod
    def discover(
        cls,
        *,
        lazy: bool = False,
        strict: bool | None = None,
        path: Sequence[str] | None = None,
        observers: Sequence[Observer] | None = None,
        executors: Mapping[str, Executor] | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Make a host of everything that installed packages advertise.

        All of it is imported and checked here, so that a service fails at start and not at noon. A faulty entry is left
        out alone, with whatever needs it, and stands in `faults`.

        Args:
            lazy: import a function's module at its first use instead, for command-line tools.
            strict: refuse any fault; the default is what `JACKFIELD_STRICT` says.
            path: where to look instead of `sys.path`.
            observers: as for `Host`.
            executors: as for `Host`.
            timeout: as for `Host`.

        Raises:
            PluginError: with all faults, if strict.
        """
        host = cls(observers=observers, executors=executors, timeout=timeout)
        switches = Switches.from_environment(os.environ)
        host._catalogue = catalogue = scan(path, switches=switches)
        host._note(catalogue.faults)
        if lazy:
            host._lazy = {candidate.name: candidate for candidate in catalogue.group(FUNCTIONS)}
            host._adopt(boot.load_all(catalogue, (HOOKS,)))
        else:
            host._adopt(boot.load_all(catalogue))
        if host.faults and (switches.strict if strict is None else strict):
            first = host.faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, host.faults)
        return host

    def _adopt(self, loaded: boot.Loaded) -> None:
        """Take over what was loaded; what is faulty, or needs something faulty, is left out and noted."""
        faults = list(loaded.faults)
        for implementation, plugin in loaded.hooks:
            try:
                self._hooks.add(implementation, plugin)
            except PluginError as error:
                faults.append(Fault(error.stage, plugin, type(implementation).__name__, error.reason, error.fix))
        self._injector.add(*loaded.providers)
        diagnosis = self._injector.diagnose(loaded.functions)
        self._injector.remove(*diagnosis.providers)
        faults += diagnosis.faults
        additions = []
        for spec in loaded.functions:
            if spec.key in diagnosis.functions:
                continue
            try:
                self._check(spec)
                self._hooks.vet([spec])
            except (ContractError, PluginError) as error:
                faults += error.faults
            else:
                additions.append(Addition(spec))
        self._note(faults)
        self._commit(additions, vetted=True)

    def _note(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.faults = (*self.faults, fault)
            host_log("WARNING", fault)

    def register(self, name: str, target: Callable[..., Any], *, version: str = "0", plugin: str = "") -> Registration:
        """Register a function.

        Args:
            name: the dotted name it will be called by.
            target: any callable.
            version: its version; the first version of a name is the default route.
            plugin: the plugin it is counted to.

        Returns:
            A registration, whose `remove()` undoes exactly this.

        Raises:
            ContractError: with every fault of the function.
            DuplicateFunction: if the name and version is taken.
            InjectionError: if its dependencies cannot be injected.
            PluginError: if a hook refuses it.
        """
        with self.update() as tx:
            spec = tx.register(name, target, version=version, plugin=plugin)
        return Registration(spec, lambda gone: self._commit([Removal(gone.name, gone.version, only=gone)]))

    def unregister(self, name: str, *, version: str | None = None) -> None:
        """Remove a function: all its versions, or one.

        Raises:
            FunctionNotFound: if it is not there.
            PluginError: if its default version were removed while others remain.
        """
        with self.update() as tx:
            tx.unregister(name, version=version)

    @contextmanager
    def update(self) -> Iterator[Update]:
        """Change several functions in one swap: all of it or none of it, one revision.

        Raises:
            JackfieldError: as for `register` and `unregister`; then nothing has changed.
        """
        self._hooks.refuse_reentry()
        tx = Update()
        yield tx
        if tx.operations:
            self._commit(tx.operations)

    def rollback(self, revision: int) -> Snapshot:
        """Bring back the functions of an earlier revision, as a new revision; hooks see the differences.

        Args:
            revision: one of the last 16.

        Returns:
            The new snapshot.

        Raises:
            LookupError: if that revision is no longer kept.
        """
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
            routes = transaction.rewired(old.functions, lambda e: here.get(e.spec) or self._wire(e.spec))
            announcement = self._swap(routes, back, gone)
        self._deliver(announcement)
        return self._registry.snapshot

    def expect(self, pattern: str, payload: Any, result: Any) -> None:
        """Declare an extension point: whatever is registered under the pattern must fit, now and later.

        Args:
            pattern: names as `fnmatch` has them: `export.*`.
            payload: the payload type that will be passed.
            result: the result type that is expected.

        Raises:
            ContractError: if a function that is registered already does not fit, with what differs.
        """
        point = Expectation(pattern, payload, result)
        with self._registry.writing() as snapshot:
            transaction.check_expectations((endpoint.spec for endpoint in _endpoints(snapshot)), [point])
            self._expectations = (*self._expectations, point)

    def provide(self, provider: Any, *, type: Any = None, name: str | None = None, plugin: str = "") -> None:  # noqa: A002
        """Add a provider: a factory, or a value.

        Args:
            provider: a factory marked with `@provides`, or any class or function with a return annotation; with `type`,
                the value itself.
            type: the type to provide the value as.
            name: the name to provide the value under.
            plugin: the plugin it is counted to.

        Raises:
            InjectionError: if the graph has faults with it; then nothing has changed.
        """
        if type is None and name is None:
            made = describe(provider, plugin=plugin)
        else:
            made = value_provider(provider, type=type, name=name, plugin=plugin)
        with self._registry.writing():
            if self._state == "running" and (diagnosis := self._injector.diagnose(adding=[made])).faults:
                raise diagnosis.error()
            self._injector.add(made)
            self._rewire_injected()

    @contextmanager
    def override(self, values: Mapping[Any, object]) -> Iterator[None]:
        """Inject other objects within a block, for tests.

        Singletons that depend on them are made anew within it, even if they were made before. Overrides nest.

        Args:
            values: type (or `Key(type, name)`) → the object to inject.
        """
        layer = self._injector.override(values)
        with self._registry.writing():
            self._rewire_injected()
        try:
            yield
        finally:
            with self._registry.writing():
                closing = self._injector.restore(layer)
                self._rewire_injected()
            self._report(closing.close(self._home.run))

    # --- Reading
    # ------------------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The current revision and its functions: read it once, use what it gave."""
        return self._registry.snapshot

    @property
    def revisions(self) -> tuple[int, ...]:
        """The revisions that `rollback` can reach, oldest first; the last is the current one."""
        return self._registry.revisions

    def function(self, name: str, payload: type[P], result: type[R]) -> Function[P, R]:
        """Make a typed handle of a function, checked against its contract now.

        Args:
            name: the function.
            payload: the type that will be passed.
            result: the type that is expected.

        Raises:
            FunctionNotFound: if it is not there.
            ContractError: if its contract does not fit, with what differs.
        """
        route = self._route(name)
        differences = fits(route.spec, payload, result)
        if differences:
            fix = f"use the types that `pluginctl info {name}` shows"
            faults = tuple(Fault("contract", route.spec.plugin, route.spec.key, text, fix) for text in differences)
            raise ContractError(name, faults)
        return Function(self, name)

    def graph(self, style: Literal["mermaid", "dot"] = "mermaid") -> str:
        """Draw the functions, what is injected into them, and the scopes.

        Args:
            style: `mermaid` or `dot`.
        """
        from jackfield.injection.drawing import dot, mermaid  # noqa: PLC0415

        draw = mermaid if style == "mermaid" else dot
        return draw(self._injector.providers, [endpoint.spec for endpoint in _endpoints(self.snapshot)])

    def _route(self, name: str) -> Route:
        route = self.snapshot.functions.get(name)
        if route is None and self._load(name):
            route = self.snapshot.functions.get(name)
        if route is None:
            raise self._not_found(Call(name))
        return route

    def _not_found(self, call: Call) -> FunctionNotFound:
        route = self.snapshot.functions.get(call.name)
        if route is not None:
            return FunctionNotFound(call.name, version=call.version, versions=tuple(sorted(route.endpoints)))
        fault = next((fault for fault in self.faults if fault.entry.partition("@")[0] == call.name), None)
        known = () if fault else (*self.snapshot.functions, *self._lazy)
        return FunctionNotFound(call.name, close_names(call.name, known), call.version or None, fault=fault)

    # --- Starting and stopping
    # ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Validate the injection graph, make every function callable. `with host:` does this.

        Raises:
            InjectionError: with every fault of the graph.
            Unavailable: after a fork.
        """
        if os.getpid() != self._pid:
            raise _forked(self._pid)
        with self._registry.writing() as snapshot:
            if self._state == "running":
                return
            self._check_graph([endpoint.spec for endpoint in _endpoints(snapshot)], always=True)
            self._home.open()
            self._threads = ThreadExecutor()
            self._watches = [
                observer.watch("thread", self._threads.stats)
                for observer in self._observers
                if isinstance(observer, Metrics)
            ]
            self._state = "running"
            self._registry.swap(transaction.rewired(snapshot.functions, lambda endpoint: self._wire(endpoint.spec)))

    def stop(self) -> None:
        """Refuse further calls, close singletons in reverse order, end the host's threads; `with host:` ends so.

        Raises:
            AsyncCallRequired: on the host's own event loop: leave the `async with` block instead.
        """
        if self._home.is_here:
            raise AsyncCallRequired("host.stop")
        if self._refuse_calls():
            self._report(self._injector.close(self._home.run))
            self._end()

    def _refuse_calls(self) -> bool:
        with self._registry.writing() as snapshot:
            if self._state != "running":
                return False
            self._state = "stopped"
            old = list(_endpoints(snapshot))
            self._registry.swap(transaction.rewired(snapshot.functions, lambda endpoint: self._wire(endpoint.spec)))
        for endpoint in old:
            endpoint.close()
        return True

    def _report(self, failures: Iterable[TeardownFailure]) -> None:
        for failure in failures:
            host_log("ERROR", failure.fault)

    def _end(self) -> None:
        self.events.close()
        for unwatch in self._watches:
            unwatch()
        busy = self._threads.close()
        if busy:
            host_log("WARNING", f"{busy} threads still run functions whose callers have left")
        self._home.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start, with the running loop as the home loop."""
        self._home.adopt()
        self.start()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Stop."""
        if self._refuse_calls():
            self._report(await self._injector.aclose())
            await asyncio.to_thread(self._end)

    # --- Inside
    # -------------------------------------------------------------------------------------------------------------

    def _commit(self, operations: Sequence[Addition | Removal], *, vetted: bool = False) -> None:
        """Check a transaction as a whole, swap, tell hooks and subscribers."""
        if os.getpid() != self._pid:
            raise _forked(self._pid)
        with self._registry.writing() as snapshot:
            change = transaction.plan(snapshot.functions, operations)
            for spec in change.added:
                self._check(spec)
            if not vetted:
                self._hooks.vet(change.added)
            self._check_graph(change.added)
            wired = {spec: self._wire(spec) for spec in change.added}
            self._warn(change)
            routes = transaction.routes(change, snapshot.functions, wired)
            announcement = self._swap(routes, change.added, change.removed)
        self._deliver(announcement)

    def _check(self, spec: FunctionSpec) -> None:
        transaction.check_expectations([spec], self._expectations)
        places = {"inline", "thread", *self._extra_executors}
        if spec.policy.executor is not None and spec.policy.executor not in places:
            reason = f"there is no executor {spec.policy.executor!r}"
            fix = f"use one of {', '.join(sorted(places))}"
            raise ContractError(spec.name, (Fault("contract", spec.plugin, spec.key, reason, fix),))

    def _check_graph(self, specs: Sequence[FunctionSpec], *, always: bool = False) -> None:
        if self._state == "running" or always:
            self._injector.check(specs)

    def _warn(self, change: transaction.Change) -> None:
        for name, versions in change.touched.items():
            specs = [found.spec if isinstance(found, Endpoint) else found for found in versions.values()]
            for new in specs[1:]:
                if new in change.added and (differences := changes(specs[0], new)):
                    said = f"{name}: {new.version} differs from {specs[0].version}: {'; '.join(differences)}"
                    host_log("WARNING", said)

    def _wire(self, spec: FunctionSpec) -> Endpoint:
        if self._state != "running":
            return compile_refusal(spec, self._not_running, ())
        executors = {**self._extra_executors, "thread": self._threads}
        return compile_endpoint(
            spec,
            injector=self._injector,
            observers=self._observers,
            executors=executors,
            home=self._home,
            timeout=self._timeout,
        )

    def _not_running(self, call: Call) -> Unavailable:
        if self._state == "new":
            return Unavailable(call.name, "the host is not started: use `with host:` or `host.start()`")
        return Unavailable(call.name, "the host has stopped")

    def _rewire_injected(self) -> None:
        """Compile every function that has dependencies anew, against the providers of now. Only inside `writing()`."""
        if self._state != "running":
            return
        old = [endpoint for endpoint in _endpoints(self.snapshot) if endpoint.spec.dependencies]
        if old:
            routes = transaction.rewired(
                self.snapshot.functions, lambda e: self._wire(e.spec) if e.spec.dependencies else e
            )
            self._registry.swap(routes)
        for endpoint in old:
            endpoint.close()

    def _swap(
        self, routes: Mapping[str, Route], added: Iterable[FunctionSpec], removed: Iterable[Endpoint]
    ) -> Announcement:
        """Swap, and queue the news while order is still ours. Only inside `writing()`."""
        revision = self._registry.swap(routes).revision
        news: list[object] = []
        for endpoint in removed:
            endpoint.close()
            self._hooks.queue("jackfield_unregistered", function=endpoint.spec)
            news.append(FunctionUnregistered(endpoint.spec, revision))
        for spec in added:
            self._hooks.queue("jackfield_registered", function=spec)
            news.append(FunctionRegistered(spec, revision))
        return self.events.announce(news)

    def _deliver(self, announcement: Announcement) -> None:
        """Deliver the news: hooks first, in this thread; then wait for the subscribers of the bus, a second at most."""
        self._hooks.deliver()
        announcement.wait()

    def _disown(self) -> None:
        """Refuse every call in a child process. Takes no lock: whoever held it did not survive the fork."""
        refusal = compile_refusal(_UNKNOWN, lambda _: _forked(self._pid), ())
        self._unknown = self._caller._unknown = refusal  # noqa: SLF001  # our own caller
        self._registry.snapshot = Snapshot(routes=_Everywhere(Route("*", "", {"": refusal})))

    def _load(self, name: str) -> bool:
        """Import a function that is known by name alone; its first callers load it once."""
        with self._loading:
            candidate = self._lazy.pop(name, None)
            if candidate is None:
                return name in self.snapshot.functions
            wanted = boot.load_all(Catalogue(candidates=(candidate,)), (FUNCTIONS,))
            if any(spec.dependencies for spec in wanted.functions) and not self._injector.providers:
                wanted = attrs.evolve(wanted, providers=boot.load_all(self._catalogue, (PROVIDERS,)).providers)
            self._adopt(wanted)
            return name in self.snapshot.functions


class _Everywhere(dict[str, Route]):
    """A mapping that gives the same route for every name."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def get(self, _name: str, _default: Any = None) -> Route:
        return self._route


def _endpoints(snapshot: Snapshot) -> Iterator[Endpoint]:
    for route in snapshot.functions.values():
        yield from route.endpoints.values()


_living: "weakref.WeakSet[Host]" = weakref.WeakSet()


def _forked(pid: int) -> Unavailable:
    return Unavailable(
        "host", f"it belongs to process {pid}: threads and loops do not survive a fork, make a host in the child"
    )


def _after_fork() -> None:
    """Make the hosts of the parent process refuse calls in the child, without a check on anybody's call path."""
    for host in list(_living):
        host._disown()  # noqa: SLF001  # the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
