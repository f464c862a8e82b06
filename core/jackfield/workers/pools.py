"""All workers of one plugin: those that are for anybody's calls, and those of tenants that have some of their own.

A tenant has a pool of its own where the plugin says `per_tenant`; tenants of low priority have one together otherwise.
Pools come with their first call, and go when nobody has needed them for a while. In tier `self` all are forked from one
zygote, which has imported the plugin and seen no call; what is around a guest, a folder of its own and a label are a
tenant's, so there each has a zygote too.
"""

import asyncio
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs

from jackfield.errors import JackfieldError, ResourceExhausted, Unavailable
from jackfield.model.call import Call
from jackfield.model.record import WorkerRecord
from jackfield.ports import ExecutorStats, together
from jackfield.runtime.control import ControlLoop
from jackfield.workers.hatchery import Hatchery
from jackfield.workers.limits import Allowance
from jackfield.workers.members import Common, Member, Whose
from jackfield.workers.messages import EVENT, Described, Prepare
from jackfield.workers.pool import WorkerPool
from jackfield.workers.settings import WorkerSettings

TENANTS: Final = 64
"""How many pools beside the common one a plugin has at once; one more ends the one that rests longest."""


@attrs.frozen
class Apart:
    """What a tenant's workers come from that have a zygote of their own.

    Attributes:
        hatchery: makes them.
        scratch: a folder of their own, or None.
    """

    hatchery: Hatchery
    scratch: str | None = None


class WorkerPools:
    """Keeps the workers of one plugin.

    Args:
        plugin: its name.
        hatchery: where they come from.
        allowance: what each may use.
        settings: how they are kept.
        control: the loop that they are supervised on.
        per_tenant: whether each tenant has workers of its own.
        low: gives the tenants whose work can wait.
        apart: makes what the workers of a tenant come from, if not from what all others do.

    Attributes:
        common: what all have in common.
    """

    def __init__(
        self,
        plugin: str,
        hatchery: Hatchery,
        allowance: Allowance,
        settings: WorkerSettings,
        control: ControlLoop,
        *,
        per_tenant: bool,
        low: Callable[[], frozenset[str]],
        apart: Callable[[str], Apart | None],
    ) -> None:
        self.plugin, self.settings = plugin, settings
        self.common = Common()
        self._hatchery, self._allowance, self._control = hatchery, allowance, control
        self._per_tenant, self._low, self._apart = per_tenant, low, apart
        self._lock = threading.RLock()  # reentrant, as that of a pool
        self._all = WorkerPool(plugin, hatchery, allowance, settings, control, self.common, Whose())
        self._own: dict[Whose, WorkerPool] = {}  # the one that was needed last comes last
        self._origins: dict[WorkerPool, Apart] = {}
        self._open = False
        self._first = asyncio.Lock()
        self._gone = ExecutorStats()
        self._ends: set[asyncio.Task[None]] = set()

    # --- Calls, in any thread -----------------------------------------------------------------------------------------

    def of(self, call: Call) -> WorkerPool:
        """Give the workers that a call is for.

        Raises:
            ResourceExhausted: when as many tenants as may have workers of their own use them.
        """
        tenant = call.tenant
        if tenant is None:
            return self._all
        low = tenant in self._low()
        if not low and not self._per_tenant:
            return self._all
        whose = Whose(tenant if self._per_tenant else None, low)
        with self._lock:
            if not self._open:
                return self._all  # which says so
            pool = self._own.pop(whose, None)
            if pool is None or pool.retired:
                pool = self._made(whose, call.name)
            self._own[whose] = pool
            return pool

    def _made(self, whose: Whose, name: str) -> WorkerPool:
        """Make a pool, in place of another one if need be. The lock is held."""
        if len(self._own) >= TENANTS:
            old = next((each for each in self._own.values() if each.retire()), None)
            if old is None:
                reason = f"{TENANTS} tenants use workers of their own of {self.plugin}, the most allowed"
                raise ResourceExhausted(name, reason, 1.0)
            self._control.post(self._end, old)
            del self._own[old.whose]
        apart = None if whose.tenant is None else self._apart(whose.tenant)
        hatchery = self._hatchery if apart is None else apart.hatchery
        settings = attrs.evolve(self.settings, min=0)
        pool = WorkerPool(self.plugin, hatchery, self._allowance, settings, self._control, self.common, whose)
        pool.on_rest = self._rests
        if apart is not None:
            self._origins[pool] = apart
        pool.open()
        return pool

    # --- Its life, from threads of the pool ---------------------------------------------------------------------------

    def describe(self, timeout: float) -> Described:
        """Have the plugin imported, and give what that gave.

        Raises:
            TimeoutError: when it takes too long.
            Unavailable: when its zygote ends.
        """
        described = self._control.run(self._hatchery.describe(timeout))
        self.common.version = described.version
        return described

    def join(self, prepare: Prepare, timeout: float) -> Described:
        """Have a further plugin imported, and give what that gave; errors as for `describe`."""
        return self._control.run(self._join(prepare, timeout))

    async def _join(self, prepare: Prepare, timeout: float) -> Described:
        described = await self._hatchery.join(prepare, timeout)
        if described.fault is None and described.threads == 1:
            for each in self._every:
                await each.join(prepare)
        return described

    def start(self, member: Member) -> None:
        """Let calls of a plugin in, and start the first worker: what it raises is why the plugin does not start."""
        self._control.run(self._start(member))

    async def _start(self, member: Member) -> None:
        if not any(each.running for each in self.common.members):
            self._hatchery.begin()
            self._all.open()
            self._first = asyncio.Lock()
        try:
            async with self._first:  # whoever comes meanwhile starts in the worker that is being made
                there = [worker for each in self._every for worker in each.there()]
                alone = not self._all.there()
                member.running = True
                if alone:
                    self._all.open()  # also if the start of another one has failed meanwhile
                    await self._all.first()
            for worker in there:
                await member.start(worker, member.settings.start_timeout)
        except BaseException:
            member.running = False
            if any(each.running for each in self.common.members):
                self._all.open()
            raise
        with self._lock:
            self._open = True

    def stop(self, member: Member, timeout: float) -> None:
        """Stop a plugin in every worker, and end them if it was the last.

        Args:
            member: which.
            timeout: seconds that it may take.
        """
        self._control.run(self._stop(member, timeout))

    async def _stop(self, member: Member, timeout: float) -> None:
        results: list[Any]
        async with self._first:  # the last one of several that stop at once ends the workers
            if any(each.running for each in self.common.members if each is not member):
                left = (each.left(member, timeout) for each in self._every)
                results = await asyncio.gather(*left, return_exceptions=True)
            else:
                results = await self._stopped(timeout)
            member.running = False
        for each in results:
            if isinstance(each, BaseException):
                raise each

    async def _stopped(self, timeout: float) -> list[Any]:
        own = self._closed()
        results = await asyncio.gather(*(each.stop(timeout) for each in (self._all, *own)), return_exceptions=True)
        await asyncio.gather(*(self._away(each) for each in own))
        return results

    def _closed(self) -> list[WorkerPool]:
        with self._lock:
            self._open = False
            own, self._own = list(self._own.values()), {}
        return own

    def close(self) -> None:
        """Kill all that is there; for any thread but the control loop's."""
        self._control.run(self._close())

    async def _close(self) -> None:
        own = self._closed()
        await asyncio.gather(*(each.close() for each in (self._all, *own)))
        await asyncio.gather(*(self._away(each) for each in own))
        for task in list(self._ends):
            with suppress(asyncio.CancelledError):
                await task
        await self._hatchery.close()

    def method(self, member: Member, name: str, timeout: float) -> Any:
        """Call a method of a plugin object, in a worker that is anybody's.

        Args:
            member: whose.
            name: `health` or `snapshot`, or `PROBE` and a name.
            timeout: seconds that it may take.
        """
        return self._control.run(self._all.method(member, name, timeout))

    def deliver(self, member: Member, subscription: str, event: bytes) -> None:
        """Have a worker that is anybody's handle an event; wait until it has. One is started if there is none.

        Args:
            member: whose subscription.
            subscription: its key.
            event: as it crosses.

        Raises:
            Unavailable: if none of them has that subscription any more.
        """
        if not self._control.run(self._all.deliver(member, f"{EVENT}{subscription}", event)):
            raise Unavailable(member.plugin, "no worker of it handles this event any more", "stopped", ran=False)

    # --- Pools that go, on the control loop ---------------------------------------------------------------------------

    def _rests(self, pool: WorkerPool) -> None:
        """End a pool whose last worker nobody needed."""
        with self._lock:
            if pool.records() or self._own.get(pool.whose) is not pool or not pool.retire():
                return
            del self._own[pool.whose]
        self._end(pool)

    def _end(self, pool: WorkerPool) -> None:
        async def end() -> None:
            with suppress(JackfieldError, TimeoutError):
                await pool.stop(self.settings.stop_timeout)
            await pool.close()
            await self._away(pool)

        task = asyncio.get_running_loop().create_task(end())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _away(self, pool: WorkerPool) -> None:
        """Take away what a pool that has ended came from, if that was its own."""
        counted = pool.stats()
        self._gone = together(self._gone, ExecutorStats(counted.enqueued, counted.rejected, counted.late))
        apart = self._origins.pop(pool, None)
        if apart is None:
            return
        await apart.hatchery.close()
        if apart.scratch is not None:
            await asyncio.get_running_loop().run_in_executor(None, _remove, apart.scratch)

    # --- For people ---------------------------------------------------------------------------------------------------

    @property
    def _every(self) -> tuple[WorkerPool, ...]:
        with self._lock:
            return (self._all, *self._own.values())

    def records(self) -> tuple[WorkerRecord, ...]:
        """Give what there is to know of each worker; those of tenants come last."""
        return tuple(record for each in self._every for record in each.records())

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        return together(self._gone, *(each.stats() for each in self._every))


