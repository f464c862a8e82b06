"""The service `jackfield.v1.Functions`: which RPC does what."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from jackfield import Host
from jackfield.errors import JackfieldError
from jackfield_contrib.grpc import messages, statuses
from jackfield_contrib.grpc.access import Access, Asker, Context
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.calling import Calling
from jackfield_contrib.grpc.describing import Describing
from jackfield_contrib.grpc.functions_pb2 import (
    DESCRIPTOR,
    Call,
    Calls,
    DescribeRequest,
    ListSubmissionsRequest,
    Replies,
    Reply,
    SubmissionRequest,
    SubmitRequest,
)
from jackfield_contrib.grpc.session import Session, Unread
from jackfield_contrib.grpc.submitting import Submitting
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.identity import Authenticate

M = TypeVar("M", bound=Message)

NAME: Final[str] = DESCRIPTOR.services_by_name["Functions"].full_name
"""Of the service."""

SESSION: Final = "jackfield-session"
"""The metadata that a session begins with: how many of its calls may be under way."""

_AGAIN: Final = 1.0  # seconds after which a session is asked again whose it is: keys end


class Functions:
    """Answers the RPCs of the service, for a server of grpc.aio.

    Args:
        host: whose functions; it is started and stopped by whoever made it.
        bounds: of messages and sessions.
        authenticate: tells from an RPC's metadata, by name in lower case, which tenant it is of, or None; by default
            what the host's configuration says of keys and tokens. As soon as the host has tenants, an RPC of none is
            `UNAUTHENTICATED`.
        strangers: whether others than this machine can come; then an RPC of none is so without tenants, too.
    """

    def __init__(
        self,
        host: Host,
        *,
        bounds: Bounds | None = None,
        authenticate: Authenticate | None = None,
        strangers: bool = False,
    ) -> None:
        self._bounds = bounds or Bounds()
        self._access, self._calling = Access(host, authenticate, strangers=strangers), Calling(host, self._bounds)
        self._submitting, self._describing = Submitting(host, self._access, self._bounds), Describing(host)
        self._sessions: set[Session] = set()
        self._peers: Counter[str] = Counter()
        self._under_way = self._answered = 0
        self._draining = False

    def add_to(self, server: "grpc.aio.Server") -> None:
        """Have a server of grpc.aio answer this service, before it starts."""
        later, about = self._submitting, self._describing
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Invoke": self._unary("Invoke", Call, self._invoke),
            "InvokeBatch": self._unary("InvokeBatch", Calls, self._invoke_batch),
            "Session": grpc.stream_stream_rpc_method_handler(self._session, None, None),
            "Submit": self._unary("Submit", SubmitRequest, lambda request, asker, _: later.submit(request, asker)),
            "GetSubmission": self._unary(
                "GetSubmission", SubmissionRequest, lambda request, asker, _: later.show(request, asker)
            ),
            "CancelSubmission": self._unary(
                "CancelSubmission", SubmissionRequest, lambda request, asker, _: later.cancel(request, asker)
            ),
            "ListSubmissions": self._unary(
                "ListSubmissions", ListSubmissionsRequest, lambda request, asker, _: later.each(request, asker)
            ),
            "Describe": self._unary(
                "Describe", DescribeRequest, lambda request, asker, _: about.describe(request, asker)
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def drain(self) -> None:
        """End sessions as soon as the calls that they have sent are answered; they take no more."""
        self._draining = True
        for session in self._sessions:
            session.drain()

    def stats(self) -> dict[str, int]:
        """Tell what goes on: connections with anything under way, calls that are, and how many have been answered."""
        sessions = tuple(self._sessions)
        return {
            "connections": len(self._peers),
            "under_way": self._under_way + sum(session.under_way for session in sessions),
            "requests": self._answered + sum(session.answered for session in sessions),
        }

    def _left(self, peer: str) -> None:
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    def _unary(
        self, name: str, kind: type[M], answer: Callable[[M, Asker, float | None], Awaitable[Message]]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """Make the handler of an RPC of one message each way.

        Args:
            name: of the RPC.
            kind: of the request.
            answer: called with the request, who asks, and the seconds that remain or None.
        """
        read = self._calls if kind is Calls else messages.one

        async def handler(_requests: object, context: Context) -> bytes:
            self._under_way += 1
            self._peers[peer := context.peer()] += 1
            try:
                asker = self._access.asker(context, name, perf_counter())
                request = read(kind, await self._message(context))
                made = await answer(request, asker, context.time_remaining())
                return made.SerializeToString()
            except (JackfieldError, Refused) as error:
                _end(context, statuses.of(error))
                return b""  # which grpcio drops
            finally:
                self._under_way -= 1
                self._answered += 1
                self._left(peer)

        # Requests come as bytes: grpcio would tell a client nothing but UNKNOWN of those that are no message. And it
        # would read the message of an RPC of one before anybody has asked whose it is: thousands of them, of any size.
        return grpc.stream_unary_rpc_method_handler(handler, None, None)

    async def _message(self, context: Context) -> bytes:
        """Read the message of an RPC of one.

        Raises:
            Refused: if there is none, or it does not come.
        """
        try:
            async with asyncio.timeout(self._bounds.patience):
                raw = await context.read()
        except TimeoutError:
            raise Refused(408, f"the message has not come within {self._bounds.patience:g} s") from None
        if raw is grpc.aio.EOF:
            raise Refused(400, "there is no message")
        return bytes(raw)

    def _calls(self, _kind: object, raw: bytes) -> Any:
        return messages.many(raw, self._bounds.batch)

    async def _invoke(self, call: Call, asker: Asker, left: float | None) -> Reply:
        return Reply(id=call.id, result=await self._calling.result(call, asker, left))

    async def _invoke_batch(self, message: Calls, asker: Asker, left: float | None) -> Replies:
        """Answer each call by itself, in their order."""
        until = None if left is None else monotonic() + left
        places = asyncio.Semaphore(self._bounds.parallel)

        async def each(call: Call) -> tuple[bytes, Status | None]:
            async with places:
                return await self._calling.reply(call, asker, None if until is None else until - monotonic())

        replies = Replies()
        ended = await asyncio.gather(*map(each, message.calls))
        for call, (result, failed) in zip(message.calls, ended, strict=True):
            replies.replies.add(id=call.id, result=result, error=failed)
        return replies

    async def _session(self, _requests: object, context: Context) -> None:
        try:
            asker, since = self._access.asker(context, "Session"), monotonic()
        except (JackfieldError, Refused) as error:
            _end(context, statuses.of(error))
            return
        # So a client knows that it has a session before it sends a call.
        await context.send_initial_metadata(((SESSION, str(self._bounds.session)),))

        def ask() -> Asker:
            nonlocal asker, since
            if monotonic() - since > _AGAIN:
                asker, since = self._access.asker(context, "Session"), monotonic()
            return asker

        session = Session(context, self._calling, ask, self._bounds)
        self._sessions.add(session)
        if self._draining:
            session.drain()
        self._peers[peer := context.peer()] += 1
        try:
            status = await session.run()
        except Unread:
            status = statuses.unread(self._bounds.patience)
        finally:
            self._sessions.discard(session)
            self._answered += session.answered
            self._left(peer)
        if status is not None:
            _end(context, status)


def _end(context: Context, status: Status) -> None:
    """Have an RPC end with a status. grpcio's `abort` would leave a cycle of its context and what it raises."""
    told = statuses.trailing(status)
    context.set_code(told.code)
    context.set_details(told.details)
    context.set_trailing_metadata(told.trailing_metadata)
