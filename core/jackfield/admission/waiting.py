"""Calls that wait for their turn: in a thread, or in a task of an event loop."""

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jackfield.admission.seats import Tenant, Ticket
    from jackfield.model.call import Call


class Waiter(Protocol):
    """A call that waits.

    Attributes:
        call: it.
        tenant: whose it is.
        since: when it began to wait, monotonic seconds.
        ticket: what it got, once it has its turn.
        refused: why it gets none any more.
    """

    call: "Call"
    tenant: "Tenant"
    since: float
    ticket: "Ticket | None"
    refused: str

    def wake(self) -> None:
        """Have it go on; called once, from any thread, under no lock."""
        ...


class ThreadWaiter:
    """Blocks a thread."""

    __slots__ = ("_event", "call", "refused", "since", "tenant", "ticket")

    def __init__(self, call: "Call", tenant: "Tenant", since: float) -> None:
        self.call, self.tenant, self.since = call, tenant, since
        self.ticket: Ticket | None = None
        self.refused = ""
        self._event = threading.Event()

    def wake(self) -> None:
        """Have it go on."""
        self._event.set()

    def wait(self, seconds: float | None) -> None:
        """Block until it is woken, at most so long."""
        self._event.wait(seconds)


class TaskWaiter:
    """Suspends a task."""

    __slots__ = ("_future", "call", "refused", "since", "tenant", "ticket")

    def __init__(self, call: "Call", tenant: "Tenant", since: float) -> None:
        self.call, self.tenant, self.since = call, tenant, since
        self.ticket: Ticket | None = None
        self.refused = ""
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Have it go on; a loop that has been closed goes on with nothing."""
        loop = self._future.get_loop()
        if asyncio._get_running_loop() is loop:  # noqa: SLF001  # public, by its documentation, but for its name
            self._done()
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait until it is woken."""
        await self._future
