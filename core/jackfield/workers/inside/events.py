"""The event bus as a worker has it: what is published goes to the host, and what is subscribed to comes from there."""

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from jackfield.events import WhenFull
from jackfield.events.values import event_name, flatten, rebuild, seal
from jackfield.stack import public_name
from jackfield.strangers import is_a, named
from jackfield.wire.crossing import unpack
from jackfield.workers.inside.link import Link

E = TypeVar("E")


class WorkerBus:
    """Publishes and subscribes for the plugin of this worker, within its grants."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._handlers: dict[str, tuple[type, Callable[[Any], object]]] = {}
        self._named: Counter[str] = Counter()
        self.ending = False  # whether the plugin is being stopped here: the other workers go on

    def publish(self, event: object) -> int:
        """Send an event to its subscribers, wherever they are; as `EventBus.publish`."""
        return int(self._link.ask("publish", _written(event), "events"))

    async def apublish(self, event: object) -> int:
        """Do the same inside an event loop."""
        return int(await self._link.aask("publish", _written(event), "events"))

    def subscribe(
        self,
        event_type: type[E],
        handler: Callable[[E], object],
        *,
        queue: int = 1024,
        when_full: WhenFull = "block",
        timeout: float = 1.0,
    ) -> "WorkerSubscription":
        """Have a handler called for every event of a type, in one of the plugin's workers; as `EventBus.subscribe`.

        Whoever has a type of the same name publishes such events, in the host or in another plugin's worker.
        """
        if not is_a(event_type, type):
            raise TypeError(f"subscribe to a class of events, not to {named(event_type)}")
        if not callable(handler):
            raise TypeError(f"the handler of {event_name(event_type)} cannot be called: {named(handler)}")
        name = public_name(event_type)
        key = f"{name} {getattr(handler, '__module__', '')}.{getattr(handler, '__qualname__', type(handler).__name__)}"
        self._named[key] += 1
        key = f"{key} {self._named[key]}"  # the same in each worker: all of them subscribe in the same order
        self._handlers[key] = event_type, handler
        try:
            self._link.ask("subscribe", [key, name, queue, when_full, timeout], "events")
        except BaseException:
            self._handlers.pop(key, None)
            raise
        return WorkerSubscription(self, key)

    def take(self, key: str, data: bytes | None) -> tuple[bool, Any]:
        """Handle an event of the host; give whether there is a handler, and what it gave, which may be awaitable."""
        event_type, handler = self._handlers.get(key, (None, None))
        if handler is None or event_type is None or data is None:
            return False, None
        return True, handler(rebuild(unpack(data), event_type))

    def cancel(self, key: str) -> None:
        """End a subscription; while the plugin stops here, only this worker's part of it."""
        if self._handlers.pop(key, None) is not None and not self.ending:
            self._link.ask("unsubscribe", [key], "events")

    def count(self, key: str) -> list[Any]:
        """Give what the host counts of a subscription: delivered, pending, failed, dropped, lagging."""
        counts: list[Any] = self._link.ask("subscription", [key], "events") or [0, 0, 0, 0, False]
        return counts


class WorkerSubscription:
    """One handler's subscription in a worker; as `Subscription`.

    Args:
        bus: the worker's.
        key: its key.
    """

    def __init__(self, bus: WorkerBus, key: str) -> None:
        self._bus, self._key = bus, key

    def cancel(self) -> None:
        """End the subscription; cancelling again does nothing."""
        self._bus.cancel(self._key)

    @property
    def delivered(self) -> int:
        """How many events the handler returned from."""
        return int(self._bus.count(self._key)[0])

    @property
    def pending(self) -> int:
        """How many events wait in the queue."""
        return int(self._bus.count(self._key)[1])

    @property
    def failed(self) -> int:
        """How many events the handler raised for."""
        return int(self._bus.count(self._key)[2])

    @property
    def dropped(self) -> int:
        """How many published events were lost to a full queue."""
        return int(self._bus.count(self._key)[3])

    @property
    def lagging(self) -> bool:
        """Whether somebody waited for it in vain, and it has not caught up yet."""
        return bool(self._bus.count(self._key)[4])

    def __enter__(self) -> Self:
        """Give the subscription."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _stack: TracebackType | None
    ) -> None:
        """Cancel it."""
        self.cancel()


def _written(event: object) -> list[Any]:
    seal(event)  # what cannot be published is refused as in the host, with the path
    return [public_name(type(event)), flatten(event)]
