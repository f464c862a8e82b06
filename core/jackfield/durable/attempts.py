"""One attempt of a submitted call: claimed, run as any other call, settled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import attrs
import msgspec

from jackfield.durable import verdicts
from jackfield.durable.ledger import Entry, Ledger
from jackfield.durable.lifetime import Lifetime
from jackfield.durable.records import State, Submitted, packed_failure
from jackfield.durable.tenure import Tenure
from jackfield.errors import StoreConflict, Unavailable
from jackfield.log import host_log
from jackfield.model.submission import SubmissionState
from jackfield.ports import Clock

_FRESH: Final = 1_000  # calls that are kept in memory, too
_SMALL: Final = 4_096  # bytes of a payload that is
_LINKS: Final = 8  # spans of earlier attempts that are kept
_AGAIN: Final = 0.5  # seconds until a store that was away is asked again


class Running(Protocol):
    """Runs an attempt as any other call."""

    def __call__(self, entry: Entry, left: float | None, /) -> Coroutine[Any, Any, "Ended"]:
        """Call the function at the host's home, for so many seconds; it raises nothing but its cancellation."""
        ...


@attrs.frozen
class Ended:
    """How an attempt has ended.

    Attributes:
        result: what the function has returned.
        error: what it has raised instead.
        span: of the attempt, as `traceparent` has it; "" if there is none.
        lost: why nobody knows how a step of it ended that must not be done twice.
        final: whether it must not be tried again, whatever its error.
    """

    result: Any = None
    error: BaseException | None = None
    span: str = ""
    lost: BaseException | None = None
    final: bool = False


