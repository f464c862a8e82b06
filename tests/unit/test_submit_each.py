"""What a submitted call may have of its own: how long it is kept, how often it is tried, and how many run at once."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.durable.attempts import Attempts, Ended
from jackfield.durable.backlog import Backlog
from jackfield.durable.ledger import Entry, Ledger
from jackfield.durable.lifetime import Lifetime
from jackfield.durable.records import State, Submitted, read_call, write
from jackfield.durable.tenure import Tenure
from jackfield.errors import FunctionCrashed
from jackfield.model.submission import SubmissionState
from jackfield.runtime.clock import SystemClock
from jackfield.store import MemoryStore

CALL = Submitted("f", "1", b"\xc0", b"", b"nonce", 0.0, 0.0, repeatable=True)


def identifier(number: int) -> str:
    return f"00{number:030x}"


async def kept(ledger: Ledger, number: int, call: Submitted) -> Entry:
    await ledger.insert(identifier(number), call)
    return Entry(identifier(number), call, None, 0)


@pytest.mark.parametrize(
    ("keep", "own", "age", "gone"),
    [
        (60.0, None, 61.0, True),
        (60.0, None, 59.0, False),
        (60.0, 100.0, 61.0, False),
        (60.0, 100.0, 101.0, True),
        (60.0, 10.0, 59.0, False),
        (60.0, 10.0, 61.0, True),
    ],
)
def test_a_call_is_kept_for_as_long_as_the_host_says_or_it_does_itself(keep, own, age, gone):
    """Whichever is longer, from when it has ended."""

    async def check() -> int:
        ledger = Ledger(MemoryStore())
        entry = await kept(ledger, 1, msgspec.structs.replace(CALL, keep=own))
        await ledger.change(entry, State(b"nonce", SubmissionState.SUCCEEDED, 1_000.0))
        return await ledger.collect("calls/00/", 1_000.0 + age, keep)

    assert asyncio.run(check()) == gone


@pytest.mark.parametrize(("own", "tried"), [(None, 3), (1, 1), (5, 5)])
def test_a_call_is_tried_as_often_as_it_says(own, tried):
    """Else as the host does."""

    async def check() -> State:
        ledger, clock = Ledger(MemoryStore()), SystemClock()
        tenure = Tenure(clock)
        tenure.begin("runner", clock() + 60.0)

        async def run(entry: Entry, left: float | None) -> Ended:
            return Ended(error=FunctionCrashed("f", "OSError"))

        attempts = Attempts(ledger, Lifetime(clock), tenure, clock, run, 3, lambda entry: None)
        await kept(ledger, 1, msgspec.structs.replace(CALL, attempts=own))
        for _ in range(8):
            await attempts.attempt(identifier(1), "runner", lambda: None)
        entry = await ledger.read(identifier(1))
        return entry.now

    state = asyncio.run(check())
    assert (state.status, state.reason, state.attempt) == (SubmissionState.DEAD, "attempts", tried)


def test_a_call_that_was_kept_before_has_nothing_of_its_own():
    """And what it has is written only where there is any."""
    assert read_call(write(CALL), identifier(1)) == CALL
    assert b"keep" not in write(CALL)
    assert (CALL.keep, CALL.attempts) == (None, None)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["free", "two", "three"]), max_size=30),
    st.lists(st.integers(0, 1_000), max_size=60),
)
def test_of_a_function_with_a_bound_no_more_run_at_once_and_all_run(functions, draws):
    """In whichever order they end; what has none never waits for one that has."""
    room: Callable[[str], int | None] = {"free": None, "two": 2, "three": 3}.get

    async def check() -> None:
        backlog = Backlog(lambda: 0.0, lambda _: True, room)
        inside: list[tuple[str, str]] = []
        done: list[str] = []
        for number, function in enumerate(functions):
            backlog.accept(identifier(number), function, float(number))
        ends = iter(draws)
        while len(done) < len(functions):
            try:
                async with asyncio.timeout(0.0 if inside else 20.0):
                    name = await backlog.next(1.0)
                inside.append((name, functions[int(name, 16)]))
            except TimeoutError:
                assert inside, "there is room, and nobody comes"
                begun = {*done, *(name for name, _ in inside)}
                free = {identifier(number) for number, function in enumerate(functions) if function == "free"}
                assert free <= begun
                name, function = inside.pop(next(ends, 0) % len(inside))
                backlog.forget(name)
                backlog.left(name)
                done.append(name)
            counts = [function for _, function in inside]
            assert counts.count("two") <= 2
            assert counts.count("three") <= 3
        assert sorted(done) == [identifier(number) for number in range(len(functions))]

    asyncio.run(check())
