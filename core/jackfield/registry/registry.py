"""The registry: one reference to the current immutable snapshot, replaced by compare-and-swap.

Readers read one attribute. They take no lock, never wait for a writer, and never see half a transaction: a swap is one
store, atomic under the GIL and in free-threaded builds. Writers do not wait for each other either: each works out its
change from the state that it has read, and appends it to a chain if that state is still the last; else it works it out
again. So nobody's code ever runs under a lock of the registry, and a change that interrupts another one of its own
thread comes before it or after it, and overwrites nothing.
"""

import threading
from typing import Any, Final

import attrs

from jackfield.log import host_log
from jackfield.model.atomic import Link
from jackfield.model.gate import Gate
from jackfield.model.route import Endpoint
from jackfield.model.snapshot import Snapshot
from jackfield.ports import Observer
from jackfield.registry.change import Expectation

HISTORY: Final = 16
_PATIENCE: Final = 1.0  # seconds to wait for a thread that was interrupted while it makes a change visible
_NOT_STARTED: Final = "the host is not started: use `with host:` or `host.start()`"


@attrs.frozen(eq=False)
class Wiring:
    """What endpoints are compiled against, but for the injector; a new one means that they are to be compiled anew.

    Attributes:
        running: whether calls are let in.
        refusal: why not, when they are not.
        watchers: `name@version` → who else sees its calls.
    """

    running: bool = False
    refusal: str = _NOT_STARTED
    watchers: dict[str, Observer] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class State:
    """All that a change starts from.

    Attributes:
        snapshot: the current one.
        history: those of earlier revisions that are kept, oldest first.
        wiring: what its endpoints are compiled against.
        expectations: the extension points.
        left: gates of endpoints that were compiled anew while calls were inside.
    """

    snapshot: Snapshot = attrs.field(factory=Snapshot)
    history: tuple[Snapshot, ...] = ()
    wiring: Wiring = attrs.field(factory=Wiring)
    expectations: tuple[Expectation, ...] = ()
    left: tuple[Gate, ...] = ()

    @property
    def kept(self) -> tuple[Snapshot, ...]:
        """The snapshots that a rollback can reach, oldest first; the last is the current one."""
        return (*self.history, self.snapshot)

    def followed_by(self, snapshot: Snapshot) -> "State":
        """Give the state with another snapshot, which is a new revision or the same one in other words."""
        history = self.history if snapshot.revision == self.snapshot.revision else self.kept[1 - HISTORY :]
        return attrs.evolve(self, snapshot=snapshot, history=history)


@attrs.define(eq=False)
class Commit:
    """One step of the registry, and what is to be told of it.

    Attributes:
        state: the state that it makes.
        retired: the endpoints that it replaces, until they are closed.
        hooks: the hooks to call, with their arguments, until they have been called.
        events: what to announce, until it has been.
        announcement: what to wait for, once it is announced.
    """

    state: State
    retired: tuple[Endpoint, ...] = ()
    hooks: tuple[tuple[str, dict[str, Any]], ...] = ()
    events: tuple[object, ...] = ()
    announcement: Any = None


class Registry:
    """Holds the current snapshot and the last few before it.

    Attributes:
        snapshot: the current one. Read it once and use what it gave: the whole call then sees one revision. "Lock-free"
            is a promise to readers of this attribute.
        shown: the commit that it is of.
    """

    def __init__(self) -> None:
        self.shown = Link(Commit(State()))
        self.snapshot = self.shown.value.state.snapshot
        # Re-entrant, held for one store of an attribute: a thread that is interrupted there must not wait for itself.
        self._lock = threading.RLock()
        self._showing = False

    @property
    def last(self) -> Link[Commit]:
        """The end of the chain: the state of now, which a moment later is the visible one, too."""
        return self.shown.last()

    @property
    def state(self) -> State:
        """The state of now."""
        return self.last.value.state

    @property
    def revisions(self) -> tuple[int, ...]:
        """The revisions that are kept, oldest first; the last is the current one."""
        return tuple(snapshot.revision for snapshot in self.state.kept)

    def commit(self, before: Link[Commit], commit: Commit) -> Link[Commit] | None:
        """Make a change the next one, if nothing has changed since.

        Args:
            before: what the change was worked out from.
            commit: what follows.

        Returns:
            Its place in the chain, and it is visible; None if something else came first.
        """
        link = before.append(commit)
        if link is not None:
            self._show()
        return link

    def _show(self) -> None:
        """Make the last state the visible one, and let no more calls into what it replaces.

        A change from within this very thread, by a signal handler or a finalizer, leaves it to the one that it has
        interrupted: older never overwrites newer.
        """
        while self.shown.following is not None:
            if not self._lock.acquire(timeout=_PATIENCE):
                host_log("WARNING", "a thread was interrupted while it made a change visible, and has not come back")
                return
            try:
                if self._showing:
                    return
                self._showing = True
                try:
                    self._advance()
                finally:
                    self._showing = False
            finally:
                self._lock.release()

    def _advance(self) -> None:
        while (link := self.shown.following) is not None:
            retired = list(link.value.retired)
            while (later := link.following) is not None:
                link = later
                retired += link.value.retired
            self.snapshot = link.value.state.snapshot
            for endpoint in retired:
                endpoint.gate.retired = True
            self.shown = link
