"""The door: a server of the application, on the host's home loop."""

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import uvicorn

from jackfield import Host, Probes
from jackfield.config import HttpDoorConfig
from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.operations.handing import take
from jackfield_contrib.http.app import asgi
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.guard import Guard
from jackfield_contrib.http.listening import Listening, is_beyond
from jackfield_contrib.http.tls import Renewed
from jackfield_contrib.identity import Identity
from jackfield_contrib.identity.certificates import unusable

_LEFT: Final = 1.0  # seconds in which requests tell their clients that they have been cancelled
_LOOK: Final = 0.05  # seconds between two looks whether the server has begun
_LAST: Final = 0.3  # seconds in which what has been sent on open connections is answered, and each is closed by that


class HttpDoor:
    """Serves a host's functions over HTTP/1.1 while it is open.

    Args:
        host: whose.
        settings: where it listens.
        probes: what it answers to those who watch; by default those of the host, without names.
        bounds: of requests and connections.
        channel: where it gets its connections from, as `jackfield.operations.handing` has it, instead of listening: it
            is one of several processes.

    Attributes:
        address: where it listens, as a URL; of a Unix socket `unix:` and its path; "" where another process does.
    """

    def __init__(
        self,
        host: Host,
        settings: HttpDoorConfig,
        probes: Probes | None = None,
        bounds: Bounds | None = None,
        channel: socket.socket | None = None,
    ) -> None:
        self._host, self._settings, self._bounds, self._channel = host, settings, bounds or Bounds(), channel
        self._identity = Identity(host)
        beyond = is_beyond(settings)
        self._app = asgi(
            host,
            probes=probes,
            bounds=self._bounds,
            authenticate=self._identity,
            strangers=beyond,
            near=settings.uds is None and not beyond,
        )
        self._guard = Guard(self._bounds)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening: Listening | None = None
        self._welcomes: set[asyncio.Task[None]] = set()
        self.address = ""

    @staticmethod
    def listen(host: Host, settings: HttpDoorConfig) -> Listening:
        """Listen, for several processes that are handed the connections.

        Raises:
            Unavailable: when the address cannot be listened on.
        """
        return Listening(settings, tenants=host.snapshot.permissions.pickers is not None)

    async def open(self) -> None:
        """Listen.

        Raises:
            Unavailable: when the address cannot be listened on, the certificate cannot be read, or tokens cannot be
                verified here.
        """
        self._identity.prepare()
        config = self._config()
        if self._channel is None:
            if self._settings.processes > 1:
                text = f"processes = {self._settings.processes} is for `pluginctl serve`: this process serves alone"
                host_log("WARNING", f"door http: {text}")
            self._listening = self.listen(self._host, self._settings)
            self.address = self._listening.address
        self._server = uvicorn.Server(config)
        self._guard.open(self._server.server_state.connections)
        self._serving = asyncio.create_task(self._server.serve([]), name="jackfield-http")
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(_LOOK)
        if self._serving.done():
            await self._serving
        if self._listening is not None:
            # Not by the server itself: it would wait a minute for each client that connects and begins no TLS.
            made = await asyncio.get_running_loop().create_server(
                _protocols(self._server), sock=self._listening.socket, backlog=1, **self._secured(config)
            )  # asyncio takes one at a time of those that wait: see `Listening.open`
            self._server.servers.append(made)
            self._listening.open()
        if self._channel is not None:
            self._channel.settimeout(0)
            asyncio.get_running_loop().add_reader(self._channel, self._take, self._channel, self._server)

    def _config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._app,
            log_config=None,
            log_level="error",  # who sends what is no HTTP must not fill a disk with warnings
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,  # the connection sees to those
            http=self._guard.protocol,  # type: ignore[arg-type]  # it is called, as a class would be
        )
        config.load()
        if self._settings.tls_cert is not None:
            try:
                config.ssl = Renewed(self._settings)
            except OSError as error:  # ssl's errors are of these
                raise Unavailable("door http", unusable(self._settings, error)) from error
        return config

    def _secured(self, config: uvicorn.Config) -> dict[str, Any]:
        """Say how connections begin: with TLS they have as long as a head may take."""
        return {} if config.ssl is None else {"ssl": config.ssl, "ssl_handshake_timeout": self._bounds.head}

    def _take(self, channel: socket.socket, server: uvicorn.Server) -> None:
        """Take the connections that another process has accepted."""
        loop = asyncio.get_running_loop()
        try:
            while (connection := take(channel)) is not None:
                task = loop.create_task(_welcome(server, connection, self._secured(server.config)))
                self._welcomes.add(task)
                task.add_done_callback(self._welcomes.discard)
            loop.remove_reader(channel)
        except BlockingIOError:
            return
        except OSError as error:
            host_log("ERROR", f"door http: a connection cannot be taken: {error}")

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
            await self._take_last(server, min(_LAST, timeout))
            server.config.timeout_graceful_shutdown = max(1, math.ceil(timeout))  # an idle connection takes a moment
            server.should_exit = self._app.closing = True
            await asyncio.wait([serving])
            if left := [task for task in server.server_state.tasks if not task.done()]:
                await asyncio.wait(left, timeout=_LEFT)
        await self._guard.close()
        if self._channel is not None:
            self._channel.close()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _take_last(self, server: uvicorn.Server, timeout: float) -> None:
        """Take what was accepted before the end, and answer what comes on open connections with the end of each.

        Whoever keeps connections open sends the next request without asking: closed on top of it, it would be lost.
        """
        self._guard.leaving = True
        if self._channel is not None:
            self._take(self._channel, server)
            asyncio.get_running_loop().remove_reader(self._channel)
            with suppress(OSError):  # who accepts is gone
                self._channel.shutdown(socket.SHUT_WR)  # what is not taken goes to another process
        until = asyncio.get_running_loop().time() + timeout
        while self._welcomes or server.server_state.connections:
            if asyncio.get_running_loop().time() >= until:
                return
            await asyncio.sleep(_LOOK)


async def _welcome(server: uvicorn.Server, connection: socket.socket, secured: dict[str, Any]) -> None:
    """Serve a connection that another process has accepted."""
    try:
        await asyncio.get_running_loop().connect_accepted_socket(_protocols(server), connection, **secured)
    except OSError:  # whoever it was has gone, or speaks no TLS
        connection.close()


def _protocols(server: uvicorn.Server) -> Callable[[], asyncio.Protocol]:
    """Give what makes the protocol of each connection, as the server itself would."""
    config = server.config

    def protocol() -> asyncio.Protocol:
        make: Any = config.http_protocol_class
        made: asyncio.Protocol = make(config=config, server_state=server.server_state, app_state=server.lifespan.state)
        return made

    return protocol
