"""Which failed calls are worth another try, and how long to wait before it: for direct calls and durable ones alike."""

from random import random
from typing import Final

import attrs

from jackfield.errors import FunctionCrashed, JackfieldError, ResourceExhausted, Unavailable
from jackfield.strangers import is_a

LONGEST: Final = 5.0
"""Seconds that a pause lasts at most, unless the first one is longer by the policy itself; as in stamina."""

_DOUBLINGS: Final = 64  # after which any pause is the longest
_DAY: Final = 86_400.0  # seconds: the longest that what refuses a call may have it wait
# A function that let one of these escape would do so again.
_VERDICTS: Final = frozenset(
    f"jackfield.{name}"
    for name in (
        "AsyncCallRequired",
        "ContractError",
        "DuplicateFunction",
        "FunctionNotFound",
        "PayloadError",
        "PermissionDenied",
    )
)


@attrs.frozen
class RetryPolicy:
    """How often a call is tried, and how long it waits in between.

    Attributes:
        attempts: how often it is tried at most, the first time included.
        backoff: seconds before the second attempt; each further pause is twice as long.
    """

    attempts: int = 5
    backoff: float = 0.1


def worth_it(error: BaseException, *, idempotent: bool) -> bool:
    """Tell whether another try may end better than one that ended with this error, and does no harm.

    What provably did not start (`ResourceExhausted`, `Unavailable` with `ran` False) can be tried again whatever it is;
    what may have run only if running it twice does what running it once does. A verdict is none the better for being
    asked for again: a refusal, a payload that does not fit, a missing permission or function, a deadline that has
    passed, a cancellation, a host that has stopped.

    Args:
        error: what the caller would get.
        idempotent: whether the function is marked so.

    Examples:
        >>> worth_it(FunctionCrashed("f", "OSError"), idempotent=True)
        True
        >>> worth_it(FunctionCrashed("f", "OSError"), idempotent=False)
        False
        >>> worth_it(Unavailable("w", "its worker did not start", "start_failed", ran=False), idempotent=False)
        True
    """
    if is_a(error, ResourceExhausted):
        return True
    if is_a(error, Unavailable):
        return error.cause != "host_stopped" and (idempotent or error.ran is False)
    if is_a(error, FunctionCrashed):
        return idempotent and error.error_type not in _VERDICTS
    # What an executor lets through of something else than jackfield's errors arrives as the function's crash.
    return idempotent and is_a(error, Exception) and not is_a(error, JackfieldError)


def pause(policy: RetryPolicy, failed: int, error: BaseException | None = None, draw: float | None = None) -> float:
    """Give the seconds to wait after an attempt that failed, by the rule of stamina.

    That rule is `min(longest, backoff * 2 ** (failed - 1) + jitter)`. Here the jitter is up to as much again as the
    pause itself, and not a second whatever the pause: so it scatters long pauses, and does not drown short ones.

    Args:
        policy: how it is tried.
        failed: the number of the attempt that failed, from 1.
        error: how it failed; of a `ResourceExhausted` that says when to come back, no sooner than that. So it is with a
            function that has crashed of one.
        draw: from 0 to 1, instead of a random number.

    Examples:
        >>> [pause(RetryPolicy(backoff=0.1), failed, draw=0.0) for failed in (1, 2, 3, 50)]
        [0.1, 0.2, 0.4, 5.0]
        >>> pause(RetryPolicy(backoff=0.1), 1, draw=0.5)
        0.15000000000000002
        >>> pause(RetryPolicy(), 1, ResourceExhausted("f", "too many calls", retry_after=2.0), draw=0.0)
        2.0
    """
    step = policy.backoff * 2.0 ** min(failed - 1, _DOUBLINGS)
    seconds = min(max(LONGEST, policy.backoff), step + step * (random() if draw is None else draw))  # noqa: S311  # jitter
    if error is not None and is_a(
        error, FunctionCrashed
    ):  # a function whose own call was refused, as far as it is told
        error = error.__cause__
    if error is not None and is_a(error, ResourceExhausted) and error.retry_after is not None:
        seconds = max(seconds, min(error.retry_after, _DAY))  # a stranger says it, and it may be no number
    return seconds
