"""The composition root: a host wires registry, injection, executors, hooks, events and observers."""

import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import chain
from time import monotonic
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TypeVar

from jackfield import contract
from jackfield.calls.access import permissions
from jackfield.calls.dispatch import Caller
from jackfield.calls.handles import Function, Registration
from jackfield.calls.pipeline import compile_endpoint, compile_refusal
from jackfield.errors import (
    AsyncCallRequired,
    ContractError,
    Fault,
    FunctionNotFound,
    JackfieldError,
    PermissionDenied,
    PluginError,
    ResourceExhausted,
    Unavailable,
)
from jackfield.events import EventBus, PluginBus
from jackfield.executors.places import BUILT_IN, Places
from jackfield.hooks import Hooks
from jackfield.injection.closing import TeardownFailure
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe, value_provider
from jackfield.log import confide, host_log
from jackfield.model.call import Call
from jackfield.model.canary import CanaryStatus
from jackfield.model.deadline import seconds_of
from jackfield.model.options import Config
from jackfield.model.place import place_of
from jackfield.model.record import BuildRecord, Health, PluginRecord, WorkerRecord, WorkerTally
from jackfield.model.route import Endpoint, Route
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.checking import check_observers
from jackfield.observe.logger import Logger
from jackfield.plugins.background import Background
from jackfield.plugins.claimed import ClaimedStates
from jackfield.plugins.code import Code
from jackfield.plugins.hosting import Hosting
from jackfield.plugins.importing import Importing
from jackfield.plugins.inventory import Inventory
from jackfield.plugins.ledger import Ledgers, UnloadReport
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.swap import SwapReport
from jackfield.ports import Executor, ExecutorStats, Observer, Store
from jackfield.registry.change import Expectation, Removal, Update
from jackfield.registry.functions import Functions
from jackfield.registry.registry import Registry
from jackfield.runtime import forking
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pauses import Pauses
from jackfield.runtime.pool import Pool
from jackfield.stack import log_messages_for
from jackfield.store import check_store
from jackfield.store.hosted import HostStore

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from typing_extensions import TypeForm  # what type checkers know without an installation

    from jackfield.admission import Admission, AdmissionStats
    from jackfield.admission.leases import Lease
    from jackfield.config import Configuration, PluginConfig, TenantConfig
    from jackfield.config.apart import EnvironmentsConfig
    from jackfield.config.model import DurableConfig
    from jackfield.config.part import Part
    from jackfield.desired.applying import Applier
    from jackfield.desired.following import Following
    from jackfield.desired.keeping import DesiredRevision
    from jackfield.desired.plan import Plan
    from jackfield.desired.restoring import Restoration
    from jackfield.durable import Submission, Submissions
    from jackfield.durable.deliveries import Deliveries
    from jackfield.flow import Flows
    from jackfield.model.flow import Flow
    from jackfield.observe.metrics import Metrics
    from jackfield.observe.submitted import SubmissionCounts
    from jackfield.observe.traces import Traces
    from jackfield.rollout import Analysis
    from jackfield.rollout.canary import Canaries, Canary
    from jackfield.schedules.hosted import Schedules
    from jackfield.schedules.record import ScheduleRecord
    from jackfield.workers.upgrades import Upgrades
    from jackfield.workers.workers import Workers

P = TypeVar("P")
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)

_STOP_AT_LEAST: Final = 1.0  # seconds that plugins have to stop, and singletons, even when calls took all of it
_HEALTH_EVERY: Final = 10.0  # seconds between two health checks; one that fails sets the restart policy to work
_UNKNOWN: Final = FunctionSpec("(unknown)", "", "", "", target=lambda: None, colour=Colour.SYNC)


