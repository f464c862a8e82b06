"""The executor `worker`: functions in the processes of their plugin."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Protocol

import attrs

from jackfield.model.call import Call, begins
from jackfield.model.seen import note
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.ports import BoundExecutor, ExecutorStats


class Undelivered(Exception):
    """A worker, or a pool, had ended before it had all of a call: another can run it. It never leaves the executor."""


class Worker(Protocol):
    """A process that runs one plugin. Its methods raise `Undelivered` when it had ended already.

    Attributes:
        pid: of the process.
    """

    pid: int

    def run(self, function: int, call: Call, release: Callable[[], object]) -> Any:
        """Run a function, and wait for its result."""
        ...

    async def arun(self, function: int, call: Call, release: Callable[[], object]) -> Any:
        """Await its result."""
        ...


class Workers(Protocol):
    """The workers of one plugin, or those of them that are for the same calls."""

    def of(self, call: Call) -> "Workers":
        """Give those that a call is for."""
        ...

    def take(self, call: Call, *, exclusive: bool) -> Worker:
        """Wait for one that is free."""
        ...

    async def atake(self, call: Call, *, exclusive: bool) -> Worker:
        """Await one that is free."""
        ...

    def give_back(self, worker: Any, *, exclusive: bool) -> None:
        """Give it back."""
        ...


class WorkerExecutor:
    """Run functions in child processes; adapter of `ports.Executor`.

    The target of such a function has its plugin's workers as `pool`, and its `number` there.
    """

    injects = True

    def refusal(self, spec: FunctionSpec) -> str:
        """Refuse what is in this process: a whole plugin goes to workers."""
        if spec.remote is not None:
            return ""
        return (
            "workers run whole plugins, and this one has been imported here: say `executor = 'worker'` of the plugin in"
            " its configuration"
        )

    def bind(self, spec: FunctionSpec, local: Callable[[Call], Any]) -> BoundExecutor:
        """Bind to one function."""
        del local
        target: Any = spec.target
        return _Bound(target.pool, target.number, spec.colour is Colour.SYNC)

    def stats(self) -> ExecutorStats:
        """Give counts that are all zero: each plugin's pool has its own, and `Host.executors` adds them up."""
        return ExecutorStats()


@attrs.frozen
class _Bound:
    _pool: Workers
    _number: int
    _exclusive: bool

    def run(self, call: Call, /) -> Any:
        """Wait for the result, at most until the call's deadline."""
        while True:
            with suppress(Undelivered):
                pool = self._pool.of(call)
                asked = monotonic()
                worker = pool.take(call, exclusive=self._exclusive)
                note(call, "worker", str(worker.pid), monotonic() - asked)
                give_back = partial(pool.give_back, worker, exclusive=self._exclusive)
                _check(call, give_back)
                return worker.run(self._number, call, give_back)

    async def arun(self, call: Call, /) -> Any:
        """Await the result."""
        while True:
            with suppress(Undelivered):
                pool = self._pool.of(call)
                asked = monotonic()
                worker = await pool.atake(call, exclusive=self._exclusive)
                note(call, "worker", str(worker.pid), monotonic() - asked)
                give_back = partial(pool.give_back, worker, exclusive=self._exclusive)
                _check(call, give_back)
                return await worker.arun(self._number, call, give_back)

    def close(self) -> None:
        """Do nothing: the workers are everybody's of the plugin."""


def _check(call: Call, give_back: Callable[[], object]) -> None:
    check = begins.get()
    if check is not None:
        try:
            check(call)
        except BaseException:
            give_back()
            raise
