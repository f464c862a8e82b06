"""One client on the control socket: its frames in, the replies of verbs out."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import attrs

from jackfield.control.messages import Reply, Request, asked, failure_frame, reply_frame
from jackfield.control.peers import Peer
from jackfield.control.seats import Seats
from jackfield.control.stream import Stream
from jackfield.errors import JackfieldError, ResourceExhausted, Unavailable
from jackfield.log import host_log
from jackfield.runtime.pool import Pool
from jackfield.wire.frames import FrameError, FrameStream, unpack

Verb = Callable[[Mapping[str, Any]], Any]
"""What a host can be asked to do: from the arguments to a value, or to an iterator whose items are sent one by one."""

IN_FLIGHT: Final = 8  # requests of one client
STREAMS: Final = 32  # of all clients
VERBS: Final = 16  # that run at once


@attrs.define
class Desk:
    """What the connections of one server share. The counts change on the server's loop only.

    Attributes:
        verbs: by name.
        pool: where threads come from.
        idle: seconds that a client may stay connected without asking for anything.
        patience: seconds that a client has for its greeting, for the rest of a frame, and to take a reply.
        requests: runs verbs.
        items: waits for the items of streams: beside `requests`, so that followers cannot keep `status` waiting.
        streams: how many are open.
        running: the requests being answered, streams not included.
        leaving: what closes the streams of clients that left.
        stopping: whether new requests are refused.
    """

    verbs: Mapping[str, Verb]
    pool: Pool
    idle: float
    patience: float
    requests: Seats = attrs.field(init=False)
    items: Seats = attrs.field(init=False)
    streams: int = 0
    running: set["asyncio.Task[None]"] = attrs.field(factory=set)
    leaving: set["asyncio.Task[None]"] = attrs.field(factory=set)
    stopping: bool = False

    def __attrs_post_init__(self) -> None:
        self.requests = Seats(self.pool, VERBS, pending=64)
        self.items = Seats(self.pool, STREAMS, pending=0)


class Connection:
    """One client, from its greeting until it leaves. A client that closes, or only stops sending, has left.

    Args:
        desk: what all connections share.
        reader: of the connection.
        writer: of the connection; closed at the end of `run`.
        peer: who it is, for the log.
    """

    def __init__(self, desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self._desk = desk
        self._writer = writer
        self._frames = FrameStream(reader, writer)
        self._who = f"process {peer.pid}" if peer.pid is not None else f"user {peer.uid}"
        self._tasks: set[asyncio.Task[None]] = set()
        # Verbs make streams in threads, and the client may be gone by then.
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._gone = False

    async def run(self, refusal: JackfieldError | None = None) -> None:
        """Answer the client until it leaves, breaks the protocol, or stays silent for too long.

        Args:
            refusal: why it is not to be answered at all; it is told.
        """
        try:
            await self._frames.greet()
            if refusal is not None:
                await self._send(failure_frame(None, refusal, ""))
                return
            while True:
                await self._take_up(unpack(await self._receive(), Request))
        except FrameError as error:
            host_log("WARNING", f"control socket: {self._who} broke the protocol: {error}")
            await self._complain(Unavailable("control socket", f"the request cannot be read: {error}"))
        except (EOFError, ConnectionError):
            pass  # the usual end: the client has left
        except TimeoutError:
            if not self._frames.greeted or self._frames.partial:
                host_log("WARNING", f"control socket: {self._who} stopped in the middle of a frame")
        except OSError as error:
            host_log("WARNING", f"control socket: the connection of {self._who} broke: {error}")
        finally:
            await self._leave()

    async def _receive(self) -> bytes:
        """Wait for a frame: for its first byte as long as the client may be idle, for the rest not longer at all."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (body := self._frames.pop()) is None:
            partial_before = self._frames.partial
            waits_for_bytes = partial_before or not self._frames.greeted
            try:
                async with asyncio.timeout_at(begun + (self._desk.patience if waits_for_bytes else self._desk.idle)):
                    await self._frames.fill()
            except TimeoutError:
                if waits_for_bytes or not self._tasks:
                    raise
                begun = loop.time()  # it waits for us
            if self._frames.partial and not partial_before:
                begun = loop.time()
        return body

    async def _take_up(self, request: Request) -> None:
        if len(self._tasks) >= IN_FLIGHT:
            refusal = ResourceExhausted(
                asked(request.verb), f"{IN_FLIGHT} requests of this client run, the most allowed"
            )
            await self._send(failure_frame(request.id, refusal, request.verb))
            return
        task = asyncio.create_task(self._answer(request))
        self._tasks.add(task)
        self._desk.running.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._desk.running.discard)

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._ask(request)
            if isinstance(answer, Stream):
                task = asyncio.current_task()
                assert task is not None  # noqa: S101  # this is one
                self._desk.running.discard(task)  # a stream has no end to wait for
                await self._stream(answer)
            else:
                await self._send(answer)
        except OSError:  # with TimeoutError: the client takes no reply; `run` sees the connection end
            self._writer.transport.abort()

    async def _ask(self, request: Request) -> bytes | Stream:
        verb = self._desk.verbs.get(request.verb)
        try:
            if verb is None:
                known = ", ".join(sorted(self._desk.verbs))
                reason = f"this host does not know it; it knows: {known} (is pluginctl of another version?)"
                raise Unavailable(asked(request.verb), reason)
            if self._desk.stopping:
                raise Unavailable(asked(request.verb), "the host is stopping")
            return await self._desk.requests.run(asked(request.verb), partial(self._perform, verb, request))
        except JackfieldError as error:
            return failure_frame(request.id, error, request.verb)

    def _perform(self, verb: Verb, request: Request) -> bytes | Stream:
        """Run a verb, in a thread; encode its result there, too, since that of a large one would hold up the loop."""
        try:
            result = verb(request.arguments)
            if not isinstance(result, Iterator):
                return reply_frame(Reply(request.id, ok=True, result=result), request.verb)
        except BaseException as error:  # noqa: BLE001  # SystemExit, too, belongs to whoever asked, not to the loop
            return failure_frame(request.id, error, request.verb)
        stream = Stream(request.id, request.verb, result)
        with self._lock:
            gone = self._gone
            if not gone:
                self._streams.add(stream)
        if gone:
            stream.leave()
        return stream

    async def _stream(self, stream: Stream) -> None:
        desk = self._desk
        if desk.streams >= STREAMS:
            refusal = ResourceExhausted(asked(stream.verb), f"{STREAMS} streams are open, the most allowed", 1.0)
            self._close_streams([stream])
            await self._send(failure_frame(stream.number, refusal, stream.verb))
            return
        desk.streams += 1
        try:
            await self._send(reply_frame(Reply(stream.number, ok=True, stream="open"), stream.verb))
            while not stream.ended:
                try:
                    frame = await desk.items.run(asked(stream.verb), stream.take)
                except JackfieldError as error:
                    self._close_streams([stream])
                    await self._send(failure_frame(stream.number, error, stream.verb, "end"))
                    return
                # For as long as it takes: a follower whose terminal is paused holds up nobody but itself.
                await self._frames.send(frame)
        finally:
            desk.streams -= 1
            if stream.ended:
                with self._lock:
                    self._streams.discard(stream)

    async def _send(self, frame: bytes) -> None:
        async with asyncio.timeout(self._desk.patience):
            await self._frames.send(frame)

    async def _complain(self, error: JackfieldError) -> None:
        try:
            await self._send(failure_frame(None, error, ""))
        except OSError:
            return  # told if it listens; it is cut off either way

    async def _leave(self) -> None:
        """Give up what the client asked for, send what is still to be sent, and close the connection."""
        for task in self._tasks:
            task.cancel()
        with self._lock:
            self._gone = True
            streams = list(self._streams)
            self._streams.clear()
        self._close_streams(streams)
        self._writer.close()
        try:
            async with asyncio.timeout(self._desk.patience):
                await self._writer.wait_closed()
        except OSError:
            self._writer.transport.abort()
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise

    def _close_streams(self, streams: list[Stream]) -> None:
        """Close iterators in a thread of their own: they are the verbs' code, and may take their time."""
        if not streams:
            return
        desk = self._desk

        def close() -> None:
            for stream in streams:
                stream.leave()

        async def run() -> None:
            try:
                await desk.pool.run("jackfield-control-leave", close)
            except JackfieldError as error:  # no thread is to be had
                host_log("WARNING", f"control socket: {len(streams)} streams could not be closed: {error}")

        leaving = asyncio.get_running_loop().create_task(run())
        desk.leaving.add(leaving)
        leaving.add_done_callback(desk.leaving.discard)
