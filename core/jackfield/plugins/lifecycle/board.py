"""The board on which every plugin's state stands: one writer at a time, readers without a lock."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, Literal

import attrs

from jackfield.errors import Fault, PluginError
from jackfield.events.announced import PluginFailed, PluginStarted, PluginStateChanged, PluginStopped
from jackfield.model.names import close_names
from jackfield.model.record import PluginRecord, PluginState
from jackfield.observe.logger import host_log
from jackfield.observe.stack import error_type
from jackfield.plugins.lifecycle.instance import Instance
from jackfield.plugins.lifecycle.plugin import PluginDefinition
from jackfield.plugins.lifecycle.states import TRANSITIONS
from jackfield.plugins.lifecycle.timetable import Timer
from jackfield.plugins.lifecycle.work import Term

_Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_LEVELS: Mapping[PluginState, _Level] = {
    PluginState.RUNNING: "INFO",
    PluginState.STOPPED: "INFO",
    PluginState.UNLOADED: "INFO",
    PluginState.DISABLED: "INFO",
    PluginState.BLOCKED: "WARNING",
    PluginState.FAILED: "ERROR",
}

Outcome = tuple[PluginState, Fault | None]
"""What a plugin becomes when its stop has ended well: stopped, or blocked or failed with a reason."""


@attrs.define(eq=False)
class Live:
    """One start of a plugin, until it has stopped again.

    Attributes:
        definition: what it was started from.
        term: its background work.
        instance: its object, once that is made.
        started: whether the object's `start` has returned.
        activated: whether its functions can be called.
    """

    definition: PluginDefinition
    term: Term
    instance: Instance | None = None
    started: bool = False
    activated: bool = False


@attrs.define(eq=False)
class Attempt:
    """One start or stop of one plugin that is under way. It changes only under the board's lock.

    Attributes:
        slot: whose it is.
        starting: whether it is a start.
        live: what is started or stopped.
        began: when it began, on `time.monotonic`'s clock.
        ends: when it will be given up, on the same clock.
        doing: what it is at, for people; set by the thread that does it.
        then: what the plugin becomes when it has stopped; for a start: when somebody wants it stopped meanwhile.
        cancelled: whether somebody wants it to end early.
        until: when that somebody gives up, if before the plugin's own timeouts.
        waits: the async method that it waits for.
        failure: what it has failed with, while it is being undone.
        done: set when the plugin's next state is decided.
    """

    slot: "Slot"
    live: Live
    began: float
    ends: float
    doing: str
    starting: bool = attrs.field(kw_only=True)
    then: Outcome = (PluginState.STOPPED, None)
    cancelled: bool = False
    until: float | None = None
    waits: "Future[Any] | None" = None
    failure: Fault | None = None
    done: "Future[None]" = attrs.field(factory=Future)


@attrs.define(eq=False)
class Slot:
    """One plugin on the board. It changes only under the board's lock.

    Attributes:
        record: what everybody sees.
        definition: how to handle it; None when it is only known by name, or unloaded.
        live: its present start, while it runs or stops.
        attempt: the start or stop that is under way; there is one exactly while the state is starting or stopping.
        leaving: why no start may begin, as in `it is being unloaded`; "" when one may.
        in_a_row: how many restarts there were since it last was well.
        timer: the restart that waits.
        well_since: when it began to run, on the timetable's clock.
    """

    record: PluginRecord
    definition: PluginDefinition | None = None
    live: Live | None = None
    attempt: Attempt | None = None
    leaving: str = ""
    in_a_row: int = 0
    timer: Timer | None = None
    well_since: float = 0.0

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.record.name

    @property
    def state(self) -> PluginState:
        """The plugin's state."""
        return self.record.state


