"""Deadlines with real threads and real loops: the caller is freed, the body is cancelled, stuck threads are bounded."""

import asyncio
import threading
import time

import pytest

from jackfield import (
    Cancelled,
    DeadlineExceeded,
    FunctionCrashed,
    Host,
    Rejected,
    ResourceExhausted,
    check_deadline,
    current_call,
    deadline,
    function,
    remaining,
)

pytestmark = pytest.mark.concurrency

SOON = 0.4
"""Seconds: a deadline that is meant to be missed by what has begun, on a machine under load too."""


@pytest.fixture
def host():
    with Host(observers=()) as host:
        yield host


@pytest.fixture
def gate():
    """An event that stuck functions wait for; opened at the end so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_coroutine_is_cancelled_natively(host):
    """Its `finally` runs; the caller gets DeadlineExceeded, from `call` and from `acall` alike."""
    cleaned = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(1)

    host.register("slow", slow)
    with pytest.raises(DeadlineExceeded):
        host.call("slow", timeout=SOON)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(host.acall("slow", timeout=SOON))
    assert cleaned == [1, 1]


def test_a_foreign_cancel_passes_through(host):
    """Only the call's own timer makes a DeadlineExceeded."""
    entered = threading.Event()

    async def slow():
        entered.set()
        await asyncio.sleep(60)

    host.register("slow", slow)

    async def main():
        task = asyncio.create_task(host.acall("slow", timeout=50))
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_a_cancel_and_the_deadline_together_stay_a_cancel():
    """When somebody else cancels while the deadline does, the cancel is not turned into an error of ours."""

    async def main():
        async def stubborn():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                task.cancel()
                raise

        async with Host(observers=()) as host:
            host.register("stubborn", stubborn)
            task = asyncio.create_task(host.acall("stubborn", timeout=SOON))
            await asyncio.wait([task])
            assert task.cancelled()

    asyncio.run(main())


def test_a_coroutine_that_swallows_its_cancel_is_late(host):
    """What it returns then is dropped."""

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "too late"

    host.register("stubborn", stubborn)
    with pytest.raises(DeadlineExceeded):
        host.call("stubborn", timeout=SOON)


def test_a_sync_function_called_from_async_frees_its_caller(host, gate):
    """The loop goes on while the function blocks, and the caller leaves at the deadline."""

    def stuck():
        gate.wait(30)

    host.register("stuck", stuck)

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        with pytest.raises(DeadlineExceeded):
            await host.acall("stuck", timeout=SOON)
        ticker.cancel()
        return ticks

    assert asyncio.run(main()) > 10


def test_a_function_with_the_thread_executor_frees_its_sync_caller(host, gate):
    """`executor="thread"` makes the deadline hold for `call` too."""

    @function(executor="thread", timeout=0.05)
    def stuck():
        gate.wait(30)

    host.register("stuck", stuck)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        host.call("stuck")
    assert time.monotonic() - began < 10


def test_stuck_functions_cannot_eat_the_process(host, gate):
    """At most 32 threads linger; then calls are refused, until one comes back."""

    @function(executor="thread")
    def stuck():
        gate.wait(60)

    host.register("stuck", stuck)
    host.register("well", function(executor="thread")(lambda: 1))
    while host._places.thread.stats().lingering < 32:
        with pytest.raises(DeadlineExceeded):
            host.call("stuck", timeout=0.01)
    for _ in range(8):
        with pytest.raises(ResourceExhausted):
            host.call("stuck", timeout=0.01)
    assert host._places.thread.stats().rejected == 8
    with pytest.raises(ResourceExhausted, match="deadline has passed"):
        host.call("well")
    gate.set()
    while host._places.thread.stats().lingering:
        time.sleep(0.001)
    assert host.call("well") == 1
    assert host._places.thread.stats().late >= 32  # a call whose time was up before its thread began counts as well


def test_the_pool_serves_more_calls_than_it_has_threads(host):
    """Two hundred blocking calls at once on forty threads all finish."""
    barrier = threading.Barrier(40)

    @function(executor="thread")
    def meet():
        barrier.wait(30)
        return 1

    host.register("meet", meet)

    async def main():
        return await asyncio.gather(*(host.acall("meet", timeout=30) for _ in range(200)))

    assert sum(asyncio.run(main())) == 200


