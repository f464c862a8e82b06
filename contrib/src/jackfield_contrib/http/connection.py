"""HTTP/1.1 over one connection: requests go to an ASGI application, each answer goes out in one piece.

It stands in the place of the protocols that uvicorn brings, for its server, which listens, keeps the certificates and
drains: they send the head of an answer and its body each by itself, check again what the application has made, and arm
a timer after each answer, which together takes as long as the rest of a request. What a request is httptools says.
"""

import asyncio
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from jackfield_contrib.http.cycle import Cycle
from jackfield_contrib.http.tls import client_of
from jackfield_contrib.identity import Memory

if TYPE_CHECKING:
    from jackfield_contrib.http.guard import Guard


def _refusal(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode("ascii")


_BROKEN: Final = _refusal("400 Bad Request")
_LARGE: Final = _refusal("431 Request Header Fields Too Large")
_FULL: Final = _refusal("503 Service Unavailable")

HEAD: Final = 65_536
"""The most bytes of a request's first line and headers, beyond what comes with the first of them."""

_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_MUCH: Final = 65_536  # bytes of a body that wait for the application before no more are read
_AHEAD: Final = 16  # requests that wait behind another before no more are read; who is not read is not seen to leave
_TRAILERS: Final[Any] = deque(maxlen=0)  # forgets what it is given
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        guard: bounds it.
        config: of uvicorn's server, with the application.
        server_state: of the server: its connections and tasks, and the headers that all answers have.
        app_state: what the application has said of itself when it began; none does.
        _loop: that serves it.

    Attributes:
        app: that answers.
        context: that each request has a copy of: none has what another has left in its own.
        cycle: the last request that has begun, and its answer.
        scope: of the request that is being read.
        headers: of the same.
        memory: what it is remembered by.
        reading: whether what the client sends is read.
        writable: ends when the client has read enough to be sent more; None while it does.
    """

    cycle: Cycle | None = None
    scope: dict[str, Any]
    headers: list[tuple[bytes, bytes]]
    transport: asyncio.Transport
    reading = True
    writable: asyncio.Future[None] | None = None
    _common: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")

    def __init__(
        self,
        guard: "Guard",
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002  # the server gives it by name
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.guard, self._got = guard, 0
        self.loop = _loop or asyncio.get_running_loop()
        self.context = copy_context()
        self.app: Any = config.loaded_app
        self.state = server_state
        self._trusted = config.forwarded_allow_ips
        self._behind: Any = None
        self._ending = False  # whether no further request is read
        self._parser: Any = httptools.HttpRequestParser(self)
        self._answering: Cycle | None = None
        self._waiting: deque[Cycle] = deque()  # requests that came before the one ahead of them was answered
        self.scope, self.headers, self.memory = {}, [], Memory()

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.state.connections.add(self)  # type: ignore[arg-type]  # one of its protocols, for all that it does
        where, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self._server = tuple(where[:2]) if isinstance(where, tuple) else None
        self._client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        secured = transport.get_extra_info("ssl_object")
        self._scheme = "http" if secured is None else "https"
        self._extensions = {} if secured is None else client_of(secured)
        if not self.guard.has_room():
            self._hang_up(_FULL)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # whyever it has gone
        """Tell whoever waits that the client has left."""
        self.state.connections.discard(self)
        self._parser = None
        for cycle in (self._answering, *self._waiting):
            if cycle is not None:
                cycle.leave()
        self._waiting.clear()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        if self._ending or self.transport.is_closing():  # nobody knows any more what it is
            return
        before = self.scope
        self._read(data)
        if self.scope is not before:  # a request has begun, with what may be the end of another
            self._got = 0
            return
        self._got += len(data)
        if self._got > HEAD:
            whole = "path" in self.scope
            if not whole or self._got > self.guard.most:
                self._hang_up(b"" if whole else _LARGE)

    def _hang_up(self, answer: bytes) -> None:
        """End the connection, with an answer if none has begun."""
        if answer and not self.transport.is_closing() and (self.cycle is None or self.cycle.complete):
            self.transport.write(answer)
            self.transport.close()
        else:
            self.transport.abort()

    def _read(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # We know of nothing to change to, and answer as if nobody had asked for it (RFC 9110, 7.8).
            self.shutdown()
            self._ending = True
        except httptools.HttpParserError:
            self._ending = True
            self._refuse()

    def _refuse(self) -> None:
        """Say that what has come is no request; those that came whole before it are answered first."""
        cycle = self.cycle
        if cycle is not None and not cycle.complete:
            if cycle.whole:
                return
            if self._waiting:
                self._waiting.pop()
                return
        if cycle is None or cycle.complete or not cycle.begun:
            self.transport.write(_BROKEN)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self._url = b""
        self._expects = self._forwarded = False
        self.headers = []
        self.scope = {}

    def on_url(self, url: bytes) -> None:
        """Read a part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read one of its headers."""
        name = name.lower()
        self.headers.append((name, value))
        if name in _FORWARDED:
            self._forwarded = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self._expects = True

    def on_headers_complete(self) -> None:
        """Give the request to the application, or have it wait for the one before it."""
        parser, url = self._parser, self._url
        path, query = url, b""
        if url[:1] != b"/" or b"#" in url:
            parsed = httptools.parse_url(url)
            path, query = parsed.path or b"/", parsed.query or b""
        elif b"?" in url:
            path, _, query = url.partition(b"?")
        text = path.decode("ascii")
        version = parser.get_http_version()
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": self._scheme,
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self._client,
            "server": self._server,
            "extensions": self._extensions,
        }
        self.headers = _TRAILERS  # which is what the parser takes for headers from now on; they enter nothing
        ahead = self.cycle
        cycle = self.cycle = Cycle(self, self.scope, keep=version != "1.0" and parser.should_keep_alive())
        cycle.expects = self._expects and version != "1.0"  # which has no such word
        if self._forwarded:  # by a proxy, which is believed if it is one of ours
            if self._behind is None:
                self._behind = ProxyHeadersMiddleware(self.app, self._trusted)
            cycle.app = self._behind
        if ahead is None or ahead.complete:
            self._answering = cycle
            cycle.start()
        else:
            self._waiting.append(cycle)
            if len(self._waiting) >= _AHEAD:
                self.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Read a part of its body."""
        cycle = self.cycle
        assert cycle is not None  # noqa: S101  # a body comes after its headers
        if not cycle.complete and cycle.feed(body) > _MUCH:
            self.pause_reading()

    def on_message_complete(self) -> None:
        """Tell that the request is whole."""
        assert self.cycle is not None  # noqa: S101  # as above
        self.cycle.end()

    def common_headers(self) -> bytes:
        """Give what the heads of all answers have, which is the date."""
        said, written = Connection._common
        if said is not self.state.default_headers:  # the server makes them anew each second
            said = self.state.default_headers
            written = b"".join(b"%s: %s\r\n" % line for line in said)
            Connection._common = said, written
        return written

    def answered(self, cycle: Cycle) -> None:
        """Go on with the next request, when an answer has been sent.

        Args:
            cycle: that has been answered.
        """
        self.state.total_requests += 1
        if not cycle.keep:
            self.transport.close()
        elif self._waiting:
            self._answering = self._waiting.popleft()
            self._answering.start()
            self.resume_reading()
        elif self._ending:
            self.transport.close()
        elif not self.reading:
            self.resume_reading()

    def shutdown(self) -> None:
        """Close as soon as what has been asked for is answered."""
        if self.cycle is None or self.cycle.complete:
            self.transport.close()
        else:
            self.cycle.keep = False

    def pause_reading(self) -> None:
        """Read no more of what the client sends, until somebody asks for it."""
        if self.reading:
            self.reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.reading and len(self._waiting) < _AHEAD and not self.transport.is_closing():
            self.reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Keep the application from sending more than the client reads."""
        if self.writable is None:
            self.writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """Let it send again."""
        if self.writable is not None:
            if not self.writable.done():
                self.writable.set_result(None)
            self.writable = None
