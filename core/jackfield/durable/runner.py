"""The runner of one host: it gives signs of life, follows the calls of the store, and runs those that it can claim."""

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Final

from jackfield.durable.attempts import Attempts
from jackfield.durable.backlog import Backlog
from jackfield.durable.ledger import RUNNERS, Entry, Ledger
from jackfield.durable.lifetime import EVERY, Lifetime
from jackfield.durable.process import has_ended, mark_of_this
from jackfield.durable.records import PREFIX, SHARDS, part_of, read_call, read_state
from jackfield.durable.tenure import Tenure
from jackfield.errors import JackfieldError, StoreCompacted, StoreConflict, Unavailable
from jackfield.log import host_log
from jackfield.ports import Clock, StoreEvent
from jackfield.store.keeping import keep_lease

TTL: Final = 15.0
"""Seconds without a sign of life after which the calls of a runner are taken over."""

_AGAIN: Final = 1.0  # seconds until a store that was away is asked again
_ASIDE: Final = 2.0  # seconds until a call is looked at again whose function is not here
_GLANCE: Final = 1.0  # seconds between two looks at the processes of other runners
_PASS: Final = 3600.0  # seconds in which all kept calls are looked through at least once


class Runner:
    """Runs submitted calls; all of it belongs to the store's loop.

    Args:
        ledger: the calls.
        backlog: those that are not settled.
        attempts: runs one.
        lifetime: the time that passes for them.
        tenure: what others are told of how long its sign of life is good.
        clock: of this host.
        concurrency: how many run at once.
        keep: seconds that results are kept.
        ttl: seconds without a sign of life after which its calls are taken over.
    """

    def __init__(
        self,
        ledger: Ledger,
        backlog: Backlog,
        attempts: Attempts,
        lifetime: Lifetime,
        tenure: Tenure,
        clock: Clock,
        concurrency: int,
        keep: float,
        ttl: float = TTL,
    ) -> None:
        self._ledger = ledger
        self._backlog = backlog
        self._attempts = attempts
        self._lifetime = lifetime
        self._tenure = tenure
        self._clock = clock
        self._keep = keep
        self._ttl = ttl
        self._seats = asyncio.Semaphore(concurrency)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._touched: set[str] | None = None  # while the calls are read for the first time
        self._paused = False
        self._others: dict[str, bytes] = {}  # runner → its process
        self.id = ""
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run calls until this is cancelled, whatever the store does."""
        told = False
        while True:
            try:
                await self._session()
            except Exception as group:  # noqa: BLE001  # the store is somebody else's; calls wait until it answers
                error: BaseException = group
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                if isinstance(error, StoreCompacted):
                    continue  # it was too slow for all that was written: everything is read anew
                if not told:
                    host_log("WARNING", "submitted calls cannot be followed; it is tried again", error)
                told = True
            self._backlog.wake()
            await asyncio.sleep(_AGAIN)

    def pause(self) -> None:
        """Claim no further calls."""
        self._paused = True

    async def finish(self, timeout: float) -> None:
        """Wait for what runs here, then give back the rest.

        Args:
            timeout: seconds to settle what has ended.
        """
        self._paused = True
        self._attempts.abandon()
        if self._working:
            _, late = await asyncio.wait(list(self._working.values()), timeout=timeout)
            for task in late:
                task.cancel()

    # --- One session: as long as the store answers and the lease lives -----------------------------------------------

    async def _session(self) -> None:
        await self._lifetime.look(self._ledger.store)
        until = self._clock() + self._ttl  # nobody has seen the lease before
        lease = await self._ledger.store.lease(self._ttl)
        try:
            name = os.urandom(8).hex()
            await self._ledger.store.put(f"{RUNNERS}{name}", mark_of_this(), expected=0, lease=lease)
            self.id = name
            self._tenure.begin(name, until)
            there = await self._ledger.store.range(RUNNERS)
            since = there.revision
            self._others = {key.removeprefix(RUNNERS): stored.value for key, stored in there.entries.items()}
            self._touched = set()
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_lease(lease, self._tenure.renewed), name="runner's lease")
                group.create_task(self._follow(PREFIX, since, self._changed), name="calls")
                group.create_task(self._follow(RUNNERS, since, self._gone), name="runners")
                group.create_task(self._bury(), name="dead runners")
                group.create_task(self._tick(), name="lifetime")
                await self._read()
                self.ready.set()
                group.create_task(self._claim(), name="claims")
                group.create_task(self._collect(), name="kept calls")
        finally:
            self._touched = None
            with suppress(Exception):  # it ends by itself
                await lease.release()

    async def _read(self) -> None:
        """Learn of all calls that there were before this host."""
        async for entry in self._ledger.all():
            if self._touched is not None and entry.id not in self._touched:
                self.note(entry)
            elif entry.id in self._backlog:  # its state was heard of, and not yet what it is
                self._backlog.accept(entry.id, entry.call.function, entry.call.submitted)
        self._touched = None
        self._backlog.wake()
        await self._orphans()

    def note(self, entry: Entry) -> None:
        """Learn of a call as it was read or written."""
        if entry.status.settled:
            self._attempts.forget(entry.id)
            self._backlog.forget(entry.id)
            return
        self._backlog.accept(entry.id, entry.call.function, entry.call.submitted)
        if entry.state is not None:
            self._backlog.note(entry.id, entry.state)

    async def _follow(self, prefix: str, since: int, told: Callable[[StoreEvent], None]) -> None:
        async with aclosing(self._ledger.store.watch(prefix, since=since)) as events:
            async for event in events:
                told(event)

    def _changed(self, event: StoreEvent) -> None:
        identifier, part = part_of(event.key)
        if not identifier:
            return
        if self._touched is not None:
            self._touched.add(identifier)
        try:
            if part == "call":
                if event.value is None:
                    self._backlog.forget(identifier)
                elif identifier not in self._working:
                    call = read_call(event.value, identifier)
                    self._backlog.accept(identifier, call.function, call.submitted)
            elif part == "state" and event.value is not None:
                state = read_state(event.value, identifier)
                if state.cancelling and identifier in self._working:
                    self._attempts.cancel(identifier)
                if state.status.settled:
                    self._attempts.forget(identifier)
                self._backlog.note(identifier, state)
        except JackfieldError as error:
            host_log("WARNING", "a submitted call is left alone", error)

    def _gone(self, event: StoreEvent) -> None:
        runner = event.key.removeprefix(RUNNERS)
        if event.value is None:
            self._others.pop(runner, None)
            self._take_over(runner)
        else:
            self._others[runner] = event.value

    async def _bury(self) -> None:
        """Take away the signs of life of processes that have ended, so that all take their calls over at once.

        Not at the first look: what such a process had in workers of its own ends a moment later.
        """
        seen: set[str] = set()
        while True:
            await asyncio.sleep(_GLANCE)
            ended = {runner for runner, process in self._others.items() if has_ended(process)}
            for runner in ended & seen:
                key = f"{RUNNERS}{runner}"
                stored = await self._ledger.store.get(key)
                if stored is not None and has_ended(stored.value):
                    with suppress(StoreConflict):  # another one was first
                        await self._ledger.store.delete(key, expected=stored.revision)
            seen = ended

    def _take_over(self, runner: str) -> None:
        mine = [each for each in self._backlog.owned().get(runner, ()) if each not in self._working]
        if mine:
            host_log("WARNING", f"runner {runner} is gone: its {len(mine)} calls are taken over")
        for identifier in mine:
            self._backlog.again(identifier)

    async def _orphans(self) -> None:
        """Take over the calls of runners that are gone."""
        for runner in self._backlog.owned():
            if runner == self.id or not await self._ledger.alive(runner):
                self._take_over(runner)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._lifetime.look(self._ledger.store)
            await self._orphans()

    async def _claim(self) -> None:
        while True:
            await self._seats.acquire()
            try:
                identifier = await self._backlog.next(_ASIDE)
            except BaseException:
                self._seats.release()
                raise
            if self._paused or identifier in self._working:
                self._seats.release()
                continue
            work = asyncio.get_running_loop().create_task(self._work(identifier), name=f"attempt of {identifier}")
            self._working[identifier] = work

    async def _work(self, identifier: str) -> None:
        held = [self._seats]

        def free() -> None:
            while held:
                held.pop().release()

        try:
            if await self._attempts.attempt(identifier, self.id, free):
                # What was heard of its id meanwhile was left to this task.
                self._working.pop(identifier, None)
                entry = await self._ledger.read(identifier)
                if entry is not None:
                    self.note(entry)
                    self._backlog.again(identifier)
        except (JackfieldError, OSError) as error:
            host_log("WARNING", f"call {identifier} cannot be run yet", error)
            self._backlog.again(identifier, _AGAIN)
            if held and isinstance(error, Unavailable):  # the store is away: the next call would fare no better
                asyncio.get_running_loop().call_later(_AGAIN, held.pop().release)
        finally:
            if self._working.get(identifier) is asyncio.current_task():
                del self._working[identifier]
            free()
            self._backlog.left(identifier)

    async def _collect(self) -> None:
        """Forget results that were kept for their time, a part of the calls after the other."""
        pause = min(max(self._keep, 1.0), _PASS) / len(SHARDS)
        while True:
            for prefix in SHARDS:
                await asyncio.sleep(pause)
                await self._ledger.collect(prefix, self._clock.wall(), self._keep)
