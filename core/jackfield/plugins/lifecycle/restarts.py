"""When a plugin that has failed is started again."""

from collections.abc import Callable
from functools import partial

import attrs

from jackfield.model.record import PluginState
from jackfield.plugins.lifecycle.board import Board, Slot
from jackfield.plugins.lifecycle.timetable import Timer, Timetable
from jackfield.runtime.pool import Pool

LONGEST_BACKOFF = 300.0
"""Seconds: waiting doubles up to this."""

WELL = 60.0
"""Seconds that a plugin must have run, and be healthy, for its next failure to count as the first in a row."""


class Restarts:
    """Starts failed plugins again, each by its own policy, after waits that double.

    Args:
        board: where states stand.
        timetable: what keeps the time.
        hands: where the threads that start come from.
        start: starts a plugin by name, and waits for it.
    """

    def __init__(self, board: Board, timetable: Timetable, hands: Pool, start: Callable[[str], object]) -> None:
        self._board = board
        self._timetable = timetable
        self._hands = hands
        self._start = start

    # ---- the board's lock is held by the caller ----

    def schedule(self, slot: Slot) -> None:
        """Have a plugin that has just failed started again, if its policy says so."""
        definition = slot.definition
        if definition is None or definition.restart == "never" or slot.leaving:
            return
        fault = slot.record.fault
        if definition.restart == "on-failure" and slot.in_a_row >= definition.restart_limit:
            if fault is not None and slot.in_a_row:
                tried = f"{fault.reason} (given up after {slot.in_a_row} restarts)"
                self._board.edit(slot, fault=attrs.evolve(fault, reason=tried))
                self._board.say("ERROR", f"plugin {slot.name}: given up after {slot.in_a_row} restarts")
            return
        # The exponent is bounded, lest a plugin that never starts overflow a float one day.
        wait = min(definition.restart_backoff * 2.0 ** min(slot.in_a_row, 64), LONGEST_BACKOFF)
        slot.in_a_row += 1
        cell: list[Timer] = []
        slot.timer = self._timetable.after(wait, partial(self._due, slot, cell))
        cell.append(slot.timer)
        self._board.edit(slot, restart_at=self._board.wall() + wait)
        self._board.say("INFO", f"plugin {slot.name}: restart {slot.in_a_row} in {wait:g} s")

    def cancel(self, slot: Slot) -> None:
        """Take back a restart that waits."""
        timer, slot.timer = slot.timer, None
        if timer is not None:
            timer.cancel()
            self._board.edit(slot, restart_at=None)

    def well(self, slot: Slot) -> None:
        """Note that a plugin is healthy."""
        if slot.state is PluginState.RUNNING and self._timetable.clock() - slot.well_since >= WELL:
            slot.in_a_row = 0

    # ---- on the timetable's thread, without the lock ----

    def _due(self, slot: Slot, cell: list[Timer]) -> None:
        with self._board.lock:
            if not cell or slot.timer is not cell[0]:
                return
            slot.timer = None
            self._board.edit(slot, restart_at=None, restarts=slot.record.restarts + 1)
            name = slot.name
        self._hands.start(f"{name}:restart", partial(self._start, name))
