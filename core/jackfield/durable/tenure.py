"""Until when nobody else can have taken a runner's calls over, as far as this process can tell by its own clock."""

import math
from collections.abc import Callable


class Tenure:
    """A runner's name, and the moment up to which its sign of life was good; read by any thread.

    A process that was stopped, or whose machine slept, goes on where it was: between the write that said that it would
    do something, and doing it. Looking at this right before doing it is what keeps it from doing what others have done
    meanwhile.

    Args:
        clock: monotonic seconds, which pass while the process is stopped.

    Examples:
        >>> now = 0.0
        >>> tenure = Tenure(lambda: now)
        >>> tenure.begin("one", until=15.0)
        >>> tenure.holds("one"), tenure.holds("another")
        (True, False)
        >>> now = 20.0
        >>> tenure.holds("one")
        False
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held = "", -math.inf

    def begin(self, runner: str, until: float) -> None:
        """Be a runner, whose sign of life is good until a moment."""
        self._held = runner, until

    def renewed(self, until: float) -> None:
        """Learn that it is good until a later one."""
        self._held = self._held[0], until

    def holds(self, runner: str) -> bool:
        """Tell whether this process is that runner, and nobody can have taken it for dead."""
        mine, until = self._held
        return runner == mine and self._clock() < until
