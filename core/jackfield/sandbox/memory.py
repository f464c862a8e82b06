"""The memory of a guest, watched from outside: a line at which it gets no more work, and one at which it is killed."""

import os
from collections import deque
from enum import StrEnum
from typing import Final, Self

import attrs

HORIZON: Final = 2.0
"""Seconds ahead for which growth is predicted."""

WINDOW: Final = 2.0
"""Seconds over which it is measured."""

SOFT_SHARE: Final = 0.85
"""The share of the hard line at which the soft line is, unless it is said."""


class Verdict(StrEnum):
    """What is to be done with a guest."""

    FINE = "fine"
    SOFT = "soft"
    """No new work; let it finish what it has, and replace it."""
    HARD = "hard"
    """Kill it."""


@attrs.frozen
class Lines:
    """The two lines, in bytes."""

    soft: int
    hard: int

    @classmethod
    def of(cls, memory: int) -> "Lines":
        """Give the lines of a limit.

        Examples:
            >>> Lines.of(1000)
            Lines(soft=850, hard=1000)
        """
        return cls(int(memory * SOFT_SHARE), memory)


class Growth:
    """Judges what one guest uses, sample by sample, and predicts where it leads: no clock and no process in here.

    A guest that is past the soft line, or that would be past the hard one within `HORIZON` if it went on growing as it
    did in the last `WINDOW`, is `SOFT`. It stays so: a guest that once came near its end is replaced, however quiet it
    is later.

    Examples:
        >>> growth = Growth(Lines(soft=850, hard=1000))
        >>> [str(growth.judge(second, used)) for second, used in enumerate([100, 100, 500])]
        ['fine', 'fine', 'fine']
        >>> str(growth.judge(3, 700))
        'soft'
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._samples: deque[tuple[float, int]] = deque()
        self._soft = False

    def judge(self, now: float, used: int) -> Verdict:
        """Take a sample, and say what is to be done.

        Args:
            now: seconds of a monotonic clock; not before the last sample's.
            used: bytes.
        """
        samples = self._samples
        samples.append((now, used))
        # The oldest that is kept is the first outside the window: the measure is never shorter than that.
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:  # noqa: PLR2004  # the ends of a line
            samples.popleft()
        if used >= self._lines.hard:
            return Verdict.HARD
        self._soft = self._soft or used >= self._lines.soft or used + self._rate() * HORIZON >= self._lines.hard
        return Verdict.SOFT if self._soft else Verdict.FINE

    def _rate(self) -> float:
        """Give bytes a second over the window; 0 until that is full, since every guest grows when it begins."""
        (first, least), (last, most) = self._samples[0], self._samples[-1]
        return max(most - least, 0) / (last - first) if last - first >= WINDOW else 0.0


def resident(pid: int) -> int | None:
    """Give the bytes of memory that a process has now, shared ones included; None if the system does not say.

    Args:
        pid: the process.
    """
    try:
        with Reader(pid) as reader:
            return reader.resident()
    except OSError:
        return None


class Reader:
    """Reads what a process uses, from a descriptor that is kept: it never means another process of the same number.

    Raises:
        ProcessLookupError: when there is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ProcessLookupError(f"there is no process {pid}") from error
        self._page = os.sysconf("SC_PAGE_SIZE")

    def resident(self) -> int | None:
        """Give the bytes of memory that it has now, shared ones included; None when it has ended."""
        try:
            _, resident, *_ = os.pread(self._descriptor, 128, 0).split(None, 2)
        except (ProcessLookupError, ValueError):
            return None
        return int(resident) * self._page or None

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
