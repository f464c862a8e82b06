"""The workers that calls can have: taken and given back in any thread, waited for in order, and counted."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from jackfield.errors import DeadlineExceeded, JackfieldError, ResourceExhausted, Unavailable
from jackfield.executors.worker import Undelivered
from jackfield.model.call import Call
from jackfield.ports import ExecutorStats
from jackfield.workers.settings import BREAKER, LONGEST, PENDING, SHARED, WorkerSettings
from jackfield.workers.tickets import Ticket, teller
from jackfield.workers.worker import Worker


class _Waiter(Ticket):
    """A call that waits for a worker."""

    __slots__ = ("exclusive",)

    def __init__(self, exclusive: bool, tell: Callable[[], object] | None = None) -> None:
        super().__init__(tell)
        self.exclusive = exclusive
        self.prepare()


class Supply:
    """Gives the workers of a pool to calls.

    Args:
        plugin: its name.
        settings: how many there are.
        on_wanted: called when one more is to be started, in any thread; it is counted as starting.
        on_leave: called when one has become too old for more calls, in any thread, and when it has ended those that it
            had; with whether it has.

    Attributes:
        closed: whether no calls are let in.
        retired: whether none ever will be, and another takes what is for these workers.
        failures: how many starts have failed in a row.
    """

    def __init__(
        self,
        plugin: str,
        settings: WorkerSettings,
        on_wanted: Callable[[], object],
        on_leave: Callable[[Worker, bool], object],
    ) -> None:
        self._plugin, self._settings = plugin, settings
        self._on_wanted, self._on_leave = on_wanted, on_leave
        # Reentrant: the garbage collector may run a finalizer that calls something, at any line.
        self._lock = threading.RLock()
        self._all: set[Worker] = set()
        self._leaving: set[Worker] = set()  # these get no more calls, and end when they have finished those they have
        self._idle: list[Worker] = []  # the one that was used last is the warmest, and is used next
        self._line: deque[_Waiter] = deque()
        self._starting = 0
        self._failed_at = 0.0
        self._enqueued = self._rejected = 0
        self.failures = 0
        self.closed = True
        self.retired = False

    # --- Calls, in any thread -----------------------------------------------------------------------------------------

    def take(self, call: Call, *, exclusive: bool) -> Worker:
        """Take a worker for a call; wait for one if need be, at most until the call's deadline.

        Args:
            call: which.
            exclusive: whether it runs alone there.

        Raises:
            DeadlineExceeded: when there is none in time.
            ResourceExhausted: when too many wait already.
            Unavailable: when none can be started, or the plugin is being stopped.
        """
        worker, waiter = self._pick(call, exclusive)
        if worker is not None:
            return worker
        assert waiter is not None  # noqa: S101  # one of both
        deadline = call.deadline
        try:
            if not waiter.done and not waiter.sleep(None if deadline is None else max(deadline - monotonic(), 0.0)):
                raise DeadlineExceeded(call.name, monotonic() - (deadline or 0.0), "it waited for a worker")  # noqa: TRY301  # it leaves as any other
        except BaseException:
            self._leave(waiter)
            raise
        found: Worker = waiter.result()
        return found

    async def atake(self, call: Call, *, exclusive: bool) -> Worker:
        """Do the same without blocking the running event loop."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        worker, waiter = self._pick(call, exclusive, teller(loop, came))
        if worker is not None:
            return worker
        assert waiter is not None  # noqa: S101  # one of both
        try:
            await came
        except BaseException:
            self._leave(waiter)
            raise
        found: Worker = waiter.result()
        return found

    def _pick(
        self, call: Call, exclusive: bool, tell: Callable[[], object] | None = None
    ) -> tuple[Worker | None, _Waiter | None]:
        with self._lock:
            if self.retired:
                raise Undelivered
            if self.closed:
                raise Unavailable(call.name, f"the plugin {self._plugin} is not running", "stopped", ran=False)
            self._enqueued += 1
            worker = self._free(exclusive)
            if worker is not None:
                return worker, None
            if len(self._line) >= PENDING:
                self._rejected += 1
                raise ResourceExhausted(call.name, f"{PENDING} calls wait for a worker, the most allowed", 1.0)
            if not self._all and self.failures >= BREAKER and monotonic() - self._failed_at < LONGEST:
                self._rejected += 1
                reason = f"its workers have failed to start {self.failures} times in a row"
                raise Unavailable(call.name, reason, "start_failed", ran=False)
            waiter = _Waiter(exclusive, tell)
            self._line.append(waiter)
            wanted = self._one_more()
        if wanted:
            self._on_wanted()
        return None, waiter

    def _one_more(self) -> bool:
        """Tell whether one more worker is to be started, and count it as starting. The lock is held."""
        there = len(self._all) + self._starting
        # Those that leave are replaced at once, unless they are so slow that there would be ever more.
        if self.closed or there >= self._settings.max or there + len(self._leaving) >= 2 * self._settings.max:
            return False
        if self.failures and self._starting:
            return False  # while starts fail, one is tried after the other
        begin = there < self._settings.min or self._starting < self._wanted()
        self._starting += begin
        return begin

    def _wanted(self) -> int:
        """Count the workers that those who wait would take. The lock is held."""
        alone = sum(each.exclusive for each in self._line)
        return alone + -(-(len(self._line) - alone) // SHARED)

    def _free(self, exclusive: bool) -> Worker | None:
        """Take a worker that can do with one more call. The lock is held."""
        if not exclusive:
            for worker in self._all:
                if 0 < worker.shared < SHARED and not worker.exclusive and not worker.dead:
                    worker.shared += 1
                    return worker
        while self._idle:
            worker = self._idle.pop()
            if not worker.dead:
                if exclusive:
                    worker.exclusive = True
                else:
                    worker.shared = 1
                return worker
        return None

    def _leave(self, waiter: _Waiter) -> None:
        """Wait no longer; a worker that has just come is given back."""
        with self._lock:
            if waiter in self._line:
                self._line.remove(waiter)
                return
            has = waiter.done and waiter.error is None
        if has:
            self.give_back(waiter.value, exclusive=waiter.exclusive)

    def give_back(self, worker: Worker, *, exclusive: bool) -> None:
        """Give a worker back after a call; for any thread."""
        told = []
        with self._lock:
            if exclusive:
                worker.exclusive = False
            else:
                worker.shared -= 1
            if worker.answered:
                self.failures = 0
            rests = not worker.exclusive and not worker.shared
            if worker in self._all and 0 < self._settings.calls <= worker.served:
                self._all.discard(worker)
                self._leaving.add(worker)  # also while it has others: it may never rest
            leaves = worker in self._leaving
            if leaves and rests:
                self._leaving.discard(worker)
            elif worker in self._all and not worker.dead:
                if rests:
                    self._idle.append(worker)
                told = self._serve_line()
        for waiter, found in told:
            waiter.settle(found)
        if leaves:
            self._on_leave(worker, rests)

    def _serve_line(self) -> list[tuple[_Waiter, Worker]]:
        """Give free workers to those who wait, in order. The lock is held."""
        told = []
        while self._line:
            worker = self._free(self._line[0].exclusive)
            if worker is None:
                break
            waiter = self._line.popleft()
            waiter.value = worker  # now: whoever leaves before it is told has it, and gives it back
            told.append((waiter, worker))
        return told

    # --- Which there are ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Let calls in."""
        with self._lock:
            self.closed, self.failures = False, 0

    def close(self, why: str = "") -> list[Worker]:
        """Let no more calls in; give all workers that there are.

        Args:
            why: what those are told who wait; "" leaves them waiting.
        """
        with self._lock:
            self.closed = True
            workers = [*self._all, *self._leaving]
            waiting = list(self._line) if why else []
            if why:
                self._line.clear()
        for waiter in waiting:
            waiter.settle(None, Unavailable(self._plugin, why, "stopped", ran=False))
        return workers

    def retire(self) -> bool:
        """Let no more calls in for good if nobody needs these workers; give whether it is so."""
        with self._lock:
            busy = any(each.exclusive or each.shared for each in self._all)
            if busy or self._line or self._starting or self._leaving:
                return False
            self.closed = self.retired = True
            return True

    def there(self) -> list[Worker]:
        """Give the workers that take calls, the one that is there the longest first."""
        with self._lock:
            return sorted(self._all, key=lambda each: each.began)

    def rests(self, worker: Worker) -> bool:
        """Tell whether a worker waits for calls."""
        with self._lock:
            return worker in self._idle

    def use(self, worker: Worker) -> None:
        """Take a worker for something beside calls: nobody ends it for being idle until it is given back."""
        with self._lock:
            worker.shared += 1
            if worker in self._idle:
                self._idle.remove(worker)

    def one_more(self) -> bool:
        """Tell whether one more worker is to be started, and count it as starting."""
        with self._lock:
            return self._one_more()

    def admit(self, worker: Worker, *, started: bool = True) -> bool:
        """Let calls have a worker, unless none are let in; give whether they have.

        Args:
            worker: which.
            started: whether it was counted as starting.
        """
        told = []
        with self._lock:
            self._starting -= started
            admitted = not self.closed
            if admitted:
                self._all.add(worker)
                self._idle.append(worker)
                told = self._serve_line()
        for waiter, found in told:
            waiter.settle(found)
        return admitted

    def start_failed(self, error: JackfieldError) -> None:
        """Count a start that has failed; if there is no other worker, those who wait are told."""
        with self._lock:
            self._starting -= 1
            self._fail()
            lost = [] if self._all or self._starting else list(self._line)
            if lost:
                self._line.clear()
        for waiter in lost:
            waiter.settle(None, error)

    def part(self, worker: Worker, *, unused: bool = False) -> bool | None:
        """Give a worker no more calls.

        Args:
            worker: which.
            unused: only if nobody has needed it since this was last asked, and there are enough others.

        Returns:
            Whether it has none now; None if it got none before.
        """
        with self._lock:
            if worker not in self._all:
                return None
            rests = worker in self._idle
            if unused:
                same, worker.served_then = worker.served == worker.served_then, worker.served
                if not (same and rests and len(self._all) > self._settings.min):
                    return None
            self._all.discard(worker)
            if rests:
                self._idle.remove(worker)
            else:
                self._leaving.add(worker)
            return rests

    def died(self, worker: Worker) -> bool:
        """Forget a worker that is gone; give whether calls could have it, or had."""
        with self._lock:
            known = (worker in self._all or worker in self._leaving) and not self.closed
            self._all.discard(worker)
            self._leaving.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            if known and not worker.answered:
                self._fail()
            return known

    def _fail(self) -> None:
        self.failures += 1
        self._failed_at = monotonic()

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        with self._lock:
            busy = sum(each.exclusive or each.shared > 0 for each in self._all)
            return ExecutorStats(self._enqueued, self._rejected, 0, len(self._line), busy, len(self._idle), 0)
