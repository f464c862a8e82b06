"""Several hosts on one store: each does what any of them was told, and one judges what is on trial on all of them.

desired/judge                           whoever is elected, under a lease; there while something is to be judged
desired/counts/TRIAL@VERSION/HOST-N     what one of them has counted of a trial, under the lease of its id

None of this is in the way of a call. While the store is away each host goes on as it is, and nothing is judged.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import JackfieldError, ResourceExhausted, StoreCompacted, Unavailable
from jackfield.log import host_log
from jackfield.model.canary import CanaryState
from jackfield.ports import Store
from jackfield.rollout.tally import Sample
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.store.electing import campaign
from jackfield.store.hosted import HostStore
from jackfield.wire.crossing import pack, unpack

if TYPE_CHECKING:
    from jackfield.desired.applying import Applier
    from jackfield.rollout.canary import Canary

STATE: Final = "desired/state"
_JUDGE: Final = "desired/judge"
_COUNTS: Final = "desired/counts/"
_COUNT_EVERY: Final = 1.0  # seconds
_AGAIN: Final = 1.0  # seconds until a store that was away, or an apply that was under way, is asked again


class Following:
    """Has one host follow the others of its store while it runs.

    Args:
        kept: the host's store, one that lasts.
        applier: what is desired of the host.
        trials: gives the trials that there are; none where nobody has begun one.
        control: where this runs.
        pool: where what others wrote is carried out.
    """

    def __init__(
        self,
        kept: HostStore,
        applier: "Applier",
        trials: "Callable[[], Iterable[Canary]]",
        control: ControlLoop,
        pool: Pool,
    ) -> None:
        self._kept, self._applier, self._trials = kept, applier, trials
        self._control, self._pool = control, pool
        self._running: list[Future[None]] = []
        self._standing: Future[None] | None = None
        self._told: dict[str, bytes] = {}  # what the store has of this host's counts
        self._begun: dict[int, int] = {}  # the revision of the store when each trial was first seen here
        self._name = os.urandom(8).hex()
        self.judges = False
        """Whether this host is the one that is elected to judge."""

    def start(self) -> None:
        """Follow from now on."""
        self._running = [self._control.submit(self._follow()), self._control.submit(self._count())]

    def stop(self, timeout: float) -> None:
        """Follow no more, and leave the judging to another one.

        Args:
            timeout: seconds that the store may take for that.
        """
        running, self._running = self._running, []
        for each in running:
            each.cancel()
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.cancel()
            try:
                self._kept.ask(self._resign).result(timeout)
            except (JackfieldError, TimeoutError) as error:
                host_log("WARNING", "another host is elected only when the lease of this one has ended", error)

    async def _resign(self) -> None:
        """Wait until the election has been left: its lease is released on this very loop."""
        while self.judges:  # noqa: ASYNC110  # what sets it has no event of this loop
            await asyncio.sleep(0.005)

    # --- Following ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        seen = 0
        while True:
            try:
                seen = await self._kept.begin(partial(_changed, self._kept.present, seen))
                await self._pool.run("desired", self._applier.follow)
            except (ResourceExhausted, Unavailable):
                seen = 0
                await asyncio.sleep(_AGAIN)
            except Exception as error:  # noqa: BLE001  # whatever went wrong, the next change may be followed
                reason = "this host stays as it is until something else is written"
                host_log("WARNING", f"what another host of the same store wants cannot be followed: {reason}", error)

    # --- Judging together ---------------------------------------------------------------------------------------------

    async def _count(self) -> None:
        while True:
            judged = {each.status.number: each for each in self._trials() if _is_judged(each)}
            try:
                self._stand(bool(judged))
                await self._hear(judged)
                await self._tell(judged)
            except Unavailable:  # nobody judges, until the store is back
                pass
            except Exception as error:  # noqa: BLE001  # of a newer host, or of nobody who knows this form
                host_log("WARNING", "what other hosts have counted of what is on trial cannot be read", error)
            await asyncio.sleep(_COUNT_EVERY)

    def _stand(self, wanted: bool) -> None:
        """Stand for election while there is anything to judge."""
        if self._standing is not None and (self._standing.done() or not wanted):
            self._standing.cancel()
            self._standing = None
        if wanted and self._standing is None:
            stand = partial(campaign, self._kept.present, _JUDGE, self._name, self._elected)
            self._standing = self._kept.ask(stand)

    def _elected(self, elected: bool) -> None:
        self.judges = elected

    async def _tell(self, judged: "Mapping[int, Canary]") -> None:
        """Write down what this host has counted, and forget what is no longer judged."""
        places = {f"{_key(each)}/{self._name}-{number}": each for number, each in judged.items()}
        for place in self._told.keys() - places.keys():
            await self._asked(lambda store: store.delete(place))  # noqa: B023  # awaited here
            del self._told[place]
        for place, canary in places.items():
            counted = pack([tally.here().plain() for tally in canary.tallies or ()])
            if self._told.get(place) != counted:
                lease = (await self._kept.identity()).lease
                await self._asked(lambda store: store.put(place, counted, lease=lease))  # noqa: B023  # as above
                self._told[place] = counted

    async def _hear(self, judged: "Mapping[int, Canary]") -> None:
        """Read what the others have counted; what was written before a trial came here is of an earlier one."""
        self._begun = {number: since for number, since in self._begun.items() if number in judged}
        for number, canary in judged.items():
            found = await self._asked(lambda store: store.range(f"{_key(canary)}/"))  # noqa: B023  # as above
            since = self._begun.setdefault(number, found.revision)
            for place, stored in found.entries.items() if self.judges else ():
                who = place.rpartition("/")[2]
                if not who.startswith(self._name) and stored.revision > since:
                    for tally, plain in zip(canary.tallies or (), unpack(stored.value), strict=True):
                        tally.hear(who, Sample.of(plain))

    async def _asked(self, ask: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        return await self._kept.answered(lambda: ask(self._kept.store))


async def _changed(store: Store, since: int) -> int:
    """Wait for a later write of what is desired; give its revision."""
    while True:
        found = await store.range(STATE)
        there = found.entries.get(STATE)
        if there is not None and there.revision > since:
            return there.revision
        try:
            async with aclosing(store.watch(STATE, since=found.revision)) as events:
                async for event in events:
                    return event.revision
        except StoreCompacted:
            continue


def _is_judged(canary: "Canary") -> bool:
    return canary.tallies is not None and canary.status.state is CanaryState.RUNNING


def _key(canary: "Canary") -> str:
    status = canary.status
    return f"{_COUNTS}{status.name}@{status.version}"
