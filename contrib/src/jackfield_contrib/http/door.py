"""The door: a server of the application, on the host's home loop."""

import asyncio
import errno
import math
import os
import socket
import stat
from pathlib import Path
from typing import Final

import uvicorn

from jackfield import Host, Probes
from jackfield.config import HttpDoorConfig
from jackfield.config.doors_check import is_loopback
from jackfield.errors import Unavailable
from jackfield_contrib.http.app import asgi
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.protocol import Guard
from jackfield_contrib.http.tls import Renewed, certified
from jackfield_contrib.identity import Identity
from jackfield_contrib.identity.certificates import unusable

_BACKLOG: Final = 2_048
_LEFT: Final = 1.0  # seconds in which requests tell their clients that they have been cancelled
_LOOK: Final = 0.05  # seconds between two looks whether the server has begun


class HttpDoor:
    """Serves a host's functions over HTTP/1.1 while it is open.

    Args:
        host: whose.
        settings: where it listens.
        probes: what it answers to those who watch; by default those of the host, without names.
        bounds: of requests and connections.

    Attributes:
        address: where it listens, as a URL; of a Unix socket `unix:` and its path.
    """

    def __init__(
        self, host: Host, settings: HttpDoorConfig, probes: Probes | None = None, bounds: Bounds | None = None
    ) -> None:
        self._host, self._settings, self._bounds = host, settings, bounds or Bounds()
        self._identity = Identity(host)
        self._beyond = settings.uds is None and not is_loopback(settings.host)
        self._app = asgi(
            host,
            probes=probes,
            bounds=self._bounds,
            authenticate=self._identity,
            strangers=self._beyond,
            near=settings.uds is None and not self._beyond,
        )
        self._guard = Guard(self._bounds)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._made: Path | None = None
        self.address = ""

    async def open(self) -> None:
        """Listen.

        Raises:
            Unavailable: when the address cannot be listened on, the certificate cannot be read, or tokens cannot be
                verified here.
        """
        self._identity.prepare()
        settings = self._settings
        config = uvicorn.Config(
            self._app,
            log_config=None,
            log_level="error",  # who sends what is no HTTP must not fill a disk with warnings
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,  # the connection sees to those
            backlog=1,  # what asyncio takes at once of those that wait: see `_listen_on`
            http=self._guard.protocol,
        )
        config.load()
        if settings.tls_cert is not None:
            try:
                config.ssl = Renewed(settings)
            except OSError as error:  # ssl's errors are of these
                raise Unavailable("door http", unusable(settings, error)) from error
            if settings.client_ca is not None:
                config.http_protocol_class = certified(config.http_protocol_class)
        listener = self._listener()
        self._server = uvicorn.Server(config)
        self._guard.open(self._server.server_state.connections)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="jackfield-http")
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(_LOOK)
        if self._serving.done():
            await self._serving
        _listen_on(listener)

    def _listener(self) -> socket.socket:
        settings = self._settings
        if settings.uds is not None:
            listener, self._made = _unix(settings.uds), Path(settings.uds)
            self.address = f"unix:{settings.uds}"
            return listener
        if self._beyond and self._host.snapshot.permissions.pickers is None:
            reason = f"whoever reaches {settings.host} could call everything: declare who may call under [tenants]"
            raise Unavailable("door http", f"{reason}, or listen on 127.0.0.1")
        try:
            family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
            # asyncio does so only for sockets that name their protocol, which these do not; connections inherit it.
            # Else a body waits for the client to acknowledge its head: 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            reason = f"cannot listen on {settings.host}:{settings.port}: {_refusal(error)}"
            raise Unavailable("door http", reason) from error
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if settings.tls_cert is None else "https"
        self.address = f"{scheme}://{shown}:{listener.getsockname()[1]}"
        return listener

    def stats(self) -> dict[str, int]:
        """Tell what goes on, for those who watch."""
        if self._server is None:
            return {"connections": 0, "under_way": 0, "requests": 0}
        now = self._server.server_state
        return {"connections": len(now.connections), "under_way": len(now.tasks), "requests": now.total_requests}

    async def close(self, timeout: float) -> None:
        """Listen no more, and let the requests that are under way end.

        Args:
            timeout: seconds that they have; those that remain are cancelled.
        """
        server, serving, self._server, self._serving = self._server, self._serving, None, None
        if server is not None and serving is not None:
            server.config.timeout_graceful_shutdown = max(1, math.ceil(timeout))  # an idle connection takes a moment
            server.should_exit = self._app.closing = True
            await asyncio.wait([serving])
            if left := [task for task in server.server_state.tasks if not task.done()]:
                await asyncio.wait(left, timeout=_LEFT)
        await self._guard.close()
        if self._made is not None:
            self._made.unlink(missing_ok=True)
            self._made = None


def _listen_on(listener: socket.socket) -> None:
    """Have the system keep many that wait, though asyncio takes one at a time.

    Of a whole backlog it would take all at once, before anything could be turned away; and when the process has no
    file left for them, it would log each of them, and try as often again a second later, all at the same time.
    """
    listener.listen(_BACKLOG)


def _refusal(error: OSError) -> str:
    """Say why an address cannot be listened on, and what to change."""
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: choose another host, as 127.0.0.1"
    fix = "no address of this machine: choose another host" if error.errno == errno.EADDRNOTAVAIL else ""
    return f"{os.strerror(error.errno or 0)}: {fix or 'choose another port (0 is any free one)'}"


def _unix(path: str) -> socket.socket:
    """Listen on a Unix socket; one that nobody listens on any more is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _left_behind(path):
            os.unlink(path)  # noqa: PTH108  # a path as text, as sockets have it
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {path}: {error.strerror or error}: choose another path, or end who listens there"
        raise Unavailable("door http", reason) from error
    return listener


def _left_behind(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116  # as above
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            return True
    return False
