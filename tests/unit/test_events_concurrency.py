"""The event bus under real threads: order, hanging and reentrant subscribers, async ones, forks, and being in step."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Self

import attrs
import pytest
from loguru import logger

from jackfield.errors import ResourceExhausted, Unavailable
from jackfield.events import (
    Announcement,
    EventBus,
    FunctionRegistered,
    FunctionUnregistered,
    RouteChanged,
    SubscriptionStats,
    crew,
)
from jackfield.model.call import Call, current
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.runtime.pool import Pool

pytestmark = pytest.mark.concurrency

PATIENCE = 30.0  # seconds that only a broken bus uses up


@attrs.frozen
class Tick:
    number: int
    author: int = 0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging handlers wait for; opened at the end, so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def bus(gate) -> Iterator[EventBus]:
    bus = EventBus()
    yield bus
    gate.set()
    assert bus.close(PATIENCE) == ()


class Loop:
    """A home loop on a thread of its own, as a host has one."""

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def run_async(self, coroutine: Coroutine[Any, Any, None]) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread brings about."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition never came about"
        time.sleep(0.001)


class Registry:
    """The least that a registry does: a map under a write lock, announced in it, awaited after it."""

    def __init__(self, bus: EventBus, patience: float = PATIENCE) -> None:
        self.bus = bus
        self.patience = patience
        self.lock = threading.Lock()
        self.revision = 0
        self.functions: dict[str, FunctionSpec] = {}

    def register(self, *names: str) -> tuple[SubscriptionStats, ...]:
        with self.lock:
            self.revision += 1
            specs = [FunctionSpec(name, "1.0", "p", "", print, Colour.SYNC) for name in names]
            self.functions |= {spec.name: spec for spec in specs}
            events = [
                event
                for spec in specs
                for event in (
                    FunctionRegistered(spec, self.revision),
                    RouteChanged(spec.name, spec.version, self.revision),
                )
            ]
            announcement: Announcement = self.bus.announce(events)
        return announcement.wait(self.patience)

    def unregister(self, name: str) -> tuple[SubscriptionStats, ...]:
        with self.lock:
            self.revision += 1
            announcement = self.bus.announce([FunctionUnregistered(self.functions.pop(name), self.revision)])
        return announcement.wait(self.patience)


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run the same work in several threads at once, and hand on what it raises."""
    start = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # handed on to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []


def test_every_subscriber_sees_the_revisions_in_order_whoever_registers(bus):
    """Strictly by revision for each subscriber, even when several threads register at once."""
    registry = Registry(bus)
    seen: list[list[int]] = [[] for _ in range(20)]
    for revisions in seen:
        bus.subscribe(FunctionRegistered, lambda event, out=revisions: out.append(event.revision))

    in_threads(6, lambda number: [registry.register(f"f{number}.n{n}") for n in range(30)])

    assert seen == [list(range(1, 181))] * 20


def test_a_permissions_map_a_route_table_and_a_probe_list_are_in_step_when_register_returns(bus):
    """Each registration and removal keeps route tables, permissions and health probes in step, before it returns."""
    registry = Registry(bus)
    permissions: dict[str, str] = {}
    routes: dict[str, str] = {}
    probes: list[str] = []

    def permit(event: FunctionRegistered) -> None:
        permissions[event.function.name] = event.function.plugin

    def route(event: RouteChanged) -> None:
        routes[event.name] = event.default

    bus.subscribe(FunctionRegistered, permit)
    bus.subscribe(FunctionUnregistered, lambda event: permissions.pop(event.function.name))
    bus.subscribe(RouteChanged, route)
    bus.subscribe(FunctionUnregistered, lambda event: routes.pop(event.function.name))
    bus.subscribe(FunctionRegistered, lambda event: probes.append(event.function.key))
    bus.subscribe(FunctionUnregistered, lambda event: probes.remove(event.function.key))

    def live(number: int) -> None:
        for n in range(15):
            mine = [f"t{number}.f{n}", f"t{number}.g{n}"]
            assert registry.register(*mine) == ()
            assert all(permissions[name] == "p" and routes[name] == "1.0" and f"{name}@1.0" in probes for name in mine)
            assert registry.unregister(mine[0]) == ()
            assert mine[0] not in permissions
            assert mine[0] not in routes
            assert f"{mine[0]}@1.0" not in probes

    in_threads(4, live)

    assert permissions.keys() == routes.keys() == registry.functions.keys()
    assert sorted(probes) == sorted(f"{name}@1.0" for name in registry.functions)


