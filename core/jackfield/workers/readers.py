"""What an event loop watches in place of its channels: one epoll, which they are put into and taken from."""

import asyncio
import select
import threading
import weakref
from typing import Final, Protocol


class Readable(Protocol):
    """Something with a socket that an event loop reads."""

    def readable(self, readers: "Readers", /, *, ended: bool) -> None:
        """Read what is there; on the loop. Nothing tells of it again, and of the end neither, if it has `ended`."""
        ...


class Readers:
    """The sockets that an event loop reads; made on that loop, by `of`.

    A loop of asyncio wants to be told in its own thread what it watches, and takes some 15 µs for it. An epoll can be
    told in any thread, in one system call; the loop itself watches nothing but the epoll. Sockets are watched for
    edges: whoever is told must read all that is there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._epoll = select.epoll()
        self._there: dict[int, Readable] = {}
        self._awaited = 0  # things, of any channel
        loop.add_reader(self._epoll.fileno(), self._ready)

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> "Readers":
        """Give those of the running loop."""
        found = _ALL.get(loop)
        if found is None:
            made = Readers(loop)
            with _LOCK:
                found = _ALL.setdefault(loop, made)
        return found

    @property
    def alive(self) -> bool:
        """Whether the loop can still run."""
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def join(self) -> None:
        """Await one thing more; on the loop."""
        self._awaited += 1

    def add(self, number: int, one: Readable) -> None:
        """Watch a socket from now on, and tell of what is there already; in any thread.

        Args:
            number: its descriptor; it must not be closed before `remove`.
            one: what is told.
        """
        self._there[number] = one
        self._epoll.register(number, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def remove(self, number: int) -> None:
        """Watch it no longer; in any thread. What is being told in this moment is told still.

        With the last one, and when nothing is awaited, the epoll goes too: of a loop that has ended, or on the loop.
        """
        self._epoll.unregister(number)
        del self._there[number]
        self._end_if_unused()

    def leave(self) -> None:
        """Await one thing less; on the loop."""
        self._awaited -= 1
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._there:
            return
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._epoll.close()
        elif not self._awaited and asyncio._get_running_loop() is loop:  # noqa: SLF001  # documented; does not raise
            with _LOCK:
                _ALL.pop(loop, None)
            loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        for number, events in self._epoll.poll(0):
            one = self._there.get(number)
            if one is not None:
                one.readable(self, ended=bool(events & _ENDED))


_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_LOCK: Final = threading.Lock()
_ALL: "Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Readers]]" = weakref.WeakKeyDictionary()
