"""A channel between a host and a worker: frames on a stream socket, read by whoever waits for one.

    frame   4 bytes   the length of the body, big-endian, at most the limit
            n bytes   one MessagePack value, of the type that this side expects

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

from jackfield.wire.crossing import extension
from jackfield.workers.readers import Readers

M = TypeVar("M")

LIMIT: Final = 16 * 1024 * 1024
"""The most bytes that the body of one frame may have."""

CARRIED: Final = LIMIT - 64 * 1024
"""The most bytes of what a message carries: the rest is for what is around it, headers above all."""

_HEAD: Final = 4
_NO_HEAD: Final = bytes(_HEAD)
_CHUNK: Final = 256 * 1024
_NONE: Final = object()


class ChannelBroken(Exception):
    """The other side is gone, or has broken the protocol; `breach` says how, "" when it is just gone."""

    def __init__(self, breach: str = "") -> None:
        super().__init__(breach or "the other side has ended")
        self.breach = breach


class Ticket:
    """Something that somebody waits for on a channel; whoever reads settles it.

    Attributes:
        value: what came, once it is settled.
        error: why nothing will.
    """

    __slots__ = ("_told", "_woken", "error", "value")

    def __init__(self, tell: Callable[[], object] | None = None) -> None:
        self.value: Any = _NONE
        self.error: BaseException | None = None
        self._told = tell
        self._woken: threading.Lock | None = None

    @property
    def done(self) -> bool:
        """Whether it is settled."""
        return self.value is not _NONE or self.error is not None

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Give it what it waits for; for whoever reads."""
        self.value, self.error = value, error
        self.wake()
        if self._told is not None:
            self._told()

    def wake(self) -> None:
        """Have its thread look again, if one waits that does not read itself."""
        woken = self._woken
        if woken is not None:
            try:
                woken.release()
            except RuntimeError:  # it has been woken already
                return

    def sleep(self, timeout: float | None) -> bool:
        """Wait until it is woken; for its own thread. Give whether it was, in time."""
        woken = self._woken
        assert woken is not None  # noqa: S101  # `prepare` comes first
        return woken.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def prepare(self) -> None:
        """Make it possible to wait for it."""
        if self._woken is None:
            self._woken = threading.Lock()
            self._woken.acquire()

    def result(self) -> Any:
        """Give what came, or raise why nothing will."""
        if self.error is not None:
            raise self.error
        return self.value


