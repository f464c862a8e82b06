"""What became of everything that was accepted, by what the store says, and by the marks that were left."""

import sys
from collections import Counter

from report import Report

from jackfield import Host

SETTLED = frozenset({"succeeded", "failed", "dead", "cancelled"})


class Judge:
    """Compares what hosts said with what was done.

    Args:
        lines: the marks, some of which may be still to come.

    Attributes:
        accepted: key → function and id, of what was accepted.
        statuses: key → status.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.accepted: dict[str, tuple[str, str]] = {}
        self.statuses: dict[str, str] = {}
        self._moments: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        for moment, what, key in self._marks("accepted:"):
            function, _, number = what.partition(":")
            self.accepted[key], self._moments[key] = (function, number), moment

    def _marks(self, kind: str) -> list[tuple[int, str, str]]:
        found = (line.split() for line in self._lines)
        return [(int(moment), what.removeprefix(kind), key) for moment, what, key in found if what.startswith(kind)]

    @property
    def settled(self) -> int:
        """How many are."""
        return sum(status in SETTLED for status in self.statuses.values())

    def look(self, host: Host) -> bool:
        """See how it stands; give whether nothing more is to come."""
        for key, (_, number) in self.accepted.items():
            if self.statuses.get(key) not in SETTLED:
                try:
                    self.statuses[key] = str(host.submitted(number).status.value)
                except LookupError:
                    self.statuses[key] = "unknown"
        return all(status in SETTLED or status == "unknown" for status in self.statuses.values())

    def ask_why(self, host: Host) -> None:
        """See why those that are dead are."""
        calls = host.durable_calls
        self._reasons = {each.id: calls.read(each.id).now.reason for each in host.submissions(status="dead")}

    def report(self, seed: int, faults: dict[str, int], seconds: float) -> Report:
        """Judge it."""
        begun = Counter((what, key) for _, what, key in self._marks("begun:"))
        return Report(
            seed,
            len(self.accepted),
            len(self._marks("refused:")),
            dict(Counter(map(self._verdict, self.accepted))),
            faults,
            lost=tuple(key for key, status in self.statuses.items() if status not in SETTLED),
            twice=tuple(key for (what, key), count in begun.items() if what == "charge" and count > 1),
            again=self._again(),
            untrue=self._untrue(begun),
            late=tuple(number for number, reason in self._reasons.items() if reason == "expired"),
            settling=self._settling(),
            seconds=seconds,
        )

    def _verdict(self, key: str) -> str:
        reason = self._reasons.get(self.accepted[key][1])
        return self.statuses[key] if reason is None else f"dead, {reason}"

    def _again(self) -> tuple[str, ...]:
        """Find the steps that began after they had been recorded."""
        names = {number: key for key, (_, number) in self.accepted.items()}
        recorded: dict[tuple[str, str], int] = {}
        for moment, step, number in self._marks("recorded:"):
            recorded.setdefault((step, names.get(number, "")), moment)
        return tuple(
            f"{step} of {key}"
            for moment, step, key in self._marks("begun:")
            if moment > recorded.get((step, key), sys.maxsize)
        )

    def _untrue(self, begun: Counter[tuple[str, str]]) -> tuple[str, ...]:
        """Find what is said to have succeeded and was not done, and what has no known end and is not said to be so."""
        ended = {(what, key) for _, what, key in self._marks("ended:")}
        found = []
        for key, (name, _) in self.accepted.items():
            function = name.rpartition(".")[2]
            done = ("last", key) in begun if function == "pipeline" else (function, key) in ended
            unknown = function == "charge" and ("charge", key) in begun and self._verdict(key) != "dead, unknown"
            if not done and (self.statuses[key] == "succeeded" or unknown):
                found.append(key)
        return tuple(found)

    def _settling(self) -> dict[str, float]:
        """Give how long what has succeeded took, from when it was accepted until it was done."""
        last = [(moment, key) for moment, step, key in self._marks("begun:") if step == "last"]
        took = sorted(
            max(moment - self._moments[key], 0) / 1e9
            for moment, key in (*((moment, key) for moment, _, key in self._marks("ended:")), *last)
            if self.statuses.get(key) == "succeeded"
        )
        parts = (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)) if took else ()
        return {name: round(took[int((len(took) - 1) * part)], 3) for name, part in parts}
