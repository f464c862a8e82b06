"""What becomes of a submitted call after an attempt."""

import msgspec

from jackfield.durable.records import State, Submitted, packed_failure, packed_result
from jackfield.errors import (
    Cancelled,
    DeadlineExceeded,
    FunctionCrashed,
    JackfieldError,
    ResourceExhausted,
    Unavailable,
)
from jackfield.model.retry import RetryPolicy, pause, worth_it
from jackfield.model.submission import SubmissionState
from jackfield.strangers import is_a

_BACKOFF = 0.5  # seconds before the second attempt


def succeeded(call: Submitted, state: State, result: object, now: float) -> State:
    """Settle a call whose function has returned."""
    try:
        data = packed_result(result)
        reason = "" if data is not None else "its result is larger than a store takes: keep it elsewhere, return where"
        error: JackfieldError = ResourceExhausted(call.function, reason)
    except TypeError as problem:
        data = None
        error = FunctionCrashed(call.function, "TypeError", f"its result cannot be kept: {problem}", call.version)
    if data is None:
        return _settled(state, SubmissionState.FAILED, now, failure=packed_failure(error, call.function))
    return _settled(state, SubmissionState.SUCCEEDED, now, result=data)


def failed(  # noqa: PLR0911  # one for each verdict
    call: Submitted, state: State, error: BaseException, now: float, attempts: int, left: float | None
) -> State:
    """Decide what becomes of a call whose attempt has raised.

    Args:
        call: it.
        state: its state during the attempt.
        error: what was raised.
        now: seconds since the epoch.
        attempts: how often it is tried.
        left: seconds that it has left, or None.

    Returns:
        Settled, or accepted anew.
    """
    failure = packed_failure(error, call.function)
    if is_a(error, Unavailable) and error.cause == "host_stopped" and (error.ran is False or call.repeatable):
        return given_back(state, now, ran=error.ran is not False)
    if worth_it(error, idempotent=call.repeatable):
        seconds = pause(RetryPolicy(attempts, _BACKOFF), max(state.tries, 1), error)
        if state.tries >= attempts:
            return dead(state, "attempts", now, failure)
        if left is not None and left <= seconds:
            return dead(state, "expired", now, failure)
        return msgspec.structs.replace(
            state, status=SubmissionState.ACCEPTED, at=now, owner="", pause=seconds, failure=failure
        )
    if is_a(error, Unavailable) and error.ran is not False:
        return dead(state, "unknown", now, failure)
    if is_a(error, DeadlineExceeded):
        return dead(state, "expired", now, failure)
    if is_a(error, Cancelled):
        return _settled(state, SubmissionState.CANCELLED, now, failure=failure)
    return _settled(state, SubmissionState.FAILED, now, failure=failure)


def given_back(state: State, now: float, *, ran: bool) -> State:
    """Accept a call anew that a runner could not finish; an attempt that did not run does not count."""
    tries = state.tries if ran else max(state.tries - 1, 0)
    return msgspec.structs.replace(state, status=SubmissionState.ACCEPTED, at=now, owner="", pause=0.0, tries=tries)


def lost(call: Submitted, state: State, now: float) -> State:
    """Settle a call that was being run when its runner ended, and that may not be run twice."""
    reason = "the host that ran it ended meanwhile, and it is not marked idempotent: see whether it was done"
    failure = packed_failure(Unavailable(call.function, reason, "crashed"), call.function)
    return dead(state, "unknown", now, failure)


def expired(call: Submitted, state: State, now: float, left: float) -> State:
    """Settle a call whose time has passed before it could be run."""
    failure = state.failure or packed_failure(
        DeadlineExceeded(call.function, max(-left, 0.0), "it was submitted, and not run in time"), call.function
    )
    return dead(state, "expired", now, failure)


def used_up(call: Submitted, state: State, now: float) -> State:
    """Settle a call that was tried often enough, its last runner having ended."""
    reason = f"the hosts that ran it ended meanwhile, {state.tries} times"
    failure = state.failure or packed_failure(Unavailable(call.function, reason, "crashed"), call.function)
    return dead(state, "attempts", now, failure)


def cancelled(call: Submitted, state: State, now: float) -> State:
    """Settle a call that somebody has cancelled."""
    failure = packed_failure(Cancelled(call.function, "it was cancelled after it was submitted"), call.function)
    return _settled(state, SubmissionState.CANCELLED, now, failure=failure)


def dead(state: State, reason: str, now: float, failure: bytes) -> State:
    """Settle a call as dead."""
    return _settled(state, SubmissionState.DEAD, now, failure=failure, reason=reason)


def _settled(
    state: State,
    status: SubmissionState,
    now: float,
    *,
    result: bytes | None = None,
    failure: bytes | None = None,
    reason: str = "",
) -> State:
    return msgspec.structs.replace(
        state, status=status, at=now, owner="", pause=0.0, result=result, failure=failure, reason=reason
    )
