"""The states of plugins in the store: what one instance leaves to the next.

They stand under the host's id and the plugin's name, one for each version of the plugin that has left one, as in
`hosts/blue-1/state/billing/1.4.0`; the last few versions only, and none once the plugin is unloaded. Which was left
last is told by the revision of the write, not by the number of the version: a plugin may go back to an older one.
"""

from typing import Final
from urllib.parse import quote

from jackfield.ports import Store, Stored

KEPT: Final = 3
"""How many versions of a plugin's state are kept."""


class PluginStates:
    """Saves, gives back and forgets the states of one host's plugins.

    The verbs of one plugin follow one another: whoever supervises it awaits each. Those of different plugins, and of
    different hosts on one store, do not touch one another.

    Args:
        store: where the states go.
        host_id: whose plugins they are; from `claim_host_id`.

    Examples:
        >>> import asyncio
        >>> from jackfield.store import MemoryStore
        >>> async def replace(states: PluginStates) -> None:
        ...     await states.save("billing", "1.0", b"old")
        ...     await states.save("billing", "1.1", b"new")
        ...     print(await states.latest("billing"))
        ...     await states.forget("billing")
        ...     print(await states.latest("billing"))
        >>> asyncio.run(replace(PluginStates(MemoryStore(), "blue-1")))
        b'new'
        None
    """

    def __init__(self, store: Store, host_id: str) -> None:
        self._store = store
        self._prefix = f"hosts/{host_id}/state/"

    async def save(self, plugin: str, version: str, value: bytes) -> None:
        """Keep what a version of a plugin leaves, and no more than the last few.

        Args:
            plugin: its name.
            version: which left it; what it had left before is replaced.
            value: the state.

        Raises:
            ValueError: if it is larger than a store takes.
        """
        await self._store.put(f"{self._under(plugin)}{_segment(version)}", value)
        # The new one stands before an old one goes: whoever is killed in between leaves one too many, not one too few.
        for key, stored in (await self._newest_first(plugin))[KEPT:]:
            await self._store.delete(key, expected=stored.revision)

    async def latest(self, plugin: str) -> bytes | None:
        """Give what was saved last, whichever version left it.

        Args:
            plugin: its name.

        Returns:
            The state; None if there is none.
        """
        found = await self._newest_first(plugin)
        return found[0][1].value if found else None

    async def forget(self, plugin: str) -> int:
        """Delete everything that a plugin has left: it was unloaded.

        Args:
            plugin: its name.

        Returns:
            How many versions had left something.
        """
        found = await self._newest_first(plugin)
        for key, _ in found:
            await self._store.delete(key)
        return len(found)

    async def _newest_first(self, plugin: str) -> list[tuple[str, Stored]]:
        entries = (await self._store.range(self._under(plugin))).entries
        return sorted(entries.items(), key=lambda entry: entry[1].revision, reverse=True)

    def _under(self, plugin: str) -> str:
        return f"{self._prefix}{_segment(plugin)}/"


def _segment(text: str) -> str:
    """Make one segment of a key of a name: those that metadata gives may have anything in them."""
    quoted = quote(text, safe="+!@", errors="surrogatepass")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")
