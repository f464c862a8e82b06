"""A session with a door for gRPC: the calls of many callers in each message, and the replies to them."""

import asyncio
from collections import OrderedDict
from time import monotonic
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from jackfield.errors import Unavailable
from jackfield_contrib.client import statuses
from jackfield_contrib.client.messages import Request
from jackfield_contrib.grpc.functions_pb2 import ENCODING_MESSAGEPACK, Calls, Replies

_CALLS: Final = 256  # of a message
_BYTES: Final = 256 * 1024  # after so many a message is sent
_LEAVE: Final = 1.0  # seconds that a door has to end a session when that is asked for
_MASKED: Final = "Internal error from Core"  # what grpcio says of how an RPC ended when it was writing
_UNMASKED: Final = 0.01, 100  # seconds between two looks at how it ended, and so many


class Session:
    """A stream of calls, which all callers of an event loop share.

    There is no timer: a message has what was asked for while the one before was written.

    Args:
        stream: of grpc.aio, without serializers; the door has begun to read it.
        url: of the door, for people.
        most: calls under way at once. A door reads no more when there are more: not even which are given up.

    Attributes:
        calls: how many have been sent.
        messages: in how many messages.
    """

    def __init__(self, stream: Any, url: str, most: int) -> None:
        self._stream, self._url, self._most = stream, url, most
        self._loop = asyncio.get_running_loop()
        self._queue: OrderedDict[int, tuple[Request, asyncio.Future[Any]]] = OrderedDict()
        self._sent: dict[int, tuple[Request, asyncio.Future[Any]]] = {}
        self._given_up: list[int] = []
        self._news: asyncio.Future[None] | None = None
        self._last = self.calls = self.messages = 0
        self._over = False
        self._writing = self._loop.create_task(self._write(), name="jackfield-client-write")
        self._reading = self._loop.create_task(self._read(), name="jackfield-client-read")

    @property
    def over(self) -> bool:
        """Whether it takes no more calls."""
        return self._over

    async def call(self, request: Request) -> Any:
        """Make a call, and give its result; cancelled, it cancels the call.

        Raises:
            JackfieldError: what the call raised there.
            Unavailable: when the session has ended before the reply came.
        """
        if self._over:
            raise self._unsent()
        self._last = number = self._last + 1
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._queue[number] = request, reply
        if self._news is not None:
            self._tell()
        try:
            found = await reply
        except asyncio.CancelledError:
            self._queue.pop(number, None)
            if number in self._sent:  # its place is free when the door has answered that it has given up, too
                self._given_up.append(number)
                self._tell()
            raise
        if found.HasField("error"):
            raise statuses.error(found.error, request, self._url, ran=None)
        return statuses.value(found.result, request, self._url)

    async def close(self) -> None:
        """End it; what is under way ends with `Unavailable`."""
        self._end(Status(code=grpc.StatusCode.CANCELLED.value[0], message="the client was closed meanwhile"))
        # Ended by the door all that grpcio has begun is over; cancelled here, that comes to a loop that may be closed.
        _, late = await asyncio.wait((self._reading, self._writing), timeout=_LEAVE)
        if late:
            self._stream.cancel()
            await asyncio.wait(late)

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def _write(self) -> None:
        try:
            while (message := self._message()) is not None or not self._over:
                if message is None:
                    self._news = self._loop.create_future()
                    await self._news
                else:
                    self.messages += 1
                    await self._stream.write(message.SerializeToString())
            await self._stream.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return  # whoever reads learns how it ended
        except BaseException:
            self._stream.cancel()  # nobody is to wait for what is never sent
            raise

    def _message(self) -> Calls | None:
        """Take what has queued, as far as there is room; None when that is nothing."""
        message, count, size = Calls(), 0, 0
        add, queue, sent = message.calls.add, self._queue, self._sent
        now = monotonic()
        while queue and count < _CALLS and size < _BYTES and len(sent) < self._most:
            number, waiting = queue.popitem(last=False)
            add(id=number, **told(request := waiting[0], now))
            sent[number] = waiting
            count += 1
            size += len(request.payload)
        if self._given_up:
            message.cancel.extend(self._given_up)
            self._given_up.clear()
        elif not count:
            return None
        self.calls += count
        return message

    async def _read(self) -> None:
        status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="the session has ended")
        sent, read = self._sent, self._stream.read
        try:
            while (raw := await read()) is not grpc.aio.EOF:
                for reply in Replies.FromString(raw).replies:
                    _, waiting = sent.pop(reply.id, _NOBODY)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(reply)
                if self._news is not None and self._queue:  # there is room again
                    self._tell()
        except grpc.aio.AioRpcError as error:
            status = await self._ended(error)
        except DecodeError:
            status = Status(code=grpc.StatusCode.INTERNAL.value[0], message="what it sends are no replies")
        finally:
            self._end(status)
            self._stream.cancel()

    async def _ended(self, error: grpc.aio.AioRpcError) -> Status:
        """Tell how the RPC has ended; where grpcio was writing then, it learns that a moment later."""
        pause, most = _UNMASKED
        looks = 0
        while error.details() == _MASKED and looks < most:
            await asyncio.sleep(pause)
            looks += 1
            try:
                await self._stream.read()
            except grpc.aio.AioRpcError as found:
                error = found
        return statuses.of_rpc(error)

    def _end(self, status: Status) -> None:
        """Tell everybody who waits; what was not sent can be asked for again."""
        if self._over:
            return
        self._over = True
        for request, reply in self._sent.values():
            if not reply.done():
                reply.set_exception(statuses.ended(status, request, self._url))
        for _, reply in self._queue.values():
            if not reply.done():
                reply.set_exception(self._unsent())
        self._given_up.extend(self._sent)
        self._sent.clear()
        self._queue.clear()
        self._tell()

    def _unsent(self) -> Unavailable:
        return Unavailable(self._url, "the session ended before this was sent", "unreachable", ran=False)


def told(request: Request, now: float) -> dict[str, Any]:
    """Give the fields of a call but its id; `now` is what `time.monotonic` says."""
    fields: dict[str, Any] = {"function": request.name, "encoding": ENCODING_MESSAGEPACK, "payload": request.payload}
    if request.verb == "submit":
        fields["timeout"] = request.timeout
    elif request.deadline is not None:
        fields["timeout"] = max(request.deadline - now, 1e-6)
    if request.version is not None:
        fields["version"] = request.version
    if request.headers:
        fields["headers"] = {name.lower(): said for name, said in request.headers.items()}
    return fields


_NOBODY: Final = (None, None)
