"""The control socket of a running host: a Unix socket over which `pluginctl` asks a host to do what its verbs do.

`ControlServer` listens and runs verbs, `ControlClient` asks. What travels are length-prefixed MessagePack frames
(`frames`), which know nothing of verbs and serve any two processes that talk. Only the user the host runs as, and
root, may use the socket: its folder, its mode and the peer's credentials each see to that.
"""

from jackfield.control.address import control_path
from jackfield.control.client import ControlClient, ControlStream
from jackfield.control.server import ControlServer
from jackfield.control.stream import IDLE
from jackfield.wire.frames import Deframer, FrameError, FrameSocket, FrameStream, pack, unpack

__all__ = [
    "IDLE",
    "ControlClient",
    "ControlServer",
    "ControlStream",
    "Deframer",
    "FrameError",
    "FrameSocket",
    "FrameStream",
    "control_path",
    "pack",
    "unpack",
]
