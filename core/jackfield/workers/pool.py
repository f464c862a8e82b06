"""Workers of one plugin for the same calls: taken and given back, started when needed, replaced when they die."""

import asyncio
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import attrs
import msgspec

from jackfield.errors import DeadlineExceeded, JackfieldError, ResourceExhausted, Unavailable
from jackfield.executors.worker import Undelivered
from jackfield.log import host_log
from jackfield.model.call import Call
from jackfield.model.record import WorkerRecord, WorkerState, WorkerTally
from jackfield.ports import ExecutorStats
from jackfield.runtime.control import ControlLoop
from jackfield.sandbox.memory import Verdict, resident
from jackfield.sandbox.scheduling import make_idle
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.hatchery import Hatchery
from jackfield.workers.limits import Allowance, Usage
from jackfield.workers.messages import JOIN, PROBE, Prepare
from jackfield.workers.nursery import Nest
from jackfield.workers.settings import BACKOFF, BREAKER, LONGEST, PENDING, SHARED, WorkerSettings
from jackfield.workers.tickets import Ticket, teller
from jackfield.workers.worker import Worker

OLDEST: Final = 24 * 60 * 60.0
"""Seconds after which a worker that rests is replaced."""

_DOUBLED: Final = 30  # times: more is no number any more, and longer than the longest wait at any rate
_DAY: Final = 86_400.0  # seconds: a handler of events has no deadline


class _Waiter(Ticket):
    """A call that waits for a worker."""

    __slots__ = ("exclusive",)

    def __init__(self, exclusive: bool, tell: Callable[[], object] | None = None) -> None:
        super().__init__(tell)
        self.exclusive = exclusive
        self.prepare()


@attrs.frozen
class Whose:
    """The calls that a pool is for.

    Attributes:
        tenant: whose alone; None: anybody's who has no pool of its own.
        low: whether they run only when nothing else wants the processor.
    """

    tenant: str | None = None
    low: bool = False


@attrs.define(eq=False)
class Member:
    """A plugin that lives in the workers of a pool.

    Attributes:
        plugin: its name.
        number: its place there: 0 for the first, and only, one.
        settings: how its part of a worker is started and stopped.
        state: what an earlier instance left.
        running: whether calls are let in.
    """

    plugin: str
    number: int
    settings: WorkerSettings
    state: bytes | None = None
    running: bool = False

    async def start(self, worker: Worker, timeout: float) -> None:
        """Start it in a worker."""
        await worker.method("start", timeout, self.state, member=self.number)

    async def stop(self, worker: Worker, timeout: float) -> None:
        """Have it end its work in a worker: as its manifest says, and by its `stop`."""
        shutdown = self.settings.shutdown
        try:
            if shutdown is not None:
                await worker.method(f"{PROBE}{shutdown.name}", shutdown.timeout, member=self.number)
        finally:
            if shutdown is None or shutdown.name != "stop":
                await worker.method("stop", timeout, member=self.number)


@attrs.define(eq=False)
class Common:
    """What all pools of one plugin, or of those that share processes, have in common.

    Attributes:
        members: these plugins.
        version: of the plugin.
        tier: the sandbox that its workers are in.
        tally: counts its workers; whoever wants the count to outlive the plugin gives another.
    """

    members: list[Member] = attrs.field(factory=list)
    version: str = "0"
    tier: str = ""
    tally: WorkerTally = attrs.field(factory=WorkerTally)


