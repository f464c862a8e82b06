"""`pluginctl call --lines`: one call for each line of JSON, some at a time, results in the order of the lines.

Three threads: the main one reads lines and takes Ctrl-C; an event loop makes the calls, so that each is freed at its
deadline; a writer writes each result as soon as it is its turn, and is never interrupted within a line. Only a window
of lines is in memory.
"""

import asyncio
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from queue import Queue
from typing import Any, BinaryIO, Final, TypeAlias

import attrs

from jackfield.cli.payload import BadInput, decode
from jackfield.cli.remote import Client
from jackfield.errors import FunctionCrashed, JackfieldError, Outcome
from jackfield.host import Host
from jackfield.stack import error_type
from jackfield.text import printable
from jackfield.wire.documents import show_json, shown_json

LINE_LIMIT: Final = 16 << 20
"""Bytes that one line may have."""

_WINDOW: Final = 8  # lines in flight for each job: a slow line holds back the output, not the other jobs
_SHOWN: Final = 5
_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class Failure:
    """A line that gave no result; the attributes are the keys of a line of the errors file.

    Attributes:
        line: its number, counted from 1.
        function: what was called.
        outcome: how the call ended.
        error_type: the class of the error.
        message: what it says.
    """

    line: int
    function: str
    outcome: str
    error_type: str
    message: str


@attrs.frozen
class Result:
    """What a line gave.

    Attributes:
        line: its number, counted from 1.
        document: the result as JSON.
        missed: the parts of it that JSON has no form for.
    """

    line: int
    document: bytes
    missed: list[str]


_Pending: TypeAlias = "tuple[int, Future[Result | Failure]]"
"""The bytes of a line, and what comes of it."""


