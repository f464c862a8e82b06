"""Submits functions at planned times: one task for each schedule, on the control loop.

Every host of a store does this by itself, and none waits for another: the key of a submission is made of the schedule
and the planned time, so all but the first find that it is there. What the store knows of a schedule only tells which
planned times were missed.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

from jackfield.config.schedules import ScheduleConfig
from jackfield.log import host_log
from jackfield.model.retry import RetryPolicy, pause, worth_it
from jackfield.ports import Clock
from jackfield.runtime.pool import Pool
from jackfield.schedules.ledger import Asking, Ledger
from jackfield.schedules.record import ScheduleRecord
from jackfield.stack import error_type

LATE: Final = 60.0
"""Seconds after its planned time within which a run is on time, whatever `missed` says."""

MOST: Final = 1000
"""How many missed runs `missed = "all"` makes up for at once: the latest ones."""

_LOOK: Final = 30.0  # seconds between two looks at the wall clock, which may have been set
_AGAIN: Final = RetryPolicy(backoff=1.0)  # while the store is away
_COUNTED: Final = 10_000  # planned times that are looked at


class Submit(Protocol):
    """Accepts a call for later: `host.submit`. It blocks until the call is kept."""

    def __call__(self, function: str, payload: Any, /, *, key: str, tenant: str | None) -> object:
        """Accept a call, unless there is one of this key."""
        ...


class Scheduler:
    """Submits what is due. All but `records` belongs to the control loop.

    Args:
        submit: accepts a call.
        ask: asks the store.
        clock: the control loop's.
        pool: where `submit` blocks.
    """

    def __init__(self, submit: Submit, ask: Asking, clock: Clock, pool: Pool) -> None:
        self._submit = submit
        self._ledger = Ledger(ask)
        self._clock = clock
        self._pool = pool
        self._tasks: dict[str, tuple[ScheduleConfig, asyncio.Task[None]]] = {}
        self._records: dict[str, ScheduleRecord] = {}
        self._jumped: asyncio.Event | None = None

    @property
    def records(self) -> Mapping[str, ScheduleRecord]:
        """What there is to see of each schedule; for any thread."""
        return MappingProxyType(dict(self._records))

    async def adopt(self, schedules: Iterable[ScheduleConfig]) -> None:
        """Follow these schedules from now on, and no others; those that have not changed go on as they are."""
        if self._jumped is None:
            self._jumped = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._clock.on_jump(lambda: None if loop.is_closed() else loop.call_soon_threadsafe(self._wake))
        wanted = {schedule.name: schedule for schedule in schedules}
        for name, (schedule, task) in list(self._tasks.items()):
            if wanted.get(name) != schedule:
                task.cancel()
                del self._tasks[name], self._records[name]
        for name, schedule in wanted.items():
            if name not in self._tasks:
                self._records[name] = ScheduleRecord(
                    name, schedule.function, schedule.cron, schedule.timezone, schedule.tenant, schedule.missed
                )
                task = asyncio.get_running_loop().create_task(self._follow(schedule), name=f"schedule {name}")
                self._tasks[name] = schedule, task

    async def close(self) -> None:
        """End all of them; what is being submitted is submitted."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- One schedule -----------------------------------------------------------------------------------------------

    async def _follow(self, schedule: ScheduleConfig) -> None:
        since = looked = self._clock.wall()
        looked -= LATE
        failed, owed = 0, set[float]()
        while True:
            # What this host has seen come is late if the store is away now, and not missed.
            now = self._clock.wall()
            owed.update(schedule.times.recent(max(looked, now - LATE), now, _COUNTED))
            looked = now
            try:
                since = await self._decide(schedule, since, owed)
            except Exception as error:  # noqa: BLE001  # the store's, or a stranger's: the schedule goes on
                failed += 1
                self._note(schedule, problem=f"{error_type(error)}: {error}")
                if failed == 1:
                    host_log("WARNING", f"schedule {schedule.name}: what is due cannot be submitted yet", error)
                await self._sleep(self._clock.wall() + pause(_AGAIN, failed, error))
                continue
            failed = 0
            owed.clear()
            following = schedule.times.after(max(since, self._clock.wall()))
            self._note(schedule, next=following)
            if following is None:
                return
            await self._sleep(following)

    async def _decide(self, schedule: ScheduleConfig, since: float, owed: Collection[float]) -> float:
        """Submit what is due, and note it; give the time up to which everything is decided."""
        name, times = schedule.name, schedule.times
        while True:
            now = self._clock.wall()
            before = after = await self._ledger.read(name, times, since, now)
            due = times.recent(before.since, now, _COUNTED)
            runs = _runs(due, schedule.missed, owed)
            for planned in runs:
                if await self._submitted(schedule, planned):
                    after = attrs.evolve(after, last=planned)
            if due or not before.known:
                after = attrs.evolve(after, since=due[-1] if due else before.since)
                if await self._ledger.write(name, times, after) is None:  # another host was first
                    continue
                self._tell(schedule, due, runs)
            self._note(schedule, last=after.last, problem=self._records[name].problem if runs else "")
            return after.since

    def _tell(self, schedule: ScheduleConfig, due: list[float], runs: list[float]) -> None:
        if left := len(due) - len(runs):
            host_log("WARNING", f"schedule {schedule.name}: {left} runs planned from {_utc(due[0])} on are left out")
            self._note(schedule, missed=self._records[schedule.name].missed + left)

    async def _submitted(self, schedule: ScheduleConfig, planned: float) -> bool:
        """Submit a run; give whether it was accepted.

        Raises:
            JackfieldError: if it may be accepted later.
        """
        key = key_of(schedule.name, planned)

        def submit() -> object:
            return self._submit(schedule.function, schedule.payload, key=key, tenant=schedule.tenant)

        try:
            await self._pool.run(f"schedule:{schedule.name}", submit)
        except Exception as error:
            if worth_it(error, idempotent=True):  # the key makes it so
                raise
            self._note(schedule, problem=f"{error_type(error)}: {error}")
            host_log("ERROR", f"schedule {schedule.name}: the run planned for {_utc(planned)} was refused", error)
            return False
        self._note(schedule, problem="")
        return True

    def _note(self, schedule: ScheduleConfig, **facts: Any) -> None:
        record = self._records.get(schedule.name)
        if record is not None:
            self._records[schedule.name] = attrs.evolve(record, **facts)

    # --- Time -------------------------------------------------------------------------------------------------------

    async def _sleep(self, until: float) -> None:
        """Wait for a wall time, whatever becomes of the wall clock meanwhile."""
        while (left := until - self._clock.wall()) > 0:
            jumped = self._jumped
            assert jumped is not None  # noqa: S101  # made by `adopt`
            try:
                async with asyncio.timeout(min(left, _LOOK)):
                    await jumped.wait()
            except TimeoutError:
                continue
            return  # what is due may be more, or less, than it was

    def _wake(self) -> None:
        jumped, self._jumped = self._jumped, asyncio.Event()
        if jumped is not None:
            jumped.set()


def key_of(name: str, planned: float) -> str:
    """Give the key under which a planned run is submitted, the same for every host.

    Examples:
        >>> key_of("nightly", 1_774_748_100.0)
        'schedule:nightly:2026-03-29T01:35:00Z'
    """
    return f"schedule:{name}:{_utc(planned)}"


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _runs(due: list[float], missed: str, owed: Collection[float]) -> list[float]:
    """Choose among planned times that have passed: those that were seen to come, and what is made up for of the others.

    Examples:
        >>> [_runs([100.0, 200.0, 300.0], policy, ()) for policy in ("skip", "once", "all")]
        [[], [300.0], [100.0, 200.0, 300.0]]
        >>> [_runs([100.0, 200.0, 300.0], policy, {200.0}) for policy in ("skip", "once")]
        [[200.0], [200.0, 300.0]]
    """
    made_up = {"skip": 0, "once": 1, "all": MOST}[missed]
    latest = due[-made_up:] if made_up else ()
    return [planned for planned in due if planned in owed or planned in latest]
