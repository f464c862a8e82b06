"""What the workers of one plugin publish, and subscribe to: within its grants, by the names of types."""

from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from jackfield.errors import PermissionDenied, ResourceExhausted, Unavailable
from jackfield.events import EventBus, Subscription
from jackfield.events.values import flatten
from jackfield.model.grants import Grants
from jackfield.text import printable
from jackfield.wire.crossing import pack, shown

MOST: Final = 1000
"""How many subscriptions the workers of one plugin may have."""


class WorkerEvents:
    """The host's bus as the workers of one plugin have it.

    Args:
        plugin: its name.
        bus: the host's.
        grants: which types of others it may publish and subscribe to.
        own: its own top-level modules, whose types need no grant.

    Attributes:
        deliver: has a worker handle an event: a subscription's key, and the event as it crosses.
    """

    deliver: Callable[[str, bytes], None]

    def __init__(self, plugin: str, bus: EventBus, grants: Grants, own: Collection[str]) -> None:
        self._plugin, self._bus, self._grants, self._own = plugin, bus, grants, frozenset(own)
        self._kept: dict[str, Subscription] = {}

    def publish(self, body: Any) -> int:
        """Send an event to its subscribers."""
        name, data = self._event(body)
        return self._bus.relay(name, data)

    async def apublish(self, body: Any) -> int:
        """Do the same on an event loop."""
        name, data = self._event(body)
        return await self._bus.arelay(name, data)

    def subscribed(self, kind: str, body: Any) -> Any:
        """Begin a subscription, end one, or give the counts of one.

        Each worker subscribes when it starts, and all mean the same subscription: one of them gets an event.
        """
        if not isinstance(body, list) or not body or not isinstance(body[0], str):
            raise self._nonsense()
        key, *rest = body
        if kind == "subscribe":
            return self._subscribe(key, rest)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kind == "unsubscribe":
            del self._kept[key]
            kept.cancel()
            return None
        stats = kept.stats()
        return [stats.delivered, stats.pending, stats.failed, stats.dropped, stats.lagging]

    def close(self) -> None:
        """End all subscriptions: the plugin is being stopped, and subscribes anew when it starts."""
        while self._kept:
            _, kept = self._kept.popitem()
            kept.cancel()

    def _subscribe(self, key: str, rest: list[Any]) -> None:
        if len(rest) != 4 or not isinstance(rest[0], str):  # noqa: PLR2004  # as the worker's bus writes it
            raise self._nonsense()
        name, queue, when_full, timeout = rest
        self._require("subscribe", name, self._grants.subscribe)
        if key in self._kept and self._kept[key].active:
            return
        if len(self._kept) >= MOST:
            raise ResourceExhausted("events", f"the plugin {self._plugin} has {MOST} subscriptions, the most allowed")
        self._kept[key] = self._bus.subscribe(
            self._bus.standin(name),
            partial(self._handle, key),
            queue=queue,
            when_full=when_full,
            timeout=timeout,
            plugin=self._plugin,
        )

    def _handle(self, key: str, event: object) -> None:
        try:
            data = pack(flatten(event))
        except TypeError:  # one of the host's own, which have what stays here
            data = pack(shown(event))
        self.deliver(key, data)

    def _event(self, body: Any) -> tuple[str, Any]:
        if not isinstance(body, list) or len(body) != 2 or not isinstance(body[0], str):  # noqa: PLR2004  # as above
            raise self._nonsense()
        name, data = body
        if not isinstance(data, dict):
            raise self._nonsense()
        self._require("publish", name, self._grants.publish)
        return name, data

    def _require(self, verb: str, name: str, patterns: tuple[str, ...]) -> None:
        if name.partition(".")[0] in self._own or any(fnmatchcase(name, pattern) for pattern in patterns):
            return
        what = printable(name[:200])
        fix = f'allow = ["{verb}:{what}"] under [plugin.worker] of {self._plugin} lets it'
        raise PermissionDenied(f"event {what}", f"the plugin {self._plugin} may not {verb} it from its worker: {fix}")

    def _nonsense(self) -> Unavailable:
        return Unavailable(self._plugin, "it asked of the event bus what is none", "protocol")
