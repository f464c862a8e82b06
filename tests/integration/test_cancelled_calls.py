"""How a call ends that its deadline or somebody else cancels, whatever it holds, swallows or raises meanwhile."""

import asyncio
import contextlib
import gc
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from jackfield import (
    Analysis,
    Cancelled,
    DeadlineExceeded,
    FunctionCrashed,
    Host,
    Rejected,
    function,
    inject,
    provides,
    remaining,
)
from jackfield.errors import Outcome
from jackfield.model.canary import CanaryState

pytestmark = pytest.mark.concurrency


ANALYSIS = Analysis(steps=(0.5,), samples=10, interval=0.01, latency_ratio=math.inf)  # of errors alone


class Client: ...


class Other: ...


def told(error):
    """Every error of a chain, the first one first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def outcome(act):
    """What a call raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # any: that is what is asked
        act()
    return caught.value


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


WAYS = {
    "call": lambda host, *given, **more: host.call(*given, **more),
    "acall from another loop": lambda host, *given, **more: asyncio.run(host.acall(*given, **more)),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


# ---- what a provider holds across its yield ----


def task_group(log):
    @provides(scope="request")
    async def client() -> AsyncIterator[Client]:
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(asyncio.sleep(60))
            try:
                yield Client()
            finally:
                log.append(asyncio.current_task())
                pump.cancel()

    return client


def timeout(log):
    @provides(scope="request")
    async def client() -> AsyncIterator[Client]:
        async with asyncio.timeout(60):
            try:
                yield Client()
            finally:
                await asyncio.sleep(0)
                log.append(asyncio.current_task())

    return client


def anyio_task_group(log):
    anyio = pytest.importorskip("anyio")

    @provides(scope="request")
    async def client() -> AsyncIterator[Client]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 60)
                yield Client()
                group.cancel_scope.cancel()
        finally:
            log.append(asyncio.current_task())

    return client


def anyio_scope(log):
    anyio = pytest.importorskip("anyio")

    @provides(scope="request")
    async def client() -> AsyncIterator[Client]:
        with anyio.move_on_after(60):
            try:
                yield Client()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0)
                log.append(asyncio.current_task())

    return client


HOLDS = [task_group, timeout, anyio_task_group, anyio_scope]


@every_way
@pytest.mark.parametrize("held", HOLDS)
def test_a_deadline_is_one_whatever_a_provider_holds(host, held, way):
    """And its clean-up runs in the task that opened it, which the function runs in too."""
    log = []

    async def ask(*, client: Client = inject()):
        log.append(asyncio.current_task())
        await asyncio.sleep(60)

    host.provide(held(log))
    host.register("ask", ask)
    error = outcome(lambda: way(host, "ask", timeout=0.25))
    assert type(error) is DeadlineExceeded, error
    assert log[0] is log[1]
    assert len(told(error)) == 2, told(error)  # the deadline, and its cancellation


@pytest.mark.parametrize("held", HOLDS)
def test_without_a_deadline_it_just_works(host, held):
    """The result comes back, and what was held is left."""
    log = []

    async def ask(number: int, *, client: Client = inject()):
        return number

    host.provide(held(log))
    host.register("ask", ask)
    assert host.call("ask", 7, timeout=30) == 7
    assert len(log) == 1


@pytest.mark.parametrize("held", HOLDS)
def test_a_foreign_cancel_stays_one(held):
    """Whoever cancels the task that awaits the call gets asyncio's own error."""

    async def main():
        log, entered = [], asyncio.Event()

        async def ask(*, client: Client = inject()):
            entered.set()
            await asyncio.sleep(60)

        async with Host(observers=()) as host:
            host.provide(held(log))
            host.register("ask", ask)
            task = asyncio.create_task(host.acall("ask", timeout=50))
            await entered.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert log

    asyncio.run(main())


def test_a_canary_whose_calls_meet_their_deadline_in_a_task_group_aborts():
    """They count as failures: it is the new version that does not answer."""

    async def old():
        return "old"

    async def new(*, client: Client = inject()):
        await asyncio.sleep(60)

    with Host(observers=()) as host:
        host.provide(task_group([]))
        host.register("ask", old, version="1")
        host.register("ask", new, version="2")
        canary = host.canary("ask", version="2", share=0.5, analysis=ANALYSIS)

        async def ask():
            with contextlib.suppress(DeadlineExceeded):
                await host.acall("ask", timeout=0.1)

        async def rounds():
            for _ in range(100):
                await asyncio.gather(*(ask() for _ in range(20)))
                if canary.status.state is not CanaryState.RUNNING:
                    return

        asyncio.run(rounds())
        assert canary.status.state is CanaryState.ABORTED


# ---- clean-ups that fail ----


def failing(colour):
    if colour == "async":

        @provides(scope="request")
        async def client() -> AsyncIterator[Client]:
            try:
                yield Client()
            finally:
                raise OSError("the connection is gone")
    else:

        @provides(scope="request")
        def client() -> Iterator[Client]:
            try:
                yield Client()
            finally:
                raise OSError("the connection is gone")

    return client


@every_way
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_clean_up_that_fails_does_not_hide_the_deadline(host, colour, way):
    """It is in the deadline's context."""

    async def ask(*, client: Client = inject()):
        await asyncio.sleep(60)

    host.provide(failing(colour))
    host.register("ask", ask)
    error = outcome(lambda: way(host, "ask", timeout=0.2))
    assert type(error) is DeadlineExceeded
    assert "the connection is gone" in [str(link) for link in told(error)]


