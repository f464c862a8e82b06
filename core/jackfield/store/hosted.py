"""A host's store: asked on an event loop of its own, under a time limit, with the id of the host that is claimed in it.

A store is somebody else's, and may block where it should await. Whatever it does on its own thread, the host goes on
supervising, and says at which line the store hangs.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.ports import Lease, Range, Store, Stored, StoreEvent
from jackfield.runtime.control import ControlLoop
from jackfield.stack import error_type
from jackfield.store.memory import MemoryStore

if TYPE_CHECKING:
    from jackfield.model.stored import StoreCounts
    from jackfield.store.identity import HostIdentity

T = TypeVar("T")

ANSWER: Final = 5.0
"""Seconds that a store may take: starts, stops and unloads wait for it."""


class HostStore:
    """What the parts of a host ask their store through. It belongs to the control loop, but for what says otherwise.

    A host that keeps nothing claims no id, and asks its store for nothing. A store that does not answer is unavailable;
    what it was asked goes on without anybody, so that one which swallows a cancellation holds up nobody.

    Args:
        store: where things are kept, which somebody else closes; None for the memory of this process, or whatever
            `configure` says.
        control: the host's control loop.
    """

    def __init__(self, store: Store | None, control: ControlLoop) -> None:
        self._control = control
        self._given = store is not None
        self._store: Store | None = MemoryStore() if store is None else store
        self._opening: Callable[[], Store] | None = None
        self._wanted: str | None = None
        # Ours never blocks, and may live on the control loop: the way to another thread would cost each start 0.1 ms.
        self._loop = None if type(self._store) is MemoryStore else ControlLoop(control.clock, "store")
        if self._loop is not None:
            self._store = _timed(self._store)
        self._gate = threading.Condition(threading.Lock())  # of the next two
        self._ended = False  # the host has stopped, and closed a store of its own
        self._visitor: int | None = None  # the thread that has it open all the same
        self._identity: HostIdentity | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[HostIdentity] | None = None

    def configure(self, opening: Callable[[], Store] | None, host_id: str | None) -> None:
        """Take over what a configuration says, before anything is kept; a store that was given goes first.

        Args:
            opening: opens a store, which is closed when the host stops and opened again when it is started; None for
                the memory of this process.
            host_id: the id that an operator has named.

        Raises:
            StoreUnusable: if it cannot be opened, and why.
            OSError: as that.
        """
        self._wanted = host_id
        if opening is not None and not self._given:
            self._store, self._opening = _timed(opening()), opening
            self._loop = ControlLoop(self._control.clock, "store")

    @property
    def lasts(self) -> bool:
        """Whether what is kept outlives this process."""
        return self._loop is not None

    @property
    def store(self) -> Store:
        """The store itself; to be awaited within `answered`.

        Raises:
            Unavailable: if the host has stopped and closed it, and nobody `visits` it.
        """
        if self._store is None:
            assert self._opening is not None  # noqa: S101  # only such a store is closed here
            with self._gate:
                if self._ended and self._visitor is None:
                    reason = "it has stopped, and its store is closed: start it first"
                    raise Unavailable("the host", reason, "host_stopped", ran=False)
            self._store = _timed(self._opening())
        return self._store

    @property
    def present(self) -> Store:
        """The same as a store that is there for as long as the host is, stopped and started again or not."""
        return _Present(self)

    def counts(self) -> "StoreCounts":
        """Give how long the store took since this host was started, and what failed; memory is not timed."""
        from jackfield.model.stored import StoreCounts  # noqa: PLC0415  # for those who have metrics

        timed: Any = self._store
        return StoreCounts() if self._loop is None or timed is None else timed.counts()

    @property
    def direct(self) -> bool:
        """Whether a thread without an event loop may have what it asks the store run at once: it blocks that thread."""
        return bool(getattr(self._store, "blocks_threads", False))

    @property
    def loop(self) -> ControlLoop:
        """Where the store lives."""
        return self._loop or self._control

    async def identity(self) -> "HostIdentity":
        """Give the id of this host, claimed when it is first needed."""
        # One claim for all that ask at once: two would be two hosts.
        if self._claiming is None or (self._claiming.done() and _failed(self._claiming)):
            self._claiming = asyncio.get_running_loop().create_task(self._claim())
        return await asyncio.shield(self._claiming)

    async def answered(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await the store, for so long.

        Raises:
            Unavailable: when it does not answer in time, or raises what would end its loop.
            Exception: whatever else it raises.
        """
        answer = self.begin(ask)
        try:
            await asyncio.wait([answer], timeout=ANSWER)
            if not answer.done():
                where = self._loop.busy_at if self._loop is not None else ""
                why = f", since it blocks its event loop at {where} instead of awaiting" if where else ""
                raise Unavailable("store", f"it has not answered within {ANSWER:g} s{why}", "store")
            if answer.cancelled():  # nobody here has done that
                raise Unavailable("store", "it cancelled what it was asked", "store")
            return answer.result()
        finally:
            answer.cancel()

    def begin(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Future[T]":
        """Begin to ask, where the store lives; cancelling the future cancels that."""
        if self._loop is None:
            return asyncio.get_running_loop().create_task(_contained(ask))
        return asyncio.wrap_future(self._loop.submit(_contained(ask)))

    def ask(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> "Future[T]":
        """Begin to ask, from any thread; cancelling the future cancels that."""
        return self.loop.submit(_contained(ask))

    def resume(self) -> None:
        """Have the store open when it is next needed: the host starts. Whoever visits it is waited for."""
        with self._gate:
            while self._visitor is not None:
                self._gate.wait()
            self._ended = False

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Let what is asked within be answered by a host that has stopped, too, and close the store again; for threads.

        So the file of a stopped host is nobody's: it can be copied, moved, or opened by another process.
        """
        me = threading.get_ident()
        with self._gate:
            while self._visitor not in {None, me}:
                self._gate.wait()
            guest = self._ended and self._visitor is None
            if guest:
                self._visitor = me
        try:
            yield
        finally:
            if guest:
                try:
                    self.give_back(ANSWER)
                    self._close(ANSWER)
                finally:
                    with self._gate:
                        self._visitor = None
                        self._gate.notify_all()

    async def release(self) -> None:
        """Give the id back: the host stops, and whoever claims it next finds what it has kept."""
        identity, keeping = self._identity, self._keeping
        self._identity = self._keeping = self._claiming = None
        if keeping is not None:
            keeping.cancel()
        if identity is not None:
            await self.answered(identity.lease.release)

    def give_back(self, timeout: float) -> None:
        """Release the id, if there is one; for any thread but the control loop's.

        Args:
            timeout: seconds to wait for it.
        """
        if self._identity is None:
            return
        try:
            self._control.run(self.release(), timeout)
        except Exception as error:  # noqa: BLE001  # the store is somebody else's; its lease ends by itself
            host_log("WARNING", "the host's id could not be given back", error)

    def end(self, timeout: float) -> None:
        """Close a store that is this host's own, and end the store's loop; for any other thread.

        Args:
            timeout: seconds to wait for each.
        """
        with self._gate:
            self._ended = self._opening is not None
        self._close(timeout)

    def _close(self, timeout: float) -> None:
        if self._loop is not None:
            if self._opening is not None and self._store is not None:
                store, self._store = self._store, None
                try:
                    self._loop.run(_contained(store.close), max(timeout, ANSWER))
                except TimeoutError:  # what is written is on the disk; nobody has a hold on it once this process ends
                    host_log("WARNING", f"the store has not closed within {max(timeout, ANSWER):g} s, and is left open")
            elif self._store is not None:  # what was counted so far has been told
                self._store = _timed(self._store)
            self._loop.close(timeout)

    async def _claim(self) -> "HostIdentity":
        from jackfield.store.identity import claim_host_id  # noqa: PLC0415  # for those who keep something

        self._identity = identity = await self.answered(lambda: claim_host_id(self.store, self._wanted))
        self._keeping = asyncio.get_running_loop().create_task(self._keep(identity))
        return identity

    async def _keep(self, identity: "HostIdentity") -> None:
        from jackfield.store.keeping import keep_lease  # noqa: PLC0415  # as in `_claim`

        try:
            await self.begin(partial(keep_lease, identity.lease))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # the store is somebody else's, and this task nobody's
            host_log("WARNING", f"the host lost its id {identity.id}, and claims another when it needs one", error)
            self._identity = self._keeping = self._claiming = None


class _Present:
    """Asks the store that the host has open at the moment; adapter of `ports.Store`, whose methods these are."""

    def __init__(self, kept: HostStore) -> None:
        self._kept = kept

    async def get(self, key: str, /) -> Stored | None:
        return await self._kept.store.get(key)

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        return await self._kept.store.put(key, value, expected=expected, lease=lease)

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        return await self._kept.store.delete(key, expected=expected)

    async def range(self, prefix: str = "", /) -> Range:
        return await self._kept.store.range(prefix)

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        return self._kept.store.watch(prefix, since=since)

    async def lease(self, ttl: float, /) -> Lease:
        return await self._kept.store.lease(ttl)

    async def close(self) -> None:
        """Leave it to the host."""


def _timed(store: Store) -> Store:
    from jackfield.store.timed import TimedStore  # noqa: PLC0415  # for those who have a store that lasts

    return TimedStore(store.behind if isinstance(store, TimedStore) else store)


def directly(asked: Coroutine[Any, Any, T]) -> T:
    """Have a coroutine run in this thread that awaits nothing but a store which is `direct`.

    Args:
        asked: the coroutine.

    Returns:
        What it gives.
    """
    try:
        asked.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    asked.close()
    raise AssertionError("it awaits something else than a store that blocks")


def _failed(task: "asyncio.Task[HostIdentity]") -> bool:
    return task.cancelled() or task.exception() is not None


async def _contained(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return await ask()  # made here: a loop that is blocked until it ends begins nothing any more
    except (asyncio.CancelledError, GeneratorExit, Exception):
        raise
    except BaseException as error:  # a `SystemExit` in a task would end the loop
        raise Unavailable("store", f"it raised {error_type(error)}") from error
