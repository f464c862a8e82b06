"""What a host closes when it stops: in the thread that it may be bound to, and never for longer than there is time."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from jackfield import Host, inject, log, provides
from support.plugins import PATIENCE, wait_for


class First:
    """Closed last."""


class Hangs:
    """Its clean-up waits for a gate."""


@pytest.fixture
def said():
    """Everything that is logged."""
    texts = []
    remove = log.install(lambda message: texts.append(message.text))
    yield texts
    remove()


@pytest.fixture
def gate():
    """What clean-ups wait for."""
    gate = threading.Event()
    yield gate
    gate.set()


def filled(hangs, closed):
    """A host with a function that needs two singletons, of which the second hangs when it is closed."""

    @provides(scope="singleton")
    def first() -> Iterator[First]:
        yield First()
        closed.append("first")

    def f(*, first: First = inject(), hangs: Hangs = inject()) -> int:
        return 1

    async def g(*, first: First = inject(), hangs: Hangs = inject()) -> int:
        return 1

    host = Host(observers=())
    host.provide(first)
    host.provide(hangs)
    host.register("f", g if hangs.__name__ == "ahangs" else f)
    return host


def sync(gate, closed):
    @provides(scope="singleton")
    def hangs() -> Iterator[Hangs]:
        yield Hangs()
        gate.wait()
        closed.append("hangs")

    return hangs


def stubborn(gate, closed):
    @provides(scope="singleton")
    async def ahangs() -> AsyncIterator[Hangs]:
        yield Hangs()
        while not gate.is_set():  # not even a cancellation ends it
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        closed.append("hangs")

    return ahangs


LEFT = "its teardown has not ended in time, and is left behind"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [sync, stubborn])
def test_a_clean_up_that_hangs_is_left_behind_and_the_others_are_closed(kind, gate, said):
    """Stopped by a thread that has made none of them, as `serve` does: it ends, and says which has not."""
    closed = []
    host = filled(kind(gate, closed), closed)
    host.start()
    caller = threading.Thread(target=host.call, args=("f",))
    caller.start()
    caller.join()
    host.stop(0.0)
    assert closed == ["first"]
    assert [text for text in said if LEFT in text and "hangs" in text]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [sync, stubborn])
def test_leaving_an_async_block_ends_as_well(kind, gate, said):
    """The loop is not blocked meanwhile."""
    closed = []

    async def main():
        host = filled(kind(gate, closed), closed)
        await host.__aenter__()
        await host.acall("f")
        await host.astop(0.0)
        gate.set()

    asyncio.run(main())
    assert closed[0] == "first"
    assert [text for text in said if LEFT in text and "hangs" in text]


@pytest.mark.slow
def test_a_clean_up_that_fails_after_it_was_left_behind_is_logged(gate, said):
    """Nobody waits for it any more, and it is not swallowed."""

    @provides(scope="singleton")
    def hangs() -> Iterator[Hangs]:
        yield Hangs()
        gate.wait()
        raise ValueError("too late")

    host = filled(hangs, [])
    host.start()
    caller = threading.Thread(target=host.call, args=("f",))
    caller.start()
    caller.join()
    host.stop(0.0)
    gate.set()
    wait_for(lambda: [text for text in said if "its teardown failed" in text])


def test_what_this_thread_has_made_is_closed_in_this_thread(said):
    """A connection of SQLite may be used by no other."""

    @provides(scope="singleton")
    def database() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(":memory:")
        yield connection
        connection.close()

    def f(*, database: sqlite3.Connection = inject()) -> int:
        return database.execute("select 1").fetchone()[0]

    with Host(observers=()) as host:
        host.provide(database)
        host.register("f", f)
        assert host.call("f") == 1
    assert said == []


def test_what_another_thread_has_made_is_closed_before_what_it_needs():
    """In reverse order of creation, whichever thread closes it."""
    closed, opened = [], threading.Event()
    opened.set()
    host = filled(sync(opened, closed), closed)
    host.start()
    caller = threading.Thread(target=host.call, args=("f",))
    caller.start()
    caller.join()
    host.stop(PATIENCE)
    assert closed == ["hangs", "first"]


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt, BaseException])
@pytest.mark.parametrize("how", ["stop", "astop"])
def test_a_teardown_that_wants_to_exit_keeps_nothing_open(how, error):
    """What it needs is closed after it, and the host ends; an interrupt only counts where the user's can come from."""

    class Pool: ...

    class Session: ...

    closed = []

    @provides
    def pool() -> Iterator[Pool]:
        yield Pool()
        closed.append("pool")

    @provides
    def session(pool: Pool) -> Iterator[Session]:
        yield Session()
        closed.append("session")
        raise error

    def f(*, session: Session = inject()) -> None: ...

    class Socket: ...

    @provides
    async def socket(pool: Pool) -> AsyncIterator[Socket]:
        yield Socket()
        closed.append("socket")
        raise error

    async def g(*, socket: Socket = inject()) -> None: ...

    def run():
        host = Host(observers=())
        host.provide(socket)
        host.register("g", g)
        host.provide(pool)
        host.provide(session)
        host.register("f", f)
        if how == "astop":
            asyncio.run(main(host))
        else:
            with host:
                host.call("f")
                host.call("g")
        closed.append(host.running)

    async def main(host):
        async with host:
            await host.acall("f")
            await host.acall("g")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert closed == ["socket", "session", "pool", False]


@pytest.mark.parametrize("called", ["call", "acall"])
@pytest.mark.parametrize("stopped", ["stop", "astop"])
def test_what_is_async_ends_on_the_loop_that_made_it_whichever_loop_stops_the_host(called, stopped, said):
    """The host has been started without a loop, and has one of its own; who stops it has another, or none."""
    loops = []

    async def first() -> AsyncIterator[First]:
        loops.append(asyncio.get_running_loop())
        yield First()
        loops.append(asyncio.get_running_loop())

    async def use(*, it: First = inject()) -> None: ...

    host = Host(observers=())
    host.provide(first)
    host.register("use", use)
    host.start()
    host.call("use") if called == "call" else asyncio.run(host.acall("use"))
    host.stop() if stopped == "stop" else asyncio.run(host.astop())
    assert [loops[0]] * 2 == loops
    assert said == []
