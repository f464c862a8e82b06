"""The connections of a door: how many there are, how long each may keep it waiting, and how much it may send.

The server takes care of none of this by itself: a client that never sends a whole head, or never reads, would hold its
connection for ever, and the head of a request may have any size. Once a second all connections are looked at, which
costs requests nothing; what is counted with each of them is how many bytes it has.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import attrs

from jackfield_contrib.descriptors import room
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.connection import HEAD, Connection

_LOOK: Final = 1.0  # seconds between two looks
_HURRY: Final = 1.0  # seconds that a connection may be idle when there are too many


@attrs.frozen
class _Seen:
    """What a connection was at when it was looked at."""

    cycle: Any
    idle: float | None  # since when it has been waiting for a head
    size: int
    stuck: float | None  # since when nothing has been read of what it was sent


class Guard:
    """Bounds the connections of one door.

    Args:
        bounds: what of.

    Attributes:
        most: bytes of a request.
        leaving: whether the door closes, and each answer is the last of its connection.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._room = room(bounds.connections)
        self._seen: dict[Any, _Seen] = {}
        self._looking: asyncio.Task[None] | None = None
        self._hurried = 0.0
        self.connections: set[Any] = set()
        self.most = 2 * bounds.body + HEAD  # the rest is how it is cut into chunks
        self.leaving = False

    def protocol(self, **given: Any) -> Connection:
        """Make what speaks with a client, as uvicorn's server asks for it."""
        return Connection(self, **given)

    def open(self, connections: set[Any]) -> None:
        """Begin to look.

        Args:
            connections: of the server, which keeps them up to date.
        """
        self.connections = connections
        self._looking = asyncio.get_running_loop().create_task(self._look_on(), name="jackfield-http-guard")

    async def close(self) -> None:
        """Look no more, and let go of all connections that there are still."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        for connection in list(self.connections):
            connection.transport.abort()
        self._seen = {}

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self.look(self._bounds.head)

    def has_room(self) -> bool:
        """Tell whether there is room for the newest connection; if not, those that are idle go first."""
        if len(self.connections) <= self._room:
            return True
        now = asyncio.get_running_loop().time()
        if now - self._hurried >= _HURRY / 10:  # it looks at all of them, and thousands may come at once
            self._hurried = now
            self.look(_HURRY)
        return len(self.connections) <= self._room

    def look(self, patience: float) -> None:
        """Look at all connections, and end those that keep the door waiting.

        Args:
            patience: seconds that each may take to send a head.
        """
        now = asyncio.get_running_loop().time()
        known, self._seen = self._seen, {}
        for connection in list(self.connections):
            seen = self._seen[connection] = _look_at(connection, known.get(connection), now)
            idle = seen.idle is not None and now - seen.idle >= patience
            stuck = seen.stuck is not None and now - seen.stuck >= self._bounds.patience
            if idle or stuck:
                connection.transport.abort()
                self.connections.discard(connection)


def _look_at(connection: Any, was: _Seen | None, now: float) -> _Seen:
    cycle, size = connection.cycle, connection.transport.get_write_buffer_size()
    idle = stuck = None
    if not size and (cycle is None or cycle.complete):  # it waits for the next request, or the rest of the last
        same = was is not None and was.cycle is cycle and was.idle is not None
        idle = was.idle if was is not None and same else now
    if size:
        same = was is not None and was.stuck is not None and size >= was.size
        stuck = was.stuck if was is not None and same else now
    return _Seen(cycle, idle, size, stuck)
