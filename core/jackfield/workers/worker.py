"""One worker as its host sees it: a process, its two channels, and the calls that it has open."""

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from time import monotonic
from typing import Any, Final, Protocol

import msgspec

from jackfield.errors import DeadlineExceeded, JackfieldError, PayloadError, ResourceExhausted, Unavailable
from jackfield.executors.worker import Undelivered
from jackfield.model.call import NO_HEADERS, Call
from jackfield.wire.crossing import pack
from jackfield.wire.errors import restore
from jackfield.workers import messages
from jackfield.workers.arena import KEPT, LARGEST, Arena, NoRoom
from jackfield.workers.channel import Channel, ChannelBroken, Ticket, settle, teller
from jackfield.workers.credentials import sender
from jackfield.workers.messages import (
    NOTHING,
    About,
    Answer,
    Cancel,
    Invoke,
    Method,
    Place,
    Ready,
    Request,
    Result,
    Said,
    Spans,
    Took,
    failure_of,
)

GRACE: Final = 0.5
"""Seconds that a call may go on past its deadline, having been told, before its worker is killed."""

_ANSWERED: Final = 5.0  # seconds that a worker may take to read an answer
_FREED: Final = 0.1  # seconds in which calls may have ended that take up room
_LEFT: Final = "its worker has been told, and is killed if it does not end"


class Services(Protocol):
    """What a worker may ask of its host."""

    def answer(self, kind: str, body: Any, call: Call | None) -> Any:
        """Answer a question in this thread, within the call in which it was asked; raise what the worker is to get."""
        ...

    async def aanswer(self, kind: str, body: Any, call: Call | None) -> Any:
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


