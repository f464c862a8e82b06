"""Turns: one thread at a time does something for a name, and whoever else wants to waits until that is over.

What a thread does in its turn may begin work in other threads, and that may ask for a turn as well: the import of a
plugin may call a function of another, or of its own. Whoever works for somebody that would have to wait for him is
told so, instead of waiting for himself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")


class _Turn:
    """One turn: in which others it was taken, what it waits for, and when it is over."""

    __slots__ = ("above", "over", "waits_for")

    def __init__(self, above: "tuple[_Turn, ...]") -> None:
        self.above = above
        self.over = threading.Event()
        self.waits_for: _Turn | None = None


_mine: Final[ContextVar[tuple[_Turn, ...]]] = ContextVar("jackfield_turns", default=())


class Turns:
    """Gives turns at names.

    Examples:
        >>> turns = Turns()
        >>> with turns.at("billing", patience=1.0) as mine, turns.at("billing", patience=1.0) as again:
        ...     mine, again
        (True, False)
    """

    def __init__(self) -> None:
        # Reentrant: the garbage collector may run a finalizer that asks for a turn, at any line.
        self._lock = threading.RLock()
        self._held: dict[str, _Turn] = {}

    @contextmanager
    def at(self, *names: str, patience: float) -> Iterator[bool]:
        """Have a turn at some names.

        Args:
            *names: which; those that ask for several give them in the same order.
            patience: seconds to wait for each that has one of them before; 0 waits for nobody.

        Yields:
            Whether it is this thread's turn: not if it works for the one whose turn it is, or waited in vain.
        """
        above = _mine.get()
        turn, held = _Turn(above), []
        here = (*above, turn)  # what it has already of several names keeps others waiting, too
        try:
            for name in names:
                while (other := self._held.setdefault(name, turn)) is not turn:
                    if not self._wait(other, here, patience):
                        yield False
                        return
                held.append(name)
            token = _mine.set(here)
            try:
                yield True
            finally:
                _mine.reset(token)
        finally:
            for name in held:
                del self._held[name]
            turn.over.set()

    @contextmanager
    def behalf(self, name: str) -> Iterator[None]:
        """Work for whoever has the turn at a name, if anybody has: he waits for this thread.

        Args:
            name: which.
        """
        whose = self._held.get(name)
        token = _mine.set(_mine.get() if whose is None else (*whose.above, whose))
        try:
            yield
        finally:
            _mine.reset(token)

    def _wait(self, other: _Turn, here: tuple[_Turn, ...], patience: float) -> bool:
        with self._lock:
            ahead: _Turn | None = other
            while ahead is not None:
                if ahead in here:
                    return False
                ahead = ahead.waits_for
            for each in here:
                each.waits_for = other
        came = other.over.wait(patience)
        with self._lock:
            for each in here:
                each.waits_for = None
        return came


def carried(body: Callable[[], T]) -> Callable[[], T]:
    """Have something done in another thread on behalf of the turns of this one.

    Args:
        body: what to do.
    """
    above = _mine.get()

    def run() -> T:
        _mine.set(above)
        return body()

    return run
