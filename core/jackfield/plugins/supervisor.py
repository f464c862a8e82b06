"""The supervisor: brings every plugin to where it is wanted, one step at a time.

What is wanted is data: verbs, faults and restarts only set it. What is *due* follows from it, by one rule: a plugin is
due when it is wanted, nothing speaks against it, and everything that it depends on is due. From there on it is level-
triggered: each plugin is driven by a coroutine that takes the next step for as long as there is one, and whatever
happens to a plugin has its neighbours looked at again. A plugin that is due starts as soon as all that it depends on
runs; one that is not due stops as soon as nothing that depends on it is active.

All of this lives on the control loop, without a lock. Nothing of a plugin runs there: `steps` does that in threads.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from time import monotonic
from typing import Any, Final, Literal, Protocol

from jackfield.errors import Fault, ResourceExhausted
from jackfield.model.record import PluginState
from jackfield.plugins.background import Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.restarts import Restarts
from jackfield.plugins.roster import Attempt, Live, Plugin, Roster
from jackfield.plugins.steps import Steps, Stopped, as_fault
from jackfield.plugins.transitions import ACTIVE, STARTABLE
from jackfield.runtime.control import ControlLoop
from jackfield.stack import blamed, frames, logged
from jackfield.strangers import is_a

WIDTH: Final = 64
"""How many plugins start at the same time, and how many stop."""

_SAVING: Final = 1.0
"""Seconds that a state may take to be kept, even when all plugins are to have stopped by now."""

_Kind = Literal["start", "stop"]
_Step = Callable[[Plugin], Coroutine[Any, Any, None]]

UNLOADING: Final = "it is being unloaded"
"""Why no start may begin of a plugin that is on its way out; nobody asks for its state."""

REPLACING: Final = "it is being loaded anew"
"""Why no start may begin of a plugin whose next start gets the state that it leaves now."""


class States(Protocol):
    """Keeps what plugins give as their state, from one instance to the next."""

    async def save(self, plugin: str, version: str, value: bytes, /) -> None:
        """Keep a state."""
        ...

    async def latest(self, plugin: str, /) -> bytes | None:
        """Give the state that was kept last, or None."""
        ...

    async def forget(self, plugin: str, /) -> object:
        """Forget all states of a plugin."""
        ...


class Supervisor:
    """Drives the plugins of one host. It belongs to the control loop.

    Args:
        roster: the plugins.
        steps: start and stop single ones.
        backgrounds: their background work.
        states: where their states are kept.
        control: the control loop.

    Attributes:
        until: when everything is to have ended, on the clock, while all plugins are being stopped; else infinity.
    """

    def __init__(
        self, roster: Roster, steps: Steps, backgrounds: Backgrounds, states: States, control: ControlLoop
    ) -> None:
        self._roster = roster
        self._steps = steps
        self._backgrounds = backgrounds
        self._states = states
        self._control = control
        self._clock = control.clock
        self.restarts = Restarts(roster, control.clock, self._try_again)
        self.until = math.inf
        # Starts do not keep stops waiting: many that hang would.
        self._ready: dict[_Kind, deque[Plugin]] = {"start": deque(), "stop": deque()}
        self._tasks: dict[_Kind, list[asyncio.Task[None]]] = {"start": [], "stop": []}
        self._called_by: asyncio.AbstractEventLoop | None = None  # the loop that is about to look at what is ready

    # --- Where plugins are to be ------------------------------------------------------------------------------------

    def review(self, *names: str) -> None:
        """Work out anew whether some plugins are due, and with them whoever depends on them; have each looked after."""
        todo, waiting, seen = deque(names), set(names), dict[str, Plugin]()
        while todo:
            name = todo.popleft()
            waiting.discard(name)
            plugin = self._roster.plugins.get(name)
            if plugin is None:
                continue
            seen[name] = plugin
            due = self._is_due(plugin)
            if due is not plugin.due:
                plugin.due = due
                above = [each for each in self._roster.dependents(name) if each not in waiting]
                todo += above
                waiting.update(above)
                if not due:
                    self._interrupt(plugin)
        for plugin in seen.values():  # only now is it known of all of them
            self.nudge(plugin)
            plugin.wake()

    def _is_due(self, plugin: Plugin) -> bool:
        known = self._roster.plugins
        return (
            plugin.wanted
            and plugin.failure is None
            and not plugin.leaving
            and plugin.bundle is not None
            and plugin.state is not PluginState.DISABLED
            and all(name in known and known[name].due for name in plugin.depends_on)
        )

    def nudge(self, plugin: Plugin) -> None:
        """Have a plugin take its next step, if there is one and none is under way."""
        self._rest(plugin)
        if plugin.task is None and (found := self._next(plugin)) is not None:
            self._ready[found[0]].append(plugin)
            loop = asyncio.get_running_loop()
            if self._called_by is not loop:
                self._called_by = loop
                loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Have tasks drive what is ready, as far as there is room; those that have just driven another were first."""
        self._called_by = None
        for kind, ready in self._ready.items():
            if ready:
                busy = [task for task in self._tasks[kind] if not task.done()]
                new = min(len(ready), WIDTH - len(busy))
                self._tasks[kind] = busy + [asyncio.create_task(self._drive(kind)) for _ in range(new)]

    async def _drive(self, kind: _Kind) -> None:
        """Take the steps of one plugin after the other, each until it is where it is to be."""
        ready = self._ready[kind]
        while ready:
            plugin = ready.popleft()
            found = self._next(plugin)
            if plugin.task is not None or found is None or found[0] != kind:
                continue
            plugin.task = asyncio.current_task()
            try:
                while found is not None:  # a step says what it is at before it waits for anything
                    await found[1](plugin)
                    self._rest(plugin)
                    found = self._next(plugin)
            except Exception as error:  # noqa: BLE001  # a fault of ours must not leave a plugin without its coroutine
                self._roster.say("ERROR", f"plugin {plugin.name}: {logged(error)}", stack=frames(error))
            finally:
                plugin.task = None
                plugin.wake()

    def _next(self, plugin: Plugin) -> tuple[_Kind, _Step] | None:
        if plugin.live is not None:
            stays = plugin.due and plugin.runs  # a start that was ended early is stopped, whoever wants it again
            return None if stays or plugin.users else ("stop", self._stop)
        if plugin.due and not plugin.missing and plugin.state in STARTABLE:
            return "start", self._start
        return None

    def _rest(self, plugin: Plugin) -> None:
        """Bring the record of a plugin in line that neither runs nor is to run."""
        if plugin.live is not None or plugin.due or plugin.state not in STARTABLE:
            return
        if plugin.wanted and plugin.failure is None and not plugin.leaving:
            missing = self._missing(plugin)
            if plugin.state is not PluginState.BLOCKED:
                self._roster.change(plugin, PluginState.BLOCKED, missing)
            elif missing != plugin.record.fault:
                self._roster.edit(plugin, fault=missing)
        elif plugin.state is PluginState.BLOCKED:
            self._roster.change(plugin, PluginState.STOPPED)

    def _missing(self, plugin: Plugin) -> Fault:
        """Say which of those that a plugin needs is not there, and why."""
        known = self._roster.plugins
        needed = next((name for name in plugin.depends_on if name not in known or not known[name].due), plugin.name)
        other = known.get(needed)
        why, fix = "is not there", f"start {needed!r} first"
        if other is not None:
            cause = other.failure or other.record.fault
            if other.failure is not None:
                why = f"failed ({other.failure.stage}: {other.failure.reason})"
            elif other.state in ACTIVE or other.state is PluginState.STOPPED:
                why = other.ended
            else:
                why = f"is {other.state}" + (f" ({cause.stage}: {cause.reason})" if cause is not None else "")
            fix = (cause.fix if cause is not None else "") or fix
        return Fault("start", plugin.name, plugin.name, f"it needs {needed!r}, which {why}", fix)

    def _interrupt(self, plugin: Plugin) -> None:
        """End a start early that is not wanted any more; a stop goes on."""
        if plugin.attempt is not None and plugin.attempt.stage == "start" and not plugin.attempt.cancelled:
            if plugin.state is PluginState.STARTING:
                self._roster.change(plugin, PluginState.STOPPING)
            plugin.attempt.interrupt()

    # --- The steps --------------------------------------------------------------------------------------------------

    def attempt(self, live: Live, stage: _Kind, doing: str, seconds: float) -> Attempt:
        """Begin a start or stop.

        Args:
            live: what is started or stopped.
            stage: which of the two.
            doing: what it is at first.
            seconds: how long it may take.
        """
        now = self._clock()
        seconds = min(seconds, max(self.until - now, 0.0))
        return Attempt(live, stage, now, now + seconds, monotonic() + seconds, doing)

    async def _start(self, plugin: Plugin) -> None:
        assert plugin.bundle is not None  # noqa: S101  # for the type checker: only what is there is due
        self.restarts.cancel(plugin)
        live = plugin.live = Live(plugin.bundle, self._backgrounds.of(plugin.name).open())
        attempt = self.attempt(live, "start", "making the plugin object", plugin.bundle.start_timeout)
        plugin.attempt, plugin.well_since = attempt, attempt.began
        self._roster.change(plugin, PluginState.STARTING)
        try:
            script = partial(self._steps.start, attempt, partial(self._latest, attempt), self._unstopped(plugin))
            await self._steps.run(attempt, script, self._steps.undo)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a plugin raises fails that plugin alone
            plugin.attempt = plugin.live = None
            self._failed(plugin, attempt, error)
            return
        plugin.attempt, plugin.bundle = None, live.bundle
        if plugin.due and not attempt.cancelled:
            names = tuple(spec.name for spec in live.specs)
            version, advertised = live.bundle.version, live.bundle.advertised
            self._roster.change(plugin, PluginState.RUNNING, functions=names, version=version, advertised=advertised)
            self.look_around(plugin)
        # Else somebody does not want it any more: it is stopped next.

    def _latest(self, attempt: Attempt) -> bytes | None:
        """Ask for the state that was kept last, in the thread of a start that can give it to its plugin."""
        asked = self._control.submit(self._states.latest(attempt.live.bundle.name))
        attempt.watch(asked)
        return asked.result()

    def _failed(self, plugin: Plugin, attempt: Attempt, error: BaseException) -> None:
        """Decide what a plugin is whose start has failed, or was ended early."""
        left_behind = is_a(error, TimeoutError)
        if left_behind or not attempt.cancelled:
            plugin.failure = plugin.failure or as_fault(error, attempt)
            stack = [] if left_behind else frames(error)
            self._roster.change(plugin, PluginState.FAILED, plugin.failure, stack=stack)
            if plugin.wanted:
                self.restarts.schedule(plugin)
        else:
            self._come_to_rest(plugin, None)
        self.look_around(plugin)

    async def _stop(self, plugin: Plugin) -> None:
        live = plugin.live
        assert live is not None  # noqa: S101  # for the type checker: it runs
        attempt = self.attempt(live, "stop", "taking its functions away", live.bundle.stop_timeout)
        plugin.attempt = attempt
        if plugin.state is not PluginState.STOPPING:
            self._roster.change(plugin, PluginState.STOPPING)
        keep = plugin.failure is None and plugin.leaving != UNLOADING
        try:
            stopped = await self._steps.run(attempt, partial(self._steps.stop, attempt, keep=keep), _nothing)
            if stopped.state is not None:
                await self._save(plugin, live.bundle, stopped)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # given up, or no thread to be had
            stopped = Stopped(faults=[as_fault(error, attempt)], ended=False)
            plugin.unstopped = live if is_a(error, ResourceExhausted) else None
        plugin.attempt = plugin.live = None
        if not stopped.ended:
            plugin.failure = plugin.failure or stopped.faults[-1]
        if plugin.failure is not None:
            for fault in stopped.faults:
                if fault is not plugin.failure:
                    self._roster.say("ERROR", fault)
            self._roster.change(plugin, PluginState.FAILED, plugin.failure, functions=())
            if plugin.wanted:
                self.restarts.schedule(plugin)
        else:
            self._come_to_rest(plugin, next(iter(stopped.faults), None))
        self.look_around(plugin)

    def _unstopped(self, plugin: Plugin) -> Attempt | None:
        """Begin the stop of what no thread could be had for; the next start begins with it."""
        live, plugin.unstopped = plugin.unstopped, None
        return None if live is None else self.attempt(live, "stop", "stopping it at last", live.bundle.stop_timeout)

    def _come_to_rest(self, plugin: Plugin, fault: Fault | None) -> None:
        """Note that a plugin has stopped: because of what it depends on, or for itself."""
        if plugin.wanted and not plugin.leaving and not plugin.due:
            self._roster.change(plugin, PluginState.BLOCKED, self._missing(plugin), functions=())
        else:
            self._roster.change(plugin, PluginState.STOPPED, fault, functions=())

    async def _save(self, plugin: Plugin, bundle: PluginBundle, stopped: Stopped) -> None:
        try:
            async with asyncio.timeout_at(max(self.until, self._clock() + _SAVING)):
                await self._states.save(plugin.name, bundle.version, stopped.state or b"")
        except Exception as error:  # noqa: BLE001  # the store is somebody else's: the plugin has stopped all the same
            reason = f"its state could not be kept: {blamed(error)}"
            stopped.faults.append(Fault("snapshot", plugin.name, plugin.name, reason, "keep large state elsewhere"))

    def look_around(self, plugin: Plugin) -> None:
        """Have those looked after that may wait for a plugin: itself, its dependents, what it depends on."""
        if self._is_due(plugin) is not plugin.due:
            self.review(plugin.name)
        elif plugin.task is None:  # else it looks for its next step itself
            self.nudge(plugin)
        known = self._roster.plugins
        for name in self._roster.dependents(plugin.name):
            if not known[name].missing or not known[name].due:
                self.nudge(known[name])
        for name in plugin.depends_on:
            if name in known and not known[name].users:
                self.nudge(known[name])

    # --- Waiting ----------------------------------------------------------------------------------------------------

    def want(self, plugin: Plugin, *, wanted: bool, ended: str = "was stopped") -> None:
        """Note that a plugin is to run, or not."""
        plugin.wanted, plugin.ended = wanted, ended
        if wanted:
            plugin.failure = None
            plugin.in_a_row = 0

    async def settled(self, names: Collection[str]) -> None:
        """Wait until some plugins are where they are to be."""
        again = True
        while again:
            again = False
            for name in names:
                plugin = self._roster.plugins[name]
                while not self._is_settled(plugin):
                    again = True
                    waiting = asyncio.get_running_loop().create_future()
                    plugin.changed.append(waiting)
                    await waiting

    def _is_settled(self, plugin: Plugin) -> bool:
        if plugin.task is not None or plugin.state in ACTIVE:
            return plugin.task is None and plugin.runs and plugin.due
        return not plugin.due

    def family(self, *names: str) -> list[str]:
        """Give some plugins and all that depend on them."""
        todo, seen = deque(names), dict[str, None]()
        while todo:
            each = todo.popleft()
            if each not in seen:
                seen[each] = None
                todo.extend(self._roster.dependents(each))
        return list(seen)

    def fail(self, plugin: Plugin, fault: Fault, live: Live) -> None:
        """Fail a plugin, if the start that is meant is still the present one: it is stopped after its dependents."""
        if plugin.live is live and plugin.failure is None:
            plugin.failure = fault
            self.review(plugin.name)

    def _try_again(self, plugin: Plugin) -> None:
        """Start a plugin whose restart is due."""
        plugin.failure = None
        self.review(plugin.name)


def _nothing(_: Attempt) -> None:
    return None
