"""Frames: MessagePack values between two processes, each behind its length.

    greeting   8 bytes   b"JACKFLD" and the version of the protocol; sent once by each side, without waiting
    frame      4 bytes   the length of the body, big-endian, at most the limit
               n bytes   one MessagePack value

The other side is not trusted: whatever it sends, the result is a value or a `FrameError`, and no more than one frame
is held. A length beyond the limit is refused when its four bytes are there, before anything is reserved for it. After
a `FrameError` nothing that follows on that connection can be believed: close it.

`Deframer` has the rules and does no I/O; `FrameSocket` and `FrameStream` put a socket and asyncio around it.
"""

import asyncio
import socket
from collections import deque
from time import monotonic
from typing import Any, Final, TypeVar, overload

import msgspec

from jackfield.wire.values import Format, plain, text_of

T = TypeVar("T")

LIMIT: Final = 16 * 1024 * 1024
"""The most bytes that the body of one frame may have."""

MAGIC: Final = b"JACKFLD"
VERSION: Final = 1
GREETING: Final = MAGIC + bytes([VERSION])

_HEAD = 4
_CHUNK = 64 * 1024
_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side broke the protocol, or a value does not fit into a frame. Its text is the reason."""


def pack(value: object, limit: int = LIMIT) -> bytes:
    r"""Make the frame of a value.

    What arrives is plain data, as `jackfield.to_json` writes it, but bytes stay bytes and numbers keys and NaN what
    they are; what has no form is shown as its `repr`: a state dump should say what it can rather than fail.

    Args:
        value: what to send.
        limit: the most bytes its body may have.

    Returns:
        The length and the body.

    Raises:
        FrameError: when it is larger than that.

    Examples:
        >>> pack({"a": 1})
        b'\x00\x00\x00\x04\x81\xa1a\x01'
        >>> unpack(pack({"a": 1})[4:])
        {'a': 1}
    """
    made = plain(value, _MESSAGE_PACK, text_of)
    try:
        body = _encoder.encode(made)
    except (ValueError, OverflowError, TypeError):
        # Text that is no Unicode, an integer beyond 64 bits, a list that another thread has changed.
        body = _encoder.encode(plain(made, _MESSAGE_PACK, text_of, careful=True))
    if len(body) > limit:
        raise FrameError(f"a value of {len(body):,} bytes does not fit into a frame: the limit is {limit:,}")
    return len(body).to_bytes(_HEAD, "big") + body


@overload
def unpack(body: bytes) -> Any: ...
@overload
def unpack(body: bytes, kind: type[T]) -> T: ...
def unpack(body: bytes, kind: Any = Any) -> Any:
    """Read the body of a frame.

    Args:
        body: what `Deframer.feed` or a `receive` gave.
        kind: the type that it must have; a `msgspec.Struct`, for example.

    Raises:
        FrameError: when it is no MessagePack value, is nested too deeply, or has another type.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except RecursionError:
        raise FrameError("a frame is nested too deeply") from None
    except (ValueError, OverflowError, TypeError) as error:  # msgspec's own are ValueErrors; the rest is odd timestamps
        raise FrameError(f"a frame of {len(body):,} bytes is not what was expected: {error}") from None


def shown(value: Any) -> Any:
    """Copy a value into what `pack` makes of it: plain data, whatever it is.

    Examples:
        >>> shown({"of": 2j, "on": {1}})
        {'of': '2j', 'on': [1]}
    """
    return plain(value, _MESSAGE_PACK, text_of, careful=True)


class FrameCut(FrameError):
    """The connection ended in the middle of a frame: the other side died, or was cut off."""


class Deframer:
    r"""Cut what arrives, in pieces of any size, into the greeting and the bodies of frames.

    Args:
        limit: the most bytes a body may have.

    Examples:
        >>> deframer = Deframer()
        >>> deframer.feed(GREETING + pack("a") + pack("b")[:3])
        [b'\xa1a']
        >>> deframer.feed(pack("b")[3:])
        [b'\xa1b']
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._greeted = False

    @property
    def partial(self) -> bool:
        """Whether a part of a frame, or of the greeting, waits for the rest."""
        return bool(self._held)

    @property
    def greeted(self) -> bool:
        """Whether the other side's greeting has come."""
        return self._greeted

    def feed(self, data: bytes) -> list[bytes]:
        """Take in a piece.

        Args:
            data: as it came.

        Returns:
            The bodies that are complete now, in order.

        Raises:
            FrameError: when the greeting is another one, or a length is beyond the limit.
        """
        held = self._held
        held += data
        start = 0
        if not self._greeted:
            if not self._greet():
                return []
            start = len(GREETING)
        bodies = []
        while len(held) >= start + _HEAD:
            length = int.from_bytes(held[start : start + _HEAD], "big")
            if length > self._limit:
                raise FrameError(f"a frame says it has {length:,} bytes: the limit is {self._limit:,}")
            end = start + _HEAD + length
            if len(held) < end:
                break
            bodies.append(bytes(held[start + _HEAD : end]))
            start = end
        del held[:start]
        return bodies

    def end(self) -> None:
        """Take note that nothing more will come.

        Raises:
            FrameCut: when that is in the middle of a frame.
        """
        if self._held:
            raise FrameCut(f"the connection ended within a frame, {len(self._held):,} bytes into it")

    def _greet(self) -> bool:
        """Check as much of the greeting as is there: who speaks something else may never send eight bytes."""
        came = bytes(self._held[: len(GREETING)])
        if came[: len(MAGIC)] != MAGIC[: len(came)]:
            raise FrameError("it does not speak jackfield's protocol")
        if len(came) < len(GREETING):
            return False
        if came != GREETING:
            raise FrameError(
                f"it speaks version {came[-1]} of jackfield's protocol, this side version {VERSION}:"
                " both must be of the same installation"
            )
        self._greeted = True
        return True


