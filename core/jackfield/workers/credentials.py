"""Which process sends on a socket, as the kernel says it, in this process's own numbers, whatever the sender says."""

import asyncio
import socket
import struct
from typing import Final

from jackfield.workers.tickets import resolve

_CREDENTIALS: Final = struct.Struct("3i")


def ask_for(connection: socket.socket) -> None:
    """Have the kernel add to what comes on a socket which process it is from; before the other end is given away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


async def sender(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> int:
    """Wait until something comes on a socket, and leave it there.

    Args:
        loop: the one that runs.
        connection: a socket that `ask_for` was called with.

    Returns:
        The number of the process that sent it; 0 if the other end is closed.
    """
    readable = loop.create_future()
    loop.add_reader(connection, resolve, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    try:
        data, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_PEEK)
    except OSError:
        return 0
    for level, kind, content in ancillary:
        if data and level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0])
    return 0
