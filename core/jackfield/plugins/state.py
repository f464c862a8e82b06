"""Stub until the store lands."""


class PluginStates:
    """Keeps states in memory."""

    def __init__(self, _store: object, _host: str) -> None:
        self._kept: dict[str, bytes] = {}

    async def save(self, plugin: str, version: str, value: bytes) -> None:  # noqa: ARG002
        """Keep."""
        self._kept[plugin] = value

    async def latest(self, plugin: str) -> bytes | None:
        """Give."""
        return self._kept.get(plugin)

    async def forget(self, plugin: str) -> int:
        """Forget."""
        return int(self._kept.pop(plugin, None) is not None)
