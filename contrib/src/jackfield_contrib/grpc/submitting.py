"""Calls for later: accepted, looked at, cancelled."""

import asyncio
from typing import Final

from jackfield import Host
from jackfield.errors import JackfieldError
from jackfield_contrib.grpc import bodies, statuses
from jackfield_contrib.grpc.access import Access, Asker
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.calling import time_of
from jackfield_contrib.grpc.functions_pb2 import Submission as Shown
from jackfield_contrib.grpc.functions_pb2 import SubmissionRequest, SubmitRequest

_KEPT: Final = 5.0  # seconds that reading a result may take, which is there


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
        handle = await self._host.asubmit(
            call.function, payload, key=request.key or None, timeout=time_of(call), tenant=asker.tenant, headers=headers
        )
        return Shown(id=handle.id, function=handle.function, status="accepted")

    async def show(self, request: SubmissionRequest, asker: Asker) -> Shown:
        """Tell where a call is, and how it has ended."""
        # A handle waits for the store: not on the loop that calls run on.
        return await asyncio.to_thread(self._shown, request, asker)

    async def cancel(self, request: SubmissionRequest, asker: Asker) -> Shown:
        """Cancel a call unless it has ended, and tell where it is."""
        await asyncio.to_thread(self._cancelled, request, asker)
        return await self.show(request, asker)

    def _cancelled(self, request: SubmissionRequest, asker: Asker) -> None:
        self._access.submission(request.id, asker.tenant).cancel()

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
