"""Memory that a host and one of its workers share: what is large goes through it, and the socket says where it is.

The host makes it: a file in memory which can neither grow nor shrink, so that no worker takes away what the host is
reading. Each side writes one half, and knows which parts of it are in use; the other side reads them. A part belongs to
the message that says where it is, and is free when

    the payload of a call          the call has ended
    the answer to a question       the call in which it was asked has ended
    the body of a question         its answer has come
    the result of a call           the host says so: with the next call, or by itself (`messages.Took`)

The host copies what it reads before it looks at it, since the worker may still write there.
"""

import fcntl
import mmap
import os
import sys
import threading
from bisect import insort
from contextlib import suppress
from typing import Any, Final

import msgspec

from jackfield.wire.crossing import pack, unpack
from jackfield.workers.frames import CARRIED
from jackfield.workers.messages import NOTHING, Place

LARGE: Final = 64 * 1024
"""Bytes from which on a value goes through shared memory."""

LARGEST: Final = 128 * 1024 * 1024
"""The most bytes that all values have together that are on their way in one direction, and so the most that one has."""

KEPT: Final = 8 * 1024 * 1024
"""Bytes at the beginning of a half whose memory is kept when they are free: new pages cost time."""

_PAGE: Final = mmap.PAGESIZE
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # else it keeps one more
_NO_EXECUTION: Final = 8  # MFD_NOEXEC_SEAL, of Linux 6.3: some systems give no memory without it


class NoRoom(ValueError):
    """There is no room for a value: it is too large, or others are on their way; `size` says how large it is."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size:,} bytes, and at most {LARGEST:,} go to another process at once")
        self.size = size


def make() -> int:
    """Make the memory for one worker.

    Returns:
        A descriptor; pages are taken only when something is written to them.

    Raises:
        OSError: where the system gives none.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("jackfield", flags | _NO_EXECUTION)
    except OSError:  # a system that does not know the last one
        descriptor = os.memfd_create("jackfield", flags)
    try:
        os.ftruncate(descriptor, 2 * LARGEST)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Arena:
    """One side of the memory.

    Args:
        descriptor: of it; not needed any more afterwards.
        host: whether this is the host's side.
    """

    def __init__(self, descriptor: int, *, host: bool) -> None:
        self._host = host
        self._memory = mmap.mmap(descriptor, 2 * LARGEST, **_UNTRACKED)
        self._view = memoryview(self._memory)
        self._mine, self._theirs = (0, LARGEST) if host else (LARGEST, 0)
        self._lock = threading.Lock()
        self._used: list[tuple[int, int]] = []  # where each part begins and ends, in order

    def put(self, value: Any) -> tuple[msgspec.Raw, Place | None]:
        """Write a value, here if it is large.

        Args:
            value: plain data, as `pack` has it.

        Returns:
            What goes into the message, and where the value is, if it is here.

        Raises:
            TypeError: if it has no form.
            NoRoom: when there is no room for it.
        """
        if type(value) is bytes and len(value) >= LARGE:
            if len(value) > LARGEST:
                raise NoRoom(len(value))
            with suppress(NoRoom):
                return NOTHING, self._write(value, bare=True)  # as it is: it is copied once
        packed = pack(value)
        if len(packed) >= LARGE:
            try:
                return NOTHING, self._write(packed, bare=False)
            except NoRoom:
                if len(packed) > CARRIED:
                    raise
        return msgspec.Raw(packed), None

    def put_result(self, value: Any) -> tuple[msgspec.Raw, Place | None]:
        """Do the same with what somebody waits for: what there is no room for is an error that they can read."""
        try:
            return self.put(value)
        except NoRoom as full:
            raise ValueError(f"the result has {full}") from None

    def get(self, raw: msgspec.Raw, place: Place | None) -> Any:
        """Read what the other side has written.

        Args:
            raw: what was in the message.
            place: where else it is.

        Raises:
            ValueError: if it is nothing that a process of jackfield writes.
        """
        if place is None:
            return unpack(raw)
        start, size = place.start, place.size
        if not (0 <= size <= LARGEST and 0 <= start <= LARGEST - size):
            raise ValueError("it is not in the memory that is shared")
        part = self._view[self._theirs + start : self._theirs + start + size]
        if place.bare:
            return bytes(part)
        return unpack(bytes(part) if self._host else part)

    def free(self, place: Place | None) -> None:
        """Let a part be used again that was given by `put`."""
        if place is None:
            return
        start, end = place.start, place.start + _pages(place.size)
        kept = max(start, KEPT)
        with suppress(ValueError):  # it is closed
            if kept < end:  # while it is still this one's
                self._memory.madvise(mmap.MADV_REMOVE, self._mine + kept, end - kept)
            with self._lock:
                self._used.remove((start, end))

    def close(self) -> None:
        """Give the memory back; what is being read in this moment keeps it until then."""
        with suppress(BufferError):
            self._view.release()
            self._memory.close()

    def _write(self, data: bytes, *, bare: bool) -> Place:
        size = len(data)
        start = self._reserve(_pages(size))
        self._view[self._mine + start : self._mine + start + size] = data
        return Place(start, size, bare)

    def _reserve(self, size: int) -> int:
        """Find the first place that is large enough, and use it; give where it begins."""
        with self._lock:
            start = 0
            for begins, ends in self._used:
                if begins - start >= size:
                    break
                start = ends
            if start + size > LARGEST:
                raise NoRoom(size)
            insort(self._used, (start, start + size))
        return start


def _pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
