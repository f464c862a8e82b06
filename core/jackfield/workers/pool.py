"""The workers of one plugin: taken for a call and given back, started when they are needed, replaced when they die."""

import asyncio
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final

from jackfield.errors import DeadlineExceeded, JackfieldError, ResourceExhausted, Unavailable
from jackfield.log import host_log
from jackfield.model.call import Call
from jackfield.ports import ExecutorStats
from jackfield.runtime.control import ControlLoop
from jackfield.sandbox.starting import seen
from jackfield.workers.channel import ChannelBroken, Ticket, teller
from jackfield.workers.messages import Described, Prepare
from jackfield.workers.nursery import Nest, Source
from jackfield.workers.settings import BACKOFF, BREAKER, LONGEST, PENDING, SHARED, WorkerSettings
from jackfield.workers.worker import Services, Worker

_SIGNALS: Final = {
    4: "illegal instruction",
    6: "abort",
    7: "bus error",
    8: "arithmetic fault",
    9: "killed",
    11: "segmentation fault",
}


_STAGES: Final = 2  # filters of a worker beside those that the host has itself


class _Waiter(Ticket):
    """A call that waits for a worker."""

    __slots__ = ("exclusive",)

    def __init__(self, exclusive: bool, tell: Callable[[], object] | None = None) -> None:
        super().__init__(tell)
        self.exclusive = exclusive
        self.prepare()


