"""A worker's side of its two channels: calls come in on one, everything that belongs to none goes over the other."""

import os
import socket
import threading
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Any

from jackfield.errors import DeadlineExceeded
from jackfield.model.call import Call, current
from jackfield.wire.errors import restore
from jackfield.workers import messages
from jackfield.workers.arena import Arena
from jackfield.workers.channel import Channel
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.messages import TEXT, Answer, Place, Ready, Request, Said, Took
from jackfield.workers.tickets import Ticket, teller


class Link:
    """Asks the host, and tells it. It is made before there is a channel, for what is injected.

    Args:
        take: gets what comes that is no answer, with whether it came as a call; it must not wait.
    """

    calls: Channel[Any]
    side: Channel[Any]
    arena: Arena

    def __init__(self, take: Callable[[Any, bool], object]) -> None:
        self._take = take
        self._numbers = count(1)
        self._open: dict[int, Ticket] = {}
        self._places: dict[int, Place] = {}  # number of a question → where its body is
        self._ids: dict[int, int] = {}  # number of a call that runs here → its id on the channel

    def meet(self, calls: socket.socket, side: socket.socket, arena: Arena) -> None:
        """Say that this worker is there; begin to listen beside its calls.

        Args:
            calls: the socket that calls come on.
            side: the socket for everything else.
            arena: the memory that it shares with the host.
        """
        self.arena = arena
        self.calls = Channel(calls, messages.ToWorker, lambda message: self._come(message, of_calls=True), _end)
        self.side = Channel(side, messages.ToWorker, lambda message: self._come(message, of_calls=False), _end)
        ready = Ready(messages.VERSION, os.getpid())
        self.side.send(ready)
        self.calls.send(ready)
        threading.Thread(target=self.side.wait, args=(Ticket(),), name="jackfield-side", daemon=True).start()

    def _come(self, message: Any, *, of_calls: bool) -> None:
        if isinstance(message, Answer):
            self.arena.free(self._places.pop(message.id, None))
            ticket = self._open.pop(message.id, None)
            if ticket is not None:
                ticket.settle(message)
        elif isinstance(message, Took):
            self.free(message.places)
        else:
            self._take(message, of_calls)

    def free(self, places: tuple[Place, ...]) -> None:
        """Let the memory of results be used again, which the host has read."""
        for place in places:
            self.arena.free(place)

    # --- Calls that run here -----------------------------------------------------------------------------------------

    def begin(self, call: Call, number: int) -> None:
        """Note that a call runs here, under this number on its channel."""
        assert call.number is not None  # noqa: S101  # the host gave it
        self._ids[call.number] = number

    def finish(self, call: Call) -> None:
        """Note that it has ended."""
        self._ids.pop(call.number or 0, None)

    def here(self) -> int:
        """Give the number on its channel of the call in which this runs; 0 outside of any."""
        call = current.get()
        while call is not None:
            if call.number is not None and (found := self._ids.get(call.number)) is not None:
                return found
            call = call.parent
        return 0

    # --- Asking ------------------------------------------------------------------------------------------------------

    def ask(self, kind: str, body: Any, what: str, deadline: float | None = None, *, member: int = 0) -> Any:
        """Ask the host something, and wait for the answer.

        Args:
            kind: of the question.
            body: the question.
            what: it is about, for errors.
            deadline: when to give up, on `time.monotonic`'s clock.
            member: the number of the plugin that asks.

        Raises:
            DeadlineExceeded: when the answer does not come in time.
            JackfieldError: what the host refuses it with.
        """
        ticket = Ticket()
        channel, number = self._send(kind, body, ticket, member)
        if not channel.wait(ticket, deadline):
            self._open.pop(number, None)
            raise DeadlineExceeded(what, monotonic() - (deadline or 0.0), "the host has not answered")
        return self._answered(ticket, what)

    async def aask(self, kind: str, body: Any, what: str, *, member: int = 0) -> Any:
        """Do the same without blocking the running event loop."""
        import asyncio  # noqa: PLC0415  # for those who have a loop

        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()

        ticket = Ticket(teller(loop, came))
        _, number = self._send(kind, body, ticket, member)
        try:
            await came
        finally:
            self._open.pop(number, None)
        return self._answered(ticket, what)

    def _answered(self, ticket: Ticket, what: str) -> Any:
        answer = ticket.result()
        if answer.failure is not None:
            raise restore(answer.failure, what)
        return self.arena.get(answer.result, answer.place)

    def _send(self, kind: str, body: Any, ticket: Ticket, member: int) -> tuple[Channel[Any], int]:
        call = self.here()
        channel = self.calls if call else self.side
        number = next(self._numbers)
        raw, place = self.arena.put(body)
        message = Request(number, call, kind, raw, place, member)
        self._open[number] = ticket
        if place is not None:
            self._places[number] = place
        try:
            channel.send(message)
        except ValueError:  # it is too large, and was not sent
            del self._open[number]
            self.arena.free(self._places.pop(number, None))
            raise
        return channel, number

    def say(
        self, level: str, text: str, fields: dict[str, Any], where: tuple[str, str, int], *, member: int = 0
    ) -> None:
        """Have the host log something: what is longer than a log can use is cut."""
        call = self.here()
        channel = self.calls if call else self.side
        text = text if len(text) <= TEXT else f"{text[:TEXT]}…"
        try:
            channel.send(Said(call, level, text, fields, where, member))
        except ValueError:  # whoever logs is not to fail by it
            channel.send(Said(call, level, text, dict.fromkeys(fields, "…"), where, member))


def _end(error: ChannelBroken) -> None:
    """End with the host: it is gone, or has closed the channel, and nobody waits for anything here."""
    os._exit(71 if error.breach else 0)
