"""The verbs of plugins: each says what is wanted, and waits until the supervisor has got there."""

import math
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from jackfield.errors import Fault, PluginError, Unavailable
from jackfield.model.record import Health, PluginRecord, PluginState
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.background import Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.health import Checks
from jackfield.plugins.ledger import Ledgers, UnloadReport
from jackfield.plugins.order import dependency_faults
from jackfield.plugins.release import Release
from jackfield.plugins.roster import Plugin, Roster
from jackfield.plugins.steps import Steps
from jackfield.plugins.supervisor import REPLACING, UNLOADING, States, Supervisor
from jackfield.plugins.swap import Swap, SwapReport
from jackfield.plugins.transitions import ACTIVE, STARTABLE
from jackfield.plugins.warm import Warm
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")


def _waited(
    verb: "Callable[Concatenate[Lifecycle, P], Coroutine[Any, Any, T]]",
) -> "Callable[Concatenate[Lifecycle, P], T]":
    """Make a verb of a coroutine of the control loop: it may be called in any thread, which waits for it."""

    @wraps(verb)
    def wait(self: "Lifecycle", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(partial(verb, self, *args, **kwargs))

    return wait


class Lifecycle:
    """Starts and stops the plugins of one host in the order of their dependencies.

    Its verbs may be called from any thread but the home loop's and the control loop's, and wait until they are done, at
    most for the timeouts of the plugins. Several may be under way at once: a start that is under way is joined, not
    repeated.

    Args:
        deployment: where plugins run.
        states: where their states are kept.
        control: the loop that they are supervised on.
        home: the loop that their async methods run on.
        pool: where their sync code runs.
        ledgers: what each plugin holds; its own by default.

    Attributes:
        ledgers: what each plugin holds.
        backgrounds: the background work of each.
    """

    def __init__(
        self,
        deployment: Deployment,
        states: States,
        control: ControlLoop,
        home: HomeLoop,
        pool: Pool,
        ledgers: Ledgers | None = None,
    ) -> None:
        self._deployment = deployment
        self._control = control
        self._home = home
        self._pool = pool
        self.ledgers = ledgers or Ledgers()
        self.backgrounds = Backgrounds(home, self.ledgers, pool, control)
        self._roster = Roster(deployment, pool, control.clock)
        self._steps = steps = Steps(deployment, home, pool)
        self._supervisor = Supervisor(self._roster, steps, self.backgrounds, states, control)
        self._warm = Warm(steps, deployment, self._roster, self._supervisor)
        self._checks = Checks(self._roster, self._supervisor, pool)
        self._swap = Swap(self._supervisor, self._roster, steps, self.backgrounds, states, deployment, self._warm)
        self._release = Release(deployment, self.ledgers, states, pool)

    def _run(self, verb: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._home.is_here:
            why = "it waits for plugins, and would block the home loop that they need: use `await asyncio.to_thread(…)`"
            raise Unavailable("the plugins of a host", why)

        async def run() -> T:
            try:
                return await verb()  # made here: what never begins is nothing that somebody would have to close
            finally:
                self._roster.publish()

        try:
            return self._control.run(run())
        finally:
            self._roster.flush()

    # --- What there is ----------------------------------------------------------------------------------------------

    @property
    def records(self) -> Mapping[str, PluginRecord]:
        """Name → record of every plugin, as of this moment; read-only, never changed, and read without a lock."""
        return self._roster.records

    def record(self, name: str) -> PluginRecord | None:
        """Give the record of one plugin, as of this moment, or None; for any thread."""
        plugin = self._roster.plugins.get(name)
        return plugin.record if plugin is not None else None

    def known(self, name: str) -> PluginRecord:
        """Give the record of a plugin that there must be.

        Raises:
            PluginError: if nobody knows it; close names are in the fix.
        """
        return self._roster.get(name).record

    def bundle(self, name: str) -> PluginBundle | None:
        """Give what a plugin brought that is not unloaded, or None; for any thread."""
        plugin = self._roster.plugins.get(name)
        return plugin.bundle if plugin is not None else None

    @_waited
    async def check(self, bundles: Iterable[PluginBundle]) -> None:
        """Refuse plugins that `add` would refuse, before anything of them is loaded.

        Args:
            bundles: the plugins, of which no more need be known than how they are configured.

        Raises:
            PluginError: as for `add`.
        """
        self._refuse(tuple(bundles))

    @_waited
    async def add(self, bundles: Iterable[PluginBundle]) -> None:
        """Take plugins in, in any order: all of them or none.

        One whose code could not be loaded has failed with that. What was discovered, failed to load, or was unloaded
        may be added under the same name. What somebody waits for already, having started what needs it, starts then by
        itself.

        Args:
            bundles: the plugins; each may depend on the others and on those that are there.

        Raises:
            PluginError: with every fault: names that are taken, unknown dependencies with close names, cycles drawn.
        """
        bundles = tuple(bundles)
        self._refuse(bundles)
        for each in bundles:
            plugin = self._roster.enter(each)
            plugin.bundle, plugin.in_a_row, plugin.failure = each, 0, each.fault
            if plugin.state is PluginState.DISABLED:
                continue
            if each.fault is None:
                self._roster.change(plugin, PluginState.REGISTERED)
            elif plugin.state is not PluginState.FAILED:
                if plugin.state is PluginState.UNLOADED:
                    self._roster.change(plugin, PluginState.REGISTERED)
                self._roster.change(plugin, PluginState.FAILED, each.fault, quiet=True)  # whoever loaded it has said so
        self._supervisor.review(*(each.name for each in bundles))

    def _refuse(self, bundles: Collection[PluginBundle]) -> None:
        known = self._roster.plugins
        faults = [
            Fault("name", each.name, each.name, f"there is a plugin {each.name!r} already", "unload it first")
            for each in bundles
            if each.name in known and (known[each.name].leaving or not known[each.name].is_open)
        ]
        names = {each.name for each in bundles}
        # What is there may depend on what comes back under its old name: their edges can close a cycle, too.
        there = [one.bundle for name, one in known.items() if one.bundle is not None and name not in names]
        faults += dependency_faults([*bundles, *there], known.keys() - names)
        if faults:
            first = faults[0]
            raise PluginError(first.plugin, first.stage, first.reason, first.fix, tuple(faults))

    @_waited
    async def note(self, name: str, *, version: str = "0", location: str = "", disabled: bool = False) -> None:
        """Note a plugin of which only the name is known.

        Args:
            name: its name; nothing happens if it is known already.
            version: its version.
            location: where its code is.
            disabled: whether the operator has switched it off.
        """
        if name not in self._roster.plugins:
            plugin = self._roster.enter(PluginBundle(name, version, location, auto_start=False))
            if disabled:
                self._roster.change(plugin, PluginState.DISABLED)

    @_waited
    async def instance(self, name: str) -> object | None:
        """Give the object of a plugin that runs, or None.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        plugin = self._roster.get(name)
        live = plugin.live if plugin.runs else None
        return live.instance.target if live is not None and live.instance is not None else None

    @_waited
    async def extend(self, bundle: PluginBundle) -> None:
        """Give a plugin that may be running already more functions.

        Args:
            bundle: what it is now: the same with functions added to it.
        """
        plugin = self._roster.get(bundle.name)
        plugin.bundle = bundle
        self._roster.edit(plugin, advertised=bundle.advertised)
        if (live := plugin.live) is not None and plugin.runs:
            live.bundle = bundle
            target = live.instance.target if live.instance is not None else None
            activate = partial(self._deployment.activate, bundle, target)
            live.specs = await self._pool.run(f"{bundle.name}:extend", activate)
            self._roster.edit(plugin, functions=tuple(spec.name for spec in live.specs))

    @_waited
    async def health(self, name: str | None = None, *, timeout: float = 5.0) -> Mapping[str, Health]:
        """Ask plugins how they are. Nothing follows from the answers; `supervise` acts on them.

        Args:
            name: which plugin; None for all.
            timeout: seconds that one answer may take; all are asked at once.

        Returns:
            Name → what was found. A plugin that runs and has no `health` is healthy.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        names = list(self._roster.plugins) if name is None else [self._roster.get(name).name]
        return await self._checks.ask(names, timeout)

    @_waited
    async def supervise(self, interval: float, *, timeout: float = 5.0) -> None:
        """Ask the running plugins every so often how they are; one that is not healthy has failed, as by `fail`.

        It lasts until `stop_all`. Supervising again replaces it.

        Args:
            interval: seconds.
            timeout: seconds that one answer may take.

        Raises:
            ValueError: if the interval makes no sense.
        """
        if not 0 < interval < math.inf:
            raise ValueError(f"every {interval} seconds: give a finite number above 0")
        self._checks.supervise(interval, timeout)

    # --- Verbs ------------------------------------------------------------------------------------------------------

    @_waited
    async def start_all(self, besides: Collection[str] = (), without: Collection[str] = ()) -> tuple[Fault, ...]:
        """Start every plugin with `auto_start`, and what those depend on; one that fails keeps its dependents alone.

        Args:
            besides: others that are to start.
            without: those that are not.

        Returns:
            The faults of those that do not run now; none when their host does not run, which starts nothing.
        """
        if not self._deployment.serving:
            return ()
        self._supervisor.until = math.inf
        plugins = {
            each.name: each.bundle
            for each in self._roster.plugins.values()
            if each.bundle is not None
            and ((each.bundle.auto_start and each.name not in without) or each.name in besides)
            and each.state in STARTABLE
        }
        await self._aim(plugins, again={name for name, bundle in plugins.items() if bundle.fault is None})
        found = (self._roster.plugins[name].record.fault for name in plugins)
        return tuple(fault for fault in found if fault is not None)

    async def _aim(self, goals: Collection[str], again: Collection[str]) -> None:
        """Want some plugins to run, with all that they depend on; of those that have failed, only some are tried.

        Returns when they, and those that were blocked because of them, are where they are to be.
        """
        known, todo, seen = self._roster.plugins, deque(goals), set[str]()
        while todo:
            name = todo.popleft()
            if name in seen or name not in known:
                continue
            seen.add(name)
            plugin = known[name]
            if name in again or plugin.failure is None:
                self._supervisor.want(plugin, wanted=True)
            elif name in goals:
                plugin.wanted = True
            todo.extend(plugin.depends_on)
        self._supervisor.review(*seen)
        await self._supervisor.settled(seen)
        await self._supervisor.settled([name for name in self._supervisor.family(*seen) if known[name].wanted])

    @_waited
    async def start(self, name: str) -> PluginRecord:
        """Start a plugin, after those that it depends on, and before those that are blocked because of it.

        A dependency that has failed is not tried again; start that one first.

        Args:
            name: which; nothing happens if it runs.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why; or if its host does not run.
        """
        return await self._started(self._roster.get(name))

    async def _started(self, plugin: Plugin) -> PluginRecord:
        if not self._deployment.serving:  # else it would outlive its host, and do away with the time limit of the stop
            raise PluginError(plugin.name, "start", "its host does not run", "start that first, with `host.start()`")
        self._supervisor.until = math.inf
        if plugin.state not in (PluginState.DISABLED, PluginState.UNLOADED) and not plugin.leaving:
            await self._aim([plugin.name], again=[plugin.name])
        if not plugin.runs:
            raise _not_running(plugin)
        return plugin.record

    @_waited
    async def hold(self, name: str) -> None:
        """Have a plugin start as soon as all that it depends on runs, and start nothing else.

        Args:
            name: which; nothing happens if it is wanted already, or has failed.

        Raises:
            PluginError: if nobody knows it.
        """
        plugin = self._roster.get(name)
        if plugin.failure is None:
            plugin.wanted = True
            self._supervisor.review(name)

    @_waited
    async def stop(self, name: str) -> PluginRecord:
        """Stop a plugin, after everything that depends on it; a start that is under way is ended early.

        The dependents are blocked then, and start again when the plugin does.

        Args:
            name: which; nothing happens if it does not run.

        Returns:
            Its record: `stopped`, with a fault if something went wrong; `failed` if something of it still runs.

        Raises:
            PluginError: if nobody knows it.
        """
        return await self._stopped(self._roster.get(name), "was stopped")

    async def _stopped(self, plugin: Plugin, ended: str) -> PluginRecord:
        self._supervisor.restarts.cancel(plugin)
        self._supervisor.want(plugin, wanted=False, ended=ended)
        self._supervisor.review(plugin.name)
        await self._supervisor.settled(self._supervisor.family(plugin.name))
        await self._swap.end(plugin.name)
        await self._warm.end(plugin.name)
        return plugin.record

    @_waited
    async def restart(self, name: str) -> PluginRecord:
        """Stop a plugin and what depends on it, then start it and, where they ran, its dependents.

        Args:
            name: which.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
        """
        plugin = self._roster.get(name)
        await self._stopped(plugin, "is being restarted")
        return await self._started(plugin)

    @_waited
    async def stop_all(self, timeout: float | None = None) -> tuple[Fault, ...]:
        """Stop everything, dependents first; no restart comes after it, until something is started again.

        Args:
            timeout: seconds for all together; by default each plugin's own stop timeout applies alone.

        Returns:
            What went wrong meanwhile.
        """
        self._checks.stop()
        plugins = self._roster.plugins
        active = [name for name, plugin in plugins.items() if plugin.state in ACTIVE]
        if timeout is not None:
            self._supervisor.until = self._control.clock() + timeout
            self._steps.hurry(self._supervisor.until)
        for plugin in plugins.values():
            self._supervisor.restarts.cancel(plugin)
            self._supervisor.want(plugin, wanted=False)
        self._supervisor.review(*plugins)
        await self._supervisor.settled(list(plugins))
        await self._swap.end()
        await self._warm.end()
        self._supervisor.until = math.inf
        return tuple(fault for name in active if (fault := plugins[name].record.fault) is not None)

    @_waited
    async def fail(self, name: str, fault: Fault) -> PluginRecord:
        """Note that a plugin has failed: it is stopped after its dependents, which are blocked, and its policy applies.

        Args:
            name: which; nothing happens if it does not run.
            fault: the stage, the reason and the fix.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it.
        """
        plugin = self._roster.get(name)
        if plugin.live is not None:
            self._supervisor.fail(plugin, fault, plugin.live)
            await self._supervisor.settled(self._supervisor.family(name))
        return plugin.record

    @_waited
    async def swap(self, name: str, bundle: PluginBundle, *, keep_warm: float = 0.0) -> SwapReport:
        """Replace the running instance of a plugin by a new one, in the order that `plugins/swap.py` gives.

        Args:
            name: which; it is running.
            bundle: the new version.
            keep_warm: seconds that the old instance idles before it stops.

        Returns:
            What it came to.

        Raises:
            PluginError: with the stage that failed; then the old instance runs on, and serves.
        """
        return await self._swap.run(name, bundle, keep_warm)

    @_waited
    async def join(self, name: str, bundle: PluginBundle) -> tuple[FunctionSpec, ...]:
        """Start another version of a running plugin beside it; as `Swap.join`."""
        return await self._swap.join(name, bundle)

    @_waited
    async def settle(self, name: str, bundle: PluginBundle, *, promoted: bool) -> SwapReport | None:
        """Decide which of two versions of a plugin stays; as `Swap.settle`."""
        return await self._swap.settle(name, bundle, promoted=promoted)

    @_waited
    async def unload(self, name: str, *, keep_state: bool = False) -> UnloadReport:
        """Stop a plugin, and release everything that it acquired through the host, the latest first.

        Its record stays; the name can be added again.

        Args:
            name: which.
            keep_state: ask for its state, and keep that: it is about to be loaded again.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it, or it is unloaded already.
        """
        plugin = self._roster.get(name)
        if plugin.leaving:
            raise PluginError(name, "state", plugin.leaving, "wait for that")
        if plugin.state is PluginState.UNLOADED:
            raise PluginError(name, "state", "it is unloaded", "start it to have it loaded again")
        plugin.leaving = REPLACING if keep_state else UNLOADING
        try:
            await self._stopped(plugin, "was unloaded")
            report = await self._release.run(plugin, keep_state=keep_state)
            plugin.bundle = plugin.failure = None
            self._roster.change(plugin, PluginState.UNLOADED, advertised=())
        finally:
            plugin.leaving = ""
        self._supervisor.look_around(plugin)
        return report


def _not_running(plugin: Plugin) -> PluginError:
    """Say why a plugin does not run although somebody has started it."""
    name, fault = plugin.name, plugin.record.fault
    if plugin.leaving:
        return PluginError(name, "start", plugin.leaving, "wait for that")
    if fault is not None:
        return PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
    fixes = {
        PluginState.DISABLED: "see JACKFIELD_DISABLE_PLUGINS and JACKFIELD_LOAD_PLUGINS",
        PluginState.UNLOADED: "add it again first",
        PluginState.DISCOVERED: "add its definition first",
    }
    reason = f"it is {plugin.state}"
    return PluginError(name, "start", reason, fixes.get(plugin.state, "somebody stopped it: start it again"))
