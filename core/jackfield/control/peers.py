"""Who is on the other end of a Unix socket, as the system knows it: not as anybody claims."""

import os
import socket
import struct
import sys

import attrs

from jackfield.errors import Unavailable

_LOCAL = 0  # SOL_LOCAL of macOS and the BSDs, and its LOCAL_PEERCRED: Python names neither
_LOCAL_PEERCRED = 1


@attrs.frozen
class Peer:
    """The process on the other end.

    Attributes:
        uid: the user it ran as when it connected, or listened.
        pid: its process id, or None where the system does not tell.
    """

    uid: int
    pid: int | None = None


def peer_of(connection: socket.socket) -> Peer:
    """Ask the system who is on the other end.

    Args:
        connection: a connected Unix socket.

    Raises:
        Unavailable: when this system cannot tell.
        OSError: when the connection is gone.
    """
    if sys.platform == "linux":
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Peer(uid, pid)
    if sys.platform == "darwin" or sys.platform.startswith("freebsd"):
        # struct xucred starts with its version and the effective user.
        _, uid = struct.unpack_from("=II", connection.getsockopt(_LOCAL, _LOCAL_PEERCRED, 256))
        return Peer(uid)
    raise Unavailable("control socket", f"{sys.platform} does not tell who is on the other end")


def require_unix() -> None:
    """Refuse where there are no Unix sockets.

    Raises:
        Unavailable: on Windows.
    """
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "geteuid"):
        raise Unavailable(
            "control socket",
            f"Python has no Unix sockets on {sys.platform}: run the host and pluginctl on Linux, macOS or WSL",
        )


def may_ask(uid: int) -> bool:
    """Whether a host of this process's user answers that user: itself and root."""
    return uid in (os.geteuid(), 0)
