"""Who sits, who stands in line, who comes next: the bookkeeping of `Seats`, without a lock and without a thread.

Who sits and calls something else that runs here does not take a second seat: it waits, so what it calls shares its
seat. Forty functions that call one another therefore cannot wait for each other's seats for ever. A seat has room for
one such guest of each task at a time; further ones (of a `gather`, say) stand in line for that place and for any free
seat. Whom a task was called by is in a context variable: it is found across threads, event loops and other executors.

Who calls something that runs in *another* executor waits as well, and is away: if need be its place beside it goes to
somebody in line here who is called by others, so that two executors whose functions call each other cannot wait for
each other for ever. When it comes back while its guest still runs, there is one more at work than there are seats.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from jackfield.model.call import Call

if TYPE_CHECKING:
    from jackfield.executors.seats import Seats

aboard: "ContextVar[Task | None]" = ContextVar("jackfield_aboard", default=None)
"""What runs in this context, if it was brought here by some `Seats`."""


class State(Enum):
    """How far a task has come."""

    WAITING = auto()  # in line
    RUNNING = auto()  # on a seat, its caller waits
    LINGERING = auto()  # its caller has left
    ENDED = auto()  # or refused, and then it never ran


class Seat:
    """What a task and the chain of those nested in it sit on."""

    __slots__ = ("riders",)

    def __init__(self) -> None:
        self.riders = 0


class Task:
    """One body on its way through the pool. It changes only under the lock of its seats, until it has ended.

    Args:
        owner: where it is to run.
        call: the call.
        body: what is to be run, in a copy of this context.
        tell: called once, when result or failure is there.

    Attributes:
        name: of the function, for errors.
        outer: the task in whose body this one was called.
        host: the task whose seat it shares, or waits to share.
        guest: the task that shares its seat.
        waiting: those that would.
        away: how many calls that run in other executors it waits for.
        since: when it began to stand in line, monotonic seconds; 0.0 for one that did not.
    """

    __slots__ = (
        "away",
        "body",
        "call",
        "context",
        "failure",
        "guest",
        "host",
        "name",
        "outer",
        "owner",
        "result",
        "seat",
        "since",
        "state",
        "tell",
        "waiting",
    )

    def __init__(self, owner: "Seats", call: Call, body: Callable[[Call], Any], tell: Callable[[], object]) -> None:
        self.owner = owner
        self.name = call.name
        self.call: Call | None = call
        self.body: Callable[[Call], Any] | None = body
        self.context: Context | None = copy_context()
        self.tell: Callable[[], object] | None = tell
        self.result: Any = None
        self.failure: BaseException | None = None
        self.state = State.WAITING
        self.seat: Seat | None = None
        self.outer = _under_way(aboard.get())
        self.host: Task | None = None
        self.guest: Task | None = None
        self.waiting: OrderedDict[Task, None] | None = None
        self.away = 0
        self.since = 0.0

    def end(self) -> Callable[[], object] | None:
        """End, and drop what it refers to, so that neither a thread that waits nor a context keeps a function alive.

        Returns:
            What tells its caller, to be called without a lock.
        """
        tell = self.tell
        self.state = State.ENDED
        self.call = self.body = self.context = self.tell = self.waiting = self.host = None
        self.outer = _under_way(self.outer)
        return tell

    def outcome(self) -> Any:
        """Give the result or raise the failure, once."""
        failure, self.failure = self.failure, None
        result, self.result = self.result, None
        if failure is None:
            return result
        try:
            raise failure
        finally:
            del failure  # else the traceback, its frame and the exception would hold one another


def _under_way(task: Task | None) -> Task | None:
    """Give the nearest of a task and those around it that has not ended."""
    while task is not None and task.state is State.ENDED:
        task = task.outer
    return task


class Seating:
    """Gives out seats, in order.

    Args:
        seats: how many there are.

    Attributes:
        line: who waits for a seat, the first one first.
        running: who sits.
        taken: how many seats are taken.
    """

    def __init__(self, seats: int) -> None:
        self.line: OrderedDict[Task, None] = OrderedDict()
        self.running: dict[Task, None] = {}
        self.taken = 0
        self._seats = seats

    def sit(self, task: Task) -> bool:
        """Find a seat: beside whoever called this task, a free one, or beside somebody who is away.

        Returns:
            Whether there was one.
        """
        host = self._host_of(task)
        if host is not None and host.guest is None and host.seat is not None:
            self._sit_down(task, host.seat, host)
        elif self.taken < self._seats:
            self.taken += 1
            self._sit_down(task, Seat(), None)
        elif task.outer is not None and (absent := self._absent()) is not None and absent.seat is not None:
            self._sit_down(task, absent.seat, absent)
        else:
            return False
        return True

    def rise(self, task: Task) -> Task | None:
        """Take a task off its seat.

        Returns:
            Who sits down there in its place, to be started; None if nobody does.
        """
        seat, host = self._rise(task)
        if host is not None and (successor := self.beside(host)) is not None:
            return successor
        if seat.riders:
            return None  # its host or its guest keeps the seat
        self.taken -= 1
        return self.next()

    def beside(self, host: Task) -> Task | None:
        """Fill the place beside a task with somebody that it waits for, or, while it is away, that others wait for.

        Returns:
            Who it is, to be started; None if it is not free, or nobody is to have it.
        """
        if host.state is not State.RUNNING or host.guest is not None or host.seat is None:
            return None
        task = next(iter(host.waiting), None) if host.waiting else None
        if task is None and host.away:
            task = next((each for each in self.line if each.outer is not None), None)
        if task is not None:
            self.leave_line(task)
            self._sit_down(task, host.seat, host)
        return task

    def next(self) -> Task | None:
        """Give the first in line a free seat.

        Returns:
            Who it is, to be started; None if there is no seat, or nobody in line.
        """
        if not self.line or self.taken >= self._seats:
            return None
        self.taken += 1
        task = next(iter(self.line))
        self.leave_line(task)
        self._sit_down(task, Seat(), None)
        return task

    def stand(self, task: Task) -> None:
        """Put a task at the end of the line."""
        task.state = State.WAITING
        self.line[task] = None
        task.host = host = self._host_of(task)
        if host is not None:
            host.waiting = OrderedDict() if host.waiting is None else host.waiting
            host.waiting[task] = None

    def stand_again(self, task: Task) -> bool:
        """Put a task that no thread could be had for back to the front of the line, if a thread will come to it.

        Returns:
            Whether it stands in line; else it has neither seat nor place.
        """
        seat, _ = self._rise(task)
        if not seat.riders:
            self.taken -= 1
        # Whoever waits for nobody will end, and go on with the first in line.
        if not any(each.guest is None and not each.waiting and not each.away for each in self.running):
            return False
        self.stand(task)
        self.line.move_to_end(task, last=False)
        return True

    def leave_line(self, task: Task) -> None:
        """Take a task out of the line."""
        del self.line[task]
        host, task.host = task.host, None
        if host is not None and host.waiting is not None:
            host.waiting.pop(task, None)

    def _absent(self) -> Task | None:
        """Find somebody who is away, and has nobody beside it."""
        return next((task for task in self.running if task.away and task.guest is None), None)

    def _host_of(self, task: Task) -> Task | None:
        """Find the nearest task around this one that sits here."""
        host = task.outer
        while host is not None and (host.owner is not task.owner or host.state is not State.RUNNING):
            host = host.outer
        return host

    def _sit_down(self, task: Task, seat: Seat, host: Task | None) -> None:
        seat.riders += 1
        task.seat, task.host, task.state = seat, host, State.RUNNING
        if host is not None:
            host.guest = task
        self.running[task] = None

    def _rise(self, task: Task) -> tuple[Seat, Task | None]:
        seat, host = task.seat, task.host
        assert seat is not None  # noqa: S101  # whoever runs has one
        task.seat = task.host = task.waiting = None
        del self.running[task]
        seat.riders -= 1
        if host is not None:
            host.guest = None
        return seat, host
