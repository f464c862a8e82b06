"""What the store knows of schedules: up to which planned time each has been decided, by all hosts together."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import attrs
import msgspec

from jackfield.errors import StoreConflict
from jackfield.model.cron import Cron
from jackfield.ports import Store

PREFIX: Final = "schedules/"

_DAY: Final = 86_400.0


class Asking(Protocol):
    """Has a store answer, in time and where it lives."""

    async def __call__(self, ask: Callable[[Store], Coroutine[Any, Any, Any]], /) -> Any:
        """Await what `ask` gives of the store."""
        ...


class _Kept(msgspec.Struct):
    """The value under `schedules/NAME`."""

    cron: str
    timezone: str
    since: float
    last: float | None = None


@attrs.frozen
class Progress:
    """How far a schedule has come.

    Attributes:
        since: planned times up to this one are decided: submitted, or missed.
        last: the last one that was submitted, or None.
        revision: of the entry; 0 where there is none yet.
        known: whether the store says so, of these very times.
    """

    since: float
    last: float | None
    revision: int
    known: bool = False


class Ledger:
    """Reads and writes how far schedules have come; every write is a compare-and-swap.

    Args:
        ask: asks the store.
    """

    def __init__(self, ask: Asking) -> None:
        self._ask = ask

    async def read(self, name: str, times: Cron, since: float, now: float) -> Progress:
        """Give how far a schedule has come.

        Of one that the store does not know, or knows with other times, nothing has been planned before this host knew
        it. What is said to be decided for more than a day to come was noted by a clock that was wrong.

        Args:
            name: the schedule.
            times: when it comes.
            since: since when this host knows it.
            now: the wall time.
        """
        found = await self._ask(lambda store: store.get(PREFIX + name))
        if found is None:
            return Progress(since, None, 0)
        try:
            kept = msgspec.json.decode(found.value, type=_Kept)
        except msgspec.DecodeError:  # of a later version, or by hand
            return Progress(since, None, found.revision)
        if (kept.cron, kept.timezone) != (times.expression, times.timezone) or kept.since > now + _DAY:
            return Progress(since, kept.last, found.revision)
        return Progress(kept.since, kept.last, found.revision, known=True)

    async def write(self, name: str, times: Cron, progress: Progress) -> Progress | None:
        """Note how far a schedule has come.

        Args:
            name: the schedule.
            times: when it comes.
            progress: how far, with the revision that was read.

        Returns:
            The same with the new revision; None if another host was first.
        """
        value = msgspec.json.encode(_Kept(times.expression, times.timezone, progress.since, progress.last))
        try:
            revision = await self._ask(lambda store: store.put(PREFIX + name, value, expected=progress.revision))
        except StoreConflict:
            return None
        return attrs.evolve(progress, revision=revision, known=True)