def test_a_body_of_a_thread_may_raise_timeout_error(host):
    """The function's own TimeoutError is its crash, not the caller's deadline."""

    @function(executor="thread")
    def sick():
        raise TimeoutError("mine")

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed, match="mine"):
        host.call("sick", timeout=5)
    with pytest.raises(FunctionCrashed, match="mine"):
        asyncio.run(host.acall("sick", timeout=5))


def test_context_variables_cross_into_threads(host):
    """The call, and with it tenant and deadline, is there in the thread."""

    @function(executor="thread")
    def who():
        return current_call().tenant, remaining() is not None

    host.register("who", who)
    assert host.call("who", tenant="t", timeout=5) == ("t", True)
    assert asyncio.run(host.acall("who", tenant="t")) == ("t", False)


def test_nested_deadlines_take_the_minimum():
    """Whatever the order."""
    with deadline(60):
        with deadline(5):
            assert remaining() <= 5
            with deadline(50):
                assert remaining() <= 5
        assert remaining() > 5
    assert remaining() is None


def test_the_policy_and_the_caller_and_the_host_limit_a_call():
    """The nearest of the caller's and the function's limit; the host's is for calls that have neither."""

    @function(timeout=5)
    def own():
        return remaining()

    def free():
        return remaining()

    with Host(observers=(), timeout=50) as host:
        host.register("own", own)
        host.register("free", free)
        assert 0 < host.call("own") <= 5
        assert 0 < host.call("own", timeout=60) <= 5
        assert 0 < host.call("own", timeout=1) <= 1
        assert 5 < host.call("free") <= 50
        assert host.call("free", timeout=500) > 50


def test_a_block_of_coroutine_code_is_cancelled():
    """`with deadline()` in a coroutine uses the task's own cancel."""

    async def main():
        with deadline(0.01):
            await asyncio.sleep(60)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())


def test_leaving_a_blocking_block_late_raises():
    """It was not interrupted, but it does not pass unseen."""
    with pytest.raises(DeadlineExceeded, match="left late"), deadline(0.001):
        while remaining() > 0:
            pass
    with pytest.raises(DeadlineExceeded), deadline(0.001):
        while True:
            check_deadline()


def test_an_expired_block_is_not_entered():
    """Nothing in it runs."""
    with pytest.raises(DeadlineExceeded, match="not entered"), deadline(0):
        pytest.fail("entered")


def test_hardly_a_timer_is_left_behind(host):
    """After ten thousand calls with deadlines the loop has the few timers that they have shared."""

    async def quick():
        return 1

    host.register("quick", quick)

    async def main():
        async with Host(observers=()) as inner:
            inner.register("quick", quick)
            for _ in range(10_000):
                await inner.acall("quick", timeout=60)
            handles = [handle for handle in asyncio.get_running_loop()._scheduled if not handle._cancelled]
            return len(handles)

    assert asyncio.run(main()) < 1_000  # one for each twentieth of a second that it took


def test_stopping_the_host_cancels_what_waits(host):
    """A sync caller of a coroutine is not left waiting for ever."""
    entered = threading.Event()
    outcome = []

    async def slow():
        entered.set()
        await asyncio.sleep(60)

    host.register("slow", slow)

    def wait():
        try:
            host.call("slow")
        except Cancelled as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    entered.wait(10)
    host.stop(timeout=0.05)
    waiter.join(10)
    assert len(outcome) == 1


@pytest.mark.parametrize("place", ["plain", "inline", "async"])
def test_whatever_is_raised_after_the_deadline_is_deadline_exceeded(host, place):
    """With that error as its cause; a refusal stays one."""

    def late(how: str) -> None:
        while remaining():
            time.sleep(0.001)
        if how == "refuses":
            raise Rejected("no", code="no")
        raise KeyError("gone")

    async def alate(how: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            late(how)

    if place == "async":
        host.register("late", alate)
    else:
        host.register("late", function(executor=None if place == "plain" else "inline")(late))
    with pytest.raises(DeadlineExceeded) as caught:
        host.call("late", "breaks", timeout=SOON)
    assert caught.value.function == "late"
    assert "it raised KeyError" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(Rejected):
        host.call("late", "refuses", timeout=SOON)
