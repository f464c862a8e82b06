"""Where `pluginctl serve` writes: a standard stream of its own, by a thread of its own, so that nobody waits for it."""

import os
import select
import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Final

from jackfield.log import host_log
from jackfield.text import printable

_HELD: Final = 4 * 1024 * 1024  # bytes that may wait
_PIECE: Final = 64 * 1024  # bytes that are written at once
_WHOLE: Final = getattr(select, "PIPE_BUF", 512)  # bytes that a pipe takes as a whole


class Outlet:
    """A line-wise copy of a standard stream that never blocks, never raises, and that nobody else can close or replace.

    Lines wait, four megabytes of them at most, while the stream takes none: a full pipe, a paused terminal. Those that
    find no room, or that the stream refuses (its reader is gone, its disk is full), are lost and counted; once one can
    be written again, the log says how many were.

    Args:
        descriptor: the stream; where it is not open, everything is lost.
        name: what it is called in the log.
        encoding: of its text.

    Attributes:
        name: the same.
        terminal: whether it is to have readable text: at first, whether it is a terminal.
        shared: whether other processes write to it: then no line of theirs comes within one of these, up to 4 KiB.
        lost: how many lines have been lost since one could be written.
    """

    def __init__(self, descriptor: int, name: str, *, encoding: str | None = None) -> None:
        self.name = name
        self.lost = 0
        self.shared = False
        self._encoding = encoding or "utf-8"
        try:
            self._descriptor = os.dup(descriptor)  # whatever becomes of `sys.stderr`, or of the descriptor itself
        except OSError:
            self._descriptor = os.open(os.devnull, os.O_WRONLY)
        self.terminal = os.isatty(self._descriptor)
        self._process = os.getpid()
        # Reentrant: the garbage collector may run a finalizer that has something to say, at any line.
        self._changed = threading.Condition(threading.RLock())
        self._lines: deque[bytes] = deque()
        self._held = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"pluginctl-{name}", daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Tell whether lines are to be readable text."""
        return self.terminal

    def write(self, text: str) -> int:
        """Take a line, its end included.

        Raises:
            UnicodeEncodeError: when the stream's encoding has no form for it.
        """
        self._take(text.encode(self._encoding))
        return len(text)

    def say(self, text: str) -> None:
        """Take a text that has no line end yet, and that anybody may have chosen parts of."""
        self._take((printable(text) + "\n").encode(self._encoding, "backslashreplace"))

    def flush(self) -> None:
        """Do nothing: what is taken is written as soon as that can be done."""

    def close(self, within: float) -> None:
        """Write what waits, for so many seconds; whatever comes later is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(within)

    def _take(self, line: bytes) -> None:
        if os.getpid() != self._process:  # a fork has no such thread
            with suppress(OSError):
                os.write(self._descriptor, line)
            return
        with self._changed:
            if self._closing or self._held + len(line) > _HELD:
                self.lost += 1
                return
            self._lines.append(line)
            self._held += len(line)
            self._changed.notify()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # A plugin may let SIGPIPE do what it does by default: end the process.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        torn = b""  # ends a line of which only a part could be written
        while batch := self._next():
            whole = torn + b"".join(batch)
            left = self._write(whole)
            with self._changed:
                if left:
                    self.lost += len(batch)
                    lost = 0
                else:
                    lost, self.lost = self.lost, 0
            if left != len(whole):
                torn = b"\n" if left else b""
            if lost:
                host_log("WARNING", f"{self.name} can be written again; {lost} lines were lost")

    def _next(self) -> list[bytes]:
        """Wait for lines; none when it is closed and all are written."""
        with self._changed:
            while not self._lines and not self._closing:
                self._changed.wait()
            batch: list[bytes] = []
            size = 0
            most = _WHOLE if self.shared else _PIECE
            while self._lines and (not batch or size + len(self._lines[0]) <= most):
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._held -= size
            return batch

    def _write(self, data: bytes) -> int:
        """Write it all, and give how many bytes the stream refused."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody who shares it has made it so
                _wait_for_room(self._descriptor)
            except OSError:
                break
        return len(data)


def standard(number: int) -> Outlet:
    """Make the outlet of stdout (1) or stderr (2)."""
    stream, name = (sys.__stdout__, "stdout") if number == 1 else (sys.__stderr__, "stderr")
    return Outlet(number, name, encoding=getattr(stream, "encoding", None))


def _wait_for_room(descriptor: int) -> None:
    select.select([], [descriptor], [], 1.0)
