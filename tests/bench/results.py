"""What benches hand back: rows with a ratio, checks with a count, and tables of growth."""

from collections.abc import Sequence

import attrs
from harness import Series


@attrs.frozen
class Row:
    """A subject against a rival or a floor, both measured in the same run.

    Attributes:
        what: what is compared.
        rival: against what.
        subject_time: seconds per operation.
        rival_time: seconds per operation.
        bar: the highest ratio that passes, or None when the row is for orientation only.
    """

    what: str
    rival: str
    subject_time: Series
    rival_time: Series
    bar: float | None = None

    @property
    def ratio(self) -> Series:
        """Subject over rival; below 1 the subject is faster."""
        return self.subject_time.over(self.rival_time)

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        return None if self.bar is None else self.ratio.median <= self.bar


@attrs.frozen
class Check:
    """A count that must have one value, whatever the speed.

    Attributes:
        what: what was counted.
        count: how many there were.
        among: of how many.
        wanted: the count that passes.
    """

    what: str
    count: int
    among: int
    wanted: int = 0

    @property
    def passed(self) -> bool:
        """Whether the count is the wanted one."""
        return self.count == self.wanted


@attrs.frozen
class Table:
    """Figures that are no comparison.

    Attributes:
        columns: the headings, units included.
        rows: the cells, numbers where there are numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]


@attrs.frozen
class Section:
    """What one bench found.

    Attributes:
        title: the heading.
        note: how it was measured, where that is not obvious.
        rows: the comparisons.
        checks: the counts.
        table: further figures.
    """

    title: str
    note: str = ""
    rows: Sequence[Row] = ()
    checks: Sequence[Check] = ()
    table: Table | None = None

    @property
    def short(self) -> list[str]:
        """What falls short of its bar."""
        return [row.what for row in self.rows if row.passed is False] + [
            check.what for check in self.checks if not check.passed
        ]
