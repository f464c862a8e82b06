"""The states of plugins under the id of their host, which is claimed when the first state is needed."""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.plugins.state import PluginStates
    from jackfield.store.hosted import HostStore


class ClaimedStates:
    """Keeps states as `PluginStates` does. It belongs to the control loop.

    A host without plugin objects claims nothing, and asks its store for nothing.

    Args:
        kept: the host's store.
    """

    def __init__(self, kept: "HostStore") -> None:
        self._kept = kept

    async def save(self, plugin: str, version: str, value: bytes) -> None:
        """Keep what a version of a plugin leaves."""
        states = await self._claimed()
        await self._kept.answered(partial(states.save, plugin, version, value))

    async def latest(self, plugin: str) -> bytes | None:
        """Give what was saved last, or None."""
        states = await self._claimed()
        return await self._kept.answered(partial(states.latest, plugin))

    async def forget(self, plugin: str) -> int:
        """Delete everything that a plugin has left; give how many versions had left something."""
        states = await self._claimed()
        return await self._kept.answered(partial(states.forget, plugin))

    async def _claimed(self) -> "PluginStates":
        from jackfield.plugins.state import PluginStates  # noqa: PLC0415  # for those who have states

        identity = await self._kept.identity()
        return PluginStates(self._kept.store, identity.id)
