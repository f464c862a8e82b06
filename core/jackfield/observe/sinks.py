"""Where the records of calls go: a stream, or loguru."""

import os
import threading
from collections.abc import Callable
from typing import TextIO

from loguru import logger

from jackfield.log import host_log
from jackfield.observe.record import Record, ascii_line, fields_of, json_line, readable_line, sentence

Sink = Callable[[Record], None]


class StreamSink:
    """Write each record as one line, in one piece, and flush it; a stream that fails never reaches the caller.

    Args:
        stream: a terminal gets readable lines, anything else JSON.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Text streams promise nothing about threads. Re-entrant: a signal handler may call while its thread writes.
        self._lock = threading.RLock()
        self._lost = 0
        self._render = readable_line(colour=not os.environ.get("NO_COLOR")) if _is_terminal(stream) else json_line

    def __call__(self, record: Record) -> None:
        """Write one record."""
        line = self._render(record)
        try:
            with self._lock:
                self._write(line, record)
                recovered, self._lost = self._lost, 0
        except (OSError, ValueError) as error:  # a full disk, a closed pipe; a closed file is a ValueError
            self._missed(error)
        else:
            if recovered:
                host_log("WARNING", f"{self._name()} can be written again; {recovered} call records were lost")

    def _write(self, line: str, record: Record) -> None:
        try:
            self._stream.write(line)
        except UnicodeEncodeError:  # a stream that is not UTF-8; nothing of the line was written
            self._stream.write(ascii_line(record))
        self._stream.flush()

    def _missed(self, error: Exception) -> None:
        with self._lock:
            self._lost += 1
            first = self._lost == 1
        if first:
            host_log(
                "ERROR",
                f"call records cannot be written to {self._name()}, and are lost until it can be written again",
                error,
            )

    def _name(self) -> str:
        name = getattr(self._stream, "name", None)
        return str(name) if name is not None else type(self._stream).__name__


def _is_terminal(stream: TextIO) -> bool:
    isatty = getattr(stream, "isatty", None)  # what is only like a file often has no more than `write`
    return isatty is not None and bool(isatty())


def to_loguru(record: Record) -> None:
    """Send a record through loguru: a sentence as the message, the fields in `extra`."""
    fields = fields_of(record)
    for own in ("timestamp", "level"):  # loguru's record has its own
        del fields[own]
    # Bound, not passed as arguments: loguru would take braces in the message for placeholders.
    logger.bind(**fields).log(record.level, sentence(record))
