"""The client: one question to a running host, or one stream of its answers."""

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from jackfield.control.address import VARIABLE, control_path, described
from jackfield.control.messages import Reply, Request, asked
from jackfield.control.peers import peer_of
from jackfield.control.trust import look, require_private, trusted
from jackfield.errors import DeadlineExceeded, PermissionDenied, ResourceExhausted, Unavailable
from jackfield.wire.errors import restore
from jackfield.wire.frames import FrameCut, FrameError, FrameSocket, pack, unpack

_FIX = "start one with `pluginctl serve CONFIG`"
_OWN = f"set {VARIABLE} to a host of your own, or be the user that this one runs as (`sudo -u`)"
_AGAIN = 0.01  # seconds between two attempts to reach a host that has many waiting
_GREETING = 30.0  # seconds that a host has to attend to a client that would wait for its reply for ever
_NUMBER = 1  # each connection carries one request


class ControlClient:
    """Ask a running host. Every request has a connection of its own, so that a client may be shared by threads.

    Args:
        path: of the control socket; see `control_path`.
        timeout: seconds for a request and its reply; for a stream, seconds until it is open. None waits for ever for
            the reply, of a host that has greeted within 30 s.

    As a context manager, it closes the streams that are still open at the end.
    """

    def __init__(self, path: str | Path | None = None, timeout: float | None = 30.0) -> None:
        self._path = control_path(path)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._streams: set[ControlStream] = set()

    @property
    def path(self) -> Path:
        """Where the host is expected."""
        return self._path

    def request(self, verb: str, /, **arguments: Any) -> Any:
        """Ask the host to do something, and wait for the result.

        Args:
            verb: what to do.
            **arguments: with what; plain data.

        Returns:
            The result, as plain data.

        Raises:
            Unavailable: when no host listens at the path, or it went away before it answered.
            PermissionDenied: when this user may not ask, or the socket belongs to another user.
            DeadlineExceeded: when the host does not answer in time; what it was asked to do may go on.
            JackfieldError: whatever the verb raised.
            TypeError: when the verb answers with a stream.
        """
        exchange = _Exchange(self._path, verb, self._timeout)
        try:
            reply = exchange.ask(arguments)
        finally:
            exchange.close()
        if reply.stream:
            raise TypeError(f"{verb!r} answers with a stream: use `stream({verb!r}, …)`")
        return reply.result

    def stream(self, verb: str, /, **arguments: Any) -> "ControlStream":
        """Ask the host for something that goes on.

        Args:
            verb: what to do.
            **arguments: with what; plain data.

        Returns:
            An iterator over the items, open already. A verb that does not stream gives its result as the only item.

        Raises:
            JackfieldError: as for `request`. While iterating: `Unavailable` when the host goes away, or what the verb
                raised.
        """
        exchange = _Exchange(self._path, verb, self._timeout)
        try:
            first = exchange.ask(arguments)
        except BaseException:
            exchange.close()
            raise
        stream = ControlStream(exchange, first, self._forget)
        with self._lock:
            self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Close the streams that are still open."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self, stream: "ControlStream") -> None:
        with self._lock:
            self._streams.discard(stream)


