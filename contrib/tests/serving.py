"""What tests of clients speak to: a door of a host, and a server that answers as a test wants."""

import contextlib
import socket
import threading

from jackfield.config import GrpcDoorConfig, HttpDoorConfig
from jackfield_contrib.grpc.door import GrpcDoor
from jackfield_contrib.http.door import HttpDoor

_DOORS = {"http": (HttpDoor, HttpDoorConfig), "grpc": (GrpcDoor, GrpcDoorConfig)}
KINDS = tuple(_DOORS)


@contextlib.contextmanager
def open_door(host, kind="http", **settings):
    """Serve a host over HTTP or gRPC, on any free port."""
    made, config = _DOORS[kind]
    door = made(host, config(**{"port": 0, **settings}))
    host.run_at_home(door.open(), 20.0)
    try:
        yield door
    finally:
        host.run_at_home(door.close(0.0), 20.0)


def answer(status=200, body=b"", kind="application/msgpack", **headers):
    """Write an answer of HTTP."""
    lines = [f"HTTP/1.1 {status} So", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Scripted:
    """A server on a port of its own: takes each connection, reads a request, and does the next thing that it is told.

    Args:
        *script: for each connection what to send, or None to close it without a word; the last is used for all others.

    Attributes:
        requests: the bytes of what came.
    """

    def __init__(self, *script):
        self._script = list(script)
        self.requests = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(20)
                came = b""
                while b"\r\n\r\n" not in came or len(came.partition(b"\r\n\r\n")[2]) < _length(came):
                    part = connection.recv(65_536)
                    if not part:
                        break
                    came += part
                if not came:
                    return
                self.requests.append(came)
                said = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if said is not None:
                    connection.sendall(said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), 5).close()
        self._thread.join(20)
        self._listener.close()


def _length(came):
    for line in came.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
