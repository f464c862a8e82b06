"""The events that a host announced lately, and those to come."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Any, Final

import attrs

from jackfield.control import IDLE
from jackfield.errors import Fault
from jackfield.events import EventBus, HostEvent
from jackfield.model.spec import FunctionSpec

KEPT: Final = 256
_BEHIND: Final = 1_024  # events that may wait for one follower
_BEAT: Final = 1.0  # seconds after which a follower that has left is noticed


class RecentEvents:
    """Keeps the last events of functions, routes and plugins, and hands each on to whoever follows.

    Only what the host itself announces: what plugins publish among themselves is theirs.

    Args:
        bus: the host's.
    """

    def __init__(self, bus: EventBus) -> None:
        self._lock = threading.Lock()
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._followers: dict[Queue[dict[str, Any]], int] = {}
        bus.subscribe(HostEvent, self._take)

    def read(self, follow: bool = False) -> Iterator[Any]:
        """Give the events that are kept, oldest first; then, if asked to, each further one.

        Args:
            follow: go on. `IDLE` comes about once a second when nothing happens, and `{"event": "lost"}` with a `count`
                when this follower was too slow for some.
        """
        queue: Queue[dict[str, Any]] = Queue(_BEHIND)
        with self._lock:
            kept = list(self._kept)
            if follow:
                self._followers[queue] = 0
        return self._follow(kept, queue) if follow else iter(kept)

    def _follow(self, kept: list[dict[str, Any]], queue: "Queue[dict[str, Any]]") -> Iterator[Any]:
        try:
            yield from kept
            while True:
                try:
                    yield queue.get(timeout=_BEAT)
                except Empty:
                    yield IDLE
                with self._lock:
                    lost, self._followers[queue] = self._followers[queue], 0
                if lost:
                    yield {"at": time.time(), "event": "lost", "count": lost}
        finally:
            with self._lock:
                self._followers.pop(queue, None)

    def _take(self, event: HostEvent) -> None:
        row = _shown(event)
        with self._lock:
            self._kept.append(row)
            for queue in self._followers:
                try:
                    queue.put_nowait(row)
                except Full:
                    self._followers[queue] += 1


def _shown(event: HostEvent) -> dict[str, Any]:
    """Give an event as plain data: of a function its key and plugin, of a fault its fields."""
    row: dict[str, Any] = {"at": time.time(), "event": type(event).__name__}
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if isinstance(value, FunctionSpec):
            row |= {"function": value.key, "plugin": value.plugin}
        else:
            row[field.name] = attrs.asdict(value) if isinstance(value, Fault) else value
    return row