class ControlStream:
    """The items of a stream, waited for without limit. Close it, or use it in a `with` block; its end closes it, too.

    Args:
        exchange: the connection that it comes over; this object closes it.
        first: the reply that opened it.
        forget: called once it is closed.
    """

    def __init__(self, exchange: "_Exchange", first: Reply, forget: Callable[["ControlStream"], None]) -> None:
        self._exchange: _Exchange | None = exchange
        self._first: Reply | None = first if not first.stream else None
        self._forget = forget

    def close(self) -> None:
        """Leave: the host closes its side. Not while another thread waits for an item."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()
            self._forget(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._exchange is None:
            raise StopIteration
        if self._first is not None:
            only = self._first.result
            self.close()
            return only
        try:
            reply = self._exchange.receive(None)
        except BaseException:
            self.close()
            raise
        if reply.stream != "item":
            self.close()
            raise StopIteration
        return reply.result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Exchange:
    """One request over a connection of its own; whatever goes wrong on the way is one of jackfield's errors."""

    def __init__(self, path: Path, verb: str, timeout: float | None) -> None:
        self._path = path
        self._verb = verb
        self._patience = _GREETING if timeout is None else timeout
        self._until = monotonic() + self._patience  # when it must have been reached
        self._deadline = None if timeout is None else self._until
        self._frames = FrameSocket(self._connect())

    def ask(self, arguments: dict[str, Any]) -> Reply:
        """Send the request and wait for the first reply."""
        try:
            request = pack(Request(_NUMBER, self._verb, arguments))
        except FrameError as error:
            raise ResourceExhausted(asked(self._verb), str(error)) from None
        try:
            self._frames.greet(self._until)
            self._frames.send(request, self._until)
        except TimeoutError:
            raise self._late() from None
        except OSError:
            pass  # it has closed already; what it said before that is there to be read, and tells why
        return self.receive(self._deadline)

    def receive(self, deadline: float | None) -> Reply:
        """Wait for a reply.

        Raises:
            JackfieldError: what the reply says, or what is wrong with the connection.
        """
        what = described(self._path)
        try:
            self._frames.meet(self._until)
            reply = unpack(self._frames.receive(deadline), Reply)
        except TimeoutError:
            raise self._late() from None
        except (EOFError, FrameCut, OSError) as error:
            reason = f"the host went away before it answered; how far it got with {self._verb!r} is not known"
            raise Unavailable(what, reason) from error
        except FrameError as error:
            raise Unavailable(what, f"what listens there cannot be understood: {error}") from None
        if reply.error is not None:
            raise restore(reply.error, asked(self._verb))
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._frames.close()

    def _connect(self) -> socket.socket:
        """Connect to a socket of this user's or root's; nothing is sent to anybody else's."""
        inode = self._look()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._reach(connection)
            self._check_peer(connection, inode)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_peer(self, connection: socket.socket, inode: tuple[int, int]) -> None:
        owner = peer_of(connection).uid
        if not trusted(owner) or self._look() != inode:
            reason = f"user {owner} listens there, or it was replaced just now: {_OWN}"
            raise PermissionDenied(described(self._path), reason)

    def _look(self) -> tuple[int, int]:
        """Check the socket file and every folder on the way, and give what the system calls the file."""
        what = described(self._path)
        try:
            found, folder = look(self._path, what, _OWN)
        except (FileNotFoundError, NotADirectoryError):
            raise Unavailable(what, f"no host runs there: {_FIX}, or set {VARIABLE} to where one does") from None
        except PermissionError:
            raise PermissionDenied(
                what, "its folder is closed to this user: be the user that the host runs as"
            ) from None
        except OSError as error:
            raise Unavailable(what, f"{error.strerror}: set {VARIABLE} to the path of a host") from None
        if not stat.S_ISSOCK(found.st_mode):
            raise Unavailable(what, f"is no socket: {_FIX}, or set {VARIABLE} to where one runs")
        require_private(self._path.parent, folder, what, _OWN)
        return found.st_dev, found.st_ino

    def _reach(self, connection: socket.socket) -> None:
        what = described(self._path)
        while True:
            try:
                connection.settimeout(max(self._until - monotonic(), 0.001))
                connection.connect(os.fspath(self._path))
            except BlockingIOError:  # its queue is full, and it may be slow or hang
                if monotonic() >= self._until:
                    raise self._late() from None
                sleep(_AGAIN)
            except TimeoutError:
                raise self._late() from None
            except (ConnectionRefusedError, FileNotFoundError):
                raise Unavailable(what, f"the host that listened there is gone: {_FIX}") from None
            except PermissionError:
                raise PermissionDenied(what, "is closed to this user: be the user that the host runs as") from None
            except OSError as error:
                raise Unavailable(what, f"cannot be reached: {error}") from error
            else:
                return

    def _late(self) -> DeadlineExceeded:
        reason = f"the host did not answer within {self._patience:g} s"
        return DeadlineExceeded(asked(self._verb), monotonic() - self._until, reason)
