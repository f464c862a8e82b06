"""Requests over gRPC: calls by one session that all callers share, everything else as an RPC of its own."""

import asyncio
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, Final

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from jackfield.errors import Unavailable
from jackfield_contrib.client import statuses
from jackfield_contrib.client.address import Address
from jackfield_contrib.client.messages import MOST_ROWS, Request
from jackfield_contrib.client.session import Session, told
from jackfield_contrib.client.transport import Tls
from jackfield_contrib.grpc.functions_pb2 import (
    ENCODING_MESSAGEPACK,
    Call,
    DescribeRequest,
    Description,
    Descriptions,
    ListSubmissionsRequest,
    Reply,
    Submission,
    SubmissionList,
    SubmissionRequest,
    SubmitRequest,
)

_SERVICE: Final = "/jackfield.v1.Functions/"
_SESSION: Final = "jackfield-session"
_DIGITS: Final = 10  # of a number that could be meant
_CONNECT: Final = 10.0  # seconds until a machine that does not answer at all counts as not there
_LARGE: Final = 256 * 1024  # bytes of a payload that goes by itself: in a session all others would wait behind it
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),  # in memory at once: whoever answers may be anybody
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),  # a name server has no say in what is tried again
    ("grpc.use_local_subchannel_pool", 1),  # a new channel connects at once, however long another one would wait
    # A machine that went away without a word is noticed after a minute; a door takes a ping each 30 s.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)

_first: int | None = None
"""The process that has used gRPC first: what grpcio has begun in it does not live in one that is forked from it."""


class OverGrpc:
    """Asks a door over gRPC.

    Args:
        address: where the door is.
        key: tells the door whose requests these are, or None.
        tls: how the door's certificate is checked, and what this side shows; by default what grpcio trusts.
    """

    def __init__(self, address: Address, key: str | None, tls: Tls) -> None:
        if tls is not None and not isinstance(tls, grpc.ChannelCredentials):
            fix = "give grpc.ssl_channel_credentials(root_certificates=…)"
            raise TypeError(f"for gRPC tls are grpc.ChannelCredentials, not {type(tls).__name__}: {fix}")
        self._address = address
        self._credentials = (tls or grpc.ssl_channel_credentials()) if address.secure else None
        self._metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._links: dict[asyncio.AbstractEventLoop, _Link] = {}

    async def ask(self, request: Request) -> Any:
        """Send a request, and give what the answer gives."""
        link = self._links.get(asyncio.get_running_loop()) or self._linked()
        session = link.session or await link.opened(request)
        if request.verb == "call" and len(request.payload) < _LARGE:
            return await session.call(request)
        return await link.alone(request)

    def _linked(self) -> "_Link":
        global _first  # noqa: PLW0603  # it is the process's
        if _first is None:
            _first = os.getpid()
        elif _first != os.getpid():
            reason = "gRPC was used by the process that this one was forked from, and cannot be here"
            fix = "fork before, start processes by `spawn`, or give a URL of HTTP"
            raise Unavailable(self._address.url, f"{reason}: {fix}", "blocked", ran=False)
        for other in [each for each in list(self._links) if each.is_closed()]:  # threads have loops at the same time
            self._links.pop(other, None)
        link = self._links[asyncio.get_running_loop()] = _Link(self._address, self._credentials, self._metadata)
        return link

    async def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
        here = asyncio.get_running_loop()
        while self._links:
            loop, link = self._links.popitem()
            if loop is here:
                await link.close()
            elif loop.is_running():
                with suppress(RuntimeError):  # it has been closed meanwhile
                    asyncio.run_coroutine_threadsafe(link.close(), loop)


