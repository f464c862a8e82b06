"""What becomes of each step of a run, for whoever shows it."""

from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from graphlib import TopologicalSorter
from time import perf_counter
from typing import Final

import attrs

from jackfield.model.flow import Flow
from jackfield.model.progress import Listener, StepProgress


class StepState(StrEnum):
    """What became of a step in one run."""

    WAITING = "waiting"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LEFT_OUT = "left out"


_LOST: Final = frozenset({StepState.FAILED, StepState.CANCELLED, StepState.LEFT_OUT})


@attrs.frozen
class StepReport:
    """What became of one step.

    Attributes:
        state: how it ended.
        items: how many items it has done, of a step with `each`; else 0.
        failed: how many of them failed.
        seconds: that it took.
    """

    state: StepState = StepState.WAITING
    items: int = 0
    failed: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        """Render as `ok 0.012 s`."""
        if self.state in (StepState.WAITING, StepState.LEFT_OUT):
            return str(self.state)
        many = f" {self.items - self.failed} of {self.items}" if self.items else ""
        return f"{self.state}{many} {self.seconds:.3f} s"


class Watch:
    """Sees the steps of one run; `current_watch` has it when the flow is called.

    Args:
        flow: what is run.
        tell: hears of each step as it begins and ends.
    """

    def __init__(self, flow: Flow, tell: Listener | None = None) -> None:
        self.flow, self._tell = flow, tell
        self._reports = {step.name: StepReport() for step in flow.steps}
        self._begun: dict[str, float] = {}

    def begin(self, step: str) -> None:
        """See a step begin."""
        self._begun[step] = perf_counter()
        self._report(step, StepReport(StepState.RUNNING))

    def item(self, step: str, *, failed: bool) -> None:
        """See an item of a step end."""
        report = self._reports[step]
        self._report(step, attrs.evolve(report, items=report.items + 1, failed=report.failed + failed))

    def end(self, step: str, state: StepState) -> None:
        """See a step end, or be left out."""
        seconds = perf_counter() - self._begun[step] if step in self._begun else 0.0
        self._report(step, attrs.evolve(self._reports[step], state=state, seconds=seconds))

    def _report(self, step: str, report: StepReport) -> None:
        self._reports[step] = report
        if self._tell is not None:
            now = report.state.value, report.items, report.failed, report.seconds
            self._tell(StepProgress(self.flow.name, step, *now))

    def report(self) -> Mapping[str, StepReport]:
        """Say what became of each step; what has not begun since something failed is left out."""
        found = dict(self._reports)
        needs = {step.name: step.needs for step in self.flow.steps}
        for name in TopologicalSorter(needs).static_order():
            if found[name].state is StepState.WAITING and any(found[need].state in _LOST for need in needs[name]):
                found[name] = StepReport(StepState.LEFT_OUT)
        return found


current_watch: Final[ContextVar[Watch | None]] = ContextVar("jackfield_watch", default=None)
"""Who sees the steps of the call that is about to be made."""
