"""A call whose client watches: how far it has come as server-sent events, and at last how it has ended.

The format is that of the HTML standard, 9.2 "Server-sent events". The call runs in a task of its own, and events are
sent as fast as the client reads: meanwhile the last that each function and step has said is kept, and nothing else.
"""

import asyncio
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final

import msgspec

from jackfield import Host, to_json
from jackfield.errors import Cancelled, JackfieldError
from jackfield.model.progress import Latest, Progress, StepProgress, listening
from jackfield_contrib.http import problems
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.calling import formless
from jackfield_contrib.http.exchange import EVENTS, Exchange
from jackfield_contrib.http.presence import Gone, while_there

_PACE: Final = 0.1
"""Seconds between two looks at what was said."""

_HEADERS: Final = (
    (b"content-type", EVENTS.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events until it has enough of them
    (b"x-content-type-options", b"nosniff"),
)
_BEAT: Final = b":\n\n"  # a comment, which clients leave out: it keeps proxies from ending what is silent


class Streaming:
    """Calls functions of a host for clients that watch.

    Args:
        host: whose.
        bounds: of a request.
    """

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._host, self._bounds = host, bounds

    async def one(self, name: str, exchange: Exchange) -> None:
        """Answer `POST /v1/functions/NAME` with `progress` and `step` events, and one `result` or `problem`."""
        payload = await exchange.payload()
        timeout, headers = exchange.timeout(), exchange.passed_on()
        news = asyncio.Event()
        latest = Latest(_waker(news))
        context = copy_context()
        context.run(listening.set, latest)
        made = self._host.acall(name, payload, timeout, exchange.tenant, None, headers)
        call = asyncio.get_running_loop().create_task(made, context=context)
        call.add_done_callback(partial(_ended, news))
        try:
            with while_there(exchange.receive):
                exchange.begun = True
                await self._send(exchange, {"type": "http.response.start", "status": 200, "headers": _HEADERS})
                while not call.done():
                    if await self._come(news):
                        await self._tell(exchange, latest.take())
                        await asyncio.wait({call}, timeout=_PACE)
                    else:
                        await self._write(exchange, _BEAT)
                await self._tell(exchange, latest.close())
                await self._write(exchange, _end(name, call), more=False)
        finally:
            latest.close()
            call.cancel()

    async def _come(self, news: asyncio.Event) -> bool:
        """Wait until there is something to tell, or the connection has been silent for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.heartbeat):
                await news.wait()
        said = news.is_set()
        news.clear()
        return said

    async def _tell(self, exchange: Exchange, said: tuple[Progress | StepProgress, ...]) -> None:
        if said:
            await self._write(exchange, b"".join(map(_event, said)))

    async def _write(self, exchange: Exchange, data: bytes, *, more: bool = True) -> None:
        await self._send(exchange, {"type": "http.response.body", "body": data, "more_body": more})

    async def _send(self, exchange: Exchange, message: dict[str, Any]) -> None:
        """Send something, unless the client does not read: nobody waits for what it has asked for."""
        try:
            async with asyncio.timeout(self._bounds.patience):
                await exchange.send(message)
        except TimeoutError:
            raise Gone from None


def _waker(news: asyncio.Event) -> Any:
    """Make what has the loop look, from any thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # it is closed: nobody is there any more
            loop.call_soon_threadsafe(news.set)

    return wake


def _ended(news: asyncio.Event, call: "asyncio.Task[Any]") -> None:
    """Have the loop look; and know how a call has ended that nobody waits for any more."""
    news.set()
    if not call.cancelled():
        call.exception()


def _event(said: Progress | StepProgress) -> bytes:
    kind = "progress" if isinstance(said, Progress) else "step"
    document = msgspec.structs.asdict(said)
    return _framed(kind, msgspec.json.encode(document))


def _end(name: str, call: "asyncio.Task[Any]") -> bytes:
    """Write how a call has ended, as its last event."""
    try:
        return _framed("result", to_json(call.result()))
    except TypeError:  # a result that has no form; the call's own errors are all of one tree
        problem = formless(name)
    except JackfieldError as error:
        problem = problems.of_error(error)
    except asyncio.CancelledError:  # by whoever ends the host, since the client is there
        problem = problems.of_error(Cancelled(name, "the host stops"))
    return _framed("problem", to_json(problem.document))


def _framed(kind: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
