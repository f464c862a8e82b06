"""A session: calls as they come, replies as they are ready, many of each in a message."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
from google.rpc.status_pb2 import Status

from jackfield.errors import Cancelled, JackfieldError
from jackfield_contrib.grpc import messages, statuses
from jackfield_contrib.grpc.access import Asker
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.calling import Calling
from jackfield_contrib.grpc.functions_pb2 import Call, Replies
from jackfield_contrib.http.problems import Refused

_REPLIES: Final = 256  # of a message
_BYTES: Final = 1024 * 1024  # after so many a message of replies is sent; clients take four times as much at least
_EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Unread(Exception):
    """The client does not take what is written to it."""


class Session:
    """One session of a client.

    Args:
        context: of the RPC.
        calling: calls functions.
        ask: tells who asks; it is asked again from time to time, since keys end.
        bounds: of what comes.

    Attributes:
        answered: how many replies it has written.
    """

    def __init__(self, context: Any, calling: Calling, ask: Callable[[], Asker], bounds: Bounds) -> None:
        self._context, self._calling, self._ask, self._bounds = context, calling, ask, bounds
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._ready: deque[tuple[int, bytes, Status | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._status: Status | None = None
        self._no_more = self._broken = False
        self.answered = 0

    async def run(self) -> Status | None:
        """Serve it to its end.

        Returns:
            How it has ended, None when the client has ended it.

        Raises:
            Unread: when the client does not take its replies.
        """
        reading = self._loop.create_task(self._read(), name="jackfield-grpc-session")
        try:
            while not self._broken:
                if self._ready:
                    await self._write()
                elif self._no_more and not self._under_way:
                    break
                else:
                    self._news = self._loop.create_future()
                    await self._news
        finally:
            reading.cancel()
            for task in self._under_way.values():
                task.cancel()
        return self._status

    @property
    def under_way(self) -> int:
        """How many calls have not ended."""
        return len(self._under_way)

    def drain(self) -> None:
        """Take no more calls; it ends when those that are under way have their replies."""
        self._end(statuses.draining())

    def _end(self, status: Status | None, *, broken: bool = False) -> None:
        if broken or not self._no_more:
            self._no_more, self._broken, self._status = True, broken, status
        self._tell()

    async def _read(self) -> None:
        try:
            while (raw := await self._context.read()) is not grpc.aio.EOF:
                message = messages.many(raw, self._bounds.batch)
                self._cancel(message.cancel)
                asker = self._asker()
                if asker is None:
                    return
                for call in message.calls:
                    while len(self._under_way) + len(self._ready) >= self._bounds.session:
                        self._room = self._loop.create_future()
                        await self._room
                    if self._no_more:
                        break  # it may still give up what it has sent before
                    self._begin(call, asker)
        except (Refused, JackfieldError) as error:
            self._end(statuses.of(error), broken=True)
        except grpc.aio.BaseError:  # the RPC has ended
            return
        else:
            self._end(None)

    def _cancel(self, identifiers: Iterable[int]) -> None:
        for identifier in identifiers:
            if (task := self._under_way.get(identifier)) is not None:
                task.cancel()

    def _asker(self) -> Asker | None:
        """Tell who asks; None when that is nobody any more: then what came before is answered, and it ends."""
        try:
            return self._ask()
        except (Refused, JackfieldError) as error:
            self._end(statuses.of(error))
            return None

    def _begin(self, call: Call, asker: Asker) -> None:
        identifier = call.id
        if identifier in self._under_way:
            raise Refused(400, f"two calls of the id {identifier} are under way")
        task = asyncio.Task(self._one(identifier, call, asker), loop=self._loop, **_EAGER)
        if not task.done():
            self._under_way[identifier] = task

    async def _one(self, identifier: int, call: Call, asker: Asker) -> None:
        try:
            result, failed = await self._calling.reply(call, asker)
        except asyncio.CancelledError:
            result, failed = b"", statuses.of_error(Cancelled(call.function, "its client has given it up"))
        self._under_way.pop(identifier, None)
        self._ready.append((identifier, result, failed))
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def _write(self) -> None:
        message, size = Replies(), 0
        add, ready = message.replies.add, self._ready
        for _ in range(min(len(ready), _REPLIES)):
            identifier, result, failed = ready[0]
            size += len(result)
            if size > _BYTES and message.replies:
                break
            ready.popleft()
            add(id=identifier, result=result, error=failed)
        self.answered += len(message.replies)
        try:
            async with asyncio.timeout(self._bounds.patience):
                await self._context.write(message.SerializeToString())
        except TimeoutError:
            raise Unread from None
        except grpc.aio.BaseError:  # the client has left, and its calls end: nothing that a log should have a stack of
            self._end(None, broken=True)
            return
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
