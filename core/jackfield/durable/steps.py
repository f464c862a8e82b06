"""The journal of a submitted flow: which of its steps are done, so that none of them is done twice.

A step stands under `calls/SS/ID/steps/STEP`, written when it begins and when it has ended, each time by
compare-and-swap: of two hosts that both think the flow theirs, one is refused.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from jackfield.durable.ledger import Entry
from jackfield.durable.records import under
from jackfield.durable.tenure import TAKEN, Tenure
from jackfield.errors import JackfieldError, StoreConflict, Unavailable
from jackfield.flow.journal import NOTHING
from jackfield.model.retry import worth_it
from jackfield.ports import Store
from jackfield.runtime.control import ControlLoop
from jackfield.wire.crossing import pack, unpack


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a step.

    Attributes:
        status: how far it has come.
        nonce: of the call.
        drive: when the call was last redriven; what was before it does not bind.
        result: plain data, once it is done.
    """

    status: Literal["begun", "done", "failed"]
    nonce: bytes
    drive: float = 0.0
    result: bytes | None = None


write_step: Final = msgspec.msgpack.Encoder().encode
"""Writes it."""
read_step: Final = msgspec.msgpack.Decoder(Step).decode
"""Reads what is kept of a step."""


class StepJournal:
    """Keeps the steps of one attempt; a `flow.Journal`. Used on the host's home loop.

    Args:
        store: where they stand.
        loop: the store's.
        entry: the call, and its state during the attempt.
        tenure: until when the call is this host's.

    Attributes:
        lost: why the run must not go on: a step was begun before, and nobody knows how it ended.
        final: whether a step has failed so that another try would not change it, or must not be made.
    """

    def __init__(self, store: Store, loop: ControlLoop, entry: Entry, tenure: Tenure) -> None:
        self._store = store
        self._loop = loop
        self._entry = entry
        self._tenure = tenure
        self._drive = entry.now.redriven[0] if entry.now.redriven is not None else 0.0
        self._seen: dict[str, tuple[int, Step | None]] = {}
        self._idempotent: dict[str, bool] = {}
        self.lost: Unavailable | None = None
        self.final = False

    async def recorded(self, step: str, /) -> Any:
        """Give the result of a step that was completed before; `NOTHING` if it was not."""
        stored = await self._ask(self._store.get(self._key(step)))
        found = None if stored is None else read_step(stored.value)
        if found is not None and found.nonce != self._entry.call.nonce:
            found = None
        self._seen[step] = (0 if stored is None else stored.revision), found
        return unpack(found.result) if found is not None and found.status == "done" else NOTHING

    async def begin(self, step: str, function: str, /, *, idempotent: bool) -> None:
        """Take note that a step begins.

        Raises:
            Unavailable: if it must not be called again, or another host does it.
        """
        self._idempotent[step] = idempotent
        _, before = self._seen[step]
        if before is not None and before.drive == self._drive and not idempotent:
            if before.status == "failed":
                self.final = True
                raise Unavailable(function, f"step {step!r} has failed before, and is not marked idempotent")
            reason = f"step {step!r} was begun before, nobody knows how it ended, and it is not marked idempotent"
            self.lost = Unavailable(function, reason, "crashed")
            raise self.lost
        await self._put(step, Step("begun", self._entry.call.nonce, self._drive))
        if not self._tenure.holds(self._entry.now.owner):  # it slept meanwhile: others may have done the step
            with suppress(StoreConflict):  # they have
                await self._forget(step)
            raise Unavailable(step, TAKEN, "killed", ran=False)

    async def record(self, step: str, result: Any, /) -> None:
        """Keep the result of a step."""
        await self._put(step, Step("done", self._entry.call.nonce, self._drive, pack(result)))

    async def failed(self, step: str, error: BaseException, /) -> None:
        """Take note that a step has failed; one whose end nobody knows stays begun."""
        idempotent = self._idempotent[step]
        self.final = self.final or not worth_it(error, idempotent=idempotent)
        if not idempotent and isinstance(error, Unavailable) and error.ran is not False:
            self.lost = error
            return
        if worth_it(error, idempotent=idempotent):  # so that another try is none that must not be made
            await self._forget(step)
            return
        await self._put(step, Step("failed", self._entry.call.nonce, self._drive))

    async def _put(self, step: str, kept: Step) -> None:
        expected, _ = self._seen[step]
        try:
            revision = await self._ask(self._store.put(self._key(step), write_step(kept), expected=expected))
        except StoreConflict as error:
            raise Unavailable(step, TAKEN, "killed") from error
        except ValueError as error:
            raise JackfieldError(f"the result of step {step!r} cannot be kept: {error}") from error
        self._seen[step] = revision, kept

    async def _forget(self, step: str) -> None:
        await self._ask(self._store.delete(self._key(step), expected=self._seen[step][0]))

    async def _ask(self, question: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(self._loop.submit(question))

    def _key(self, step: str) -> str:
        return f"{under(self._entry.id)}steps/{quote(step, safe='[]')}"
