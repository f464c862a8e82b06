"""Background work of a plugin: threads, tasks and repetitions that end when the plugin stops."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from jackfield.model.injectable import injectable
from jackfield.plugins.ledger import Ledger, Ledgers
from jackfield.plugins.repetition import Repetition
from jackfield.plugins.work import Term, Work, current_term
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool
from jackfield.strangers import is_async


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


@injectable
class Background:
    """Threads, tasks and repetitions of a plugin. Injectable by type, made for the plugin that asks.

    Everything ends when the plugin stops: repetitions begin no more runs, tasks are cancelled, and threads are expected
    to look at `stopping`. What does not end within the plugin's stop timeout is named in its fault. Exceptions are
    logged with the plugin.

    Args:
        plugin: whose it is.
        home: where tasks run.
        ledger: what the plugin holds.
        pool: where threads come from.
        control: what keeps the time of repetitions.
    """

    def __init__(self, plugin: str, *, home: HomeLoop, ledger: Ledger, pool: Pool, control: ControlLoop) -> None:
        self.plugin = plugin
        self._home = home
        self._ledger = ledger
        self._pool = pool
        self._control = control
        self._term: Term | None = None

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
        self._here().begin(work, partial(target, *args), partial(self._pool.start, full))
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
            if not term.over:
                term.begin(work, body, partial(self._pool.start, full))

        return Schedule(term, term.repeat(full, lambda: Repetition(self._control, seconds, begin)))

    def open(self) -> Term:
        """For the host: begin a new term, at each start of the plugin; the one before must have ended."""
        self._term = term = Term(self.plugin, self._home, self._ledger)
        return term

    def reopen(self, term: Term) -> None:
        """For the host: make an earlier term the current one again, after a replacement that failed.

        Args:
            term: what `open` gave; it has not ended.
        """
        self._term = term

    def _here(self) -> Term:
        # What an earlier start left behind stays in its own term, which has ended.
        term = current_term.get()
        return term if term is not None and term.plugin == self.plugin else self._term or self._ended_term()

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


class Backgrounds:
    """The `Background` of each plugin of a host, always the same one, made when it is first asked for.

    Args:
        home: where tasks run.
        ledgers: what the plugins hold.
        pool: where threads come from.
        control: what keeps the time of repetitions.
    """

    def __init__(self, home: HomeLoop, ledgers: Ledgers, pool: Pool, control: ControlLoop) -> None:
        self._home = home
        self._ledgers = ledgers
        self._pool = pool
        self._control = control
        self._backgrounds: dict[str, Background] = {}

    def of(self, plugin: str) -> Background:
        """Give the `Background` of a plugin; it takes work while the plugin starts and runs."""
        found = self._backgrounds.get(plugin)
        if found is None:
            made = Background(
                plugin, home=self._home, ledger=self._ledgers.of(plugin), pool=self._pool, control=self._control
            )
            found = self._backgrounds.setdefault(plugin, made)
        return found
