"""The answer of a verb that goes on: an iterator, taken item by item as the client has room for them."""

import threading
from collections.abc import Generator, Iterator
from typing import Any, Final

from jackfield.control.messages import Reply, failure_frame, reply_frame
from jackfield.log import host_log
from jackfield.stack import logged

IDLE: Final = object()
"""Yielded by a verb's generator when there is nothing to say: nothing is sent, and a client that left is noticed."""


class Stream:
    """One iterator, from the first item until its end or until the client leaves; closed exactly once.

    `close` of a generator cannot interrupt it, so one that runs is closed at its next item or `IDLE`. `close` of any
    other iterator is called at once, while another thread may be in its `__next__`, which should then end.

    Args:
        number: the request's id.
        verb: what was asked for.
        iterator: what the verb returned.

    Attributes:
        ended: whether the frame that `take` gave is the last one.
    """

    def __init__(self, number: int, verb: str, iterator: Iterator[Any]) -> None:
        self.number = number
        self.verb = verb
        self.ended = False
        self._iterator = iterator
        self._lock = threading.Lock()
        self._taking = False
        self._left = False
        self._closed = False

    def take(self) -> bytes:
        """Wait for the next item, in whatever thread this is.

        Returns:
            Its frame, or the one that ends the stream; nothing when the client has left.
        """
        with self._lock:
            if self._left:
                return b""
            self._taking = True
        frame = self._next()
        with self._lock:
            self._taking = False
            over = self.ended or self._left
        if over:
            self._close()
        return frame

    def leave(self) -> None:
        """Take note that nobody wants the rest, and close the iterator as soon as that can be done."""
        with self._lock:
            self._left = True
            running = self._taking and isinstance(self._iterator, Generator)
        if not running:
            self._close()

    def _next(self) -> bytes:
        try:
            for item in self._iterator:
                if self._left:
                    return b""
                if item is not IDLE:
                    return reply_frame(Reply(self.number, ok=True, result=item, stream="item"), self.verb)
        except BaseException as error:  # noqa: BLE001  # whatever it is belongs to whoever asked
            self.ended = True
            return failure_frame(self.number, error, self.verb, "end")
        self.ended = True
        return reply_frame(Reply(self.number, ok=True, stream="end"), self.verb)

    def _close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        close = getattr(self._iterator, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception as error:  # noqa: BLE001  # nobody is left to be told, and others wait
            host_log("WARNING", f"control socket: closing the stream of {self.verb!r} raised {logged(error)}")
