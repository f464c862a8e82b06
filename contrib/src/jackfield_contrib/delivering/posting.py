"""One POST to an address that was looked at: resolved once, checked, and connected to as it is."""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import attrs
import httpcore

from jackfield_contrib.delivering.addresses import is_public

TIMEOUT: Final = 20.0
"""Seconds that all of it may take."""

_STEP: Final = 10.0  # and connecting, sending, and waiting for the head of the answer, each


class NotPublic(Exception):
    """An address is of this machine or a private network, and that was not said."""


@attrs.frozen
class Answer:
    """What a receiver has said; nobody looks at more of it.

    Attributes:
        status: the HTTP status.
        retry_after: the header of that name, "" for none.
    """

    status: int
    retry_after: str = ""


async def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> Answer:
    """Send one request, to nobody else than the address says; no proxy, no redirect, no body is read.

    Args:
        url: of the configuration.
        body: what is sent.
        headers: beside the length.
        private: whether the address may be of this machine or a private network.

    Raises:
        NotPublic: if it is, and may not.
        OSError: if nobody is there, or it takes too long: `TimeoutError`, or what httpcore tells as such.
    """
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=_Checked(private)) as pool,
            pool.stream(
                "POST",
                url,
                headers=[("Host", _host(url)), ("Content-Length", str(len(body))), *headers.items()],
                content=body,
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _STEP)},
            ) as response,
        ):
            said = {name.lower(): value for name, value in response.headers}
            return Answer(response.status, said.get(b"retry-after", b"").decode("latin-1"))
    except httpcore.TimeoutException as error:
        raise TimeoutError("it has not answered in time") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable) as error:
        raise OSError(str(error) or type(error).__name__) from error


def _host(url: str) -> str:
    parts = httpcore.URL(url)
    name = parts.host.decode("ascii")
    shown = f"[{name}]" if ":" in name else name
    return shown if parts.port is None else f"{shown}:{parts.port}"


@cache
def _tls() -> ssl.SSLContext:
    """Trust whom the system trusts, or the variables of OpenSSL say: reading them takes some 20 ms."""
    return ssl.create_default_context()


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to what a name resolves to, if that may be: the connection is to the very address that was checked."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # as in the class that it implements
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception = httpcore.ConnectError("it has no address")
        for address in await self._addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"its name cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        allowed = [address for address in addresses if self._private or is_public(address)]
        if addresses and not allowed:
            raise NotPublic(addresses[0])
        return allowed
