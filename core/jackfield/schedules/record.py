"""What there is to see of a schedule."""

import attrs


@attrs.frozen
class ScheduleRecord:
    """One schedule, at one moment.

    Attributes:
        name: its name.
        function: what is submitted.
        cron: when.
        timezone: where that is read.
        tenant: whom the calls are for, or None.
        policy: what becomes of planned times that passed while no host ran: `skip`, `once`, `all`.
        next: the next planned time, in seconds since the epoch; None if there is none.
        last: the last planned time that was submitted, by whichever host; None if there was none.
        missed: how many planned times this host has found passed without a run, and left so.
        problem: why the last planned time could not be submitted; "" if it was.
    """

    name: str
    function: str
    cron: str
    timezone: str
    tenant: str | None
    policy: str
    next: float | None = None
    last: float | None = None
    missed: int = 0
    problem: str = ""
