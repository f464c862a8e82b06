"""Which plugins a start or a stop reaches, in what order, and what each one's next step is."""

from collections.abc import Callable, Collection, Mapping

import attrs

from jackfield.errors import Fault
from jackfield.model.record import PluginState
from jackfield.plugins.lifecycle.board import Attempt, Board, Live, Outcome, Slot
from jackfield.plugins.lifecycle.order import closure
from jackfield.plugins.lifecycle.restarts import Restarts
from jackfield.plugins.lifecycle.runner import Runner
from jackfield.plugins.lifecycle.states import ACTIVE, STARTABLE
from jackfield.plugins.lifecycle.walk import walk


@attrs.define
class _Stops:
    """What one walk of stops is about.

    Attributes:
        goals: the plugins that are meant; the others only depend on them.
        outcomes: plugin → what it becomes.
        until: when to give up.
        only: the one start of the goal that is meant, if not whichever is the present one.
        seen: the plugins that the walk has stopped, or seen stopping.
    """

    goals: Collection[str]
    outcomes: Mapping[str, Outcome]
    until: float | None
    only: Live | None
    seen: set[str] = attrs.field(factory=set)


class Planner:
    """Starts and stops plugins together with those that depend on them, or that they depend on.

    Every step is decided anew, under the lock, by the states of that moment: several walks may be under way at once.

    Args:
        board: where states stand.
        runner: begins single starts and stops.
        restarts: what cancels a restart that waits.
        clock: the timetable's.
    """

    def __init__(self, board: Board, runner: Runner, restarts: Restarts, clock: Callable[[], float]) -> None:
        self._board = board
        self._runner = runner
        self._restarts = restarts
        self._clock = clock
        self._epoch = 0  # starts that began before the last `end_starts` begin nothing more

    def end_starts(self) -> None:
        """Let the starts that are under way begin nothing more."""
        with self._board.lock:
            self._epoch += 1

    def start(self, goals: Collection[str], only_from: PluginState | None = None) -> None:
        """Start some plugins after those that they depend on, and before those that are blocked because of them.

        Args:
            goals: which; of those that they depend on, the failed ones are not tried again.
            only_from: leave out the goals that are in another state by now.
        """
        with self._board.lock:
            epoch = self._epoch
            slots = self._board.slots
            wanted = closure(goals, lambda name: slots[name].record.depends_on if name in slots else ())
            blocked = closure(wanted, self._blocked_dependents)
            graph = {name: slots[name].record.depends_on for name in wanted | blocked if name in slots}
            tried = {name for name in goals if only_from is not None and slots[name].state is not only_from}
        goal_set = frozenset(goals)
        walk(graph, lambda name: self._step_start(name, goal_set, wanted, tried, epoch), self._runner.expire)

    def _blocked_dependents(self, name: str) -> list[str]:
        slots = self._board.slots
        return [each for each in self._board.dependents(name) if slots[each].state is PluginState.BLOCKED]

    def _step_start(
        self, name: str, goals: frozenset[str], wanted: set[str], tried: set[str], epoch: int
    ) -> Attempt | None:
        """Begin the start of one plugin, join the one that is under way, or tell that nothing is left to do."""
        slot = self._board.slots[name]
        if name in tried and slot.attempt is None:
            return None
        with self._board.lock:
            if slot.attempt is not None:
                if slot.attempt.starting:
                    tried.add(name)
                return slot.attempt
            if name in tried or slot.definition is None or slot.leaving or epoch != self._epoch:
                return None
            may = (
                slot.state in STARTABLE
                and (slot.state is not PluginState.FAILED or name in goals)
                and (slot.state is PluginState.BLOCKED or name in wanted)
            )
            if not may:
                return None
            tried.add(name)
            self._restarts.cancel(slot)
            down = next((each for each in slot.record.depends_on if not self._runs(each)), None)
            attempt = None
            if down is None:
                slot.well_since = self._clock()
                attempt = self._runner.start(slot)
            elif slot.state is PluginState.BLOCKED:
                self._board.edit(slot, fault=self._missing(slot, down))
            else:
                self._board.change(slot, PluginState.BLOCKED, self._missing(slot, down))
        if attempt is not None:
            self._runner.go(attempt)
        self._board.flush()
        return attempt

    def _runs(self, name: str) -> bool:
        slot = self._board.slots.get(name)
        return slot is not None and slot.state is PluginState.RUNNING

    def _missing(self, slot: Slot, needed: str) -> Fault:
        other = self._board.slots.get(needed)
        why = "is not there" if other is None else f"is {other.state}"
        cause = other.record.fault if other is not None else None
        also = f" ({cause.stage}: {cause.reason})" if cause is not None else ""
        fix = cause.fix if cause is not None and cause.fix else f"start {needed!r} first"
        return Fault("start", slot.name, slot.name, f"it needs {needed!r}, which {why}{also}", fix)

    def stop(
        self, goals: Mapping[str, Outcome], why: str, until: float | None = None, only: Live | None = None
    ) -> None:
        """Stop some plugins, and before them those that depend on them, which become blocked.

        Args:
            goals: plugin → what it becomes.
            why: what happened to them, for those that are blocked because of it.
            until: when to give up even before a plugin's own timeout, on `time.monotonic`'s clock.
            only: stop nothing if another start of the plugin is the present one.
        """
        with self._board.lock:
            family = closure(goals, self._board.dependents)
            graph = {name: self._board.dependents(name) for name in family}
            if only is not None and any(self._board.slots[name].live is not only for name in goals):
                return
            outcomes: dict[str, Outcome] = {}
            for name in family:
                outcomes[name] = goals.get(name) or self._blocked_by(name, family, why)
        plan = _Stops(goals, outcomes, until, only)
        walk(graph, lambda name: self._step_stop(name, plan), self._runner.expire)

    def _blocked_by(self, name: str, family: Collection[str], why: str) -> Outcome:
        needed = next((each for each in self._board.slots[name].record.depends_on if each in family), name)
        fault = Fault("start", name, name, f"it needs {needed!r}, which {why}", f"start {needed!r} again")
        return PluginState.BLOCKED, fault

    def _step_stop(self, name: str, plan: _Stops) -> Attempt | None:
        """Begin the stop of one plugin, join the one that is under way, or tell that nothing is left to do."""
        with self._board.lock:
            slot = self._board.slots[name]
            if plan.only is not None and name in plan.goals and slot.live is not plan.only:
                return None
            if name in plan.seen and slot.state in ACTIVE:
                return None  # it was stopped, and somebody has started it again
            slot = self._outermost(slot)
            then = plan.outcomes.get(slot.name) or self._blocked_by(slot.name, plan.outcomes, "was stopped")
            attempt, is_new = slot.attempt, False
            if attempt is not None:
                self._join(attempt, then, plan)
            elif slot.state is PluginState.RUNNING:
                attempt, is_new = self._runner.stop(slot, then, plan.until), True
                plan.seen.add(slot.name)
            elif name in plan.goals:
                self._restarts.cancel(slot)
                if slot.state is PluginState.BLOCKED:
                    self._board.change(slot, PluginState.STOPPED)
        if attempt is not None and is_new:
            self._runner.go(attempt)
        self._board.flush()
        return attempt

    def _join(self, attempt: Attempt, then: Outcome, plan: _Stops) -> None:
        """Make the start or stop that is under way serve this walk, too."""
        slot = attempt.slot
        if slot.state is PluginState.STARTING:
            self._runner.interrupt(attempt, then)
        elif slot.name in plan.goals and attempt.then[0] is PluginState.BLOCKED:
            attempt.then = then  # it is stopped because of another: now somebody means it
        self._runner.hurry(attempt, plan.until)
        if not attempt.starting:
            plan.seen.add(slot.name)

    def _outermost(self, slot: Slot) -> Slot:
        """Give what must stop first: somebody may have started a dependent since the graph was drawn."""
        while True:
            active = [each for each in self._board.dependents(slot.name) if self._board.slots[each].state in ACTIVE]
            if not active:
                return slot
            slot = self._board.slots[active[0]]
