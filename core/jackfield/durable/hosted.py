"""The submitted calls of one host: what it accepts, what it runs, and what it knows of others."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import Context
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs
import msgspec

from jackfield.durable import verdicts
from jackfield.durable.attempts import Attempts, Ended
from jackfield.durable.backlog import Backlog
from jackfield.durable.calling import DurableCaller
from jackfield.durable.contained import Contained
from jackfield.durable.ledger import Entry, Ledger
from jackfield.durable.lifetime import Lifetime
from jackfield.durable.records import SHARDS, State, failure_of, is_id, new_id
from jackfield.durable.runner import TTL, Runner
from jackfield.durable.submission import Submission
from jackfield.durable.telling import Telling
from jackfield.durable.tenure import Claim, Tenure
from jackfield.durable.untraced import Untraced
from jackfield.errors import ConfigError, DeadlineExceeded, StoreConflict, Unavailable
from jackfield.model.deadline import seconds_of
from jackfield.model.submission import SubmissionState
from jackfield.ports import Store
from jackfield.runtime.control import ControlLoop
from jackfield.store.hosted import directly
from jackfield.wire.crossing import unpack

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield.durable.deliveries import Deliveries
    from jackfield.observe.submitted import SubmissionCounts

T = TypeVar("T")
Watch = Callable[[Callable[[], "SubmissionCounts"]], Callable[[], None]]
"""Exposes counts; gives what ends that."""

_ANSWER: Final = 30.0  # seconds that a store may take
_LOOK: Final = 5.0  # seconds after which who waits looks again, whatever was heard
_MEMORY: Final = (
    'this host has no store that lasts: add [store] with url = "sqlite:jackfield.db", or Host(store=…), or submit with'
    " durable=False what may be lost when the process ends"
)


@attrs.frozen
class Durability:
    """How submitted calls are run.

    Attributes:
        concurrency: how many at once.
        attempts: how often one is tried.
        keep: seconds that results are kept.
        ttl: seconds without a sign of life after which the calls of a host are taken over by another.
    """

    concurrency: int = 16
    attempts: int = 3
    keep: float = 86_400.0
    ttl: float = TTL


class Home(Protocol):
    """Where attempts run: the host's home loop."""

    def submit(self, what: str, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin a coroutine there."""
        ...


class Submissions:
    """Accepts calls, and has them run while the host runs.

    Args:
        store: where they are kept.
        lasting: whether that outlives this process.
        loop: the store's.
        direct: whether a thread may ask the store without its loop.
        home: where attempts run.
        caller: makes calls of what is kept.
        running: whether the host runs.
        runs: tells whether a function is one of this host.
        durability: how they are run.
        tracing: makes spans.
        telling: counts and logs.
        watching: exposes its counts, while the host runs.
    """

    def __init__(
        self,
        store: Store,
        lasting: bool,
        loop: ControlLoop,
        direct: Callable[[], bool],
        home: Home,
        caller: DurableCaller,
        running: Callable[[], bool],
        runs: Callable[[str], bool],
        durability: Durability,
        tracing: Untraced,
        telling: Telling,
        watching: Sequence[Watch] = (),
    ) -> None:
        self._lasting = lasting
        self._loop = loop
        self._direct = direct
        self._home = home
        self._caller = caller
        self._running = running
        self._runs = runs
        self.durability = durability
        self._tracing = tracing
        self._ledger = Ledger(Contained(store), self._settling)
        self._lock = threading.Lock()
        self._run: Future[None] | None = None
        self._runner: Runner | None = None
        self._attempts: Attempts | None = None
        self._backlog: Backlog | None = None
        self._lifetime = Lifetime(loop.clock)
        self._tenure = Tenure(loop.clock)
        self._looked = False
        self.deliveries: Deliveries | None = None
        self.telling = telling
        self._watching = watching
        self._unwatch: list[Callable[[], None]] = []

    # --- The host's ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run what there is to run: the host runs."""
        with self._lock:
            if self._run is None:
                # New ones for each start: the loop is a new one, too.
                wanted = self.durability
                self._lifetime, self._looked = Lifetime(self._loop.clock), False
                self._backlog = Backlog(self._loop.clock, self._runs, self._room)
                self._tenure = Tenure(self._loop.clock)
                self._attempts = Attempts(
                    self._ledger,
                    self._lifetime,
                    self._tenure,
                    self._loop.clock,
                    self._attempted,
                    wanted.attempts,
                    self._note,
                )
                self._runner = Runner(
                    self._ledger,
                    self._backlog,
                    self._attempts,
                    self._lifetime,
                    self._tenure,
                    self._loop.clock,
                    wanted.concurrency,
                    wanted.keep,
                    wanted.ttl,
                )
                self.telling.watch(self._backlog)
                self._unwatch += [watch(self.telling.counts) for watch in self._watching]
                self._run = self._loop.submit(self._runner.run())

    def pause(self) -> None:
        """Begin no further attempts: the host stops."""
        runner = self._runner
        if runner is not None:
            runner.pause()

    def stop(self, timeout: float) -> None:
        """Give back what runs still.

        Args:
            timeout: seconds that this may take.
        """
        with self._lock:
            run, runner, self._run, self._runner = self._run, self._runner, None, None
        if run is None or runner is None:
            return
        try:
            self._loop.run(runner.finish(timeout), timeout + 1.0)
            run.cancel()
            self._loop.run(_moment(), 1.0)  # its lease is released on the way
        except (TimeoutError, Unavailable):
            run.cancel()
        while self._unwatch:
            self._unwatch.pop()()
        self.telling.restart()

    def _note(self, entry: Entry) -> None:
        """Learn of a change that this host has made."""
        if self._runner is not None:
            self._runner.note(entry)
        elif self._backlog is not None and entry.status.settled:
            self._backlog.forget(entry.id)
        self.telling.changed(entry)

    def _room(self, function: str) -> int | None:
        return None if self.deliveries is None else self.deliveries.room(function, self.durability.concurrency)

    async def _settling(self, entry: Entry, state: State) -> None:
        """Have sent what is to be sent of a call, before it is settled."""
        if self.deliveries is not None:
            await self.deliveries.settling(entry, state)

    async def _attempted(self, entry: Entry, left: float | None) -> Ended:
        journal = None
        if entry.call.flow:
            from jackfield.durable.steps import StepJournal  # noqa: PLC0415  # for flows

            journal = StepJournal(self._ledger.store, self._loop, entry, self._tenure)
        claim = Claim(self._tenure, entry.now.owner)
        attempt = self._caller.attempted(entry, left, self._tracing, claim, journal)
        try:
            there = self._home.submit("a submitted call", attempt)
        except Unavailable as error:
            return Ended(error=Unavailable(error.what, error.reason, "host_stopped", ran=False))
        try:
            return await asyncio.wrap_future(there)
        finally:
            claim.over = True

    @property
    def lasts(self) -> bool:
        """Whether what is accepted outlives this process."""
        return self._lasting

    # --- What a host offers -------------------------------------------------------------------------------------------

    def submit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> Submission:
        """Accept a call; see `Host.submit`."""
        accepting = self._accept(name, payload, key, timeout, tenant, version, headers, durable)
        if self._looked and self._direct() and asyncio._get_running_loop() is None:  # noqa: SLF001  # documented
            return directly(accepting)
        return self._wait(accepting)

    async def asubmit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,  # the call's
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        durable: bool = True,
        keep: float | None = None,
    ) -> Submission:
        """Do the same without blocking the running event loop.

        Args:
            name: as for `submit`, and so are the others.
            payload: as that.
            key: as that.
            timeout: as that.
            tenant: as that.
            version: as that.
            headers: as that.
            durable: as that.
            keep: seconds that the call is kept at least after it has ended, and stands for its key.
        """
        accepting = self._accept(name, payload, key, timeout, tenant, version, headers, durable, keep)
        return await asyncio.wrap_future(self._begin(accepting))

    def _accept(
        self,
        name: str,
        payload: Any,
        key: str | None,
        timeout: float | None,
        tenant: str | None,
        version: str | None,
        headers: Mapping[str, str] | None,
        durable: bool,
        keep: float | None = None,
    ) -> Coroutine[Any, Any, Submission]:
        if durable and not self._lasting:
            raise ConfigError("host", None, "store", _MEMORY)
        self._need()
        if timeout is not None:
            timeout = seconds_of(timeout)
        call = self._caller.checked(name, payload, key, timeout, tenant, version, headers)
        identifier = new_id()
        if self.deliveries is not None:
            keep = max(keep or 0.0, self.deliveries.keep(name) or 0.0) or None
        with self._tracing.submit(name, identifier if key is None else key) as trace:
            return self._kept(msgspec.structs.replace(call, trace=trace, keep=keep), identifier)

    async def _kept(self, call: Any, identifier: str) -> Submission:
        if not self._looked:  # the time that passes for calls begins with the store's
            await self._lifetime.look(self._ledger.store)
            self._looked = True
        if call.key is not None:
            identifier = await self._ledger.identify(call)
        call = msgspec.structs.replace(call, submitted=self._loop.clock.wall(), lived=self._lifetime.seconds)
        attempts = self._attempts if call.key is None else None  # with a key it may be another one's
        if attempts is not None:  # before it is heard of that it is there
            attempts.keep(Entry(identifier, call, None, 0))
        try:
            inserted = await self._ledger.insert(identifier, call)
        except BaseException:
            if attempts is not None:
                attempts.forget(identifier)
            raise
        if inserted:
            self.telling.accepted(call.function)
            if self._backlog is not None and self._loop.is_here:  # else the watch brings it
                self._backlog.accept(identifier, call.function, call.submitted)
        return self._handle(identifier, call)

    def read(self, identifier: str) -> Entry:
        """Read a call.

        Raises:
            LookupError: if there is none.
        """
        return self._wait(self.found(identifier))

    def submitted(self, identifier: str) -> Submission:
        """Find a call; see `Host.submitted`."""
        entry = self.read(identifier)
        return self._handle(entry.id, entry.call)

    def each(self, function: str, status: str | None, tenant: str | None) -> Iterator[tuple[Submission, Entry]]:
        """Go through the calls that are kept, one part of the store after the other."""
        wanted = None if status is None else SubmissionState(status)
        for prefix in SHARDS:
            for entry in self._wait(_listed(self._ledger.shard(prefix), function, wanted, tenant)):
                yield self._handle(entry.id, entry.call), entry

    def redrive(self, identifier: str) -> Submission:
        """Run a call again that is failed, dead or cancelled; see `Host.redrive`."""
        entry = self._wait(self._redriven(identifier))
        return self._handle(entry.id, entry.call)

    def drop(self, identifier: str) -> None:
        """Forget a settled call.

        Raises:
            LookupError: if there is none, or it is not settled.
        """
        self._wait(self._dropped(identifier))

    def asked(self, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Ask the store itself."""
        return self._wait(ask(self._ledger.store))

    async def asettled(self, identifier: str, timeout: float) -> Entry:
        """Read a call that has ended, from any event loop; wait for that.

        Raises:
            LookupError: if there is none.
            DeadlineExceeded: if it has not ended in time.
        """
        return await asyncio.wrap_future(self._begin(self.settled(identifier, timeout)))

    async def aasked(self, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Ask the store itself, from any event loop."""
        return await asyncio.wrap_future(self._begin(ask(self._ledger.store)))

    # --- On the store's loop ------------------------------------------------------------------------------------------

    async def found(self, identifier: str) -> Entry:
        """Read a call.

        Raises:
            LookupError: if there is none.
        """
        entry = await self._ledger.read(identifier) if is_id(identifier) else None
        if entry is None:
            raise LookupError(f"no call {ascii(identifier)[:80]}: it was never submitted here, or is not kept any more")
        return entry

    async def entrust(self, name: str, payload: Mapping[str, str], about: Entry, attempts: int) -> Submission:
        """Accept a call of the host's own about another one: once for each payload, in the trace of that one.

        Args:
            name: the function.
            payload: which call it is about, and which end of it.
            about: that call.
            attempts: how often it is tried.
        """
        key = " ".join(payload.values())
        # Whoever settles that call may do so within a call, whose tenant and deadline are not those of this one.
        call = Context().run(self._caller.checked, name, payload, key, None, None, None, None)
        return await self._kept(msgspec.structs.replace(call, trace=about.call.trace, attempts=attempts), new_id())

    async def ended(self, identifier: str, timeout: float | None) -> Any:  # it raises our own error
        """Wait for the end of a call; give its result, or raise its error."""
        return _outcome(await self.settled(identifier, timeout))

    async def settled(self, identifier: str, timeout: float | None) -> Entry:  # as above
        """Wait for the end of a call.

        Raises:
            LookupError: if there is none.
            DeadlineExceeded: if it has not ended in time.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + seconds_of(timeout)
        while True:
            backlog = self._backlog
            waiter = backlog.ending(identifier) if backlog is not None else loop.create_future()
            try:
                entry = await self.found(identifier)
                if entry.status.settled:
                    return entry
                left = _LOOK if until is None else min(until - loop.time(), _LOOK)
                if left <= 0.0:
                    late = f"it is {entry.status.value} still, and goes on"
                    raise DeadlineExceeded(entry.call.function, max(-left, 0.0), late)
                await asyncio.wait([waiter], timeout=left)
            finally:
                if backlog is not None:
                    backlog.leave(identifier, waiter)

    async def cancel(self, identifier: str) -> bool:
        """Cancel a call; give whether it had not ended."""
        while True:
            entry = await self.found(identifier)
            if entry.status.settled:
                return False
            state, now = entry.now, self._loop.clock.wall()
            if state.status is SubmissionState.RUNNING:
                wanted = msgspec.structs.replace(state, cancelling=True)
            else:
                wanted = verdicts.cancelled(entry.call, state, now)
            try:
                changed = await self._ledger.change(entry, wanted)
            except StoreConflict:
                continue
            if wanted.status.settled:
                self._note(changed)
            elif self._attempts is not None:
                self._attempts.cancel(identifier)
            return True

    async def _redriven(self, identifier: str) -> Entry:
        while True:
            entry = await self.found(identifier)
            if entry.status in {SubmissionState.SUCCEEDED, SubmissionState.ACCEPTED, SubmissionState.RUNNING}:
                fix = "those that are failed, dead or cancelled can be redriven"
                raise LookupError(f"call {identifier} is {entry.status.value}: {fix}")
            state, now = entry.now, self._loop.clock.wall()
            again = msgspec.structs.replace(
                state,
                status=SubmissionState.ACCEPTED,
                at=now,
                tries=0,
                epoch=state.epoch + 1,
                cancelling=False,
                reason="",
                failure=None,
                redriven=(now, self._lifetime.seconds),
            )
            try:
                changed = await self._ledger.change(entry, again)
            except StoreConflict:
                continue
            self._note(changed)
            return changed

    async def _dropped(self, identifier: str) -> None:
        entry = await self.found(identifier)
        if not entry.status.settled:
            raise LookupError(f"call {identifier} is {entry.status.value}: cancel it first")
        await self._ledger.drop(entry)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _handle(self, identifier: str, call: Any) -> Submission:
        return Submission(identifier, call.function, call.tenant, call.key, calls=self, begin=self._begin)

    def _need(self) -> None:
        if not self._running():
            raise Unavailable("the host", "it is not running: start it first", "host_stopped", ran=False)
        if self._run is None:
            self.start()

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        try:
            self._need()
        except BaseException:
            coroutine.close()
            raise
        return self._loop.submit(coroutine)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_here:
            coroutine.close()
            raise Unavailable("the store", "its own event loop cannot wait for it", "store", ran=False)
        waiting = self._begin(coroutine)
        try:
            return waiting.result(_ANSWER)
        except TimeoutError:
            raise Unavailable("store", f"it has not answered within {_ANSWER:g} s", "store") from None
        except BaseException:
            waiting.cancel()
            raise


async def _listed(
    entries: AsyncIterator[Entry], function: str, status: SubmissionState | None, tenant: str | None
) -> list[Entry]:
    return [
        entry
        async for entry in entries
        if fnmatchcase(entry.call.function, function)
        and status in {None, entry.status}
        and tenant in {None, entry.call.tenant}
    ]


def _outcome(entry: Entry) -> Any:
    state = entry.now
    if state.status is SubmissionState.SUCCEEDED:
        return unpack(state.result)
    raise failure_of(state, entry.call.function)


async def _moment() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