class WorkerPool:
    """Keeps workers of one plugin that are for the same calls.

    Args:
        plugin: its name.
        hatchery: where they come from.
        allowance: what each may use.
        settings: how they are kept.
        control: the loop that they are supervised on.
        common: what pools of one plugin have in common.
        whose: the calls that they are for.

    Attributes:
        retired: whether this pool has ended, and another takes what is for it.
        on_rest: called on the control loop when its last worker has ended because nobody needed it.
    """

    def __init__(
        self,
        plugin: str,
        hatchery: Hatchery,
        allowance: Allowance,
        settings: WorkerSettings,
        control: ControlLoop,
        common: Common,
        whose: Whose,
    ) -> None:
        self.plugin, self.settings, self.whose = plugin, settings, whose
        self._control = control
        self.hatchery = hatchery
        self._common = common
        # Reentrant: the garbage collector may run a finalizer that calls something, at any line.
        self._lock = threading.RLock()
        self._all: set[Worker] = set()
        self._leaving: set[Worker] = set()  # these get no more calls, and end when they have finished those they have
        self._alive: set[Worker] = set()  # all that have not ended, those that are starting, too; the control loop's
        self._usage = Usage(allowance)
        self._looking: asyncio.TimerHandle | None = None
        self._looks: dict[Worker, asyncio.TimerHandle] = {}  # of each that may idle for too long; the control loop's
        self._idle: list[Worker] = []  # the one that was used last is the warmest, and is used next
        self._line: deque[_Waiter] = deque()
        self._starting = 0
        self._failures = 0
        self._failed_at = 0.0
        self._enqueued = self._rejected = 0
        self._closed = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()  # these are waited for, not cancelled
        self.retired = False
        self.on_rest: Callable[[WorkerPool], object] = lambda _: None

    # --- Its life, on the control loop --------------------------------------------------------------------------------

    def open(self) -> None:
        """Let calls in; for any thread."""
        with self._lock:
            self._closed, self._failures = False, 0

    async def first(self) -> None:
        """Start the workers that are kept warm, one at least: what that raises is why the plugin does not start."""
        try:
            for _ in range(max(self.settings.min, 1)):
                worker = await self._hatch()
                self._admit(worker)
        except BaseException:
            with self._lock:
                self._closed = True
            raise

    def retire(self) -> bool:
        """Let no more calls in if nobody needs this pool, and have another take them; give whether it is so."""
        with self._lock:
            busy = any(each.exclusive or each.shared for each in self._all)
            if busy or self._line or self._starting or self._leaving:
                return False
            self._closed = self.retired = True
            return True

    async def stop(self, timeout: float) -> None:
        """Stop the plugin in every worker, and end them.

        Args:
            timeout: seconds that it may take.
        """
        with self._lock:
            self._closed = True
            workers, waiting = [*self._all, *self._leaving], list(self._line)
            self._line.clear()
        for waiter in waiting:
            waiter.settle(None, Unavailable(self.plugin, "the plugin is being stopped", "stopped", ran=False))
        results = await asyncio.gather(*(self._ended(each, timeout) for each in workers), return_exceptions=True)
        for each in workers:
            each.kill("the plugin has stopped")
        await self._followed()
        failed = next((each for each in results if isinstance(each, BaseException)), None)
        if failed is not None and not isinstance(failed, Unavailable):
            raise failed

    async def _followed(self) -> None:
        """Wait until what was around the workers that have been killed is taken away."""
        await asyncio.sleep(0)  # then whatever has been told of ends by now is being followed
        while self._ends:
            await asyncio.wait(self._ends)

    async def _ended(self, worker: Worker, timeout: float) -> None:
        """Have every plugin end its work in a worker."""
        running = [each for each in self._common.members if each.running]
        results = await asyncio.gather(*(each.stop(worker, timeout) for each in running), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def join(self, prepare: Prepare) -> None:
        """Have a further plugin imported by the workers that are there; those that cannot are replaced."""
        for worker in self.there():
            try:
                await self._bring(worker, prepare)
            except (JackfieldError, TimeoutError) as error:
                self._relieve(worker, f"a plugin that shares it cannot be imported there: {error}")

    async def left(self, member: Member, timeout: float) -> None:
        """Stop a plugin in the workers that are there, which go on."""
        for worker in self.there():
            await member.stop(worker, timeout)

    def there(self) -> list[Worker]:
        """Give the workers that take calls."""
        with self._lock:
            return list(self._all)

    async def method(self, member: Member, name: str, timeout: float) -> Any:
        """Call a method of a plugin object, in the worker that is there the longest.

        Args:
            member: whose.
            name: `health` or `snapshot`, or `PROBE` and a name.
            timeout: seconds that it may take.
        """
        with self._lock:
            worker = min(self._all, key=lambda each: each.began, default=None)
        if worker is None:
            return None
        return await worker.method(name, timeout, member=member.number)

    async def deliver(self, member: Member, name: str, event: bytes) -> bool:
        """Have a worker handle an event; one is started if there is none.

        Args:
            member: whose subscription.
            name: of the method that does.
            event: as it crosses.

        Returns:
            Whether any of them has that subscription.
        """
        with self._lock:
            workers, closed = sorted(self._all, key=lambda each: each.began), self._closed
        if closed:
            raise Unavailable(self.plugin, "the plugin is being stopped", "stopped", ran=False)
        if not workers:
            workers = [await self._hatch()]
            self._admit(workers[0])
        for worker in workers:
            with self._lock:
                worker.shared += 1  # it is needed: nobody ends it for being idle
                if worker in self._idle:
                    self._idle.remove(worker)
            try:
                if await worker.method(name, _DAY, event, member=member.number):
                    return True
            finally:
                self.give_back(worker, exclusive=False)
        return False

    async def close(self) -> None:
        """Kill all that is there."""
        with self._lock:
            self._closed = True
            workers = [*self._all, *self._leaving]
        for each in workers:
            each.kill("the plugin has been unloaded")
        for task in list(self._tasks):
            task.cancel()
        await self._followed()
        await self._usage.let_go_all()

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
            if self._closed:
                raise Unavailable(call.name, f"the plugin {self.plugin} is not running", "stopped", ran=False)
            self._enqueued += 1
            worker = self._free(exclusive)
            if worker is not None:
                return worker, None
            if len(self._line) >= PENDING:
                self._rejected += 1
                raise ResourceExhausted(call.name, f"{PENDING} calls wait for a worker, the most allowed", 1.0)
            if not self._all and self._failures >= BREAKER and monotonic() - self._failed_at < LONGEST:
                self._rejected += 1
                reason = f"its workers have failed to start {self._failures} times in a row"
                raise Unavailable(call.name, reason, "start_failed", ran=False)
            waiter = _Waiter(exclusive, tell)
            self._line.append(waiter)
            begin = self._one_more()
        if begin:
            self._control.post(self._begin)
        return None, waiter

    def _one_more(self) -> bool:
        """Tell whether one more worker is to be started, and count it as starting. The lock is held."""
        there = len(self._all) + self._starting
        # Those that leave are replaced at once, unless they are so slow that there would be ever more.
        if self._closed or there >= self.settings.max or there + len(self._leaving) >= 2 * self.settings.max:
            return False
        if self._failures and self._starting:
            return False  # while starts fail, one is tried after the other
        begin = there < self.settings.min or self._starting < self._wanted()
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
                self._failures = 0
            rests = not worker.exclusive and not worker.shared
            if worker in self._all and 0 < self.settings.calls <= worker.served:
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
            if rests:
                self._control.post(self._retire, worker)
            self._control.post(self._replace)

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

    # --- On the control loop ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._start_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _replace(self) -> None:
        """Start what is missing of those that wait for calls, or that calls wait for."""
        while True:
            with self._lock:
                begin = self._one_more()
            if not begin:
                return
            self._begin()

    async def _start_one(self) -> None:
        """Start a worker for those who wait."""
        try:
            if self._failures:
                await asyncio.sleep(min(BACKOFF * 2 ** min(self._failures - 1, _DOUBLED), LONGEST))
            worker = await self._hatch()
        except BaseException as error:  # told to those who wait
            with self._lock:
                self._starting -= 1
                self._failures += 1
                self._failed_at = monotonic()
                lost = [] if self._all or self._starting else list(self._line)
                if lost:
                    self._line.clear()
            host_log("ERROR", f"plugin {self.plugin}: a worker could not be started", error)
            for waiter in lost:
                waiter.settle(None, _start_failed(self.plugin, error))
            if isinstance(error, asyncio.CancelledError):
                raise
            self._replace()
        else:
            with self._lock:
                self._starting -= 1
            self._admit(worker)
            self._replace()

    def _admit(self, worker: Worker) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._all.add(worker)
                self._idle.append(worker)
            told = self._serve_line()
        for waiter, found in told:
            waiter.settle(found)
        if closed:
            worker.kill("the plugin has stopped")
        elif self.settings.idle < float("inf"):
            self._looks[worker] = asyncio.get_running_loop().call_later(self.settings.idle, self._look, worker)

    def _look(self, worker: Worker) -> None:
        """End a worker that nobody has needed for a while."""
        loop = asyncio.get_running_loop()
        self._looks.pop(worker, None)
        with self._lock:
            spare = worker in self._idle and len(self._all) > self.settings.min
            unused = spare and worker.served == worker.served_then
            worker.served_then = worker.served
            if unused:
                self._idle.remove(worker)
                self._all.discard(worker)
        if unused:
            self._retire(worker)
        if unused or worker.dead:
            self.on_rest(self)
        else:
            self._looks[worker] = loop.call_later(self.settings.idle, self._look, worker)

    def _retire(self, worker: Worker) -> None:
        async def end() -> None:
            with suppress(JackfieldError, TimeoutError):
                await self._ended(worker, self.settings.stop_timeout)
            worker.kill("it was not needed any more")

        task = asyncio.get_running_loop().create_task(end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hatch(self) -> Worker:
        """Make a worker, and start the plugin in it."""
        had = len(self.hatchery.joined)
        worker = await self.hatchery.hatch(self.settings.start_timeout, self._died)
        self._common.tally.starts += 1
        self._alive.add(worker)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(self._usage.every, self._look_at_all)
        try:
            await self._usage.hold(worker.pid)
            await self._furnish(worker, had)
            if self.whose.low:  # not before: where nothing is left for it, a start would not be in time
                make_idle(worker.pid)
        except BaseException:
            worker.kill("it did not start")
            worker.end(Unavailable(self.plugin, "its worker did not start", "start_failed", ran=False))
            await self._usage.let_go(worker.pid)
            raise
        return worker

    async def _furnish(self, worker: Worker, had: int) -> None:
        """Have the plugins imported that came after it was forked, and start all that run."""
        started: set[Member] = set()
        while True:
            missing = self.hatchery.joined[had:]
            running = [each for each in self._common.members if each.running and each not in started]
            if not missing and not running:
                return
            had += len(missing)
            for prepare in missing:
                await self._bring(worker, prepare)
            for each in running:
                await each.start(worker, self._left(worker))
                started.add(each)

    async def _bring(self, worker: Worker, prepare: Prepare) -> None:
        """Have a further plugin imported by a worker, if it has it not yet."""
        packed = msgspec.msgpack.encode(prepare)
        await worker.method(JOIN, self.settings.start_timeout, packed, member=prepare.member)

    def _left(self, worker: Worker) -> float:
        return max(self.settings.start_timeout - (monotonic() - worker.began), 0.0)

    # --- What it uses -------------------------------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        """Look at each worker: its memory, its age, and who waits for it; again soon, while there is one."""
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(self._usage.every, self._look_at_all) if self._alive else None
        for worker in list(self._alive):
            worker.calls.leave_closed()
            rests = worker in self._idle
            verdict, said = self._usage.judge(worker.pid, loop.time(), rests=rests)
            if verdict is Verdict.HARD:
                worker.kill(said, "out_of_memory")
            elif verdict is Verdict.SOFT:
                self._relieve(worker, said)
            elif rests and monotonic() - worker.began > OLDEST:
                self._relieve(worker, "it is old")

    def _relieve(self, worker: Worker, why: str) -> None:
        """Give a worker no more calls, have it replaced, and end it when it has finished those that it has."""
        with self._lock:
            if worker not in self._all:
                return
            self._all.discard(worker)
            rests = worker in self._idle
            if rests:
                self._idle.remove(worker)
            else:
                self._leaving.add(worker)
        host_log("INFO", f"plugin {self.plugin}: its worker {worker.pid} is replaced: {why}")
        if rests:
            self._retire(worker)
        self._replace()

    def _died(self, nest: Nest, number: int, worker: Worker, error: ChannelBroken) -> None:
        async def follow() -> None:
            with self._lock:
                known = worker in self._all or worker in self._leaving
                self._all.discard(worker)
                self._leaving.discard(worker)
                if worker in self._idle:
                    self._idle.remove(worker)
            self._alive.discard(worker)
            if (look := self._looks.pop(worker, None)) is not None:
                look.cancel()  # it would hold the worker for as long as one may idle
            worker.kill(error.breach)
            status = await nest.status(number)
            exhausted = await self._usage.let_go(worker.pid)
            await self.hatchery.bury(nest)
            reason, cause = _why(error, worker, status, exhausted=exhausted)
            if known and not self._closed:
                self._common.tally.deaths[cause] += 1
                if not worker.answered:
                    self._failures += 1
                    self._failed_at = monotonic()
                host_log("WARNING", f"plugin {self.plugin}: its worker {worker.pid} {reason}")
            worker.end(Unavailable(self.plugin, f"its worker {reason}", cause, ran=True))
            self._replace()

        def let_go(task: asyncio.Task[None]) -> None:
            self._ends.discard(task)
            if task.cancelled():  # the control loop ends
                worker.end(Unavailable(self.plugin, "its worker has ended", "stopped", ran=True))

        task = asyncio.get_running_loop().create_task(follow())
        self._ends.add(task)
        task.add_done_callback(let_go)

    # --- For people ---------------------------------------------------------------------------------------------------

    def records(self) -> tuple[WorkerRecord, ...]:
        """Give what there is to know of each, the one that is there the longest first."""
        with self._lock:
            seen = [(each, each.exclusive or each.shared > 0) for each in self._all]
        return tuple(
            WorkerRecord(
                self.plugin,
                self._common.version,
                each.pid,
                WorkerState.BUSY if busy else WorkerState.IDLE,
                self._common.tier,
                each.served,
                resident(each.pid),
                self.whose.tenant,
                self.whose.low,
            )
            for each, busy in sorted(seen, key=lambda one: one[0].began)
        )

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        with self._lock:
            busy = sum(each.exclusive or each.shared > 0 for each in self._all)
            return ExecutorStats(self._enqueued, self._rejected, 0, len(self._line), busy, len(self._idle), 0)


def _why(error: ChannelBroken, worker: Worker, status: int | None, *, exhausted: bool) -> tuple[str, str]:
    """Say why a worker is gone, and by what cause."""
    if error.breach:
        return f"broke the protocol: {error.breach}", "protocol"
    if worker.killed_for:
        return f"was killed: {worker.killed_for}", worker.killed_by
    if exhausted:
        return "was killed by the system: it used more memory than it may", "out_of_memory"
    if status is None:
        return "has ended", "crashed"
    if status < 0:
        return f"was ended by signal {-status} ({(signal.strsignal(-status) or 'unknown').lower()})", "crashed"
    return f"has ended by itself, with exit code {status}", "crashed"


def _start_failed(plugin: str, error: BaseException) -> JackfieldError:
    if isinstance(error, Unavailable):
        return error
    return Unavailable(plugin, f"its worker could not be started: {error}", "start_failed", ran=False)
