"""Handles of calls that were submitted to a host elsewhere."""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import attrs

from jackfield import SubmissionState


class _Asking(Protocol):
    async def state(self, identifier: str, function: str = "") -> SubmissionState: ...

    async def ended(self, identifier: str, function: str, timeout: float | None) -> Any: ...

    async def cancelled(self, identifier: str, function: str) -> bool: ...


class _Client(Protocol):
    def wait(self, work: Coroutine[Any, Any, Any], what: str, instead: str) -> Any: ...

    async def hop(self, work: Coroutine[Any, Any, Any]) -> Any: ...


@attrs.frozen
class AsyncRemoteSubmission:
    """A call that was submitted to a host elsewhere, for event loops.

    Attributes:
        id: 128 random bits, in hexadecimal.
        function: its name.
        key: as it was submitted, or None.
    """

    id: str
    function: str
    key: str | None = None
    _asking: _Asking = attrs.field(alias="asking", kw_only=True, repr=False, eq=False)

    async def status(self) -> SubmissionState:
        """Tell where it is now.

        Raises:
            LookupError: if it is not kept any more.
            Unavailable: if the host, or its store, is not there.
        """
        return await self._asking.state(self.id, self.function)

    async def result(self, timeout: float | None = None) -> Any:  # what is waited for is elsewhere
        """Await its end.

        Args:
            timeout: seconds to wait; by default for as long as it takes.

        Returns:
            What its function has returned, as plain data.

        Raises:
            JackfieldError: what the call has raised.
            DeadlineExceeded: if it has not ended in time; it goes on.
            Cancelled: if it was cancelled.
            LookupError: if it is not kept any more.
        """
        return await self._asking.ended(self.id, self.function, timeout)

    aresult = result
    """The same, by the name that a host's handle has for it."""

    async def cancel(self) -> bool:
        """Have it not run, or end where it runs.

        Returns:
            Whether that was asked in time; False if it has ended already.

        Raises:
            LookupError: if it is not kept any more.
        """
        return await self._asking.cancelled(self.id, self.function)


@attrs.frozen
class RemoteSubmission:
    """A call that was submitted to a host elsewhere: the handle that a host gives, wherever the host is.

    Attributes:
        id: 128 random bits, in hexadecimal.
        function: its name.
        key: as it was submitted, or None.
    """

    id: str
    function: str
    key: str | None = None
    _asking: _Asking = attrs.field(alias="asking", kw_only=True, repr=False, eq=False)
    _client: _Client = attrs.field(alias="client", kw_only=True, repr=False, eq=False)

    @property
    def status(self) -> SubmissionState:
        """Where it is now; errors as for `AsyncRemoteSubmission.status`."""
        work = self._asking.state(self.id, self.function)
        state: SubmissionState = self._client.wait(work, "RemoteSubmission.status", "an AsyncClient")
        return state

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end; arguments and errors as for `AsyncRemoteSubmission.result`.

        Raises:
            AsyncCallRequired: inside a running event loop, which waiting would block.
        """
        work = self._asking.ended(self.id, self.function, timeout)
        return self._client.wait(work, "RemoteSubmission.result", "`await submission.aresult()`")

    async def aresult(self, timeout: float | None = None) -> Any:  # as above
        """Await its end, from any event loop; as `result`."""
        return await self._client.hop(self._asking.ended(self.id, self.function, timeout))

    def cancel(self) -> bool:
        """Have it not run, or end where it runs; as `AsyncRemoteSubmission.cancel`."""
        work = self._asking.cancelled(self.id, self.function)
        asked: bool = self._client.wait(work, "RemoteSubmission.cancel", "an AsyncClient")
        return asked


def identified(document: Mapping[str, Any]) -> tuple[str, str]:
    """Read the id and the function of a call that a door tells of."""
    return str(document.get("id", "")), str(document.get("function", ""))