class Attempts:
    """Claims calls, runs them, and settles them; belongs to the store's loop.

    Args:
        ledger: the calls.
        lifetime: the time that passes for them.
        tenure: until when what this host has claimed is its own.
        clock: of this host.
        run: runs one.
        attempts: how often one is tried.
        settled: told of every change that this host has made.
    """

    def __init__(
        self,
        ledger: Ledger,
        lifetime: Lifetime,
        tenure: Tenure,
        clock: Clock,
        run: Running,
        attempts: int,
        settled: Callable[[Entry], None],
    ) -> None:
        self._ledger = ledger
        self._lifetime = lifetime
        self._tenure = tenure
        self._clock = clock
        self._run = run
        self._attempts = attempts
        self._settled = settled
        self._bodies: dict[str, asyncio.Task[Ended]] = {}
        self._cancelled: set[str] = set()
        self._begun: set[str] = set()  # here, and how they ended is not written
        self._stale: set[str] = set()  # their attempts ended for nothing
        self._fresh: dict[str, Entry] = {}
        self.ending = False

    def cancel(self, identifier: str) -> None:
        """End the attempt that runs here, since the call was cancelled."""
        body = self._bodies.get(identifier)
        if body is not None:
            self._cancelled.add(identifier)
            body.cancel()

    def abandon(self) -> None:
        """End all attempts that run here: the host stops."""
        self.ending = True
        for body in self._bodies.values():
            body.cancel()

    async def attempt(self, identifier: str, runner: str, free: Callable[[], None]) -> bool:
        """Do what is to be done with a call now: nothing, if another runner has it or somebody else was first.

        Args:
            identifier: which.
            runner: this host's runner.
            free: called when its function has ended, or is not called; to write how takes another while.

        Returns:
            Whether it ended for nothing: the call is another's by now, or another call of that id.
        """
        fresh = self._fresh.pop(identifier, None)
        if fresh is None or not await self._attempted(fresh, runner, free):
            entry = await self._ledger.read(identifier)
            if entry is not None:
                await self._attempted(entry, runner, free)
        stale = identifier in self._stale
        self._stale.discard(identifier)
        return stale

    def keep(self, entry: Entry) -> None:
        """Keep what this host has just accepted, to be run without being read; not too much of it."""
        if len(self._fresh) < _FRESH and len(entry.call.payload) < _SMALL:
            self._fresh[entry.id] = entry

    def forget(self, identifier: str) -> None:
        """Keep a call in memory no longer: it is settled."""
        self._fresh.pop(identifier, None)

    async def _attempted(self, entry: Entry, runner: str, free: Callable[[], None]) -> bool:
        """Claim, run and settle a call as it was read; give whether it was still so."""
        identifier = entry.id
        if entry.status.settled:
            self._settled(entry)
            return True
        state, now = entry.now, self._clock.wall()
        if state.status is SubmissionState.RUNNING and state.owner != runner and await self._ledger.alive(state.owner):
            return True
        try:
            decided = self._decided(entry, state, runner, now)
            if decided is not None:
                self._settled(await self._ledger.change(entry, decided))
                return True
            claim = msgspec.structs.replace(
                state,
                status=SubmissionState.RUNNING,
                at=now,
                attempt=state.attempt + 1,
                tries=state.tries + 1,
                owner=runner,
                epoch=state.epoch + 1,
                pause=0.0,
            )
            entry = await self._ledger.change(entry, claim)
        except StoreConflict:
            return False
        if not self._tenure.holds(runner):  # it slept meanwhile: somebody else may have the call
            return False
        self._begun.add(identifier)
        self._settled(entry)
        state = await self._ended(entry, claim)
        free()
        await self._settle(entry, state)
        self._begun.discard(identifier)
        return True

    def _decided(self, entry: Entry, state: State, runner: str, now: float) -> State | None:
        """Settle what is not to be run, or not again; None if it is to be run."""
        left = self._lifetime.left(entry.call, state)
        if state.cancelling:
            return verdicts.cancelled(entry.call, state, now)
        # What is this runner's own and was not begun here is a claim that was written and not answered.
        ran = state.owner != runner or entry.id in self._begun
        if state.status is SubmissionState.RUNNING and ran and not entry.call.repeatable:
            return verdicts.lost(entry.call, state, now)
        if left is not None and left <= 0.0:
            return verdicts.expired(entry.call, state, now, left)
        if state.tries >= self._most(entry.call):
            return verdicts.used_up(entry.call, state, now)
        return None

    def _most(self, call: Submitted) -> int:
        return self._attempts if call.attempts is None else call.attempts

    async def _ended(self, entry: Entry, claim: State) -> State:
        """Run an attempt to its end; give the state that it comes to."""
        call = entry.call
        body = asyncio.get_running_loop().create_task(
            self._run(entry, self._lifetime.left(call, claim)), name=f"call {entry.id}"
        )
        self._bodies[entry.id] = body
        if self.ending:
            body.cancel()
        try:
            await asyncio.wait([body])
        finally:
            del self._bodies[entry.id]
            body.cancel()
        now, by_hand = self._clock.wall(), entry.id in self._cancelled
        self._cancelled.discard(entry.id)
        if body.cancelled():
            if by_hand or not self.ending:
                return verdicts.cancelled(call, claim, now)
            return verdicts.given_back(claim, now, ran=True) if call.repeatable else verdicts.lost(call, claim, now)
        ended = body.result()
        if ended.span:
            claim = msgspec.structs.replace(claim, links=(*claim.links, ended.span)[-_LINKS:])
        if ended.lost is not None and ended.error is not None:
            return verdicts.dead(claim, "unknown", now, packed_failure(ended.lost, call.function))
        if ended.error is None:
            return verdicts.succeeded(call, claim, ended.result, now)
        if ended.final:
            call = msgspec.structs.replace(call, repeatable=False)
        return verdicts.failed(call, claim, ended.error, now, self._most(call), self._lifetime.left(call, claim))

    async def _settle(self, entry: Entry, state: State) -> None:
        """Write how an attempt has ended, however long the store is away; drop it if the call is somebody else's."""
        claim = entry.now
        while True:
            try:
                changed = await self._ledger.change(entry, state)
            except StoreConflict:
                pass
            except Unavailable as error:
                host_log("WARNING", f"call {entry.id} cannot be settled yet", error)
                await asyncio.sleep(_AGAIN)
            else:
                self._settled(changed)
                return
            try:
                there = await self._ledger.read(entry.id)
            except Unavailable:
                await asyncio.sleep(_AGAIN)
                continue
            # The nonce: after a drop, another call may have the id, and its epochs begin anew.
            same = there is not None and there.call.nonce == entry.call.nonce
            if there is None or not same or (there.now.owner, there.now.epoch) != (claim.owner, claim.epoch):
                if there is not None and same and there.now.epoch == claim.epoch and there.now.at == state.at:
                    self._settled(there)  # it was written, and the answer got lost
                    return
                host_log(
                    "WARNING",
                    f"call {entry.id} of {entry.call.function}: attempt {claim.attempt} ended as {state.status.value},"
                    f" which is dropped: {'another host has taken the call over' if same else 'the call is gone'}",
                )
                self._stale.add(entry.id)
                return
            if there.now.cancelling and state.status is SubmissionState.ACCEPTED:
                state = verdicts.cancelled(entry.call, state, self._clock.wall())
            entry = there
