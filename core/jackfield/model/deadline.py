"""Deadlines: absolute monotonic times, carried by the current call, narrowed by `with deadline(seconds)`.

The rules, and where they are enforced:

- nested deadlines take the minimum (`tighten`);
- a coroutine is cancelled natively, and only the cancel of our own timer becomes `DeadlineExceeded` (`CancelTimer`);
- blocking code is not interrupted: it asks `remaining()` or `check_deadline()`, and leaving the block late raises.
"""

import asyncio
import threading
from numbers import Real
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from jackfield.errors import DeadlineExceeded
from jackfield.model.alarms import Alarm
from jackfield.model.call import Call, current

LONGEST: Final = threading.TIMEOUT_MAX
"""The most seconds that a timeout can have: what the system can wait for, 292 years on most."""


def seconds_of(timeout: Any) -> float:
    """Check what is given as a timeout.

    Args:
        timeout: seconds from now; below 0 the time is up already.

    Returns:
        The same.

    Raises:
        TypeError: if it is not a number, or a `bool`.
        ValueError: if it is NaN, infinite, or more than any timer can wait.

    Examples:
        >>> seconds_of(2), seconds_of(0.5)
        (2, 0.5)
        >>> seconds_of(float("inf"))
        Traceback (most recent call last):
        ...
        ValueError: a timeout is at most ... seconds, not inf; without one, a call takes as long as it takes
    """
    if type(timeout) is float and -LONGEST <= timeout <= LONGEST:
        return timeout
    if not issubclass(type(timeout), Real) or type(timeout) is bool:
        raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
    if timeout != timeout:  # noqa: PLR0124  # NaN
        raise ValueError("a timeout is a number of seconds, not NaN")
    if not -LONGEST <= timeout <= LONGEST:
        most = f"a timeout is at most {LONGEST:,.0f} seconds, not {str(timeout)[:20]}"
        raise ValueError(f"{most}; without one, a call takes as long as it takes")
    seconds: float = timeout  # any real number can be added to one
    return seconds


def tighten(outer: float | None, timeout: float | None) -> float | None:
    """Turn a relative timeout into an absolute deadline that is no later than the outer one.

    Args:
        outer: the absolute deadline around, or None.
        timeout: seconds from now, or None for no own limit.

    Returns:
        The nearer of the two on `time.monotonic`'s clock, or None when there is neither.

    Raises:
        TypeError: if the timeout is not a number.
        ValueError: if it is NaN, infinite or too long.
    """
    if timeout is None:
        return outer
    own = monotonic() + seconds_of(timeout)
    return own if outer is None or own < outer else outer


def remaining() -> float | None:
    """Give the seconds left until the current deadline.

    Returns:
        Seconds, never below 0.0; None when no deadline applies.
    """
    call = current.get()
    if call is None or call.deadline is None:
        return None
    return max(call.deadline - monotonic(), 0.0)


def check_deadline() -> None:
    """Raise when the current deadline has passed; long loops call this between steps.

    Raises:
        DeadlineExceeded: if it has.
    """
    call = current.get()
    if call is not None and call.deadline is not None:
        overdue = monotonic() - call.deadline
        if overdue >= 0:
            raise DeadlineExceeded(call.name, overdue, "noticed by check_deadline()")


class CancelTimer:
    """Cancel the running task at a time, and tell that cancel from anybody else's.

    It follows the protocol of `asyncio.Task.cancel` and `uncancel` that `asyncio.timeout` follows, at a third of its
    cost: one object, no context manager of its own.
    """

    __slots__ = ("_alarm", "_cancelling", "_task", "fired")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[object]", at: float) -> None:
        self.fired = False
        self._task = task
        self._cancelling = task.cancelling()
        self._alarm = Alarm(loop, at, self._fire)

    def _fire(self) -> None:
        self.fired = True
        self._task.cancel()

    def settle(self, error: BaseException | None) -> bool:
        """Disarm the timer; call this exactly once, when the body has ended.

        Args:
            error: what the body raised, or None.

        Returns:
            Whether `error` is this timer's own cancel and nobody else cancelled meanwhile: it becomes
            `DeadlineExceeded`.
        """
        self._alarm.cancel()
        if not self.fired:
            return False
        others = self._task.uncancel() > self._cancelling
        return not others and issubclass(type(error), asyncio.CancelledError)


class deadline:  # noqa: N801  # reads as a statement: `with deadline(0.2):`
    """Narrow the deadline of a block.

    The nearer of this and the surrounding deadline applies. In a coroutine the body is cancelled natively when the time
    is up. A blocking body is not interrupted; `check_deadline()` inside it raises, and so does leaving the block late.

    Args:
        seconds: from now.

    Raises:
        TypeError: if that is not a number.
        ValueError: if it is NaN, infinite or too long.
        DeadlineExceeded: on entering when the time is already up; when the body was cancelled by it; on leaving late.

    Examples:
        >>> with deadline(5.0):
        ...     with deadline(60.0):
        ...         left = remaining()
        >>> left <= 5.0
        True
    """

    __slots__ = ("_at", "_name", "_outer", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds_of(seconds)
        self._timer: CancelTimer | None = None

    def __enter__(self) -> Self:
        """Open the block."""
        outer = self._outer = current.get()
        at = tighten(outer.deadline if outer is not None else None, self._seconds)
        assert at is not None  # noqa: S101  # for the type checker: a timeout was given
        self._at = at
        self._name = outer.name if outer is not None else ""
        overdue = monotonic() - at
        if overdue >= 0:
            raise DeadlineExceeded(self._name, overdue, "the block was not entered")
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is not None and (outer is None or at != outer.deadline):
            self._timer = CancelTimer(task.get_loop(), task, at)
        # An ambient call: it has no name of its own, so that `current_call()` still finds the function's.
        current.set(
            Call("", deadline=at, parent=outer)
            if outer is None
            else Call(
                "",
                None,
                outer.version,
                outer.revision,
                at,
                outer.tenant,
                headers=outer.headers,
                parent=outer,
                attempt=outer.attempt,
                trace=outer.trace,
            )
        )
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _stack: TracebackType | None
    ) -> None:
        """Close the block."""
        # Not a token: resetting one in another context raises, as when a generator's block is closed by another task.
        current.set(self._outer)
        overdue = monotonic() - self._at
        if self._timer is not None and self._timer.settle(error):
            raise DeadlineExceeded(self._name, overdue, "the block was cancelled") from error
        if error is None and overdue >= 0:
            raise DeadlineExceeded(self._name, overdue, "the block was left late")
