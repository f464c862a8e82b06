"""Telling of changes: in the order in which they were made, by whoever gets to it, with no lock held meanwhile."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from jackfield.log import host_log
from jackfield.model.atomic import Link
from jackfield.registry.registry import Commit, Registry


class Courier:
    """Takes every commit to one audience, one thread at a time.

    The turn to tell is no lock: nobody waits for it longer than it says, and a thread that has it and makes a change
    itself (a hook that registers, a signal handler in the middle of a hook) leaves the news of that to itself, later.

    Args:
        registry: whose commits; of none is anybody told before it is visible.
        tell: tells of one; called with no lock held.
        busy_with: says what `tell` is at, for the log.
    """

    def __init__(self, registry: Registry, tell: Callable[[Commit], object], busy_with: Callable[[], str]) -> None:
        self._registry = registry
        self._told = registry.shown
        self._tell = tell
        self._busy_with = busy_with
        # Whoever sets the only key has the turn: `setdefault` is atomic even within one thread that is interrupted.
        self._turn: dict[str, tuple[int, str]] = {}
        self._waiting: deque[threading.Lock] = deque()
        self._lagging: tuple[int, str] | None = None

    @property
    def is_here(self) -> bool:
        """Whether this very thread is telling, further out."""
        held = self._turn.get("teller")
        return held is not None and held[0] == threading.get_ident()

    def deliver(self, until: int, patience: float) -> None:
        """See to it that everybody has been told of a commit and all before it.

        Args:
            until: the number of the commit. Not the commit: who is slow to return would hold on to what others purge.
            patience: seconds to wait for another thread that is telling already. When they are over, or this very
                thread is the one, it is told later.
        """
        ends = monotonic() + patience
        while self._next() is not None:
            mine = (threading.get_ident(), threading.current_thread().name)  # told apart by identity
            try:
                held = self._turn.setdefault("teller", mine)
                if held is mine:
                    self._tell_all()
            finally:
                if self._turn.get("teller") is mine:
                    del self._turn["teller"]
                    self._wake()
            if held is mine:
                continue
            if held[0] == mine[0] or self._told.number >= until or patience <= 0:
                return
            if not self._wait(held, until, ends):
                return

    def _next(self) -> Link[Commit] | None:
        """Give the next commit that is visible and has not been told."""
        return None if self._told is self._registry.shown else self._told.following

    def _tell_all(self) -> None:
        while (link := self._next()) is not None:
            try:
                self._tell(link.value)
            finally:  # whatever happens: nobody is told twice
                self._told = link
                self._lagging = None
                self._wake()

    def _wake(self) -> None:
        while self._waiting:
            try:
                self._waiting.popleft().release()
            except IndexError:  # another thread was quicker
                return

    def _wait(self, held: tuple[int, str], until: int, ends: float) -> bool:
        """Wait until something has been told, and say whether to go on; the last look is after the time is up."""
        left = ends - monotonic()
        if left <= 0 or self._lagging is held:
            if left <= 0 and self._lagging is not held:
                self._lagging = held
                what = self._busy_with() or "what it tells"
                host_log("WARNING", f"the news of a change come later: {what}, in thread {held[1]!r}, does not end")
            return False
        woken = threading.Lock()
        woken.acquire()
        self._waiting.append(woken)
        if self._turn.get("teller") is held and self._told.number < until:
            woken.acquire(timeout=left)
        return True
