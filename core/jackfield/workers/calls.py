"""The calls that a worker has open: how each is sent, waited for, and left behind."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from time import monotonic
from typing import Any, Final, Protocol

from jackfield.errors import DeadlineExceeded, JackfieldError, PayloadError, ResourceExhausted, Unavailable
from jackfield.executors.worker import Undelivered
from jackfield.model.call import NO_HEADERS, Call
from jackfield.model.progress import listening, progress_of
from jackfield.wire.errors import restore
from jackfield.workers import messages
from jackfield.workers.answers import Answers, Services
from jackfield.workers.arena import KEPT, LARGEST, Arena, NoRoom
from jackfield.workers.channel import Channel
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.messages import About, Cancel, Invoke, Place, Progressed, Request, Result, Said, Spans, Took
from jackfield.workers.readers import Readers
from jackfield.workers.tickets import Ticket, resolve, teller

GRACE: Final = 0.5
"""Seconds that a call may go on past its deadline, having been told, before its worker is killed."""

_FREED: Final = 0.1  # seconds in which calls may have ended that take up room
_LEFT: Final = "its worker has been told, and is killed if it does not end"

Release = Callable[[], object]
"""Gives the worker back."""


class Process(Protocol):
    """The process in which calls run."""

    def kill(self, why: str) -> None:
        """Kill it; on the control loop."""
        ...

    def broke(self, error: ChannelBroken) -> None:
        """Take note that it is gone."""
        ...

    def met(self, message: Any) -> None:
        """Take in what is no message of a call."""
        ...


class _Open:
    """A call that is open; it ends with a `Result`, or with why its worker is gone."""

    __slots__ = ("_arena", "_ended", "_places", "call", "heard", "inbox", "left", "loop", "release", "spans", "ticket")

    def __init__(self, call: Call, release: Release, arena: Arena) -> None:
        self.call, self.release = call, release
        self.loop: asyncio.AbstractEventLoop | None = None  # on which it is awaited
        self.inbox: deque[Any] = deque()
        self.ticket: Ticket | None = None
        self.left: Context | None = None  # of whoever has left
        self.spans: Spans | None = None  # that have come, for whoever takes the result
        self.heard = listening.get()  # by whom, how far it has come
        self._arena = arena
        self._places: list[Place | None] = []  # of what it was sent, which is free when it ends
        self._ended = False

    def keep(self, place: Place | None) -> None:
        """Have a part of the memory kept until the call ends."""
        if place is not None:
            self._places.append(place)
            if self._ended:  # meanwhile
                self.end()

    def end(self) -> None:
        """Let the memory be used again."""
        self._ended = True
        if self._places:
            with suppress(IndexError):
                while True:
                    self._arena.free(self._places.pop())

    def tell(self) -> None:
        """Have whoever waits look again."""
        ticket = self.ticket
        if ticket is not None and not ticket.done:
            ticket.settle(None)


class Calls:
    """Runs the functions of a plugin in its worker, for callers in any thread.

    Args:
        plugin: its name.
        connection: the host's end of the channel for calls.
        arena: the memory that both share.
        services: what it may ask.
        process: the worker.
        post: has something done on the control loop.

    Attributes:
        channel: for calls.
        served: how many it has been given.
        answered: whether one has had an answer.
    """

    def __init__(
        self,
        plugin: str,
        connection: socket.socket,
        arena: Arena,
        services: Services,
        process: Process,
        post: Callable[..., None],
    ) -> None:
        self._plugin, self._services, self._process, self._post = plugin, services, process, post
        self.served = 0
        self.answered = False
        self._over: JackfieldError | None = None  # why it is gone, once everybody has been told
        self._ids = count(1)
        self._newest = 0
        self._open: dict[int, _Open] = {}
        self._arena = arena
        self._read_since: deque[Place] = deque()  # results that have been read, and the worker has not been told
        self.channel: Channel[Any] = Channel(connection, messages.ToHost, self._take, process.broke)
        self._answers = Answers(plugin, self.channel, arena, services, post)

    def run(self, function: int, call: Call, release: Release) -> Any:
        """Run a function, and wait for its result in this thread.

        Args:
            function: its number.
            call: the call.
            release: gives the worker back, when it is done with the call: in this thread or later.
        """
        number, opened, message = self._prepared(function, call, release)
        try:
            self.channel.send(message, call.deadline)
        except BaseException as error:
            self._unsent(message, opened, error)
            raise
        self._check_alive(number, opened)
        try:
            while True:
                while opened.inbox:
                    message = opened.inbox.popleft()
                    if type(message) is not Request:
                        return self._finished(opened, message)
                    if call.deadline is not None and monotonic() >= call.deadline:  # however much it asks
                        self._answers.refuse(message)
                        raise DeadlineExceeded(call.name, monotonic() - call.deadline, _LEFT)  # noqa: TRY301  # as below
                    self._answers.reply(message, call, opened.keep)
                opened.ticket = ticket = Ticket()
                if not opened.inbox and not self.channel.wait(ticket, call.deadline) and not opened.inbox:
                    raise DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), _LEFT)  # noqa: TRY301  # left behind as any other
        except BaseException:
            self._leave(number, opened)
            raise

    async def arun(self, function: int, call: Call, release: Release) -> Any:
        """Do the same without blocking the running event loop."""
        loop = asyncio.get_running_loop()
        number, opened, message = self._prepared(function, call, release)
        try:
            await self.channel.asend(message)
        except BaseException as error:
            self._unsent(message, opened, error)
            _say_late(error, call, "its worker did not take it")
            raise
        self._check_alive(number, opened)
        tasks: dict[asyncio.Task[None], Request] = {}
        here, opened.loop = True, loop
        readers = self.channel.watch(loop)
        try:
            while True:
                while opened.inbox:
                    message = opened.inbox.popleft()
                    if type(message) is not Request:
                        return self._finished(opened, message)
                    task = loop.create_task(self._answers.areply(message, call, opened.keep))
                    tasks[task] = message
                    task.add_done_callback(lambda done: tasks.pop(done, None))
                came: asyncio.Future[None] = loop.create_future()
                opened.ticket = Ticket(teller(loop, came))
                if not opened.inbox:
                    await came
        except GeneratorExit:  # its loop runs no more, and this may be the garbage collector, at any line of anything
            here = False
            self._post(self._forsake, number, opened, loop, readers)
            raise
        except BaseException as error:
            self._leave(number, opened)
            _say_late(error, call, _LEFT)
            raise
        finally:
            if here:
                self.channel.unwatch(readers)
                self._answers.refuse_all(tasks)

    def end(self, error: JackfieldError) -> None:
        """Tell everybody who waits that the worker is gone; on the control loop, once it is."""
        self._over = error
        while self._open:
            _, opened = self._open.popitem()
            self._hand(opened, error)

    # --- Sending one --------------------------------------------------------------------------------------------------

    def _prepared(self, function: int, call: Call, release: Release) -> tuple[int, _Open, Invoke]:
        """Open a call; give its number, and the message that begins it."""
        number, opened = next(self._ids), _Open(call, release, self._arena)
        try:
            message = self._invoke(number, function, call, heard=opened.heard is not None)
        except BaseException as error:
            release()
            if isinstance(error, TypeError):
                raise PayloadError(call.name, "$", "plain data, to go to a worker", str(error)) from None
            if isinstance(error, NoRoom):
                raise _too_large(call, error) from None
            raise
        opened.keep(message.place)
        self._open[number] = opened
        self._newest = max(self._newest, number)
        self.served += 1
        return number, opened, message

    def _invoke(self, number: int, function: int, call: Call, *, heard: bool) -> Invoke:
        own = call.number
        if own is None or own < 0:
            own = int(call.id, 16)
        about = None
        rare = call.tenant is not None or call.trace is not None or call.rule or call.attempt > 1
        if rare or heard or call.headers is not NO_HEADERS:
            trace = call.trace
            about = About(
                call.tenant,
                dict(call.headers),
                call.rule,
                call.attempt,
                None
                if trace is None
                else (trace.trace_id.to_bytes(16, "big"), trace.span_id.to_bytes(8, "big"), int(trace.trace_flags)),
                heard,
            )
        payload, place = self._arena.put(call.payload)
        took = self._told() if self._read_since else ()
        budget = None if call.deadline is None else max(call.deadline - monotonic(), 0.0)
        return Invoke(number, function, payload, budget, own.to_bytes(16, "big"), call.revision, about, place, took)

    def _unsent(self, message: Invoke, opened: _Open, error: BaseException) -> None:
        """Close a call that could not be sent, and raise what that means for its caller; else the error goes on."""
        self._open.pop(message.id, None)
        opened.end()
        self._read_since.extend(message.took)
        opened.release()
        call = opened.call
        if isinstance(error, ValueError):
            raise _too_large(call, error) from None
        if isinstance(error, TimeoutError):
            late = monotonic() - (call.deadline or 0.0)
            raise DeadlineExceeded(call.name, late, "its worker did not take it") from None
        if isinstance(error, ChannelBroken):
            raise Undelivered from None

    def _check_alive(self, number: int, opened: _Open) -> None:
        """Raise why the worker is gone, if whoever was told of that has not seen this call."""
        if self._over is not None and self._open.pop(number, None) is not None:
            opened.release()
            raise self._over

    # --- Its end ------------------------------------------------------------------------------------------------------

    def _finished(self, opened: _Open, message: Any) -> Any:
        """Give a result, or raise what there is instead; give the worker back, and its memory."""
        try:
            self._spanned(opened, message)
            return self._read(message, opened.call.name)
        finally:
            self._tell_read(message)
            opened.release()

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
            # On the control loop: nobody else may hold its descriptor meanwhile.
            self._post(self._process.kill, "it sent what cannot be read")
            raise Unavailable(name, f"its worker sent what cannot be read: {error}", "protocol", ran=True) from None

    def _spanned(self, opened: _Open, message: Any) -> None:
        """Hand over the spans that came before a result, in the context of their call: the host's is current there."""
        if opened.spans is not None and type(message) is Result:
            self._services.spanned(opened.spans, opened.call)

    def _tell_read(self, message: Any) -> None:
        """Note that a result has been read; tell the worker now, if that should not wait for its next call."""
        place = message.place if type(message) is Result else None
        if place is None:
            return
        self._read_since.append(place)
        if self._open or place.size > KEPT:
            told = self._told()
            try:
                self.channel.send(Took(told), monotonic())
            except TimeoutError:  # others send, or it does not read: it is told with its next call
                self._read_since.extend(told)
            except ChannelBroken:  # it is gone, and its memory with it
                return

    def _told(self) -> tuple[Place, ...]:
        told: list[Place] = []
        with suppress(IndexError):
            while self._read_since:
                told.append(self._read_since.popleft())
        return tuple(told)

    # --- Those that are left behind -----------------------------------------------------------------------------------

    def _leave(self, number: int, opened: _Open) -> None:
        """Leave a call behind: its worker is told, and killed if it goes on past the deadline."""
        opened.left = copy_context()
        self._clear(opened)
        if number in self._open:  # else it has ended in this very moment
            self._answers.tell(Cancel(number))
            self._post(self._watch_over, number, opened)

    def leave_closed(self) -> None:
        """Leave those behind whose event loop has been closed; on the control loop, which looks now and then."""
        for number, opened in list(self._open.items()):
            if opened.left is None and opened.loop is not None and opened.loop.is_closed():
                self._leave(number, opened)

    def _forsake(self, number: int, opened: _Open, loop: asyncio.AbstractEventLoop, readers: Readers) -> None:
        """Leave one behind whose coroutine is gone; on the control loop."""
        if opened.left is None:
            self._leave(number, opened)
        try:
            loop.call_soon_threadsafe(self.channel.unwatch, readers)
        except RuntimeError:  # it is closed
            self.channel.unwatch(readers)

    def _clear(self, opened: _Open) -> None:
        """Take what has come for somebody who has left; whoever takes a thing deals with it, so nothing is twice."""
        context = opened.left
        assert context is not None  # noqa: S101  # of those alone
        with suppress(IndexError):
            while True:
                message = opened.inbox.popleft()
                if type(message) is Request:
                    self._answers.refuse(message)
                    continue
                self._tell_read(message)
                opened.release()
                if opened.spans is not None:
                    self._spanned_late(opened, context, message)
                opened.tell()

    def _spanned_late(self, opened: _Open, context: Context, message: Any) -> None:
        """Hand over the spans of such a call elsewhere: whoever reads waits for no exporter."""
        with suppress(ResourceExhausted):  # no thread is left, so they are lost
            self._services.start(f"{self._plugin}:spans", lambda: context.run(self._spanned, opened, message))

    def _watch_over(self, number: int, opened: _Open) -> None:
        """Wait on the control loop for the end of a call that nobody waits for any more."""
        loop = asyncio.get_running_loop()
        if number not in self._open:
            return
        readers = self.channel.watch(loop)
        over: asyncio.Future[None] = loop.create_future()
        over.add_done_callback(lambda _: self.channel.unwatch(readers))
        deadline = opened.call.deadline
        if deadline is not None:
            wait = max(deadline - monotonic(), 0.0) + GRACE
            why = f"{opened.call.name} went on {GRACE:g} s past its deadline"
            timer = loop.call_later(wait, self._process.kill, why)
            over.add_done_callback(lambda _: timer.cancel())
        opened.ticket = Ticket(teller(loop, over))
        if number not in self._open:  # meanwhile
            resolve(over)

    # --- What comes, in the thread of whoever reads -------------------------------------------------------------------

    def _take(self, message: Any) -> None:
        kind = type(message)
        if kind is Result:
            opened = self._open.pop(message.id, None)
            if opened is None:
                raise ChannelBroken("it answered what nobody has asked")
            self.answered = True
            self._hand(opened, message)
        elif kind is Request or kind is Said or kind is Spans or kind is Progressed:
            opened = self._open.get(message.call)
            if opened is None:
                self._take_late(message)
            elif kind is Said:
                self._services.said(message, opened.call)
            elif kind is Request:
                if self._answers.admit(message):
                    self._hand(opened, message)
            elif kind is Progressed:
                self._progressed(message, opened)
            elif opened.spans is None:
                opened.spans = message
            else:
                raise ChannelBroken("it sent the spans of one call twice")
        else:
            self._process.met(message)

    @staticmethod
    def _progressed(message: Progressed, opened: _Open) -> None:
        """Tell whoever listens how far a call has come."""
        if opened.heard is None:
            return
        try:
            said = progress_of(opened.call.name, message.done, message.total, message.text)
        except ValueError as error:  # which no honest worker sends
            raise ChannelBroken(str(error)) from None
        opened.heard(said)

    def _take_late(self, message: Request | Said | Spans | Progressed) -> None:
        """Take what is said for a call that has just ended: by a thread that the function has left behind."""
        if not 0 < message.call <= self._newest or isinstance(message, Spans):
            raise ChannelBroken("it spoke for a call that it does not run")
        if isinstance(message, Said):
            self._services.said(message, None)
        elif isinstance(message, Request) and self._answers.admit(message):
            self._answers.refuse(message)

    def _hand(self, opened: _Open, message: Any) -> None:
        """Give whoever waits for a call what came for it: its end, or a question."""
        if type(message) is not Request:
            opened.end()
        opened.inbox.append(message)
        if opened.left is None:
            opened.tell()
        else:
            self._clear(opened)


def _too_large(call: Call, error: ValueError) -> JackfieldError:
    if isinstance(error, NoRoom) and error.size <= LARGEST:
        return ResourceExhausted(call.name, str(error), _FREED)
    return PayloadError(call.name, "$", f"at most {LARGEST:,} bytes", str(error))


def _say_late(error: BaseException, call: Call, detail: str) -> None:
    """Say with a cancellation that it is the deadline's, as far as is known here."""
    if call.deadline is not None and isinstance(error, asyncio.CancelledError) and error.__cause__ is None:
        error.__cause__ = DeadlineExceeded(call.name, 0.0, detail)
