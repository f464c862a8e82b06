"""What `jackfield.toml` says of schedules, and what is wrong with that which no single value can tell."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal

import attrs

from jackfield.config.leaves import Text
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, quoted
from jackfield.model.cron import Cron, cron_fault, zone_of, zones
from jackfield.model.names import name_fault

Missed = Literal["skip", "once", "all"]
"""What becomes of the planned times that passed while no host ran."""


@attrs.frozen
class ScheduleConfig:
    """A function that is submitted at planned times, once over all hosts of a store.

    Attributes:
        name: its unique name.
        function: what is submitted.
        cron: when: minute, hour, day of month, month, day of week, as in `15 3 * * *`; a sixth field in front is
            seconds.
        timezone: where that is read, as in `Europe/Berlin`.
        payload: what the function gets; by default nothing.
        tenant: whom the calls are for; by default nobody.
        missed: what becomes of planned times that passed while no host ran: nothing (`skip`), one run for the latest
            of them (`once`), or a run for each (`all`).
    """

    name: Text
    function: Text
    cron: Text
    timezone: Text = "UTC"
    payload: Any = None
    tenant: Text | None = None
    missed: Missed = "once"

    @property
    def times(self) -> Cron:
        """When it comes."""
        return Cron(self.cron, self.timezone)


def schedule_problems(
    schedules: Collection[ScheduleConfig], suggest: Callable[[str, Collection[str]], str]
) -> Iterator[Problem]:
    """Find what is wrong with schedules beside their tenants.

    Args:
        schedules: in the order of the file.
        suggest: gives close names.
    """
    first: dict[str, int] = {}
    for index, schedule in enumerate(schedules):
        at: KeyPath = ("schedule", index)
        for key in ("name", "function"):
            fault = name_fault(getattr(schedule, key))
            if fault is not None and getattr(schedule, key) != PLACEHOLDER:
                yield Problem((*at, key), fault.reason, fault.fix)
        if schedule.name != PLACEHOLDER and first.setdefault(schedule.name, index) != index:
            reason = f"the name {quoted(schedule.name)} is taken by schedule[{first[schedule.name]}]"
            yield Problem((*at, "name"), reason, "give one of the two another name")
        if schedule.cron != PLACEHOLDER and (wrong := cron_fault(schedule.cron)) is not None:
            reason, fix = wrong
            yield Problem((*at, "cron"), f"{quoted(schedule.cron)}: {reason}", fix)
        try:
            zone_of(schedule.timezone)
        except LookupError:
            fix = suggest(schedule.timezone, zones()) or "write one of the IANA database, as in 'Europe/Berlin'"
            yield Problem((*at, "timezone"), f"no time zone is named {quoted(schedule.timezone)}", fix)
