"""The calls in a store: read, claimed and settled, each by one compare-and-swap."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import attrs

from jackfield.durable.lifetime import secret_of
from jackfield.durable.records import (
    SHARDS,
    State,
    Submitted,
    call_key,
    fitting,
    id_of,
    part_of,
    read_call,
    read_state,
    state_key,
    under,
    write,
)
from jackfield.errors import JackfieldError, StoreConflict, SubmissionConflict
from jackfield.log import host_log
from jackfield.model.submission import SubmissionState
from jackfield.ports import Store

RUNNERS: Final = "runners/"
SECRET: Final = "calls-secret"  # noqa: S105  # where it stands
"""The key of what the ids of calls with a key are made of."""


@attrs.frozen
class Entry:
    """A call as it was read.

    Attributes:
        id: its id.
        call: what was submitted.
        state: what has become of it; None before it was first run.
        revision: of the store, at the last change of its state; 0 for none.
    """

    id: str
    call: Submitted
    state: State | None
    revision: int

    @property
    def status(self) -> SubmissionState:
        """Where it is."""
        return SubmissionState.ACCEPTED if self.state is None else self.state.status

    @property
    def now(self) -> State:
        """Its state, or that of one that was never run."""
        return self.state or State(self.call.nonce, SubmissionState.ACCEPTED, self.call.submitted)


class Ledger:
    """Reads and writes the calls of a store; belongs to the store's loop.

    Args:
        store: the store.
        settling: awaited before a call is settled, with what it comes to.
    """

    def __init__(self, store: Store, settling: "Callable[[Entry, State], Awaitable[None]] | None" = None) -> None:
        self.store: Final = store
        self._settling = settling
        self._key: bytes | None = None

    async def identify(self, call: Submitted) -> str:
        """Give the id of a call that has a key."""
        if self._key is None:
            self._key = await secret_of(self.store, SECRET)
        return id_of(self._key, call.tenant, call.function, call.key or "")

    async def insert(self, identifier: str, call: Submitted) -> bool:
        """Keep a call; give whether it was not there before.

        Raises:
            SubmissionConflict: if there is one of its key with another payload.
            PayloadError: if it is larger than a store takes.
        """
        value = fitting(call)
        while True:
            try:
                await self.store.put(call_key(identifier), value, expected=0)
            except StoreConflict:
                stored = await self.store.get(call_key(identifier))
                if stored is None:  # it was collected meanwhile
                    continue
                there = read_call(stored.value, identifier)
                if there.nonce == call.nonce:  # our own, of which we had not heard
                    return True
                if (there.tenant, there.function, there.key, there.digest) != (
                    call.tenant,
                    call.function,
                    call.key,
                    call.digest,
                ):
                    raise SubmissionConflict(call.function, call.key or "", identifier) from None
                return False
            return True

    async def read(self, identifier: str) -> Entry | None:
        """Read a call and its state."""
        stored, kept = await asyncio.gather(self.store.get(call_key(identifier)), self.store.get(state_key(identifier)))
        if stored is None:
            return None
        call = read_call(stored.value, identifier)
        return _entry(identifier, call, None if kept is None else kept.value, 0 if kept is None else kept.revision)

    async def change(self, entry: Entry, state: State) -> Entry:
        """Change the state of a call that is as it was read.

        Raises:
            StoreConflict: if it is not; nothing has changed.
        """
        if state.status.settled and self._settling is not None:
            await self._settling(entry, state)
        revision = await self.store.put(state_key(entry.id), write(state), expected=entry.revision)
        return attrs.evolve(entry, state=state, revision=revision)

    async def alive(self, runner: str) -> bool:
        """Tell whether a runner gives signs of life."""
        return await self.store.get(f"{RUNNERS}{runner}") is not None

    async def shard(self, prefix: str) -> AsyncIterator[Entry]:
        """Read a part of the calls; those that this version cannot read are left out."""
        entries = (await self.store.range(prefix)).entries
        for key, stored in entries.items():
            identifier, part = part_of(key)
            if part != "call":
                continue
            kept = entries.get(state_key(identifier))
            try:
                call = read_call(stored.value, identifier)
                value, revision = (None, 0) if kept is None else (kept.value, kept.revision)
                entry = _entry(identifier, call, value, revision)
            except JackfieldError as error:
                host_log("WARNING", "a submitted call is left alone", error)
                continue
            yield entry

    async def all(self) -> AsyncIterator[Entry]:
        """Read all calls, one part after the other."""
        for prefix in SHARDS:
            async for entry in self.shard(prefix):
                yield entry

    async def collect(self, prefix: str, now: float, keep: float) -> int:
        """Forget the calls of a part that were settled so many seconds ago, or as many as they say; give how many."""
        entries = (await self.store.range(prefix)).entries
        gone = 0
        for key, stored in entries.items():
            identifier, part = part_of(key)
            if part != "state":
                continue
            try:
                state = read_state(stored.value, identifier)
                there = entries.get(call_key(identifier))
                call = None if there is None else read_call(there.value, identifier)
            except JackfieldError:
                continue
            mine = call is not None and call.nonce == state.nonce
            kept = max(keep, call.keep or 0.0) if call is not None and mine else keep
            if state.status.settled and state.at < now - kept:
                try:
                    if there is not None and mine:
                        # First: without a state it would be one that was never run.
                        await self.store.delete(call_key(identifier), expected=there.revision)
                        for step in entries:
                            if step.startswith(f"{under(identifier)}steps/"):
                                await self.store.delete(step)
                    await self.store.delete(key, expected=stored.revision)
                    gone += 1
                except StoreConflict:  # it was redriven, or submitted anew
                    continue
        return gone

    async def drop(self, entry: Entry) -> None:
        """Forget a settled call.

        Raises:
            StoreConflict: if it was redriven meanwhile.
        """
        stored = await self.store.get(call_key(entry.id))
        if stored is not None:
            if read_call(stored.value, entry.id).nonce != entry.call.nonce:
                return  # somebody else was first, and submitted another of that id
            await self.store.delete(call_key(entry.id), expected=stored.revision)
        for key in (await self.store.range(f"{under(entry.id)}steps/")).entries:
            await self.store.delete(key)
        await self.store.delete(state_key(entry.id), expected=entry.revision)


def _entry(identifier: str, call: Submitted, value: bytes | None, revision: int) -> Entry:
    state = None if value is None else read_state(value, identifier)
    if state is not None and state.nonce != call.nonce:
        state = None  # of an earlier call of that id; the next change replaces it
    return Entry(identifier, call, state, revision)
