"""Admission: a call of a tenant takes a seat, waits for its turn, or is refused, before anything of it runs.

Turns are taken by virtual time (start-time fair queueing: P. Goyal, H. Vin and H. Cheng, 1996): each tenant has a tag,
the time that its calls have taken, divided by its weight; of those that wait, the smallest is next. A call is charged
with what its function is known to take when it begins, and with what it really took when it has ended. Whoever comes
back after a while begins at the present: nobody saves time up.

How many seats there are is found out, for each function version and for all (`gradient`). Calls inside others have the
seat of the outermost one: who waits for a call of its own must not wait for a seat, too. Calls of nobody, which the
process makes itself, need none.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from jackfield.admission.gradient import Gradient
from jackfield.admission.lines import Line
from jackfield.admission.seats import Tenant, Ticket, unmet
from jackfield.admission.shares import EVEN, Share
from jackfield.admission.waiting import Waiter
from jackfield.errors import DeadlineExceeded, ResourceExhausted
from jackfield.model.admitted import AdmissionStats
from jackfield.model.call import Call

W = TypeVar("W", bound=Waiter)

MOST_WAITING: Final = 1000
"""How many calls of one tenant may wait."""


class Admission:
    """Admits the calls of one host.

    Args:
        clock: monotonic seconds.
        first: how many calls may be inside before anything is known.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, first: float = 16.0) -> None:
        self.clock = clock
        # Re-entrant: a signal handler or a finaliser that makes a call may interrupt the holder in its own thread.
        self._lock = threading.RLock()
        self._shares: Mapping[str, Share] = {}
        self._tenants: dict[str, Tenant] = {}
        # A line lives as long as what calls through it: versions come and go.
        self._lines: WeakValueDictionary[str, Line] = WeakValueDictionary()
        self._crowded: dict[Line, None] = {}  # where somebody waits
        self._owed: dict[Tenant, None] = {}  # who waits and has seats of its own
        self._wanted = 0.0  # the weights of all who wait
        self._limit = Gradient(first, alone=1.0)  # of what lines tell: how much longer than alone
        self._inside = 0
        self._present = 0.0

    @property
    def active(self) -> bool:
        """Whether anybody is due anything else than the others."""
        return bool(self._shares)

    def configure(self, shares: Mapping[str, Share]) -> None:
        """Take over what tenants are due from now on; calls that are inside or wait stay so.

        Args:
            shares: by tenant; empty when all are alike, and nobody waits.
        """
        now = self.clock()
        with self._lock:
            self._shares = dict(shares)
            for name, tenant in self._tenants.items():
                tenant.entitle(shares.get(name, EVEN), now)
            wanting = [tenant for tenant in self._tenants.values() if tenant.waiting]
            self._wanted = sum(tenant.share.weight for tenant in wanting)
            self._owed = {tenant: None for tenant in wanting if tenant.seats}
            woken = self._dispatch(now)
        _wake(woken)

    def line(self, key: str) -> Line:
        """Give what admits the calls of one function version: the same one for as long as anything refers to it.

        Args:
            key: `name@version`.
        """
        with self._lock:
            found = self._lines.get(key)
            if found is None:
                found = self._lines[key] = Line(key, self)
            return found

    def leave(self, ticket: Ticket) -> None:
        """Give a seat back, to whoever is next.

        Args:
            ticket: the seat.
        """
        tenant, line, since, expected, reserved = ticket
        now = self.clock()
        took = now - since
        with self._lock:
            tenant.seconds += took
            tenant.tag += (took - expected) * tenant.price
            tenant.inside -= 1
            if slower := line.ended(took):
                self._limit.saw(slower, full=self._inside * 2 >= self._limit.limit)
            if reserved:
                tenant.reserved -= 1
            else:
                self._inside -= 1
            if not self._crowded:
                return
            if took < expected and tenant.waiting:
                for crowded in self._crowded:
                    crowded.turns.sooner(tenant)
            woken = self._dispatch(now)
        _wake(woken)

    def stats(self) -> AdmissionStats:
        """Tell what there is to see."""
        with self._lock:
            tenants = {name: unmet(share) for name, share in self._shares.items() if share != EVEN}
            tenants |= {name: each.stats() for name, each in self._tenants.items()}
            functions = {key: line.stats() for key, line in sorted(self._lines.items())}
            return AdmissionStats(int(self._limit.limit), self._inside, tenants, functions)

    # --- For lines ----------------------------------------------------------------------------------------------------

    def ask(
        self, line: Line, call: Call, waiting: Callable[[Call, Tenant, float], W]
    ) -> tuple[Ticket | None, W | None]:
        """Take a seat, or a place in the queue.

        Args:
            line: of the function version.
            call: the call.
            waiting: makes what waits.

        Returns:
            The seat, or what waits for one; neither for a call that needs none.

        Raises:
            ResourceExhausted: if it is refused.
        """
        name = call.tenant
        if name is None or (call.parent is not None and _is_nested(call)):
            return None, None
        now = self.clock()
        with self._lock:
            tenant = self._tenants.get(name) or self._met(name, now)
            if tenant.share.bounded:
                self._check_quotas(tenant, line, call, now)
            if tenant.reserved < tenant.seats:
                return self._seat(tenant, line, now, reserved=True), None
            if self._inside < self._limit.limit and line.inside < line.gradient.limit:
                return self._seat(tenant, line, now, reserved=False), None
            waiter = self._queued(tenant, line, waiting(call, tenant, now))
            return None, waiter

    def answer(self, line: Line, waiter: Waiter) -> Ticket:
        """Give what a waiter got.

        Raises:
            ResourceExhausted: if it was refused.
            DeadlineExceeded: if its time is up.
        """
        with self._lock:
            if waiter.ticket is None and not waiter.refused:
                self._leave_queue(line, waiter)
                waiter.tenant.refuse("deadline")
                overdue = self.clock() - (waiter.call.deadline or 0.0)
                raise DeadlineExceeded(waiter.call.name, overdue, "not started: it waited for its turn")
        if waiter.ticket is not None:
            return waiter.ticket
        raise ResourceExhausted(waiter.call.name, waiter.refused, line.typical or None)

    def give_up(self, line: Line, waiter: Waiter) -> None:
        """Have a waiter wait no more: its caller has left."""
        with self._lock:
            ticket = waiter.ticket
            if ticket is None and not waiter.refused:
                self._leave_queue(line, waiter)
                waiter.tenant.left += 1
        if ticket is not None:  # it had its turn in this very moment
            self.leave(ticket)

    # --- Under the lock -----------------------------------------------------------------------------------------------

    def _met(self, name: str, now: float) -> Tenant:
        tenant = self._tenants[name] = Tenant(name, self._shares.get(name, EVEN), now)
        tenant.tag = self._present
        return tenant

    def _check_quotas(self, tenant: Tenant, line: Line, call: Call, now: float) -> None:
        most = tenant.share.concurrency
        if most is not None and tenant.inside + tenant.waiting >= most:
            reason = f"tenant {tenant.name!r} has {most} calls inside, its `concurrency`"
            raise _refusal(tenant, call, "concurrency", reason, line.typical)
        if tenant.bucket is not None and (pause := tenant.bucket.take(now)):
            raise _refusal(tenant, call, "rate", f"tenant {tenant.name!r} makes more than its `rate` of calls", pause)

    def _seat(self, tenant: Tenant, line: Line, now: float, *, reserved: bool) -> Ticket:
        expected, tag = line.typical, tenant.tag
        if tag > self._present:
            self._present = tag
        elif not tenant.inside and not tenant.waiting:
            tag = self._present
        tenant.tag = tag + expected * tenant.price
        tenant.inside += 1
        tenant.admitted += 1
        line.inside += 1
        if reserved:
            tenant.reserved += 1
        else:
            self._inside += 1
        return tenant, line, now, expected, reserved

    def _queued(self, tenant: Tenant, line: Line, waiter: W) -> W:
        """Put a call in its queue, unless there is no room, or its turn would come too late."""
        call, pause = waiter.call, self._wait(tenant, line)
        if tenant.waiting >= MOST_WAITING:
            reason = f"{MOST_WAITING:,} calls of tenant {tenant.name!r} wait already"
            raise _refusal(tenant, call, "full", reason, pause)
        if call.deadline is not None and waiter.since + pause + line.typical > call.deadline:
            line.doubt()
            reason = f"its turn would come in {pause:.3f} s, too late for its deadline"
            raise _refusal(tenant, call, "late", reason, pause)
        if not tenant.waiting:
            if not tenant.inside:
                tenant.tag = max(tenant.tag, self._present)
            self._wanted += tenant.share.weight
            if tenant.seats:
                self._owed[tenant] = None
        tenant.waiting += 1
        line.turns.push(tenant, waiter)
        self._crowded[line] = None
        return waiter

    def _dispatch(self, now: float) -> list[Waiter]:
        """Give seats to those whose turn it is, and refuse those for whom it comes too late; they are to be woken."""
        woken: list[Waiter] = []
        while (found := self._next()) is not None:
            tenant, line, reserved = found
            waiter = line.turns.pop(tenant)
            self._out_of_queue(waiter, line)
            deadline = waiter.call.deadline
            if deadline is not None and now + line.typical > deadline:
                line.doubt()
                tenant.refuse("expired")
                waiter.refused = f"it waited {now - waiter.since:.3f} s, and what is left is less than it takes"
            else:
                tenant.served(now - waiter.since)
                waiter.ticket = self._seat(tenant, line, now, reserved=reserved)
            woken.append(waiter)
        return woken

    def _next(self) -> tuple[Tenant, Line, bool] | None:
        """Find whose turn it is: of those who have seats of their own first, then by virtual time."""
        for tenant in self._owed:
            if tenant.reserved < tenant.seats:
                line = next(line for line in self._crowded if tenant in line.turns.tenants)
                return tenant, line, True
        if self._inside >= self._limit.limit:
            return None
        best: tuple[Tenant, Line] | None = None
        for line in self._crowded:
            first = line.turns.first() if line.inside < line.gradient.limit else None
            if first is not None and (best is None or first.tag < best[0].tag):
                best = first, line
        return None if best is None else (*best, False)

    def _wait(self, tenant: Tenant, line: Line) -> float:
        """Estimate the seconds until a further call of a tenant has its turn."""
        others = self._wanted if tenant.waiting else self._wanted + tenant.share.weight
        part = tenant.share.weight / max(others, tenant.share.weight)
        seats = max(1.0, min(line.gradient.limit, self._limit.limit) * part)
        return (tenant.waiting + 1) * line.typical / seats

    def _leave_queue(self, line: Line, waiter: Waiter) -> None:
        if line.turns.remove(waiter.tenant, waiter):
            self._out_of_queue(waiter, line)

    def _out_of_queue(self, waiter: Waiter, line: Line) -> None:
        tenant = waiter.tenant
        tenant.waiting -= 1
        if not tenant.waiting:
            self._wanted -= tenant.share.weight
            self._owed.pop(tenant, None)
        if not line.turns.tenants:
            self._crowded.pop(line, None)


def _refusal(tenant: Tenant, call: Call, kind: str, reason: str, pause: float) -> ResourceExhausted:
    tenant.refuse(kind)
    return ResourceExhausted(call.name, reason, pause or None)


def _is_nested(call: Call) -> bool:
    """Tell whether a call was made inside another one, which has a seat for both; `deadline()` around it is none."""
    around = call.parent
    while around is not None and not around.name:
        around = around.parent
    return around is not None


def _wake(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        waiter.wake()