def test_registering_from_within_a_handler_does_not_wait(bus):
    """A handler that registers is not waited for by its own registration; its events follow in order."""
    registry = Registry(bus)
    inner: list[tuple[SubscriptionStats, ...]] = []
    names: list[str] = []

    def grow(event: FunctionRegistered) -> None:
        names.append(event.function.name)
        if event.revision < 5:
            inner.append(registry.register(f"f{event.revision + 1}"))

    subscription = bus.subscribe(FunctionRegistered, grow)
    assert registry.register("f1") == ()
    until(lambda: len(names) == 5)
    assert bus.drain(PATIENCE) == ()

    assert names == ["f1", "f2", "f3", "f4", "f5"]
    assert inner == [()] * 4
    assert not subscription.lagging


def test_a_task_that_a_handler_left_behind_waits_again():
    """Only the handler itself is exempt from waiting, not what it started and what outlives it."""
    with Loop() as home:
        bus = EventBus(home.run_async)
        registry = Registry(bus)
        go = threading.Event()
        results: list[bool] = []
        seen: list[int] = []

        async def background() -> None:
            await asyncio.to_thread(go.wait, PATIENCE)
            await asyncio.to_thread(registry.register, "late")
            results.append(seen == [1])

        async def start(event: Tick) -> None:
            tasks.append(asyncio.create_task(background()))

        tasks: list[asyncio.Task[None]] = []
        bus.subscribe(FunctionRegistered, lambda event: seen.append(event.revision))
        bus.subscribe(Tick, start)
        bus.publish(Tick(1))
        assert bus.drain(PATIENCE) == ()
        go.set()
        until(lambda: bool(results))
        assert results == [True]
        assert bus.close(PATIENCE) == ()


def test_a_hanging_subscriber_is_marked_and_the_rest_is_served(bus, gate):
    """`register()` waits for the laggard once, then goes on; when it has caught up it has missed nothing."""
    registry = Registry(bus, patience=0.05)
    quick: list[int] = []
    slow: list[int] = []

    def hang(event: FunctionRegistered) -> None:
        gate.wait(PATIENCE)
        slow.append(event.revision)

    laggard = bus.subscribe(FunctionRegistered, hang, plugin="slow")
    bus.subscribe(FunctionRegistered, lambda event: quick.append(event.revision))

    late = registry.register("a")
    assert [stats.plugin for stats in late] == ["slow"]
    assert late[0].lagging
    registry.patience = PATIENCE
    assert registry.register("b") == registry.register("c") == ()
    assert quick == [1, 2, 3]
    assert laggard.pending == 2

    gate.set()
    assert bus.drain(PATIENCE) == ()
    assert slow == [1, 2, 3]
    assert not laggard.lagging


def test_more_hanging_subscribers_than_threads_delay_nobody(bus, gate):
    """A thread that a handler holds is replaced, so a dozen hanging subscribers do not stop a healthy one."""
    hanging = [bus.subscribe(Tick, lambda event: gate.wait(PATIENCE)) for _ in range(3 * crew.CORE)]
    done = threading.Event()
    bus.subscribe(Tick, lambda event: done.set())

    bus.publish(Tick(1))
    assert done.wait(PATIENCE)
    assert not any(subscription.delivered for subscription in hanging)


def test_when_every_thread_hangs_it_is_said_and_events_wait(bus, gate):
    """The number of threads is bounded; at the bound the log names the handlers that hold them, and nothing is lost."""
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="ERROR")
    bound = crew.CORE + crew.LINGERING
    healthy: list[int] = []
    bus.subscribe(Probe, lambda event: healthy.append(event.number), queue=1_000_000)
    for _ in range(bound):
        bus.subscribe(Tick, lambda event: gate.wait(PATIENCE), plugin="hog")
    bus.publish(Tick(0))
    until(lambda: sum(stats.running for stats in bus.stats()) == bound)
    number = 0
    while not messages:
        with bus.subscribe(Probe, print):  # a queue that was empty, so that the threads are asked for
            bus.publish(Probe(number))
        number += 1
    logger.remove(sink)

    assert len(messages) == 1
    assert "hog" in messages[0]
    assert healthy == []
    gate.set()
    assert bus.drain(PATIENCE) == ()
    assert healthy == list(range(number))


