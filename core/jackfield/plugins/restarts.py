"""When a plugin that has failed is started again."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from jackfield.plugins.roster import Plugin, Roster
from jackfield.ports import Clock

LONGEST_BACKOFF: Final = 300.0
"""Seconds: waiting doubles up to this."""

WELL: Final = 60.0
"""Seconds that a plugin must have run, and be healthy, for its next failure to count as the first in a row."""


class Restarts:
    """Starts failed plugins again, each by its own policy, after waits that double. It belongs to the control loop.

    Args:
        roster: the plugins.
        clock: the control loop's.
        again: starts a plugin whose time has come.
    """

    def __init__(self, roster: Roster, clock: Clock, again: Callable[[Plugin], object]) -> None:
        self._roster = roster
        self._clock = clock
        self._again = again

    def schedule(self, plugin: Plugin) -> None:
        """Have a plugin that has just failed started again, if its policy says so."""
        bundle, fault = plugin.bundle, plugin.record.fault
        if bundle is None or bundle.restart == "never" or plugin.leaving:
            return
        if bundle.restart == "on-failure" and plugin.in_a_row >= bundle.restart_limit:
            if fault is not None and plugin.in_a_row:
                tried = f"{fault.reason} (given up after {plugin.in_a_row} restarts)"
                self._roster.edit(plugin, fault=attrs.evolve(fault, reason=tried))
                self._roster.say("ERROR", f"plugin {plugin.name}: given up after {plugin.in_a_row} restarts")
            return
        # The exponent is bounded, lest a plugin that never starts overflow a float one day.
        wait = min(bundle.restart_backoff * 2.0 ** min(plugin.in_a_row, 64), LONGEST_BACKOFF)
        plugin.in_a_row += 1
        plugin.timer = asyncio.get_running_loop().call_later(wait, partial(self._due, plugin))
        self._roster.edit(plugin, restart_at=self._clock.wall() + wait)
        self._roster.say("INFO", f"plugin {plugin.name}: restart {plugin.in_a_row} in {wait:g} s")

    def cancel(self, plugin: Plugin) -> None:
        """Take back a restart that waits."""
        timer, plugin.timer = plugin.timer, None
        if timer is not None:
            timer.cancel()
            self._roster.edit(plugin, restart_at=None)

    def well(self, plugin: Plugin) -> None:
        """Note that a plugin is healthy."""
        if plugin.runs and self._clock() - plugin.well_since >= WELL:
            plugin.in_a_row = 0

    def _due(self, plugin: Plugin) -> None:
        plugin.timer = None
        self._roster.edit(plugin, restart_at=None, restarts=plugin.record.restarts + 1)
        self._again(plugin)