class PluginWorkers:
    """The workers of one plugin, which may live in them with others.

    Args:
        pools: all that these plugins have.
        member: the plugin there.

    Attributes:
        on_stop: called when the plugin is being stopped, before its workers are.
    """

    def __init__(self, pools: WorkerPools, member: Member) -> None:
        self.pools, self.member = pools, member
        self.on_stop: Callable[[], object] = lambda: None

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self.member.plugin

    @property
    def settings(self) -> WorkerSettings:
        """How it is started and stopped."""
        return self.member.settings

    def of(self, call: Call) -> WorkerPool:
        """Give the workers that a call is for; as `WorkerPools.of`."""
        if not self.member.running:
            raise Unavailable(call.name, f"the plugin {self.plugin} is not running", "stopped", ran=False)
        return self.pools.of(call)

    def start(self, state: bytes | None) -> None:
        """Start it; as `WorkerPools.start`.

        Args:
            state: what an earlier instance left.
        """
        self.member.state = state
        self.pools.start(self.member)

    def stop(self, timeout: float) -> None:
        """Stop it; as `WorkerPools.stop`."""
        self.on_stop()
        self.pools.stop(self.member, timeout)

    def method(self, name: str, timeout: float) -> Any:
        """Call a method of the plugin object; as `WorkerPools.method`."""
        return self.pools.method(self.member, name, timeout)

    def deliver(self, subscription: str, event: bytes) -> None:
        """Have an event handled; as `WorkerPools.deliver`."""
        self.pools.deliver(self.member, subscription, event)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
