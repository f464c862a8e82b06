"""The one clock of a host: monotonic seconds to measure with, seconds since the epoch to show."""

import time
from collections.abc import Callable


class SystemClock:
    """The machine's own time; adapter of `ports.Clock`. The fake is `jackfield.testing.FakeClock`."""

    def __call__(self) -> float:
        """Give monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Give seconds since the epoch."""
        return time.time()

    def on_jump(self, wake: Callable[[], object]) -> None:
        """Do nothing: this time never jumps."""
