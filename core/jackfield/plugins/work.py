"""What runs in the background of a plugin between one start and the next stop."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar
from functools import partial
from time import monotonic
from typing import Any

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.plugins.instance import fault_of
from jackfield.plugins.ledger import Entry, Ledger
from jackfield.plugins.repetition import Repetition
from jackfield.runtime.home import HomeLoop
from jackfield.stack import frames
from jackfield.strangers import is_async, is_interrupt

current_term: "ContextVar[Term | None]" = ContextVar("jackfield_term", default=None)
"""The term that started the running code, if it was started by one."""


class Work:
    """One thread or task that a plugin runs in the background; `Background.spawn` makes it.

    Attributes:
        name: for people.
        kind: `thread` or `task`.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], object]] = []

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        return not self._ended.is_set()

    def cancel(self) -> None:
        """Cancel a task. A thread cannot be cancelled: it ends when it looks at `Background.stopping`."""
        with self._lock:
            self._cancelled = True
            task = self._task
        if task is not None:
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:  # the loop is closed, and its tasks with it
                self.end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end.

        Args:
            timeout: seconds.

        Returns:
            Whether it has ended.
        """
        return self._ended.wait(timeout)

    def on_ended(self, callback: Callable[[], object]) -> None:
        """For `Term`: note what is to be done when it ends; it has not begun yet."""
        self._callbacks.append(callback)

    def start_task(self, body: Coroutine[Any, Any, None]) -> None:
        """For `Term`: run as a task of the running loop, unless it was cancelled already."""
        with self._lock:
            if self._cancelled:
                body.close()
                self.end()
                return
            self.kind = "task"
            self._task = asyncio.get_running_loop().create_task(body, name=self.name)
        self._task.add_done_callback(lambda _: self.end())

    def end(self) -> None:
        """For `Term`: note that it has ended."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
            self._task = None
        for callback in callbacks:
            callback()

    def __repr__(self) -> str:
        """Show its name and whether it lives."""
        return f"Work({self.name!r}, {self.kind}, {'alive' if self.is_alive() else 'ended'})"


class Term:
    """The background work of a plugin from one start to the next stop.

    Args:
        plugin: whose it is.
        home: where tasks run.
        ledger: what the plugin holds.

    Attributes:
        over: whether the plugin is to stop.
    """

    def __init__(self, plugin: str, home: HomeLoop, ledger: Ledger) -> None:
        self.plugin = plugin
        self.over = False
        self._stopping: threading.Event | None = None
        self._home = home
        self._ledger = ledger
        self._lock = threading.RLock()
        self._works: dict[Work, Entry] = {}
        self._repetitions: dict[Repetition, Entry] = {}

    @property
    def stopping(self) -> threading.Event:
        """Set when the plugin is to stop; made when somebody asks, since it takes longer than all else of a term."""
        with self._lock:
            if self._stopping is None:
                self._stopping = threading.Event()
                if self.over:
                    self._stopping.set()
            return self._stopping

    def enter(self) -> None:
        """Make this the term of the code that runs in this context."""
        current_term.set(self)

    def begin(self, work: Work, target: Callable[..., Any], run: Callable[[Callable[[], object]], object]) -> None:
        """Begin a piece of work.

        Args:
            work: stands for it.
            target: what to run; sync or async.
            run: runs a callable in a thread.

        Raises:
            Unavailable: if the term has ended.
        """
        with self._lock:
            self._check()
            self._works[work] = self._ledger.record(f"background {work.kind}", work.name, work.cancel, work)
            work.on_ended(partial(self._forget, work))
        try:
            if is_async(target):
                self._go_home(work, target)
            else:
                run(partial(self._in_thread, work, [target]))
        except BaseException:
            work.end()
            raise

    def repeat(self, name: str, make: Callable[[], Repetition]) -> Repetition:
        """Begin a repetition; it ends with the term.

        Raises:
            Unavailable: if the term has ended.
        """
        with self._lock:
            self._check()
            repetition = make()
            self._repetitions[repetition] = self._ledger.record("timer", name, repetition.cancel)
        return repetition

    def drop(self, repetition: Repetition) -> None:
        """End one repetition."""
        repetition.cancel()
        with self._lock:
            entry = self._repetitions.pop(repetition, None)
        if entry is not None:
            self._ledger.forget(entry)

    def ask_to_end(self) -> None:
        """Set `stopping`, end the repetitions, cancel the tasks; does not wait."""
        with self._lock:
            if not self.over:
                self.over = True
                if self._stopping is not None:
                    self._stopping.set()
            works, repetitions = list(self._works), list(self._repetitions)
        for repetition in repetitions:
            self.drop(repetition)
        for work in works:
            work.cancel()

    def join(self, ends: float) -> tuple[str, ...]:
        """Wait for the work to end.

        Args:
            ends: at most until then, on `time.monotonic`'s clock.

        Returns:
            What has not, as in `thread billing:poll`.
        """
        for work in list(self._works):
            work.wait(max(ends - monotonic(), 0.0))
        return self.alive()

    def alive(self) -> tuple[str, ...]:
        """Name what has not ended."""
        return tuple(f"{work.kind} {work.name}" for work in list(self._works) if work.is_alive())

    def _check(self) -> None:
        if self.over:
            raise Unavailable(f"the background of plugin {self.plugin}", "the plugin is not running")

    def _forget(self, work: Work) -> None:
        with self._lock:
            entry = self._works.pop(work, None)
        if entry is not None:
            self._ledger.forget(entry)

    def _in_thread(self, work: Work, held: list[Callable[[], Any]]) -> None:
        self.enter()
        try:
            result = held.pop()()  # nothing of the plugin is held here when its end becomes known
            if inspect.isawaitable(result):
                work.on_ended(partial(_close_unstarted, result))
                self._go_home(work, lambda: result)
                return
        except BaseException as error:  # noqa: BLE001  # nobody waits for it
            self._report(work, error)
        work.end()

    def _go_home(self, work: Work, make: Callable[[], Awaitable[Any]]) -> None:
        async def begin() -> None:
            work.start_task(self._contained(work, make))

        # A context of its own: background work has neither the deadline nor the trace of whoever begins it.
        context = Context()
        context.run(self.enter)
        context.run(self._home.submit, self.plugin, begin())

    async def _contained(self, work: Work, make: Callable[[], Awaitable[Any]]) -> None:
        try:
            await make()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._report(work, error)

    def _report(self, work: Work, error: BaseException) -> None:
        fault = fault_of(error, "background", self.plugin, f"{work.kind} {work.name}")
        host_log("ERROR", fault, stack=frames(error))


def _close_unstarted(awaitable: Any) -> None:
    """Close a coroutine that was cancelled before it began, lest Python warn that nobody awaited it."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()
