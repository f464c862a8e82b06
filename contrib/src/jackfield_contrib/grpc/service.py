"""The service `jackfield.v1.Functions`: which RPC does what."""

import asyncio
from time import monotonic
from typing import Any, Final

import grpc
from google.rpc.status_pb2 import Status

from jackfield import Host
from jackfield.errors import JackfieldError
from jackfield_contrib.grpc import messages, statuses
from jackfield_contrib.grpc.access import Access, Asker, Context
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.calling import Calling
from jackfield_contrib.grpc.functions_pb2 import DESCRIPTOR, Call, Replies, Reply
from jackfield_contrib.grpc.session import Session, Unread
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.identity import Authenticate

NAME: Final[str] = DESCRIPTOR.services_by_name["Functions"].full_name
"""Of the service."""

_AGAIN: Final = 1.0  # seconds after which a session is asked again whose it is: keys end


class Functions:
    """Answers the RPCs of the service, for a server of grpc.aio.

    Args:
        host: whose functions; it is started and stopped by whoever made it.
        bounds: of messages and sessions.
        authenticate: tells from an RPC's metadata, by name in lower case, which tenant it is of, or None; by default
            what the host's configuration says of keys and tokens. As soon as the host has tenants, an RPC of none is
            `UNAUTHENTICATED`.
    """

    def __init__(self, host: Host, *, bounds: Bounds | None = None, authenticate: Authenticate | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._access, self._calling = Access(host, authenticate), Calling(host, self._bounds)
        self._sessions: set[Session] = set()
        self._draining = False

    def add_to(self, server: "grpc.aio.Server") -> None:
        """Have a server of grpc.aio answer this service, before it starts."""
        # Requests come as bytes: grpcio would tell a client nothing but UNKNOWN of those that are no message.
        unary = grpc.unary_unary_rpc_method_handler
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Invoke": unary(self.invoke, None, Reply.SerializeToString),
            "InvokeBatch": unary(self.invoke_batch, None, Replies.SerializeToString),
            "Session": grpc.stream_stream_rpc_method_handler(self.session, None, None),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def drain(self) -> None:
        """End sessions as soon as the calls that they have sent are answered; they take no more."""
        self._draining = True
        for session in self._sessions:
            session.drain()

    async def invoke(self, raw: bytes, context: Context) -> Reply:
        """Answer `Invoke`."""
        name = ""
        try:
            call = messages.one(raw)
            name = call.function
            result = await self._calling.result(
                call, self._access.asker(context, f"Invoke {name}"), context.time_remaining()
            )
            return Reply(id=call.id, result=result)
        except (JackfieldError, Refused) as error:
            status = statuses.of(error)
        except TypeError:  # of a result that has no form
            status = statuses.formless(name)
        except ValueError as error:  # a timeout beyond what the system can wait for
            status = statuses.of_request(Refused(400, str(error)))
        _end(context, status)
        return Reply()  # which grpcio drops

    async def invoke_batch(self, raw: bytes, context: Context) -> Replies:
        """Answer `InvokeBatch`: each call by itself."""
        try:
            calls = messages.many(raw, self._bounds.batch).calls
            asker = self._access.asker(context, "InvokeBatch")
        except (JackfieldError, Refused) as error:
            _end(context, statuses.of(error))
            return Replies()  # as above
        left = context.time_remaining()
        until = None if left is None else monotonic() + left
        places = asyncio.Semaphore(self._bounds.parallel)

        async def each(call: Call) -> tuple[bytes, Status | None]:
            async with places:
                return await self._calling.reply(call, asker, None if until is None else until - monotonic())

        replies = Replies()
        for call, (result, failed) in zip(calls, await asyncio.gather(*map(each, calls)), strict=True):
            replies.replies.add(id=call.id, result=result, error=failed)
        return replies

    async def session(self, _requests: object, context: Context) -> None:
        """Answer `Session`."""
        try:
            asker, since = self._access.asker(context, "Session"), monotonic()
        except (JackfieldError, Refused) as error:
            _end(context, statuses.of(error))
            return

        def ask() -> Asker:
            nonlocal asker, since
            if monotonic() - since > _AGAIN:
                asker, since = self._access.asker(context, "Session"), monotonic()
            return asker

        session = Session(context, self._calling, ask, self._bounds)
        self._sessions.add(session)
        if self._draining:
            session.drain()
        try:
            status = await session.run()
        except Unread:
            status = statuses.unread(self._bounds.patience)
        finally:
            self._sessions.discard(session)
        if status is not None:
            _end(context, status)


def _end(context: Context, status: Status) -> None:
    """Have an RPC end with a status. grpcio's `abort` would leave a cycle of its context and what it raises."""
    told = statuses.trailing(status)
    context.set_code(told.code)
    context.set_details(told.details)
    context.set_trailing_metadata(told.trailing_metadata)
