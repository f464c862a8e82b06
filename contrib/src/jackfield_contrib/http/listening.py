"""Where the door listens: an address, or a Unix socket."""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from jackfield.config import HttpDoorConfig
from jackfield.config.doors_check import is_loopback
from jackfield.errors import Unavailable

_BACKLOG: Final = 2_048


class Listening:
    """A listening socket of the door.

    Args:
        settings: where.
        tenants: whether the host has any; without them it listens on loopback alone.

    Attributes:
        socket: it.
        address: as a URL; of a Unix socket `unix:` and its path.

    Raises:
        Unavailable: when it cannot listen there.
    """

    def __init__(self, settings: HttpDoorConfig, *, tenants: bool) -> None:
        self._made: Path | None = None
        if settings.uds is not None:
            self.socket, self._made = _unix(settings.uds), Path(settings.uds)
            self.address = f"unix:{settings.uds}"
        else:
            self.socket = _tcp(settings, tenants=tenants)
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            scheme = "http" if settings.tls_cert is None else "https"
            self.address = f"{scheme}://{shown}:{self.socket.getsockname()[1]}"

    def open(self) -> None:
        """Have the system keep many that wait, though asyncio takes one at a time.

        Of a whole backlog it would take all at once, before anything could be turned away; and when the process has no
        file left for them, it would log each of them, and try as often again a second later, all at the same time.
        """
        self.socket.listen(_BACKLOG)

    def close(self) -> None:
        """Listen no more, and take a Unix socket's file away."""
        self.socket.close()
        if self._made is not None:
            self._made.unlink(missing_ok=True)
            self._made = None


def is_beyond(settings: HttpDoorConfig) -> bool:
    """Tell whether others than this machine can reach the door."""
    return settings.uds is None and not is_loopback(settings.host)


def _tcp(settings: HttpDoorConfig, *, tenants: bool) -> socket.socket:
    if is_beyond(settings) and not tenants:
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
    return listener


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
