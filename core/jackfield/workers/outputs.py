"""What a worker writes to its standard output and error: drained, so that it never waits for it, and logged by line."""

import asyncio
import os
import weakref
from contextlib import suppress
from typing import Final

from jackfield.log import host_log
from jackfield.text import printable

LINE: Final = 4_000
"""The most characters of a line that are logged."""

BURST: Final = 200
"""The most lines that are logged within a second; of more it is said how many there were."""

_CHUNK: Final = 64 * 1024


class Drain:
    """Reads one descriptor on an event loop until its other end is closed.

    Args:
        loop: which.
        descriptor: the reading end of a pipe; this object closes it.
        plugin: whose output it is.
        level: what its lines are logged at.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, plugin: str, level: str) -> None:
        os.set_blocking(descriptor, False)
        self._loop, self._descriptor, self._plugin, self._level = loop, descriptor, plugin, level
        self._shut = weakref.finalize(self, _close, descriptor)  # also where a host is dropped that nobody has stopped
        self._held = b""
        self._second, self._lines, self._left_out = 0.0, 0, 0
        loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.close()
            return
        *lines, rest = (self._held + piece).split(b"\n")
        if len(rest) > LINE:
            lines, rest = [*lines, rest], b""
        self._held = rest
        for line in lines:
            self._log(line)

    def _log(self, line: bytes) -> None:
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._tell_left_out()
            self._second, self._lines = now, 0
        self._lines += 1
        if self._lines > BURST:
            self._left_out += 1
        elif line:
            text = printable(line[:LINE].decode(errors="replace").rstrip("\r"))
            cut = " …" if len(line) > LINE else ""
            host_log("INFO" if self._level == "INFO" else "WARNING", f"plugin {self._plugin}: {text}{cut}")

    def _tell_left_out(self) -> None:
        left_out, self._left_out = self._left_out, 0
        if left_out:
            host_log("WARNING", f"plugin {self._plugin}: {left_out:,} more lines of output were left out")

    def close(self) -> None:
        """Log what is left, and close the descriptor."""
        if self._descriptor < 0:
            return
        self._loop.remove_reader(self._descriptor)
        self._shut()
        self._descriptor = -1
        if self._held:
            self._log(self._held)
        self._tell_left_out()


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