class WorkerPool:
    """Keeps the workers of one plugin.

    Args:
        plugin: its name.
        prepare: what its zygote is made of.
        settings: how they are kept.
        nursery: where they come from.
        control: the loop that they are supervised on.
        services: what they may ask.
    """

    def __init__(
        self,
        plugin: str,
        prepare: Prepare,
        settings: WorkerSettings,
        nursery: Source,
        control: ControlLoop,
        services: Services,
    ) -> None:
        self.plugin, self.settings = plugin, settings
        self._prepare, self._nursery, self._control, self._services = prepare, nursery, control, services
        # Reentrant: the garbage collector may run a finalizer that calls something, at any line.
        self._lock = threading.RLock()
        self._all: set[Worker] = set()
        self._idle: list[Worker] = []  # the one that was used last is the warmest, and is used next
        self._line: deque[_Waiter] = deque()
        self._starting = 0
        self._failures = 0
        self._failed_at = 0.0
        self._enqueued = self._rejected = 0
        self._closed = True
        self._nest: Nest | None = None
        self._opening: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._state: bytes | None = None

    # --- Its life, from threads of the pool ---------------------------------------------------------------------------

    def describe(self, timeout: float) -> Described:
        """Have the plugin imported, and give what that gave.

        Raises:
            TimeoutError: when it takes too long.
            Unavailable: when its zygote ends.
        """
        return self._control.run(self._described(timeout))

    async def _described(self, timeout: float) -> Described:
        self._nest = await self._nursery.open(self._prepare, self.plugin, timeout)
        return self._nest.described

    def start(self, state: bytes | None) -> None:
        """Let calls in, and start the first worker: what it raises is why the plugin does not start.

        Args:
            state: what an earlier instance left.
        """
        self._state = state
        with self._lock:
            self._closed, self._failures = False, 0
        try:
            self._control.run(self._first())
        except BaseException:
            with self._lock:
                self._closed = True
            raise

    async def _first(self) -> None:
        for _ in range(max(self.settings.min, 1)):
            worker = await self._hatch()
            self._admit(worker)

    def stop(self, timeout: float) -> None:
        """Stop the plugin in every worker, and end them.

        Args:
            timeout: seconds that it may take.
        """
        self._control.run(self._stopped(timeout))

    async def _stopped(self, timeout: float) -> None:
        with self._lock:
            self._closed = True
            workers, waiting = list(self._all), list(self._line)
            self._line.clear()
        for waiter in waiting:
            waiter.settle(None, Unavailable(self.plugin, "the plugin is being stopped", "stopped", ran=False))
        results = await asyncio.gather(*(each.method("stop", timeout) for each in workers), return_exceptions=True)
        for each in workers:
            each.kill("the plugin has stopped")
        failed = next((each for each in results if isinstance(each, BaseException)), None)
        if failed is not None and not isinstance(failed, Unavailable):
            raise failed

    def method(self, name: str, timeout: float) -> Any:
        """Call a method of the plugin object, in the worker that is there the longest.

        Args:
            name: `health` or `snapshot`.
            timeout: seconds that it may take.
        """
        return self._control.run(self._method(name, timeout))

    async def _method(self, name: str, timeout: float) -> Any:
        with self._lock:
            worker = min(self._all, key=lambda each: each.began, default=None)
        if worker is None:
            return None
        return await worker.method(name, timeout)

    def close(self) -> None:
        """Kill all that is there; for any thread but the control loop's."""
        self._control.run(self._close())

    async def _close(self) -> None:
        await self._stopped_at_once()
        nest, self._nest = self._nest, None
        if nest is not None:
            await self._nursery.drop(nest)

    async def _stopped_at_once(self) -> None:
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for each in workers:
            each.kill("the plugin has been unloaded")
        for task in list(self._tasks):
            task.cancel()

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
        if not waiter.done and not waiter.sleep(None if deadline is None else max(deadline - monotonic(), 0.0)):
            self._leave(waiter)
            raise DeadlineExceeded(call.name, monotonic() - (deadline or 0.0), "it waited for a worker")
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
            begin = len(self._all) + self._starting < self.settings.max and self._starting < len(self._line)
            self._starting += begin
        if begin:
            self._control.post(self._begin)
        return None, waiter

    def _free(self, exclusive: bool) -> Worker | None:
        """Take a worker that can do with one more call. The lock is held."""
        if not exclusive:
            for worker in self._all:
                if 0 < worker.shared < SHARED and not worker.dead:
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
        if waiter.done and waiter.error is None:
            self.give_back(waiter.value, exclusive=waiter.exclusive)

    def give_back(self, worker: Worker, *, exclusive: bool) -> None:
        """Give a worker back after a call; for any thread."""
        told, ends = [], False
        with self._lock:
            if exclusive:
                worker.exclusive = False
            else:
                worker.shared -= 1
            if worker.dead or worker not in self._all:
                return
            if worker.exclusive or worker.shared:
                told = self._serve_line()
            elif 0 < self.settings.calls <= worker.served:
                self._all.discard(worker)
                ends = True
            else:
                self._idle.append(worker)
                told = self._serve_line()
        for waiter, found in told:
            waiter.settle(found)
        if ends:
            self._control.post(self._retire, worker)

    def _serve_line(self) -> list[tuple[_Waiter, Worker]]:
        """Give free workers to those who wait, in order. The lock is held."""
        told = []
        while self._line:
            worker = self._free(self._line[0].exclusive)
            if worker is None:
                break
            told.append((self._line.popleft(), worker))
        return told

    # --- On the control loop ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._start_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_one(self) -> None:
        """Start a worker for those who wait."""
        try:
            if self._failures:
                await asyncio.sleep(min(BACKOFF * 2 ** (self._failures - 1), LONGEST))
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
        else:
            with self._lock:
                self._starting -= 1
            self._admit(worker)

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
            asyncio.get_running_loop().call_later(self.settings.idle, self._look, worker)

    def _look(self, worker: Worker) -> None:
        """End a worker that nobody has needed for a while."""
        loop = asyncio.get_running_loop()
        with self._lock:
            spare = worker in self._idle and len(self._all) > self.settings.min
            unused = spare and worker.served == worker.served_then
            worker.served_then = worker.served
            if unused:
                self._idle.remove(worker)
                self._all.discard(worker)
        if unused:
            self._retire(worker)
        elif not worker.dead:
            loop.call_later(self.settings.idle, self._look, worker)

    def _retire(self, worker: Worker) -> None:
        async def end() -> None:
            with suppress(JackfieldError, TimeoutError):
                await worker.method("stop", self.settings.stop_timeout)
            worker.kill("it was not needed any more")

        task = asyncio.get_running_loop().create_task(end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hatch(self) -> Worker:
        """Make a worker, and start the plugin in it."""
        nest = await self._parent()
        calls, side = socket.socketpair(), socket.socketpair()
        side[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        worker = Worker(self.plugin, calls[0], side[0], self._services, self._control.post)
        try:
            try:
                number = await nest.fork((calls[1].fileno(), side[1].fileno()))
            finally:
                calls[1].close()
                side[1].close()
            worker.on_death = partial(self._died, nest, number)
            began = monotonic()
            await worker.meet(self.settings.start_timeout)
            self._check_confined(worker.pid)
            left = max(self.settings.start_timeout - (monotonic() - began), 0.0)
            await worker.method("start", left, self._state)
        except BaseException:
            worker.kill("it did not start")
            worker.end(Unavailable(self.plugin, "its worker did not start", "start_failed", ran=False))
            raise
        return worker

    def _check_confined(self, pid: int) -> None:
        """Look from outside whether a worker has entered its sandbox: code that was imported may have kept it from it.

        Raises:
            Unavailable: if it has not.
        """
        if self._prepare.confinement and seen(pid).filters < seen(os.getpid()).filters + _STAGES:
            raise Unavailable(self.plugin, "its worker has not entered its sandbox", "protocol", ran=False)

    async def _parent(self) -> Nest:
        """Give the zygote of the plugin, made anew if the last one is gone or cannot be forked."""
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            nest = self._nest
            if nest is None or not nest.alive or (nest.used and not nest.forks):
                self._nest = nest = await self._nursery.open(self._prepare, self.plugin, self.settings.start_timeout)
                if nest.described.fault is not None:
                    raise Unavailable(self.plugin, nest.described.fault.reason, "start_failed", ran=False)
            if not nest.forks:
                nest.used = True
            return nest

    def _died(self, nest: Nest, number: int, worker: Worker, error: ChannelBroken) -> None:
        async def follow() -> None:
            with self._lock:
                known = worker in self._all
                self._all.discard(worker)
                if worker in self._idle:
                    self._idle.remove(worker)
            worker.kill(error.breach)
            status = await nest.status(number)
            reason, cause = _why(error, worker.killed_for, status)
            worker.end(Unavailable(self.plugin, f"its worker {reason}", cause, ran=True))
            if known and not self._closed:
                if not worker.answered:
                    self._failures += 1
                    self._failed_at = monotonic()
                host_log("WARNING", f"plugin {self.plugin}: its worker {worker.pid} {reason}")
            with self._lock:
                begin = bool(self._line) and len(self._all) + self._starting < self.settings.max and not self._closed
                self._starting += begin
            if begin:
                self._begin()

        task = asyncio.get_running_loop().create_task(follow())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- For people ---------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Those that are there."""
        with self._lock:
            return tuple(self._all)

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        with self._lock:
            busy = sum(each.exclusive or each.shared > 0 for each in self._all)
            return ExecutorStats(self._enqueued, self._rejected, 0, len(self._line), busy, len(self._idle), 0)


def _why(error: ChannelBroken, killed_for: str, status: int | None) -> tuple[str, str]:
    """Say why a worker is gone, and by what cause."""
    if error.breach:
        return f"broke the protocol: {error.breach}", "protocol"
    if killed_for:
        return f"was killed: {killed_for}", "killed"
    if status is None:
        return "has ended", "crashed"
    if status < 0:
        number = -status
        return f"was ended by signal {number} ({_SIGNALS.get(number, 'a signal')})", "crashed"
    return f"has ended by itself, with exit code {status}", "crashed"


def _start_failed(plugin: str, error: BaseException) -> JackfieldError:
    if isinstance(error, Unavailable):
        return error
    return Unavailable(plugin, f"its worker could not be started: {error}", "start_failed", ran=False)
