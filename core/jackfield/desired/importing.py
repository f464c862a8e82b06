"""Bringing the lines of a document into a store that may have a life of its own, while its hosts go on."""

from collections.abc import Sequence
from typing import Final, Literal

import attrs
import msgspec

from jackfield.desired.portable import (
    DESIRED,
    CallLine,
    DesiredLine,
    LeftLine,
    Line,
    ScheduleLine,
    SecretLine,
    StoreLine,
    check_line,
    read_line,
)
from jackfield.durable.ledger import SECRET, Entry, Ledger
from jackfield.durable.lifetime import KEY as LIFETIME
from jackfield.durable.records import State, Submitted, call_key, state_key, under, write
from jackfield.durable.steps import read_step, write_step
from jackfield.errors import StoreConflict
from jackfield.model.submission import SubmissionState
from jackfield.ports import Store
from jackfield.schedules.ledger import PREFIX as SCHEDULES
from jackfield.store.identity import HOSTS

_NEWEST: Final = f"{DESIRED}state"

Fate = Literal["written", "same", "replaced", "conflict"]


@attrs.frozen
class Brought:
    """What has become of a line.

    Attributes:
        record: its kind.
        name: what it is about.
        fate: `written`, `same` (it is there already), `replaced`, or `conflict`: what is there was left as it is.
        reason: of a conflict.
        id: of a call, where it is another one here.
    """

    record: str
    name: str
    fate: Fate
    reason: str = ""
    id: str = ""


async def brought_in(store: Store, lines: Sequence[str], hosts: Sequence[str], *, replace: bool) -> list[Brought]:
    """Bring lines into a store: what is not there is written, what is there stays, unless it is to be replaced.

    Each line is written as a whole, so that it may be done again after it was cut off.

    Args:
        store: where to.
        lines: of a document, in their order.
        hosts: of the store that the document comes from.
        replace: write over what is there and is another.

    Returns:
        What has become of each.

    Raises:
        ValueError: if a line cannot be read, or is of a newer version; those before it are written.
    """
    here = {key.split("/")[1] for key in (await store.range(HOSTS)).entries}
    foreign = ""
    if hosts and here and not here & set(hosts) and not replace:
        foreign = f"it is of host {', '.join(sorted(hosts))}, and this store of {', '.join(sorted(here))}"
    bringing = _Bringing(store, foreign, replace)
    return [await bringing.bring(read_line(line)) for line in lines]