class FrameSocket:
    """Frames over a connected socket that blocks: for one thread that sends and one that receives.

    Deadlines are absolute, on `time.monotonic`'s clock, and hold for all of a frame: dripping bytes move none.

    Args:
        connection: the socket; this object closes it.
        limit: the most bytes a received body may have.
    """

    def __init__(self, connection: socket.socket, limit: int = LIMIT) -> None:
        self._socket = connection
        self._deframer = Deframer(limit)
        self._bodies: deque[bytes] = deque()

    def greet(self, deadline: float | None = None) -> None:
        """Send the greeting, once, before anything else; errors as for `send`."""
        self.send(GREETING, deadline)

    def send(self, frame: bytes, deadline: float | None = None) -> None:
        """Send a frame.

        Args:
            frame: what `pack` gave.
            deadline: when to give up, or None.

        Raises:
            TimeoutError: when it could not be handed over in time.
            OSError: when the other side is gone.
        """
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(frame)

    def receive(self, deadline: float | None = None) -> bytes:
        """Wait for a frame.

        Args:
            deadline: when to give up, or None.

        Returns:
            Its body, for `unpack`.

        Raises:
            EOFError: when the other side ended the connection, between two frames.
            FrameError: when what comes is no frame.
            TimeoutError: when it is not complete in time.
            OSError: when the connection broke.
        """
        while not self._bodies:
            self._fill(deadline)
        return self._bodies.popleft()

    def meet(self, deadline: float | None = None) -> None:
        """Wait for the other side's greeting: it is there, and attends. Errors as for `receive`."""
        while not self._deframer.greeted:
            self._fill(deadline)

    def _fill(self, deadline: float | None) -> None:
        self._socket.settimeout(_left(deadline))
        piece = self._socket.recv(_CHUNK)
        if not piece:
            self._deframer.end()
            raise EOFError("the connection has ended")
        self._bodies += self._deframer.feed(piece)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class FrameStream:
    """Frames over an asyncio connection: one task receives, any number send.

    Args:
        reader: of the connection.
        writer: of the connection; whoever opened it closes it.
        limit: the most bytes a received body may have.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int = LIMIT) -> None:
        self._reader = reader
        self._writer = writer
        self._deframer = Deframer(limit)
        self._bodies: deque[bytes] = deque()

    @property
    def greeted(self) -> bool:
        """Whether the other side's greeting has come."""
        return self._deframer.greeted

    @property
    def partial(self) -> bool:
        """Whether a part of a frame waits for the rest."""
        return self._deframer.partial

    async def greet(self) -> None:
        """Send the greeting, once, before anything else."""
        await self.send(GREETING)

    async def send(self, frame: bytes) -> None:
        """Send a frame and wait until the other side has room for more.

        Args:
            frame: what `pack` gave.

        Raises:
            OSError: when the other side is gone.
        """
        self._writer.write(frame)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """Wait for a frame; result and errors as for `FrameSocket.receive`."""
        while (body := self.pop()) is None:
            await self.fill()
        return body

    def pop(self) -> bytes | None:
        """Take the next body that is complete already, or None."""
        return self._bodies.popleft() if self._bodies else None

    async def fill(self) -> None:
        """Wait for a piece of whatever size, so that the caller can bound frame and idleness by different times.

        Raises:
            EOFError: when the other side ended the connection, between two frames.
            FrameError: when what comes is no frame.
            OSError: when the connection broke.
        """
        piece = await self._reader.read(_CHUNK)
        if not piece:
            self._deframer.end()
            raise EOFError("the connection has ended")
        self._bodies += self._deframer.feed(piece)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return str(value)
        except ValueError:  # Python limits the digits
            return hex(value)
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


_MESSAGE_PACK: Final = Format(_scalar, lambda key: key if key is None or isinstance(key, bool) else _scalar(key))


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
