"""Close singletons when a host stops, a plugin is unloaded or an override ends."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Final

import attrs

from jackfield.errors import Fault, ResourceExhausted
from jackfield.injection.providers import Provider
from jackfield.injection.scope import Cell, Start, Vault, log_failure
from jackfield.model.spec import MISSING, Colour
from jackfield.stack import blamed
from jackfield.strangers import is_interrupt

RunAsync = Callable[..., Any]
"""Runs a coroutine on the home loop and waits for its result; for so many seconds, if told."""

_EACH: Final = 0.1  # seconds that one has, even when those before it took all the time there was


@attrs.frozen(eq=False)
class TeardownFailure:
    """What went wrong when a singleton was closed.

    Attributes:
        provider: what made it.
        error: what its teardown raised; None when it has not ended in time, and was left behind.
    """

    provider: Provider
    error: BaseException | None

    @property
    def fault(self) -> Fault:
        """The same as a fault of stage `stop`."""
        if self.error is None:
            reason, fix = "its teardown has not ended in time, and is left behind", "let it end sooner"
        else:
            reason, fix = f"its teardown raised {blamed(self.error)}", ""
        return Fault("stop", self.provider.plugin, self.provider.label, reason, fix)


class Closing:
    """Closes some singletons, in reverse order of creation; nothing happens until one of its methods is called.

    What is being made at that moment is not waited for: it is closed by whoever makes it, who then gets `Unavailable`.
    Async constructions are cancelled. Either method may be called again, to go on where an interrupted one stopped.

    Args:
        vault: the host's singletons.
        cells: those to close, made or not.
    """

    def __init__(self, vault: Vault, cells: Iterable[Cell] = ()) -> None:
        self._vault = vault
        self._cells = frozenset(cells)

    def close(self, run_async: RunAsync, ends: float | None = None) -> tuple[TeardownFailure, ...]:
        """Close them from a thread: sync ones right here, async ones through `run_async`.

        With a time limit, sync ones that were made by another thread are closed in one that can be left behind: they
        are not bound to this one. Those that this very thread has made may be, as an `sqlite3.Connection` is; they are
        closed here, and waited for.

        Args:
            run_async: runs a coroutine on the home loop and waits for it; only called if there is something async.
            ends: until when, on `time.monotonic`'s clock, all of them are waited for; None for as long as it takes.

        Returns:
            What went wrong, in order.
        """
        failures = []
        tasks = self._seal()
        if tasks:
            _run(run_async, _cancelled(tasks, _left(ends)), ends)
        while (cell := self._next()) is not None:
            work = None
            try:
                if cell.awaits:
                    error = _run(run_async, _aclosed(cell), ends)
                elif ends is None or cell.is_mine or not cell.provider.generator:
                    error = _closed(cell)
                else:
                    work = _in_thread(self._vault.start, cell)
                    error = work.result(_left(ends))
            except TimeoutError:
                failures.append(_left_behind(cell, work))
            except Exception as problem:  # noqa: BLE001  # collected for the host to report
                failures.append(TeardownFailure(cell.provider, problem))
            else:
                failures += [TeardownFailure(cell.provider, error)] if error is not None else []
        return tuple(failures)

    async def aclose(self, ends: float | None = None) -> tuple[TeardownFailure, ...]:
        """Close them on the home loop, which is not blocked: sync teardowns run in a thread.

        Args:
            ends: as for `close`.

        Returns:
            What went wrong, in order.
        """
        failures = []
        tasks = self._seal()
        if tasks:
            await _cancelled(tasks, _left(ends))
        while (cell := self._next()) is not None:
            work = None
            if cell.awaits:
                waited: asyncio.Future[Any] = asyncio.ensure_future(_aclosed(cell))
            elif cell.provider.generator:
                work = _in_thread(self._vault.start, cell)
                waited = asyncio.wrap_future(work)
            else:
                cell.close()
                continue
            try:
                done, _ = await asyncio.wait([waited], timeout=_left(ends))
            finally:  # who swallows the cancellation is left behind as well
                waited.cancel()
            if waited not in done:
                failures.append(_left_behind(cell, work))
            elif (error := waited.result()) is not None:
                failures.append(TeardownFailure(cell.provider, error))
        return tuple(failures)

    def _seal(self) -> list[asyncio.Task[None]]:
        with self._vault.lock:
            for cell in self._cells:
                cell.sealed = True
            pending = (attempt for attempt in self._vault.pending if attempt.cell in self._cells)
            return [attempt.task for attempt in pending if attempt.task is not None]

    def _next(self) -> Cell | None:
        made = self._vault.made
        with self._vault.lock:
            for index in reversed(range(len(made))):
                if made[index] in self._cells:
                    cell = made.pop(index)
                    cell.value = MISSING
                    return cell
            if not any(cell.provider.colour is Colour.ASYNC for cell in made):
                self._vault.home = None  # the next loop may be another one
        return None


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(ends - monotonic(), _EACH)


def _run(run_async: RunAsync, work: Coroutine[Any, Any, Any], ends: float | None) -> Any:
    return run_async(work) if ends is None else run_async(work, _left(ends))


async def _cancelled(tasks: list[asyncio.Task[None]], timeout: float | None) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=timeout)


def _closed(cell: Cell) -> BaseException | None:
    try:
        cell.close()
    except BaseException as error:  # a teardown that wants to exit must not keep the others open
        if is_interrupt(error):
            raise
        return error
    return None


async def _aclosed(cell: Cell) -> BaseException | None:
    try:
        await cell.aclose()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # as above
        return error
    return None


def _in_thread(start: Start, cell: Cell) -> "Future[BaseException | None]":
    """Close in a thread, whatever the bounds of calls are: those may be used up by what waits for it."""
    done: Future[BaseException | None] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(_closed(cell))
        except BaseException as error:  # noqa: BLE001  # told to whoever waits for it
            done.set_result(error)

    try:
        start("jackfield teardown", run)
    except ResourceExhausted:
        run()  # it holds up whoever closes, but what is open must be closed
    return done


def _left_behind(cell: Cell, work: "Future[BaseException | None] | None") -> TeardownFailure:
    if work is not None:
        work.add_done_callback(partial(_say_late, cell.provider))
    return TeardownFailure(cell.provider, None)


def _say_late(provider: Provider, work: "Future[BaseException | None]") -> None:
    if (error := work.result()) is not None:
        log_failure(provider, error)
