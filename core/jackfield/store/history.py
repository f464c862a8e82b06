"""The newest writes of a store, kept for those who watch: bounded in number and in bytes."""

from collections import deque
from itertools import islice
from typing import Final

from jackfield.errors import StoreCompacted
from jackfield.model.keys import within
from jackfield.ports import StoreEvent

EVENTS: Final = 1000
"""The most writes that are kept."""

SIZE: Final = 524_288
"""The most bytes that their values have together: what was deleted must not live on here for long."""


class History:
    """Has every write from `oldest`, exclusive, to `newest`; their revisions have no gaps. Its owner locks it.

    Examples:
        >>> history = History()
        >>> history.add(StoreEvent("a/b", 1, b"1"))
        >>> history.add(StoreEvent("c", 2, b"2"))
        >>> [event.key for event in history.after(0, "a/")]
        ['a/b']
    """

    def __init__(self) -> None:
        self.oldest = 0
        self.newest = 0
        self._events: deque[StoreEvent] = deque()
        self._size = 0

    def add(self, event: StoreEvent) -> None:
        """Note the next write, and let the oldest go that are beyond the bounds.

        Args:
            event: its revision is the next after `newest`.
        """
        self._events.append(event)
        self._size += len(event.value or b"")
        self.newest = event.revision
        while len(self._events) > EVENTS or self._size > SIZE:
            gone = self._events.popleft()
            self._size -= len(gone.value or b"")
            self.oldest = gone.revision

    def after(self, since: int, prefix: str) -> tuple[StoreEvent, ...]:
        """Give the writes under a prefix after a revision.

        Args:
            since: the revision.
            prefix: a good one.

        Raises:
            StoreCompacted: if not all of them are kept, or there is no such revision yet.
        """
        if not self.oldest <= since <= self.newest:
            raise StoreCompacted(since, self.oldest, self.newest)
        later = islice(self._events, since - self.oldest, None)
        return tuple(event for event in later if within(event.key, prefix))
