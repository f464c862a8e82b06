"""All plugins of a host: where each is, and telling the world of every change."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

from jackfield.errors import Fault, PluginError, ResourceExhausted
from jackfield.events.announced import PluginFailed, PluginStarted, PluginStateChanged, PluginStopped
from jackfield.log import host_log
from jackfield.model.names import close_names
from jackfield.model.record import PluginRecord, PluginState
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.instance import Instance
from jackfield.plugins.transitions import ACTIVE, TRANSITIONS
from jackfield.plugins.work import Term
from jackfield.ports import Clock
from jackfield.runtime.pool import Pool
from jackfield.stack import frames, logged

_Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_Said = tuple[_Level, str | Fault, dict[str, object]]
ASKING: Final = "asking the store for its state"
_AGAIN: Final = 1.0  # seconds until a thread to tell in is asked for again, when the system gives none
_RUNNING, _STOPPING, _FAILED = PluginState.RUNNING, PluginState.STOPPING, PluginState.FAILED  # slow to look up on 3.11
_MANY: Final = 8  # plugins that went the same way at once, to be told of in one line
_LEVELS: Mapping[PluginState, _Level] = {
    PluginState.RUNNING: "INFO",
    PluginState.STOPPED: "INFO",
    PluginState.UNLOADED: "INFO",
    PluginState.DISABLED: "INFO",
    PluginState.BLOCKED: "WARNING",
    PluginState.FAILED: "ERROR",
}


@attrs.define(eq=False)
class Live:
    """One start of a plugin, until it has stopped again.

    Attributes:
        bundle: what was started.
        term: its background work.
        instance: its object, once that is made.
        started: whether the object's `start` has returned.
        specs: its functions that can be called.
    """

    bundle: PluginBundle
    term: Term
    instance: Instance | None = None
    started: bool = False
    specs: tuple[FunctionSpec, ...] = ()


@attrs.define(eq=False)
class Attempt:
    """One start or stop that is under way, in a thread.

    Attributes:
        live: what is started or stopped.
        stage: `start` or `stop`.
        began: when it began, on the host's clock.
        ends: when it will be given up, on the host's clock.
        deadline: the same on `time.monotonic`'s clock, which the plugin can ask.
        doing: what it is at, for people; set by the thread that does it.
        cancelled: whether somebody wants it to end early.
        waits: the async method that it waits for.
        outcome: what its script came to, a result or an error, once it has ended.
    """

    live: Live
    stage: Literal["start", "stop"]
    began: float
    ends: float
    deadline: float
    doing: str
    cancelled: bool = False
    waits: "Future[Any] | None" = None
    outcome: tuple[Any, BaseException | None] = (None, None)
    _open: list[None] = attrs.field(factory=lambda: [None])

    def settle(self) -> bool:
        """Decide, once and for all, whether it ended or was given up: true for the first that says so."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    def watch(self, future: "Future[Any]") -> None:
        """Note what it waits for, in its thread, so that it can be cancelled; cancel it if that is wanted already."""
        self.waits = future
        if self.cancelled:
            future.cancel()

    def interrupt(self) -> None:
        """Have it end early: what is async is cancelled, what is sync is told."""
        self.cancelled = True
        if (waits := self.waits) is not None:
            waits.cancel()
        self.live.term.ask_to_end()

    def overdue(self) -> Fault:
        """Say what took too long."""
        name, stage = self.live.bundle.name, self.stage
        how = f"make {self.doing if self.doing.endswith('()') else f'{stage}()'} end sooner"
        if self.doing == ASKING:
            how = "see to the store"
        elif "background" in self.doing:
            how = "let its threads watch Background.stopping"
        long = " (long work belongs into Background.spawn)" if stage == "start" else ""
        reason = f"{self.doing} took longer than {self.ends - self.began:.3g} s, and is left behind in its thread"
        return Fault(stage, name, name, reason, f"{how}{long}, or raise {stage}_timeout")


