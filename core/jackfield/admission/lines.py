"""The calls of one function version: those inside, what they take, and those that wait."""

from typing import TYPE_CHECKING

from jackfield.admission.gradient import WINDOW, Gradient
from jackfield.admission.turns import Turns
from jackfield.admission.waiting import TaskWaiter, ThreadWaiter, Waiter
from jackfield.model.admitted import FunctionStats
from jackfield.model.call import Call
from jackfield.model.seen import note

if TYPE_CHECKING:
    from jackfield.admission.admission import Admission
    from jackfield.admission.seats import Tenant, Ticket


class Line:
    """Admits the calls of one function version.

    Args:
        key: `name@version`.
        admission: of all.

    Attributes:
        turns: the calls that wait.
        inside: how many have a seat.
        typical: seconds that one takes at present; 0.0 before any has ended.
    """

    __slots__ = (
        "__weakref__", "_admission", "_count", "_full", "_sum", "gradient", "inside", "key", "turns", "typical",
    )  # fmt: skip

    def __init__(self, key: str, admission: "Admission") -> None:
        self.key = key
        self._admission = admission
        self.gradient = Gradient()
        self.turns: Turns[Tenant, Waiter] = Turns()
        self.inside = 0
        self.typical = 0.0
        self._sum, self._count, self._full = 0.0, 0, False

    def enter(self, call: Call) -> "Ticket | None":
        """Take a seat, or wait for one in this thread.

        Args:
            call: the call.

        Returns:
            The seat, to be given back with `Admission.leave`; None for a call that needs none.

        Raises:
            ResourceExhausted: if it is refused.
            DeadlineExceeded: if its time was up before it had its turn.
        """
        admission = self._admission
        ticket, waiter = admission.ask(self, call, ThreadWaiter)
        if waiter is None:
            return ticket
        try:
            waiter.wait(None if call.deadline is None else max(call.deadline - admission.clock(), 0.0))
        except BaseException:
            admission.give_up(self, waiter)
            raise
        finally:
            note(call, "queue", "admission", admission.clock() - waiter.since)
        return admission.answer(self, waiter)

    async def aenter(self, call: Call) -> "Ticket | None":
        """Do the same in a task."""
        admission = self._admission
        ticket, waiter = admission.ask(self, call, TaskWaiter)
        if waiter is None:
            return ticket
        try:
            await waiter.wait()
        except BaseException:
            admission.give_up(self, waiter)
            raise
        finally:
            note(call, "queue", "admission", admission.clock() - waiter.since)
        return admission.answer(self, waiter)

    # --- For `Admission`, under its lock ------------------------------------------------------------------------------

    def stats(self) -> FunctionStats:
        """Tell what there is to see."""
        return FunctionStats(int(self.gradient.limit), self.inside, self.turns.waiting, self.typical)

    def ended(self, took: float) -> float:
        """Take note of a call that has ended; give how much longer than alone its like take, 0.0 but once a window."""
        if self.inside * 2 >= self.gradient.limit:
            self._full = True
        self.inside -= 1
        self._sum += took
        self._count += 1
        if not self.typical:
            self.typical = took
        if self._count < WINDOW:
            return 0.0
        mean, full = self._sum / WINDOW, self._full
        self._sum, self._count, self._full = 0.0, 0, False
        self.typical += (mean - self.typical) / 2
        return self.gradient.saw(mean, full=full)

    def doubt(self) -> None:
        """Take note that a call was refused for what its like take: after enough of these one is let in, to see."""
        self.typical *= 0.99
