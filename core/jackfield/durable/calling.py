"""How a call is made that is kept: checked as any other when it is submitted, run as any other at each attempt."""

import os
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from jackfield import contract
from jackfield.calls.dispatch import Caller
from jackfield.durable.attempts import Ended
from jackfield.durable.ledger import Entry
from jackfield.durable.records import KEY_LIMIT, Submitted, kept, packed
from jackfield.durable.tenure import Claim
from jackfield.durable.untraced import Untraced
from jackfield.model.call import begins, came_in
from jackfield.model.entrance import Entrance, entrance
from jackfield.model.headers import Headers
from jackfield.model.spec import FunctionSpec
from jackfield.wire.crossing import unpack

if TYPE_CHECKING:
    from jackfield.durable.steps import StepJournal


class DurableCaller(Caller):
    """Makes what is kept of a call, and makes a call of what was kept."""

    def checked(
        self,
        name: str,
        payload: Any,
        key: str | None,
        timeout: float | None,
        tenant: str | None,
        version: str | None,
        headers: Mapping[str, str] | None,
    ) -> Submitted:
        """Check a call that is submitted, as far as that can be done without running it.

        Its time begins when it is kept: `submitted` and `lived` are filled in there, and so is `trace`.

        Raises:
            JackfieldError: what calling it would raise before it runs.
            TypeError: if an argument has the wrong type.
            ValueError: if the timeout or the key cannot be one.
        """
        _check(key)
        endpoint, call = self._prepare(name, payload, timeout, tenant, version, headers)
        if endpoint is self._unknown:
            endpoint.run(call)  # which raises the reason, and is observed
        data, digest = packed(name, payload)
        plain = unpack(data)
        contract.codec_of(endpoint.spec).convert(plain)
        limit = None if timeout is None else float(timeout)
        nonce = os.urandom(8)
        flow = _is_flow(endpoint.spec)
        repeatable = flow or endpoint.spec.policy.idempotent  # of a flow its steps decide
        return Submitted(
            name, endpoint.version, data, digest, nonce, 0.0, 0.0, limit, repeatable, flow, key, call.tenant,
            kept(call.headers),
        )  # fmt: skip

    async def attempted(
        self,
        entry: Entry,
        left: float | None,
        tracing: Untraced,
        claim: Claim,
        journal: "StepJournal | None" = None,
    ) -> Ended:
        """Run an attempt as any other call, on the host's home loop.

        Args:
            entry: the call, and its state during the attempt.
            left: seconds that it has, or None.
            tracing: makes its span.
            claim: asked before anything of it begins.
            journal: of its steps, if it is a flow.
        """
        submitted, state = entry.call, entry.now
        begins.set(claim.check)  # in the context of this task, and of what it begins
        entrance.set(Entrance())  # not that of the request which has woken the runner
        came_in.set(("submission", entry.id, perf_counter()))
        with tracing.attempt(entry) as span:
            try:
                if submitted.function not in self._snapshots.snapshot.routes:
                    await self._pool.run(submitted.function, lambda: self._find(submitted.function))
                route = self._snapshots.snapshot.routes.get(submitted.function)
                # One that has been replaced meanwhile is not run again: its successor takes what it took.
                version = submitted.version if route is not None and submitted.version in route.endpoints else None
                headers = {name: value for name, value in submitted.headers.items() if name.lower() != "x-version"}
                endpoint, call = self._prepare(
                    submitted.function, unpack(submitted.payload), left, submitted.tenant, version, Headers(headers)
                )
                msgspec.structs.force_setattr(call, "attempt", state.attempt)
                if journal is not None:
                    from jackfield.flow.journal import current_journal  # noqa: PLC0415  # for flows

                    current_journal.set(journal)
                return Ended(await endpoint.arun(call), span=span)
            except Exception as error:  # noqa: BLE001  # it is the call's
                if journal is not None:
                    return Ended(error=error, span=span, lost=journal.lost, final=journal.final)
                return Ended(error=error, span=span)


def _is_flow(spec: FunctionSpec) -> bool:
    if not type(spec.target).__module__.startswith("jackfield.flow"):
        return False
    from jackfield.flow import flow_of  # noqa: PLC0415  # for flows

    return flow_of(spec) is not None


def _check(key: str | None) -> None:
    if key is None:
        return
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    size = len(key.encode(errors="replace"))
    if not 0 < size <= KEY_LIMIT:
        raise ValueError(f"a key has 1 to {KEY_LIMIT:,} bytes, not {size:,}: a digest of what is longer will do")
    if not key.isprintable():
        raise ValueError(f"a key is printable text, not {ascii(key)[:80]}")
