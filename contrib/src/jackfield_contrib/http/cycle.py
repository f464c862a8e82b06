"""One request that has come over a connection, and its answer: what ASGI calls `receive` and `send`."""

import asyncio
import logging
from collections.abc import Collection, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jackfield_contrib.http.connection import Connection

Lines = Collection[tuple[bytes, bytes]]

_log: Final = logging.getLogger(__name__)

_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus} | {499: "Client Closed Request"}  # a cancelled call
_STATUS: Final = {code: b"HTTP/1.1 %d %s\r\n" % (code, said.encode("ascii")) for code, said in _PHRASES.items()}
_BODYLESS: Final = frozenset({204, 304})
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_LEFT: Final = {"type": "http.disconnect"}


class Gone(Exception):
    """The client went away."""


class Cycle:
    """A request and its answer.

    A block in it, `with cycle:`, is cancelled when the client goes away, and then ends with `Gone`.

    Args:
        connection: that it has come over.
        scope: of ASGI.
        keep: whether the connection is for further requests.

    Attributes:
        app: that answers it.
        begun: whether the answer has.
        complete: whether it has been answered.
        disconnected: whether the client has left before.
        expects: whether the client waits for a word before it sends the body.
        memory: of the connection.
        keep: as given; an answer may say otherwise.
        whole: whether all of the request has come.
    """

    __slots__ = (
        "_body", "_bodyless", "_chunked", "_connection", "_given", "_head", "_left", "_scope", "_task", "_waiter",
        "_watched", "app", "begun", "complete", "disconnected", "expects", "keep", "memory", "whole",
    )  # fmt: skip

    def __init__(self, connection: "Connection", scope: dict[str, Any], *, keep: bool) -> None:
        self._connection, self._scope, self.keep = connection, scope, keep
        self.app, self.memory = connection.app, connection.memory
        self.complete = self.disconnected = self.expects = False
        self._body, self.whole, self._given = b"", False, False
        self._waiter: asyncio.Future[None] | None = None
        self.begun = self._chunked = False
        self._head = b""
        self._left: int | None = None  # bytes of the body; None where its length is not known
        self._watched = False

    def start(self) -> None:
        """Have the application answer."""
        connection = self._connection
        # Not in the context that runs here, which may be that of the request before it.
        self._task = connection.loop.create_task(self._run(), context=connection.context.copy())
        connection.state.tasks.add(self._task)

    async def _run(self) -> None:
        try:
            await self.app(self._scope, self.receive, self.send)
            if not self.complete and not self.disconnected:
                raise RuntimeError("the application ended without an answer")  # noqa: TRY301  # as one that raises
        except asyncio.CancelledError:
            self._connection.transport.close()
            raise
        except Exception:  # noqa: BLE001  # whatever it is, its client gets an answer, and the log the reason
            _log.exception("a request has failed in the door itself")
            if self.begun:
                self._connection.transport.close()
            else:
                lines = [(b"content-length", b"0"), (b"connection", b"close")]
                await self.send({"type": "http.response.start", "status": 500, "headers": lines})
                await self.send({"type": "http.response.body"})
        finally:
            self._connection.state.tasks.discard(self._task)

    def feed(self, body: bytes) -> int:
        """Take a part of the body, and tell how many bytes wait for the application."""
        self._body = self._body + body if self._body else body
        self._wake()
        return len(self._body)

    def end(self) -> None:
        """Take it that the body is whole."""
        self.whole = True
        self._wake()

    def leave(self) -> None:
        """Take it that the client has left."""
        if not self.complete:
            self.disconnected = True
            if self._watched:
                self._task.cancel()
        self._wake()

    def __enter__(self) -> None:
        """Be cancelled from now on when the client leaves."""
        if self.disconnected:
            raise Gone
        self._watched = True
        self._connection.resume_reading()  # else nobody would see it leave

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Go on, whether or not the client leaves."""
        self._watched = False
        if self.disconnected and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise Gone

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def taken(self) -> bytes | None:
        """Give the body, if all of it is here and nobody has had a part of it, without waiting."""
        if not self.whole or self._given or self.disconnected or self.complete:
            return None
        self._given, body, self._body = True, self._body, b""
        return body

    async def receive(self) -> MutableMapping[str, Any]:
        """Wait for the next part of the body, then for the client to leave; for one task at a time."""
        if self.expects and not self.whole and not self.begun:
            self.expects = False
            self._connection.transport.write(_CONTINUE)
        while not (self.disconnected or self.complete):
            if self._body or (self.whole and not self._given):
                body, self._body, self._given = self._body, b"", self.whole
                return {"type": "http.request", "body": body, "more_body": not self.whole}
            self._connection.resume_reading()
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return _LEFT

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer; the head of one whose length is known goes with its body.

        Raises:
            RuntimeError: when the application has it wrong.
        """
        connection = self._connection
        while connection.writable is not None and not self.disconnected:
            await asyncio.shield(connection.writable)  # who gives up waiting does not end it for others
        if connection.transport.is_closing():  # it is told so a little later, and to write by then an error of uvloop's
            self.leave()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.begun:
            self._start(message["status"], message["headers"])
        elif kind == "http.response.body" and self.begun and not self.complete:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} is not what comes next in an answer")

    def answer(self, status: int, headers: Lines, body: bytes) -> bool:
        """Send a whole answer, if that can be done without waiting.

        Args:
            status: of HTTP.
            headers: the length of the body among them.
            body: for a `HEAD` what would be there.

        Returns:
            Whether it is done; if not, `send` does it.
        """
        connection = self._connection
        if connection.writable is not None or self.disconnected or self.begun or connection.transport.is_closing():
            return False
        self._start(status, headers)
        self._go_on(body, more=False)
        return True

    def _start(self, status: int, headers: Lines) -> None:
        lines, count = [_STATUS[status], self._connection.common_headers()], len(headers) + 3
        if self._connection.guard.leaving or (self.expects and not self.whole):  # nobody knows if the body comes
            self.keep = False
        closing, length = not self.keep, None
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value == b"close":
                self.keep = closing = False  # it says so itself
        if closing:
            lines.append(_CLOSE)
            count += 1
        self._bodyless = status in _BODYLESS or self._scope["method"] == "HEAD"
        endless = length is None and not self._bodyless
        self._chunked = endless and self._scope["http_version"] != "1.0"  # there it ends with the connection
        if self._chunked:
            lines.append(_CHUNKED)
            count += 1
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != count or head.count(b"\r") != count:  # one of them would be two
            raise RuntimeError("a header of an answer is one line")
        self.begun, self._left = True, length
        if endless:
            self._connection.transport.write(head)
        else:
            self._head = head

    def _go_on(self, body: bytes, *, more: bool) -> None:
        transport = self._connection.transport
        if self._chunked:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            if not more:
                parts.append(b"0\r\n\r\n")
            if parts:
                transport.write(b"".join(parts))
        elif self._bodyless:
            transport.write(self._head)
            self._head = b""
        else:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("an answer is as long as it says")
            transport.write(self._head + body)
            self._head = b""
        if not more:
            self.complete = True
            self._wake()
            self._connection.answered(self)
