"""Functions that run in threads and call others that do: nobody waits for ever, whichever way the call goes."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jackfield import Caller, DeadlineExceeded, Host, function, inject
from jackfield.executors.thread import ThreadExecutor

PATIENCE = 30.0  # seconds that only a deadlock uses up
SEATS = 2


@pytest.fixture
def small():
    """An executor of two seats."""
    return ThreadExecutor(seats=SEATS)


@pytest.fixture
def host(small):
    with Host(observers=(), executors={"small": small}) as host:
        host.register("inner", inner)
        host.register("middle", middle)
        yield host


@function(executor="small")
def inner() -> int:
    return 1


@function(executor="small")
def middle(*, functions: Caller = inject()) -> int:
    return functions.call("inner")


def at_once(host, name, count):
    """Call a function from many threads at once, and give the results of those that came back."""
    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(host.call, name) for _ in range(count)]
        return [call.result(PATIENCE) for call in calls]


def outer_of(call):
    """Make a function that calls another one once as many as there are seats do the same."""
    together = threading.Barrier(SEATS)

    @function(executor="small")
    def outer() -> int:
        together.wait(PATIENCE)
        return call()

    return outer


def test_an_injected_caller_does_not_wait_for_a_second_seat(host):
    """All seats are taken by functions that call another one: it shares their seat."""
    together = threading.Barrier(SEATS)

    @function(executor="small")
    def outer(*, functions: Caller = inject()) -> int:
        together.wait(PATIENCE)
        return functions.call("inner")

    host.register("outer", outer)
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_the_host_itself_does_not_either(host):
    """Within a function's body `host.call` is a nested call, too."""
    host.register("outer", outer_of(lambda: host.call("inner")))
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_three_deep(host):
    """What is called shares the seat with what it calls in turn."""
    host.register("outer", outer_of(lambda: host.call("middle")))
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_through_an_async_function_and_back(host):
    """The home loop between them changes nothing."""

    async def hop(*, functions: Caller = inject()) -> int:
        return await functions.acall("middle")

    host.register("hop", hop)
    host.register("outer", outer_of(lambda: host.call("hop")))
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_through_a_loop_of_its_own(host):
    """`asyncio.run` within a thread of the pool."""
    host.register("outer", outer_of(lambda: asyncio.run(host.acall("middle"))))
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_several_at_once_take_turns_on_one_seat(host):
    """A seat has room for one of those that its owner waits for; the others come after it, or get a free seat."""

    async def three() -> int:
        return sum(await asyncio.gather(*(host.acall("middle") for _ in range(3))))

    host.register("outer", outer_of(lambda: asyncio.run(three())))
    assert at_once(host, "outer", 3 * SEATS) == [3] * 3 * SEATS


def test_through_an_executor_with_seats_of_its_own(host):
    """Two executors that call each other: the seat is found behind the other's."""

    @function(executor="thread")
    def elsewhere() -> int:
        return host.call("inner")

    host.register("elsewhere", elsewhere)
    host.register("outer", outer_of(lambda: host.call("elsewhere")))
    assert at_once(host, "outer", 3 * SEATS) == [1] * 3 * SEATS


def test_two_executors_that_call_each_other_in_a_circle():
    """Each has one seat, taken by a function that calls one of the other: both come back."""
    executors = {name: ThreadExecutor(seats=1) for name in ("left", "right")}
    together = threading.Barrier(2)
    with Host(observers=(), executors=executors) as host:
        for name, other in (("left", "right"), ("right", "left")):

            def outer(other: str = other) -> int:
                together.wait(PATIENCE)
                return host.call(f"{other}.inner")

            host.register(f"{name}.outer", function(executor=name)(outer))
            host.register(f"{name}.inner", function(executor=name)(lambda: 1))
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(host.call, f"{name}.outer") for name in executors]
            assert [call.result(PATIENCE) for call in calls] == [1, 1]
        assert [executor.stats().busy for executor in executors.values()] == [0, 0]


def test_the_pool_of_the_host_serves_others_meanwhile():
    """Forty functions call others, and a call that has nothing to do with them comes through as well."""
    together = threading.Barrier(40)
    with Host(observers=()) as host:
        host.register("inner", function(executor="thread")(lambda: 1))

        @function(executor="thread")
        def outer() -> int:
            together.wait(PATIENCE)
            return host.call("inner")

        host.register("outer", outer)
        with ThreadPoolExecutor(81) as pool:
            calls = [pool.submit(host.call, "outer") for _ in range(80)]
            unrelated = pool.submit(host.call, "inner")
            assert [call.result(PATIENCE) for call in calls] == [1] * 80
            assert unrelated.result(PATIENCE) == 1
        assert host.executors["thread"].rejected == 0


def test_a_nested_call_does_not_hold_the_seat_when_its_caller_has_left(host, small):
    """The outer and the inner linger, the seat is free: the next call is served, and the counts come to rest."""
    release = threading.Event()
    begun = threading.Semaphore(0)

    @function(executor="small")
    def stuck() -> None:
        begun.release()
        release.wait(PATIENCE)

    host.register("stuck", stuck)
    host.register("outer", function(executor="small")(lambda: host.call("stuck")))
    with ThreadPoolExecutor(SEATS) as pool:
        calls = [pool.submit(host.call, "outer", timeout=0.1) for _ in range(SEATS)]
        for call in calls:
            assert isinstance(call.exception(PATIENCE), DeadlineExceeded)
    assert host.call("inner") == 1
    release.set()
    while small.stats().lingering or small.stats().busy:
        threading.Event().wait(0.001)
    assert small.stats().pending == 0
    assert at_once(host, "middle", 3 * SEATS) == [1] * 3 * SEATS
