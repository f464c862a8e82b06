"""A small HTTP server for probes, on the control loop: whoever connects has bounds on how much and how long."""

import asyncio
import re
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.operations.probes import Answer, Probes
from jackfield.runtime.control import ControlLoop
from jackfield.stack import error_type, frames

_HEAD: Final = 16_384  # bytes of a request line with all headers
_NAME: Final = r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)"
_REQUEST: Final = re.compile(_NAME + r" ([!-~]+) (HTTP/[0-9]\.[0-9])")
_HEADER: Final = re.compile(_NAME + r":[ \t]*([^\r\n\0]*?)[ \t]*")
_BACKLOG: Final = 128
_GRACE: Final = 5.0  # seconds to disconnect everybody
_LEFT: Final = 1_048_576  # bytes of a body, or of further requests, that are read and dropped


class ProbeServer:
    r"""Serve `/metrics`, `/healthz` and `/readyz` of a host over HTTP/1.1; one request a connection.

    It speaks no TLS and knows nobody: listen on other addresses than loopback only where the network keeps strangers
    out, and with `Probes(names=False)`.

    Args:
        probes: answers.
        control: the loop that it runs on; by default one of its own.
        address: where to listen.
        port: which port; 0 is any free one.
        connections: how many clients may be connected at once; more get 503.
        patience: seconds that a client has to send its request, and to take a response.

    Attributes:
        port: where it listens.

    Examples:
        >>> from urllib.request import urlopen
        >>> from jackfield import Host
        >>> with Host(observers=()) as host, ProbeServer(Probes(host)) as server:
        ...     urlopen(f"http://127.0.0.1:{server.port}/healthz").read()
        b'{"status": "ok"}\n'
    """

    def __init__(
        self,
        probes: Probes,
        control: ControlLoop | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        connections: int = 64,
        patience: float = 10.0,
    ) -> None:
        self._probes = probes
        self._control = control or ControlLoop()
        self._owns = control is None
        self._address = address
        self.port = port
        self._most = connections
        self._patience = patience
        # All that follows belongs to the loop.
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        """How many are connected, those that are refused not counted."""
        return len(self._clients)

    def start(self) -> Self:
        """Listen.

        Returns:
            The server.

        Raises:
            Unavailable: if it cannot listen there, and why.
        """
        self._control.run(self._open())
        return self

    def close(self) -> None:
        """Stop listening and disconnect everybody; calling it again does nothing."""
        try:
            self._control.run(self._end(), _GRACE)
        except TimeoutError:
            host_log("WARNING", f"the server of metrics and probes has not ended within {_GRACE:g} s")
        if self._owns:
            self._control.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def _open(self) -> None:
        try:
            self._server = await asyncio.start_server(
                self._serve, self._address, self.port, limit=_HEAD, backlog=_BACKLOG
            )
        except OSError as error:
            reason = f"cannot listen on {self._address}:{self.port}: {error.strerror or error}: choose another port"
            raise Unavailable("metrics", f"{reason} (0 is any free one)") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        if clients:
            await asyncio.wait(clients)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine that runs has one
        if len(self._clients) >= self._most:
            # Said without waiting for a request, so that those beyond the bound hold nothing.
            writer.write(_response(_refusal(503, f"{self._most} clients are connected already")))
            writer.close()
            return
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (TimeoutError, OSError):  # it left, or takes nothing
            writer.transport.abort()
        except asyncio.CancelledError:  # the server closes
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001  # one client's fault must not end the server
            host_log("ERROR", f"a request for metrics or a probe failed: {error_type(error)}", stack=frames(error))
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._patience):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return
            answer = _refusal(400, "the request ends in the middle")
        except asyncio.LimitOverrunError:
            answer = _refusal(431, f"the headers are longer than {_HEAD} bytes")
        except TimeoutError:
            answer = _refusal(408, f"no whole request within {self._patience:g} s")
        else:
            answer = await self._answer(head)
        # With no buffer of ours in between, a drain ends when the system has taken everything.
        writer.transport.set_write_buffer_limits(0)
        writer.write(_response(answer))
        async with asyncio.timeout(self._patience):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            # What is unread when a socket closes makes the system reset it, and may take the response along.
            left = _LEFT
            while left > 0 and (dropped := await reader.read(left)):
                left -= len(dropped)

    async def _answer(self, head: bytes) -> Answer:
        request = _parsed(head[:-4].decode("latin-1"))
        if request is None:
            return _refusal(400, "this is no HTTP request")
        method, target, protocol, headers = request
        if protocol not in {"HTTP/1.0", "HTTP/1.1"}:
            return _refusal(505, "this speaks HTTP/1.1")
        return await self._probes.answer(method, target, headers)


def _parsed(head: str) -> tuple[str, str, str, dict[str, str]] | None:
    """Read method, target, protocol and headers, or None when they are not."""
    line, *fields = head.split("\r\n")
    request = _REQUEST.fullmatch(line)
    headers = [_HEADER.fullmatch(field) for field in fields]
    if request is None or not all(headers):
        return None
    method, target, protocol = request.groups()
    return method, target, protocol, {each[1].lower(): each[2] for each in headers if each is not None}


def _refusal(status: int, reason: str) -> Answer:
    body = f"{reason}\n".encode()
    return Answer(status, "text/plain; charset=utf-8", body, {"Content-Length": str(len(body))})


def _response(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += ["X-Content-Type-Options: nosniff", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body
