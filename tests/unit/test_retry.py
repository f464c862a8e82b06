"""Which failed calls are worth another try, how long they wait, and that waiting ends at once when the host stops."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import errors
from jackfield.model.retry import LONGEST, RetryPolicy, pause, worth_it
from jackfield.runtime.pauses import Pauses

NEVER, IDEMPOTENT, ALWAYS = "never", "idempotent", "always"


@pytest.mark.parametrize(
    ("error", "when"),
    [
        (errors.Rejected("no"), NEVER),
        (errors.PayloadError("f", "$", "int", "str"), NEVER),
        (errors.PermissionDenied("f", "not yours"), NEVER),
        (errors.FunctionNotFound("f"), NEVER),
        (errors.DeadlineExceeded("f", 0.1), NEVER),
        (errors.Cancelled("f"), NEVER),
        (errors.AsyncCallRequired("f"), NEVER),
        (asyncio.CancelledError(), NEVER),
        (KeyboardInterrupt(), NEVER),
        (errors.Unavailable("host", "it has stopped", "host_stopped", ran=False), NEVER),
        (errors.FunctionCrashed("f", "ValueError"), IDEMPOTENT),
        (errors.FunctionCrashed("f", "my_pkg.PayloadError"), IDEMPOTENT),
        (errors.FunctionCrashed("f", "jackfield.DeadlineExceeded"), IDEMPOTENT),
        (errors.FunctionCrashed("f", "jackfield.FunctionCrashed"), IDEMPOTENT),
        (errors.FunctionCrashed("f", "jackfield.PayloadError"), NEVER),
        (errors.FunctionCrashed("f", "jackfield.PermissionDenied"), NEVER),
        (errors.FunctionCrashed("f", "jackfield.FunctionNotFound"), NEVER),
        (OSError("what an executor let through"), IDEMPOTENT),
        (errors.Unavailable("w", "killed", "killed", ran=True), IDEMPOTENT),
        (errors.Unavailable("w", "gone", "crashed"), IDEMPOTENT),
        (errors.Unavailable("w", "did not start", "start_failed", ran=False), ALWAYS),
        (errors.Unavailable("w", "restarting", "stopped", ran=False), ALWAYS),
        (errors.ResourceExhausted("f", "all seats taken", 1.0), ALWAYS),
    ],
    ids=repr,
)
def test_what_is_worth_another_try(error, when):
    """A verdict never; what may have run, if it is idempotent; what did not start, always."""
    assert [worth_it(error, idempotent=marked) for marked in (False, True)] == [when == ALWAYS, when != NEVER]


@given(st.floats(0.001, 3600.0), st.integers(1, 10_000), st.floats(0.0, 1.0))
def test_a_pause_doubles_up_to_the_longest_and_is_scattered_by_as_much_again(backoff, failed, draw):
    """`min(longest, backoff * 2 ** (failed - 1) + jitter)`."""
    step = backoff * 2.0 ** min(failed - 1, 64)
    seconds = pause(RetryPolicy(backoff=backoff), failed, draw=draw)
    assert min(step, max(LONGEST, backoff)) <= seconds <= min(2 * step, max(LONGEST, backoff))


@given(st.floats(0.0, 100.0), st.floats(0.0, 1.0))
def test_who_says_when_to_come_back_is_not_asked_sooner(retry_after, draw):
    """`ResourceExhausted.retry_after`, of the call itself or of one that its function has let escape."""
    full = errors.ResourceExhausted("f", "full", retry_after)
    assert pause(RetryPolicy(), 1, full, draw) >= retry_after
    crash = errors.FunctionCrashed("g", "jackfield.ResourceExhausted", "full")
    crash.__cause__ = full
    assert pause(RetryPolicy(), 1, crash, draw) >= retry_after


def test_waiting_threads_go_on_at_once_when_the_host_stops():
    """And those that come later do not wait at all."""
    pauses, said = Pauses(), []
    threads = [threading.Thread(target=lambda: said.append(pauses.wait(3600.0))) for _ in range(3)]
    for thread in threads:
        thread.start()
    pauses.end()
    for thread in threads:
        thread.join(20.0)
    assert said == [False] * 3
    assert not pauses.wait(3600.0)
    pauses.begin()
    assert pauses.wait(0.0)


def test_waiting_coroutines_go_on_at_once_when_the_host_stops():
    """On any loop, from any thread."""
    pauses = Pauses()

    async def main():
        waiting = [asyncio.ensure_future(pauses.sleep(3600.0)) for _ in range(3)]
        await asyncio.sleep(0)
        threading.Thread(target=pauses.end).start()
        async with asyncio.timeout(20.0):
            return [*await asyncio.gather(*waiting), await pauses.sleep(3600.0)]

    assert asyncio.run(main()) == [False] * 4
    pauses.begin()
    assert asyncio.run(pauses.sleep(0.0))


def test_a_cancelled_pause_leaves_nothing_behind():
    """Neither a timer nor an entry."""
    pauses = Pauses()

    async def main():
        waiting = asyncio.ensure_future(pauses.sleep(3600.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert not pauses._waiting


@pytest.mark.parametrize(("said", "waits"), [(2.0, 2.0), (-5.0, 0.1), (float("nan"), 0.1), (float("inf"), 86_400.0)])
def test_what_refuses_a_call_has_it_wait_no_longer_than_a_day(said, waits):
    error = errors.ResourceExhausted("f", "too many calls", retry_after=said)
    assert pause(RetryPolicy(backoff=0.1), 1, error, draw=0.0) == waits
