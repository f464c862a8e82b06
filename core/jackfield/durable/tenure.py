"""Until when nobody else can have taken a runner's calls over, as far as this process can tell by its own clock."""

import math
from collections.abc import Callable
from typing import Final

import attrs

from jackfield.errors import Unavailable
from jackfield.model.call import Call

TAKEN: Final = "another host has taken it over"


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


@attrs.define
class Claim:
    """What a runner has claimed, while an attempt of it runs.

    Attributes:
        tenure: of the runner.
        owner: its name when it claimed that.
        over: whether the attempt has ended; what goes on of it is nobody else's.
    """

    tenure: Tenure
    owner: str
    over: bool = False

    def check(self, call: Call) -> None:
        """Refuse a call of the attempt that another host may have made already.

        Raises:
            Unavailable: if nobody can tell by this process's clock that it is its own.
        """
        if not self.over and not self.tenure.holds(self.owner):
            raise Unavailable(call.name, TAKEN, "killed", ran=False)
