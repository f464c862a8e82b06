"""What anybody may ask without a key, and for as long as they like: so many at once, that others have room, too."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

SHARE: Final = 8
"""Of all RPCs that there may be at once, those that need no key and have no end are this part."""


class Places:
    """Places for RPCs that need no key.

    Args:
        most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, context: Any) -> bool:
        """Take one; without any left the RPC has its status, and is to end.

        Args:
            context: of the RPC.
        """
        if self._left <= 0:
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details("too many ask this at once")
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Let another one have it."""
        self._left += 1


class Reflection:
    """Answers which services there are.

    Args:
        services: by name.
        places: for those who ask.
    """

    def __init__(self, services: Sequence[str], places: Places) -> None:
        self._answers: Any = reflection.aio.ReflectionServicer(services)
        self._places = places

    def add_to(self, server: Any) -> None:
        """Have a server answer this service, before it starts."""
        add_ServerReflectionServicer_to_server(self, server)  # type: ignore[no-untyped-call]  # generated

    async def ServerReflectionInfo(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802  # its name
        """Answer as long as there are questions."""
        if not self._places.take(context):
            return
        try:
            async for answer in self._answers.ServerReflectionInfo(requests, context):
                yield answer
        finally:
            self._places.give_back()
