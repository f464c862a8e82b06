"""The states of plugins under the id of their host, which is claimed when the first state is needed.

A store is somebody else's, and may block where it should await. It has an event loop of its own, in a thread of its
own: whatever it does there, the host goes on supervising, and says at which line the store hangs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.ports import Clock, Store
from jackfield.runtime.control import ControlLoop
from jackfield.stack import error_type
from jackfield.store import MemoryStore

if TYPE_CHECKING:
    from jackfield.plugins.state import PluginStates
    from jackfield.store import HostIdentity

T = TypeVar("T")

ANSWER: Final = 5.0
"""Seconds that a store may take: starts, stops and unloads wait for it."""


class ClaimedStates:
    """Keeps states as `PluginStates` does. It belongs to the control loop.

    A host without plugin objects claims nothing, and asks its store for nothing. A store that does not answer is
    unavailable; what it was asked goes on without anybody, so that one which swallows a cancellation holds up nobody.

    Args:
        store: where the states go.
        clock: the control loop's.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        # Ours never blocks, and may live on the control loop: the way to another thread would cost each start 0.1 ms.
        self._loop = None if type(store) is MemoryStore else ControlLoop(clock, "store")
        self._identity: HostIdentity | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[PluginStates] | None = None

    @property
    def claimed(self) -> bool:
        """Whether there is an id to give back."""
        return self._identity is not None

    async def save(self, plugin: str, version: str, value: bytes) -> None:
        """Keep what a version of a plugin leaves."""
        states = await self._claimed()
        await self._answered(partial(states.save, plugin, version, value))

    async def latest(self, plugin: str) -> bytes | None:
        """Give what was saved last, or None."""
        states = await self._claimed()
        return await self._answered(partial(states.latest, plugin))

    async def forget(self, plugin: str) -> int:
        """Delete everything that a plugin has left; give how many versions had left something."""
        states = await self._claimed()
        return await self._answered(partial(states.forget, plugin))

    @property
    def store(self) -> Store:
        """Where the states go; to be asked on its own loop alone."""
        return self._store

    @property
    def loop(self) -> ControlLoop | None:
        """The store's own loop; None for one that may live on the control loop."""
        return self._loop

    @property
    def lasting(self) -> bool:
        """Whether the store outlives this process."""
        return type(self._store) is not MemoryStore

    async def ask(self, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Ask the store for something that is no state of a plugin; what it raises is as for states."""
        return await self._answered(lambda: ask(self._store))

    async def release(self) -> None:
        """Give the id back: the host stops, and whoever claims it next finds its states."""
        identity, keeping = self._identity, self._keeping
        self._identity = self._keeping = self._claiming = None
        if keeping is not None:
            keeping.cancel()
        if identity is not None:
            await self._answered(identity.lease.release)

    def close(self, timeout: float) -> None:
        """End the store's loop; for any thread.

        Args:
            timeout: seconds to wait for what still runs on it.
        """
        if self._loop is not None:
            self._loop.close(timeout)

    async def _claimed(self) -> "PluginStates":
        # One claim for all that ask at once: two would be two hosts.
        if self._claiming is None or (self._claiming.done() and _failed(self._claiming)):
            self._claiming = asyncio.get_running_loop().create_task(self._claim())
        return await asyncio.shield(self._claiming)

    async def _claim(self) -> "PluginStates":
        from jackfield.plugins.state import PluginStates  # noqa: PLC0415  # for those who have states
        from jackfield.store import claim_host_id  # noqa: PLC0415  # as above

        self._identity = identity = await self._answered(partial(claim_host_id, self._store))
        self._keeping = asyncio.get_running_loop().create_task(self._keep(identity))
        return PluginStates(self._store, identity.id)

    async def _keep(self, identity: "HostIdentity") -> None:
        from jackfield.store import keep_lease  # noqa: PLC0415  # as in `_claim`

        try:
            await self._begin(partial(keep_lease, identity.lease))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # the store is somebody else's, and this task nobody's
            host_log("WARNING", f"the host lost its id {identity.id}, and claims another when it needs one", error)
            self._identity = self._keeping = self._claiming = None

    async def _answered(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await the store, for so long.

        Raises:
            Unavailable: when it does not answer in time, or raises what would end its loop.
            Exception: whatever else it raises.
        """
        answer = self._begin(ask)
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

    def _begin(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Future[T]":
        if self._loop is None:
            return asyncio.get_running_loop().create_task(_contained(ask))
        return asyncio.wrap_future(self._loop.submit(_contained(ask)))


def _failed(task: "asyncio.Task[PluginStates]") -> bool:
    return task.cancelled() or task.exception() is not None


async def _contained(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return await ask()  # made here: a loop that is blocked until it ends begins nothing any more
    except (asyncio.CancelledError, GeneratorExit, Exception):
        raise
    except BaseException as error:  # a `SystemExit` in a task would end the loop
        raise Unavailable("store", f"it raised {error_type(error)}") from error
