"""Calls for later: accepted, looked at, cancelled."""

import asyncio
from contextlib import suppress
from itertools import islice
from typing import Final

from jackfield import Host, SubmissionState
from jackfield.errors import JackfieldError
from jackfield.operations.submissions import calls
from jackfield_contrib.grpc import bodies, statuses
from jackfield_contrib.grpc.access import Access, Asker
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.calling import time_of
from jackfield_contrib.grpc.functions_pb2 import (
    ListSubmissionsRequest,
    SubmissionList,
    SubmissionRequest,
    SubmissionRow,
    SubmitRequest,
)
from jackfield_contrib.grpc.functions_pb2 import Submission as Shown
from jackfield_contrib.http.problems import Refused

_KEPT: Final = 5.0  # seconds that reading a result may take, which is there
_WAIT: Final = 10.0  # seconds that an answer waits at most for the end of a call: a door that closes waits for answers
_ROWS: Final = 1_000  # calls of one listing
_MOST_ROWS: Final = 10_000


class Submitting:
    """Submits calls to a host for clients.

    Args:
        host: whose.
        access: says who sees what.
        bounds: of what they send.
    """

    def __init__(self, host: Host, access: Access, bounds: Bounds) -> None:
        self._host: Host = host
        self._access = access
        self._most = bounds.metadata

    async def submit(self, request: SubmitRequest, asker: Asker) -> Shown:
        """Accept a call: when this is told, it is kept."""
        call = request.call
        payload = bodies.read(call.payload, call.encoding)
        self._access.accepts()
        headers = asker.headers
        if call.version or call.headers:
            headers = asker.headers_of(call, self._most)
        key, timeout = request.key or None, time_of(call)
        try:
            handle = await self._host.asubmit(
                call.function, payload, key=key, timeout=timeout, tenant=asker.tenant, headers=headers
            )
        except ValueError as error:  # of a key that is none
            raise Refused(400, str(error)) from None
        return Shown(id=handle.id, function=handle.function, status="accepted")

    async def show(self, request: SubmissionRequest, asker: Asker) -> Shown:
        """Tell where a call is, and how it has ended."""
        # A handle waits for the store: not on the loop that calls run on.
        shown = await asyncio.to_thread(self._shown, request, asker)
        if request.wait > 0.0 and not SubmissionState(shown.status).settled:
            handle = await asyncio.to_thread(self._access.submission, request.id, asker.tenant)
            # How it ended is read again, with where it is: `Cancelled` may be its own end, or the host's.
            with suppress(JackfieldError, LookupError):
                await handle.aresult(min(request.wait, _WAIT))
            shown = await asyncio.to_thread(self._shown, request, asker)
        return shown

    async def cancel(self, request: SubmissionRequest, asker: Asker) -> Shown:
        """Cancel a call unless it has ended, and tell where it is."""
        return await asyncio.to_thread(self._cancelled, request, asker)

    def _cancelled(self, request: SubmissionRequest, asker: Asker) -> Shown:
        asked = self._access.submission(request.id, asker.tenant).cancel()
        shown = self._shown(request, asker)
        shown.cancelled = asked
        return shown

    async def each(self, request: ListSubmissionsRequest, asker: Asker) -> SubmissionList:
        """List the calls that are kept."""
        return await asyncio.to_thread(self._listed, request, asker)

    def _listed(self, request: ListSubmissionsRequest, asker: Asker) -> SubmissionList:
        status, limit = request.status or None, request.limit or _ROWS
        if status is not None and status not in set(SubmissionState):
            raise Refused(400, f"a status is one of {', '.join(SubmissionState)}, not {ascii(status)[:50]}")
        if limit > _MOST_ROWS:
            raise Refused(400, f"a limit is at most {_MOST_ROWS:,}")
        found = calls(self._host, request.function or "*", status, self._access.owner(asker.tenant))
        return SubmissionList(submissions=(SubmissionRow(**row) for row in islice(found, limit)))

    def _shown(self, request: SubmissionRequest, asker: Asker) -> Shown:
        handle = self._access.submission(request.id, asker.tenant)
        status = handle.status
        shown = Shown(id=handle.id, function=handle.function, status=status.value)
        if status.settled:
            try:
                shown.result = bodies.write(handle.result(_KEPT), request.encoding, handle.function)
            except JackfieldError as error:
                shown.error.CopyFrom(statuses.of_error(error))
        return shown