class Host(Caller):
    """Calls functions by name, with everything around them.

    A host is used as a context manager, sync or async. It can be filled before it is started; calls are taken once it
    is.

    Args:
        observers: see every call; the default is `Spans()`, `Metrics()` and `Logs()` on the process's own providers,
            `()` is none.
        executors: further places to run functions, by the name that policies use.
        store: where the state of plugins goes when they are replaced; the default is this process's memory. Whoever
            makes a store closes it, after the host has stopped.
        timeout: seconds for calls that neither their caller nor their function limits.

    Raises:
        ContractError: if an executor is none, or one of an older version, with what it lacks.
        TypeError: if the store is none, or one of an older version, with what it lacks.

    Attributes:
        events: the event bus.

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
        store: Store | None = None,
        timeout: float | None = None,
    ) -> None:
        self._observers = _default_observers() if observers is None else check_observers(observers)
        self._messages = any(getattr(observer, "messages", False) is True for observer in self._observers)
        log_messages_for(self, wanted=self._messages)
        self._timeout = None if timeout is None else seconds_of(timeout)
        self._unwatch: list[Callable[[], None]] = []
        self._strict = False
        self._environments: EnvironmentsConfig | None = None
        self._durable: DurableConfig | None = None
        self._part: Part | None = None
        self._leases: Mapping[str, Lease] = {}
        self._tenants: Mapping[str, TenantConfig] | None = None
        self._entitling = threading.Lock()  # an apply and a lease say both what tenants are due
        self._late: dict[str, Any] = {}  # what is made when it is first needed
        self._stop = threading.Lock()  # held by the stop that is under way, which nobody waits for
        self._home = HomeLoop()
        self._control = ControlLoop()
        self._pool = Pool()
        self._pauses = Pauses()
        self._places = Places(self._home, self._pool, executors or {})
        self.events = EventBus(lambda coroutine: self._home.submit("events", coroutine), self._pool)

        code = Code(Importing(self._pool), lambda: self._workers)
        registry, hooks = Registry(), Hooks()
        self._traces = _traces() if self._observers else None
        unknown = compile_refusal(_UNKNOWN, self._refusal, self._observers, self._traces)
        super().__init__(registry, unknown, self._find, self._pool)
        self._registry: Registry = registry
        self._plain_caller = Caller(registry, unknown, self._find, self._pool)
        self._injector = Injector(
            contextual={
                Logger: Logger,
                Config: lambda plugin: Config(plugin, code.options.get(plugin, {})),
                Caller: lambda _: self._plain_caller,
                EventBus: lambda plugin: PluginBus(self.events, plugin),
                Background: lambda plugin: self._lifecycle.backgrounds.of(plugin),  # noqa: PLW0108  # made further down
            },
            start=self._pool.start,
        )
        self._functions = Functions(registry, self._injector, hooks, self.events, self._compile, self._places)
        self._hooks = hooks
        ledgers = Ledgers()
        hosting = Hosting(self._functions, self._injector, hooks, self.events, self._home.run, code, ledgers)
        self._kept = HostStore(None if store is None else check_store(store), self._control)
        self._lifecycle = Lifecycle(hosting, ClaimedStates(self._kept), self._control, self._home, self._pool, ledgers)
        self._inventory = Inventory(code, hosting, self._lifecycle)
        forking.watch(self)

    # --- Filling ----------------------------------------------------------------------------------------------------

    @classmethod
    def discover(
        cls,
        *,
        lazy: bool = False,
        strict: bool | None = None,
        path: Sequence[str] | None = None,
        expect: Iterable[tuple[str, Any, Any]] = (),
        observers: Sequence[Observer] | None = None,
        executors: Mapping[str, Executor] | None = None,
        store: Store | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Make a host of everything that installed packages advertise.

        All of it is imported and checked here, so that a service fails at start and not at noon. A faulty entry is left
        out alone, with whatever needs it, and stands in `faults`.

        Args:
            lazy: import a function's module at its first use instead, for command-line tools.
            strict: refuse any fault; the default is what `JACKFIELD_STRICT` says.
            path: where to look instead of `sys.path`.
            expect: extension points, as `expect` takes them; an installed function that does not fit is a fault, not an
                error.
            observers: as for `Host`.
            executors: as for `Host`.
            store: as for `Host`.
            timeout: as for `Host`.

        Raises:
            PluginError: with all faults, if strict.
        """
        host = cls(observers=observers, executors=executors, store=store, timeout=timeout)
        for pattern, payload, result in expect:
            host.expect(pattern, payload, result)
        switches = host._inventory.scan(path)
        host._inventory.declare((), discover=True, lazy=lazy)
        host._refuse_faults(switches.strict if strict is None else strict)
        return host

    @classmethod
    def from_config(
        cls,
        path: "str | os.PathLike[str] | Configuration",
        *,
        observers: Sequence[Observer] | None = None,
        executors: Mapping[str, Executor] | None = None,
        store: Store | None = None,
        timeout: float | None = None,
        part: "Part | None" = None,
    ) -> Self:
        """Make a host of what a configuration file declares.

        A plugin that cannot be loaded fails alone, and blocks those that depend on it; the reason is in `plugins` and
        `faults`.

        Args:
            path: the `jackfield.toml`, or what was read of one.
            observers: as for `Host`.
            executors: as for `Host`; the names that the file may use beside `inline` and `thread`.
            store: as for `Host`.
            timeout: as for `Host`; the file's comes first.
            part: which of several processes of the file this is; `pluginctl serve` says so to those that it runs.

        Raises:
            ConfigError: with every fault of the file.
            PluginError: with all faults of plugins, if the file says `strict`.
        """
        from jackfield.config import Configuration, load_config  # noqa: PLC0415  # for those who have a configuration

        configuration = (
            path if isinstance(path, Configuration) else load_config(path, executors=(*BUILT_IN, *(executors or ())))
        )
        limit = timeout if configuration.timeout is None else configuration.timeout
        host = cls(observers=observers, executors=executors, store=store, timeout=limit)
        host._part = part
        host._configure(configuration)
        return host

    def _configure(self, configuration: "Configuration") -> None:
        from jackfield.desired.hosted import rule_of  # noqa: PLC0415  # as `_applier`
        from jackfield.store.urls import store_of  # noqa: PLC0415  # for those who have a configuration

        switches = self._inventory.scan()
        self._environments, self._durable = configuration.environments, configuration.durable
        if configuration.executors:
            from jackfield.executors.configured import configured  # noqa: PLC0415  # for those who have some

            self._places.add(configured(configuration.executors))
        self._kept.configure(store_of(configuration.store.url), configuration.host.id)
        restored = self._restored(configuration) if self._kept.lasts else None
        configuration = configuration if restored is None else restored.configuration
        routes = configuration.routes if restored is None else restored.routes
        plugins = configuration.plugins if restored is None else restored.plugins
        self._functions.set_rules({name: rule_of(name, route) for name, route in routes.items()})
        self._admit(configuration.tenants)
        discover, lazy = configuration.discover, configuration.lazy
        self._inventory.declare(plugins.values(), discover=discover, lazy=lazy)
        if configuration.flows:
            self._flows.declare(configuration.flows)
        if configuration.schedules:
            self._follow_schedules(configuration)
        if configuration.deliveries:
            self._deliveries.adopt(configuration)
        self._applier.boot(configuration, restored)
        self._refuse_faults(configuration.strict or switches.strict)

    def _follow_schedules(self, configuration: "Configuration") -> None:
        if self._part is None or self._part.follows_schedules:
            self._schedules.adopt(configuration)

    def _admit(self, tenants: "Mapping[str, TenantConfig] | None") -> None:
        """Take over who there is, what they may do, and what they are due."""
        self._functions.set_permissions(permissions(tenants))
        with self._entitling:
            self._tenants, self._leases = tenants, {}
            self._entitle()

    def lease(self, leases: "Mapping[str, Lease]") -> None:
        """Have other parts of what tenants may call: this is one of several processes, and another one divides.

        Args:
            leases: tenant → what this process has of its quotas from now on; of others it has an equal part.
        """
        with self._entitling:
            self._leases = leases
            self._entitle()

    def _entitle(self) -> None:
        tenants = self._tenants
        if tenants is None and "admission" not in self._late:
            return
        from jackfield.admission import Admission, shares_of  # noqa: PLC0415  # for those who have tenants

        shares = shares_of(tenants if self._part is None else self._part.due(tenants, self._leases))
        before = self._admission is not None
        if shares or before:
            new = "admission" not in self._late
            admission: Admission = self._late.setdefault("admission", Admission())
            admission.configure(shares)
            if new and self._functions.running:
                self._watch_admission()
        if before != (self._admission is not None):
            self._functions.rewire(every=True)

    def _watch_admission(self) -> None:
        self._unwatch += [each.watch_admission(_stats(self._late["admission"])) for each in self._metrics()]

    @property
    def _admission(self) -> "Admission | None":
        """Who gives calls their turn, once any tenant is due anything else than the others."""
        made: Admission | None = self._late.get("admission")
        return made if made is not None and made.active else None

    @property
    def admission(self) -> "AdmissionStats | None":
        """How many calls are inside, wait and were refused, by tenant; None while all tenants are alike."""
        return None if self._admission is None else self._admission.stats()

    def _restored(self, configuration: "Configuration") -> "Restoration | None":
        from jackfield.desired.keeping import Keeper  # noqa: PLC0415  # for those who have a store that lasts
        from jackfield.desired.restoring import restore  # noqa: PLC0415  # as above

        names = (*BUILT_IN, *(name for name in self._places.names if name not in BUILT_IN))
        return restore(configuration, Keeper(self._kept, configuration.file, names))

    def _refuse_faults(self, strict: bool) -> None:
        """Raise what was left out, if any fault is to keep the host from starting."""
        self._strict = strict
        if strict and self.faults:
            first = self.faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, self.faults)

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
            Unavailable: after a fork.
        """
        with self.update() as tx:
            spec = tx.register(name, target, version=version, plugin=plugin)
        return Registration(spec, lambda gone: self._functions.commit([Removal(gone.name, gone.version, only=gone)]))

    def add_flow(self, flow: "Flow") -> Registration:
        """Register a flow: a function whose steps call others.

        Before the start its functions need not be there; what is wrong with it then stands in `faults` once the host
        has started. A host that runs refuses a flow that does not fit its functions.

        Args:
            flow: it.

        Returns:
            A registration, whose `remove()` undoes exactly this.

        Raises:
            ContractError: with every fault of it.
            DuplicateFunction: if the name and version is taken.
            PluginError: if a hook refuses it.
            Unavailable: after a fork.
        """
        return self._flows.add(flow)

    def unregister(self, name: str, *, version: str | None = None) -> None:
        """Remove a function: all its versions, or one. Calls that are inside finish.

        Args:
            name: the function.
            version: the one version, or None for all.

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
        tx = Update()
        yield tx
        if tx.operations:
            self._functions.commit(tx.operations)

    def rollback(self, revision: int) -> Snapshot:
        """Bring back the functions of an earlier revision, as a new revision; hooks see the differences.

        Args:
            revision: one of the last 16.

        Returns:
            The new snapshot.

        Raises:
            LookupError: if that revision is no longer kept.
            InjectionError: if what comes back can no longer be injected.
        """
        before = {name: route.default for name, route in self.snapshot.routes.items()}
        new = self._functions.rollback(revision)
        moved = {name: route.default for name, route in new.routes.items() if before.get(name) != route.default}
        self._applier.routed(moved, verb="rollback")
        return new

    def canary(
        self,
        name: str,
        *,
        version: str,
        share: float | None = None,
        tenants: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        analysis: "Analysis | None" = None,
    ) -> "Canary":
        """Send a share of the calls, or some tenants, to another version, until it is promoted or aborted.

        A tenant always goes to the same version; raising the share only adds tenants. Calls without tenant are drawn
        one by one, with all calls below them.

        Args:
            name: a function's name; or a plugin's, for all its functions that have that version.
            version: the version under trial.
            share: the part of the tenants, and of the calls without tenant: 0.2 is 20 %; by default all that have the
                labels, and else nobody.
            tenants: those that go there in any case.
            labels: what a tenant must have to be drawn, as `{"tier": "beta"}`; then nobody else is drawn, and no call
                without tenant.
            analysis: compare the two versions, promote in steps, abort when the trial does worse; None moves nothing.

        Returns:
            The canary: `status`, `ramp(share)`, `promote()`, `abort()`.

        Raises:
            FunctionNotFound: if there is no such function, plugin or version.
            PluginError: if it is the default already, or another trial is under way.
            Unavailable: if the plugin of that version does not run.
            ValueError: if the share is not a part of 1.
        """
        try:
            return self._canaries.begin(
                name, version=version, share=share, tenants=tenants, labels=labels, analysis=analysis
            )
        except FunctionNotFound:
            why = self._not_found(Call(name, version=version))
            if isinstance(why, Unavailable):
                raise why from None
            raise

    def upgrade(
        self,
        name: str,
        requirement: str,
        *,
        share: float | None = None,
        tenants: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        analysis: "Analysis | None" = None,
        force: bool = False,
    ) -> "Canary":
        """Replace a plugin that runs in workers by another version of its distribution, without losing a call.

        The environment of the new version is built if there is none, and the new version starts beside the running one,
        in processes of its own, with the state of that. It must be healthy, and compatible: a version not below the
        running one and of the same major, which takes what that took, gives what that gave, and asks for no capability
        beyond those of that which nobody allows. Then it is on trial; when it is promoted, the old one drains and
        stops, and when it is aborted, the new one.

        Args:
            name: the plugin; it runs.
            requirement: the version, as `demo-ocr==2.1`.
            share: the part of the tenants, and of the calls without tenant, that try it; without a share, tenants,
                labels or an analysis it is promoted at once.
            tenants: those that try it in any case.
            labels: as for `canary`; without a share all that have them try it.
            analysis: as for `canary`.
            force: take it although it is not compatible. What nobody allows it does not get.

        Returns:
            The trial, as `canary` gives it; it has been promoted already where nobody was to try it first.

        Raises:
            PluginError: if there is no such version, if it is not compatible, with every difference, or if it does not
                start or is not healthy; then the old one serves on as if nothing had been.
            ValueError: if the share is not a part of 1.
        """
        return self._upgrades.begin(
            name, requirement, share=share, tenants=tuple(tenants), labels=labels, analysis=analysis, force=force
        )

    def _note_promotion(self, status: CanaryStatus, by: str) -> None:
        """Note that a trial was promoted: the default of its functions belongs to whoever did it."""
        self._applier.routed(dict.fromkeys(status.functions, status.version), by=by, verb="promote")

    def _note_trial(self, status: CanaryStatus, verb: str, by: str) -> None:
        """Note that a trial has begun, goes to others now, or was aborted."""
        if self._kept.lasts:
            self._applier.tried(status.name, by=by, verb=verb)

    def _judges(self) -> bool:
        following = self._late.get("following")
        return following is None or following.judges

    @property
    def canaries(self) -> "tuple[Canary, ...]":
        """The canaries that run, and the last few that have ended, in the order in which they began."""
        return self._canaries.all

    def expect(self, pattern: str, payload: Any, result: Any) -> None:
        """Declare an extension point: whatever is registered under the pattern must fit, now and later.

        Args:
            pattern: names as `fnmatch` has them: `export.*`.
            payload: the payload type that will be passed.
            result: the result type that is expected.

        Raises:
            ContractError: if a function that is registered already does not fit, with what differs.
        """
        self._functions.expect(Expectation(pattern, payload, result))

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
        self._functions.admit()
        added = False
        while not added:
            generation = self._injector.generation
            if self._functions.running:
                self._injector.check(self._functions.injected(), adding=[made])
            added = self._injector.add(made, since=generation)
        self._functions.rewire()

    def add_hooks(self, implementation: object, *, plugin: str = "") -> None:
        """Add hook implementations, beside those that packages advertise.

        Args:
            implementation: an object whose methods are marked with `@hookimpl`, or a class of such.
            plugin: the plugin it is counted to.

        Raises:
            PluginError: if it implements no hook, or one that does not exist.
        """
        self._hooks.add(implementation, plugin)

    @contextmanager
    def override(self, values: Mapping[Any, object]) -> Iterator[None]:
        """Inject other objects within a block, for tests.

        Singletons that depend on them are made anew within it, even if they were made before. Overrides nest, and
        those of several threads are independent: all are in force for every call, the one that began last comes first,
        and leaving one removes it alone.

        Args:
            values: type (or `Key(type, name)`) → the object to inject.

        Raises:
            InjectionError: if nothing provides one of them, and no function or provider asks for it; before the start
                that is found when the host starts.
        """
        self._functions.admit()
        if self._functions.running:
            self._injector.check_overrides(self._functions.injected(), values)
        layer = self._injector.override(values)
        try:
            self._functions.rewire()
            yield
        finally:
            closing = self._injector.restore(layer)
            self._functions.rewire()
            _report(closing.close(self._home.run))

    # --- Reading ----------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The current revision and its functions: read it once, use what it gave."""
        return self._registry.snapshot

    @property
    def revisions(self) -> tuple[int, ...]:
        """The revisions that `rollback` can reach, oldest first; the last is the current one."""
        return self._registry.revisions

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that was left out when plugins were loaded, and why, and what does not fit in flows, schedules."""
        others = (self._late[name].faults for name in ("flows", "schedules") if name in self._late)
        return (*self._inventory.faults, *chain.from_iterable(others))

    @property
    def flows(self) -> "tuple[Flow, ...]":
        """The flows that can be called, each version."""
        return tuple(self._flows) if "flows" in self._late else ()

    @property
    def schedules(self) -> "Mapping[str, ScheduleRecord]":
        """Name → what there is to see of each schedule that this host follows; nothing while it does not run."""
        return self._schedules.records if "schedules" in self._late else {}

    @property
    def running(self) -> bool:
        """Whether it takes calls: it has been started, and does not stop."""
        return self._functions.running

    @property
    def loops(self) -> Mapping[str, Callable[[Callable[[], object]], object]]:
        """Name → what has something done there, of the event loops that run; to ask whether they still answer."""
        post = self._home.post
        return {} if post is None else {"home loop": post}

    def run_at_home(self, coroutine: Coroutine[Any, Any, R], timeout: float | None = None) -> R:
        """Run a coroutine of whoever embeds the host on its home loop, where doors are, and wait for it elsewhere.

        Raises:
            TimeoutError: when it takes longer than that many seconds; it is cancelled.
            Cancelled: when it ended with its loop.
            Unavailable: when the host has stopped.
        """
        return self._home.run(coroutine, timeout)

    def use_loop(self, factory: "Callable[[], AbstractEventLoop]") -> None:
        """Have the home loop made by a factory, as `uvloop.new_event_loop`; where it is there, or adopted, it stays.

        Args:
            factory: as `asyncio.Runner` takes it.
        """
        self._home.factory = factory

    @property
    def control(self) -> ControlLoop:
        """The loop on which it supervises itself; what else serves beside it, as probes do, may live there too."""
        return self._control

    def function(self, name: str, payload: "TypeForm[P]", result: "TypeForm[R]") -> Function[P, R]:
        """Make a typed handle of a function, checked against its contract now.

        Of a function that runs in another process, the JSON Schemas are compared, and its results, which are plain
        data, are made into values of the type that is expected.

        Args:
            name: the function.
            payload: the type that will be passed; any that an annotation can be, `float | None` among them (PEP 747).
            result: the type that is expected, likewise.

        Raises:
            FunctionNotFound: if it is not there.
            ContractError: if its contract does not fit, with what differs.
        """
        spec = self.describe(name)
        if spec.remote is None and not self._places.injects_here(spec):
            from jackfield.wire.signature import as_remote  # noqa: PLC0415  # for those who call other processes

            spec = as_remote(spec)
        differences = contract.fits(spec, payload, result)
        if differences:
            fix = f"use the types that `pluginctl info {name} --contract` shows"
            where = place_of(spec.target)
            faults = tuple(Fault("contract", spec.plugin, spec.key, text, fix, where) for text in differences)
            raise ContractError(name, faults)
        if spec.remote is None:
            return Function(self, name)
        from jackfield.contract.payload import compile_result  # noqa: PLC0415  # for those who call other processes

        return Function(self, name, compile_result(name, result))

    def describe(self, name: str, version: str | None = None) -> FunctionSpec:
        """Give all that is known of a function; one that is known by name alone is imported.

        Args:
            name: the function.
            version: one of its versions, or None for the default.

        Raises:
            FunctionNotFound: if there is no such function or version.
        """
        self._find(name)
        route = self.snapshot.routes.get(name)
        endpoint = route.endpoints.get(version or route.default) if route is not None else None
        if endpoint is not None:
            return endpoint.spec
        spec = self._inventory.spec(name, version)  # of a plugin that does not run
        if spec is None:
            raise self._not_found(Call(name, version=version or ""))
        return spec

    def graph(self, style: Literal["mermaid", "dot"] = "mermaid") -> str:
        """Draw the functions, what is injected into them, the scopes, and the steps of flows.

        Args:
            style: `mermaid` or `dot`.
        """
        from jackfield.injection.drawing import dot, mermaid  # noqa: PLC0415  # for those who draw

        draw = mermaid if style == "mermaid" else dot
        drawing = draw(self._injector.graph, [endpoint.spec for endpoint in self._functions.endpoints()])
        return self._flows.beside(drawing, style) if "flows" in self._late else drawing

    # --- Plugins ----------------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> Mapping[str, PluginRecord]:
        """Name → record of every plugin that is declared, or advertises an object: its state, and why it is in it."""
        return self.snapshot.plugins

    def declared(self) -> tuple[tuple[str, ...], tuple[Fault, ...]]:
        """Tell, without starting anything, which functions plugins and flows would bring, and every fault."""
        if "flows" in self._late:
            self._flows.check()
        flows = {flow.name: None for flow in self.flows}
        return (*self._inventory.declared(), *flows), self.faults

    def start_plugin(self, name: str) -> PluginRecord:
        """Start a plugin, after those that it depends on; one that was unloaded is loaded again.

        Args:
            name: which; nothing happens if it runs.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
            Unavailable: if the host does not run: nobody would stop the plugin.
        """
        self._refuse_idle(name)
        again = self._inventory.unloaded(name) or self._applier.left_out(name)
        if again is not None:
            self.load(again)
        return self._wanted(name, "start", self._lifecycle.start)

    def _refuse_idle(self, plugin: str) -> None:
        if not self._functions.running:
            reason = "its host does not run: start that first, with `host.start()` or `with host:`"
            raise Unavailable(plugin, reason, "host_stopped", ran=False)

    def _wanted(self, name: str, verb: str, start: Callable[[str], PluginRecord]) -> PluginRecord:
        """Start a plugin, and note that somebody wants it to run, be it in vain for now."""
        try:
            record = start(name)
        except PluginError:
            self._applier.started(name, verb=verb)
            raise
        self._applier.started(name, verb=verb)
        return record

    def stop_plugin(self, name: str) -> PluginRecord:
        """Stop a plugin, after those that depend on it; its functions go first, and calls that are inside finish.

        Args:
            name: which; nothing happens if it does not run.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it.
        """
        record = self._lifecycle.stop(name)
        self._applier.stopped(name)
        return record

    def restart_plugin(self, name: str) -> PluginRecord:
        """Stop a plugin and what depends on it, then start them again.

        Args:
            name: which.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
            Unavailable: if the host does not run, as for `start_plugin`.
        """
        self._refuse_idle(name)
        return self._wanted(name, "restart", self._lifecycle.restart)

    def health(self, name: str | None = None, *, timeout: float = 5.0) -> Mapping[str, Health]:
        """Ask plugins how they are.

        Args:
            name: which plugin; None for all.
            timeout: seconds that one answer may take; all are asked at once.

        Returns:
            Name → what was found.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        return self._lifecycle.health(name, timeout=timeout)

    def load(self, plugin: "PluginConfig") -> PluginRecord:
        """Load one more plugin, or one that was unloaded, and start it if the host runs.

        Args:
            plugin: what its `[[plugin]]` would say; a path of a file or folder is relative to the current folder.

        Returns:
            Its record.

        Raises:
            PluginError: if its name is taken, or it cannot be loaded or started, and why.
        """
        self._inventory.load(plugin)
        self._applier.loaded(plugin)
        self._functions.rewire()
        if self._functions.running and plugin.auto_start:
            return self._lifecycle.start(plugin.name)
        return self.plugins[plugin.name]

    def apply(
        self, configuration: "str | os.PathLike[str] | Configuration", *, dry_run: bool = False, force: bool = False
    ) -> "Plan":
        """Bring the host to what a configuration file says now, or only tell what that would take.

        Only what differs is touched: between this file and the last one, and between what was wanted and what is there.
        What somebody changed by a verb since then stays, and is in the plan's `drift`; where the file has changed the
        same field as well, nothing at all is done and the plan has `conflicts`. A step that fails is in the plan with
        its faults, and the others go on. The next apply finishes what one has left. A new version of a plugin that says
        `upgrade` comes as by that verb: the step is done when its trial has begun.

        Args:
            configuration: the file, or what was read of one.
            dry_run: do nothing.
            force: let the file have what both changed.

        Returns:
            The plan, its steps done or failed; empty `changes` when there is nothing to do.

        Raises:
            ConfigError: with every fault of the file; then nothing has changed.
            Unavailable: when another apply is under way; or on the host's own event loop.
        """
        from jackfield.config import Configuration  # noqa: PLC0415  # as in `from_config`

        if self._home.is_here and not dry_run:
            reason = "it waits for plugins, which need the home loop: use `await asyncio.to_thread(host.apply, …)`"
            raise Unavailable("apply", reason)
        if not isinstance(configuration, Configuration):
            configuration = self.read_configuration(configuration)
        return self._applier.apply(configuration, dry_run=dry_run, force=force)

    @property
    def history(self) -> "tuple[DesiredRevision, ...]":
        """The changes of what is desired, the oldest first: files that were applied, and what verbs have written.

        Those that are kept, in a store that lasts; without one there are none.

        Raises:
            Unavailable: if the store is away.
        """
        return self._applier.history

    def undo(self, revision: int) -> "Plan":
        """Bring back what was desired at an earlier revision of `history`, as a new revision.

        Args:
            revision: its number.

        Returns:
            What was done.

        Raises:
            LookupError: if that is not kept.
            Unavailable: without a store that lasts; if that is away; or while an apply is under way.
        """
        return self._applier.undo(revision)

    def follow(self) -> "Plan | None":
        """Do what another host on the same store has written, now: one that runs does so by itself, a moment later.

        Returns:
            What that took; None if there was nothing.

        Raises:
            Unavailable: if the store is away, or while an apply is under way.
        """
        return self._applier.follow()

    def read_configuration(self, path: str | os.PathLike[str]) -> "Configuration":
        """Read a configuration file as this host would, with the executors that it has.

        Args:
            path: the file.

        Raises:
            ConfigError: with every fault of the file.
        """
        from jackfield.config import load_config  # noqa: PLC0415  # as in `from_config`

        return load_config(path, executors=self._places.names)

    @property
    def configuration(self) -> "Configuration | None":
        """The configuration that was applied last, by `from_config` or `apply`."""
        return self._applier.configuration

    def reload(self, name: str, *, keep_warm: float = 0.0) -> SwapReport:
        """Load a file or folder plugin anew beside the running one, and replace that without losing a call.

        The old instance's state is handed over; calls that are inside finish in the old version. What is importable by
        a public name cannot be reloaded in a running process, and is refused.

        Args:
            name: which; it is running.
            keep_warm: seconds that the old instance idles before it stops, so that `rollback` finds it at work.

        Returns:
            What it came to; the same version twice when the files have not changed.

        Raises:
            PluginError: if it cannot be reloaded, or the new version fails; then the old one serves on.
        """
        return self._inventory.reload(name, keep_warm=keep_warm)

    def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, and release everything that it acquired through the host, the latest first.

        Args:
            name: which.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it, or it is unloaded already.
        """
        with self._kept.visited():  # it may have left a state
            report = self._inventory.unload(name)
            self._applier.unloaded(name)
        return report

    def reroute(self, name: str, *, default: str) -> Snapshot:
        """Make another version the default of a function: calls that name none go there.

        Args:
            name: the function.
            default: the version.

        Returns:
            The new snapshot.

        Raises:
            FunctionNotFound: if there is no such function or version.
            PluginError: if the function is under trial: promote or abort the canary instead.
        """
        try:
            new = self._functions.reroute(name, default)
        except LookupError:
            raise self._not_found(Call(name, version=default)) from None
        self._applier.routed({name: default}, verb="route")
        return new

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls that are under way, those inside versions that were replaced lately included."""
        state = self._registry.state
        routes = (route for snapshot in state.kept for route in snapshot.routes.values())
        gates = dict.fromkeys(endpoint.gate for route in routes for endpoint in route.endpoints.values())
        gates |= dict.fromkeys(state.left)
        return tuple(call for gate in gates for call in list(gate.calls))

    @property
    def ledgers(self) -> Mapping[str, Mapping[str, int]]:
        """Plugin → how many things of each kind it holds."""
        return {name: self._lifecycle.ledgers.of(name).counts for name in self.plugins}

    @property
    def submission_counts(self) -> "SubmissionCounts | None":
        """How many submitted calls wait and run, as this host sees its store; None before it has to do with any."""
        return self._submissions.telling.counts() if "submissions" in self._late else None

    @property
    def traces(self) -> "Traces | None":
        """The whole calls that are kept in memory: all that went wrong, and the slowest; None without observers."""
        return self._traces

    @property
    def executors(self) -> Mapping[str, ExecutorStats]:
        """Name → the counts of each executor."""
        return MappingProxyType({**self._places.stats, **({"worker": there.stats()} if (there := self._there) else {})})

    @property
    def workers(self) -> tuple[WorkerRecord, ...]:
        """The child processes that run plugins, by plugin: those of `executor = "worker"`."""
        there = self._there
        return () if there is None else there.records

    @property
    def building(self) -> tuple[BuildRecord, ...]:
        """The environments that are being built at this moment, by plugin."""
        there = self._there
        return () if there is None else there.building

    @property
    def worker_tiers(self) -> Mapping[str, str]:
        """Plugin → the sandbox of its workers, whether or not it has one now: those of `executor = "worker"`."""
        there = self._there
        return {} if there is None else there.tiers

    @property
    def worker_tallies(self) -> Mapping[str, WorkerTally]:
        """Plugin → how many workers it has started, and how many have died of what."""
        there = self._there
        return {} if there is None else there.tallies

    # --- Submitted calls ---------------------------------------------------------------------------------------------

    def submit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> "Submission":
        """Accept a call for later. When this returns it is kept, and is run though this process ends.

        It is run once, unless nobody knows how an attempt ended and the function is marked `idempotent`: then up to
        `[durable] attempts` times. Payload and permissions are checked now, and at each attempt.

        Args:
            name: the function's dotted name.
            payload: plain data, or what `to_json` can write; at most about a mebibyte.
            key: stands for this one call of the tenant and function: submitted again, it is the same call.
            timeout: seconds from now until it must have ended, attempts and pauses included.
            tenant: whom the call is for; within a function that of its call.
            version: the version to call instead of the one the route picks now.
            headers: passed on to the function; those that may be secrets, by their names, are not kept.
            durable: False accepts it although the store is this process's memory, and goes with it.

        Returns:
            Its handle.

        Raises:
            ConfigError: if the store does not last.
            SubmissionConflict: if there is a call of that key with another payload.
            PayloadError: if the payload does not fit the function, or the store.
            JackfieldError: what calling it would raise before it runs.
            Unavailable: if the host does not run, or the store is not there.
        """
        arguments: dict[str, Any] = {"version": version, "headers": headers, "durable": durable}
        return self._submissions.submit(name, payload, key=key, timeout=timeout, tenant=tenant, **arguments)

    async def asubmit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,  # the call's
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> "Submission":
        """Do what `submit` does, from any event loop."""
        arguments: dict[str, Any] = {"version": version, "headers": headers, "durable": durable}
        return await self._submissions.asubmit(name, payload, key=key, timeout=timeout, tenant=tenant, **arguments)

    def submitted(self, identifier: str, /) -> "Submission":
        """Find a submitted call by its id, after a restart too.

        Raises:
            LookupError: if there is none, or it is not kept any more.
        """
        return self._submissions.submitted(identifier)

    def submissions(
        self, function: str = "*", *, status: str | None = None, tenant: str | None = None
    ) -> "Iterator[Submission]":
        """Go through the submitted calls that are kept, of all hosts of the store, in no order.

        Args:
            function: a name, or a pattern as in `billing.*`.
            status: one of `SubmissionState`.
            tenant: whom they are for; by default all.
        """
        return (handle for handle, _ in self._submissions.each(function, status, tenant))

    @property
    def durable_calls(self) -> "Submissions":
        """What is behind `submit`, as `pluginctl` asks it."""
        return self._submissions

    def redrive(self, identifier: str, /) -> "Submission":
        """Run a submitted call again that is failed, dead or cancelled: its attempts and its time begin anew.

        Raises:
            LookupError: if there is none, or it is none of these.
        """
        return self._submissions.redrive(identifier)

    # --- Starting and stopping --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Validate the injection graph, and make every function callable. `with host:` does this.

        Raises:
            InjectionError: with every fault of the graph.
            PluginError: with every fault, if the host is strict and a plugin that starts with it does not run.
            ResourceExhausted: if the system gives no thread to start plugins with; then it has not started.
            Unavailable: after a fork; or while it is being stopped, by another thread.
        """
        if self._functions.running:
            return
        if self._stop.locked():  # not waited for: that may wait for a plugin which waits for this
            raise Unavailable(
                "the host", "it is being stopped: start it when that has ended", "host_stopped", ran=False
            )
        # Now: a host has most to say, and to refuse, when it can open no file any more.
        import loguru  # noqa: F401, PLC0415  # as it says above

        from jackfield.plugins import absent  # noqa: F401, PLC0415  # as above

        faults: tuple[Fault, ...] = ()
        log_messages_for(self, wanted=self._messages)
        self._kept.resume()
        self._home.open()
        self._places.open()
        self._pauses.begin()
        self._functions.open()
        for metrics in self._metrics():
            self._unwatch += metrics.watch_host(self), metrics.watch("thread", _stats(self._places.thread))
            if (workers := self._there) is not None:
                self._unwatch.append(metrics.watch("worker", _stats(workers)))
            if self._kept.lasts:
                self._unwatch.append(metrics.watch_store(self._kept.counts))
        if "admission" in self._late:
            self._watch_admission()
        if self.plugins:
            faults = self._start_plugins()
        if "flows" in self._late and self._functions.running:
            faults += self._flows.check()
        if self._strict and faults:
            self.stop()
            first = faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, faults)
        self._begin_late()

    def _start_plugins(self) -> tuple[Fault, ...]:
        try:
            faults = self._start_wanted()
            if self._functions.running:  # else somebody has stopped it meanwhile
                self._lifecycle.supervise(_HEALTH_EVERY)
        except ResourceExhausted:  # no control loop, so no plugin has begun
            self._functions.close(0.0)
            self._end()
            raise
        return faults

    def _start_wanted(self) -> tuple[Fault, ...]:
        """Start what is to run: by the plugins' own settings, unless somebody wanted something else that was kept."""
        want = self._applier.at_start() if "applier" in self._late else None
        if want is None:
            return self._lifecycle.start_all()
        faults = self._lifecycle.start_all(want.running, want.plugins.keys() - want.running)
        for name in want.held:
            self._lifecycle.hold(name)
        return faults

    def stop(self, timeout: float = 10.0) -> None:
        """Let no more calls in, wait for those inside, close singletons in reverse order; `with host:` ends so.

        Nothing happens if it does not run, or if another stop is under way, which is not waited for.

        Args:
            timeout: seconds to wait for the calls that are inside; those that remain are named in the log. Plugins that
                have not stopped by then, and after them singletons that are not closed, have one second more each;
                what takes longer is left behind in its thread. Only what this very thread has made, and which may be
                bound to it (as an `sqlite3.Connection` is), is closed here, however long that takes.

        Raises:
            AsyncCallRequired: on the host's own event loop: leave the `async with` block, or `await host.astop()`.
        """
        if self._home.is_here:
            raise AsyncCallRequired("host.stop", "`await host.astop()`, or `async with` for the host")
        if not self._functions.running or not self._stop.acquire(blocking=False):
            return
        try:
            until = monotonic() + timeout
            self._plan_no_more()
            self._say_left(self._functions.close(timeout))
            self._give_back()
            self._lifecycle.stop_all(max(until - monotonic(), _STOP_AT_LEAST))
            _report(self._injector.close(self._home.run, max(until, monotonic() + _STOP_AT_LEAST)))
            self._end()
        finally:
            self._stop.release()

    async def astop(self, timeout: float = 10.0) -> None:
        """Do what `stop` does, from any event loop; leaving `async with host:` does this.

        Args:
            timeout: as for `stop`.
        """
        if not self._functions.running or not self._stop.acquire(blocking=False):
            return
        try:
            until = monotonic() + timeout
            await self._aside(self._plan_no_more)
            self._say_left(await self._aside(partial(self._functions.close, timeout)))
            await self._aside(self._give_back)
            await self._aside(partial(self._lifecycle.stop_all, max(until - monotonic(), _STOP_AT_LEAST)))
            ends = max(until, monotonic() + _STOP_AT_LEAST)
            if self._home.is_here:
                _report(await self._injector.aclose(ends))
            else:  # what is async has been made at home, and ends there
                _report(await self._aside(partial(self._injector.close, self._home.run, ends)))
            await self._aside(self._end)
        finally:
            self._stop.release()

    async def _aside(self, work: Callable[[], R]) -> R:
        """Do something that blocks in a thread: a daemon, unlike those of `asyncio.to_thread`."""
        return await self._pool.run("jackfield-host", partial(copy_context().run, work))

    def _begin_late(self) -> None:
        if not self._functions.running:
            return
        if self._kept.lasts and "applier" in self._late:
            self._applier.resume()
            if self._applier.keeper is not None:
                self._following.start()
        if self._kept.lasts:  # what an earlier process has accepted goes on
            self._submissions.start()
        if "schedules" in self._late:
            self._schedules.start()

    def _plan_no_more(self) -> None:
        self._pauses.end()
        if "following" in self._late:
            self._following.stop(_STOP_AT_LEAST)
        if "schedules" in self._late:
            self._schedules.stop()
        if "submissions" in self._late:
            self._submissions.pause()

    def _give_back(self) -> None:
        if "submissions" in self._late:
            self._submissions.stop(_STOP_AT_LEAST)

    def _end(self) -> None:
        if "canaries" in self._late:
            self._canaries.release()
        self.events.close()
        while self._unwatch:
            self._unwatch.pop()()
        self._places.close()
        self._kept.give_back(_STOP_AT_LEAST)
        if (workers := self._there) is not None:
            workers.close()
        self._kept.end(_STOP_AT_LEAST)
        self._control.close()
        self._home.close()
        log_messages_for(self, wanted=False)

    def _say_left(self, calls: Sequence[Call]) -> None:
        if calls:
            names = ", ".join(sorted({call.name for call in calls}))
            host_log("WARNING", f"{len(calls)} calls have not ended and are left behind: {names}")

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
        await self._aside(self.start)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Stop."""
        await self.astop()

    # --- Inside -----------------------------------------------------------------------------------------------------

    @property
    def _flows(self) -> "Flows":
        from jackfield.flow import Flows  # noqa: PLC0415  # for those who have some

        made = self._late.get("flows")
        if made is None:  # of several threads that come at once, all get the first one's
            fresh = Flows(
                self._functions,
                self._plain_caller,
                self._pool,
                self._find,
                lambda name: self._inventory.spec(name, None),
                lambda name: self._not_found(Call(name)),
            )
            made = self._late.setdefault("flows", fresh)
        flows: Flows = made
        return flows

    @property
    def _canaries(self) -> "Canaries":
        from jackfield.rollout.canary import Canaries  # noqa: PLC0415  # 8 ms, for those who have one

        made = self._late.get("canaries")
        if made is None:  # of several threads that come at once, all get the first one's
            fresh = Canaries(
                self._functions, self._control, self._pool, self._note_promotion, self._note_trial, self._judges
            )
            made = self._late.setdefault("canaries", fresh)
        canaries: Canaries = made
        return canaries

    @property
    def _workers(self) -> "Workers":
        from jackfield.environments import EnvironmentSettings  # noqa: PLC0415  # for those who have plugins there
        from jackfield.workers.workers import Workers  # noqa: PLC0415  # as above

        made = self._late.get("workers")
        if made is None:  # as above
            said = self._environments
            settings = (
                None
                if said is None
                else EnvironmentSettings(said.find_links, said.offline, said.build, said.size_in_bytes)
            )
            fresh = Workers(
                self._control,
                self._pool,
                self._plain_caller,
                self.events,
                settings,
                lambda: self._registry.snapshot.permissions.low,
            )
            made = self._late.setdefault("workers", fresh)
            if made is fresh and self._functions.running:
                self._unwatch += [metrics.watch("worker", _stats(fresh)) for metrics in self._metrics()]
        workers: Workers = made
        return workers

    @property
    def _there(self) -> "Workers | None":
        """The workers, if a plugin has asked for some."""
        there: Workers | None = self._late.get("workers")
        return there

    def _metrics(self) -> "Iterator[Metrics]":
        if self._observers:
            from jackfield.observe.metrics import Metrics  # noqa: PLC0415  # as in _default_observers

            yield from (observer for observer in self._observers if isinstance(observer, Metrics))

    @property
    def _schedules(self) -> "Schedules":
        from jackfield.schedules.hosted import Schedules  # noqa: PLC0415  # for those who have some

        made = self._late.get("schedules")
        if made is None:  # as above
            fresh = Schedules(
                self.submit if self._kept.lasts else None,
                lambda ask: self._kept.answered(lambda: ask(self._kept.store)),
                self.describe,
                lambda: [spec.name for _, bundle in self._inventory.loaded.values() for spec in bundle.specs],
                lambda: self._registry.snapshot.permissions,
                lambda: self._functions.running,
                self._control,
                self._pool,
            )
            made = self._late.setdefault("schedules", fresh)
        schedules: Schedules = made
        return schedules

    @property
    def _submissions(self) -> "Submissions":
        from jackfield.durable.composed import compose  # noqa: PLC0415  # for those who submit calls

        made = self._late.get("submissions")
        if made is None:  # as above
            fresh = compose(
                self._kept,
                self._home,
                (self._registry, self._unknown, self._find, self._pool),
                lambda: self._functions.running,
                self._durable,
                self._observers,
            )
            made = self._late.setdefault("submissions", fresh)
        submissions: Submissions = made
        return submissions

    @property
    def _deliveries(self) -> "Deliveries":
        from jackfield.durable.deliveries import Deliveries  # noqa: PLC0415  # for those who have some

        made = self._late.get("deliveries")
        if made is None:  # as above
            fresh = Deliveries(self._functions, self._submissions, self._kept.lasts)
            made = self._late.setdefault("deliveries", fresh)
        deliveries: Deliveries = made
        return deliveries

    @property
    def _upgrades(self) -> "Upgrades":
        from jackfield.workers.upgrades import Upgrades  # noqa: PLC0415  # for those who make one

        made = self._late.get("upgrades")
        if made is None:  # as above
            fresh = Upgrades(
                self._functions,
                self._inventory,
                self._lifecycle,
                self._canaries,
                lambda bundle: self._workers.permission(bundle.apart),
                self._control,
                self._pool,
                lambda config, by: self._applier.loaded(config, by=by, verb="upgrade"),
                lambda proposal, reason, by: self._applier.refused(*proposal, reason, by=by),
            )
            made = self._late.setdefault("upgrades", fresh)
        upgrades: Upgrades = made
        return upgrades

    @property
    def _applier(self) -> "Applier":
        from jackfield.desired.applying import Applier  # noqa: PLC0415  # at the first verb, with the configuration
        from jackfield.desired.hosted import HostSteps  # noqa: PLC0415

        made = self._late.get("applier")
        if made is None:
            steps = HostSteps(
                self._functions,
                self._inventory,
                self._lifecycle,
                self._canaries,
                lambda: self._upgrades,
                lambda: self._upgrades.rolling if "upgrades" in self._late else {},
                lambda: self._upgrades.trying if "upgrades" in self._late else {},
                lambda: self._flows,
                self._follow_schedules,
                lambda configuration: self._deliveries.adopt(configuration),  # noqa: PLW0108  # made when there are some
                self._admit,
            )
            fresh = Applier(steps)
            made = self._late.setdefault("applier", fresh)
        applier: Applier = made
        return applier

    @property
    def _following(self) -> "Following":
        from jackfield.desired.following import Following  # noqa: PLC0415  # for those who have a store that lasts

        made = self._late.get("following")
        if made is None:  # as above
            trials = lambda: self._canaries.all if "canaries" in self._late else ()  # noqa: E731  # as those above
            fresh = Following(self._kept, self._applier, trials, self._control, self._pool)
            made = self._late.setdefault("following", fresh)
        following: Following = made
        return following

    def _compile(self, spec: FunctionSpec, further: Sequence[Observer]) -> Endpoint:
        return compile_endpoint(
            spec,
            injector=self._injector,
            observers=(*self._observers, *further),
            places=self._places,
            timeout=self._timeout,
            again=self._again,
            pauses=self._pauses,
            admission=self._admission,
            traces=self._traces,
        )

    def _find(self, name: str) -> None:
        """Import a function that is known by name alone."""
        self._inventory.first_use.find(name)

    def _refusal(self, call: Call) -> JackfieldError:
        denial = self.snapshot.permissions.denial(call.name, call.tenant, call.rule == "header")
        if not denial:
            return self._not_found(call)
        from jackfield.identity import Audit  # noqa: PLC0415  # for those who have tenants

        self._late.setdefault("audit", Audit()).denied(call.tenant, call.name, denial)
        return PermissionDenied(call.name, denial)

    def _not_found(self, call: Call) -> JackfieldError:
        from jackfield.plugins.absent import why_absent  # noqa: PLC0415  # at the first call that finds nothing

        return why_absent(call, self.snapshot, self._inventory, self._lifecycle)

    def disown(self) -> None:
        """Refuse every call in a child process. Takes no lock: whoever held it did not survive the fork."""
        refusal = compile_refusal(_UNKNOWN, lambda _: self._functions.forked(), ())
        self._unknown = self._plain_caller._unknown = refusal  # noqa: SLF001  # our own caller
        self._registry.snapshot = forking.everywhere(Route("*", "", {"": refusal}))


def _traces() -> "Traces":
    from jackfield.observe.traces import Traces  # noqa: PLC0415  # as `_default_observers`

    return Traces()


def _default_observers() -> tuple[Observer, ...]:
    # OpenTelemetry, the Prometheus client and loguru take 90 ms to import: `observers=()` does not pay for them.
    from jackfield.observe.logs import Logs  # noqa: PLC0415
    from jackfield.observe.metrics import Metrics  # noqa: PLC0415
    from jackfield.observe.spans import Spans  # noqa: PLC0415

    return Spans(), Metrics(), Logs()


class _Counted(Protocol[C_co]):
    def stats(self) -> C_co:
        """Give the counts of this moment."""
        ...


def _stats(executor: _Counted[C_co]) -> Callable[[], C_co | None]:
    """Give what asks an executor, or an admission, for its counts and keeps it no longer than its host does."""
    reference = weakref.ref(executor)

    def stats() -> C_co | None:
        there = reference()
        return None if there is None else there.stats()

    return stats


def _report(failures: Iterable[TeardownFailure]) -> None:
    for failure in failures:
        if failure.error is not None:
            confide(f"{failure.provider}: its teardown", failure.error)
        host_log("ERROR", failure.fault)
