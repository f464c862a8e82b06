"""The states of plugins under the id of their host, which is claimed when the first state is needed."""

import asyncio

from jackfield.errors import JackfieldError
from jackfield.log import host_log
from jackfield.plugins.state import PluginStates
from jackfield.ports import Store
from jackfield.store import HostIdentity, claim_host_id, keep_lease


class ClaimedStates:
    """Keeps states as `PluginStates` does. It belongs to the control loop.

    A host without plugin objects claims nothing, and asks its store for nothing.

    Args:
        store: where the states go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._identity: HostIdentity | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[PluginStates] | None = None

    @property
    def claimed(self) -> bool:
        """Whether there is an id to give back."""
        return self._identity is not None

    async def save(self, plugin: str, version: str, value: bytes) -> None:
        """Keep what a version of a plugin leaves."""
        await (await self._claimed()).save(plugin, version, value)

    async def latest(self, plugin: str) -> bytes | None:
        """Give what was saved last, or None."""
        return await (await self._claimed()).latest(plugin)

    async def forget(self, plugin: str) -> int:
        """Delete everything that a plugin has left; give how many versions had left something."""
        return await (await self._claimed()).forget(plugin)

    async def release(self) -> None:
        """Give the id back: the host stops, and whoever claims it next finds its states."""
        identity, keeping = self._identity, self._keeping
        self._identity = self._keeping = self._claiming = None
        if keeping is not None:
            keeping.cancel()
        if identity is not None:
            await identity.lease.release()

    async def _claimed(self) -> PluginStates:
        # One claim for all that ask at once: two would be two hosts.
        if self._claiming is None or (self._claiming.done() and _failed(self._claiming)):
            self._claiming = asyncio.get_running_loop().create_task(self._claim())
        return await asyncio.shield(self._claiming)

    async def _claim(self) -> PluginStates:
        self._identity = identity = await claim_host_id(self._store)
        self._keeping = asyncio.get_running_loop().create_task(self._keep(identity))
        return PluginStates(self._store, identity.id)

    async def _keep(self, identity: HostIdentity) -> None:
        try:
            await keep_lease(identity.lease)
        except JackfieldError as error:
            host_log("WARNING", f"the host lost its id {identity.id}, and claims another when it needs one: {error}")
            self._identity = self._keeping = self._claiming = None


def _failed(task: "asyncio.Task[PluginStates]") -> bool:
    return task.cancelled() or task.exception() is not None
