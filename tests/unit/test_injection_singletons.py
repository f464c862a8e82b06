"""Singletons: made once whoever races, never half, never in a deadlock, closed in reverse order."""

import asyncio
import contextvars
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.collected import alive

from jackfield.decorators import Inject, dependency, inject, provides
from jackfield.errors import DependencyCycle, InjectionError, Unavailable
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe
from jackfield.model.call import Call, current
from jackfield.model.spec import Colour, FunctionSpec

pytestmark = pytest.mark.concurrency

CALL = Call("f")
THREADS = 24


class Engine: ...


class Pool: ...


class Cache: ...


def spec(target, name="f"):
    """Describe a function by hand, without the contract compiler."""
    wanted = tuple(
        dependency(parameter.name, parameter.annotation, parameter.default)
        for parameter in inspect.signature(target).parameters.values()
        if isinstance(parameter.default, Inject)
    )
    colour = Colour.ASYNC if inspect.iscoroutinefunction(target) else Colour.SYNC
    return FunctionSpec(name, "0", "demo", "", target, colour, shape="opaque", dependencies=wanted)


def injector(*factories):
    made = Injector()
    made.add(*map(describe, factories))
    return made


def engine_of(x, *, engine: Engine = inject()):
    return engine


async def async_engine_of(x, *, engine: Engine = inject()):
    return engine


def in_threads(work, count=THREADS):
    """Run `work` in threads that start together; give results or exceptions."""
    barrier = threading.Barrier(count)

    def run(index):
        barrier.wait(10)
        try:
            return work(index)
        except Exception as error:  # noqa: BLE001  # the test looks at it
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


async def until(condition):
    """Let others run until another thread has come that far."""
    while not condition():  # noqa: ASYNC110  # the event is a thread's
        await asyncio.sleep(0)


def run_async(coroutine):
    return asyncio.run(coroutine)


def test_racing_threads_get_one_object():
    """However many threads ask at once, the factory runs once, and all get what it made."""
    made, entered = [], threading.Event()

    def engine() -> Engine:
        made.append(Engine())
        entered.wait(0.05)  # nobody sets it: give the others time to come in
        return made[-1]

    body = injector(engine).body(spec(engine_of))
    results = in_threads(lambda _: body(CALL, 1))
    assert len(made) == 1
    assert all(result is made[0] for result in results)


def test_racing_tasks_get_one_object():
    """An async factory runs once for any number of tasks."""
    made = []

    async def engine() -> Engine:
        made.append(Engine())
        await asyncio.sleep(0)
        return made[-1]

    body = injector(engine).body(spec(async_engine_of))

    async def main():
        return await asyncio.gather(*(body(CALL, 1) for _ in range(100)))

    results = asyncio.run(main())
    assert len(made) == 1
    assert all(result is made[0] for result in results)


def test_threads_and_tasks_race_for_one_object_and_no_loop_is_blocked():
    """Tasks wait for a singleton that a thread is making while their loop goes on running."""
    made, started, release = [], threading.Event(), threading.Event()

    def engine() -> Engine:
        started.set()
        assert release.wait(10)
        made.append(Engine())
        return made[-1]

    inj = injector(engine)
    sync_body, async_body = inj.body(spec(engine_of)), inj.body(spec(async_engine_of, "g"))

    async def main():
        with ThreadPoolExecutor(THREADS) as pool:
            threads = [pool.submit(sync_body, CALL, 1) for _ in range(THREADS)]
            await until(started.is_set)
            tasks = [asyncio.create_task(async_body(CALL, 1)) for _ in range(50)]
            for _ in range(100):  # turns that a blocked loop would not make
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
            release.set()
            return [*await asyncio.gather(*tasks), *(thread.result(10) for thread in threads)]

    results = asyncio.run(main())
    assert len(made) == 1
    assert all(result is made[0] for result in results)


