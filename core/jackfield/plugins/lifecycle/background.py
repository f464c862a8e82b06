"""Background work of a plugin: threads, tasks and repetitions that end when the plugin stops."""

import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any

from jackfield.plugins.lifecycle.ledger import Ledger
from jackfield.plugins.lifecycle.timetable import Repetition, Timetable
from jackfield.plugins.lifecycle.work import Term, Work, current_term, is_async
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool


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

    def __init__(self, plugin: str, *, home: HomeLoop, ledger: Ledger, hands: Pool, timetable: Timetable) -> None:
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
        work = Work(full, "task" if is_async(target) else "thread")
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
        kind = "task" if is_async(target) else "thread"

        def begin(done: Callable[[], None]) -> None:
            work = Work(full, kind)
            work.on_ended(done)
            if not term.stopping.is_set():
                term.begin(work, body, lambda run: self._hands.start(full, run))

        return Schedule(term, term.repeat(full, lambda: Repetition(self._timetable, seconds, begin)))

    def open(self) -> Term:
        """For the host: begin a new term, at each start of the plugin; the one before must have ended."""
        self._term = Term(self.plugin, self._home, self._ledger)
        return self._term

    def reopen(self, term: Term) -> None:
        """For the host: make an earlier term the current one again, after a replacement that failed.

        Args:
            term: what `open` gave; it has not ended.
        """
        self._term = term

    def close(self, timeout: float) -> tuple[str, ...]:
        """For the host: end the term and wait for its work; gives what has not ended.

        Args:
            timeout: seconds to wait at most.
        """
        self._term.ask_to_end()
        return self._term.join(monotonic() + timeout)

    def _here(self) -> Term:
        # What an earlier start left behind stays in its own term, which has ended.
        term = current_term.get()
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


def _new_thread(name: str, body: Callable[[], object]) -> None:
    threading.Thread(target=Context().run, args=(body,), name=name, daemon=True).start()
