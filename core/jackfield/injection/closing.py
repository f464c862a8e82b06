"""Close singletons when a host stops, a plugin is unloaded or an override ends."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any

import attrs

from jackfield.errors import Fault, ResourceExhausted
from jackfield.injection.providers import Provider
from jackfield.injection.scope import Cell, Start, Vault
from jackfield.model.spec import MISSING, Colour
from jackfield.stack import blamed

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the home loop and waits for its result."""


@attrs.frozen(eq=False)
class TeardownFailure:
    """What went wrong when a singleton was closed.

    Attributes:
        provider: what made it.
        error: what its teardown raised.
    """

    provider: Provider
    error: BaseException

    @property
    def fault(self) -> Fault:
        """The same as a fault of stage `stop`."""
        reason = f"its teardown raised {blamed(self.error)}"
        return Fault("stop", self.provider.plugin, self.provider.label, reason)


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

    def close(self, run_async: RunAsync) -> tuple[TeardownFailure, ...]:
        """Close them from a thread: sync ones right here, async ones through `run_async`.

        Args:
            run_async: runs a coroutine on the home loop and waits for it; only called if there is something async.

        Returns:
            What went wrong, in order.
        """
        failures = []
        tasks = self._seal()
        if tasks:
            run_async(_cancelled(tasks))
        while (cell := self._next()) is not None:
            try:
                if cell.awaits:
                    run_async(cell.aclose())
                else:
                    cell.close()
            except Exception as error:  # noqa: BLE001  # collected for the host to report
                failures.append(TeardownFailure(cell.provider, error))
        return tuple(failures)

    async def aclose(self) -> tuple[TeardownFailure, ...]:
        """Close them on the home loop, which is not blocked: sync teardowns run in a thread.

        Returns:
            What went wrong, in order.
        """
        failures = []
        tasks = self._seal()
        if tasks:
            await _cancelled(tasks)
        while (cell := self._next()) is not None:
            try:
                if cell.awaits:
                    await cell.aclose()
                elif cell.provider.generator:
                    await _in_thread(self._vault.start, cell.close)
                else:
                    cell.close()
            except Exception as error:  # noqa: BLE001  # as above
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


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _in_thread(start: Start, function: Callable[[], None]) -> None:
    """Run a function in a thread, whatever the bounds of calls are: those may be used up by what waits for it."""
    done: Future[BaseException | None] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            done.set_result(error)
        else:
            done.set_result(None)

    try:
        start("jackfield teardown", run)
    except ResourceExhausted:
        run()  # it holds up the loop, but what is open must be closed
    error = await asyncio.wrap_future(done)
    if error is not None:
        raise error
