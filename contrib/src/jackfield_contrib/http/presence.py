"""Whether the client of a request is still there: one that goes away cancels what it has asked for."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final

from jackfield_contrib.http.cycle import Cycle, Gone

__all__ = ["Gone", "Presence", "Receive", "while_there"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_QUICK: Final = 0.02
"""Seconds within which most calls are over: only after them somebody looks whether the client is still there."""


def while_there(receive: Receive) -> AbstractContextManager[None]:
    """Give a block that is cancelled when the client goes away, and then ends with `Gone`.

    Args:
        receive: gives what the client sends. A connection of this door knows by itself when its client leaves; of
            another server it has to be asked.
    """
    cycle = getattr(receive, "__self__", None)
    return cycle if type(cycle) is Cycle else Presence(receive)


class Presence:
    """Cancels the task that is in its block when the client goes away; the block then ends with `Gone`.

    Args:
        receive: gives what the client sends, at last that it has left.
    """

    __slots__ = ("_left", "_receive", "_task", "_watch", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive, self._left = receive, False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        """Begin to look, a little later."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine that runs has one
        self._task = task
        self._watch = _watch_of(asyncio.get_running_loop())
        self._watch.add(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop looking."""
        self._watch.discard(self)
        if (watcher := self._watcher) is not None:
            self._watcher = None  # it holds the error that ends it, whose frame holds this: garbage for each slow call
            watcher.cancel()
        if self._left and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise Gone

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on whether the client leaves."""
        self._watcher = loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()


class _Watch:
    """The blocks of one loop that nobody looks at yet. One timer for all: most are over before it comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._new: set[Presence] = set()
        self._old: set[Presence] = set()  # those that were there at the last tick
        self._ticking = False

    def add(self, presence: Presence) -> None:
        self._new.add(presence)
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(_QUICK, self._tick)

    def discard(self, presence: Presence) -> None:
        self._new.discard(presence)
        self._old.discard(presence)

    def _tick(self) -> None:
        for presence in self._old:
            presence.look(self.loop)
        self._old, self._new = self._new, set()
        self._ticking = bool(self._old)
        if self._ticking:
            self.loop.call_later(_QUICK, self._tick)


class _Here(threading.local):
    watch: _Watch | None = None


_here: Final = _Here()


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    watch = _here.watch
    if watch is None or watch.loop is not loop:  # a thread may run one loop after the other
        watch = _here.watch = _Watch(loop)
    return watch
