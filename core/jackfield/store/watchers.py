"""Those who watch a store: what this process writes they are given as it is, what others have written they read."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import attrs

from jackfield.errors import Unavailable
from jackfield.model.keys import within
from jackfield.ports import StoreEvent
from jackfield.store.history import SIZE

MOST: Final = 256
"""How many writes are kept for one who is slow, as far as they are small; the rest it reads."""

Read = Callable[[int, str], Awaitable[tuple[Sequence[StoreEvent], int]]]
"""Gives the writes after a revision, under a prefix, and the newest revision of all."""


@attrs.define(eq=False)
class _Watcher:
    """One watch, on its own loop.

    Attributes:
        prefix: what it wants.
        since: all up to this revision it has, or is in its feed.
        loop: where it waits.
        feed: the next writes.
        size: bytes of the values in it.
        behind: whether there are later ones that are not in the feed, and have to be read.
        missed: whether there was another one since it began to read.
        woken: what it waits for, while it does.
    """

    prefix: str
    since: int
    loop: asyncio.AbstractEventLoop
    feed: list[StoreEvent] = attrs.field(factory=list)
    size: int = 0
    behind: bool = True
    missed: bool = False
    woken: "asyncio.Future[None] | None" = None

    def wake(self) -> None:
        # Its loop may be closed: nobody waits there any more.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


class Watchers:
    """The watches of one store. Told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[_Watcher] = set()
        self._closed = False

    def __bool__(self) -> bool:
        """Tell whether anybody watches."""
        return bool(self._all)

    def wrote(self, before: int, newest: int, events: Sequence[StoreEvent]) -> None:
        """Give everybody what was written.

        Args:
            before: the newest revision before that.
            newest: the one now.
            events: all that was written in between, in order.
        """
        met = []
        with self._lock:
            for each in self._all:
                if each.since != before or each.behind or len(each.feed) >= MOST or each.size > SIZE:
                    each.behind = each.missed = True
                    met.append(each)
                    continue
                each.since = newest
                if mine := [event for event in events if within(event.key, each.prefix)]:
                    each.feed += mine
                    each.size += sum(len(event.value or b"") for event in mine)
                    met.append(each)
        for each in met:
            each.wake()

    def others_wrote(self, newest: int) -> None:
        """Have those read who do not have all up to a revision."""
        with self._lock:
            met = [each for each in self._all if each.since < newest]
            for each in met:
                each.behind = each.missed = True
        for each in met:
            each.wake()

    def close(self) -> None:
        """End all watches."""
        with self._lock:
            self._closed = True
            every = tuple(self._all)
        for each in every:
            each.wake()

    async def watch(self, prefix: str, since: int, read: Read) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix after a revision, without an end.

        Args:
            prefix: as for `ports.Store.watch`.
            since: as there.
            read: reads what is not in the feed.

        Raises:
            Unavailable: when the store is closed.
        """
        mine = _Watcher(prefix, since, asyncio.get_running_loop())
        with self._lock:
            self._all.add(mine)
        try:
            while True:
                for event in await self._next(mine, read):
                    yield event
        finally:
            with self._lock:
                self._all.discard(mine)

    async def _next(self, mine: _Watcher, read: Read) -> Sequence[StoreEvent]:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("store", "it has been closed", "store")
                if mine.feed:
                    feed, mine.feed, mine.size = mine.feed, [], 0
                    return feed
                woken = mine.woken = mine.loop.create_future()
                if mine.behind:
                    woken.set_result(None)
                    mine.missed = False
            if not woken.done():
                await woken
                continue
            events, newest = await read(mine.since, mine.prefix)
            with self._lock:
                mine.since, mine.behind = newest, mine.missed
            if events:
                return events