@attrs.frozen
class Probe:
    number: int


def test_publishing_from_handlers_goes_on_in_a_chain(bus):
    """Handlers may publish; to their own full queue they do not wait, since nobody else could make room."""
    seen: list[int] = []

    def count_down(event: Tick) -> None:
        seen.append(event.number)
        if event.number:
            bus.publish(Tick(event.number - 1))

    def burst(event: Probe) -> None:
        if event.number == 0:
            accepted.extend(bus.publish(Probe(n)) for n in (1, 2, 3))

    accepted: list[int] = []
    bus.subscribe(Tick, count_down)
    own = bus.subscribe(Probe, burst, queue=1, timeout=PATIENCE)
    bus.publish(Tick(50))
    bus.publish(Probe(0))
    until(lambda: len(seen) == 51 and own.delivered == 2)

    assert seen == list(range(50, -1, -1))
    assert accepted == [1, 0, 0]
    assert own.dropped == 2
    assert not own.lagging


def test_many_publishers_lose_nothing_and_keep_their_own_order(bus):
    """Events of one publisher reach each subscriber in order, however many publish into a small queue."""
    seen: list[Tick] = []
    subscription = bus.subscribe(Tick, seen.append, queue=2, timeout=PATIENCE)

    in_threads(5, lambda author: [bus.publish(Tick(n, author)) for n in range(100)])
    assert bus.drain(PATIENCE) == ()

    assert (subscription.delivered, subscription.dropped) == (500, 0)
    for author in range(5):
        assert [event.number for event in seen if event.author == author] == list(range(100))


def test_one_handler_is_never_called_twice_at_once(bus):
    """Each subscriber handles one event at a time, whatever thread it runs on."""
    inside = threading.Lock()
    overlaps: list[int] = []

    def handle(event: Tick) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(event.number)
            return
        time.sleep(0)
        inside.release()

    subscription = bus.subscribe(Tick, handle)
    busy = [bus.subscribe(Tick, lambda event: time.sleep(0.002)) for _ in range(8)]
    in_threads(4, lambda author: [bus.publish(Tick(n, author)) for n in range(20)])
    assert bus.drain(PATIENCE) == ()

    assert overlaps == []
    assert {subscription.delivered, *(other.delivered for other in busy)} == {80}


def test_subscribing_and_cancelling_while_events_flow(bus):
    """Subscriptions come and go under load; those that stay miss nothing, those that went get nothing more."""
    steady: list[int] = []
    bus.subscribe(Tick, lambda event: steady.append(event.number))

    def work(number: int) -> None:
        for n in range(100):
            if number == 0:
                bus.publish(Tick(n))
            else:
                seen: list[object] = []
                with bus.subscribe(Tick, seen.append, plugin=f"p{number}"):
                    pass

    in_threads(4, work)
    assert bus.drain(PATIENCE) == ()
    assert steady == list(range(100))
    assert len(bus.stats()) == 1


def test_a_finalizer_may_cancel_and_publish_wherever_it_runs(bus):
    """The garbage collector runs finalizers at any line, the bus's own included: they must not deadlock."""
    seen: list[Tick] = []
    bus.subscribe(Tick, seen.append)
    ended = bus.subscribe(Tick, print)
    with bus._lock, bus._crew._lock:
        ended.cancel()
        assert bus.publish(Tick(1)) == 1
        assert len(bus.stats()) == 1
    assert bus.drain(PATIENCE) == ()
    assert seen == [Tick(1)]


def test_handlers_run_outside_any_call(bus):
    """The publisher's call and deadline are not the handler's, and nothing leaks from one event to the next."""
    found: list[object] = []

    def handle(event: Tick) -> None:
        found.append(current.get())
        current.set(Call("leaked"))

    bus.subscribe(Tick, handle)
    token = current.set(Call("f", deadline=time.monotonic() + PATIENCE))
    try:
        bus.publish(Tick(1))
        bus.publish(Tick(2))
    finally:
        current.reset(token)
    assert bus.drain(PATIENCE) == ()
    assert found == [None, None]


