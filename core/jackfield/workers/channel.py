"""A channel between a host and a worker: messages on a stream socket, read by whoever waits for one.

There is no thread that reads. Of the threads that wait for something on a channel one reads, for itself and for the
others, and hands that on when it has what it waited for; so a call from a thread costs no change of threads. Whoever
awaits on an event loop has that loop watch the socket, if nobody reads already; it keeps it until somebody else wants
to read.
"""

import asyncio
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import msgspec

from jackfield.workers.frames import LIMIT, ChannelBroken, Frames
from jackfield.workers.readers import Readers
from jackfield.workers.sending import Sender, milliseconds
from jackfield.workers.tickets import Ticket

M = TypeVar("M")

_CHUNK: Final = 256 * 1024


class Channel(Generic[M]):
    """Sends messages, and reads those of the other side for whoever waits.

    Args:
        connection: the socket; this object closes it.
        expected: the type of the other side's messages.
        take: gets each message, in the thread of whoever reads, with nothing locked; it settles tickets, and must not
            wait. What it raises breaks the channel; of `ChannelBroken` nobody else hears.
        on_break: called once, in the thread that finds it: the other side is gone. It settles whatever is open.
        limit: the most bytes of one body.
    """

    def __init__(
        self,
        connection: socket.socket,
        expected: Any,
        take: Callable[[M], object],
        on_break: Callable[[ChannelBroken], object],
        limit: int = LIMIT,
    ) -> None:
        connection.setblocking(False)  # noqa: FBT003  # its only parameter
        self._socket = connection
        self._fd = connection.fileno()
        self._frames: Frames[M] = Frames(expected, take, limit)
        self._sender = Sender(connection, self._break, self._shut)
        self._on_break = on_break
        # Of what follows; reentrant: the garbage collector may end a coroutine that sends, at any line.
        self._lock = threading.RLock()
        self._reading = False
        self._watcher: Readers | None = None  # has the socket; it reads, unless nothing is awaited there
        self._awaiting: dict[Readers, int] = {}  # how many tickets each loop waits for
        self._threads: deque[Ticket] = deque()  # of threads that wait and do not read
        self._closed = False
        self.broken: ChannelBroken | None = None

    # --- Sending ----------------------------------------------------------------------------------------------------

    def send(self, message: msgspec.Struct, deadline: float | None = None) -> None:
        """Send a message; wait while the other side does not read.

        Args:
            message: what.
            deadline: when to give up, on `time.monotonic`'s clock. What was sent in part breaks the channel.

        Raises:
            ValueError: if it is larger than the limit; nothing was sent.
            TimeoutError: when the other side does not read in time.
            ChannelBroken: when it is gone.
        """
        frame = bytearray()
        self._frames.write(message, frame)
        self._sender.send(frame, deadline)

    def send_all(self, messages: Iterable[msgspec.Struct]) -> None:
        """Send several messages at once, as `send` does one."""
        frames = bytearray()
        for message in messages:
            self._frames.write(message, frames)
        self._sender.send(frames, None)

    async def asend(self, message: msgspec.Struct) -> None:
        """Do the same as `send` without blocking the running event loop, until it is cancelled.

        Raises:
            ValueError: as `send`.
            ChannelBroken: as `send`.
        """
        frame = bytearray()
        self._frames.write(message, frame)
        await self._sender.asend(frame)

    # --- Waiting, in a thread ----------------------------------------------------------------------------------------

    def wait(self, ticket: Ticket, deadline: float | None = None) -> bool:
        """Wait until a ticket is settled, reading for everybody if nobody else does.

        Args:
            ticket: what for.
            deadline: when to give up, on `time.monotonic`'s clock.

        Returns:
            Whether it is settled.
        """
        while not ticket.done:
            with self._lock:
                if ticket.done:
                    break
                mine = not self._reading and self.broken is None and not self._awaited()
                if mine:
                    self._reading = True
                    self._move(None)
                else:
                    self._threads.append(ticket)
            if not (self._lead(ticket, deadline) if mine else self._follow(ticket, deadline)):
                return ticket.done
        return True

    def _lead(self, ticket: Ticket, deadline: float | None) -> bool:
        """Read until a ticket is settled; give whether it is, in time."""
        try:
            return self._read(ticket, deadline)
        finally:
            self._hand_over()

    def _follow(self, ticket: Ticket, deadline: float | None) -> bool:
        """Sleep until there is something to do: the ticket is settled, or nobody else reads; give whether, in time."""
        in_time = False
        try:
            ticket.prepare()
            # Whoever settled it before that has woken nobody.
            in_time = ticket.done or ticket.sleep(None if deadline is None else max(deadline - monotonic(), 0.0))
        finally:
            with self._lock:
                self._threads.remove(ticket)
            if not in_time:
                self._hand_over(still=True)  # it may have been woken in this very moment, in order to read
        return in_time

    def _read(self, ticket: Ticket, deadline: float | None) -> bool:
        """Read until a ticket is settled; give whether it is."""
        poll: select.poll | None = None
        while not ticket.done and self.broken is None:
            if self._receive():
                continue
            if poll is None:
                poll = select.poll()
                poll.register(self._fd, select.POLLIN)
            if not poll.poll(milliseconds(deadline)) and deadline is not None and monotonic() >= deadline:
                return False
        return True

    def _receive(self) -> int:
        """Take in what is there, or a part of it; give how many bytes, 0 if there is nothing."""
        piece = b""
        try:
            try:
                piece = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return 0
            except OSError:
                piece = b""
            self._frames.feed(piece)
        except ChannelBroken as error:
            self._break(error)
        except BaseException:  # an interrupt above all: what was read is lost
            self._break(ChannelBroken())
            raise
        return len(piece)

    # --- Awaiting ----------------------------------------------------------------------------------------------------

    def watch(self, loop: asyncio.AbstractEventLoop) -> Readers:
        """Count one more ticket that an event loop waits for; the loop reads if nobody does. On that loop.

        Returns:
            What `unwatch` is given.
        """
        readers = Readers.of(loop)
        readers.join()
        with self._lock:
            self._awaiting[readers] = self._awaiting.get(readers, 0) + 1
            if self._watcher is not readers and not self._reading and not self._awaited():
                self._move(readers)
        return readers

    def unwatch(self, readers: Readers) -> None:
        """Count one less; a loop that waits for nothing lets others read, once they want to. On it, if it runs."""
        with self._lock:
            self._awaiting[readers] -= 1
            last = not self._awaiting[readers]
            if last:
                del self._awaiting[readers]
        if last:
            self._hand_over(still=True)
        readers.leave()

    def readable(self, readers: Readers, *, ended: bool) -> None:
        """Read all that is there; on a loop that watches the socket.

        Args:
            readers: those of the loop.
            ended: whether the other side sends nothing more.
        """
        with self._lock:
            if self._reading or self._watcher is not readers:  # somebody has taken it over in this very moment
                return
            self._reading = True
        try:
            while self.broken is None:
                size = self._receive()
                if size < _CHUNK and (not ended or not size):  # it has no more, or its end is read, too
                    break
        finally:
            self._hand_over()

    # --- Who reads ---------------------------------------------------------------------------------------------------

    def _awaited(self) -> bool:
        """Whether something is awaited on the loop that has the socket. The lock is held."""
        watcher = self._watcher
        return watcher is not None and watcher in self._awaiting and watcher.alive

    def _move(self, to: Readers | None) -> None:
        """Give the socket to a loop, or take it from the one that has it. The lock is held."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.remove(self._fd)
        if to is not None and not self._closed:
            self._watcher = to
            to.add(self._fd, self)

    def _hand_over(self, *, still: bool = False) -> None:
        """Let somebody else read, if whoever has the socket waits for nothing: a thread that waits, else a loop.

        Args:
            still: whether the one who asks was not reading.
        """
        with self._lock:
            if not still:
                self._reading = False
            elif self._reading:
                return
            follower = None
            if self.broken is not None:
                self._move(None)
            elif not self._awaited():
                follower = next((each for each in self._threads if not each.done), None)
                loop = next((each for each in self._awaiting if each.alive), None) if follower is None else None
                if loop is not None:
                    self._move(loop)
        if follower is not None:
            follower.wake()
        if self._closed:
            self._shut()

    # --- Its end -----------------------------------------------------------------------------------------------------

    def _break(self, error: ChannelBroken) -> None:
        with self._lock:
            if self.broken is not None:
                return
            self.broken = self._sender.broken = error
        self._on_break(error)

    def close(self) -> None:
        """Close the socket; who waits is told that the other side is gone."""
        self._break(ChannelBroken())
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._move(None)
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # whoever reads or sends wakes up
        self._shut()

    def _shut(self) -> None:
        """Give the descriptor back, unless somebody uses it, who does so then: else it might be another's by then."""
        with self._lock:
            if self._closed and not self._reading:
                self._sender.close()