class _Entry:
    """A call, or a method, that is open."""

    __slots__ = ("abandoned", "call", "context", "inbox", "places", "spans", "ticket")

    def __init__(self, call: Call | None) -> None:
        self.call = call
        self.places: list[Place | None] = []  # of what it was sent, which is free when it ends
        self.inbox: deque[Any] = deque()
        self.ticket: Ticket | None = None
        self.abandoned: Callable[[], object] | None = None
        self.spans: Spans | None = None  # that have come, for whoever takes the result
        self.context: Context | None = None  # of whoever has left

    def put(self, message: Any) -> None:
        """Give something to whoever waits."""
        self.inbox.append(message)
        ticket = self.ticket
        if ticket is not None and not ticket.done:
            ticket.settle(None)


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
        pid: of the process, as the kernel says.
        served: how many calls it has been given.
        served_then: the same when somebody looked last whether it is needed.
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
        self.served = 0
        self.served_then = -1
        self.answered = False
        self.exclusive = False
        self.shared = 0
        self.dead = False
        self.killed_for, self.killed_by = "", ""
        self.on_death: Callable[[Worker, ChannelBroken], object] = lambda *_: None
        self._post = post
        self._services = services
        self._over: JackfieldError | None = None  # why it is gone, once everybody has been told
        self._pidfd = -1
        self._ids = count(1)
        self._open: dict[int, _Entry] = {}
        self._greeted = 0
        self._met: asyncio.Future[None] | None = None
        self._side_socket = side
        self._arena = arena
        self._read_since: deque[Place] = deque()  # results that have been read, and the worker has not been told
        self.calls: Channel[Any] = Channel(calls, messages.ToHost, self._took_call)
        self.side: Channel[Any] = Channel(side, messages.ToHost, self._took_beside)
        self.calls.on_break = self.side.on_break = self._broke

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
            self.calls.watch(loop)
            self.side.watch(loop)
            try:
                await self._met
            finally:
                self.calls.unwatch(loop)
                self.side.unwatch(loop)  # this loop goes on reading it: no thread ever wants to

    async def method(self, name: str, budget: float, state: bytes | None = None) -> Any:
        """Call a method of the plugin object, and await its result.

        Args:
            name: `start`, `stop`, `health` or `snapshot`.
            budget: seconds that it may take.
            state: what an earlier instance left, for `start`.

        Raises:
            TimeoutError: when it takes longer.
            PluginError: when it fails.
            Unavailable: when the worker has ended.
        """
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        number, entry = next(self._ids), _Entry(None)
        entry.ticket = Ticket(teller(loop, came))
        self._open[number] = entry
        try:
            async with asyncio.timeout(budget + GRACE):
                await self.side.asend(Method(number, name, state, budget))
                if self.dead:
                    raise self._gone()
                await came
        except ChannelBroken:
            raise self._gone() from None
        finally:
            self._open.pop(number, None)
        return self._finished(entry.inbox[0], self.plugin)

    def kill(self, why: str, cause: str = "killed") -> None:
        """Kill it; whoever waits is told why, and by what cause of `Unavailable`."""
        if not self.killed_for:
            self.killed_for, self.killed_by = why, cause
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self.calls.close()
        self.side.close()

    def end(self, error: JackfieldError) -> None:
        """Tell everybody who waits that it is gone; on the control loop, once it is."""
        self._over = error
        while self._open:
            _, entry = self._open.popitem()
            if entry.abandoned is not None:
                entry.abandoned()
            entry.put(error)
        self.calls.close()
        self.side.close()
        self._arena.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _broke(self, error: ChannelBroken) -> None:
        if not self.dead:
            self.dead = True
            self._post(self.on_death, self, error)

    def _gone(self) -> Unavailable:
        return Unavailable(self.plugin, "its worker has ended", "crashed")

    # --- Calls, in any thread -----------------------------------------------------------------------------------------

    def run(self, function: int, call: Call, release: Callable[[], object]) -> Any:
        """Run a function, and wait for its result in this thread.

        Args:
            function: its number.
            call: the call.
            release: gives the worker back, when it is done with the call: in this thread or later.
        """
        number, entry, message = self._prepared(function, call, release)
        try:
            self.calls.send(message, call.deadline)
        except BaseException as error:
            self._unsent(message, entry, call, release, error)
            raise
        self._check_alive(number, release)
        try:
            while True:
                while entry.inbox:
                    message = entry.inbox.popleft()
                    if type(message) is not Request:
                        self._spanned(entry, message)
                        return self._finished(message, call.name, release)
                    self._reply(message, entry, *self._answered(message, call))
                entry.ticket = ticket = Ticket()
                if not entry.inbox and not self.calls.wait(ticket, call.deadline) and not entry.inbox:
                    raise DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), _LEFT)  # noqa: TRY301  # left behind as any other
        except BaseException:
            self._abandon(number, entry, call, release)
            raise

    async def arun(self, function: int, call: Call, release: Callable[[], object]) -> Any:
        """Do the same without blocking the running event loop."""
        loop = asyncio.get_running_loop()
        number, entry, message = self._prepared(function, call, release)
        try:
            await self.calls.asend(message)
        except BaseException as error:
            self._unsent(message, entry, call, release, error)
            raise
        self._check_alive(number, release)
        tasks: set[asyncio.Task[None]] = set()
        self.calls.watch(loop)
        try:
            while True:
                while entry.inbox:
                    message = entry.inbox.popleft()
                    if type(message) is not Request:
                        self._spanned(entry, message)
                        return self._finished(message, call.name, release)
                    task = loop.create_task(self._areply(message, entry, call))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                came: asyncio.Future[None] = loop.create_future()
                entry.ticket = Ticket(teller(loop, came))
                if not entry.inbox:
                    await came
        except BaseException as error:
            self._abandon(number, entry, call, release)
            _say_late(error, call, _LEFT)
            raise
        finally:
            self.calls.unwatch(loop)
            for task in tasks:
                task.cancel()

    def _prepared(self, function: int, call: Call, release: Callable[[], object]) -> tuple[int, _Entry, Invoke]:
        """Open a call; give its number, and the message that begins it."""
        number, entry = next(self._ids), _Entry(call)
        try:
            message = self._invoke(number, function, call)
        except BaseException as error:
            release()
            if isinstance(error, TypeError):
                raise PayloadError(call.name, "$", "plain data, to go to a worker", str(error)) from None
            if isinstance(error, NoRoom):
                raise _too_large(call, error) from None
            raise
        entry.places.append(message.place)
        self._open[number] = entry
        self.served += 1
        return number, entry, message

    def _unsent(
        self, message: Invoke, entry: _Entry, call: Call, release: Callable[[], object], error: BaseException
    ) -> None:
        """Close a call that could not be sent, and raise what that means for its caller; else the error goes on."""
        self._open.pop(message.id, None)
        self._free(entry)
        self._read_since.extend(message.took)
        release()
        if isinstance(error, ValueError):
            raise _too_large(call, error) from None
        if isinstance(error, TimeoutError):
            late = monotonic() - (call.deadline or 0.0)
            raise DeadlineExceeded(call.name, late, "its worker did not take it") from None
        if isinstance(error, ChannelBroken):
            raise Undelivered from None
        _say_late(error, call, "its worker did not take it")

    def _check_alive(self, number: int, release: Callable[[], object]) -> None:
        """Raise why the worker is gone, if whoever was told of that has not seen this call."""
        if self._over is not None and self._open.pop(number, None) is not None:
            release()
            raise self._over

    def _invoke(self, number: int, function: int, call: Call) -> Invoke:
        own = call.number
        if own is None or own < 0:
            own = int(call.id, 16)
        about = None
        rare = call.tenant is not None or call.trace is not None or call.rule or call.attempt > 1
        if rare or call.headers is not NO_HEADERS:
            trace = call.trace
            about = About(
                call.tenant,
                dict(call.headers),
                call.rule,
                call.attempt,
                None
                if trace is None
                else (trace.trace_id.to_bytes(16, "big"), trace.span_id.to_bytes(8, "big"), int(trace.trace_flags)),
            )
        payload, place = self._arena.put(call.payload)
        took = self._told() if self._read_since else ()
        budget = None if call.deadline is None else max(call.deadline - monotonic(), 0.0)
        return Invoke(number, function, payload, budget, own.to_bytes(16, "big"), call.revision, about, place, took)

    def _abandon(self, number: int, entry: _Entry, call: Call, release: Callable[[], object]) -> None:
        """Leave a call behind: its worker is told, and killed if it goes on past the deadline."""
        entry.context = copy_context()
        entry.abandoned = release
        if number not in self._open:  # it has ended in this very moment
            if entry.inbox:
                entry.abandoned = None
                release()
            return
        with suppress(ChannelBroken, TimeoutError):
            self.calls.send(Cancel(number), monotonic())
        self._post(self._watch_over, number, entry, call)

    def _watch_over(self, number: int, entry: _Entry, call: Call) -> None:
        """Wait on the control loop for the end of a call that nobody waits for any more."""
        loop = asyncio.get_running_loop()
        if number not in self._open:
            return
        self.calls.watch(loop)
        timer: asyncio.TimerHandle | None = None

        def ended() -> None:
            loop.call_soon_threadsafe(finish)

        def finish() -> None:
            if timer is not None:
                timer.cancel()
            self.calls.unwatch(loop)

        entry.ticket = Ticket(ended)
        if number not in self._open:
            finish()
            return
        if call.deadline is not None:
            wait = max(call.deadline - monotonic(), 0.0) + GRACE
            timer = loop.call_later(wait, self.kill, f"{call.name} went on {GRACE:g} s past its deadline")

    def _finished(self, message: Any, name: str, release: Callable[[], object] = lambda: None) -> Any:
        """Give a result, or raise what there is instead; give the worker back, and its memory."""
        try:
            return self._read(message, name)
        finally:
            self._tell_read(message)
            release()

    def _tell_read(self, message: Any) -> None:
        """Note that a result has been read; tell the worker now, if that should not wait for its next call."""
        place = message.place if type(message) is Result else None
        if place is None:
            return
        self._read_since.append(place)
        if self._open or place.size > KEPT:
            told = self._told()
            try:
                self.calls.send(Took(told), monotonic())
            except TimeoutError:  # it does not read now, and is told with its next call
                self._read_since.extend(told)
            except ChannelBroken:  # it is gone, and its memory with it
                return

    def _told(self) -> tuple[Place, ...]:
        told: list[Place] = []
        with suppress(IndexError):
            while self._read_since:
                told.append(self._read_since.popleft())
        return tuple(told)

    def _read(self, message: Any, name: str) -> Any:
        if type(message) is not Result:
            raise message
        if message.failure is not None:
            raise restore(message.failure, name)
        try:
            return self._arena.get(message.result, message.place)
        except (ValueError, TypeError) as error:
            if self._over is not None:
                raise self._over from None
            self._post(self.kill, "it sent what cannot be read")  # there: nobody else may hold its descriptor meanwhile
            raise Unavailable(name, f"its worker sent what cannot be read: {error}", "protocol", ran=True) from None

    def _free(self, entry: _Entry) -> None:
        """Let the memory of what a call was sent be used again."""
        with suppress(IndexError):
            while True:
                self._arena.free(entry.places.pop())

    # --- What it asks -------------------------------------------------------------------------------------------------

    def _body(self, request: Request) -> Any:
        try:
            return self._arena.get(request.body, request.place)
        except (ValueError, TypeError) as error:
            raise Unavailable(self.plugin, f"what it asked cannot be read: {error}", "protocol") from None

    def _answered(self, request: Request, call: Call | None) -> tuple[Any, BaseException | None]:
        try:
            return self._services.answer(request.kind, self._body(request), call), None
        except Exception as error:  # noqa: BLE001  # whatever it is goes to the worker
            return None, error

    def _reply(self, request: Request, entry: _Entry | None, result: Any, error: BaseException | None) -> None:
        channel, ends = (self.calls if request.call else self.side), monotonic() + _ANSWERED
        with suppress(ChannelBroken, TimeoutError):  # it is gone, or does not read: its call ends by that
            try:
                channel.send(self._answer(request, entry, result, error), ends)
            except ValueError as wrong:  # it is too large
                channel.send(self._answer(request, None, None, wrong), ends)

    async def _areply(self, request: Request, entry: _Entry, call: Call) -> None:
        try:
            result, error = await self._services.aanswer(request.kind, self._body(request), call), None
        except Exception as wrong:  # noqa: BLE001  # as above
            result, error = None, wrong
        with suppress(ChannelBroken, TimeoutError):
            async with asyncio.timeout(_ANSWERED):
                try:
                    await self.calls.asend(self._answer(request, entry, result, error))
                except ValueError as wrong:
                    await self.calls.asend(self._answer(request, None, None, wrong))

    def _answer(self, request: Request, entry: _Entry | None, result: Any, error: BaseException | None) -> Answer:
        """Make an answer; a large one is in the memory of the call in which it was asked, a failure fits anywhere."""
        if error is None:
            try:
                if entry is None:
                    return Answer(request.id, msgspec.Raw(pack(result)))
                raw, place = self._arena.put_result(result)
                entry.places.append(place)
                if request.call not in self._open:  # the call has ended meanwhile
                    self._free(entry)
                return Answer(request.id, raw, None, place)
            except (TypeError, ValueError) as wrong:  # it has no form, or is too large
                error = wrong
        return Answer(request.id, NOTHING, failure_of(error, request.kind))

    # --- What comes, in the thread of whoever reads -------------------------------------------------------------------

    def _took_call(self, message: Any) -> None:
        kind = type(message)
        if kind is Result:
            entry = self._open.pop(message.id, None)
            if entry is None:
                raise ChannelBroken("it answered what nobody has asked")
            self.answered = True
            self._free(entry)
            abandoned = entry.abandoned
            entry.put(message)
            if abandoned is not None:
                abandoned()
                self._spanned_late(entry, message)
        elif kind is Request or kind is Said or kind is Spans:
            entry = self._open.get(message.call)
            if entry is None or entry.call is None:
                raise ChannelBroken("it spoke for a call that it does not run")
            if kind is Said:
                self._services.said(message, entry.call)
            elif kind is Request:
                entry.put(message)
            elif entry.spans is None:
                entry.spans = message
            else:
                raise ChannelBroken("it sent the spans of one call twice")
        else:
            self._met_by(message)

    def _spanned(self, entry: _Entry, message: Any) -> None:
        """Hand over the spans that came before a result, in the context of their call: the host's is current there."""
        if entry.spans is not None and entry.call is not None and type(message) is Result:
            self._services.spanned(entry.spans, entry.call)

    def _spanned_late(self, entry: _Entry, message: Result) -> None:
        """Hand over those of a call that nobody waits for any more, elsewhere: whoever reads waits for no exporter."""
        if entry.spans is not None and entry.context is not None:
            with suppress(ResourceExhausted):  # no thread is left, so they are lost
                context = entry.context
                self._services.start(f"{self.plugin}:spans", lambda: context.run(self._spanned, entry, message))

    def _took_beside(self, message: Any) -> None:
        kind = type(message)
        if kind is Result:
            entry = self._open.get(message.id)
            if entry is None or entry.call is not None:
                return  # a method that nobody waits for any more
            entry.put(message)
        elif kind is Said and not message.call:
            self._services.said(message, None)
        elif kind is Request and not message.call:
            self._ask_beside(message)
        else:
            self._met_by(message)

    def _ask_beside(self, request: Request) -> None:
        def answer() -> None:
            self._reply(request, None, *self._answered(request, None))

        self._services.start(f"{self.plugin}:asked", answer)

    def _met_by(self, message: Any) -> None:
        if type(message) is not Ready or message.version != messages.VERSION or self._greeted == 2:  # noqa: PLR2004  # two channels
            raise ChannelBroken("it speaks another version of the protocol, or greets again")
        self._greeted += 1
        met = self._met
        if self._greeted == 2 and met is not None:  # noqa: PLR2004  # as above
            self._post(settle, met)


def _too_large(call: Call, error: ValueError) -> JackfieldError:
    if isinstance(error, NoRoom) and error.size <= LARGEST:
        return ResourceExhausted(call.name, str(error), _FREED)
    return PayloadError(call.name, "$", f"at most {LARGEST:,} bytes", str(error))


def _say_late(error: BaseException, call: Call, detail: str) -> None:
    """Say with a cancellation that it is the deadline's, as far as is known here."""
    if call.deadline is not None and isinstance(error, asyncio.CancelledError) and error.__cause__ is None:
        error.__cause__ = DeadlineExceeded(call.name, 0.0, detail)