class Run:
    """All calls of one file.

    Args:
        host: started; or the client of one elsewhere.
        function: the function.
        options: keyword arguments of each call.
        name: what failures call the function.
        told: makes of the error of a call what failures say.
        jobs: calls at a time.
        out: where results are written.
        errors: where failures are written; without it the first few are kept in `shown`.
        advance: told the bytes of each line that is done.

    Attributes:
        succeeded: how many lines gave a result.
        failed: how many did not.
        missed: how many gave one with parts that could only be shown as text.
        shown: the first failures, and results of the latter kind, as text.
    """

    def __init__(
        self,
        host: Host | Client,
        function: str,
        options: Mapping[str, Any],
        *,
        name: str,
        told: Callable[[JackfieldError], JackfieldError],
        jobs: int,
        out: BinaryIO,
        errors: BinaryIO | None,
        advance: Callable[[int], object],
    ) -> None:
        self._host, self._function, self._options = host, function, options
        self._name, self._told = name, told
        self._jobs, self._out, self._errors, self._advance = jobs, out, errors, advance
        self._outcomes: Counter[str] = Counter()
        self._broken: Exception | None = None
        self.succeeded = self.missed = 0
        self.shown: list[str] = []

    @property
    def failed(self) -> int:
        """How many lines gave no result."""
        return self._outcomes.total()

    def summary(self) -> str:
        """Count what came of the lines."""
        kinds = ", ".join(f"{count:,} {outcome}" for outcome, count in self._outcomes.most_common())
        failed = f"{self.failed:,} failed ({kinds})" if self.failed else "none failed"
        missed = f", {self.missed:,} ok with parts that are no JSON" if self.missed else ""
        return f"{self.succeeded + self.failed:,} calls: {self.succeeded:,} ok, {failed}{missed}"

    def all(self, source: BinaryIO) -> bool:
        """Make the calls.

        Args:
            source: the lines.

        Returns:
            Whether Ctrl-C ended it; then what was written are whole lines.
        """
        pending: Queue[_Pending | None] = Queue(self._jobs * _WINDOW)
        writer = threading.Thread(target=self._write, args=(pending,), name="pluginctl-results", daemon=True)
        writer.start()
        try:
            with _loop() as loop:
                free = asyncio.Semaphore(self._jobs)
                for number, line in _numbered(source):
                    if self._broken is not None:
                        break
                    pending.put((len(line), asyncio.run_coroutine_threadsafe(self._call(free, number, line), loop)))
                pending.put(None)
                writer.join()
        except KeyboardInterrupt:
            return True
        finally:
            # Leaving the loop has cancelled what ran; what was done before is still written.
            pending.put(None)
            writer.join()
        if self._broken is not None:
            raise self._broken
        return False

    def _write(self, pending: "Queue[_Pending | None]") -> None:
        """Write results in the order of their lines until there are no more; never leave the queue full."""
        over = False
        while (item := pending.get()) is not None:
            size, future = item
            if over:
                continue
            try:
                self._settle(future.result())
                self._advance(size)
            except CancelledError:
                over = True  # Ctrl-C: a later line that is done already must not stand in this one's place
            except Exception as error:  # noqa: BLE001  # the reader of the results is gone, the disk is full: see `all`
                self._broken, over = error, True

    async def _call(self, free: asyncio.Semaphore, number: int, line: bytes) -> Result | Failure:
        async with free:
            try:
                result = await self._host.acall(self._function, decode(line, LINE_LIMIT), **self._options)
                return Result(number, *show_json(result))
            except BadInput as error:
                return self._failure(number, Outcome.INVALID_PAYLOAD, "BadInput", error)
            except JackfieldError as error:
                return self._failure(number, error.outcome, error_type(error), self._told(error))

    def _failure(self, number: int, outcome: Outcome, kind: str, error: Exception) -> Failure:
        text = error.message if isinstance(error, FunctionCrashed) else str(error)
        return Failure(number, self._name, outcome.value, kind, text)

    def _settle(self, done: Result | Failure) -> None:
        if isinstance(done, Result):
            self._out.write(done.document + b"\n")
            self._out.flush()  # at once: whoever reads wants it now, and whatever ends this process leaves whole lines
            self.succeeded += 1
            if done.missed:
                self.missed += 1
                if len(self.shown) < _SHOWN:
                    self.shown.append(f"line {done.line}: not JSON: {printable(done.missed[0])}: shown as text")
        else:
            self._outcomes[done.outcome] += 1
            self._note(done)

    def _note(self, failure: Failure) -> None:
        if self._errors is not None:
            self._errors.write(shown_json(failure) + b"\n")
        elif len(self.shown) < _SHOWN:
            kind = f"{failure.error_type}: " if failure.outcome == Outcome.CRASHED.value else ""
            self.shown.append(f"line {failure.line}: {failure.outcome}: {kind}{printable(failure.message)}")


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread; what is still on it at the end is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pluginctl-calls", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_rest(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _numbered(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read the lines that are not blank, each with its number; of one that is too long only the beginning is kept."""
    number = 0
    while line := source.readline(LINE_LIMIT + 2):
        number += 1
        if len(line) > LINE_LIMIT + 1:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = source.readline(LINE_LIMIT)
        else:
            line = line.rstrip(b"\r\n")
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line


@contextmanager
def progress(source: BinaryIO, out: BinaryIO) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on stderr, if that is a terminal and the results go elsewhere.

    Args:
        source: the lines; of a regular file the end is known.
        out: where the results go.

    Yields:
        A function that takes the number of bytes done.
    """
    if not sys.stderr.isatty() or out.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # a tenth of a second, for terminals only
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    total = None
    with suppress(OSError, ValueError):
        status = os.fstat(source.fileno())
        total = status.st_size if stat.S_ISREG(status.st_mode) else None
    shown = (
        TextColumn("{task.fields[calls]:,} calls"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, calls=0)
        calls = 0

        def advance(size: int) -> None:
            nonlocal calls
            calls += 1
            bar.update(task, advance=size + 1, calls=calls)

        yield advance
