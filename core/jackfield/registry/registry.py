"""The registry: one reference to the current immutable snapshot.

Readers read one attribute. They take no lock, never wait for a writer, and never see half a transaction: a swap is one
store, atomic under the GIL and in free-threaded builds. Writers serialise on the write side of a read-write lock;
readers of several things that must belong together (state dumps, the history) take its read side.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jackfield.model.route import Route
from jackfield.model.snapshot import Snapshot

HISTORY = 16


class RWLock:
    """A lock for many readers or one writer; waiting writers come before new readers, so that swaps are not starved.

    A thread may take the read side inside the write side, and either side again inside itself.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._depth = 0
        self._waiting = 0

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold the read side."""
        me = threading.get_ident()
        with self._condition:
            inside = self._writer == me or me in self._readers
            while not inside and (self._writer is not None or self._waiting):
                self._condition.wait()
                inside = self._writer == me
            self._readers[me] = self._readers.get(me, 0) + 1
        try:
            yield
        finally:
            with self._condition:
                self._readers[me] -= 1
                if not self._readers[me]:
                    del self._readers[me]
                    self._condition.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the write side.

        Raises:
            RuntimeError: if this thread holds the read side alone: waiting for itself would be a deadlock.
        """
        me = threading.get_ident()
        with self._condition:
            if self._writer != me:
                if me in self._readers:
                    raise RuntimeError("the read side of the registry's lock is held here: release it before writing")
                self._waiting += 1
                try:
                    self._condition.wait_for(lambda: self._writer is None and not self._readers)
                finally:
                    self._waiting -= 1
                self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._condition:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self._condition.notify_all()


class Registry:
    """Holds the current snapshot and the last few before it.

    Attributes:
        snapshot: the current one. Read it once and use what it gave: the whole call then sees one revision. "Lock-free"
            is a promise to readers of this attribute.
    """

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self._lock = RWLock()
        self._history: deque[Snapshot] = deque([self.snapshot], maxlen=HISTORY)

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Hold writers off while several things are read that must belong together."""
        with self._lock.read():
            yield self.snapshot

    @contextmanager
    def writing(self) -> Iterator[Snapshot]:
        """Hold off every other writer, from reading the state that a change starts from to the swap."""
        with self._lock.write():
            yield self.snapshot

    def swap(self, routes: dict[str, Route]) -> Snapshot:
        """Make a new revision current. Only inside `writing()`.

        Args:
            routes: all routes of the new revision; it belongs to the registry from now on.

        Returns:
            The new snapshot.
        """
        snapshot = Snapshot(self.snapshot.revision + 1, routes)
        self._history.append(snapshot)
        self.snapshot = snapshot
        return snapshot

    def revision(self, number: int) -> Snapshot | None:
        """Give a snapshot by its revision, if it is still kept."""
        with self._lock.read():
            return next((snapshot for snapshot in self._history if snapshot.revision == number), None)

    @property
    def revisions(self) -> tuple[int, ...]:
        """The revisions that are kept, oldest first; the last is the current one."""
        with self._lock.read():
            return tuple(snapshot.revision for snapshot in self._history)

    def purge(self, keep: Callable[[Route], Route | None]) -> None:
        """Rewrite the history so that nothing in it refers to an unloaded plugin. Only inside `writing()`.

        Args:
            keep: gives the route to keep instead, the same or with fewer versions, or None for none.
        """
        for index, snapshot in enumerate(self._history):
            kept = {name: route for name, old in snapshot.functions.items() if (route := keep(old)) is not None}
            purged = Snapshot(snapshot.revision, kept)
            self._history[index] = purged
        self.snapshot = self._history[-1]
