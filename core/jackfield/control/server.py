"""The server: a control socket on a host's control loop, which knows nothing of the host but its verbs."""

import asyncio
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from jackfield.control.address import Listener, control_path, described
from jackfield.control.connection import Connection, Desk, Verb
from jackfield.control.peers import Peer, may_ask, peer_of
from jackfield.errors import JackfieldError, PermissionDenied, ResourceExhausted, Unavailable
from jackfield.log import host_log
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.stack import error_type, frames

_PAUSE: Final = 0.5  # seconds without new clients when the system gives no more descriptors


class ControlServer:
    """Listen on a control socket and run verbs for those who may ask: the same user, and root.

    The loop speaks to all clients; verbs run in 16 threads of the pool at most, and an answer that is a stream waits
    for its items in further ones, so that neither a slow verb nor a follower keeps the next request waiting. A verb
    whose client has left runs on, and its result is dropped.

    Args:
        path: where to listen; see `control_path`.
        verbs: what the host can be asked to do, by name. A verb is called with the request's arguments, in any thread.
            Its result travels as plain data. If it is an iterator, its items are sent one by one until the client
            leaves; then it is closed. Each may be taken in another thread. A generator that waits should yield `IDLE`
            every second or so; any other iterator should end its wait when its `close` is called.
        loop: the host's control loop, or None for one of its own.
        pool: the host's threads, or None for some of its own.
        connections: how many clients may be connected at once; more are refused and told so.
        idle: seconds after which a client that asks nothing is disconnected.
        patience: seconds that a client has for its greeting, for a frame it has begun, and to take a reply.

    Examples:
        >>> import tempfile
        >>> from jackfield.control import ControlClient
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ControlServer(f"{folder}/c.sock", {"add": lambda given: given["a"] + given["b"]}):
        ...         ControlClient(f"{folder}/c.sock").request("add", a=1, b=2)
        3
    """

    def __init__(
        self,
        path: str | Path | None,
        verbs: Mapping[str, Verb],
        *,
        loop: ControlLoop | None = None,
        pool: Pool | None = None,
        connections: int = 128,
        idle: float = 300.0,
        patience: float = 10.0,
    ) -> None:
        self._path = control_path(path)
        self._desk = Desk(dict(verbs), pool or Pool(), idle, patience)
        self._most = connections
        self._control = loop or ControlLoop()
        self._owns_loop = loop is None
        self._lock = threading.Lock()
        self._started = False
        self._listener: Listener | None = None
        # All that follows belongs to the loop.
        self._clients: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def path(self) -> Path:
        """Where it listens."""
        return self._path

    def start(self) -> Self:
        """Listen. A server can be started once.

        Returns:
            The server.

        Raises:
            Unavailable: when a living host has the path (its process id is named), or nobody can listen there.
            PermissionDenied: when others could put their own socket there.
        """
        with self._lock:
            if self._started:
                raise Unavailable(described(self._path), "this server has been started before: make a new one")
            listener = Listener(self._path)
            try:
                self._control.run(self._open(listener.socket))
            except BaseException:
                listener.close()
                raise
            self._listener, self._started = listener, True
        return self

    def close(self, grace: float = 1.0) -> None:
        """Stop listening, let requests that run finish, end streams, disconnect everybody. May be repeated.

        Not for a verb to call: it would wait for itself.

        Args:
            grace: seconds that requests have to finish, and closing streams after that.
        """
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is None:
            return
        try:
            self._control.run(self._shut(listener.socket, grace))
        finally:
            listener.close()
            if self._owns_loop:
                self._control.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _open(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._listen(listener)

    async def _shut(self, listener: socket.socket, grace: float) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            return  # the loop that had the clients has ended, and they with it
        self._desk.stopping = True
        loop.remove_reader(listener)
        if self._desk.running:
            await asyncio.wait(self._desk.running, timeout=grace)
        while self._clients:  # cancelled once, they send what is still to be sent; twice, they are cut off
            for client in self._clients:
                client.cancel()
            await asyncio.wait(self._clients, timeout=max(grace, 0.1))
        if self._desk.leaving:
            await asyncio.wait(self._desk.leaving, timeout=grace)

    def _listen(self, listener: socket.socket) -> None:
        # Not asyncio's own server: when it is closed it drops, unclosed, what it has just accepted.
        if self._loop is not None and not self._desk.stopping:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        assert self._loop is not None  # noqa: S101  # it calls this
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client has left again
        except OSError as error:
            host_log("ERROR", f"{described(self._path)}: no client can be accepted for {_PAUSE:g} s: {error}")
            self._loop.remove_reader(listener)
            self._loop.call_later(_PAUSE, self._listen, listener)
            return
        client = self._loop.create_task(self._welcome(connection))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)
        # A task that is cancelled before its first step never comes to close anything.
        client.add_done_callback(lambda _: connection.close())
        client.add_done_callback(self._ended)

    def _ended(self, client: "asyncio.Task[None]") -> None:
        if not client.cancelled() and (error := client.exception()) is not None:
            text = f"{described(self._path)}: a client's connection failed: {error_type(error)}"
            host_log("ERROR", text, stack=frames(error))

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            peer = peer_of(connection)
            reader, writer = await asyncio.open_connection(sock=connection)
        except (OSError, JackfieldError) as error:
            host_log("WARNING", f"{described(self._path)}: a client is turned away: {error}")
            return
        await Connection(self._desk, reader, writer, peer).run(self._refusal(peer))

    def _refusal(self, peer: Peer) -> JackfieldError | None:
        if not may_ask(peer.uid):
            host_log("WARNING", f"{described(self._path)}: user {peer.uid} (process {peer.pid}) is turned away")
            return PermissionDenied(described(self._path), "only the user that the host runs as, and root, may use it")
        if len(self._clients) > self._most:  # this one included
            return ResourceExhausted(
                described(self._path), f"{self._most} clients are connected, the most allowed", 1.0
            )
        return None