class Channel(Generic[M]):
    """Sends messages, and reads those of the other side for whoever waits.

    Args:
        connection: the socket; this object closes it.
        expected: the type of the other side's messages.
        take: gets each message, in the thread of whoever reads, with nothing locked; it settles tickets, and must not
            wait. What it raises of `ChannelBroken` breaks the channel.
        limit: the most bytes of one body.
    """

    def __init__(
        self, connection: socket.socket, expected: Any, take: Callable[[M], object], limit: int = LIMIT
    ) -> None:
        connection.setblocking(False)  # noqa: FBT003  # its only parameter
        self._socket = connection
        self._fd = connection.fileno()
        self._decode: Callable[[Any], M] = msgspec.msgpack.Decoder(expected, ext_hook=extension).decode
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._take = take
        self._limit = limit
        self._held = bytearray()
        self._sending = threading.Lock()
        self._turns: deque[Ticket] = deque()  # of those on event loops that wait to send
        self._lock = threading.Lock()  # of what follows
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
        self._write(message, frame)
        self._send(frame, deadline)

    def send_all(self, messages: Iterable[msgspec.Struct]) -> None:
        """Send several messages at once, as `send` does one."""
        frames = bytearray()
        for message in messages:
            self._write(message, frames)
        self._send(frames, None)

    async def asend(self, message: msgspec.Struct) -> None:
        """Do the same as `send` without blocking the running event loop, until it is cancelled.

        Raises:
            ValueError: as `send`.
            ChannelBroken: as `send`.
        """
        frame = bytearray()
        self._write(message, frame)
        if not self._sending.acquire(blocking=False):
            await self._turn()
        view, sent = memoryview(frame), 0
        try:
            sent = self._begin_to_send(frame)
            while sent < len(frame):
                await self._writable()
                with suppress(BlockingIOError):
                    sent += self._socket.send(view[sent:])
        except OSError as error:
            raise self._gone() from error
        finally:
            if 0 < sent < len(frame):
                self._break(ChannelBroken())  # half a message cannot be taken back
            self._sent()

    async def _writable(self) -> None:
        """Await that the other side has read something. Whoever sends alone may: nobody closes the socket meanwhile."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._fd, settle, came)
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
            try:
                if self._sending.acquire(blocking=False):
                    return
                await came
            finally:
                if ticket in self._turns:
                    self._turns.remove(ticket)
                elif came.cancelled():  # it was this one's turn, and it has left
                    self._call_next()
            if self._sending.acquire(blocking=False):
                return

    def _write(self, message: msgspec.Struct, frames: bytearray) -> None:
        """Write a message behind others."""
        start = len(frames)
        frames += _NO_HEAD
        self._encode(message, frames, start + _HEAD)
        size = len(frames) - start - _HEAD
        if size > self._limit:
            raise ValueError(f"{size:,} bytes, and a message may have {self._limit:,}")
        frames[start : start + _HEAD] = size.to_bytes(_HEAD, "big")

    def _send(self, frame: bytearray, deadline: float | None) -> None:
        if not self._sending.acquire(timeout=_timeout(deadline)):
            raise TimeoutError("the other side does not read")
        try:
            sent = self._begin_to_send(frame)
            if sent < len(frame):
                self._send_rest(memoryview(frame), sent, deadline)
        except OSError as error:
            raise self._gone() from error
        finally:
            self._sent()

    def _begin_to_send(self, frame: bytearray) -> int:
        """Send what can be sent at once; give how much that was."""
        if self.broken is not None:
            raise self.broken
        try:
            return self._socket.send(frame)
        except BlockingIOError:
            return 0

    def _send_rest(self, frame: memoryview, sent: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while sent < len(frame):
            if not poll.poll(_milliseconds(deadline)) and sent == 0:
                raise TimeoutError("the other side does not read")
            try:
                sent += self._socket.send(frame[sent:])
            except BlockingIOError:
                if deadline is not None and monotonic() >= deadline:
                    self._break(ChannelBroken())  # half a message cannot be taken back
                    raise TimeoutError("the other side does not read") from None

    def _gone(self) -> ChannelBroken:
        broken = ChannelBroken()
        self._break(broken)  # whoever shares this channel is to know as well
        return broken

    def _sent(self) -> None:
        """Let somebody else send."""
        self._sending.release()
        if self._turns:
            self._call_next()
        if self._closed:
            self._shut()

    def _call_next(self) -> None:
        with suppress(IndexError):
            self._turns.popleft().settle(None)

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
                    ticket.prepare()
                    self._threads.append(ticket)
            if mine:
                try:
                    in_time = self._read(ticket, deadline)
                finally:
                    self._hand_over()
            else:
                in_time = ticket.sleep(None if deadline is None else max(deadline - monotonic(), 0.0))
                with self._lock:
                    if ticket in self._threads:
                        self._threads.remove(ticket)
            if not in_time:
                if not mine:
                    self._hand_over(still=True)  # it may have been woken in this very moment, in order to read
                return ticket.done
        return True

    def _read(self, ticket: Ticket, deadline: float | None) -> bool:
        """Read until a ticket is settled; give whether it is."""
        receive = self._socket.recv
        poll: select.poll | None = None
        while not ticket.done and self.broken is None:
            try:
                piece = receive(_CHUNK)
            except BlockingIOError:
                if poll is None:
                    poll = select.poll()
                    poll.register(self._fd, select.POLLIN)
                if not poll.poll(_milliseconds(deadline)) and deadline is not None and monotonic() >= deadline:
                    return False
                continue
            except OSError:
                piece = b""
            self._feed(piece)
        return True

    # --- Awaiting ----------------------------------------------------------------------------------------------------

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count one more ticket that an event loop waits for; the loop reads if nobody does. On that loop."""
        readers = Readers.of(loop)
        readers.join()
        with self._lock:
            self._awaiting[readers] = self._awaiting.get(readers, 0) + 1
            if self._watcher is not readers and not self._reading and not self._awaited():
                self._move(readers)

    def unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count one less; a loop that waits for nothing lets others read, once they want to. On that loop."""
        readers = Readers.of(loop)
        with self._lock:
            self._awaiting[readers] -= 1
            last = not self._awaiting[readers]
            if last:
                del self._awaiting[readers]
        if last:
            self._hand_over(still=True)
        readers.leave()

    def readable(self, readers: Readers) -> None:
        """Read all that is there; on a loop that watches the socket."""
        with self._lock:
            if self._reading or self._watcher is not readers:  # somebody has taken it over in this very moment
                return
            self._reading = True
        try:
            while True:
                try:
                    piece = self._socket.recv(_CHUNK)
                except BlockingIOError:
                    break
                except OSError:
                    piece = b""
                self._feed(piece)
                if len(piece) < _CHUNK:  # a stream that gives less than was asked for has no more
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

    # --- What came ---------------------------------------------------------------------------------------------------

    def _feed(self, piece: bytes) -> None:
        """Take in a piece: whole messages go to `take`, in order."""
        if not piece:
            self._break(ChannelBroken())
            return
        held = self._held
        data: Any = piece
        if held:
            held += piece
            data = memoryview(held)  # what is cut out of it is copied once
        start, end = 0, len(data)
        try:
            while end - start >= _HEAD:
                size = int.from_bytes(data[start : start + _HEAD], "big")
                if size > self._limit:
                    raise ChannelBroken(  # noqa: TRY301  # caught with what `take` raises
                        f"it announced {size:,} bytes, and a message may have {self._limit:,}"
                    )
                if end - start < _HEAD + size:
                    break
                start += _HEAD + size
                # Bytes of its own, since what is decoded refers to them: see `msgspec.Raw`.
                self._take(self._decode(bytes(data[start - size : start])))
        except ChannelBroken as error:
            self._break(error)
            return
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
            self._break(ChannelBroken(f"it sent what is no message: {type(error).__name__}"))
            return
        if data is not piece:
            data.release()
            del held[:start]
        elif start < end:
            held += piece[start:]

    def _break(self, error: ChannelBroken) -> None:
        if self.broken is None:
            self.broken = error
            self.on_break(error)

    on_break: Callable[[ChannelBroken], object] = staticmethod(lambda _: None)
    """Called once, in the thread that finds it: the other side is gone. It settles whatever is open."""

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
            if self._reading or not self._sending.acquire(blocking=False):
                return
            self._socket.close()
            self._sending.release()


def settle(came: "asyncio.Future[None]") -> None:
    """Settle a future, unless its waiter was cancelled; on its loop."""
    if not came.done():
        came.set_result(None)


def teller(loop: asyncio.AbstractEventLoop, came: "asyncio.Future[None]") -> Callable[[], object]:
    """Give what settles a future of a loop from any thread, and from the loop itself without waking it."""

    def tell() -> None:
        if asyncio._get_running_loop() is loop:  # noqa: SLF001  # documented; does not raise
            settle(came)
            return
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, came)

    return tell


def _timeout(deadline: float | None) -> float:
    return -1 if deadline is None else min(max(deadline - monotonic(), 0.0), threading.TIMEOUT_MAX)


def _milliseconds(deadline: float | None) -> float | None:
    # A millisecond more: `poll` rounds, and would come back before the time is up.
    return None if deadline is None else min(max((deadline - monotonic()) * 1000.0 + 1.0, 0.0), 2**31 - 1)
