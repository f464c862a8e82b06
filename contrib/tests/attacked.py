"""A host with a door in a process of its own, so that what attacks cost it can be seen."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time

_SERVING = """
import asyncio, contextlib, json, resource, sys
from typing import Any

settings = json.loads(sys.argv[1])
if settings["files"]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (settings["files"], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

from jackfield import Host, current_call
from jackfield.config import GrpcDoorConfig, HttpDoorConfig

host = Host(observers=())
if settings["loop"] == "uvloop":
    import uvloop

    host.use_loop(uvloop.new_event_loop)


def add(a: int, b: int) -> int:
    return a + b


def echo(value: Any) -> Any:
    return value


def big(size: int) -> str:
    return "x" * size


async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def seen() -> dict:
    return dict(current_call().headers)


with host:
    for each in (add, echo, big, slow, seen):
        host.register(each.__name__, each)
    if settings["door"] == "http":
        from jackfield_contrib.http.door import HttpDoor as Door, Bounds
        config = HttpDoorConfig(port=0)
    else:
        from jackfield_contrib.grpc.door import GrpcDoor as Door, Bounds
        config = GrpcDoorConfig(port=0)
    door = Door(host, config, bounds=Bounds(**settings["bounds"]))
    host.run_at_home(door.open(), 20.0)
    print(door.address, flush=True)
    for _ in sys.stdin:
        print(json.dumps(door.stats()), flush=True)
    host.run_at_home(door.close(1.0), 60.0)
"""

MB = 1024 * 1024
LIMIT = 60.0  # seconds that anything here may take


class Attacked:
    """A door in another process.

    Args:
        door: "http" or "grpc".
        loop: "asyncio" or "uvloop".
        files: how many its process may have open, 0 for as many as this one.
        **bounds: of the door.

    Attributes:
        url: where it is.
        address: the same, for sockets.
        pid: of the process.
        most: bytes of memory that it has had at most, as far as anybody has looked.
    """

    def __init__(self, door, loop="asyncio", files=0, **bounds):
        settings = json.dumps({"door": door, "loop": loop, "files": files, "bounds": bounds})
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVING, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"},
        )
        self._log = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._process.stdout.readline().strip()
        self.address = ("127.0.0.1", int(self.url.rpartition(":")[2]))
        self.pid = self._process.pid
        self.most = 0

    def _read(self):
        while part := self._process.stderr.readline(65_536):
            if len(self._log) < 10_000:
                self._log.append(part)

    def connect(self):
        return socket.create_connection(self.address, timeout=LIMIT)

    def memory(self):
        """Give what the process has in memory, in bytes."""
        with open(f"/proc/{self.pid}/status") as status:  # noqa: PTH123  # no file
            now = int(status.read().partition("VmRSS:")[2].split()[0]) * 1024
        self.most = max(self.most, now)
        return now

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  # as above

    def stats(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def settles(self, looked):
        """Wait until something holds."""
        until = time.monotonic() + LIMIT
        while not looked():
            assert time.monotonic() < until
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        finally:
            self._process.kill()
            self._reader.join(LIMIT)
            self._process.stdout.close()
            self._process.stderr.close()

    @property
    def log(self):
        """What it has logged so far, or in the end."""
        return "".join(self._log)


def more_files(wanted):
    """Let this process open so many files; tell whether it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return True
