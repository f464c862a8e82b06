"""The handle of a submitted call."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from jackfield.errors import AsyncCallRequired, Unavailable
from jackfield.model.submission import SubmissionState

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield.durable.ledger import Entry


class _Calls(Protocol):
    """What a handle asks: it belongs to the store's loop."""

    async def found(self, identifier: str) -> "Entry": ...

    async def ended(self, identifier: str, timeout: float | None) -> Any: ...

    async def cancel(self, identifier: str) -> bool: ...


@attrs.frozen
class Submission:
    """A call that was submitted: the same handle wherever and whenever it is asked for.

    Attributes:
        id: 128 random bits, in hexadecimal.
        function: its name.
        tenant: whom it is for, or None.
        key: as it was submitted, or None.
    """

    id: str
    function: str
    tenant: str | None = None
    key: str | None = None
    _calls: _Calls = attrs.field(alias="calls", kw_only=True, repr=False, eq=False)
    _begin: "Callable[[Coroutine[Any, Any, Any]], Future[Any]]" = attrs.field(
        alias="begin", kw_only=True, repr=False, eq=False
    )

    @property
    def status(self) -> SubmissionState:
        """Where it is now.

        Raises:
            LookupError: if it is not kept any more.
            Unavailable: if the store, or the host, is not there.
        """
        entry: Entry = self._begin(self._calls.found(self.id)).result()
        return entry.status

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end.

        Args:
            timeout: seconds to wait; by default for as long as it takes.

        Returns:
            What its function has returned, as plain data.

        Raises:
            JackfieldError: what the call has raised.
            DeadlineExceeded: if it has not ended in time; it goes on.
            Cancelled: if it was cancelled.
            LookupError: if it is not kept any more.
            AsyncCallRequired: inside a running event loop, which waiting would block.
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  # documented; does not raise
            raise AsyncCallRequired("Submission.result", "`await submission.aresult()`")
        waiting = self._begin(self._calls.ended(self.id, timeout))
        try:
            return waiting.result()
        except futures.CancelledError:
            raise _stopped() from None
        except BaseException:
            waiting.cancel()
            raise

    async def aresult(self, timeout: float | None = None) -> Any:  # as in `result`
        """Await its end, from any event loop; as `result`."""
        waiting = self._begin(self._calls.ended(self.id, timeout))
        try:
            return await asyncio.wrap_future(waiting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _stopped() from None

    def cancel(self) -> bool:
        """Have it not run, or end where it runs.

        Returns:
            Whether that was asked in time; False if it has ended already. What runs in a thread is left behind there.

        Raises:
            LookupError: if it is not kept any more.
        """
        asked: bool = self._begin(self._calls.cancel(self.id)).result()
        return asked


def _stopped() -> Unavailable:
    return Unavailable("the host", "it has stopped meanwhile; the call is kept where the store lasts", "host_stopped")
