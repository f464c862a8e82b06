"""`pluginctl call --lines`: one call for each line of JSON, some at a time, results in the order of the lines.

The main thread reads, writes and takes signals; the calls run on an event loop of their own, so that each is freed at
its deadline. Only a window of lines is in memory.
"""

import asyncio
import os
import signal
import stat
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, Self

import attrs

from jackfield.cli.output import printable
from jackfield.cli.payload import BadInput, decode, encode
from jackfield.errors import FunctionCrashed, JackfieldError, Outcome
from jackfield.host import Host
from jackfield.observe.stack import error_type

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


class Run:
    """All calls of one file.

    Args:
        host: started.
        name: the function.
        options: keyword arguments of each call.
        jobs: calls at a time.
        out: where results are written.
        errors: where failures are written; without it the first few are kept in `shown`.
        advance: told the bytes of each line that is done.

    Attributes:
        succeeded: how many lines gave a result.
        failed: how many did not.
        shown: the first failures as text.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        options: Mapping[str, Any],
        *,
        jobs: int,
        out: BinaryIO,
        errors: BinaryIO | None,
        advance: Callable[[int], object],
    ) -> None:
        self._host, self._name, self._options = host, name, options
        self._jobs, self._out, self._errors, self._advance = jobs, out, errors, advance
        self._outcomes: Counter[str] = Counter()
        self.succeeded = 0
        self.shown: list[str] = []

    @property
    def failed(self) -> int:
        """How many lines gave no result."""
        return self._outcomes.total()

    def summary(self) -> str:
        """Count what came of the lines."""
        kinds = ", ".join(f"{count:,} {outcome}" for outcome, count in self._outcomes.most_common())
        failed = f"{self.failed:,} failed ({kinds})" if self.failed else "none failed"
        return f"{self.succeeded + self.failed:,} calls: {self.succeeded:,} ok, {failed}"

    def all(self, source: BinaryIO) -> bool:
        """Make the calls.

        Args:
            source: the lines.

        Returns:
            Whether Ctrl-C ended it; then what was written are whole lines.
        """
        pending: deque[tuple[int, Future[bytes | Failure]]] = deque()
        with _loop() as loop, _Interrupts() as interrupts:
            free = asyncio.Semaphore(self._jobs)
            try:
                for number, line in _numbered(source):
                    pending.append((len(line), asyncio.run_coroutine_threadsafe(self._call(free, number, line), loop)))
                    while pending and (pending[0][1].done() or len(pending) >= self._jobs * _WINDOW):
                        self._settle(*pending.popleft(), interrupts)
                while pending:
                    self._settle(*pending.popleft(), interrupts)
            except KeyboardInterrupt:
                for _, future in pending:
                    future.cancel()
                return True
        return False

    async def _call(self, free: asyncio.Semaphore, number: int, line: bytes) -> bytes | Failure:
        async with free:
            try:
                return encode(await self._host.acall(self._name, decode(line, LINE_LIMIT), **self._options))
            except BadInput as error:
                return self._failure(number, Outcome.INVALID_PAYLOAD, "BadInput", error)
            except JackfieldError as error:
                return self._failure(number, error.outcome, error_type(error), error)

    def _failure(self, number: int, outcome: Outcome, kind: str, error: Exception) -> Failure:
        text = error.message if isinstance(error, FunctionCrashed) else str(error)
        return Failure(number, self._name, outcome.value, kind, text)

    def _settle(self, size: int, future: "Future[bytes | Failure]", interrupts: "_Interrupts") -> None:
        """Write what came of the oldest line."""
        done = future.result()
        with interrupts.held():
            if isinstance(done, bytes):
                self._out.write(done + b"\n")
                self.succeeded += 1
            else:
                self._outcomes[done.outcome] += 1
                self._note(done)
            # At once: whoever reads wants it now, and whatever ends this process leaves whole lines.
            self._out.flush()
        self._advance(size)

    def _note(self, failure: Failure) -> None:
        if self._errors is not None:
            self._errors.write(encode(failure) + b"\n")
        elif len(self.shown) < _SHOWN:
            kind = f"{failure.error_type}: " if failure.outcome == Outcome.CRASHED.value else ""
            self.shown.append(f"line {failure.line}: {failure.outcome}: {kind}{printable(failure.message)}")


class _Interrupts:
    """Ctrl-C between lines and never inside one; the second one ends the process on the spot."""

    def __init__(self) -> None:
        self._count = 0
        self._holding = False
        self._former: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers, or gets signals
            self._former = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    def _handle(self, _number: int, _frame: object) -> None:
        self._count += 1
        if self._count > 1 and not self._holding:
            os._exit(130)
        if not self._holding:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep Ctrl-C waiting until the block is done."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._count:
            raise KeyboardInterrupt


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
    from rich.console import Console  # noqa: PLC0415  # a tenth of a second, for terminals only
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

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
