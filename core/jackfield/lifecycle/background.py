"""Background work of a plugin: threads, tasks and repetitions that end when the plugin stops."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar
from functools import partial
from time import monotonic
from typing import Any

from jackfield.errors import Unavailable
from jackfield.executors.loop import HomeLoop
from jackfield.lifecycle.hands import Hands
from jackfield.lifecycle.instance import fault_of, is_interrupt
from jackfield.lifecycle.ledger import Entry, Ledger
from jackfield.lifecycle.timetable import Repetition, Timetable
from jackfield.observe.logger import host_log
from jackfield.observe.stack import frames

_current: "ContextVar[Term | None]" = ContextVar("jackfield_term", default=None)


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
        stopping: set when the plugin is to stop.
    """

    def __init__(self, plugin: str, home: HomeLoop, ledger: Ledger) -> None:
        self.plugin = plugin
        self.stopping = threading.Event()
        self._home = home
        self._ledger = ledger
        self._lock = threading.RLock()
        self._works: dict[Work, Entry] = {}
        self._repetitions: dict[Repetition, Entry] = {}

    def enter(self) -> None:
        """Make this the term of the code that runs in this context."""
        _current.set(self)

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
            if _is_async(target):
                self._go_home(work, target)
            else:
                run(partial(self._in_thread, work, target))
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
            self.stopping.set()
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
        if self.stopping.is_set():
            raise Unavailable(f"the background of plugin {self.plugin}", "the plugin is not running")

    def _forget(self, work: Work) -> None:
        with self._lock:
            entry = self._works.pop(work, None)
        if entry is not None:
            self._ledger.forget(entry)

    def _in_thread(self, work: Work, target: Callable[[], Any]) -> None:
        self.enter()
        try:
            result = target()
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


class Schedule:
    """What `Background.every` gives."""

    def __init__(self, term: Term, repetition: Repetition) -> None:
        self._term = term
        self._repetition = repetition

    @property
    def cancelled(self) -> bool:
        """Whether no more runs will begin."""
        return self._repetition.cancelled

    def cancel(self) -> None:
        """Begin no more runs; one that is under way goes on."""
        self._term.drop(self._repetition)


class Background:
    """Threads, tasks and repetitions of a plugin. Injectable by type, made for the plugin that asks.

    Everything ends when the plugin stops: repetitions begin no more runs, tasks are cancelled, and threads are expected
    to look at `stopping`. What does not end within the plugin's stop timeout is named in its fault. Exceptions are
    logged with the plugin.

    Args:
        plugin: whose it is.
        home: where tasks run.
        ledger: what the plugin holds.
        hands: where the threads of repetitions come from.
        timetable: what keeps their time.
    """

    def __init__(self, plugin: str, *, home: HomeLoop, ledger: Ledger, hands: Hands, timetable: Timetable) -> None:
        self.plugin = plugin
        self._home = home
        self._ledger = ledger
        self._hands = hands
        self._timetable = timetable
        self._term = self._ended_term()

    @property
    def stopping(self) -> threading.Event:
        """Set when the plugin is to stop; threads wait on it instead of sleeping: `while not stopping.wait(5.0):`."""
        return self._here().stopping

    def spawn(self, target: Callable[..., Any], *args: Any, name: str | None = None) -> Work:
        """Run something until it ends or the plugin stops: an async function as a task, any other in a thread.

        Args:
            target: the function.
            *args: what it gets.
            name: for people and for the thread; by default the function's name.

        Returns:
            What can be waited for and, if it is a task, cancelled.

        Raises:
            Unavailable: if the plugin is not running, nor starting.
        """
        full = self._name(target, name)
        work = Work(full, "task" if _is_async(target) else "thread")
        self._here().begin(work, partial(target, *args), lambda body: _new_thread(full, body))
        return work

    def every(self, seconds: float, target: Callable[..., Any], *args: Any, name: str | None = None) -> Schedule:
        """Run something every so many seconds, the first time after that many; runs never overlap.

        A run that raises is logged, and the next one takes place. One that takes longer than the interval makes those
        fall out that it covers.

        Args:
            seconds: from one run's beginning to the next's.
            target: the function; sync or async.
            *args: what it gets.
            name: for people and for the thread; by default the function's name.

        Returns:
            What cancels it.

        Raises:
            Unavailable: if the plugin is not running, nor starting.
            ValueError: if the interval makes no sense.
        """
        term = self._here()
        full = self._name(target, name)
        body = partial(target, *args)
        kind = "task" if _is_async(target) else "thread"

        def begin(done: Callable[[], None]) -> None:
            work = Work(full, kind)
            work.on_ended(done)
            if not term.stopping.is_set():
                term.begin(work, body, lambda run: self._hands.submit(full, run))

        return Schedule(term, term.repeat(full, lambda: Repetition(self._timetable, seconds, begin)))

    def open(self) -> Term:
        """For the host: begin a new term, at each start of the plugin; the one before must have ended."""
        self._term = Term(self.plugin, self._home, self._ledger)
        return self._term

    def close(self, timeout: float) -> tuple[str, ...]:
        """For the host: end the term and wait for its work; gives what has not ended.

        Args:
            timeout: seconds to wait at most.
        """
        self._term.ask_to_end()
        return self._term.join(monotonic() + timeout)

    def _here(self) -> Term:
        # What an earlier start left behind stays in its own term, which has ended.
        term = _current.get()
        return term if term is not None and term.plugin == self.plugin else self._term

    def _ended_term(self) -> Term:
        term = Term(self.plugin, self._home, self._ledger)
        term.ask_to_end()
        return term

    def _name(self, target: Callable[..., Any], name: str | None) -> str:
        if not callable(target):
            raise TypeError(f"the background of {self.plugin} runs functions, not {type(target).__qualname__}")
        inner: Any = target
        while isinstance(inner, partial):
            inner = inner.func
        return f"{self.plugin}:{name or getattr(inner, '__name__', type(inner).__name__)}"


def _is_async(target: Any) -> bool:
    while isinstance(target, partial):
        target = target.func
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(type(target), "__call__", None))


def _close_unstarted(awaitable: Any) -> None:
    """Close a coroutine that was cancelled before it began, lest Python warn that nobody awaited it."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()


def _new_thread(name: str, body: Callable[[], object]) -> None:
    threading.Thread(target=Context().run, args=(body,), name=name, daemon=True).start()
