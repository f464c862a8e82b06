"""The clock that a test moves by hand."""

from collections.abc import Callable


class FakeClock:
    """Time that stands still until `advance`; adapter of `ports.Clock`.

    Args:
        now: monotonic seconds at the beginning.
        wall: seconds since the epoch at the beginning.

    Examples:
        >>> clock = FakeClock()
        >>> clock.advance(60.0)
        >>> clock(), clock.wall() - 60.0 == 1_700_000_000.0
        (60.0, True)
    """

    def __init__(self, now: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._wall = wall - now
        self._wakers: list[Callable[[], object]] = []

    def __call__(self) -> float:
        """Give the seconds that were advanced so far."""
        return self._now

    def wall(self) -> float:
        """Give seconds since the epoch."""
        return self._wall + self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; whatever becomes due happens on its own thread, soon.

        Args:
            seconds: how much.
        """
        self._now += seconds
        for wake in list(self._wakers):
            wake()

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, as an operator or a time server does; no time passes.

        Args:
            wall: seconds since the epoch, now.
        """
        self._wall = wall - self._now
        for wake in list(self._wakers):
            wake()

    def on_jump(self, wake: Callable[[], object], /) -> None:
        """Have something called at every `advance` and `set_wall`."""
        self._wakers.append(wake)