def test_a_slow_sync_factory_does_not_block_the_loop_that_needs_it_first():
    """A coroutine has the sync factory run in another thread."""
    release = threading.Event()

    def engine() -> Engine:
        assert release.wait(10)
        assert threading.current_thread() is not threading.main_thread()
        return Engine()

    body = injector(engine).body(spec(async_engine_of))

    async def main():
        task = asyncio.create_task(body(CALL, 1))
        for _ in range(50):
            await asyncio.sleep(0)
        release.set()
        return await task

    assert isinstance(asyncio.run(main()), Engine)


def test_a_failed_construction_is_not_cached():
    """The next call tries again; those who waited for the failed attempt get its error."""
    attempts = []

    def engine() -> Engine:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no route")
        return Engine()

    body = injector(engine).body(spec(engine_of))
    with pytest.raises(OSError, match="no route"):
        body(CALL, 1)
    assert body(CALL, 1) is body(CALL, 1)
    assert len(attempts) == 2


def test_one_failure_is_shared_by_all_who_waited_for_it():
    """A connection that takes long to fail fails a hundred waiters once, not one after the other."""
    attempts, all_in = [], threading.Event()

    def engine() -> Engine:
        attempts.append(1)
        all_in.wait(0.2)
        raise OSError("no route")

    body = injector(engine).body(spec(engine_of))
    results = in_threads(lambda _: body(CALL, 1))
    assert all(isinstance(result, OSError) for result in results)
    assert len(attempts) < THREADS


