"""What a plugin acquired through its host, and giving all of it back."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import Any, Protocol, runtime_checkable

import attrs

from jackfield.errors import Fault
from jackfield.log import host_log
from jackfield.plugins.instance import fault_of
from jackfield.strangers import is_interrupt

_REFERRERS = 3


@runtime_checkable
class Living(Protocol):
    """Something that tells whether it has ended: a thread, a process, background work."""

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        ...


@attrs.frozen(eq=False)
class Entry:
    """One thing that a plugin holds.

    Attributes:
        kind: what it is, as in `function` or `subscription`.
        label: which one, for people.
        release: gives it back; called at most once.
        probe: tells afterwards whether it is still there: a weak reference, or what has `is_alive`.
    """

    kind: str
    label: str
    release: Callable[[], object]
    probe: "weakref.ref[Any] | Living | None" = None


@attrs.frozen
class Survivor:
    """Something that is still there after all was released.

    Attributes:
        kind: what it is.
        label: which one.
        held_by: the types of a few objects that refer to it, as far as the garbage collector can tell; for a thread
            or other work none: it holds itself.
    """

    kind: str
    label: str
    held_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name it and what holds it."""
        held = f", held by {', '.join(self.held_by)}" if self.held_by else ""
        return f"{self.kind} {self.label}{held}"


def _read_only(counts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(counts))


@attrs.frozen
class UnloadReport:
    """What unloading a plugin gave back, and what it could not.

    Attributes:
        plugin: its name.
        released: kind → how many of it were given back.
        failed: what raised while it was given back, and what went wrong while the plugin stopped.
        survivors: what is still there.
    """

    plugin: str
    released: Mapping[str, int] = attrs.field(factory=dict, converter=_read_only)
    failed: tuple[Fault, ...] = ()
    survivors: tuple[Survivor, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing failed and nothing is left."""
        return not (self.failed or self.survivors)

    def __str__(self) -> str:
        """Render the report, one thing a line."""
        released = ", ".join(f"{number} {kind}" for kind, number in sorted(self.released.items())) or "nothing"
        lines = [f"{self.plugin}: released {released}"]
        lines += [f"failed: {fault}" for fault in self.failed]
        lines += [f"still there: {survivor}" for survivor in self.survivors]
        return "\n  ".join(lines)


class Ledger:
    """Everything that one plugin acquired through its host, in the order in which it did.

    Safe to use from any thread.

    Args:
        plugin: whose it is.

    Examples:
        >>> ledger = Ledger("billing")
        >>> _ = ledger.record("function", "billing.charge@1", lambda: None)
        >>> entry = ledger.record("subscription", "OrderPlaced", lambda: None)
        >>> ledger.forget(entry), dict(ledger.counts)
        (True, {'function': 1})
        >>> print(ledger.release_all())
        billing: released 1 function
    """

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        # Reentrant: the garbage collector may run a finalizer that gives something back, at any line.
        self._lock = threading.RLock()
        self._entries: dict[Entry, None] = {}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What it holds at this moment, oldest first."""
        with self._lock:
            return tuple(self._entries)

    @property
    def counts(self) -> Mapping[str, int]:
        """Kind → how many of it the plugin holds at this moment."""
        return MappingProxyType(dict(Counter(entry.kind for entry in self.entries)))

    def record(self, kind: str, label: str, release: Callable[[], object], probe: object | None = None) -> Entry:
        """Note that the plugin has acquired something.

        Args:
            kind: what it is.
            label: which one.
            release: gives it back.
            probe: what must be gone once everything was released: an object, of which only a weak reference is kept, or
                something with `is_alive`, such as a thread.

        Returns:
            The entry, for `forget`.

        Raises:
            TypeError: if the probe can be neither asked nor weakly referred to.
        """
        kept = probe if probe is None or isinstance(probe, weakref.ref | Living) else weakref.ref(probe)
        entry = Entry(kind, label, release, kept)
        with self._lock:
            self._entries[entry] = None
        return entry

    def forget(self, entry: Entry) -> bool:
        """Take out what the plugin has given back by itself.

        Args:
            entry: as `record` gave it.

        Returns:
            Whether it was there.
        """
        with self._lock:
            if entry not in self._entries:
                return False
            del self._entries[entry]
            return True

    def release_all(self) -> UnloadReport:
        """Give everything back, the latest first; one that raises does not keep the others.

        Returns:
            What was given back, what failed, and what is still there afterwards.
        """
        released: Counter[str] = Counter()
        failed: list[Fault] = []
        probes: list[tuple[str, str, weakref.ref[Any] | Living]] = []
        while (entry := self._pop()) is not None:
            try:
                entry.release()
            except BaseException as error:
                if is_interrupt(error):
                    raise
                label = f"{entry.kind} {entry.label}"
                fault = fault_of(error, "unload", self.plugin, f"releasing {label}")
                failed.append(attrs.evolve(fault, entry=label, fix=""))
                host_log("ERROR", failed[-1])
            else:
                released[entry.kind] += 1
            if entry.probe is not None:
                probes.append((entry.kind, entry.label, entry.probe))
        del entry
        return UnloadReport(self.plugin, released, tuple(failed), _survivors(probes))

    def _pop(self) -> Entry | None:
        with self._lock:
            return self._entries.popitem()[0] if self._entries else None


class Ledgers:
    """The ledger of each plugin of a host, made when it is first asked for."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    def of(self, plugin: str) -> Ledger:
        """Give the ledger of a plugin, in which the host notes what the plugin acquires."""
        ledger = self._ledgers.get(plugin)
        return ledger if ledger is not None else self._ledgers.setdefault(plugin, Ledger(plugin))


def _survivors(probes: list[tuple[str, str, "weakref.ref[Any] | Living"]]) -> tuple[Survivor, ...]:
    if any(isinstance(probe, weakref.ref) for _, _, probe in probes):
        gc.collect()
    found = []
    for kind, label, probe in reversed(probes):
        if isinstance(probe, weakref.ref):
            if probe() is not None:
                found.append(Survivor(kind, label, _holders(probe)))
        elif probe.is_alive():
            found.append(Survivor(kind, label))
    return tuple(found)


def _holders(probe: "weakref.ref[Any]") -> tuple[str, ...]:
    referrers = gc.get_referrers(probe())
    names = [
        getattr(type(each), "__qualname__", "?") for each in referrers if not isinstance(each, FrameType)
    ]  # frames: those that run this
    return tuple(dict.fromkeys(names))[:_REFERRERS]
