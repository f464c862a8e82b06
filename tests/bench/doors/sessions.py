"""A Python client of the gRPC door: single calls, and sessions that carry whatever is queued in one message."""

import asyncio
import time
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from load import Load
from servers import KEY

from jackfield_contrib.client import AsyncClient
from jackfield_contrib.grpc import functions_pb2 as messages

_UNDER_WAY = 128
_METADATA = (("authorization", f"Bearer {KEY}"),)
_ARGUMENTS = {"a": 1, "b": 2}
_PAYLOAD = b'{"a":1,"b":2}'
_SERVICE = "/jackfield.v1.Functions/"


def unary(address: str, seconds: float) -> Load:
    """Call by `Invoke`, 32 at once."""
    return asyncio.run(_unary(address, seconds))


def frame() -> bytes:
    """Give a call as it goes over HTTP/2: a message of gRPC, not compressed, and its length before it."""
    message = messages.Call(function="add.later", payload=_PAYLOAD).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


async def _unary(address: str, seconds: float) -> Load:
    taken: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        invoke = channel.unary_unary(f"{_SERVICE}Invoke", messages.Call.SerializeToString, messages.Reply.FromString)
        call = messages.Call(function="add.later", payload=_PAYLOAD)
        ends = time.perf_counter() + seconds

        async def caller() -> None:
            while (since := time.perf_counter()) < ends:
                await invoke(call, metadata=_METADATA, timeout=5.0)
                taken.append(time.perf_counter() - since)

        await asyncio.gather(*[caller() for _ in range(32)])
    return _load(taken, seconds, 0)


def session(address: str, function: str, seconds: float) -> Load:
    """Call by one `Session`.

    Args:
        address: host and port.
        function: its name; "many" for 2,800 of them in turn.
        seconds: how long.
    """
    return asyncio.run(_session(address, function, seconds))


async def _session(address: str, function: str, seconds: float) -> Load:
    names = [f"many.f{number}" for number in range(2_800)] if function == "many" else [function]
    began: dict[int, float] = {}
    taken: list[float] = []
    bad = 0
    async with grpc.aio.insecure_channel(address) as channel:
        stream = channel.stream_stream(
            f"{_SERVICE}Session", messages.Calls.SerializeToString, messages.Replies.FromString
        )(metadata=_METADATA)
        ends, number = time.perf_counter() + seconds, 0

        def some(count: int) -> Message:
            nonlocal number
            calls, now = messages.Calls(), time.perf_counter()
            for _ in range(count):
                number += 1
                began[number] = now
                calls.calls.add(id=number, function=names[number % len(names)], payload=_PAYLOAD)
            return calls

        await stream.write(some(_UNDER_WAY))
        while began:
            replies: Any = await stream.read()
            now = time.perf_counter()
            for reply in replies.replies:
                taken.append(now - began.pop(reply.id))
                bad += reply.HasField("error")
            if now < ends:
                await stream.write(some(len(replies.replies)))
        await stream.done_writing()
    return _load(taken, seconds, bad)


def client(address: str, function: str, seconds: float) -> Load:
    """Call by the client library, as many at once as `session` has under way; arguments as for it."""
    return asyncio.run(_client(address, function, seconds))


async def _client(address: str, function: str, seconds: float) -> Load:
    names = [f"many.f{number}" for number in range(2_800)] if function == "many" else [function]
    taken: list[float] = []
    async with AsyncClient(f"grpc://{address}", key=KEY, timeout=60.0) as made:
        ends = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            while (since := time.perf_counter()) < ends:
                await made.acall(names[number % len(names)], _ARGUMENTS)
                taken.append(time.perf_counter() - since)
                number += _UNDER_WAY

        await asyncio.gather(*map(caller, range(_UNDER_WAY)))
    return _load(taken, seconds, 0)


def _load(taken: list[float], seconds: float, bad: int) -> Load:
    taken.sort()
    return Load(len(taken) / seconds, taken[len(taken) // 2], taken[len(taken) * 99 // 100], bad)
