"""The standard health service: whether the host is ready, as `/readyz` says it."""

import asyncio
from typing import Any, Final

from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from jackfield import Probes
from jackfield_contrib.grpc.anybody import Places

_EVERY: Final = 1.0  # seconds between two looks, for those who watch
_OK: Final = 200


class Health(aio.HealthServicer):
    """Answers `Check` and `Watch` of `grpc.health.v1.Health`.

    Args:
        probes: tell whether the host is ready.
        *services: the services that are as ready as the host, beside "", the server as a whole.
        places: for those who watch.
    """

    def __init__(self, probes: Probes, *services: str, places: Places) -> None:
        super().__init__()
        self._probes, self._services, self._places = probes, ("", *services), places
        self._looking: asyncio.Task[None] | None = None

    def add_to(self, server: Any) -> None:
        """Have a server answer this service, before it starts."""
        add_HealthServicer_to_server(self, server)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802  # its name in the proto file
        """Answer whether a service takes calls now."""
        await self.look()
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802  # as above
        """Tell whenever it changes whether a service takes calls."""
        if not self._places.take(context):
            return
        try:
            await super().Watch(request, context)
        finally:
            self._places.give_back()

    async def watch(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Ask the probes; who asks at the same time gets the same answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="jackfield-grpc-health")
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        ready = (await self._probes.answer("GET", "/readyz")).status == _OK
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self.set(service, status)
