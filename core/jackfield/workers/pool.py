"""Workers of one plugin for the same calls: started when needed, looked after, and replaced when they die."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import msgspec

from jackfield.errors import JackfieldError, Unavailable
from jackfield.log import host_log
from jackfield.model.call import Call
from jackfield.model.record import WorkerRecord, WorkerState
from jackfield.ports import ExecutorStats
from jackfield.runtime.control import ControlLoop
from jackfield.sandbox.memory import Verdict, resident
from jackfield.sandbox.scheduling import make_idle
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.hatchery import Hatchery
from jackfield.workers.limits import Allowance, Usage
from jackfield.workers.members import Common, Member, Whose
from jackfield.workers.messages import JOIN, Prepare
from jackfield.workers.nursery import Nest
from jackfield.workers.settings import BACKOFF, LONGEST, WorkerSettings
from jackfield.workers.supply import Supply
from jackfield.workers.worker import Worker

OLDEST: Final = 24 * 60 * 60.0
"""Seconds after which a worker that rests is replaced."""

_DOUBLED: Final = 30  # times: more is no number any more, and longer than the longest wait at any rate
_DAY: Final = 86_400.0  # seconds: a handler of events has no deadline


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
        self._supply = Supply(plugin, settings, lambda: control.post(self._begin), self._left_by)
        self._alive: set[Worker] = set()  # all that have not ended, those that are starting, too; the control loop's
        self._usage = Usage(allowance)
        self._looking: asyncio.TimerHandle | None = None
        self._looks: dict[Worker, asyncio.TimerHandle] = {}  # of each that may idle for too long; the control loop's
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()  # these are waited for, not cancelled
        self.on_rest: Callable[[WorkerPool], object] = lambda _: None

    # --- Its life, on the control loop --------------------------------------------------------------------------------

    def open(self) -> None:
        """Let calls in; for any thread."""
        self._supply.open()

    async def first(self) -> None:
        """Start the workers that are kept warm, one at least: what that raises is why the plugin does not start."""
        try:
            for _ in range(max(self.settings.min, 1)):
                self._admit(await self._hatch(), started=False)
        except BaseException:
            self._supply.close()
            raise

    @property
    def retired(self) -> bool:
        """Whether this pool has ended, and another takes what is for it."""
        return self._supply.retired

    def retire(self) -> bool:
        """Let no more calls in if nobody needs this pool, and have another take them; give whether it is so."""
        return self._supply.retire()

    async def stop(self, timeout: float) -> None:
        """Stop the plugin in every worker, and end them.

        Args:
            timeout: seconds that it may take.
        """
        workers = self._supply.close("the plugin is being stopped")
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
        return self._supply.there()

    async def method(self, member: Member, name: str, timeout: float) -> Any:
        """Call a method of a plugin object, in the worker that is there the longest.

        Args:
            member: whose.
            name: `health` or `snapshot`, or `PROBE` and a name.
            timeout: seconds that it may take.
        """
        there = self.there()
        if not there:
            return None
        return await there[0].method(name, timeout, member=member.number)

    async def deliver(self, member: Member, name: str, event: bytes) -> bool:
        """Have a worker handle an event; one is started if there is none.

        Args:
            member: whose subscription.
            name: of the method that does.
            event: as it crosses.

        Returns:
            Whether any of them has that subscription.
        """
        workers = self.there()
        if self._supply.closed:
            raise Unavailable(self.plugin, "the plugin is being stopped", "stopped", ran=False)
        if not workers:
            workers = [await self._hatch()]
            self._admit(workers[0], started=False)
        for worker in workers:
            self._supply.use(worker)
            try:
                if await worker.method(name, _DAY, event, member=member.number):
                    return True
            finally:
                self.give_back(worker, exclusive=False)
        return False

    async def close(self) -> None:
        """Kill all that is there."""
        for each in self._supply.close():
            each.kill("the plugin has been unloaded")
        for task in list(self._tasks):
            task.cancel()
        await self._followed()
        await self._usage.let_go_all()

    # --- Calls, in any thread -----------------------------------------------------------------------------------------

    def take(self, call: Call, *, exclusive: bool) -> Worker:
        """Take a worker for a call; as `Supply.take`."""
        return self._supply.take(call, exclusive=exclusive)

    async def atake(self, call: Call, *, exclusive: bool) -> Worker:
        """Do the same without blocking the running event loop."""
        return await self._supply.atake(call, exclusive=exclusive)

    def give_back(self, worker: Worker, *, exclusive: bool) -> None:
        """Give a worker back after a call; for any thread."""
        self._supply.give_back(worker, exclusive=exclusive)

    # --- On the control loop ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._start_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _replace(self) -> None:
        """Start what is missing of those that wait for calls, or that calls wait for."""
        while self._supply.one_more():
            self._begin()

    async def _start_one(self) -> None:
        """Start a worker for those who wait."""
        failures = self._supply.failures
        try:
            if failures:
                await asyncio.sleep(min(BACKOFF * 2 ** min(failures - 1, _DOUBLED), LONGEST))
            worker = await self._hatch()
        except BaseException as error:  # told to those who wait
            host_log("ERROR", f"plugin {self.plugin}: a worker could not be started", error)
            self._supply.start_failed(_start_failed(self.plugin, error))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._admit(worker)
        self._replace()

    def _admit(self, worker: Worker, *, started: bool = True) -> None:
        if not self._supply.admit(worker, started=started):
            worker.kill("the plugin has stopped")
        elif self.settings.idle < float("inf"):
            self._looks[worker] = asyncio.get_running_loop().call_later(self.settings.idle, self._look, worker)

    def _look(self, worker: Worker) -> None:
        """End a worker that nobody has needed for a while."""
        self._looks.pop(worker, None)
        unused = self._supply.part(worker, unused=True) is not None
        if unused:
            self._retire(worker)
        if unused or worker.dead:
            self.on_rest(self)
        else:
            self._looks[worker] = asyncio.get_running_loop().call_later(self.settings.idle, self._look, worker)

    def _left_by(self, worker: Worker, rests: bool) -> None:
        """Have a worker ended that gets no more calls, if it has none, and replaced; for any thread."""
        if rests:
            self._control.post(self._retire, worker)
        self._control.post(self._replace)

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
            rests = self._supply.rests(worker)
            verdict, said = self._usage.judge(worker.pid, loop.time(), rests=rests)
            if verdict is Verdict.HARD:
                worker.kill(said, "out_of_memory")
            elif verdict is Verdict.SOFT:
                self._relieve(worker, said)
            elif rests and monotonic() - worker.began > OLDEST:
                self._relieve(worker, "it is old")

    def _relieve(self, worker: Worker, why: str) -> None:
        """Give a worker no more calls, have it replaced, and end it when it has finished those that it has."""
        rests = self._supply.part(worker)
        if rests is None:
            return
        host_log("INFO", f"plugin {self.plugin}: its worker {worker.pid} is replaced: {why}")
        if rests:
            self._retire(worker)
        self._replace()

    def _died(self, nest: Nest, number: int, worker: Worker, error: ChannelBroken) -> None:
        async def follow() -> None:
            known = self._supply.died(worker)
            self._alive.discard(worker)
            if (look := self._looks.pop(worker, None)) is not None:
                look.cancel()  # it would hold the worker for as long as one may idle
            worker.kill(error.breach)
            status = await nest.status(number)
            exhausted = await self._usage.let_go(worker.pid)
            await self.hatchery.bury(nest)
            reason, cause = _why(error, worker, status, exhausted=exhausted)
            if known and not self._supply.closed:
                self._common.tally.deaths[cause] += 1
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
        return tuple(
            WorkerRecord(
                self.plugin,
                self._common.version,
                each.pid,
                WorkerState.BUSY if each.exclusive or each.shared > 0 else WorkerState.IDLE,
                self._common.tier,
                each.served,
                resident(each.pid),
                self.whose.tenant,
                self.whose.low,
            )
            for each in self.there()
        )

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        return self._supply.stats()


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
