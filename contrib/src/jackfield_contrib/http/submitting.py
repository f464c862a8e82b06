"""Calls for later: accepted, looked at, cancelled."""

import asyncio
from contextlib import suppress
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

from jackfield import Host, SubmissionState
from jackfield.errors import JackfieldError
from jackfield.operations.submissions import calls
from jackfield_contrib.http import problems
from jackfield_contrib.http.access import Access
from jackfield_contrib.http.exchange import Exchange
from jackfield_contrib.http.presence import while_there
from jackfield_contrib.http.problems import Refused

_CALLS: Final = "/v1/calls/"
_KEPT: Final = 5.0  # seconds that reading a result may take, which is there
_WAIT: Final = 10.0  # seconds that an answer waits at most for the end of a call: a door that closes waits for answers
_ROWS: Final = 1_000  # calls of one listing
_MOST_ROWS: Final = 10_000
_DIGITS: Final = 9  # of a number, of which Python reads no more than some thousand


class Submitting:
    """Submits calls to a host for clients.

    Args:
        host: whose.
        access: says who sees what.
    """

    def __init__(self, host: Host, access: Access) -> None:
        self._host, self._access = host, access

    async def submit(self, name: str, exchange: Exchange) -> None:
        """Answer `POST /v1/submit/NAME`: when this is told, the call is kept."""
        payload = await exchange.payload()
        self._access.accepts()
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
        """Answer `GET /v1/calls/ID`: where it is, and how it ended; on `Prefer: wait=SECONDS` a while later."""
        # A handle waits for the store: not on the loop that calls run on.
        shown = await asyncio.to_thread(self._shown, identifier, exchange.tenant)
        wait = _preferred(exchange.headers.get(b"prefer", b""))
        if wait and not SubmissionState(shown["status"]).settled:
            with while_there(exchange.receive):
                await self._ended(identifier, exchange.tenant, wait)
            shown = await asyncio.to_thread(self._shown, identifier, exchange.tenant)
        await exchange.result(exchange.written(shown), headers={"preference-applied": "wait"} if wait else None)

    async def _ended(self, identifier: str, tenant: str | None, wait: float) -> None:
        """Await the end of a call, or that time."""
        handle = await asyncio.to_thread(self._access.submission, identifier, tenant)
        # How it ended is read again, with where it is: `Cancelled` may be its own end, or the host's.
        with suppress(JackfieldError, LookupError):
            await handle.aresult(wait)

    async def each(self, exchange: Exchange) -> None:
        """Answer `GET /v1/calls?function=PATTERN&status=STATUS&limit=N`: those there are for the tenant."""
        await exchange.result(exchange.written(await asyncio.to_thread(self._listed, exchange)))

    def _listed(self, exchange: Exchange) -> list[dict[str, Any]]:
        wanted = dict(parse_qsl(exchange.query))
        unknown = wanted.keys() - {"function", "status", "limit"}
        if unknown:
            known = "calls are looked for by function, status and limit"
            raise Refused(400, f"{known}, not by {', '.join(map(ascii, sorted(unknown)))[:100]}")
        status, limit = wanted.get("status"), wanted.get("limit", str(_ROWS))
        if status is not None and status not in set(SubmissionState):
            raise Refused(400, f"a status is one of {', '.join(SubmissionState)}, not {ascii(status)[:50]}")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= _DIGITS) or int(limit) > _MOST_ROWS:
            raise Refused(400, f"a limit is a number up to {_MOST_ROWS:,}, not {ascii(limit)[:50]}")
        found = calls(self._host, wanted.get("function", "*"), status, self._access.owner(exchange.tenant))
        return list(islice(found, int(limit)))

    async def cancel(self, identifier: str, exchange: Exchange) -> None:
        """Answer `DELETE /v1/calls/ID` with where it is now: cancelled, unless it had ended."""
        shown = await asyncio.to_thread(self._cancelled, identifier, exchange.tenant)
        await exchange.result(exchange.written(shown))

    def _cancelled(self, identifier: str, tenant: str | None) -> dict[str, Any]:
        asked = self._access.submission(identifier, tenant).cancel()
        return {**self._shown(identifier, tenant), "cancelled": asked}

    def _shown(self, identifier: str, tenant: str | None) -> dict[str, Any]:
        handle = self._access.submission(identifier, tenant)
        status = handle.status
        document: dict[str, Any] = {"id": handle.id, "function": handle.function, "status": status.value}
        if not status.settled:
            return document
        try:
            return {**document, "result": handle.result(_KEPT)}
        except JackfieldError as error:
            return {**document, "problem": dict(problems.of_error(error).document)}


def _preferred(said: bytes) -> float:
    """Read how long a client would wait for the end of a call: `wait=SECONDS` (RFC 7240, section 4.3)."""
    for part in said.lower().split(b","):
        name, _, value = part.partition(b";")[0].partition(b"=")
        if name.strip() == b"wait" and value.strip(b' "').isdigit():
            return min(float(value.strip(b' "')), _WAIT)
    return 0.0
