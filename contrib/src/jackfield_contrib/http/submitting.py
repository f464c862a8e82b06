"""Calls for later: accepted, looked at, cancelled."""

import asyncio
from typing import Any, Final

from jackfield import Host, Submission, SubmissionState
from jackfield.errors import JackfieldError
from jackfield_contrib.http import problems
from jackfield_contrib.http.exchange import Exchange
from jackfield_contrib.http.problems import Refused

_CALLS: Final = "/v1/calls/"
_KEPT: Final = 5.0  # seconds that reading a result may take, which is there
_NONE: Final = "there is no such call, or it is not kept any more"


class Submitting:
    """Submits calls to a host for clients.

    Args:
        host: whose.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def submit(self, name: str, exchange: Exchange) -> None:
        """Answer `POST /v1/submit/NAME`: when this is told, the call is kept."""
        payload = await exchange.payload()
        key = exchange.headers.get(b"idempotency-key")
        try:
            handle = await self._host.asubmit(
                name,
                payload,
                key=None if key is None else key.decode("latin-1"),
                timeout=exchange.timeout(),
                tenant=exchange.tenant,
                headers=exchange.passed_on(),
            )
        except ValueError as error:  # of a key that is none
            raise Refused(400, str(error)) from None
        document = {"id": handle.id, "function": handle.function, "status": SubmissionState.ACCEPTED.value}
        location = exchange.below(f"{_CALLS}{handle.id}")
        await exchange.result(exchange.written(document), 202, {"location": location})

    async def show(self, identifier: str, exchange: Exchange) -> None:
        """Answer `GET /v1/calls/ID`: where it is, and how it ended."""
        # A handle waits for the store: not on the loop that calls run on.
        await exchange.result(exchange.written(await asyncio.to_thread(self._shown, identifier, exchange.tenant)))

    async def cancel(self, identifier: str, exchange: Exchange) -> None:
        """Answer `DELETE /v1/calls/ID` with where it is now: cancelled, unless it had ended."""
        await asyncio.to_thread(self._cancelled, identifier, exchange.tenant)
        await self.show(identifier, exchange)

    def _cancelled(self, identifier: str, tenant: str | None) -> None:
        self._found(identifier, tenant).cancel()

    def _shown(self, identifier: str, tenant: str | None) -> dict[str, Any]:
        handle = self._found(identifier, tenant)
        status = handle.status
        document: dict[str, Any] = {"id": handle.id, "function": handle.function, "status": status.value}
        if not status.settled:
            return document
        try:
            return {**document, "result": handle.result(_KEPT)}
        except JackfieldError as error:
            return {**document, "problem": dict(problems.of_error(error).document)}

    def _found(self, identifier: str, tenant: str | None) -> Submission:
        """Find a call; those of others are not there for a tenant."""
        try:
            handle = self._host.submitted(identifier)
        except LookupError:
            raise Refused(404, _NONE) from None
        if tenant is not None and handle.tenant != tenant:
            raise Refused(404, _NONE)
        return handle
