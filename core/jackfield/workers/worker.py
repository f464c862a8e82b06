"""One worker as its host sees it: a process, and its two channels."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any, Final

from jackfield.errors import JackfieldError, Unavailable
from jackfield.model.call import Call
from jackfield.wire.errors import restore
from jackfield.workers import messages
from jackfield.workers.answers import Answers, Services
from jackfield.workers.arena import Arena
from jackfield.workers.calls import GRACE, Calls, Release
from jackfield.workers.channel import Channel
from jackfield.workers.credentials import sender
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.messages import Method, Ready, Request, Result, Said
from jackfield.workers.tickets import Ticket, resolve, teller

_CHANNELS: Final = 2  # on each of which it greets


class Worker:
    """A process that runs one plugin.

    Args:
        plugin: its name.
        calls: the host's end of the channel for calls.
        side: that of the channel for everything else.
        arena: the memory that both share.
        services: what it may ask.
        post: has something done on the control loop.

    Attributes:
        calls: those that it has open.
        pid: of the process, as the kernel says.
        served_then: how many calls it had been given when somebody looked last whether it is needed.
        exclusive: whether it runs a sync function.
        shared: how many async ones it runs.
        on_death: called once, on the control loop, when it is gone.
    """

    def __init__(
        self,
        plugin: str,
        calls: socket.socket,
        side: socket.socket,
        arena: Arena,
        services: Services,
        post: Callable[..., None],
    ) -> None:
        self.plugin = plugin
        self.pid = 0
        self.began = monotonic()
        self.served_then = -1
        self.exclusive = False
        self.shared = 0
        self.dead = False
        self._breaking = threading.Lock()  # whoever has it is the one who tells
        self.killed_for, self.killed_by = "", ""
        self.on_death: Callable[[Worker, ChannelBroken], object] = lambda *_: None
        self._post = post
        self._services = services
        self._pidfd = -1
        self._ids = count(1)
        self._asked: dict[int, Ticket] = {}  # methods whose results are awaited
        self._greeted = 0
        self._met: asyncio.Future[None] | None = None
        self._side_socket = side
        self._arena = arena
        self.calls = Calls(plugin, calls, arena, services, self, post)
        self._side: Channel[Any] = Channel(side, messages.ToHost, self._take, self.broke)
        self._answers = Answers(plugin, self._side, arena, services, post)

    # --- Its life, on the control loop -------------------------------------------------------------------------------

    async def meet(self, timeout: float) -> None:
        """Wait until it has said that it is there; learn from the kernel which process it is.

        Raises:
            TimeoutError: when it does not say so in time.
            Unavailable: when it has ended.
        """
        loop = asyncio.get_running_loop()
        self._met = loop.create_future()
        async with asyncio.timeout(timeout):
            self.pid = await sender(loop, self._side_socket)
            if not self.pid:
                raise Unavailable(self.plugin, "its worker ended before it was there", "start_failed", ran=False)
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)
            readers = self.calls.channel.watch(loop)
            self._side.watch(loop)
            try:
                await self._met
            finally:
                self.calls.channel.unwatch(readers)
                self._side.unwatch(readers)  # this loop goes on reading it: no thread ever wants to

    async def method(self, name: str, budget: float, state: bytes | None = None, *, member: int = 0) -> Any:
        """Call a method of the plugin object, and await its result.

        Args:
            name: `start`, `stop`, `health` or `snapshot`; or as `Method` has it.
            budget: seconds that it may take.
            state: what an earlier instance left, for `start`.
            member: the number of the plugin in its process.

        Raises:
            TimeoutError: when it takes longer.
            PluginError: when it fails.
            Unavailable: when the worker has ended.
        """
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        number, ticket = next(self._ids), Ticket(teller(loop, came))
        self._asked[number] = ticket
        try:
            async with asyncio.timeout(budget + GRACE):
                await self._side.asend(Method(number, name, state, budget, member))
                if self.dead:
                    raise self._gone()
                await came
        except ChannelBroken:
            raise self._gone() from None
        finally:
            self._asked.pop(number, None)
        result: Result = ticket.result()
        if result.failure is not None:
            raise restore(result.failure, self.plugin)
        try:
            return self._arena.get(result.result, result.place)
        except (ValueError, TypeError) as error:
            self.kill("it sent what cannot be read")
            reason = f"its worker sent what cannot be read: {error}"
            raise Unavailable(self.plugin, reason, "protocol", ran=True) from None

    def kill(self, why: str, cause: str = "killed") -> None:
        """Kill it; whoever waits is told why, and by what cause of `Unavailable`."""
        if not self.killed_for:
            self.killed_for, self.killed_by = why, cause
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self.calls.channel.close()
        self._side.close()

    def end(self, error: JackfieldError) -> None:
        """Tell everybody who waits that it is gone; on the control loop, once it is."""
        self.calls.end(error)
        for ticket in list(self._asked.values()):
            if not ticket.done:
                ticket.settle(None, error)
        self.calls.channel.close()
        self._side.close()
        self._arena.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def broke(self, error: ChannelBroken) -> None:
        """Take note that a channel is at its end, and so the worker; in the thread of whoever reads."""
        if self._breaking.acquire(blocking=False):  # both channels break, and in two threads
            self.dead = True
            self._post(self.on_death, self, error)

    def _gone(self) -> Unavailable:
        return Unavailable(self.plugin, "its worker has ended", "crashed")

    # --- Calls, in any thread -----------------------------------------------------------------------------------------

    @property
    def served(self) -> int:
        """How many calls it has been given."""
        return self.calls.served

    @property
    def answered(self) -> bool:
        """Whether it has answered one."""
        return self.calls.answered

    def run(self, function: int, call: Call, release: Release) -> Any:
        """Run a function, and wait for its result in this thread; as `Calls.run`."""
        return self.calls.run(function, call, release)

    async def arun(self, function: int, call: Call, release: Release) -> Any:
        """Do the same without blocking the running event loop."""
        return await self.calls.arun(function, call, release)

    # --- What comes beside calls, in the thread of whoever reads ------------------------------------------------------

    def _take(self, message: Any) -> None:
        kind = type(message)
        if kind is Result:
            ticket = self._asked.get(message.id)
            if ticket is not None and not ticket.done:  # else nobody waits for that method any more
                ticket.settle(message)
        elif kind is Said and not message.call:
            self._services.said(message, None)
        elif kind is Request and not message.call:
            self._ask(message)
        else:
            self.met(message)

    def _ask(self, request: Request) -> None:
        self._services.start(f"{self.plugin}:asked", lambda: self._answers.reply(request, None, None))

    def met(self, message: Any) -> None:
        """Take in what it says first on each channel; nothing else is left that it may say."""
        if type(message) is not Ready or message.version != messages.VERSION or self._greeted == _CHANNELS:
            raise ChannelBroken("it speaks another version of the protocol, or greets again")
        self._greeted += 1
        met = self._met
        if self._greeted == _CHANNELS and met is not None:
            self._post(resolve, met)
