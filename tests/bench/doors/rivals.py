"""The same work by hand: a bare ASGI application, one that uses a thread pool, and one of FastAPI."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

Scope, Receive, Send = dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]

_decode, _encode = msgspec.json.decode, msgspec.json.encode


def _add(a: int, b: int) -> int:
    return a + b


async def _respond(send: Send, value: Any) -> None:
    body = _encode(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Add two numbers on the loop."""
    payload = _decode((await receive())["body"])
    await _respond(send, _add(payload["a"], payload["b"]))


async def bare_pool(scope: Scope, receive: Receive, send: Send) -> None:
    """Add two numbers in a thread of the loop's default executor."""
    payload = _decode((await receive())["body"])
    loop = asyncio.get_running_loop()
    await _respond(send, await loop.run_in_executor(None, _add, payload["a"], payload["b"]))


_threads = ThreadPoolExecutor(40)  # as many as the executor `thread` has


async def sleeping(scope: Scope, receive: Receive, send: Send) -> None:
    """Take time in a thread, as a database does."""
    seconds = _decode((await receive())["body"])
    await asyncio.get_running_loop().run_in_executor(_threads, time.sleep, seconds)
    await _respond(send, seconds)


def fastapi() -> Any:
    """Make the same of FastAPI: one path, a model of the body."""
    from fastapi import FastAPI  # noqa: PLC0415  # the bare ones are not to pay for it
    from pydantic import BaseModel  # noqa: PLC0415  # as above

    class Numbers(BaseModel):
        a: int
        b: int

    app = FastAPI()

    @app.post("/add")
    async def add(numbers: Numbers) -> int:
        return numbers.a + numbers.b

    return app
