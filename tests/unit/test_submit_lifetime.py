"""The time of submitted calls, and what becomes of them after an attempt: rules, without a host."""

import asyncio

import pytest

from jackfield.durable import verdicts
from jackfield.durable.lifetime import Lifetime
from jackfield.durable.records import State, Submitted, kept, packed, read_call, write
from jackfield.errors import DeadlineExceeded, FunctionCrashed, Rejected, ResourceExhausted, Unavailable
from jackfield.model.submission import SubmissionState
from jackfield.store import MemoryStore
from jackfield.testing import FakeClock


def call(*, timeout: float | None = None, repeatable: bool = False, submitted: float = 0.0, lived: float = 0.0):
    data, digest = packed("f", {"a": 1})
    return Submitted("f", "0", data, digest, b"nonce", submitted, lived, timeout, repeatable)


@pytest.mark.parametrize(
    ("passes", "wall", "left"),
    [
        (10.0, 0.0, 90.0),  # both have passed
        (10.0, 3600.0, 90.0),  # the wall clock was set an hour ahead
        (10.0, -3600.0, 100.0),  # and back: it passed less, so it counts
    ],
)
def test_whichever_has_passed_less_counts(passes, wall, left):
    """By the wall clock, or by the time that there were hosts."""
    clock = FakeClock()
    lifetime = Lifetime(clock)
    submitted = call(timeout=100.0, submitted=clock.wall(), lived=lifetime.seconds)
    clock.advance(passes)
    clock.set_wall(clock.wall() + wall)
    assert lifetime.left(submitted, None) == pytest.approx(left)


def test_hosts_add_what_passed_once_and_nothing_while_there_is_none():
    """Two hosts do not count a second twice; the time between two processes does not count."""
    store, clock = MemoryStore(), FakeClock()
    one, other = Lifetime(clock), Lifetime(clock)

    async def main() -> None:
        for _ in range(4):
            await one.look(store)
            await other.look(store)
            clock.advance(5.0)
        assert 10.0 <= one.seconds <= 20.0
        assert 10.0 <= other.seconds <= 20.0
        await one.look(store)
        seconds = one.seconds
        clock.advance(86_400.0)
        after = Lifetime(clock)
        await after.look(store)
        assert after.seconds == pytest.approx(seconds)

    asyncio.run(main())


NEVER = Unavailable("w", "it did not start", "start_failed", ran=False)
MAYBE = Unavailable("w", "it ended", "crashed")
STOPPED = Unavailable("host", "it stops", "host_stopped", ran=False)


@pytest.mark.parametrize(
    ("error", "repeatable", "tries", "status", "reason"),
    [
        (Rejected("no", code="c"), True, 1, "failed", ""),
        (FunctionCrashed("f", "OSError"), False, 1, "failed", ""),
        (FunctionCrashed("f", "OSError"), True, 1, "accepted", ""),
        (FunctionCrashed("f", "OSError"), True, 3, "dead", "attempts"),
        (MAYBE, False, 1, "dead", "unknown"),
        (MAYBE, True, 1, "accepted", ""),
        (NEVER, False, 1, "accepted", ""),
        (NEVER, False, 3, "dead", "attempts"),
        (ResourceExhausted("f", "full"), False, 1, "accepted", ""),
        (DeadlineExceeded("f", 1.0), True, 1, "dead", "expired"),
        (STOPPED, False, 3, "accepted", ""),
    ],
)
def test_what_becomes_of_a_call_whose_attempt_has_raised(error, repeatable, tries, status, reason):
    """`failed` is a verdict; `dead` is used up, expired or unknown; all else is tried again."""
    state = State(b"nonce", SubmissionState.RUNNING, 0.0, tries, tries, "me", 1)
    found = verdicts.failed(call(repeatable=repeatable), state, error, 1.0, 3, None)
    assert (found.status.value, found.reason) == (status, reason)


def test_the_order_of_keys_is_not_the_payload():
    """The same payload has the same digest."""
    assert packed("f", {"a": 1, "b": 2})[1] == packed("f", {"b": 2, "a": 1})[1]
    assert packed("f", {"a": 1, "b": 2})[1] != packed("f", {"a": 2, "b": 1})[1]


def test_a_record_of_a_later_version_is_left_alone():
    """Two hosts of different versions may have one store."""
    record = call()
    assert read_call(write(record), "0" * 32) == record
    later = Submitted("f", "0", b"", b"", b"", 0.0, 0.0, format=2)
    with pytest.raises(Unavailable, match="another version"):
        read_call(write(later), "0" * 32)


@pytest.mark.parametrize("name", ["authorization", "Proxy-Authorization", "COOKIE", "X-Api-Key", "webhook-signature"])
def test_headers_that_may_be_secrets_are_not_kept(name):
    """By their names, in any case."""
    assert kept({name: "secret", "x-request": "7"}) == {"x-request": "7"}
