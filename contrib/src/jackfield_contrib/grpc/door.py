"""The door: a server of grpc.aio, on the host's home loop."""

import asyncio
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection

from jackfield import Host, Probes
from jackfield.config import GrpcDoorConfig
from jackfield.config.doors_check import is_loopback
from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.text import printable
from jackfield_contrib.descriptors import room
from jackfield_contrib.grpc.anybody import SHARE, Places, Reflection
from jackfield_contrib.grpc.bounds import Bounds
from jackfield_contrib.grpc.health import Health
from jackfield_contrib.grpc.noise import leave_out
from jackfield_contrib.grpc.service import NAME, Functions
from jackfield_contrib.grpc.tls import credentials
from jackfield_contrib.identity import Authenticate, Identity

_HEALTH: Final = "grpc.health.v1.Health"
_STRIKES: Final = 3  # pings that come too early, then the connection is closed
_AGAIN: Final = 1.0  # seconds after which a server that has ended by itself is followed by another, or tried again


class GrpcDoor:
    """Serves a host's functions over gRPC while it is open.

    Args:
        host: whose.
        settings: where it listens.
        probes: tell whether the host is ready; by default those of the host, without names.
        bounds: of messages, sessions and connections.
        authenticate: tells from an RPC's metadata, by name in lower case, which tenant it is of, or None; by default
            what the host's configuration says of keys and tokens.

    Attributes:
        address: where it listens, as a URL.
    """

    def __init__(
        self,
        host: Host,
        settings: GrpcDoorConfig,
        probes: Probes | None = None,
        bounds: Bounds | None = None,
        *,
        authenticate: Authenticate | None = None,
    ) -> None:
        self._host, self._settings, self._bounds = host, settings, bounds or Bounds()
        self._identity = Identity(host)
        self._functions = Functions(
            host,
            bounds=self._bounds,
            authenticate=authenticate or self._identity,
            strangers=not is_loopback(settings.host),
        )
        places = Places(max(1, self._bounds.rpcs // SHARE))
        self._health = Health(probes or Probes(host), NAME, _HEALTH, places=places)
        self._reflection = Reflection((NAME, _HEALTH, reflection.SERVICE_NAME), places)
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._staying: asyncio.Task[None] | None = None
        self._port = 0
        self.address = ""

    async def open(self) -> None:
        """Listen.

        Raises:
            Unavailable: when the address cannot be listened on, the certificate cannot be read, or tokens cannot be
                verified here.
        """
        leave_out()
        self._identity.prepare()
        await self._begin(self._settings.port)
        self._watching = asyncio.create_task(self._health.watch(), name="jackfield-grpc-watch")
        self._staying = asyncio.create_task(self._stay(), name="jackfield-grpc-stay")

    async def _begin(self, port: int) -> None:
        server = grpc.aio.server(options=_options(self._bounds), maximum_concurrent_rpcs=self._bounds.rpcs)
        self._functions.add_to(server)
        self._health.add_to(server)
        self._reflection.add_to(server)
        self._port = self._listen(server, port)
        await self._health.look()
        await server.start()
        self._server = server

    async def _stay(self) -> None:
        """Have another server listen when one has ended by itself: grpcio ends one whose loop has failed.

        What failed it may have been one client's bytes, and a door that is gone while its host goes on helps nobody.
        """
        while self._server is not None:
            # Not awaited itself: cancelled with this, it would cancel what `stop` waits for, too.
            ended = asyncio.ensure_future(self._server.wait_for_termination())
            await asyncio.wait({ended})
            reason = repr(ended.exception() or "no reason is known")
            host_log("ERROR", f"door grpc: its server has ended by itself, another one begins: {printable(reason)}")
            while True:
                try:
                    await self._begin(self._port)
                    break
                except Unavailable as error:
                    host_log("ERROR", f"{error}; it is tried again in {_AGAIN:g} s")
                await asyncio.sleep(_AGAIN)

    def _listen(self, server: grpc.aio.Server, port: int) -> int:
        settings = self._settings
        if not is_loopback(settings.host) and self._host.snapshot.permissions.pickers is None:
            reason = f"whoever reaches {settings.host} could call everything: declare who may call under [tenants]"
            raise Unavailable("door grpc", f"{reason}, or listen on 127.0.0.1")
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        where = f"{shown}:{port}"
        secured = credentials(settings)
        try:
            port = server.add_secure_port(where, secured) if secured else server.add_insecure_port(where)
        except RuntimeError as error:
            reason = f"cannot listen on {where}: choose another port (0 is any free one)"
            raise Unavailable("door grpc", reason) from error
        self.address = f"{'grpcs' if secured else 'grpc'}://{shown}:{port}"
        return port

    def stats(self) -> dict[str, int]:
        """Tell what goes on, for those who watch."""
        return self._functions.stats()

    async def close(self, timeout: float) -> None:
        """Listen no more, and let the calls that are under way end.

        Args:
            timeout: seconds that they have; those that remain are cancelled.
        """
        server, tasks = self._server, (self._watching, self._staying)
        self._server = self._watching = self._staying = None
        for task in tasks:
            if task is not None:
                task.cancel()
        if server is None:
            return
        self._functions.drain()
        await self._health.enter_graceful_shutdown()
        await server.stop(timeout)


def _options(bounds: Bounds) -> list[tuple[str, int]]:
    ping = _milliseconds(bounds.ping)
    return [
        ("grpc.so_reuseport", 0),  # a port that is taken is to be told
        ("grpc.max_receive_message_length", bounds.message),
        ("grpc.max_send_message_length", bounds.message + 1_024),  # what is around a result, too
        ("grpc.max_metadata_size", bounds.metadata),
        ("grpc.absolute_max_metadata_size", bounds.metadata),
        ("grpc.max_allowed_incoming_connections", room(bounds.connections)),
        ("grpc.max_concurrent_streams", bounds.streams),
        ("grpc.max_connection_idle_ms", _milliseconds(bounds.idle)),
        ("grpc.server_handshake_timeout_ms", _milliseconds(bounds.patience)),
        ("grpc.keepalive_time_ms", ping),
        ("grpc.keepalive_timeout_ms", ping),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", ping),
        ("grpc.http2.max_ping_strikes", _STRIKES),
    ]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1_000)
