"""The gate of an endpoint: which calls are inside, and whether it still lets any in."""

from time import monotonic, sleep
from typing import Final

from jackfield.model.call import Call

_POLL: Final = 0.001


class Gate:
    """Counts the calls in flight of one endpoint, so that it can be drained without losing one.

    A call enters (an item of `calls`), then looks whether the gate is retired; if so it leaves and reads the snapshot
    again. Whoever drains retires first, then waits for the set to be empty. Both orders of the race end well: either
    the drain sees the call, or the call sees the retirement. Setting and deleting an item are atomic in every build.

    Attributes:
        calls: the calls in flight. The walks write it; everybody else reads a copy.
        retired: whether calls that come now must go elsewhere.
    """

    __slots__ = ("__weakref__", "calls", "retired")

    def __init__(self) -> None:
        self.calls: dict[Call, None] = {}
        self.retired = False

    def drain(self, timeout: float) -> bool:
        """Retire, and wait until no call is inside.

        Leaving wakes nobody, because that would cost every call a test; so this looks once a millisecond.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether the last call has left.
        """
        self.retired = True
        end = monotonic() + timeout
        while self.calls and monotonic() < end:
            sleep(_POLL)
        return not self.calls
