"""Values that are replaced by compare-and-swap: no lock, so nobody can hold it where somebody else must not wait.

A signal handler or a finalizer may run in the middle of any line of any thread, and may make the very change that it
has interrupted. A lock then either deadlocks with itself or, when it is re-entrant, lets the second change in under the
first, which overwrites it. Here what comes next is decided by one `dict.setdefault`, which is atomic with regard to
threads (in free-threaded builds, too), to signal handlers and to the garbage collector.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Link(Generic[T]):
    """One value in a chain that only grows; what follows it is decided once.

    Attributes:
        value: the value.
        number: its place in the chain.
    """

    __slots__ = ("__weakref__", "_following", "number", "value")

    def __init__(self, value: T, number: int = 0) -> None:
        self.value = value
        self.number = number
        self._following: dict[str, Link[T]] = {}

    @property
    def following(self) -> "Link[T] | None":
        """The next one, or None as long as this is the last."""
        return self._following.get("next")

    def last(self) -> "Link[T]":
        """Follow the chain to its end."""
        link = self
        while (following := link.following) is not None:
            link = following
        return link

    def append(self, value: T) -> "Link[T] | None":
        """Make a value the next one.

        Args:
            value: what follows.

        Returns:
            Its link; None when something else follows this one already.
        """
        link = Link(value, self.number + 1)
        return link if self._following.setdefault("next", link) is link else None


class AtomicReference(Generic[T]):
    """One value that is replaced as a whole.

    Examples:
        >>> words = AtomicReference(("a",))
        >>> old = words.value
        >>> words.compare_and_set(old, (*old, "b")), words.compare_and_set(old, (*old, "c")), words.value
        (True, False, ('a', 'b'))
    """

    __slots__ = ("_link",)

    def __init__(self, value: T) -> None:
        self._link = Link(value)

    @property
    def value(self) -> T:
        """The value of now."""
        return self._last().value

    def compare_and_set(self, expected: T, value: T) -> bool:
        """Replace the value unless somebody else has done so.

        Args:
            expected: the very object that was read before.
            value: what takes its place.

        Returns:
            Whether it did.
        """
        link = self._last()
        return link.value is expected and link.append(value) is not None

    def _last(self) -> Link[T]:
        link = self._link.last()
        self._link = link  # shortens the way; storing an older one late does no harm, since everybody follows the chain
        return link
