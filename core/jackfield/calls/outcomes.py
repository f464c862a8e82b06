"""What an exception becomes on its way out of a call.

A function's own exceptions arrive as `FunctionCrashed`, wherever it ran. Three kinds pass as they are: `Rejected`,
cancellation, and `DeadlineExceeded` once the call's own deadline has passed, which whatever else is raised then becomes
the cause of. A nested call's error that escapes a body is the outer function's crash. A refusal that a task group has
wrapped is that refusal still, when nothing else went wrong in the group.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Token
from time import monotonic
from types import CoroutineType, TracebackType
from typing import Any, Final

from jackfield.errors import Cancelled, DeadlineExceeded, FunctionCrashed, JackfieldError, Rejected
from jackfield.model.call import Call, current
from jackfield.model.spec import FunctionSpec
from jackfield.stack import error_message, error_type, is_closing, is_own, outcome_of, set_traceback, traceback_of
from jackfield.strangers import is_a, is_interrupt

__all__ = [
    "GENERATED",
    "came_late",
    "leave_anyhow",
    "not_started",
    "outcome_of",
    "timed_out",
    "translator",
    "unawaited",
]

_LATE: Final = "the result came late and is dropped"

GENERATED: Final = "<jackfield walk>"
"""The file name of generated walks, by which their frames are recognised and cut."""


def translator(  # noqa: C901  # a list of rules
    spec: FunctionSpec, *, awaited: bool
) -> Callable[[Call, BaseException, bool], BaseException]:
    """Make the function that turns whatever a walk caught into what its caller gets.

    Args:
        spec: the function whose walk it is.
        awaited: whether the walk is a coroutine: only there a cancellation is asyncio's own.

    Returns:
        A function of the call, the exception, and whether the function's body was running; it gives an exception to
        raise, the same one when it passes as it is.
    """
    name, version, plugin = spec.name, spec.version, spec.plugin

    def translate(call: Call, error: BaseException, running: bool) -> BaseException:  # noqa: PLR0911  # one per rule
        # By its real class throughout: what an error says of itself is a stranger's code, which may want to exit.
        if is_a(error, BaseExceptionGroup) and (refusal := _refusal(error)) is not None:
            return refusal
        if is_a(error, JackfieldError):
            if not running or is_a(error, (Rejected, Cancelled)):
                return error
        elif is_a(error, asyncio.CancelledError):
            if awaited:
                return error
            if not running:
                gone = Cancelled(name, "where it ran it was cancelled")
                gone.__cause__ = error
                return gone
        elif (awaited and is_closing(error)) or is_interrupt(error):
            return error
        set_traceback(error, _cut(traceback_of(error)))
        if running and call.deadline is not None and (overdue := monotonic() - call.deadline) >= 0:
            if is_a(error, DeadlineExceeded):
                return error
            late = DeadlineExceeded(name, overdue, f"it raised {error_type(error)} when its time was up")
            late.__cause__ = error  # observers look at it before it is raised
            return late
        kind = "jackfield.FunctionCrashed" if is_a(error, FunctionCrashed) else error_type(error)
        # A nested call's error says which function it was: its whole text belongs into the outer one's.
        text = _whole(error) if is_a(error, JackfieldError) else error_message(error)
        crash = FunctionCrashed(name, kind, text, version, plugin)
        crash.__cause__ = error
        return crash

    return translate


def _refusal(group: BaseExceptionGroup[BaseException]) -> Rejected | None:
    """Give the refusal that a group stands for, the first if there are several; None if anything else is in it."""
    try:
        _, others = group.split(Rejected)
        if others is not None:
            return None
        first: BaseException = group
        while is_a(first, BaseExceptionGroup):
            first = first.exceptions[0]
        _ = first.__cause__  # which is asked for when it is raised
    except BaseException:  # noqa: BLE001  # a group of a stranger's class, or thousands within one another
        return None
    return first if is_a(first, Rejected) else None


def _whole(error: JackfieldError) -> str:
    try:
        return str.__str__(str(error))
    except BaseException:  # noqa: BLE001  # one that a stranger has made, of what does not belong into it
        return error_message(error)


def _cut(traceback: TracebackType | None) -> TracebackType | None:
    """Drop jackfield's frames from the head of a traceback, unless none would be left."""
    rest = traceback
    while rest is not None and is_own(rest.tb_frame.f_code):
        rest = rest.tb_next
    return rest or traceback


def not_started(call: Call) -> DeadlineExceeded:
    """Make the error of a call whose time was up before it began."""
    return DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), "it was not started")


def came_late(call: Call, cancelled: bool = False) -> DeadlineExceeded:  # by position from walks
    """Make the error of a call whose result came after its time, though it may have been cancelled at its deadline."""
    reason = "it swallowed its cancellation, and its result is dropped" if cancelled else _LATE
    return DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), reason)


def timed_out(call: Call, error: BaseException) -> DeadlineExceeded:
    """Make the error of a call that its own timer cancelled.

    Args:
        call: the call.
        error: the cancellation. An executor that cannot end what it runs gives it a `DeadlineExceeded` as cause, which
            says what becomes of that; everything else that was cancelled is a coroutine.
    """
    known = error.__cause__
    reason = known.reason if isinstance(known, DeadlineExceeded) else "it was cancelled"
    late = DeadlineExceeded(call.name, monotonic() - (call.deadline or 0.0), reason)
    late.__cause__ = error
    return late


def unawaited(result: "CoroutineType[Any, Any, Any]") -> TypeError:
    """Close a coroutine that a sync function returned, and make the error that says so."""
    result.close()
    return TypeError("returned a coroutine that nobody awaits: declare the function with `async def`")


def leave_anyhow(token: "Token[Call | None] | None") -> None:
    """Restore the surrounding call after a failure.

    A coroutine that is closed by somebody else is in another context by then; there is nothing to restore.
    """
    if token is not None:
        with contextlib.suppress(ValueError):
            current.reset(token)