def test_the_interruption_of_one_is_not_the_failure_of_others():
    """A `KeyboardInterrupt` in the thread that makes it makes the waiters try again."""
    attempts, waiting = [], threading.Event()

    def engine() -> Engine:
        attempts.append(1)
        if len(attempts) == 1:
            assert waiting.wait(10)
            raise KeyboardInterrupt
        return Engine()

    body = injector(engine).body(spec(engine_of))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(body, CALL, 1)
        second = pool.submit(lambda: (waiting.set(), body(CALL, 1))[1])
        assert isinstance(first.exception(10), KeyboardInterrupt)
        assert isinstance(second.result(10), Engine)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_impatient_caller_does_not_stop_the_construction(colour):
    """Whoever asked first may be cancelled: the object is made all the same, once."""
    made, release = [], threading.Event()

    def sync_engine() -> Engine:
        assert release.wait(10)
        made.append(Engine())
        return made[-1]

    async def async_engine() -> Engine:
        await until(release.is_set)
        made.append(Engine())
        return made[-1]

    body = injector(sync_engine if colour == "sync" else async_engine).body(spec(async_engine_of))

    async def main():
        impatient = asyncio.create_task(body(CALL, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        release.set()
        return await body(CALL, 1)

    assert asyncio.run(main()) is made[0]
    assert len(made) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_factory_that_needs_its_own_object_gets_an_error(asynchronous):
    """A construction that calls a function that needs it is told so, drawn, instead of waiting for itself for ever."""
    bodies = {}

    def engine() -> Engine:
        return bodies["f"](CALL, 1)

    async def async_engine() -> Engine:
        return await bodies["f"](CALL, 1)

    function = async_engine_of if asynchronous else engine_of
    bodies["f"] = injector(async_engine if asynchronous else engine).body(spec(function))

    with pytest.raises(DependencyCycle, match="making it needs it") as caught:
        asyncio.run(bodies["f"](CALL, 1)) if asynchronous else bodies["f"](CALL, 1)
    assert caught.value.drawing.count("engine") == 2


def test_two_threads_that_need_each_others_objects_get_an_error():
    """A → B in one thread while B → A in another: one of them is told, both return."""
    bodies, both = {}, threading.Barrier(2)

    def engine() -> Engine:
        both.wait(10)
        return bodies["pool"](CALL, 1)

    def pool() -> Pool:
        both.wait(10)
        return bodies["engine"](CALL, 1)

    def pool_of(x, *, pool: Pool = inject()):
        return pool

    inj = injector(engine, pool)
    bodies |= {"engine": inj.body(spec(engine_of)), "pool": inj.body(spec(pool_of, "g"))}
    first, second = in_threads(lambda index: bodies["engine" if index else "pool"](CALL, 1), 2)
    assert isinstance(first, DependencyCycle)
    assert isinstance(second, DependencyCycle)


def test_a_singleton_does_not_see_the_call_that_needs_it_first():
    """Neither its deadline nor its context variables' changes: it outlives that call."""
    seen, variable = [], contextvars.ContextVar("variable", default="outside")

    @provides
    def engine() -> Iterator[Engine]:
        token = variable.set("inside")
        seen.append(current.get())
        yield Engine()
        seen.append(variable.get())
        variable.reset(token)

    inj = injector(engine)
    token = current.set(CALL)
    try:
        inj.body(spec(engine_of))(CALL, 1)
    finally:
        current.reset(token)
    assert variable.get() == "outside"
    assert threading_close(inj) == ()
    assert seen == [None, "inside"]


def threading_close(inj):
    """Close from another thread, as hosts do."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inj.close, run_async).result(10)


def chain(log, asynchronous):
    """Three generator singletons that hold one another."""

    def engine() -> Iterator[Engine]:
        log.append("+engine")
        yield Engine()
        log.append("-engine")

    def pool(engine: Engine) -> Iterator[Pool]:
        log.append("+pool")
        yield Pool()
        log.append("-pool")

    async def cache(pool: Pool) -> AsyncIterator[Cache]:
        log.append("+cache")
        await asyncio.sleep(0)
        yield Cache()
        await asyncio.sleep(0)
        log.append("-cache")

    def sync_cache(pool: Pool) -> Iterator[Cache]:
        log.append("+cache")
        yield Cache()
        log.append("-cache")

    return injector(cache if asynchronous else sync_cache, pool, engine)


def test_singletons_close_in_reverse_order_of_creation():
    """What was made last goes first; closing twice does nothing."""
    log = []

    def function(x, *, cache: Cache = inject(), pool: Pool = inject()): ...

    inj = chain(log, asynchronous=False)
    inj.body(spec(function))(CALL, 1)
    assert threading_close(inj) == ()
    assert log == ["+engine", "+pool", "+cache", "-cache", "-pool", "-engine"]
    assert threading_close(inj) == ()
    assert len(log) == 6


def test_sync_and_async_singletons_close_on_the_loop_in_reverse_order():
    """`aclose` interleaves both colours as they were made."""
    log = []

    async def function(x, *, cache: Cache = inject()): ...

    async def main():
        inj = chain(log, asynchronous=True)
        await inj.body(spec(function))(CALL, 1)
        return await inj.aclose()

    assert asyncio.run(main()) == ()
    assert log == ["+engine", "+pool", "+cache", "-cache", "-pool", "-engine"]


def test_a_thread_closes_async_singletons_through_the_home_loop():
    """`close(run_async)` hands async teardowns to the loop they live on."""
    log, loop = [], asyncio.new_event_loop()

    async def function(x, *, cache: Cache = inject()): ...

    inj = chain(log, asynchronous=True)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:

        def on_home(coroutine):
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

        on_home(inj.body(spec(function))(CALL, 1))
        assert inj.close(on_home) == ()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
    assert log[3:] == ["-cache", "-pool", "-engine"]


def test_a_failing_teardown_does_not_keep_others_from_closing():
    """All are closed; what went wrong comes back with the provider named."""
    log = []

    def engine() -> Iterator[Engine]:
        yield Engine()
        log.append("closed")

    def pool(engine: Engine) -> Iterator[Pool]:
        yield Pool()
        raise OSError("stuck")

    def cache(pool: Pool) -> Iterator[Cache]:
        yield Cache()
        yield Cache()

    def function(x, *, cache: Cache = inject()): ...

    inj = injector(engine, pool, cache)
    inj.body(spec(function))(CALL, 1)
    twice, stuck = threading_close(inj)
    assert isinstance(twice.error, InjectionError)
    assert "second time" in str(twice.error)
    assert stuck.fault.entry.endswith("pool")
    assert "its teardown raised OSError at " in stuck.fault.reason
    assert str(stuck.error) == "stuck"
    assert log == ["closed"]


def test_a_generator_that_never_yields_is_named():
    """An empty generator is an error of its author, not a None."""

    def engine() -> Iterator[Engine]:
        yield from ()

    with pytest.raises(InjectionError, match="ended before it yielded"):
        injector(engine).body(spec(engine_of))(CALL, 1)

    async def async_engine() -> AsyncIterator[Engine]:
        for item in ():
            yield item

    with pytest.raises(InjectionError, match="ended before it yielded"):
        asyncio.run(injector(async_engine).body(spec(async_engine_of))(CALL, 1))


def test_after_closing_an_old_body_is_told_and_a_new_one_starts_afresh():
    """A call that comes too late gets `Unavailable`, and cannot bring a closed singleton back."""
    inj = injector(Engine)
    body = inj.body(spec(engine_of))
    first = body(CALL, 1)
    threading_close(inj)
    with pytest.raises(Unavailable, match="closed"):
        body(CALL, 1)
    assert inj.body(spec(engine_of))(CALL, 1) is not first


def test_what_is_being_made_while_the_host_stops_is_closed_by_its_maker():
    """A construction that ends after the stop cleans up after itself, and its caller is told."""
    log, started, release = [], threading.Event(), threading.Event()

    def engine() -> Iterator[Engine]:
        started.set()
        assert release.wait(10)
        yield Engine()
        log.append("closed")

    inj = injector(engine)
    body = inj.body(spec(engine_of))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(body, CALL, 1)
        assert started.wait(10)
        assert inj.close(run_async) == ()
        release.set()
        assert isinstance(late.exception(10), Unavailable)
    assert log == ["closed"]


def test_an_async_construction_is_cancelled_when_the_host_stops():
    """Closing does not wait for what may never come; whoever waited is told."""
    log = []

    async def engine() -> Engine:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    async def main():
        inj = injector(engine)
        task = asyncio.create_task(inj.body(spec(async_engine_of))(CALL, 1))
        for _ in range(3):
            await asyncio.sleep(0)
        assert await inj.aclose() == ()
        with pytest.raises((Unavailable, asyncio.CancelledError)):
            await task

    asyncio.run(main())
    assert log == ["cancelled"]


def test_an_async_singleton_is_made_on_one_loop_only():
    """A second loop gets an error, not an object that belongs to the first."""

    async def engine() -> Engine:
        return Engine()

    async def pool() -> Pool:
        return Pool()

    async def pool_of(x, *, pool: Pool = inject()): ...

    inj = injector(engine, pool)
    asyncio.run(inj.body(spec(async_engine_of))(CALL, 1))
    with pytest.raises(InjectionError, match="home loop"):
        asyncio.run(inj.body(spec(pool_of, "g"))(CALL, 1))


def test_an_unloaded_provider_takes_along_what_depends_on_it():
    """Removing closes its singleton and the dependents, not before the host says so, and nothing else."""
    log = []

    def engine() -> Iterator[Engine]:
        yield Engine()
        log.append("-engine")

    def pool(engine: Engine = None) -> Iterator[Pool]:
        yield Pool()
        log.append("-pool")

    def cache() -> Iterator[Cache]:
        yield Cache()
        log.append("-cache")

    def function(x, *, pool: Pool = inject(), cache: Cache = inject(), engine: Engine = inject(optional=True)):
        return pool, cache, engine

    inj = injector(pool, engine, cache)
    old_pool, old_cache, _ = inj.body(spec(function))(CALL, 1)
    closing = inj.remove(next(p for p in inj.providers if p.key.type is Engine))
    assert log == []
    assert closing.close(run_async) == ()
    assert log == ["-pool", "-engine"]
    new_pool, new_cache, engine_now = inj.body(spec(function))(CALL, 1)
    assert (new_pool is old_pool, new_cache is old_cache, engine_now) == (False, True, None)
    with pytest.raises(ValueError, match="not registered"):
        inj.remove(describe(engine))


def test_nothing_keeps_a_function_alive():
    """Not the injector, not the cache of compiled code, not a singleton it was the first to need."""
    inj = injector(Engine)

    def make():
        def function(x, *, engine: Engine = inject()):
            return engine

        body = inj.body(spec(function))
        body(CALL, 1)
        return weakref.ref(function)

    gone = make()
    assert alive(gone) == []