@attrs.define(eq=False)
class Plugin:
    """One plugin under supervision. It belongs to the control loop.

    Attributes:
        name: its name.
        state: where it is in its life.
        depends_on: the plugins that it needs.
        missing: how many of those do not run.
        users: how many that need it are active.
        fields: what its record says; replaced as a whole.
        bundle: what it is; None when only its name is known, or it is unloaded.
        wanted: whether somebody wants it to run.
        failure: what has happened to it; it is not tried again until somebody starts it, or its restart is due.
        leaving: why no start may begin, as in `it is being unloaded`; "" when one may.
        ended: what was done to it last, for those that depend on it: `was stopped`.
        due: whether it is to run: it is wanted, nothing speaks against it, and all that it depends on is due.
        live: its present start, while it starts, runs or stops.
        beside: another version of it, that runs until it is decided which of the two stays.
        unstopped: a start that could not be stopped, because the system gave no thread for it.
        attempt: the start or stop that is under way.
        task: what brings it to where it is to be; there is one while a step is under way.
        in_a_row: how many restarts there were since it last was well.
        timer: the restart that waits.
        well_since: when it began to run, on the host's clock.
        changed: whoever waits for something to happen to it.
    """

    name: str
    state: PluginState = PluginState.DISCOVERED
    depends_on: tuple[str, ...] = ()
    missing: int = 0
    users: int = 0
    fields: dict[str, Any] = attrs.field(factory=dict)
    bundle: PluginBundle | None = None
    wanted: bool = False
    failure: Fault | None = None
    leaving: str = ""
    ended: str = "was stopped"
    due: bool = False
    live: Live | None = None
    beside: Live | None = None
    unstopped: Live | None = None
    attempt: Attempt | None = None
    task: "asyncio.Task[Any] | None" = None
    in_a_row: int = 0
    timer: asyncio.TimerHandle | None = None
    well_since: float = 0.0
    changed: "list[asyncio.Future[None]]" = attrs.field(factory=list)
    _made: tuple[Mapping[str, Any], PluginRecord] | None = None

    @property
    def record(self) -> PluginRecord:
        """What everybody sees; for any thread. It is made when somebody looks, and not at every change."""
        fields, made = self.fields, self._made
        if made is None or made[0] is not fields:
            self._made = made = fields, PluginRecord(self.name, **fields)
        return made[1]

    def edit(self, fields: dict[str, Any]) -> None:
        """Change what its record says: all of it at once, for whoever looks meanwhile."""
        self.fields = {**self.fields, "state": self.state, "depends_on": self.depends_on, **fields}

    def wake(self) -> None:
        """Have whoever waits for something to happen to it look again."""
        if self.changed:
            waiting, self.changed = self.changed, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    @property
    def is_open(self) -> bool:
        """Whether its name may be used again: nothing of it is loaded."""
        return self.bundle is None or (self.bundle.fault is not None and self.live is None)

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self.state is _RUNNING


