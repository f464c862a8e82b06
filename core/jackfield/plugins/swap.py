"""Replacing the running instance of a plugin by a new one without losing a call.

The order, and why:

1. the old one's `snapshot()` is kept: what cannot be kept stops the swap before anything has changed;
2. the new one is made, gets the state by `restore()`, starts, and is asked for its health: a failure in any of them
   ends the new one, and the old one goes on as if nothing had been;
3. the pointer moves: the functions of the new one come and those of the old one go in one swap of the registry;
4. the old one drains: calls that are inside finish, or meet their deadlines;
5. its final `snapshot()` is kept as well;
6. it idles until `keep_warm` ends, so that a rollback of the registry finds it at work; then it stops.

A rollback moves calls, not state.

An upgrade takes the same steps with a pause after the second: the functions of the new one stand beside those of the
old one until somebody, or an analysis, has decided between the two. Then the steps from the third on are taken with
whichever of them goes.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs

from jackfield.errors import Fault, PluginError, ResourceExhausted
from jackfield.model.route import Endpoint
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.background import Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.handover import take_state
from jackfield.plugins.roster import Attempt, Live, Plugin, Roster
from jackfield.plugins.steps import Steps, Stopped, as_fault
from jackfield.plugins.supervisor import States, Supervisor
from jackfield.stack import blamed
from jackfield.strangers import is_a

T = TypeVar("T")
_Move = Callable[[PluginBundle, Any], tuple[tuple[FunctionSpec, ...], tuple[Endpoint, ...]]]


@attrs.frozen
class SwapReport:
    """What a swap came to.

    Attributes:
        plugin: its name.
        old: the version that ran before.
        new: the version that runs now; the same when there was nothing to do.
        state_handed: whether the old instance's state was given to the new one.
        left: names of functions with calls that did not end in time, and are left behind in the old version.
        faults: what went wrong after the pointer had moved.
    """

    plugin: str
    old: str
    new: str
    state_handed: bool = False
    left: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


class Warm:
    """The old instances that idle, each until its time has come, nobody uses it, or its plugin stops.

    It belongs to the control loop.

    Args:
        steps: stop them.
        deployment: tells whether calls go to them.
        roster: where faults are said.
        supervisor: times their stops.
    """

    def __init__(self, steps: Steps, deployment: Deployment, roster: Roster, supervisor: Supervisor) -> None:
        self._steps = steps
        self._deployment = deployment
        self._roster = roster
        self._supervisor = supervisor
        self._idle: dict[Live, tuple[asyncio.TimerHandle, Sequence[Endpoint]]] = {}
        self._ending: set[asyncio.Task[list[Fault]]] = set()

    def keep(self, old: Live, gone: Sequence[Endpoint], seconds: float) -> None:
        """Keep one; again as long whenever calls go to it when its time is over.

        Args:
            old: the instance.
            gone: its functions.
            seconds: how long.
        """
        timer = asyncio.get_running_loop().call_later(seconds, self._due, old, gone, seconds)
        self._idle[old] = timer, gone

    def specs(self, plugin: str) -> set[FunctionSpec]:
        """Give the functions of those of one plugin."""
        idle = (gone for live, (_, gone) in self._idle.items() if live.bundle.name == plugin)
        return {endpoint.spec for gone in idle for endpoint in gone}

    async def end(self, plugin: str | None = None) -> None:
        """Stop those of one plugin now, or all of them, and wait for it."""
        mine = [live for live in self._idle if plugin is None or live.bundle.name == plugin]
        for live in mine:
            self._idle.pop(live)[0].cancel()
        await asyncio.gather(*map(self.stop, mine))

    async def stop(self, old: Live) -> list[Fault]:
        """Stop an instance that has no functions any more.

        Returns:
            What went wrong; each was logged.
        """
        attempt = self._supervisor.attempt(old, "stop", "ending its background work", old.bundle.stop_timeout)
        stopped = Stopped()
        try:
            await self._steps.run(attempt, partial(self._steps.stop_object, attempt, stopped), _nothing)
            await self._steps.pool.run(f"{old.bundle.name}:retire", partial(self._deployment.retire, old.bundle))
        except Exception as error:  # noqa: BLE001  # given up, or no thread to be had
            stopped.faults.append(as_fault(error, attempt))
        for fault in stopped.faults:
            self._roster.say("ERROR", fault)
        return stopped.faults

    def _due(self, old: Live, gone: Sequence[Endpoint], seconds: float) -> None:
        if self._deployment.in_use(gone):
            self.keep(old, gone, seconds)
            return
        del self._idle[old]
        task = asyncio.get_running_loop().create_task(self.stop(old))
        self._ending.add(task)  # else it might be collected
        task.add_done_callback(self._ending.discard)


class Swap:
    """Replaces instances. It belongs to the control loop.

    Args:
        supervisor: drives the plugins.
        roster: the plugins.
        steps: start and stop single ones.
        backgrounds: their background work.
        states: where their states are kept.
        deployment: where they run.
        warm: keeps old instances.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        roster: Roster,
        steps: Steps,
        backgrounds: Backgrounds,
        states: States,
        deployment: Deployment,
        warm: Warm,
    ) -> None:
        self._supervisor = supervisor
        self._roster = roster
        self._steps = steps
        self._backgrounds = backgrounds
        self._states = states
        self._deployment = deployment
        self._warm = warm

    async def run(self, name: str, bundle: PluginBundle, keep_warm: float) -> SwapReport:
        """Replace the running instance.

        Args:
            name: the plugin.
            bundle: the new version.
            keep_warm: seconds that the old instance idles before it stops.

        Raises:
            PluginError: with the stage that failed; then the old instance runs on, and serves.
        """
        plugin = self._roster.get(name)
        return await self._alone(plugin, partial(self._replace, plugin, bundle=bundle, keep_warm=keep_warm))

    async def join(self, name: str, bundle: PluginBundle) -> tuple[FunctionSpec, ...]:
        """Start another version beside the running one, with the state of that, and make its functions callable.

        Args:
            name: the plugin.
            bundle: the new version; none of its functions has the version of one that is there.

        Returns:
            Its functions.

        Raises:
            PluginError: with the stage that failed; then nothing of it is left.
        """
        plugin = self._roster.get(name)
        return await self._alone(plugin, partial(self._join, plugin, bundle=bundle))

    async def settle(self, name: str, bundle: PluginBundle, *, promoted: bool) -> SwapReport | None:
        """Decide between two versions that run side by side: the one that is not to stay drains, and stops.

        Args:
            name: the plugin.
            bundle: the newer one.
            promoted: whether that one stays; not if the plugin has stopped meanwhile.

        Returns:
            What it came to; None if it has been decided already.
        """
        plugin = self._roster.get(name)
        while plugin.task is not None:
            waiting = asyncio.get_running_loop().create_future()
            plugin.changed.append(waiting)
            await waiting
        beside = plugin.beside
        if beside is None or beside.bundle is not bundle:
            return None
        if promoted and plugin.runs and plugin.due and plugin.live is not None:
            plugin.beside = None
            return await self._alone(plugin, partial(self._promote, plugin, fresh=beside))
        return await self._abort(plugin, beside)

    async def end(self, name: str | None = None) -> None:
        """End what runs beside one plugin, or beside any: that has stopped, and there is nothing to decide any more."""
        plugins = [self._roster.get(name)] if name is not None else self._roster.plugins.values()
        await asyncio.gather(*(self._abort(each, each.beside) for each in plugins if each.beside is not None))

    async def _alone(self, plugin: Plugin, step: Callable[[Live], Coroutine[Any, Any, T]]) -> T:
        """Do something with the running instance while nobody takes another step of the plugin."""
        name, old = plugin.name, plugin.live
        if not plugin.runs or old is None or not plugin.due:
            raise PluginError(name, "reload", f"it is {plugin.state}, not running", f"start {name!r} first")
        if plugin.task is not None:
            raise PluginError(name, "state", "it is being replaced", "wait for that")
        if plugin.beside is not None:
            version = plugin.beside.bundle.version
            raise PluginError(name, "state", f"its version {version} is on trial", "promote or abort that canary first")
        # As its coroutine; whoever waits may go.
        plugin.task = task = asyncio.get_running_loop().create_task(step(old))
        task.add_done_callback(lambda _: self._let_go(plugin))
        return await asyncio.shield(task)

    def _let_go(self, plugin: Plugin) -> None:
        plugin.task = plugin.attempt = None
        self._supervisor.nudge(plugin)
        plugin.wake()

    async def _replace(self, plugin: Plugin, old: Live, *, bundle: PluginBundle, keep_warm: float) -> SwapReport:
        fresh, gone, handed = await self._begin(plugin, old, bundle, self._deployment.replace)
        return await self._moved(plugin, old, fresh, gone, keep_warm=keep_warm, handed=handed)

    async def _join(self, plugin: Plugin, old: Live, *, bundle: PluginBundle) -> tuple[FunctionSpec, ...]:
        fresh, _, _ = await self._begin(plugin, old, bundle, self._beside)
        self._backgrounds.of(plugin.name).reopen(old.term)
        plugin.beside = fresh
        self._roster.say("INFO", f"plugin {plugin.name}: {bundle.version} runs beside {old.bundle.version}")
        return fresh.specs

    def _beside(self, bundle: PluginBundle, instance: Any) -> tuple[tuple[FunctionSpec, ...], tuple[Endpoint, ...]]:
        return self._deployment.activate(bundle, instance), ()

    async def _promote(self, plugin: Plugin, old: Live, *, fresh: Live) -> SwapReport:
        script = partial(self._deployment.withdraw, plugin.name, old.specs)
        try:
            gone = await self._steps.pool.run(f"{plugin.name}:promote", script)
        except BaseException:
            plugin.beside = fresh  # no thread to be had: somebody will try it again
            raise
        self._backgrounds.of(plugin.name).reopen(fresh.term)
        return await self._moved(plugin, old, fresh, gone, keep_warm=0.0, handed=False)

    async def _abort(self, plugin: Plugin, beside: Live) -> SwapReport:
        name, plugin.beside = plugin.name, None
        left: tuple[str, ...] = ()
        try:
            left = await self._steps.pool.run(f"{name}:drain", partial(self._take_away, name, beside))
        except ResourceExhausted as error:
            self._roster.say("ERROR", Fault("drain", name, name, f"its calls were not waited for: {error}"))
        version = beside.bundle.version
        faults = await self._warm.stop(beside)
        stays = plugin.bundle.version if plugin.bundle is not None else ""
        self._roster.say("INFO", f"plugin {name}: {version} has gone again")
        return SwapReport(name, version, stays, left=left, faults=tuple(faults))

    def _take_away(self, name: str, beside: Live) -> tuple[str, ...]:
        gone = self._deployment.withdraw(name, beside.specs)
        return self._deployment.drain(gone, beside.bundle.stop_timeout)

    async def _begin(
        self, plugin: Plugin, old: Live, bundle: PluginBundle, move: _Move
    ) -> tuple[Live, tuple[Endpoint, ...], bool]:
        """Bring a new version up with the state of the old one; give it, what went, and whether it got a state."""
        name = plugin.name
        state = await self._taken(old)
        fresh = Live(bundle, self._backgrounds.of(name).open())
        attempt = plugin.attempt = self._supervisor.attempt(fresh, "start", "making it", bundle.start_timeout)
        try:
            script = partial(self._bring_up, attempt, state, move)
            gone = await self._steps.run(attempt, script, self._steps.undo)
        except BaseException as error:
            self._backgrounds.of(name).reopen(old.term)
            raise self._refused(error, attempt) from error
        plugin.attempt = None
        return fresh, gone, state is not None

    async def _moved(
        self, plugin: Plugin, old: Live, fresh: Live, gone: Sequence[Endpoint], *, keep_warm: float, handed: bool
    ) -> SwapReport:
        """Have a version take the place of another whose functions have gone, and that one drain and stop."""
        name, timeout, bundle = plugin.name, old.bundle.stop_timeout, fresh.bundle
        plugin.live, plugin.bundle = fresh, bundle
        functions = tuple(spec.name for spec in fresh.specs)
        self._roster.edit(plugin, version=bundle.version, functions=functions, advertised=bundle.advertised)
        self._roster.say("INFO", f"plugin {name}: {old.bundle.version} → {bundle.version}")
        kept = {*old.specs, *(endpoint.spec for endpoint in gone), *fresh.specs, *self._warm.specs(name)}
        old.specs = ()
        faults: list[Fault] = []
        left: tuple[str, ...] = ()
        try:
            left = await self._steps.pool.run(f"{name}:drain", partial(self._retire, name, gone, timeout, kept))
        except ResourceExhausted as error:  # the calls have moved: what follows cannot fail the swap any more
            faults.append(Fault("drain", name, name, f"its calls were not waited for: {error}"))
        try:
            await self._taken(old)
        except PluginError as error:
            faults.append(Fault(error.stage, name, name, error.reason, error.fix))
        if keep_warm > 0:
            self._warm.keep(old, gone, keep_warm)
        else:
            faults += await self._warm.stop(old)
        return SwapReport(name, old.bundle.version, bundle.version, handed, left, tuple(faults))

    def _bring_up(self, attempt: Attempt, state: bytes | None, move: _Move) -> tuple[Endpoint, ...]:
        """Bring the new version up, in a thread, and have it called, unless it is to stop by then."""
        self._steps.bring_up(attempt, lambda: state, check=True)
        live = attempt.live
        attempt.doing = "registering its functions"
        try:
            _refuse_cancelled(attempt)
            target = live.instance.target if live.instance is not None else None
            live.specs, gone = move(live.bundle, target)
        except BaseException:
            self._steps.undo(attempt)
            raise
        return gone

    def _retire(
        self, name: str, gone: Sequence[Endpoint], timeout: float, kept: Collection[FunctionSpec]
    ) -> tuple[str, ...]:
        """Wait for the calls inside the old instance; let the history have no instance that is older still."""
        self._deployment.keep_only(name, kept)
        return self._deployment.drain(gone, timeout)

    async def _taken(self, live: Live) -> bytes | None:
        """Ask an instance for its state, and keep that."""
        bundle = live.bundle
        if live.instance is None or not live.instance.has("snapshot"):
            return None
        attempt = self._supervisor.attempt(live, "stop", "snapshot()", bundle.stop_timeout)
        try:
            script = partial(take_state, live.instance, attempt.deadline)
            async with asyncio.timeout_at(attempt.ends):
                state = await self._steps.pool.run(f"{bundle.name}:snapshot", script)
            if state is not None:
                await self._states.save(bundle.name, bundle.version, state)
        except PluginError:
            raise
        except TimeoutError:
            reason = f"snapshot() took longer than {bundle.stop_timeout:g} s"
            raise PluginError(bundle.name, "snapshot", reason, "make snapshot() return sooner") from None
        except Exception as error:
            reason = f"its state could not be kept: {blamed(error)}"
            raise PluginError(bundle.name, "snapshot", reason, "keep large state elsewhere") from error
        return state

    def _refused(self, error: BaseException, attempt: Attempt) -> PluginError:
        if is_a(error, PluginError):
            return error
        name = attempt.live.bundle.name
        if is_a(error, TimeoutError):
            reason = f"the new version took longer than {attempt.ends - attempt.began:.3g} s to start"
            return PluginError(name, "start", reason, "raise start_timeout, or make start() return sooner")
        fault = as_fault(error, attempt)
        return PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))


def _refuse_cancelled(attempt: Attempt) -> None:
    if attempt.cancelled:
        name = attempt.live.bundle.name
        reason = "somebody stopped it, or it failed, meanwhile"
        raise PluginError(name, "reload", reason, f"start {name!r}, then reload it again")


def _nothing(_: Attempt) -> None:
    return None
