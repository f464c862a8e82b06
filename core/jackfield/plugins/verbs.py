"""The verbs of plugins on the control loop: each says what is wanted, and waits until the supervisor has got there."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import attrs

from jackfield.errors import Fault, PluginError
from jackfield.model.record import Health, PluginRecord, PluginState
from jackfield.plugins.background import Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.health import Checks
from jackfield.plugins.ledger import Ledgers, UnloadReport
from jackfield.plugins.order import dependency_faults
from jackfield.plugins.roster import Plugin, Roster
from jackfield.plugins.steps import Steps
from jackfield.plugins.supervisor import UNLOADING, States, Supervisor
from jackfield.plugins.swap import Swap, Warm
from jackfield.plugins.transitions import ACTIVE, STARTABLE
from jackfield.ports import Clock
from jackfield.runtime.pool import Pool
from jackfield.stack import blamed

_RELEASING: Final = 10.0  # seconds for the release of a plugin that has no stop timeout, since it has not been loaded


class Verbs:
    """Everything that can be done with the plugins of a host. It belongs to the control loop.

    `Lifecycle` has the same for any thread, and says what each does.

    Args:
        roster: the plugins.
        steps: start and stop single ones.
        ledgers: what each plugin holds.
        backgrounds: the background work of each.
        states: where their states are kept.
        deployment: where they run.
        pool: where their sync code runs.
        clock: the control loop's.

    Attributes:
        checks: asks them how they are.
        swap: replaces instances.
    """

    def __init__(
        self,
        roster: Roster,
        steps: Steps,
        ledgers: Ledgers,
        backgrounds: Backgrounds,
        states: States,
        deployment: Deployment,
        pool: Pool,
        clock: Clock,
    ) -> None:
        self._roster = roster
        self._states = states
        self._deployment = deployment
        self._pool = pool
        self._clock = clock
        self._ledgers = ledgers
        self._stopping = 0  # how many stops of all plugins are under way
        self._supervisor = Supervisor(roster, steps, backgrounds, states, clock)
        self._warm = Warm(steps, deployment, roster, self._supervisor)
        self.checks = Checks(roster, self._supervisor, pool)
        self.swap = Swap(self._supervisor, roster, steps, backgrounds, states, deployment, self._warm)

    async def check(self, bundles: Sequence[PluginBundle]) -> None:
        """Refuse plugins that `add` would refuse."""
        known = self._roster.plugins
        faults = [
            Fault("name", each.name, each.name, f"there is a plugin {each.name!r} already", "unload it first")
            for each in bundles
            if each.name in known and (known[each.name].leaving or not _is_open(known[each.name]))
        ]
        names = {each.name for each in bundles}
        # What is there may depend on what comes back under its old name: their edges can close a cycle, too.
        there = [one.bundle for name, one in known.items() if one.bundle is not None and name not in names]
        faults += dependency_faults([*bundles, *there], known.keys() - names)
        if faults:
            first = faults[0]
            raise PluginError(first.plugin, first.stage, first.reason, first.fix, tuple(faults))

    async def add(self, bundles: Sequence[PluginBundle]) -> None:
        """Take plugins in: all of them or none."""
        await self.check(bundles)
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
                self._roster.change(plugin, PluginState.FAILED, each.fault)
        self._supervisor.review(*(each.name for each in bundles))

    async def start_all(self) -> tuple[Fault, ...]:
        """Start every plugin with `auto_start`, and what those depend on."""
        self._supervisor.until = math.inf
        plugins = [plugin for plugin in self._roster.plugins.values() if plugin.bundle is not None]
        goals = [each.name for each in plugins if each.record.auto_start and each.state in STARTABLE]
        await self._aim(goals, again={name for name in goals if not self._failed_to_load(name)})
        found = (self._roster.plugins[name].record.fault for name in goals)
        return tuple(fault for fault in found if fault is not None)

    def _failed_to_load(self, name: str) -> bool:
        bundle = self._roster.plugins[name].bundle
        return bundle is not None and bundle.fault is not None

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

    async def start(self, name: str) -> PluginRecord:
        """Start a plugin, after those that it depends on."""
        plugin = self._roster.get(name)
        if self._stopping:  # else it would outlive its host, and do away with the time limit of the stop
            raise PluginError(name, "start", "all plugins are being stopped", "start it when that has ended")
        self._supervisor.until = math.inf
        if plugin.state not in (PluginState.DISABLED, PluginState.UNLOADED) and not plugin.leaving:
            await self._aim([name], again=[name])
        if not plugin.runs:
            raise _not_running(plugin)
        return plugin.record

    async def stop(self, name: str, ended: str = "was stopped") -> PluginRecord:
        """Stop a plugin, after everything that depends on it."""
        plugin = self._roster.get(name)
        self._supervisor.restarts.cancel(plugin)
        self._supervisor.want(plugin, wanted=False, ended=ended)
        self._supervisor.review(name)
        await self._supervisor.settled(self._supervisor.family(name))
        await self._warm.end(name)
        return plugin.record

    async def stop_all(self, timeout: float | None) -> tuple[Fault, ...]:
        """Stop everything, dependents first."""
        self.checks.stop()
        plugins = self._roster.plugins
        active = [name for name, plugin in plugins.items() if plugin.state in ACTIVE]
        if timeout is not None:
            self._supervisor.until = self._clock() + timeout
        for plugin in plugins.values():
            self._supervisor.restarts.cancel(plugin)
            self._supervisor.want(plugin, wanted=False)
            if plugin.attempt is not None:
                plugin.attempt.hurry(self._supervisor.until)
        self._stopping += 1
        try:
            self._supervisor.review(*plugins)
            await self._supervisor.settled(list(plugins))
            await self._warm.end()
        finally:
            self._stopping -= 1
        self._supervisor.until = math.inf
        return tuple(fault for name in active if (fault := plugins[name].record.fault) is not None)

    async def disable(self, name: str) -> PluginRecord:
        """Stop a plugin, and let nobody start it until it is enabled."""
        plugin = self._roster.get(name)
        self._refuse_leaving(plugin)
        plugin.leaving = "it is being disabled"
        try:
            await self.stop(name, "is disabled")
            if plugin.state is not PluginState.DISABLED:
                if plugin.state is PluginState.FAILED and plugin.record.fault and plugin.record.fault.stage == "stop":
                    fault = plugin.record.fault
                    raise PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
                self._roster.change(plugin, PluginState.DISABLED)
        finally:
            plugin.leaving = ""
        self._supervisor.look_around(plugin)
        return plugin.record

    async def enable(self, name: str) -> PluginRecord:
        """Allow a disabled plugin to be started again."""
        plugin = self._roster.get(name)
        if plugin.state is PluginState.DISABLED:
            known = PluginState.DISCOVERED if plugin.bundle is None else PluginState.REGISTERED
            plugin.failure = None
            self._roster.change(plugin, known)
        return plugin.record

    async def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, and release everything that it acquired."""
        plugin = self._roster.get(name)
        self._refuse_leaving(plugin)
        plugin.leaving = UNLOADING
        stop_timeout = plugin.bundle.stop_timeout if plugin.bundle is not None else _RELEASING
        try:
            await self.stop(name, "was unloaded")
            fault = plugin.record.fault
            release = partial(self._released, name, left=plugin.failure is not None)
            report = await self._forgotten(await self._in_time(name, release, stop_timeout))
            plugin.bundle = plugin.failure = None
            self._roster.change(plugin, PluginState.UNLOADED)
            self._roster.edit(plugin, advertised=())
        finally:
            plugin.leaving = ""
        self._supervisor.look_around(plugin)
        if fault is not None and fault.stage == "stop":
            report = attrs.evolve(report, failed=(fault, *report.failed))
        return report

    def _released(self, name: str, *, left: bool) -> UnloadReport:
        """Give back, in a thread, what a plugin holds, and its functions if a stop that failed may have left some."""
        if left:
            self._deployment.withdraw(name)
        return self._ledgers.of(name).release_all()

    async def _in_time(self, name: str, release: Callable[[], UnloadReport], timeout: float) -> UnloadReport:
        """Await the release of what a plugin holds; its teardowns may hang, and are left behind in their thread."""
        try:
            async with asyncio.timeout(timeout):
                return await self._pool.run(f"{name}:unload", release)
        except TimeoutError:
            reason = f"releasing what it holds took longer than {timeout:g} s, and is left behind in its thread"
            left = Fault("unload", name, name, reason, "let the clean-up of its providers end sooner")
            return UnloadReport(name, failed=(left,))

    async def _forgotten(self, report: UnloadReport) -> UnloadReport:
        try:
            await self._states.forget(report.plugin)
        except Exception as error:  # noqa: BLE001  # the store is somebody else's: the plugin is unloaded all the same
            reason = f"its state could not be forgotten: {blamed(error)}"
            fault = Fault("unload", report.plugin, report.plugin, reason)
            return attrs.evolve(report, failed=(*report.failed, fault))
        return report

    def _refuse_leaving(self, plugin: Plugin) -> None:
        why = plugin.leaving or ("it is unloaded" if plugin.state is PluginState.UNLOADED else "")
        if why:
            fix = "wait for that" if plugin.leaving else "start it to have it loaded again"
            raise PluginError(plugin.name, "state", why, fix)

    async def note(self, name: str, version: str, location: str, disabled: bool) -> None:
        """Note a plugin of which only the name is known."""
        if name not in self._roster.plugins:
            plugin = self._roster.enter(PluginBundle(name, version, location, auto_start=False))
            if disabled:
                self._roster.change(plugin, PluginState.DISABLED)

    async def instance(self, name: str) -> object | None:
        """Give the object of a plugin that runs, or None."""
        plugin = self._roster.get(name)
        live = plugin.live if plugin.runs else None
        return live.instance.target if live is not None and live.instance is not None else None

    async def extend(self, bundle: PluginBundle) -> None:
        """Give a plugin that may be running already more functions."""
        plugin = self._roster.get(bundle.name)
        plugin.bundle = bundle
        self._roster.edit(plugin, advertised=bundle.advertised)
        if (live := plugin.live) is not None and plugin.runs:
            live.bundle = bundle
            target = live.instance.target if live.instance is not None else None
            activate = partial(self._deployment.activate, bundle, target)
            live.specs = await self._pool.run(f"{bundle.name}:extend", activate)
            self._roster.edit(plugin, functions=tuple(spec.name for spec in live.specs))

    async def restart(self, name: str) -> PluginRecord:
        """Stop a plugin and what depends on it, then start it and its dependents."""
        await self.stop(name, "is being restarted")
        return await self.start(name)

    async def fail(self, name: str, fault: Fault) -> PluginRecord:
        """Note that a plugin has failed, and wait for what follows."""
        plugin = self._roster.get(name)
        if plugin.live is not None:
            self._supervisor.fail(plugin, fault, plugin.live)
            await self._supervisor.settled(self._supervisor.family(name))
        return plugin.record

    async def health(self, name: str | None, timeout: float) -> Mapping[str, Health]:
        """Ask plugins how they are."""
        names = list(self._roster.plugins) if name is None else [self._roster.get(name).name]
        return await self.checks.ask(names, timeout)


def _is_open(plugin: Plugin) -> bool:
    """Tell whether a plugin's name may be used again: nothing of it is loaded."""
    return plugin.bundle is None or (plugin.bundle.fault is not None and plugin.live is None)


def _not_running(plugin: Plugin) -> PluginError:
    """Say why a plugin does not run although somebody has started it."""
    name, fault = plugin.name, plugin.record.fault
    if plugin.leaving:
        return PluginError(name, "start", plugin.leaving, "wait for that")
    if fault is not None:
        return PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
    fixes = {
        PluginState.DISABLED: "enable it first",
        PluginState.UNLOADED: "add it again first",
        PluginState.DISCOVERED: "add its definition first",
    }
    reason = f"it is {plugin.state}"
    return PluginError(name, "start", reason, fixes.get(plugin.state, "somebody stopped it: start it again"))