def test_the_callers_deadline_bounds_the_wait_and_blames_nobody(bus, gate):
    """A publisher or an author whose own time is up goes on; the subscriber is not marked for that."""
    entered = threading.Event()

    def hang(event: object) -> None:
        entered.set()
        gate.wait(PATIENCE)

    subscription = bus.subscribe(object, hang, queue=1, timeout=PATIENCE)
    bus.publish(Tick(0))
    assert entered.wait(PATIENCE)
    bus.publish(Tick(1))
    token = current.set(Call("f", deadline=time.monotonic()))
    try:
        assert bus.publish(Tick(2)) == 0
        late = bus.announce([RouteChanged("f", "1", 1)]).wait(PATIENCE)
    finally:
        current.reset(token)
    assert len(late) == 1
    assert subscription.dropped == 1
    assert not subscription.lagging


def test_async_handlers_run_on_the_home_loop_in_order_and_hold_no_thread():
    """An async subscriber is handled on the home loop, one event at a time; a hundred that wait need no threads."""
    with Loop() as home:
        bus = EventBus(home.run_async)
        opened = asyncio.Event()
        seen: list[int] = []
        loops: set[asyncio.AbstractEventLoop] = set()

        async def handle(event: Tick) -> None:
            loops.add(asyncio.get_running_loop())
            await opened.wait()
            seen.append(event.number)

        class Callee:
            async def __call__(self, event: Tick) -> None:
                await handle(event)

        for _ in range(99):
            bus.subscribe(Tick, handle)
        bus.subscribe(Tick, Callee())
        for n in range(3):
            bus.publish(Tick(n))
        until(lambda: all(stats.running for stats in bus.stats()))
        until(lambda: all(worker.job is None for worker in bus._crew._workers))
        home.loop.call_soon_threadsafe(opened.set)
        assert bus.drain(PATIENCE) == ()

        assert len(seen) == 300
        assert loops == {home.loop}
        assert {stats.delivered for stats in bus.stats()} == {3}
        assert bus.close(PATIENCE) == ()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_raising_async_handler_harms_neither_loop_nor_bus(error):
    """Whatever an async handler raises is counted and logged, and the home loop runs on."""
    with Loop() as home:
        bus = EventBus(home.run_async)

        async def handle(event: Tick) -> None:
            raise error

        subscription = bus.subscribe(Tick, handle)
        bus.publish(Tick(1))
        bus.publish(Tick(2))
        assert bus.drain(PATIENCE) == ()
        assert subscription.failed == 2
        assert home.loop.is_running()
        assert bus.close(PATIENCE) == ()


def test_an_async_handler_without_a_loop_fails_with_the_fix(bus):
    """It is logged how to give the bus a loop, and no coroutine is left unawaited."""
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="ERROR")

    async def handle(event: Tick) -> None:
        pass

    subscription = bus.subscribe(Tick, handle)
    bus.publish(Tick(1))
    assert bus.drain(PATIENCE) == ()
    logger.remove(sink)
    assert subscription.failed == 1
    assert "run_async" in messages[0]


def test_registering_on_the_home_loop_does_not_wait_for_what_needs_that_loop():
    """In an event loop the async subscribers, which may need it, are not waited for; the others are."""
    seen: list[str] = []

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        bus = EventBus(lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop))

        async def later(event: FunctionRegistered) -> None:
            seen.append("async")

        bus.subscribe(FunctionRegistered, later)
        bus.subscribe(FunctionRegistered, lambda event: seen.append("sync"))
        assert Registry(bus).register("f") == ()
        at_return = list(seen)
        assert await asyncio.to_thread(bus.drain, PATIENCE) == ()
        assert await asyncio.to_thread(bus.close, PATIENCE) == ()
        return at_return

    assert asyncio.run(main()) == ["sync"]
    assert sorted(seen) == ["async", "sync"]


def test_closing_names_what_would_not_end_and_cancels_async_handlers(gate):
    """`close` drains within its bound, then says who hangs; it never hangs itself."""
    with Loop() as home:
        bus = EventBus(home.run_async)
        cancelled = threading.Event()

        async def wait_for_ever(event: Tick) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        bus.subscribe(Tick, lambda event: gate.wait(PATIENCE), plugin="sync")
        bus.subscribe(Tick, wait_for_ever, plugin="async")
        bus.publish(Tick(1))
        bus.publish(Tick(2))
        until(lambda: all(stats.running for stats in bus.stats()))

        left = bus.close(0.01)
        assert {(stats.plugin, stats.running, stats.pending) for stats in left} == {
            ("sync", True, 1),
            ("async", True, 1),
        }
        assert cancelled.wait(PATIENCE)
        gate.set()
        until(lambda: bus._crew.threads == 0)


