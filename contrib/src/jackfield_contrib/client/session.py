"""A session with a door for gRPC: the calls of many callers in each message, and the replies to them."""

import asyncio
from collections import deque
from time import monotonic
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from jackfield.errors import JackfieldError, Unavailable
from jackfield_contrib.client import statuses
from jackfield_contrib.client.messages import Request
from jackfield_contrib.grpc.functions_pb2 import ENCODING_MESSAGEPACK, Call, Calls, Replies

_CALLS: Final = 256  # of a message
_BYTES: Final = 256 * 1024  # after so many a message is sent
_UNDER_WAY: Final = 1_000  # as many as a door has under way before it reads no more; then it would hear of no end, too


class Session:
    """A stream of calls, which all callers of an event loop share.

    There is no timer: a message has what was asked for while the one before was written.

    Args:
        stream: of grpc.aio, without serializers; the door has begun to read it.
        url: of the door, for people.

    Attributes:
        calls: how many have been sent.
        messages: in how many messages.
    """

    def __init__(self, stream: Any, url: str) -> None:
        self._stream, self._url = stream, url
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[int, Request, asyncio.Future[Any]]] = deque()
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
        self._last = number = self._last + 1
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((number, request, reply))
        if self._news is not None:
            self._tell()
        try:
            found = await reply
        except asyncio.CancelledError:
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
        self._stream.cancel()
        await asyncio.wait((self._reading, self._writing))

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def _write(self) -> None:
        while not self._over:
            message = self._message()
            if message is None:
                self._news = self._loop.create_future()
                await self._news
                continue
            self.messages += 1
            try:
                await self._stream.write(message.SerializeToString())
            except (grpc.aio.BaseError, asyncio.InvalidStateError):  # it has ended, as whoever reads learns
                return

    def _message(self) -> Calls | None:
        """Take what has queued, as far as there is room; None when that is nothing."""
        message, count, size = Calls(), 0, 0
        add, queue, sent = message.calls.add, self._queue, self._sent
        now = monotonic()
        while queue and count < _CALLS and size < _BYTES and len(sent) < _UNDER_WAY:
            number, request, reply = queue.popleft()
            if reply.done():  # nobody waits for it any more
                continue
            fill(add(id=number), request, now)
            sent[number] = request, reply
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
            status = statuses.of_rpc(error)
        except DecodeError:
            status = Status(code=grpc.StatusCode.INTERNAL.value[0], message="what it sends are no replies")
        finally:
            self._end(status)
            self._stream.cancel()
            await self._stream.code()  # what grpcio has begun ends before the loop does, which may be why this ends

    def _end(self, status: Status) -> None:
        """Tell everybody who waits; what was not sent can be asked for again."""
        if self._over:
            return
        self._over = True
        for request, reply in self._sent.values():
            if not reply.done():
                reply.set_exception(self._error(status, request))
        for _, _, reply in self._queue:
            if not reply.done():
                reply.set_exception(Unavailable(self._url, "the session ended before it was sent", _AWAY, ran=False))
        self._sent.clear()
        self._queue.clear()
        self._tell()

    def _error(self, status: Status, request: Request) -> JackfieldError:
        if statuses.drains(status):
            return Unavailable(self._url, status.message, "stopped", ran=False)
        return statuses.error(status, request, self._url, ran=None)


def fill(call: Call, request: Request, now: float) -> Call:
    """Write what a call is; `now` is what `time.monotonic` says."""
    call.function = request.name
    call.encoding = ENCODING_MESSAGEPACK
    call.payload = request.payload
    if request.verb == "submit":
        if request.timeout is not None:
            call.timeout = request.timeout
    elif request.deadline is not None:
        call.timeout = max(request.deadline - now, 1e-6)
    if request.version is not None:
        call.version = request.version
    for name, said in request.headers.items():
        call.headers[name.lower()] = said
    return call


_NOBODY: Final = (None, None)
_AWAY: Final = "unreachable"
