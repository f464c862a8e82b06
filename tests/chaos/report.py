"""What a campaign has shown, for people and for programs."""

from typing import Any

import attrs


@attrs.frozen
class Report:
    """What a campaign has shown.

    Attributes:
        seed: of the draw of faults.
        accepted: submissions whose acceptance was returned.
        refused: submissions that were refused, since the store was away or full.
        statuses: status, of the dead with its reason → how many ended so.
        faults: fault → how often it was done.
        lost: accepted, and unknown or not settled at the end.
        twice: not idempotent, and begun more than once.
        again: steps that began after they had been recorded.
        untrue: said to have succeeded, and not done; or begun, not idempotent, not ended, and not `dead` as `unknown`.
        late: dead, since their time was up.
        settling: seconds from acceptance to the end of what has succeeded: p50, p99, the longest.
        seconds: how long it took.
    """

    seed: int
    accepted: int
    refused: int
    statuses: dict[str, int]
    faults: dict[str, int]
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    again: tuple[str, ...]
    untrue: tuple[str, ...]
    late: tuple[str, ...]
    settling: dict[str, float]
    seconds: float

    @property
    def bound(self) -> float:
        """Give what the chance of a violation is below, with 95 % confidence, when none was seen.

        By the rule of three: J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA
        249 (1983).
        """
        return 3.0 / max(self.accepted, 1)

    @property
    def in_time(self) -> float:
        """Give the share of what was accepted that was settled within its deadline."""
        return 1.0 - (len(self.late) + len(self.lost)) / max(self.accepted, 1)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled or untrue, and no more than 1 of 10,000 was late."""
        return not (self.lost or self.twice or self.again or self.untrue) and self.in_time >= 0.9999

    def document(self) -> dict[str, Any]:
        """Give it as plain data."""
        bound = self.bound if self.ok else None
        return {"ok": self.ok, "bound": bound, "in_time": self.in_time, **attrs.asdict(self)}

    def __str__(self) -> str:
        """Give it as Markdown."""
        rows = [
            ("accepted", f"{self.accepted:,}"),
            ("refused, store away or full", f"{self.refused:,}"),
            *((f"ended: {status}", f"{count:,}") for status, count in sorted(self.statuses.items())),
            *((f"fault: {fault}", f"{count:,}") for fault, count in sorted(self.faults.items())),
            ("accepted and lost", _some(self.lost)),
            ("not idempotent and begun twice", _some(self.twice)),
            ("recorded steps begun again", _some(self.again)),
            ("said to be what they are not", _some(self.untrue)),
            ("late", _some(self.late)),
            ("settled within their deadline", f"{self.in_time:.4%}"),
            *((f"time to settle, {which}", f"{seconds:.3f} s") for which, seconds in self.settling.items()),
            ("chance of a violation, at 95 %", f"below {self.bound:.2e}" if self.ok else "**VIOLATED**"),
        ]
        table = "\n".join(f"| {name} | {value} |" for name, value in rows)
        return f"# Campaign of seed {self.seed}, {self.seconds:,.0f} s\n\n| | |\n|---|---|\n{table}\n"


def _some(names: tuple[str, ...]) -> str:
    return f"{len(names)}" + (f": {', '.join(names[:5])}" if names else "")
