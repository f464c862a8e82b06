"""The lifecycle of all plugins of one host: its verbs."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

import attrs

from jackfield.errors import Fault, PluginError, Unavailable
from jackfield.model.record import Health, PluginRecord, PluginState
from jackfield.plugins.lifecycle.background import Background
from jackfield.plugins.lifecycle.board import Board, Live, Slot
from jackfield.plugins.lifecycle.instance import Instance
from jackfield.plugins.lifecycle.ledger import Ledger, UnloadReport
from jackfield.plugins.lifecycle.order import dependency_faults
from jackfield.plugins.lifecycle.planner import Planner
from jackfield.plugins.lifecycle.plugin import PluginDefinition
from jackfield.plugins.lifecycle.restarts import Restarts
from jackfield.plugins.lifecycle.runner import Runner
from jackfield.plugins.lifecycle.states import ACTIVE, STARTABLE
from jackfield.plugins.lifecycle.supervision import Supervision
from jackfield.plugins.lifecycle.swap import Swap, SwapReport, Warm
from jackfield.plugins.lifecycle.timetable import Timetable
from jackfield.plugins.lifecycle.work import Term
from jackfield.ports import Store
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool


def _nothing(*_: object) -> None:
    return None


class Lifecycle:
    """Starts and stops plugins in the order of their dependencies.

    Every verb may be called from any thread but the home loop's, and waits until it is done, at most for the timeouts
    of the plugins. Several may be under way at once: a start that is under way is joined, not repeated. No lock is held
    while anything of a plugin runs.

    Args:
        home: the loop on which async methods run.
        announce: gets the events of each change, in order. The lock is held meanwhile: it must only queue them.
        deliver: is called after changes, without a lock, in whatever thread they were made.
        timetable: what keeps the time of restarts, health checks and repetitions.
        wall: seconds since the epoch, for records.

    Examples:
        >>> class Store:
        ...     def start(self):
        ...         print("store starts")
        >>> lifecycle = Lifecycle(HomeLoop())
        >>> billing = PluginDefinition("billing", depends_on=("store",))
        >>> _ = lifecycle.add([billing, PluginDefinition("store", make=Store)])
        >>> lifecycle.start_all()
        store starts
        ()
        >>> lifecycle.records["billing"].state.value
        'running'
        >>> lifecycle.stop("store").state.value, lifecycle.records["billing"].state.value
        ('stopped', 'blocked')
        >>> lifecycle.stop_all(timeout=5.0)
        ()
    """

    def __init__(
        self,
        home: HomeLoop,
        *,
        announce: Callable[[Sequence[object]], object] = _nothing,
        deliver: Callable[[], object] = _nothing,
        timetable: Timetable | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._board = Board(announce, deliver, wall)
        self._timetable = timetable or Timetable()
        self.hands = Pool()
        self._backgrounds: dict[str, Background] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._warm = Warm()
        self._restarts = Restarts(self._board, self._timetable, self.hands, self._restart_by_itself)
        self._runner = Runner(self._board, home, self.hands, self._open_term, self._restarts.schedule)
        self._planner = Planner(self._board, self._runner, self._restarts, self._timetable.clock)
        self._supervision = Supervision(self._board, self._timetable, self.hands, self._restarts, self._fail)

    # --- Reading
    # ------------------------------------------------------------------------------------------------------------

    @property
    def records(self) -> Mapping[str, PluginRecord]:
        """Name → record of every plugin, as of this moment; read-only, never changed, and read without a lock."""
        return self._board.records

    def instance(self, name: str) -> Instance | None:
        """Give the object of a plugin that runs, or None.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        with self._board.lock:
            slot = self._board.slot(name)
            return slot.live.instance if slot.live is not None and slot.state is PluginState.RUNNING else None

    def ledger(self, plugin: str) -> Ledger:
        """Give the ledger of a plugin, in which the host notes what the plugin acquires."""
        with self._board.lock:
            ledger = self._ledgers.get(plugin)
            if ledger is None:
                ledger = self._ledgers[plugin] = Ledger(plugin)
            return ledger

    def background(self, plugin: str) -> Background:
        """Give the `Background` of a plugin, always the same one; it takes work while the plugin starts and runs."""
        with self._board.lock:
            background = self._backgrounds.get(plugin)
            if background is None:
                background = self._backgrounds[plugin] = Background(
                    plugin, home=self._home, ledger=self.ledger(plugin), hands=self.hands, timetable=self._timetable
                )
            return background

    def health(self, name: str | None = None, *, timeout: float = 5.0) -> Mapping[str, Health]:
        """Ask plugins how they are. Nothing follows from the answers; `supervise` acts on them.

        Args:
            name: which plugin; None for all.
            timeout: seconds that one answer may take; all are asked at once.

        Returns:
            Name → what was found. A plugin that runs and has no `health` is healthy.

        Raises:
            PluginError: if nobody knows the plugin.
        """
        self._check_thread("health")
        if name is not None:
            with self._board.lock:
                self._board.slot(name)
        return self._supervision.check(self.records if name is None else [name], timeout)

    # --- What there is
    # ------------------------------------------------------------------------------------------------------------

    def discover(self, name: str, version: str = "0", location: str = "", fault: Fault | None = None) -> PluginRecord:
        """Note a plugin of which only the name is known, or one that could not be loaded.

        Args:
            name: its name.
            version: its version.
            location: where its code is.
            fault: why it could not be loaded.

        Raises:
            PluginError: if there is a plugin of that name already.
        """
        with self._board.lock:
            slot = self._board.slots.get(name)
            if slot is not None and slot.state is not PluginState.UNLOADED:
                raise PluginError(name, "name", f"there is a plugin {name!r} already", "give it another name")
            slot = self._board.enter(PluginRecord(name, version, location=location))
            if slot.state is PluginState.UNLOADED:
                self._board.change(slot, PluginState.DISCOVERED)
            if fault is not None:
                self._board.change(slot, PluginState.FAILED, fault)
        self._board.flush()
        return slot.record

    def add(self, definitions: Iterable[PluginDefinition]) -> Mapping[str, PluginRecord]:
        """Register plugins, in any order: all of them or none.

        What was discovered, failed while it was loaded, or was unloaded, may be added under the same name.

        Args:
            definitions: the plugins; each may depend on the others and on those that are there.

        Returns:
            The records of all plugins.

        Raises:
            PluginError: with every fault: names that are taken, unknown dependencies with close names, cycles drawn.
        """
        new = tuple(definitions)
        with self._board.lock:
            slots = self._board.slots
            faults = [
                Fault("name", each.name, each.name, f"there is a plugin {each.name!r} already", "unload it first")
                for each in new
                if each.name in slots and (slots[each.name].definition is not None or slots[each.name].leaving)
            ]
            names = {each.name for each in new}
            # What is there may depend on what comes back under its old name: their edges can close a cycle, too.
            there = [slot.definition for name, slot in slots.items() if slot.definition and name not in names]
            faults += dependency_faults([*new, *there], slots.keys() - names)
            if faults:
                first = faults[0]
                raise PluginError(first.plugin, first.stage, first.reason, first.fix, tuple(faults))
            for each in new:
                self._register(each)
            records = self.records
        self._board.flush()
        return records

    def _register(self, definition: PluginDefinition) -> None:
        record = PluginRecord(
            definition.name,
            definition.version,
            depends_on=definition.depends_on,
            auto_start=definition.auto_start,
            location=definition.location,
        )
        slot = self._board.enter(record)
        slot.definition, slot.in_a_row = definition, 0
        if slot.state is not PluginState.DISABLED:
            self._board.change(slot, PluginState.REGISTERED)

    # --- Starting
    # ------------------------------------------------------------------------------------------------------------

    def start_all(self) -> tuple[Fault, ...]:
        """Start every plugin with `auto_start`, and what those depend on; one that fails keeps its dependents alone.

        Returns:
            The faults of those that do not run now.
        """
        self._check_thread("start_all")
        self._warm.open()
        with self._board.lock:
            goals = [
                name
                for name, slot in self._board.slots.items()
                if slot.definition is not None and slot.definition.auto_start and slot.state in STARTABLE
            ]
            for name in goals:
                self._board.slots[name].in_a_row = 0
        self._planner.start(goals)
        records = self.records
        return tuple(fault for name in goals if (fault := records[name].fault) is not None)

    def start(self, name: str) -> PluginRecord:
        """Start a plugin, after the plugins that it depends on, and before those that are blocked because of it.

        A dependency that has failed is not tried again; start that one first.

        Args:
            name: which; nothing happens if it runs.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
        """
        self._check_thread("start")
        with self._board.lock:
            self._board.slot(name).in_a_row = 0
        self._planner.start([name])
        with self._board.lock:
            slot = self._board.slot(name)
            if slot.state is not PluginState.RUNNING:
                raise _not_running(slot)
            return slot.record

    def restart(self, name: str) -> PluginRecord:
        """Stop a plugin and what depends on it, then start it and, where they ran, its dependents.

        Args:
            name: which.

        Returns:
            Its record.

        Raises:
            PluginError: if it does not run now, and why.
        """
        self._stop(name, "is being restarted")
        return self.start(name)

    def _restart_by_itself(self, name: str) -> None:
        self._planner.start([name], only_from=PluginState.FAILED)

    def swap(
        self,
        name: str,
        definition: PluginDefinition,
        *,
        store: Store,
        drain: Callable[[float], tuple[str, ...]],
        in_use: Callable[[], bool],
        keep_warm: float = 0.0,
    ) -> SwapReport:
        """Replace the running instance of a plugin by a new one, in the order that `lifecycle.swap` gives.

        Args:
            name: which; it is running.
            definition: the new version; its `activate` moves the calls.
            store: where the states go.
            drain: waits, at most some seconds, for the calls inside the old version; names what is left.
            in_use: whether calls go to the old version.
            keep_warm: seconds that the old instance idles before it stops.

        Returns:
            What it came to.

        Raises:
            PluginError: with the stage that failed; then the old instance runs on, and serves.
        """
        self._check_thread("swap")
        background = self.background(name)
        swap = Swap(self._board, self._home, self.hands, self._open_term, background.reopen, store, self._warm)
        with self._leaving(name, "it is being replaced"):
            return swap.run(name, definition, drain=drain, in_use=in_use, keep_warm=keep_warm)

    # --- Stopping
    # ------------------------------------------------------------------------------------------------------------

    def stop(self, name: str) -> PluginRecord:
        """Stop a plugin, after everything that depends on it; a start that is under way is ended early.

        The dependents are blocked then, and start again when the plugin does.

        Args:
            name: which; nothing happens if it does not run.

        Returns:
            Its record: `stopped`, with a fault if something went wrong; `failed` if something of it still runs.

        Raises:
            PluginError: if nobody knows it.
        """
        self._stop(name, "was stopped")
        return self.records[name]

    def stop_all(self, timeout: float | None = None) -> tuple[Fault, ...]:
        """Stop everything, dependents first; no restart comes after it, until something is started again.

        Args:
            timeout: seconds for all together; by default each plugin's own stop timeout applies alone.

        Returns:
            What went wrong meanwhile.
        """
        self._check_thread("stop_all")
        self._supervision.stop()
        self._warm.close()
        until = None if timeout is None else monotonic() + timeout
        self._planner.end_starts()
        with self._board.lock:
            names = list(self._board.slots)
            active = [name for name in names if self._board.slots[name].state in ACTIVE]
        self._planner.stop(dict.fromkeys(names, (PluginState.STOPPED, None)), "was stopped", until)
        records = self.records
        return tuple(fault for name in active if (fault := records[name].fault) is not None)

    def fail(self, name: str, fault: Fault) -> PluginRecord:
        """Note that a plugin has failed: it is stopped after its dependents, which are blocked, and its policy applies.

        Args:
            name: which; nothing happens if it does not run.
            fault: the stage, the reason and the fix.

        Returns:
            Its record.

        Raises:
            PluginError: if nobody knows it.
        """
        self._check_thread("fail")
        with self._board.lock:
            live = self._board.slot(name).live
        if live is not None:
            self._fail(name, fault, live)
        return self.records[name]

    def _fail(self, name: str, fault: Fault, live: Live) -> None:
        self._planner.stop({name: (PluginState.FAILED, fault)}, f"failed ({fault.stage}: {fault.reason})", only=live)

    def _stop(self, name: str, why: str) -> None:
        self._check_thread("stop")
        with self._board.lock:
            self._board.slot(name)
        self._planner.stop({name: (PluginState.STOPPED, None)}, why)
        self._warm.end(name)

    def supervise(self, interval: float, *, timeout: float = 5.0) -> None:
        """Ask the running plugins every so often how they are; one that is not healthy has failed, as by `fail`.

        It lasts until `stop_all`. Supervising again replaces it.

        Args:
            interval: seconds.
            timeout: seconds that one answer may take.

        Raises:
            ValueError: if the interval makes no sense.
        """
        self._supervision.start(interval, timeout)

    # --- Taking out of service
    # ------------------------------------------------------------------------------------------------------------

    def disable(self, name: str) -> PluginRecord:
        """Stop a plugin, and refuse to start it until it is enabled.

        Args:
            name: which.

        Raises:
            PluginError: if nobody knows it, or it is unloaded.
        """
        with self._leaving(name, "it is being disabled") as slot:
            if slot.state is not PluginState.DISABLED:
                self._stop(name, "was disabled")
            with self._board.lock:
                if slot.state is not PluginState.DISABLED:
                    self._board.change(slot, PluginState.DISABLED)
        self._board.flush()
        return slot.record

    def enable(self, name: str) -> PluginRecord:
        """Allow a disabled plugin to be started; it is not started by this.

        Args:
            name: which; nothing happens if it is not disabled.

        Raises:
            PluginError: if nobody knows it.
        """
        with self._board.lock:
            slot = self._board.slot(name)
            if slot.state is PluginState.DISABLED:
                self._board.change(slot, PluginState.REGISTERED if slot.definition else PluginState.DISCOVERED)
        self._board.flush()
        return slot.record

    def unload(self, name: str) -> UnloadReport:
        """Stop a plugin, and release everything that it acquired through the host, the latest first.

        Its record stays; the name can be added again.

        Args:
            name: which.

        Returns:
            What was released, and what is still there.

        Raises:
            PluginError: if nobody knows it, or it is unloaded already.
        """
        with self._leaving(name, "it is being unloaded") as slot:
            self._stop(name, "was unloaded")
            fault = slot.record.fault
            report = self.ledger(name).release_all()
            with self._board.lock:
                slot.definition = None
                self._board.change(slot, PluginState.UNLOADED)
        self._board.flush()
        if fault is not None and fault.stage == "stop":
            report = attrs.evolve(report, failed=(fault, *report.failed))
        return report

    @contextmanager
    def _leaving(self, name: str, why: str) -> Iterator[Slot]:
        """Let no start of a plugin begin within a block."""
        with self._board.lock:
            slot = self._board.slot(name)
            why_not = slot.leaving or ("it is unloaded" if slot.state is PluginState.UNLOADED else "")
            if why_not:
                fix = "wait for that" if slot.leaving else "load it again to use it"
                raise PluginError(name, "state", why_not, fix)
            slot.leaving = why
        try:
            yield slot
        finally:
            with self._board.lock:
                slot.leaving = ""

    def _open_term(self, name: str) -> Term:
        return self.background(name).open()

    def _check_thread(self, verb: str) -> None:
        if self._home.is_here:
            why = "it waits for plugins, and would block the home loop that they need: use `await asyncio.to_thread(…)`"
            raise Unavailable(f"the lifecycle's {verb}", why)


def _not_running(slot: Slot) -> PluginError:
    """Say why a plugin does not run although somebody has started it."""
    name, fault = slot.name, slot.record.fault
    if slot.leaving:
        return PluginError(name, "start", slot.leaving, "wait for that")
    if fault is not None:
        return PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
    fixes = {
        PluginState.DISABLED: "enable it first",
        PluginState.UNLOADED: "add it again first",
        PluginState.DISCOVERED: "add its definition first",
    }
    return PluginError(
        name, "start", f"it is {slot.state}", fixes.get(slot.state, "somebody stopped it: start it again")
    )
