"""Messages as bytes of a stream.

frame   4 bytes   the length of the body, big-endian, at most the limit
        n bytes   one MessagePack value, of the type that the other side expects
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from jackfield.wire.crossing import extension

M = TypeVar("M")

LIMIT: Final = 16 * 1024 * 1024
"""The most bytes that the body of one frame may have."""

CARRIED: Final = LIMIT - 64 * 1024
"""The most bytes of what a message carries: the rest is for what is around it, headers above all."""

_HEAD: Final = 4
_NO_HEAD: Final = bytes(_HEAD)


class ChannelBroken(Exception):
    """The other side is gone, or has broken the protocol; `breach` says how, "" when it is just gone."""

    def __init__(self, breach: str = "") -> None:
        super().__init__(breach or "the other side has ended")
        self.breach = breach


class Frames(Generic[M]):
    """Writes this side's messages, and cuts those of the other side out of what comes.

    Args:
        expected: the type of the other side's messages.
        take: gets each of them.
        limit: the most bytes of one body.
    """

    def __init__(self, expected: Any, take: Callable[[M], object], limit: int = LIMIT) -> None:
        self._decode: Callable[[Any], M] = msgspec.msgpack.Decoder(expected, ext_hook=extension).decode
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._take = take
        self._limit = limit
        self._held = bytearray()

    def write(self, message: msgspec.Struct, frames: bytearray) -> None:
        """Write a message behind others.

        Raises:
            ValueError: if it is larger than the limit.
        """
        start = len(frames)
        frames += _NO_HEAD
        self._encode(message, frames, start + _HEAD)
        size = len(frames) - start - _HEAD
        if size > self._limit:
            raise ValueError(f"{size:,} bytes, and a message may have {self._limit:,}")
        frames[start : start + _HEAD] = size.to_bytes(_HEAD, "big")

    def feed(self, piece: bytes) -> None:
        """Take in a piece of the stream: whole messages go to `take`, in order. What it raises ends the stream.

        Raises:
            ChannelBroken: if that is the end of the stream, or no message, or `take` says so.
        """
        if not piece:
            raise ChannelBroken
        held = self._held
        if not held:
            used = self._cut(piece)
            if used < len(piece):
                held += piece[used:] if used else piece
            return
        held += piece
        with memoryview(held) as data:  # what is cut out of it is copied once
            used = self._cut(data)
        del held[:used]

    def _cut(self, data: Any) -> int:
        """Take the whole messages out of some bytes; give how many that were."""
        start, end = 0, len(data)
        try:
            while end - start >= _HEAD:
                size = int.from_bytes(data[start : start + _HEAD], "big")
                if size > self._limit:
                    raise ChannelBroken(f"it announced {size:,} bytes, and a message may have {self._limit:,}")
                if end - start < _HEAD + size:
                    break
                start += _HEAD + size
                # Bytes of its own, since what is decoded refers to them: see `msgspec.Raw`.
                self._take(self._decode(bytes(data[start - size : start])))
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
            raise ChannelBroken(f"it sent what is no message: {type(error).__name__}") from None
        return start