class _Bringing:
    def __init__(self, store: Store, foreign: str, replace: bool) -> None:
        self._store, self._foreign, self._replace = store, foreign, replace
        self._ledger = Ledger(store)

    async def bring(self, line: Line) -> Brought:
        check_line(line)
        match line:
            case StoreLine():
                return await self._lived(line)
            case SecretLine():
                return await self._secret(line)
            case DesiredLine():
                return await self._desired(line)
            case ScheduleLine():
                return await self._schedule(line)
            case CallLine():
                return await self._call(line)
            case LeftLine():
                raise AssertionError("it was refused")

    async def _lived(self, line: StoreLine) -> Brought:
        """Have as much time passed here, so that no call gets more than it had left."""
        while True:
            there = await self._store.get(LIFETIME)
            if there is not None and msgspec.msgpack.decode(there.value, type=float) >= line.lived:
                return Brought("store", "time", "same")
            value = msgspec.msgpack.encode(line.lived)
            if await self._put(LIFETIME, value, 0 if there is None else there.revision):
                return Brought("store", "time", "written")

    async def _secret(self, line: SecretLine) -> Brought:
        if await self._put(SECRET, line.value, 0):
            return Brought("secret", SECRET, "written")
        there = await self._store.get(SECRET)
        if there is not None and there.value == line.value:
            return Brought("secret", SECRET, "same")
        reason = "this store has another, which stays: calls with a key get the ids that they have here"
        return Brought("secret", SECRET, "conflict", reason)

    async def _desired(self, line: DesiredLine) -> Brought:
        newest = line.entries[_NEWEST]
        there = await self._store.get(_NEWEST)
        if there is not None and there.value == newest:
            return Brought("desired", DESIRED, "same")
        if self._foreign or (there is not None and not self._replace):
            reason = self._foreign or "something else is desired here"
            return Brought("desired", DESIRED, "conflict", f"{reason}: --replace takes the document's")
        if there is not None:
            for key in (await self._store.range(f"{DESIRED}history/")).entries:
                await self._store.delete(key)
        for key, value in line.entries.items():
            if key != _NEWEST:
                await self._store.put(key, value)
        # Last: it refers to all of that.
        if not await self._put(_NEWEST, newest, 0 if there is None else there.revision):
            return Brought("desired", DESIRED, "conflict", "a host has changed it meanwhile: import it again")
        return Brought("desired", DESIRED, "written" if there is None else "replaced")

    async def _schedule(self, line: ScheduleLine) -> Brought:
        key = f"{SCHEDULES}{line.name}"
        there = await self._store.get(key)
        if there is not None and there.value == line.value:
            return Brought("schedule", line.name, "same")
        if self._foreign or (there is not None and not self._replace):
            reason = self._foreign or "it has come to another time here"
            return Brought("schedule", line.name, "conflict", f"{reason}: --replace takes the document's")
        if not await self._put(key, line.value, 0 if there is None else there.revision):
            return Brought("schedule", line.name, "conflict", "a host has changed it meanwhile: import it again")
        return Brought("schedule", line.name, "written" if there is None else "replaced")

    async def _call(self, line: CallLine) -> Brought:
        call = line.call
        # The call of a key has the id by which this store finds it, so that it is accepted here only once, too.
        identifier = line.id if call.key is None else await self._ledger.identify(call)
        moved = identifier if identifier != line.id else ""
        there = await self._ledger.read(identifier)
        if there is None:
            written = await self._fresh(identifier, line)
            if written:
                return Brought("call", line.id, "written", id=moved)
            there = await self._ledger.read(identifier)
        if there is None:
            return Brought("call", line.id, "conflict", "a host has changed it meanwhile: import it again", moved)
        if there.call.nonce == call.nonce and _same(there.state, line.state):
            return Brought("call", line.id, "same", id=moved)
        reason = self._kept(there, call)
        if reason:
            return Brought("call", line.id, "conflict", reason, moved)
        try:
            await self._over(there, line)
        except StoreConflict:
            return Brought("call", line.id, "conflict", "a host has changed it meanwhile: import it again", moved)
        return Brought("call", line.id, "replaced", id=moved)

    def _kept(self, there: Entry, call: Submitted) -> str:
        """Say why what is there stays; "" if it does not."""
        if there.status is SubmissionState.RUNNING:
            return "it runs here: wait for its end, or cancel it"
        if self._replace:
            return ""
        if there.call.nonce != call.nonce:
            return f"its key {(call.key or '')[:80]!r} is that of another call here: --replace takes the document's"
        return f"it is {there.status.value} here, and another in the document: --replace takes the document's"

    async def _fresh(self, identifier: str, line: CallLine) -> bool:
        """Write a call that is not there: it itself last, since a host may run what it sees."""
        await self._steps(identifier, line)
        if line.state is not None:
            left_over = await self._store.get(state_key(identifier))
            revision = 0 if left_over is None else left_over.revision
            if not await self._put(state_key(identifier), write(line.state), revision):
                return False
        return await self._put(call_key(identifier), write(line.call), 0)

    async def _over(self, there: Entry, line: CallLine) -> None:
        """Write over a call that does not run; whoever had claimed it before cannot settle it any more."""
        if there.call.nonce != line.call.nonce:
            await self._ledger.drop(there)
            if not await self._fresh(there.id, line):
                raise StoreConflict(call_key(there.id), 0, 1)
            return
        state = line.state or State(line.call.nonce, SubmissionState.ACCEPTED, line.call.submitted)
        await self._steps(there.id, line)
        await self._ledger.change(there, msgspec.structs.replace(state, epoch=max(there.now.epoch, state.epoch) + 1))

    async def _steps(self, identifier: str, line: CallLine) -> None:
        for name, step in line.steps.items():
            key = f"{under(identifier)}steps/{name}"
            there = await self._store.get(key)
            if there is None or read_step(there.value) != step:
                await self._store.put(key, write_step(step))

    async def _put(self, key: str, value: bytes, expected: int) -> bool:
        try:
            await self._store.put(key, value, expected=expected)
        except StoreConflict:
            return False
        return True


def _same(there: State | None, here: State | None) -> bool:
    if there is None or here is None:
        return there is here
    return msgspec.structs.replace(there, epoch=0) == msgspec.structs.replace(here, epoch=0)