class Board:
    """The states of all plugins, and telling the world of each change.

    Args:
        announce: gets the events of each change, in order, while the lock is held: it must only queue them.
        deliver: is called after changes, without a lock, in whatever thread they were made.
        wall: seconds since the epoch.

    Attributes:
        lock: held for decisions only, never while anything of a plugin runs.
        records: name → record; read-only and replaced as a whole, so it may be read without a lock.
        slots: name → what is behind the record; only under the lock.
    """

    def __init__(
        self,
        announce: Callable[[Sequence[object]], object],
        deliver: Callable[[], object],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.RLock()
        self._records: dict[str, PluginRecord] = {}
        self.records: Mapping[str, PluginRecord] = MappingProxyType(self._records)
        self.slots: dict[str, Slot] = {}
        self._announce = announce
        self._deliver = deliver
        self.wall = wall
        self._dependents: dict[str, dict[str, None]] = {}
        self._said: deque[tuple[_Level, str | Fault, dict[str, object]]] = deque()

    # ---- the lock is held by the caller ----

    def slot(self, name: str) -> Slot:
        """Give the slot of a plugin.

        Raises:
            PluginError: if nobody knows it; close names are in the fix.
        """
        slot = self.slots.get(name)
        if slot is None:
            close = close_names(name, sorted(self.slots))
            fix = f"did you mean {' or '.join(map(repr, close))}?" if close else "see `host.plugins` for what is there"
            raise PluginError(name, "name", f"no plugin is named {name!r}", fix)
        return slot

    def enter(self, record: PluginRecord) -> Slot:
        """Put a plugin on the board, or what is known of it in place of what was.

        A new one has just been discovered; one that was there keeps its state.
        """
        name = record.name
        slot = self.slots.get(name)
        now = self.wall()
        if slot is None:
            slot = self.slots[name] = Slot(attrs.evolve(record, state=PluginState.DISCOVERED, since=now))
        else:
            self._unlink(slot.record)
            slot.record = attrs.evolve(record, state=slot.record.state, fault=slot.record.fault, since=now)
        for wanted in record.depends_on:
            self._dependents.setdefault(wanted, {})[name] = None
        self._publish(slot)
        return slot

    def dependents(self, name: str) -> Iterable[str]:
        """Give the plugins that depend directly on one."""
        return tuple(self._dependents.get(name, ()))

    def change(self, slot: Slot, state: PluginState, fault: Fault | None = None, **fields: Any) -> None:
        """Bring a plugin to another state, and tell everybody.

        Args:
            slot: whose.
            state: the new state; one that may follow.
            fault: what the record is to say is wrong.
            **fields: further fields of the record; `stack` goes to the log.

        Raises:
            RuntimeError: for a transition that is not in the table: a fault of jackfield.
        """
        old = slot.record.state
        if state not in TRANSITIONS[old]:
            raise RuntimeError(f"plugin {slot.name} cannot go from {old} to {state}: this is a fault of jackfield")
        stack = fields.pop("stack", None)
        slot.record = attrs.evolve(slot.record, state=state, fault=fault, since=self.wall(), **fields)
        self._publish(slot)
        events: list[object] = [PluginStateChanged(slot.name, old.value, state.value)]
        if state is PluginState.RUNNING:
            events.append(PluginStarted(slot.name, slot.record.version))
        elif old is PluginState.STOPPING and state is not PluginState.FAILED:
            events.append(PluginStopped(slot.name))
        elif state is PluginState.FAILED and fault is not None:
            events.append(PluginFailed(slot.name, fault))
        self._queue(events)
        extra: dict[str, object] = {"plugin": slot.name, "state": state.value, "old": old.value}
        if stack:
            extra["stack"] = stack
        telling = fault if fault is not None and state in (PluginState.FAILED, PluginState.BLOCKED) else None
        self._said.append((_LEVELS.get(state, "DEBUG"), telling or f"plugin {slot.name}: {old} → {state}", extra))

    def edit(self, slot: Slot, **fields: Any) -> None:
        """Change a record without changing the state."""
        slot.record = attrs.evolve(slot.record, **fields)
        self._publish(slot)

    def say(self, level: _Level, message: str | Fault, **extra: object) -> None:
        """Log something in order with the changes."""
        self._said.append((level, message, extra))

    def _publish(self, slot: Slot) -> None:
        self._records = {**self._records, slot.name: slot.record}
        self.records = MappingProxyType(self._records)

    def _unlink(self, record: PluginRecord) -> None:
        for wanted in record.depends_on:
            self._dependents[wanted].pop(record.name, None)

    def _queue(self, events: Sequence[object]) -> None:
        try:
            self._announce(events)
        except Exception as error:  # noqa: BLE001  # a state that has changed has changed
            self._said.append(("ERROR", f"plugin events could not be announced: {error_type(error)}: {error}", {}))

    # ---- the lock is not held ----

    def flush(self) -> None:
        """Log and deliver what has happened; call it without the lock after changes."""
        while self._said:
            try:
                level, message, extra = self._said.popleft()
            except IndexError:  # another thread was quicker
                break
            host_log(level, message, **extra)
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001  # as above
            host_log("ERROR", f"plugin events could not be delivered: {error_type(error)}: {error}")
