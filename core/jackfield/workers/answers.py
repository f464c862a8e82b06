"""What a worker asks of its host, and how it is answered."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Protocol

import msgspec

from jackfield.errors import Cancelled, Unavailable
from jackfield.model.call import Call
from jackfield.wire.crossing import pack
from jackfield.workers.arena import Arena
from jackfield.workers.channel import Channel
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.messages import NOTHING, Answer, Place, Request, Said, Spans, failure_of

_ANSWERED: Final = 5.0  # seconds that a worker may take to read an answer

Keep = Callable[[Place | None], object]
"""Takes note of where an answer is in the memory that both share."""


class Services(Protocol):
    """What a worker may ask of its host."""

    def answer(self, request: Request, body: Any, call: Call | None) -> Any:
        """Answer a question in this thread, within the call in which it was asked; raise what the worker is to get."""
        ...

    async def aanswer(self, request: Request, body: Any, call: Call | None) -> Any:
        """Do the same on an event loop."""
        ...

    def said(self, said: Said, call: Call | None) -> None:
        """Log what a worker said."""
        ...

    def spanned(self, spans: Spans, call: Call) -> None:
        """Take in the spans that a worker has recorded, in the context of the call."""
        ...

    def start(self, name: str, body: Callable[[], object]) -> None:
        """Do something in a thread of its own."""
        ...


class Answers:
    """Answers what a worker asks on one of its channels.

    Args:
        plugin: its name.
        channel: the channel.
        arena: the memory that both share.
        services: what may be asked.
        post: has something done on the control loop.
    """

    def __init__(
        self, plugin: str, channel: Channel[Any], arena: Arena, services: Services, post: Callable[..., None]
    ) -> None:
        self._plugin, self._channel, self._arena, self._services = plugin, channel, arena, services
        self._post = post
        self._told: set[asyncio.Task[None]] = set()

    def reply(self, request: Request, call: Call | None, keep: Keep | None) -> None:
        """Answer in this thread.

        Args:
            request: what was asked.
            call: in which.
            keep: takes note of where a large answer is; None: it has to fit into a message.
        """
        try:
            result, error = self._services.answer(request, self._body(request), call), None
        except Exception as wrong:  # noqa: BLE001  # whatever it is goes to the worker
            result, error = None, wrong
        except BaseException:
            self.refuse(request)  # nobody answers it any more
            raise
        ends = monotonic() + _ANSWERED
        with suppress(ChannelBroken, TimeoutError):  # it is gone, or does not read: its call ends by that
            try:
                self._channel.send(self._answer(request, keep, result, error), ends)
            except ValueError as wrong:  # it is too large
                self._channel.send(self._answer(request, None, None, wrong), ends)

    async def areply(self, request: Request, call: Call, keep: Keep) -> None:
        """Answer on an event loop; who cancels that has it refused."""
        try:
            result, error = await self._services.aanswer(request, self._body(request), call), None
        except Exception as wrong:  # noqa: BLE001  # as above
            result, error = None, wrong
        with suppress(ChannelBroken, TimeoutError):
            async with asyncio.timeout(_ANSWERED):
                try:
                    await self._channel.asend(self._answer(request, keep, result, error))
                except ValueError as wrong:
                    await self._channel.asend(self._answer(request, None, None, wrong))

    def refuse(self, request: Request) -> None:
        """Answer what nobody is there for any more: else whoever asked it would wait for ever."""
        left = Cancelled(request.kind, "its caller has left")
        self.tell(Answer(request.id, NOTHING, failure_of(left, request.kind)))

    def refuse_all(self, tasks: Mapping["asyncio.Task[None]", Request]) -> None:
        """Cancel all answers that are being made on this loop, and refuse what was asked."""
        for task, request in list(tasks.items()):
            if task.cancel():
                self.refuse(request)

    def tell(self, message: msgspec.Struct) -> None:
        """Send a small message without waiting: later, if others send in this moment."""
        try:
            self._channel.send(message, monotonic())
        except TimeoutError:
            self._post(self._tell_later, message)
        except ChannelBroken:
            return

    def _tell_later(self, message: msgspec.Struct) -> None:
        async def tell() -> None:
            with suppress(ChannelBroken, TimeoutError):
                async with asyncio.timeout(_ANSWERED):
                    await self._channel.asend(message)

        task = asyncio.get_running_loop().create_task(tell())
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    def _body(self, request: Request) -> Any:
        try:
            return self._arena.get(request.body, request.place)
        except (ValueError, TypeError) as error:
            raise Unavailable(self._plugin, f"what it asked cannot be read: {error}", "protocol") from None

    def _answer(self, request: Request, keep: Keep | None, result: Any, error: BaseException | None) -> Answer:
        """Make an answer; a large one is in the memory of the call in which it was asked, a failure fits anywhere."""
        if error is None:
            try:
                if keep is None:
                    return Answer(request.id, msgspec.Raw(pack(result)))
                raw, place = self._arena.put_result(result)
                keep(place)
                return Answer(request.id, raw, None, place)
            except (TypeError, ValueError) as wrong:  # it has no form, or is too large
                error = wrong
        return Answer(request.id, NOTHING, failure_of(error, request.kind))
