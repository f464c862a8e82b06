"""Requests over HTTP: pooled connections, and each request as its answer."""

import asyncio
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from jackfield.errors import Unavailable
from jackfield_contrib.client import answers
from jackfield_contrib.client.address import Address
from jackfield_contrib.client.answers import Answer
from jackfield_contrib.client.messages import MOST_ROWS, Request
from jackfield_contrib.client.transport import Tls

_MESSAGEPACK: Final = "application/msgpack"
_CONNECT: Final = 10.0  # seconds until a machine that does not answer at all counts as not there
_IDLE: Final = 4.0  # seconds that a connection is kept: a door drops it after ten, a proxy sooner, at the wrong moment
_CONNECTIONS: Final = 100
_PEER_GONE: Final = ((15, "TCP_KEEPIDLE"), (5, "TCP_KEEPINTVL"), (3, "TCP_KEEPCNT"))
"""A machine that went away without a word is noticed after 30 s, though a call has no deadline."""


class OverHttp:
    """Asks a door over HTTP.

    Args:
        address: where the door is.
        key: tells the door whose requests these are, or None.
        tls: how the door's certificate is checked, and what this side shows; by default what the system trusts.
    """

    def __init__(self, address: Address, key: str | None, tls: Tls) -> None:
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise TypeError(f"for HTTP tls is an ssl.SSLContext, not {type(tls).__name__}")
        self._address, self._tls = address, tls
        self._headers = {"Accept": _MESSAGEPACK} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        self._pools: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def ask(self, request: Request) -> Any:
        """Send a request, and give what the answer gives."""
        answer = await self._exchange(request)
        if answer.ok:
            return answers.value(answer, request, self._address.url)
        raise answers.error(answer, request, self._address.url)

    async def _exchange(self, request: Request) -> Answer:
        headers = {**_headers(request), **self._headers}
        method, path = _line(request)
        url = URL(self._address.base + path, encoded=True)
        try:
            async with self._pool().request(
                method, url, data=request.payload or None, headers=headers, allow_redirects=False
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
        return Unavailable(self._address.url, reason, cause, ran=ran)

    def _pool(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in [each for each in list(self._pools) if each.is_closed()]:  # threads have loops at once
                if (left := self._pools.pop(other, None)) is not None:
                    _drop(left)
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

    async def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
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


def _line(request: Request) -> tuple[str, str]:
    """Give the method and the path below the door."""
    name = quote(request.name, safe="")
    match request.verb:
        case "call":
            return "POST", f"/v1/functions/{name}"
        case "submit":
            return "POST", f"/v1/submit/{name}"
        case "submitted" | "cancel":
            return "GET" if request.verb == "submitted" else "DELETE", f"/v1/calls/{name}"
        case "submissions":
            wanted = {"function": request.name, "limit": MOST_ROWS, "status": request.status}
            return "GET", f"/v1/calls?{urlencode({key: said for key, said in wanted.items() if said is not None})}"
        case "functions":
            return "GET", "/v1/functions"
        case "describe":
            return "GET", f"/v1/functions/{name}"


def _headers(request: Request) -> dict[str, str]:
    headers = dict(request.headers)
    if request.version is not None:
        headers["x-version"] = request.version
    if request.payload:
        headers["Content-Type"] = _MESSAGEPACK
    if request.key is not None:
        headers["Idempotency-Key"] = request.key
    if request.timeout is not None:
        headers["X-Timeout"] = repr(request.timeout)
    elif request.verb == "call" and request.deadline is not None:
        headers["X-Timeout"] = f"{max(request.deadline - monotonic(), 1e-6):.6f}"
    if request.wait >= 1.0:
        headers["Prefer"] = f"wait={request.wait:.0f}"  # RFC 7240
    return headers


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
