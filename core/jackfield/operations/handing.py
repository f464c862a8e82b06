"""Connections that one process accepts and others serve, each handed on over a Unix socket.

One accepts, so that the connections are spread evenly: where several accept from one listening socket, the one that is
quickest has most of them, and with kept-alive connections keeps them. A connection is a message with its descriptor;
whoever has taken it answers with one byte. Until then it is open here as well: of a process that dies, what it has not
taken goes to another one.
"""

import array
import errno
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import Final

from jackfield.log import host_log

_AHEAD: Final = 64  # connections that may be on the way to one process
_LAGS: Final = 1.0  # seconds without taking one, after which a process is passed over while others take theirs
_ACKS: Final = 4_096
_PAUSE: Final = 0.5  # seconds without new connections when the system gives no more descriptors
_TAKEN: Final = b"."
_DESCRIPTOR: Final = array.array("i").itemsize
_CLOSED_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Acceptor:
    """Accepts the connections of a listening socket, in a thread, and hands each to the next of several processes.

    While there is no process that takes one, they wait.

    Args:
        listener: the socket; it is closed with this.
    """

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waking, self._wakened = socket.socketpair()
        self._deaf = threading.Event()  # it listens no more
        # All that follows belongs to the thread.
        self._selector = selectors.DefaultSelector()
        self._lines: deque[_Line] = deque()  # the one whose turn it is first
        self._held: deque[socket.socket] = deque()  # accepted, and on the way to nobody
        self._listening = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="jackfield-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._thread.start()

    def add(self, channel: socket.socket) -> None:
        """Hand connections to one more process.

        Args:
            channel: this end of a pair of Unix sockets; it is closed when the other end is.
        """
        self._ask(lambda: self._add(_Line(channel)))

    def remove(self, channel: socket.socket) -> None:
        """Take back what a process has not taken that has ended, and close the channel."""
        self._ask(lambda: self._gone(channel))

    def close(self, timeout: float) -> None:
        """Accept what has come, listen no more, and wait until everything has been taken.

        Args:
            timeout: seconds for that.
        """
        if self._thread.is_alive():
            self._ask(self._end)
            self._deaf.wait()
            self._thread.join(timeout)
        self._listener.close()

    def _ask(self, what: Callable[[], None]) -> None:
        self._asked.put(what)
        with suppress(OSError):  # it has ended
            self._waking.send(b"!")

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._listen(wanted=not self._closing and self._next() is not None)
                for key, _ in self._selector.select():
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._wakened:
                        self._wakened.recv(_ACKS)
                        while not self._asked.empty():
                            self._asked.get()()
                    else:
                        self._hear(key.data)
                self._hand_on()
        finally:
            self._deaf.set()
            for line in list(self._lines):
                line.channel.close()
            for connection in self._held:
                connection.close()
            self._selector.close()
            self._waking.close()
            self._wakened.close()

    def _is_over(self) -> bool:
        """When it closes: hand on what is held, tell all that there will be no more, and wait until it is taken."""
        if not self._closing or (self._held and any(line.open for line in self._lines)):
            return False
        for line in self._lines:
            line.finish()
        return not any(line.unanswered for line in self._lines)

    def _listen(self, *, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._selector.register(self._listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._listener)

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            host_log("ERROR", f"no connection can be accepted for {_PAUSE:g} s: {error}")
            threading.Event().wait(_PAUSE)
            return False
        self._held.append(connection)
        return True

    def _hand_on(self) -> None:
        while self._held and (line := self._next()) is not None:
            line.give(self._held.popleft())
            self._lines.remove(line)
            self._lines.append(line)

    def _next(self) -> "_Line | None":
        """Give the line whose turn it is, passing over those whose processes do not keep up."""
        first: _Line | None = None
        for _ in range(len(self._lines)):
            line = self._lines[0]
            if line.open and len(line.unanswered) < _AHEAD:
                if not line.lags():
                    return line
                first = first or line
            self._lines.rotate(-1)
        return first

    def _add(self, line: "_Line") -> None:
        if self._closing:
            line.channel.close()
            return
        self._lines.append(line)
        self._selector.register(line.channel, selectors.EVENT_READ, line)

    def _hear(self, line: "_Line") -> None:
        if line in self._lines and not line.hear():  # else it has been removed in this very round
            self._drop(line)

    def _gone(self, channel: socket.socket) -> None:
        for line in [line for line in self._lines if line.channel is channel]:
            line.hear()  # what it has taken before that
            self._drop(line)
        channel.close()

    def _drop(self, line: "_Line") -> None:
        """Take back what a process has not taken that is gone."""
        self._selector.unregister(line.channel)
        self._lines.remove(line)
        line.channel.close()
        self._held.extendleft(reversed(line.unanswered))

    def _end(self) -> None:
        while self._accept():
            pass
        self._listen(wanted=False)
        self._listener.close()
        self._closing = True
        self._deaf.set()


class _Line:
    """The way to one process."""

    def __init__(self, channel: socket.socket) -> None:
        channel.settimeout(0)
        self.channel = channel
        self.open = True
        self.unanswered: deque[socket.socket] = deque()
        self._since = 0.0  # when the first of them was given, or the one before it taken

    def lags(self) -> bool:
        """Tell whether the process has taken nothing for a while."""
        return bool(self.unanswered) and monotonic() - self._since > _LAGS

    def give(self, connection: socket.socket) -> None:
        """Send a connection; where that fails it stays, and goes to another process when this one is gone."""
        if not self.unanswered:
            self._since = monotonic()
        self.unanswered.append(connection)
        try:
            socket.send_fds(self.channel, [_TAKEN], [connection.fileno()])
        except OSError:
            self.open = False

    def hear(self) -> bool:
        """Take the answers; tell whether the process is there."""
        try:
            answers = self.channel.recv(_ACKS)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for _ in answers:
            self.unanswered.popleft().close()
        self._since = monotonic()
        return bool(answers)

    def finish(self) -> None:
        """Send no more."""
        self.open = False
        with suppress(OSError):  # it is gone
            self.channel.shutdown(socket.SHUT_WR)


def take(channel: socket.socket) -> socket.socket | None:
    """Take a connection, in the process that serves it.

    Args:
        channel: the other end; it does not block.

    Returns:
        The connection; None when there will be no more.

    Raises:
        BlockingIOError: when there is none at the moment.
        OSError: when this process may have no more descriptors; the connection is lost.
    """
    message, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_LEN(_DESCRIPTOR), _CLOSED_ON_EXEC)
    if not message:
        return None
    with suppress(OSError):  # who accepts is gone, and is told of nothing any more
        channel.send(_TAKEN)
    if not ancillary:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return socket.socket(fileno=array.array("i", ancillary[0][2])[0])
