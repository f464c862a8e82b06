"""How requests get to a door: a deadline that holds, and another try where that is safe, whatever lies between."""

import asyncio
import os
import random
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, Union

from jackfield.errors import DeadlineExceeded, JackfieldError, Unavailable
from jackfield_contrib.client.address import Address
from jackfield_contrib.client.deadlines import Deadline, Deadlines
from jackfield_contrib.client.messages import Request

if TYPE_CHECKING:
    import grpc

Tls = Union[ssl.SSLContext, "grpc.ChannelCredentials", None]  # the latter need not be installed

_ATTEMPTS: Final = 3
_PAUSE: Final = 0.05  # seconds before the second attempt; twice as long before the next


class NotThere(JackfieldError):
    """There is no such submitted call; it never leaves the client, which raises `LookupError`."""


class Wire(Protocol):
    """Sends requests, and reads what comes back; an event loop that asks has connections of its own."""

    async def ask(self, request: Request) -> Any:
        """Send a request once, and give what the answer gives; cancelled, it lets the door know.

        Raises:
            JackfieldError: what the call raised there.
            NotThere: if there is no such submitted call.
            Unavailable: when there was no answer; `ran` is False when the door cannot have had the request.
        """
        ...

    async def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
        ...


class Transport:
    """Sends requests to a door.

    Args:
        address: where the door is.
        key: tells the door whose requests these are, or None.
        tls: how the door's certificate is checked, and what this side shows.

    Attributes:
        url: where the door is, for people.

    Raises:
        Unavailable: if what this way needs is not installed.
        TypeError: if `tls` is nothing that this way can use.
    """

    def __init__(self, address: Address, key: str | None, tls: Tls) -> None:
        self.url: Final = address.url
        self._wire = _wire(address, key, tls)
        self._loops: dict[asyncio.AbstractEventLoop, Deadlines] = {}
        self._process = os.getpid()
        self._closed = False

    async def exchange(self, request: Request) -> Any:
        """Ask something, and give what the answer gives.

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
            with Deadline(self._deadlines(), request.deadline):
                return await self._tries(request)
        except TimeoutError:
            overdue = monotonic() - request.deadline
            raise DeadlineExceeded(request.what, overdue, "no answer came; the door is told") from None

    def _deadlines(self) -> Deadlines:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for other in [each for each in list(self._loops) if each.is_closed()]:
                del self._loops[other]
            found = self._loops[loop] = Deadlines(loop)
        return found

    async def _tries(self, request: Request) -> Any:
        attempt = 1
        while True:
            try:
                return await self._wire.ask(request)
            except Unavailable as error:
                pause = _PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
                late = request.deadline is not None and monotonic() + pause >= request.deadline
                if attempt == _ATTEMPTS or late or self._closed or not _again(request, error):
                    raise
            await asyncio.sleep(pause)
            attempt += 1

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

    def shut(self) -> None:
        """Take no more requests."""
        self._closed = True

    async def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
        self.shut()
        if os.getpid() == self._process:  # else they are the other process's
            await self._wire.close()


def _wire(address: Address, key: str | None, tls: Tls) -> Wire:
    """Give what speaks to that door; its library is imported only now, since nobody needs both."""
    try:
        if address.kind == "grpc":
            import jackfield_contrib.grpc  # noqa: F401, PLC0415  # before grpcio: it says how that is in a fork
            from jackfield_contrib.client.over_grpc import OverGrpc  # noqa: PLC0415  # as said

            return OverGrpc(address, key, tls)
        from jackfield_contrib.client.over_http import OverHttp  # noqa: PLC0415  # as said

        return OverHttp(address, key, tls)
    except ModuleNotFoundError as error:
        extra = "grpc" if address.kind == "grpc" else "client"
        reason = f"{error.name} is not installed: pip install 'jackfield-contrib[{extra}]'"
        raise Unavailable(address.url, reason, "blocked", ran=False) from error


def _again(request: Request, error: Unavailable) -> bool:
    """Tell whether another try is safe, and may help: the function has not run, or asking twice does no harm."""
    if error.cause == "protocol":
        return False
    return error.ran is False or (request.repeatable and error.cause == "unreachable")