class _Link:
    """The channel and the session of one event loop."""

    def __init__(
        self, address: Address, credentials: grpc.ChannelCredentials | None, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        self._address, self._credentials, self._metadata = address, credentials, metadata
        self._channel: grpc.aio.Channel | None = None
        self._channels: weakref.WeakSet[grpc.aio.Channel] = weakref.WeakSet()
        self._session: Session | None = None
        self._sessions: list[Session] = []  # those that drain, too
        self._opening: asyncio.Task[Status | None] | None = None

    @property
    def session(self) -> Session | None:
        """The session, or None when there is none that takes calls."""
        session = self._session
        return session if session is not None and session.open else None

    async def opened(self, request: Request) -> Session:
        """Open a session, unless somebody does so already."""
        while (session := self.session) is None:
            if self._opening is None:
                # Not in the context of whoever asks first, which a session would keep with all that it has.
                self._opening = asyncio.create_task(self._open(), name="jackfield-client-open", context=Context())
            try:
                failed = await asyncio.shield(self._opening)
            except asyncio.CancelledError:
                raise self._closed(ran=False) from None
            if failed is not None:
                raise statuses.error(failed, request, self._address.url, ran=False)
        return session

    async def _open(self) -> Status | None:
        """Open a session; give what was in the way, if anything was."""
        try:
            # A new one each time connects at once, where the one before would wait, longer and longer, to try again.
            # What is under way on that keeps it alive.
            channel = self._channel = self._made()
            self._channels.add(channel)
            stream: Any = channel.stream_stream(f"{_SERVICE}Session")(metadata=self._metadata)
            try:
                async with asyncio.timeout(_CONNECT):
                    most = await _begun(stream)
            except TimeoutError:
                failed = Status(code=_UNAVAILABLE, message=f"nothing answers within {_CONNECT:.0f} s")
            except grpc.aio.AioRpcError as error:
                failed = statuses.of_rpc(error)
            else:
                if most:
                    self._session = Session(stream, self._address.url, most)
                    self._sessions = [each for each in (*self._sessions, self._session) if not each.over]
                    return None
                failed = Status(code=_UNIMPLEMENTED, message="a session of it does not begin as those of jackfield do")
            stream.cancel()
            self._channel = None  # it would go on trying
            return failed
        finally:
            self._opening = None

    def _made(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address.base, options=_OPTIONS)
        return grpc.aio.secure_channel(self._address.base, self._credentials, options=_OPTIONS)

    async def alone(self, request: Request) -> Any:
        """Ask something by an RPC of its own."""
        method, made, kind, read = _RPCS[request.verb]
        channel = self._channel
        if channel is None:
            raise statuses.lost(self._address.url, "it has just been lost", ran=False)
        rpc: Any = channel.unary_unary(f"{_SERVICE}{method}", None, kind.FromString)
        try:
            answer = await rpc(made(request).SerializeToString(), metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise statuses.error(statuses.of_rpc(error), request, self._address.url, ran=None) from None
        except asyncio.CancelledError:
            raise self._closed(ran=None) from None
        return read(answer, request, self._address.url)

    def _closed(self, *, ran: bool | None) -> Unavailable:
        """Tell why something was cancelled: whoever waits was, or the client was closed."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return Unavailable(self._address.url, "the client was closed meanwhile", "unreachable", ran=ran)

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        sessions, self._sessions, self._session = self._sessions, [], None
        await asyncio.gather(*[each.close() for each in sessions])
        self._channel = None
        while self._channels:
            await self._channels.pop().close()


async def _begun(stream: Any) -> int:
    """Await the beginning of a session; give how many calls it takes at once, 0 when it is none."""
    said = (await stream.initial_metadata()).get(_SESSION, "")
    if said.isdecimal() and len(said) < _DIGITS:
        return int(said)
    await stream.read()  # it has ended: this raises how
    return 0


def _submit(request: Request) -> Message:
    return SubmitRequest(call=told(request, 0.0), key=request.key or "")


def _which(request: Request) -> Message:
    return SubmissionRequest(id=request.name, encoding=ENCODING_MESSAGEPACK, wait=request.wait)


def _submission(answer: Any, request: Request, url: str) -> Mapping[str, Any]:
    shown = {"id": answer.id, "function": answer.function, "status": answer.status, "cancelled": answer.cancelled}
    if answer.HasField("error"):
        return {**shown, "problem": statuses.problem(answer.error) or {"detail": answer.error.message}}
    return {**shown, "result": statuses.value(answer.result, request, url)} if answer.result else shown


def _rows(answer: Any, _request: Request, _url: str) -> list[dict[str, Any]]:
    optional = ("tenant", "key")
    return [
        {
            each.name: getattr(row, each.name) if each.name not in optional or row.HasField(each.name) else None
            for each in row.DESCRIPTOR.fields
        }
        for row in answer.submissions
    ]


def _functions(answer: Any, _request: Request, _url: str) -> list[dict[str, Any]]:
    return [_function(each) for each in answer.functions]


def _function(shown: Description) -> dict[str, Any]:
    return {"name": shown.name, "version": shown.version, "plugin": shown.plugin, "about": shown.about}


def _contract(answer: Any, request: Request, url: str) -> dict[str, Any]:
    try:
        (shown,) = answer.functions
        return {
            **_function(shown),
            "shape": shown.shape,
            "parameters": [
                {"name": each.name, "kind": each.kind, "required": each.required, "shown": each.shown}
                for each in shown.parameters
            ],
            "returns": shown.returns,
            "idempotent": shown.idempotent,
            "payload_schema": msgspec.json.decode(shown.payload_schema),
            "result_schema": msgspec.json.decode(shown.result_schema),
        }
    except (ValueError, RecursionError):
        reason = f"what it answered about {request.what} is not what a door of jackfield answers"
        raise Unavailable(url, reason, "protocol", ran=None) from None


_Rpc = tuple[str, Callable[[Request], Message], type[Message], Callable[[Any, Request, str], Any]]

_UNIMPLEMENTED: Final[int] = grpc.StatusCode.UNIMPLEMENTED.value[0]
_UNAVAILABLE: Final[int] = grpc.StatusCode.UNAVAILABLE.value[0]
_RPCS: Final[Mapping[str, _Rpc]] = {
    "call": (
        "Invoke",
        lambda request: Call(**told(request, monotonic())),
        Reply,
        lambda answer, request, url: statuses.value(answer.result, request, url),
    ),
    "submit": ("Submit", _submit, Submission, _submission),
    "submitted": ("GetSubmission", _which, Submission, _submission),
    "cancel": ("CancelSubmission", _which, Submission, _submission),
    "submissions": (
        "ListSubmissions",
        lambda request: ListSubmissionsRequest(function=request.name, status=request.status or "", limit=MOST_ROWS),
        SubmissionList,
        _rows,
    ),
    "functions": ("Describe", lambda _: DescribeRequest(), Descriptions, _functions),
    "describe": ("Describe", lambda request: DescribeRequest(function=request.name), Descriptions, _contract),
}