class Roster:
    """The plugins of a host by name. Everything but `records` and `flush` belongs to the control loop.

    Args:
        deployment: is told of each change.
        pool: where it is told to others.
        clock: where the time of changes comes from.

    Attributes:
        plugins: name → plugin.
    """

    def __init__(self, deployment: Deployment, pool: Pool, clock: Clock) -> None:
        self._shown: tuple[int, Mapping[str, PluginRecord]] = (0, MappingProxyType({}))
        self._edits = 0
        self.plugins: dict[str, Plugin] = {}
        self._deployment = deployment
        self._pool = pool
        self._clock = clock
        self._dependents: dict[str, dict[str, None]] = {}
        self._events: list[object] = []
        self._said: deque[_Said] = deque()
        self._dirty: dict[str, Plugin] = {}
        self._published: dict[str, PluginRecord] = {}
        self._due = False  # whether `publish` is about to be called
        self._telling = False  # whether `flush` is

    @property
    def records(self) -> Mapping[str, PluginRecord]:
        """Name → record of this moment, in the order of their coming; read-only, never changed, for any thread."""
        edits, shown = self._shown
        if edits != (now := self._edits):
            shown = MappingProxyType({name: plugin.record for name, plugin in self.plugins.copy().items()})
            self._shown = now, shown
        return shown

    def get(self, name: str) -> Plugin:
        """Give a plugin.

        Raises:
            PluginError: if nobody knows it; close names are in the fix.
        """
        plugin = self.plugins.get(name)
        if plugin is None:
            close = close_names(name, sorted(self.plugins))
            fix = (
                f"did you mean {' or '.join(map(repr, close))}?"
                if close
                else "`pluginctl status` shows those there are"
            )
            raise PluginError(name, "name", f"no plugin is named {name!r}", fix)
        return plugin

    def enter(self, bundle: PluginBundle) -> Plugin:
        """Put a plugin on the roster, or what is known of it in place of what was; a new one is discovered."""
        plugin = self.plugins.get(bundle.name)
        if plugin is None:
            plugin = self.plugins[bundle.name] = Plugin(bundle.name, fields={"since": self._clock.wall()})
        for needed in plugin.depends_on:
            self._dependents[needed].pop(bundle.name, None)
        plugin.depends_on = bundle.depends_on
        for needed in bundle.depends_on:
            self._dependents.setdefault(needed, {})[bundle.name] = None
        running = sum(self.plugins[needed].runs for needed in bundle.depends_on if needed in self.plugins)
        plugin.missing = len(bundle.depends_on) - running
        self.edit(
            plugin,
            version=bundle.version,
            auto_start=bundle.auto_start,
            location=bundle.location,
            advertised=bundle.advertised,
        )
        return plugin

    def dependents(self, name: str) -> Iterable[str]:
        """Give the plugins that depend directly on one."""
        return tuple(self._dependents.get(name, ()))

    def change(
        self, plugin: Plugin, state: PluginState, fault: Fault | None = None, *, quiet: bool = False, **fields: Any
    ) -> None:
        """Bring a plugin to another state, and tell everybody.

        Args:
            plugin: which.
            state: the new state; one that may follow.
            fault: what the record is to say is wrong.
            quiet: whether it is in the log already.
            **fields: further fields of the record; `stack` goes to the log.

        Raises:
            RuntimeError: for a transition that is not in the table: a fault of jackfield.
        """
        old = plugin.state
        if state not in TRANSITIONS[old]:
            raise RuntimeError(f"plugin {plugin.name} cannot go from {old} to {state}: this is a fault of jackfield")
        stack = fields.pop("stack", None)
        plugin.state = state
        self._count(plugin, old)
        self.edit(plugin, fault=fault, since=self._clock.wall(), **fields)
        was, becomes = old._value_, state._value_  # `value` is a property that costs five times as much
        self._events.append(PluginStateChanged(plugin.name, was, becomes))
        if state is _RUNNING:
            self._events.append(PluginStarted(plugin.name, plugin.fields["version"]))
        elif old is _STOPPING and state is not _FAILED:
            self._events.append(PluginStopped(plugin.name))
        elif state is _FAILED and fault is not None:
            self._events.append(PluginFailed(plugin.name, fault))
        level = _LEVELS.get(state)
        if level is None or quiet:  # what is on its way is an event, and not worth a line
            return
        extra: dict[str, object] = {"plugin": plugin.name, "state": becomes, "old": was}
        if stack:
            extra["stack"] = stack
        telling = fault if fault is not None and state in (PluginState.FAILED, PluginState.BLOCKED) else None
        self.say(level, telling or f"plugin {plugin.name}: {was} → {becomes}", **extra)

    def _count(self, plugin: Plugin, old: PluginState) -> None:
        """Keep the counts of its neighbours: who of those they need runs, and who needs them."""
        if (runs := plugin.runs) is not (old is _RUNNING):
            for name in self._dependents.get(plugin.name, ()):
                self.plugins[name].missing += -1 if runs else 1
        if (active := plugin.state in ACTIVE) is not (old in ACTIVE):
            for name in plugin.depends_on:
                if name in self.plugins:
                    self.plugins[name].users += 1 if active else -1

    def edit(self, plugin: Plugin, **fields: Any) -> None:
        """Change a record."""
        plugin.edit(fields)
        self._edits += 1
        self._dirty[plugin.name] = plugin
        self._publish_soon()
        plugin.wake()

    def say(self, level: _Level, message: str | Fault, **extra: object) -> None:
        """Log something in order with the changes."""
        self._said.append((level, message, extra))
        self._publish_soon()

    def _publish_soon(self) -> None:
        if not self._due:  # many changes of one turn of the loop are told together
            self._due = True
            asyncio.get_running_loop().call_soon(self.publish)

    def publish(self) -> None:
        """Show everybody what has changed in this turn of the loop, and have it told."""
        self._due = False
        dirty, self._dirty = self._dirty, {}
        events, self._events = self._events, []
        try:
            if dirty:
                self._published = {**self._published, **{name: plugin.record for name, plugin in dirty.items()}}
                self._deployment.publish(MappingProxyType(self._published), events)
        except Exception as error:  # noqa: BLE001  # a state that has changed has changed
            text = f"plugin events could not be announced: {logged(error)}"
            self._said.append(("ERROR", text, {"stack": frames(error)}))
        if (events or self._said) and not self._telling:
            self._tell()

    def _tell(self) -> None:
        """Have a thread tell; when the system gives none, ask again later, unless somebody else has told by then."""
        self._telling = True
        try:
            self._pool.start("jackfield-news", self.flush)
        except ResourceExhausted:
            asyncio.get_running_loop().call_later(_AGAIN, self._tell)

    def flush(self) -> None:
        """Log and deliver what has happened; for any thread but the control loop's."""
        self._telling = False  # whatever comes from here on needs another round
        said = []
        while self._said:
            try:
                said.append(self._said.popleft())
            except IndexError:  # another thread was quicker
                break
        for level, message, extra in _gathered(said):
            host_log(level, message, **extra)
        try:
            self._deployment.deliver()
        except Exception as error:  # noqa: BLE001  # a state that has changed has changed
            host_log("ERROR", "plugin events could not be delivered", error)


def _gathered(said: Sequence[_Said]) -> Iterator[_Said]:
    """Tell of many plugins that have gone the same way at once in one line; all else as it was said."""
    for (level, message), group in groupby(said, key=lambda each: (each[0], _way(each))):
        many = list(group)
        if not message or len(many) < _MANY:
            yield from many
            continue
        names = [str(extra["plugin"]) for _, _, extra in many]
        yield level, f"{len(names)} plugins: {message}: {', '.join(names)}", {"plugins": names}


def _way(said: _Said) -> str:
    """Give the way that a plugin has gone, if nothing else is to be said of it."""
    _, message, extra = said
    return f"{extra['old']} → {extra['state']}" if isinstance(message, str) and "old" in extra else ""
