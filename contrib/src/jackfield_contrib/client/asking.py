"""What a caller can do with a door, on one event loop: each is a request, its exchange, and what the answer gives."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from jackfield import SubmissionState
from jackfield.errors import DeadlineExceeded, JackfieldError, Unavailable
from jackfield.model.deadline import seconds_of
from jackfield_contrib.client import messages
from jackfield_contrib.client.messages import Request
from jackfield_contrib.client.transport import NotThere, Transport
from jackfield_contrib.problems import error_of

_WAIT: Final = 5.0  # seconds that a door is asked to wait for an end: one that is to stop is not to wait longer
_LOOK: Final = 0.2  # seconds between two looks at a call where the door does not wait


class Asking:
    """Asks one door.

    Args:
        transport: gets there.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def value(self, request: Request) -> Any:
        """Ask something, and give what the answer gives.

        Raises:
            JackfieldError: what the call raised there, or that there was no answer.
            LookupError: if there is no such submitted call.
        """
        try:
            return await self._transport.exchange(request)
        except NotThere as error:
            raise LookupError(str(error)) from None

    async def table(self, request: Request) -> Mapping[str, Any]:
        """Ask for something that is a table; as `value`."""
        found = await self.value(request)
        if not isinstance(found, dict):
            raise self._foreign(request)
        return found

    async def rows(self, request: Request) -> list[dict[str, Any]]:
        """Ask for something that is a list of tables; as `value`."""
        found = await self.value(request)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise self._foreign(request)
        return found

    async def state(self, identifier: str, function: str = "") -> SubmissionState:
        """Tell where a submitted call is."""
        request = messages.submitted(identifier, function)
        return self._state(request, await self.table(request))

    async def ended(self, identifier: str, function: str, timeout: float | None) -> Any:
        """Await the end of a submitted call, and give its result, or raise its error."""
        until = None if timeout is None else monotonic() + seconds_of(timeout)
        while True:
            left = _WAIT if until is None else min(_WAIT, until - monotonic())
            began = monotonic()
            # A look that takes no time is always taken: a call that has ended is never "not in time".
            request = messages.submitted(identifier, function, max(left, 0.0))
            shown = await self.table(request)
            if self._state(request, shown).settled:
                if "problem" in shown:
                    raise _problem(shown["problem"], function or identifier)
                return shown.get("result")
            now = monotonic()
            if until is not None and now >= until:
                raise DeadlineExceeded(function, now - until, "it has not ended, and goes on")
            if now - began < min(_LOOK, left):
                await asyncio.sleep(_LOOK if until is None else min(_LOOK, until - now))

    async def cancelled(self, identifier: str, function: str) -> bool:
        """Have a submitted call cancelled; tell whether it had not ended before."""
        shown = await self.table(messages.cancel(identifier, function))
        return bool(shown.get("cancelled"))

    def _state(self, request: Request, shown: Mapping[str, Any]) -> SubmissionState:
        try:
            return SubmissionState(shown["status"])
        except (KeyError, ValueError):
            raise self._foreign(request) from None

    def _foreign(self, request: Request) -> Unavailable:
        reason = f"what it answered about {request.what} is not what a door of jackfield answers"
        return Unavailable(self._transport.url, reason, "protocol", ran=None)


def _problem(document: Any, what: str) -> JackfieldError:
    return error_of(document if isinstance(document, dict) else {}, what)
