"""A host stops while calls are under way: each caller gets a result or an error that says so, and soon."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from jackfield import Cancelled, Host, JackfieldError, Unavailable, function

PATIENCE = 30.0  # seconds that only a broken host uses up
SEATS = 40


def until(condition):
    for _ in range(int(PATIENCE * 1000)):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("the condition never came about")


@pytest.fixture
def gate():
    """What functions wait for; opened at the end so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


def stopped_host(gate):
    host = Host(observers=())
    host.start()

    @function(executor="thread")
    def held() -> int:
        gate.wait(PATIENCE)
        return 1

    host.register("held", held)
    return host


def test_callers_that_wait_for_a_thread_get_unavailable(gate):
    """From threads and from tasks; those that have a thread get their result."""
    host = stopped_host(gate)

    async def gather():
        return await asyncio.gather(*(host.acall("held") for _ in range(20)), return_exceptions=True)

    with ThreadPoolExecutor(SEATS + 21) as pool:
        inside = [pool.submit(host.call, "held") for _ in range(SEATS)]
        until(lambda: host.executors["thread"].busy == SEATS)
        waiting = [pool.submit(host.call, "held") for _ in range(20)]
        tasks = pool.submit(asyncio.run, gather())
        until(lambda: host.executors["thread"].pending == 40)
        host.stop(timeout=0.01)
        errors = [*(call.exception(PATIENCE) for call in waiting), *tasks.result(PATIENCE)]
        assert {(type(error), str(error)) for error in errors} == {(Unavailable, "held: the host has stopped")}
        gate.set()
        assert [call.result(PATIENCE) for call in inside] == [1] * SEATS


def test_a_task_that_was_cancelled_itself_gets_asyncios_own_error(gate):
    """Even when the host stops at the same time."""
    host = stopped_host(gate)

    async def main():
        tasks = [asyncio.create_task(host.acall("held")) for _ in range(SEATS + 1)]
        await asyncio.to_thread(until, lambda: host.executors["thread"].pending == 1)
        tasks[-1].cancel()
        await asyncio.to_thread(host.stop, 0.01)
        await asyncio.wait(tasks[-1:])
        gate.set()
        await asyncio.gather(*tasks[:-1])
        return tasks[-1].cancelled()

    assert asyncio.run(main())


def test_callers_of_coroutines_get_cancelled(gate):
    """Their coroutine ends with the host's loop: jackfield's own error in a thread, and in a task nobody cancelled."""
    host = stopped_host(gate)
    begun = threading.Semaphore(0)

    async def forever():
        begun.release()
        await asyncio.Event().wait()

    host.register("forever", forever)

    async def main():
        return await asyncio.gather(host.acall("forever"), return_exceptions=True)

    with ThreadPoolExecutor(2) as pool:
        called = pool.submit(host.call, "forever")
        awaited = pool.submit(asyncio.run, main())
        assert begun.acquire(timeout=PATIENCE)
        assert begun.acquire(timeout=PATIENCE)
        host.stop(timeout=0.01)
        assert isinstance(called.exception(PATIENCE), Cancelled)
        assert [type(error) for error in awaited.result(PATIENCE)] == [Cancelled]


def test_the_caller_of_a_coroutine_that_will_not_end_is_freed(gate):
    """It swallows its cancel and waits on: nobody waits with it."""
    host = stopped_host(gate)
    begun = threading.Event()

    async def stubborn():
        while True:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if gate.is_set():
                    raise

    host.register("stubborn", stubborn)
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(host.call, "stubborn")
        assert begun.wait(PATIENCE)
        host.stop(timeout=0.01)
        assert isinstance(called.exception(PATIENCE), Cancelled)
        gate.set()


def test_a_stopped_host_can_be_started_again(gate):
    """Threads, the home loop and counts begin anew, though a thread of before is still stuck."""
    host = stopped_host(gate)

    async def soon():
        await asyncio.sleep(0)
        return 2

    host.register("soon", soon)
    host.register("thread", function(executor="thread")(lambda: 3))
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(host.call, "held")
        until(lambda: host.executors["thread"].busy == 1)
        host.stop(timeout=0.01)
        for _ in range(3):
            with pytest.raises(Unavailable):
                host.call("soon")
            host.start()
            assert (host.call("soon"), host.call("thread")) == (2, 3)
            assert host.executors["thread"].enqueued == 1
            host.stop()
        gate.set()
        assert stuck.result(PATIENCE) == 1


class Crowd:
    """Callers that go on until they are told to end, and what came of their calls."""

    def __init__(self, host):
        self.host = host
        self.out = Counter()
        self.ending = threading.Event()

    def note(self, error):
        self.out["ok" if error is None else type(error).__name__] += 1
        assert error is None or isinstance(error, JackfieldError), repr(error)

    def call(self, name):
        while not self.ending.is_set():
            try:
                self.host.call(name)
            except BaseException as error:  # noqa: BLE001  # looked at
                self.note(error)
            else:
                self.note(None)

    async def acall(self):
        names = ("async", "thread") * 3
        while not self.ending.is_set():
            for found in await asyncio.gather(*map(self.host.acall, names), return_exceptions=True):
                self.note(found if isinstance(found, BaseException) else None)


def test_callers_that_come_while_it_stops_and_starts_get_a_result_or_an_error_that_says_so():
    """Never a bare CancelledError, a crash, an AttributeError, or nothing at all."""
    host = Host(observers=())
    crowd = Crowd(host)

    async def aone():
        await asyncio.sleep(0)
        return 1

    host.register("async", aone)
    host.register("thread", function(executor="thread")(lambda: 1))
    with ThreadPoolExecutor(5) as pool:
        workers = [pool.submit(crowd.call, name) for name in ("async", "thread") * 2]
        workers.append(pool.submit(asyncio.run, crowd.acall()))
        for _ in range(15):
            host.start()
            seen = crowd.out["ok"]
            until(lambda seen=seen: crowd.out["ok"] > seen or any(worker.done() for worker in workers))
            host.stop(timeout=0.0)
        crowd.ending.set()
        for worker in workers:
            worker.result(PATIENCE)
    assert set(crowd.out) <= {"ok", "Unavailable", "Cancelled"}
