"""The moments of a cron expression in a time zone, as Debian's cron has them when clocks are put forward and back."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Final

import attrs

_LOOK: Final = 120.0  # seconds that the first look for the latest moments goes back
_FIVE: Final = 5
_SIX: Final = 6
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@attrs.frozen(slots=False)
class Cron:
    """A cron expression of five fields, or of six with seconds first, and the time zone that it is read in.

    An expression with fixed minutes and hours runs once a day though clocks change: at a time that is left out right
    after the change, at one that comes twice the first time. One with `*` in minutes or hours goes by real time.

    Attributes:
        expression: as in `15 3 * * *`.
        timezone: as in `Europe/Berlin`.

    Examples:
        >>> berlin = Cron("30 2 * * *", "Europe/Berlin")
        >>> eve = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
        >>> [datetime.fromtimestamp(at, berlin.zone).isoformat() for at in berlin.recent(eve, eve + 2 * 86400, 9)]
        ['2026-03-29T03:00:00+02:00', '2026-03-30T02:30:00+02:00']
    """

    expression: str
    timezone: str = "UTC"

    @cached_property
    def zone(self) -> tzinfo:
        """The time zone.

        Raises:
            LookupError: if it is not known here.
        """
        return zone_of(self.timezone)

    def after(self, moment: float) -> float | None:
        """Give the next moment.

        Args:
            moment: seconds since the epoch; it is not among them itself.

        Returns:
            Seconds since the epoch; None if there is none within fifty years.
        """
        return next(self._from(moment), None)

    def recent(self, since: float, until: float, most: int) -> list[float]:
        """Give the latest moments of a time, the first of them first.

        Args:
            since: seconds since the epoch; it is not among them itself.
            until: the last one that can be among them.
            most: how many at most.
        """
        look = _LOOK
        while True:  # not from the beginning, which may be years ago
            begin = max(since, until - look)
            found: deque[float] = deque(maxlen=most)
            for moment in self._from(begin):
                if moment > until:
                    break
                found.append(moment)
            if begin <= since or len(found) == most:
                return list(found)
            look *= 8

    def _from(self, moment: float) -> Iterator[float]:
        from cronsim import CronSim  # noqa: PLC0415  # for those who have schedules

        for found in CronSim(self.expression, datetime.fromtimestamp(moment, self.zone)):
            # Within an hour that comes twice it gives a moment of the first one, too.
            if (at := found.timestamp()) > moment:
                yield at


def cron_fault(expression: str) -> tuple[str, str] | None:
    """Say what is wrong with a cron expression: the reason, and what to do.

    Examples:
        >>> cron_fault("15 3 * * *") is None
        True
        >>> cron_fault("15 24 * * *")
        ('its hour is wrong', "write five fields: minute, hour, day of month, month, day of week, as in '15 3 * * *'")
        >>> cron_fault("* * */20 * 1L")
        ('it never comes, as far as the next fifty years go', 'name a day that there is')
        >>> cron_fault("@daily")
        ('it has no five fields', "write '0 0 * * *'")
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # for those who have schedules

    if expression.strip().lower() in _MACROS:
        return "it has no five fields", f"write {_MACROS[expression.strip().lower()]!r}"
    fix = "write five fields: minute, hour, day of month, month, day of week, as in '15 3 * * *'"
    if len(expression.split()) not in (_FIVE, _SIX):
        return "it has no five fields", fix
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except StopIteration:
        return "it never comes, as far as the next fifty years go", "name a day that there is"
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("day-of", "day of").replace("of-", "of ")
        if field == "day of month" and _is_day(expression):
            return "it never comes: no such month has that day", "name a day that there is"
        return f"its {field} is wrong", fix
    return None


def _is_day(expression: str) -> bool:
    """Tell whether the day of the month is good by itself."""
    day = expression.split()[-3]
    return all(part.isdigit() and 1 <= int(part) <= 31 for part in day.split(","))  # noqa: PLR2004  # days of a month


def zone_of(name: str) -> tzinfo:
    """Find a time zone.

    Raises:
        LookupError: if it is not known here.
    """
    if name == "UTC":  # also where there is no table of zones
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415  # for those who have schedules

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:  # a name that is a path, or a folder
        raise LookupError(name) from error


def zones() -> frozenset[str]:
    """Give the names of the time zones that are known here; it takes a while."""
    from zoneinfo import available_timezones  # noqa: PLC0415  # as in `zone_of`

    return frozenset(available_timezones())