def test_nor_that_of_a_sync_function(host):
    """Whose result comes late."""

    def ask(*, client: Client = inject()):
        while remaining():
            time.sleep(0.001)

    host.provide(failing("sync"))
    host.register("ask", ask)
    error = outcome(lambda: host.call("ask", timeout=0.25))
    assert type(error) is DeadlineExceeded
    assert isinstance(error.__context__, OSError)


def test_a_clean_up_that_refuses_does_not_hide_the_deadline_either(host):
    """A refusal is the function's, and it has not come to that."""

    @provides(scope="request")
    def client() -> Iterator[Client]:
        try:
            yield Client()
        except DeadlineExceeded:
            raise Rejected("not now") from None

    def ask(*, client: Client = inject()):
        while remaining():
            time.sleep(0.001)

    host.provide(client)
    host.register("ask", ask)
    assert type(outcome(lambda: host.call("ask", timeout=0.25))) is DeadlineExceeded


# ---- cancellations that are swallowed ----


@every_way
def test_a_swallowed_cancellation_is_told_as_that(host, way):
    """Not as a result that came late by itself."""

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "never mind"

    host.register("stubborn", stubborn)
    error = outcome(lambda: way(host, "stubborn", timeout=0.25))
    assert type(error) is DeadlineExceeded
    assert error.reason == "it swallowed its cancellation, and its result is dropped"


@pytest.mark.slow
def test_a_coroutine_that_will_not_end_frees_its_caller_without_noise(caplog, recwarn):
    """The loop is not said to be blocked, and asyncio has nothing to complain of, then or later."""
    caplog.set_level(logging.DEBUG, "asyncio")
    going, ended = threading.Event(), threading.Event()

    async def stubborn():
        while not going.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        ended.set()
        raise ValueError("at last")

    with Host(observers=()) as host:
        host.register("stubborn", stubborn)
        error = outcome(lambda: host.call("stubborn", timeout=0.25))
        going.set()
        assert ended.wait(10)
    assert type(error) is DeadlineExceeded
    assert "it was cancelled, and has not ended" in error.reason
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio" and record.levelno > 20] == []
    assert not list(recwarn)


@every_way
def test_a_sync_function_that_is_left_behind_is_not_said_to_be_cancelled(host, gate, way):
    """Its thread goes on."""

    @function(executor="thread")
    def stuck():
        gate.wait(30)

    host.register("stuck", stuck)
    error = outcome(lambda: way(host, "stuck", timeout=0.25))
    assert type(error) is DeadlineExceeded
    assert error.reason == "the caller has left; its thread goes on until the function returns"


# ---- refusals in task groups ----


def group_of(*errors):
    async def grouped():
        async with asyncio.TaskGroup() as group:

            async def fail(error):
                await asyncio.sleep(0)
                raise error

            for error in errors:
                group.create_task(fail(error))

    return grouped


def nested():
    raise ExceptionGroup("outer", [ExceptionGroup("inner", [Rejected("no", code="inner")])])


REFUSALS = {
    "alone": (group_of(Rejected("no", code="one")), Rejected, "one"),
    "nested groups": (nested, Rejected, "inner"),
    "two refusals": (group_of(Rejected("no", code="one"), Rejected("no", code="two")), Rejected, "one"),
    "beside a crash": (group_of(Rejected("no"), ValueError("x")), FunctionCrashed, None),
    "no refusal": (group_of(ValueError("x")), FunctionCrashed, None),
}


@pytest.mark.parametrize(("grouped", "kind", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_alone_in_a_group_is_that_refusal(host, grouped, kind, code):
    """A task group wraps whatever its tasks raise; what is worse in it is not hidden."""
    host.register("grouped", grouped)
    error = outcome(lambda: host.call("grouped"))
    assert type(error) is kind
    if code is not None:
        assert (error.code, error.outcome, error.__cause__) == (code, Outcome.REJECTED, None)


# ---- shutdown ----


def test_a_call_that_a_stopped_host_ends_is_cancelled():
    """With what it holds cleaned up."""
    log, entered = [], threading.Event()

    async def ask(*, client: Client = inject()):
        entered.set()
        await asyncio.sleep(60)

    host = Host(observers=())
    host.provide(task_group(log))
    host.register("ask", ask)
    host.start()
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome(lambda: host.call("ask"))))
    thread.start()
    assert entered.wait(10)
    host.stop(timeout=0.05)
    thread.join(10)
    assert type(found[0]) is Cancelled
    assert log


@pytest.mark.parametrize("held", HOLDS)
def test_a_singleton_is_closed_in_the_task_that_opened_it(held):
    """A client that lives as long as the host may hold a task group, too."""
    log = []

    async def ask(*, client: Client = inject()):
        await asyncio.sleep(0)

    provider = held(log)
    host = Host(observers=())
    host.provide(provides(scope="singleton")(getattr(provider, "__wrapped__", provider)))
    host.register("ask", ask)
    with host:
        host.call("ask", timeout=30)
        host.call("ask", timeout=30)
        assert log == []
    assert len(log) == 1
    assert host.faults == ()
