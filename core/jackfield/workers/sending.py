"""How messages are sent on one socket by whoever has some: threads wait for it, and event loops await it."""

import asyncio
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from jackfield.workers.frames import ChannelBroken
from jackfield.workers.tickets import Ticket, resolve, teller


class Sender:
    """Sends whole frames, one after the other.

    Args:
        connection: the socket, which does not block.
        fail: told when no more can be sent.
        idle: called whenever nobody sends any more.

    Attributes:
        broken: why nothing is sent any more; for whoever finds out.
    """

    def __init__(
        self, connection: socket.socket, fail: Callable[[ChannelBroken], object], idle: Callable[[], object]
    ) -> None:
        self._socket, self._fd = connection, connection.fileno()
        self._fail, self._idle = fail, idle
        self._sending = threading.Lock()
        self._turns: deque[Ticket] = deque()  # of those on event loops that wait to send
        self.broken: ChannelBroken | None = None

    def send(self, frames: bytearray, deadline: float | None) -> None:
        """Send some; as `Channel.send`."""
        if not self._sending.acquire(timeout=_timeout(deadline)):
            raise TimeoutError("the other side does not read")
        sent = 0
        try:
            sent = self._begin(frames)
            if sent < len(frames):
                sent = self._rest(memoryview(frames), sent, deadline)
        except TimeoutError:  # which is an OSError, and breaks nothing if nothing was sent
            raise
        except OSError as error:
            raise self._gone() from error
        finally:
            self._sent(0 < sent < len(frames))

    async def asend(self, frames: bytearray) -> None:
        """Send some; as `Channel.asend`."""
        if not self._sending.acquire(blocking=False):
            await self._turn()
        view, sent = memoryview(frames), 0
        try:
            sent = self._begin(frames)
            while sent < len(frames):
                await self._writable()
                with suppress(BlockingIOError):
                    sent += self._socket.send(view[sent:])
        except OSError as error:
            raise self._gone() from error
        finally:
            self._sent(0 < sent < len(frames))

    def close(self) -> None:
        """Close the socket, unless somebody sends in this moment, who is `idle` then."""
        if self._sending.acquire(blocking=False):
            self._socket.close()
            self._sending.release()
            self._call_next()

    def _begin(self, frames: bytearray) -> int:
        """Send what can be sent at once; give how much that was."""
        if self.broken is not None:
            raise self.broken
        try:
            return self._socket.send(frames)
        except BlockingIOError:
            return 0

    def _rest(self, frames: memoryview, sent: int, deadline: float | None) -> int:
        """Send the rest as the other side reads; give how much has been sent when there is no more time."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            while sent < len(frames):
                if not poll.poll(milliseconds(deadline)) and deadline is not None and monotonic() >= deadline:
                    raise TimeoutError("the other side does not read")
                with suppress(BlockingIOError):
                    sent += self._socket.send(frames[sent:])
        finally:
            if 0 < sent < len(frames):
                self._gone()  # half a message cannot be taken back
        return sent

    def _gone(self) -> ChannelBroken:
        broken = ChannelBroken()
        self._fail(broken)  # whoever shares this channel is to know as well
        return broken

    def _sent(self, halfway: bool) -> None:
        """Let somebody else send."""
        if halfway:
            self._gone()  # half a message cannot be taken back
        self._sending.release()
        self._call_next()
        if self.broken is not None:
            self._idle()

    async def _writable(self) -> None:
        """Await that the other side has read something. Whoever sends alone may: nobody closes the socket meanwhile."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._fd, resolve, came)
        try:
            await came
        finally:
            loop.remove_writer(self._fd)

    async def _turn(self) -> None:
        """Await that nobody else sends; then this one does."""
        loop = asyncio.get_running_loop()
        while True:
            came: asyncio.Future[None] = loop.create_future()
            ticket = Ticket(teller(loop, came))
            self._turns.append(ticket)
            if self._sending.acquire(blocking=False):  # in the meantime nobody would have told it
                self._leave(ticket)
                return
            try:
                await came
            except BaseException:
                if not self._leave(ticket):  # it is this one's turn, and it leaves
                    self._call_next()
                raise
            if self._sending.acquire(blocking=False):
                return

    def _leave(self, ticket: Ticket) -> bool:
        """Wait for no turn any more; give whether it had not come."""
        try:
            self._turns.remove(ticket)
        except ValueError:
            return False
        return True

    def _call_next(self) -> None:
        if self._turns:
            with suppress(IndexError):
                self._turns.popleft().settle(None)


def _timeout(deadline: float | None) -> float:
    return -1 if deadline is None else min(max(deadline - monotonic(), 0.0), threading.TIMEOUT_MAX)


def milliseconds(deadline: float | None) -> float | None:
    """Give how long to poll: a millisecond more, since `poll` rounds, and would come back before the time is up."""
    return None if deadline is None else min(max((deadline - monotonic()) * 1000.0 + 1.0, 0.0), 2**31 - 1)
