"""How requests get to a door: pooled connections, a deadline that holds, and another try where that is safe."""

import asyncio
import os
import random
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import aiohttp
from yarl import URL

from jackfield.errors import DeadlineExceeded, Unavailable
from jackfield_contrib.client import answers
from jackfield_contrib.client.address import Address
from jackfield_contrib.client.answers import Answer
from jackfield_contrib.client.messages import MESSAGEPACK, Request

_ATTEMPTS: Final = 3
_PAUSE: Final = 0.05  # seconds before the second attempt; twice as long before the next
_CONNECT: Final = 10.0  # seconds until a machine that does not answer at all counts as not there
_IDLE: Final = 4.0  # seconds that a connection is kept: a door drops it after five, and would do so at the wrong moment
_CONNECTIONS: Final = 100
_PEER_GONE: Final = ((15, "TCP_KEEPIDLE"), (5, "TCP_KEEPINTVL"), (3, "TCP_KEEPCNT"))
"""A machine that went away without a word is noticed after 30 s, though a call has no deadline."""


class Transport:
    """Sends requests to a door.

    An event loop that asks has connections of its own.

    Args:
        address: where the door is.
        key: tells the door whose requests these are, or None.
        tls: how the door's certificate is checked, and what this side shows; by default what the system trusts.
    """

    def __init__(self, address: Address, key: str | None, tls: ssl.SSLContext | None) -> None:
        self.url: Final = address.url
        self._address, self._tls = address, tls
        self._headers = {"Accept": MESSAGEPACK} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        self._pools: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._process = os.getpid()
        self._closed = False

    async def exchange(self, request: Request) -> Answer:
        """Ask something, and await the answer.

        Raises:
            JackfieldError: what the call raised there.
            DeadlineExceeded: when the time is up; then the door learns that nobody waits any more.
            Unavailable: when there was no answer; `ran` is False when the door cannot have had the request.
        """
        self.check()
        if request.deadline is None:
            return await self._tries(request)
        left = request.deadline - monotonic()
        if left <= 0:
            raise DeadlineExceeded(request.what, -left, "it was not sent")
        try:
            async with asyncio.timeout(left):
                return await self._tries(request)
        except TimeoutError:
            overdue = monotonic() - request.deadline
            raise DeadlineExceeded(request.what, overdue, "no answer came; the door is told") from None

    async def _tries(self, request: Request) -> Answer:
        attempt = 1
        while True:
            try:
                answer = await self._once(request)
                if answer.ok:
                    return answer
                raise answers.error(answer, request, self.url)
            except Unavailable as error:
                pause = _PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
                late = request.deadline is not None and monotonic() + pause >= request.deadline
                if attempt == _ATTEMPTS or late or self._closed or not _again(request, error):
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _once(self, request: Request) -> Answer:
        headers = {**request.headers, **self._headers}
        if request.tells_time and request.deadline is not None:
            headers["X-Timeout"] = f"{max(request.deadline - monotonic(), 1e-6):.6f}"
        url = URL(self._address.base + request.path, encoded=True)
        try:
            async with self._pool().request(
                request.method, url, data=request.body or None, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
                said = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, said, body)
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._lost("protocol", f"its certificate is not to be trusted: {error}", ran=False) from error
        except aiohttp.ClientSSLError as error:
            raise self._lost("protocol", f"TLS cannot be spoken with it: {error}", ran=False) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = f"no connection to it: {getattr(error, 'strerror', None) or error}"
            raise self._lost("unreachable", f"{reason}: does it run, and is the URL right?", ran=False) from error
        except aiohttp.ClientResponseError as error:
            raise self._lost("protocol", f"what it answered is no HTTP: {error.message}", ran=None) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = "the connection was lost before the answer came"
            raise self._lost("unreachable", f"{reason} ({type(error).__name__})", ran=None) from error

    def _lost(self, cause: str, reason: str, *, ran: bool | None) -> Unavailable:
        return Unavailable(self.url, reason, cause, ran=ran)

    def check(self) -> None:
        """Refuse a client that is closed, or another process's.

        Raises:
            Unavailable: with what to do.
        """
        if os.getpid() != self._process:
            reason = "the client was made by the process that this one was forked from: make another here"
            raise Unavailable(self.url, reason, "unreachable", ran=False)
        if self._closed:
            raise Unavailable(self.url, "the client has been closed: make another", "unreachable", ran=False)

    def _pool(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in [each for each in self._pools if each.is_closed()]:
                _drop(self._pools.pop(other))
            pool = self._pools[loop] = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
                max_line_size=65_536,
                max_field_size=65_536,
            )
        return pool

    def _connector(self) -> aiohttp.BaseConnector:
        if self._address.socket is not None:
            return aiohttp.UnixConnector(self._address.socket, limit=_CONNECTIONS, keepalive_timeout=_IDLE)
        return aiohttp.TCPConnector(
            ssl=self._tls or True, limit=_CONNECTIONS, keepalive_timeout=_IDLE, socket_factory=_socket
        )

    def shut(self) -> None:
        """Take no more requests."""
        self._closed = True

    async def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
        self.shut()
        if os.getpid() != self._process:  # they are the other process's
            return
        here = asyncio.get_running_loop()
        while self._pools:
            loop, pool = self._pools.popitem()
            if loop is here:
                await pool.close()
            elif loop.is_running():
                with suppress(RuntimeError):  # it has been closed meanwhile
                    asyncio.run_coroutine_threadsafe(pool.close(), loop)
            else:
                _drop(pool)


def _again(request: Request, error: Unavailable) -> bool:
    """Tell whether another try is safe, and may help: the function has not run, or asking twice does no harm."""
    if error.cause == "protocol":
        return False
    return error.ran is False or (request.repeatable and error.cause == "unreachable")


def _drop(pool: aiohttp.ClientSession) -> None:
    """Let go of connections whose loop is over: nothing of it can be awaited any more."""
    connector = pool.connector
    pool.detach()
    if connector is not None:
        connector.__exit__(None, None, None)  # what `close` does before it waits


def _socket(found: Any) -> socket.socket:
    family, kind, protocol, _, _ = found
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for value, name in _PEER_GONE:
        if (option := getattr(socket, name, None)) is not None:  # not every system has each
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
