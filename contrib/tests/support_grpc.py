"""What the tests of gRPC share: functions, what clients do, how errors are read."""

import asyncio
import queue
import threading
from datetime import date

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from jackfield import current_call
from jackfield.errors import Rejected
from jackfield_contrib.grpc.functions_pb2 import Calls

LIMIT = 30.0  # seconds that anything here may take


def add(a: int, b: int) -> int:
    return a + b


def refuse(code: str) -> None:
    raise Rejected("not today", code=code, details={"until": "tomorrow"})


def crash() -> None:
    raise RuntimeError("the password is hunter2")


def headers() -> dict:
    return dict(current_call().headers)


def day(on: date) -> date:
    return on


def complex_number() -> complex:
    return 1j


def big(size: int) -> str:
    return "x" * size


FUNCTIONS = {
    "math.add": add,
    "refuse": refuse,
    "crash": crash,
    "headers": headers,
    "day": day,
    "complex": complex_number,
    "big": big,
}


class Waits:
    """A function that waits until it is let go, and tells what becomes of it."""

    def __init__(self):
        self.begun, self.cancelled = threading.Semaphore(0), threading.Semaphore(0)
        self._go = {}

    async def wait(self, name: str = "") -> str:
        event = self._go.setdefault(name, asyncio.Event())
        self.begun.release()
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return f"done {name}"

    def let_go(self, host, name=""):
        async def go():
            self._go.setdefault(name, asyncio.Event()).set()

        host.run_at_home(go(), LIMIT)


class Talk:
    """A session as a client has it."""

    def __init__(self, stub, **keywords):
        self._calls = queue.SimpleQueue()
        self.stream = stub.Session(iter(self._calls.get, None), **{"timeout": LIMIT, **keywords})

    def say(self, *calls, cancel=()):
        self._calls.put(Calls(calls=calls, cancel=cancel))

    def finish(self):
        self._calls.put(None)

    def leave(self):
        self.finish()
        self.stream.cancel()

    def hear(self, count):
        """Wait for so many replies; give them by their ids."""
        found = {}
        while len(found) < count:
            found |= {reply.id: reply for reply in next(self.stream).replies}
        return found

    def rest(self):
        return {reply.id: reply for message in self.stream for reply in message.replies}


def target(door):
    return door.address.partition("://")[2]


def failed(function, *arguments, **keywords):
    """Call what fails; give its code, its message, and its details by their types."""
    with pytest.raises(grpc.RpcError) as caught:
        function(*arguments, **{"timeout": LIMIT, **keywords})
    return told(caught.value)


def told(error):
    status = rpc_status.from_call(error)
    assert status is not None
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return error.code().name, status.message, unpacked(status)


def unpacked(status):
    found = {}
    for detail in status.details:
        for kind in (ErrorInfo, BadRequest, RetryInfo):
            if detail.Is(kind.DESCRIPTOR):
                found[kind] = kind()
                detail.Unpack(found[kind])
    return found
