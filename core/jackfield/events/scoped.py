"""The bus as a plugin gets it injected: what it subscribes is counted to it, so that unloading it cancels all of it."""

from collections.abc import Callable
from typing import TypeVar

from jackfield.events.bus import EventBus
from jackfield.events.mailbox import WhenFull
from jackfield.events.subscription import Subscription

E = TypeVar("E")


class PluginBus:
    """Subscribes and publishes for one plugin; made for the plugin that asks for an `EventBus`.

    Args:
        bus: the host's bus.
        plugin: whose subscriptions they are.
    """

    def __init__(self, bus: EventBus, plugin: str) -> None:
        self._bus = bus
        self._plugin = plugin

    def subscribe(
        self,
        event_type: type[E],
        handler: Callable[[E], object],
        *,
        queue: int = 1024,
        when_full: WhenFull = "block",
        timeout: float = 1.0,
    ) -> Subscription:
        """Have a handler called for every event of a type; arguments and errors as for `EventBus.subscribe`."""
        return self._bus.subscribe(
            event_type, handler, queue=queue, when_full=when_full, timeout=timeout, plugin=self._plugin
        )

    def publish(self, event: object) -> int:
        """Send an event to its subscribers; as `EventBus.publish`."""
        return self._bus.publish(event)

    async def apublish(self, event: object) -> int:
        """Do the same inside an event loop; as `EventBus.apublish`."""
        return await self._bus.apublish(event)
