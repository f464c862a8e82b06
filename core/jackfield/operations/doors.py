"""Doors: where calls come in over a network. Each is an adapter, which core finds and never imports."""

import asyncio
import importlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import attrs

from jackfield.config import DoorsConfig
from jackfield.config.adapters import load_adapter
from jackfield.errors import Unavailable
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.operations.probes import Probes

_OPENING: Final = 10.0  # seconds that a door may take to listen
_CLOSING: Final = 2.0  # and beyond what its requests have, to be gone


class Door(Protocol):
    """Takes calls from a network, on the host's home loop; made with the host, its table of the file, and probes.

    One that has `stats()` is asked by `status`, from another thread, how many `connections` it has, requests that are
    `under_way`, and `requests` there were.

    Attributes:
        address: as a URL, once it is open.
    """

    address: str

    async def open(self) -> None:
        """Listen.

        Raises:
            Unavailable: when that cannot be, with what would help.
        """

    async def close(self, timeout: float) -> None:
        """Listen no more, and let the requests that are under way end, for so many seconds."""


class Listening(Protocol):
    """A listening socket of a door whose connections are handed to several processes.

    Attributes:
        socket: it.
        address: as a URL.
    """

    socket: socket.socket
    address: str

    def close(self) -> None:
        """Listen no more, and take what there is of it in the file system away."""


class Doors:
    """The doors of a configuration.

    Args:
        host: whose.
        configuration: the table `[doors]`.
        probes: what each of them answers to those who watch.
        channels: kind → where a door gets its connections from instead of listening: it is one of several processes.

    Raises:
        Unavailable: when nothing that is installed has such a door, or its library is not there.
    """

    def __init__(
        self,
        host: Host,
        configuration: DoorsConfig,
        probes: Probes,
        channels: Mapping[str, socket.socket] | None = None,
    ) -> None:
        self._host = host
        self._doors: dict[str, Door] = {}
        for kind, table in attrs.asdict(configuration, recurse=False).items():
            if table is not None:
                channel = (channels or {}).get(kind)
                further = {} if channel is None else {"channel": channel}
                self._doors[kind] = _adapter(kind)(host, table, probes, **further)
        if self._doors and (factory := _quick_loop()) is not None:
            host.use_loop(factory)

    @property
    def addresses(self) -> dict[str, str]:
        """Kind → where it listens."""
        return {kind: door.address for kind, door in self._doors.items()}

    @property
    def traffic(self) -> dict[str, Mapping[str, int]]:
        """Kind → what goes on there now, of doors that tell."""
        told = {kind: getattr(door, "stats", None) for kind, door in self._doors.items()}
        return {kind: stats() for kind, stats in told.items() if stats is not None}

    def open(self) -> None:
        """Open them all, or none.

        Raises:
            Unavailable: when one cannot listen.
        """
        for kind, door in self._doors.items():
            try:
                self._host.run_at_home(door.open(), _OPENING)
            except BaseException as error:
                self.close(0.0)
                if isinstance(error, TimeoutError):
                    raise Unavailable(f"door {kind}", f"it does not listen after {_OPENING:g} s") from error
                raise

    def close(self, timeout: float) -> None:
        """Close them, all at once; what is under way has so many seconds."""
        try:
            self._host.run_at_home(self._close(timeout), timeout + 2 * _CLOSING)
        except TimeoutError:
            host_log("WARNING", "the doors have not closed: the home loop does not answer")
        except Unavailable:  # the home loop is gone, and the doors with it
            return

    async def _close(self, timeout: float) -> None:
        await asyncio.gather(*(_closed(kind, door, timeout) for kind, door in self._doors.items()))


def listen(kind: str, host: Host, table: Any) -> Listening:
    """Listen for a door that several processes serve.

    Args:
        kind: which.
        host: whose.
        table: of the configuration.

    Raises:
        Unavailable: when it cannot listen there, or nothing that is installed has such a door.
    """
    made: Listening = _adapter(kind).listen(host, table)
    return made


async def _closed(kind: str, door: Door, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout + _CLOSING):
            await door.close(timeout)
    except TimeoutError:
        host_log("WARNING", f"the door {kind} has not closed within {timeout + _CLOSING:g} s")


def _adapter(kind: str) -> Any:
    return load_adapter(f"door:{kind}", f"door {kind}", f"pip install 'jackfield-contrib[{kind}]'")


def _quick_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes a loop of uvloop, where that is installed; the extra of a door brings it."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory
