"""How far a function has come, for whoever listens to its call: a door, or the trial on a command line.

Who listens is in the context of the call, as the call itself is: a function that runs where nobody listens pays for one
look at a context variable, and calls that report nothing pay nothing. What is told is the last that each function and
step has said, not all of it: a function that reports a million times a second is told of as often as somebody looks.
"""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from math import isfinite
from operator import index
from typing import Any, Final, SupportsFloat, SupportsIndex

import msgspec

TEXT: Final = 1_000
"""The most characters of a text that are told."""

KEYS: Final = 1_000
"""The most functions and steps of one call that are told apart."""


class Progress(msgspec.Struct, frozen=True, tag_field="kind", tag="progress"):
    """How far a function has come.

    Attributes:
        function: its name.
        done: how much of it is done.
        total: how much there is; None when that is not known.
        text: what it is at.
    """

    function: str
    done: int | float
    total: int | float | None = None
    text: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What a later one takes the place of."""
        return (self.function,)


class StepProgress(msgspec.Struct, frozen=True, tag_field="kind", tag="step"):
    """What became of a step of a flow so far.

    Attributes:
        flow: the name of the flow.
        step: that of the step.
        state: `running`, `ok`, `failed`, `cancelled` or `left out`.
        items: how many items it has done, of a step with `each`; else 0.
        failed: how many of them failed.
        seconds: that it took, once it has ended.
    """

    flow: str
    step: str
    state: str
    items: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        """What a later one takes the place of."""
        return (self.flow, self.step)


Listener = Callable[[Progress | StepProgress], object]
"""Hears how far a call has come, in any thread; it neither waits nor raises."""

listening: Final[ContextVar[Listener | None]] = ContextVar("jackfield_listening", default=None)
"""Who hears how far the calls of this context have come."""


class Latest:
    """Keeps the last that each function and step has said, until it is taken; a `Listener`.

    Args:
        wake: called, in the thread of a function, when there is something to take and the last `take` found nothing.

    Examples:
        >>> latest = Latest(lambda: print("there is something"))
        >>> for number in range(1_000):
        ...     latest(Progress("import", number, 1_000))
        there is something
        >>> [said.done for said in latest.take()], latest.take()
        ([999], ())
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._said: dict[tuple[str, ...], Progress | StepProgress] = {}
        self._woken = self._closed = False

    def __call__(self, said: Progress | StepProgress) -> None:
        """Keep what was said, in place of what the same function or step has said before."""
        key = said.key
        with self._lock:
            if self._closed or (self._said.pop(key, None) is None and len(self._said) >= KEYS):
                return
            self._said[key] = said
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def take(self) -> tuple[Progress | StepProgress, ...]:
        """Give what was said since the last time, the latest last; once that is nothing, `wake` is called again."""
        with self._lock:
            said, self._said = self._said, {}
            self._woken = bool(said)
        return tuple(said.values())

    def close(self) -> tuple[Progress | StepProgress, ...]:
        """Hear nothing any more, and give what was said since the last time."""
        with self._lock:
            self._closed, said, self._said = True, self._said, {}
        return tuple(said.values())


def progress_of(function: str, done: Any, total: Any, text: str) -> Progress:
    """Look whether a report is one.

    Raises:
        TypeError: when a number is none, or the text no `str`.
        ValueError: when a number is not finite.
    """
    if not isinstance(text, str):
        raise TypeError(f"the text of a progress is a str, not {type(text).__name__}")
    said = text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"
    return Progress(function, _number(done, "done"), None if total is None else _number(total, "total"), said)


def _number(value: Any, what: str) -> int | float:
    if type(value) is int or (type(value) is float and isfinite(value)):
        number: int | float = value
    elif isinstance(value, str | bytes) or not isinstance(value, SupportsFloat | SupportsIndex):
        raise TypeError(f"`{what}` of a progress is a number, not {type(value).__name__}")
    elif isinstance(value, SupportsIndex):
        number = index(value)
    elif not isfinite(number := float(value)):
        raise ValueError(f"`{what}` of a progress is a finite number")
    # More than 64 bits are told as MessagePack can: as a float.
    return number if -(2**63) <= number < 2**63 else _large(number, what)


def _large(number: float, what: str) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError(f"`{what}` of a progress is a finite number") from None
