"""The standard streams of a pluginctl process, which may be closed, full, or nobody's any more."""

import io
import os
import signal
import sys
from typing import IO, Any, NoReturn

_READER_GONE = 128 + getattr(signal, "SIGPIPE", 13)


class OutputLost(Exception):  # not of jackfield's tree, and no `OSError`: click would end quietly on one
    """Stdout takes no more; the cause says why."""


class _Stdout(io.FileIO):
    """Stdout, whose failures are told from those of other files."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # any buffer; Python 3.11 has no name for that
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLost from error


class _Stderr(io.FileIO):
    """Stderr, which fails nobody: there is no better place to say that what is said there cannot be read."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # as above
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make all three streams usable: where one is closed, no file or socket may take its number.

    Nothing comes from a closed stdin, and what is written to a stderr that is closed, full, or nobody's any more goes
    nowhere; stdout has the results, so that writing to such a one fails.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = _text(open(0, "rb", closefd=False))  # noqa: SIM115  # for as long as the process lives
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = _text(io.BufferedWriter(_Stderr(2, "wb", closefd=False)), encoding)
    kept = sys.stdout
    terminal = kept is not None and kept.isatty()
    encoding = "utf-8" if kept is None else kept.encoding
    unbuffered = isinstance(kept, io.TextIOWrapper) and kept.write_through
    raw = results(1)
    sys.stdout = io.TextIOWrapper(
        raw, encoding, errors="backslashreplace", line_buffering=terminal, write_through=unbuffered
    )


def results(descriptor: int) -> io.BufferedWriter:
    """Make a stream for results: writing to it raises `OutputLost` when they cannot be written."""
    return io.BufferedWriter(_Stdout(descriptor, "wb", closefd=False))


def free_stdout() -> None:
    """Make stdout the plugins' own again, who may print whatever becomes of it; where it is closed, to nowhere."""
    try:
        os.write(1, b"")
    except OSError:
        _to_nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        old = sys.stdout
        sys.stdout = io.TextIOWrapper(
            open(1, "wb", closefd=False),  # noqa: SIM115  # for as long as the process lives
            old.encoding,
            errors="backslashreplace",
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )


def end(code: str | int | None) -> NoReturn:
    """Flush stdout and end with a code; where the results could not be written, with another, and one line says why.

    Args:
        code: what it is to be: 1 instead when stdout fails, 141 when its reader has gone away.
    """
    try:
        sys.stdout.flush()
    except OutputLost as lost:
        code = report_lost(lost)
    sys.exit(code)


def report_lost(lost: OutputLost) -> int:
    """Say that stdout failed, unless its reader has gone away, which is nobody's fault; give the exit code."""
    _to_nowhere()  # where what is still in the buffer goes when the process ends
    if isinstance(lost.__cause__, BrokenPipeError):
        return _READER_GONE
    reason = lost.__cause__.strerror if isinstance(lost.__cause__, OSError) else lost.__cause__
    try:
        sys.stderr.write(f"error: the result cannot be written to stdout: {reason}\n")
        sys.stderr.flush()
    except OSError:
        pass  # there is nobody to tell
    return 1


def _to_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _text(stream: IO[bytes], encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding, errors="backslashreplace", line_buffering=True)