def test_closing_on_the_home_loop_names_the_async_handlers_it_leaves():
    """What needs the loop that `close` is called on cannot be waited for, and is named: nothing is lost silently."""

    async def main() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        bus = EventBus(lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop))

        async def handle(event: Tick) -> None:
            pass

        bus.subscribe(Tick, handle, plugin="async")
        bus.publish(Tick(1))
        bus.publish(Tick(2))
        until(lambda: bus.stats()[0].running)
        return [(stats.plugin, stats.pending) for stats in bus.close(PATIENCE)]

    assert asyncio.run(main()) == [("async", 1)]


def test_closing_names_a_handler_whose_subscription_was_cancelled(gate):
    """Cancelling does not make a thread end: what survives is named."""
    bus = EventBus()
    entered = threading.Event()

    def hang(event: Tick) -> None:
        entered.set()
        gate.wait(PATIENCE)

    subscription = bus.subscribe(Tick, hang, plugin="gone")
    bus.publish(Tick(1))
    assert entered.wait(PATIENCE)
    assert bus.cancel_all(plugin="gone") == (subscription.stats(),)
    assert [(stats.plugin, stats.running) for stats in bus.close(0.01)] == [("gone", True)]
    gate.set()
    until(lambda: bus._crew.threads == 0)


def test_an_idle_bus_holds_no_thread(bus):
    """Threads go back to the pool when there is nothing to do, and come again for the next event."""
    subscription = bus.subscribe(Tick, lambda event: None)
    for n in range(3):
        bus.publish(Tick(n))
        assert bus.drain(PATIENCE) == ()
        until(lambda: bus._crew.threads == 0)
    assert subscription.delivered == 3


def test_events_for_which_there_is_no_thread_wait_for_the_next():
    """A publisher is not to blame for a system that gives no more threads; nothing is lost, and the order holds."""

    class Scarce(Pool):
        empty = False

        def start(self, name, body):
            if self.empty:
                raise ResourceExhausted(name, "the system gives no more threads", 1.0)
            super().start(name, body)

    pool, seen = Scarce(), []
    bus = EventBus(pool=pool)
    bus.subscribe(Tick, lambda event: seen.append(event.number))
    pool.empty = True
    assert [bus.publish(Tick(n)) for n in range(2)] == [1, 1]
    assert seen == []
    pool.empty = False
    assert bus.drain(PATIENCE) == ()
    assert seen == [0, 1]
    bus.publish(Tick(2))
    assert bus.close(PATIENCE) == ()
    assert seen == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_and_does_not_hang(bus):
    """After a fork the threads are gone: using the bus raises; ending subscriptions and closing do nothing."""
    subscription = bus.subscribe(Tick, lambda event: None)
    bus.publish(Tick(1))
    assert bus.drain(PATIENCE) == ()
    held = threading.Event()
    forked = threading.Event()

    def hold() -> None:
        with bus._lock:
            held.set()
            forked.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while threads run: the point of the test
        child = os.fork()
    if child == 0:
        told = 0
        for use in (
            lambda: bus.publish(Tick(2)),
            lambda: bus.announce([Tick(2)]),
            lambda: bus.subscribe(Tick, print),
            lambda: bus.drain(1.0),
        ):
            try:
                use()
            except Unavailable as error:
                told += "forked" in str(error)
        subscription.cancel()
        bus.cancel_all(plugin="")
        told += bus.close() == () and bus.stats() == ()
        os._exit(0 if told == 5 else 1)
    forked.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bus.publish(Tick(3)) == 1


def test_a_hanging_handler_does_not_keep_the_interpreter_from_ending():
    """The bus's threads are daemons."""
    script = """
import threading, attrs
from jackfield.events import EventBus
Tick = attrs.make_class("Tick", {"n": attrs.field(type=int)})
bus, entered = EventBus(), threading.Event()
bus.subscribe(Tick, lambda event: (entered.set(), threading.Event().wait()))
bus.publish(Tick(1))
assert entered.wait(30)
"""
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", script], timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
