"""The executors of one host by the names that policies use: which there are, and what runs in which."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from jackfield.errors import ContractError, Fault
from jackfield.executors.inline import InlineExecutor
from jackfield.executors.thread import ThreadExecutor
from jackfield.executors.worker import WorkerExecutor
from jackfield.model.place import place_of
from jackfield.model.spec import FunctionSpec
from jackfield.ports import Executor, ExecutorStats, missing_members
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool

BUILT_IN: Final = ("inline", "thread", "worker")
_MOVE: Final = "an executor has `bind` since 0.2: docs/how-to/executors.md shows how to move one"


class Places:
    """Knows where functions can run.

    Args:
        home: where async functions run that ask for no place.
        pool: where threads come from.
        further: executors of the embedder, by name.

    Raises:
        ContractError: with every executor that is none, or has a name that is taken.
    """

    def __init__(self, home: HomeLoop, pool: Pool, further: Mapping[str, Executor]) -> None:
        _check(further, "Host(executors=…)")
        self._pool = pool
        self.inline: Final = InlineExecutor(home)
        self.thread = ThreadExecutor(pool)
        self._worker = WorkerExecutor()
        self._further = dict(further)
        self._made: tuple[Any, ...] = ()

    def add(self, made: Mapping[str, Executor]) -> None:
        """Take further executors, which end with the host; one of the embedder's own comes first.

        Raises:
            ContractError: as for the class.
        """
        _check(made, "[executors]")
        self._made = tuple(made.values())
        self._further = {**made, **self._further}

    def open(self) -> None:
        """Begin anew after a stop: what lingers from before is not counted any more."""
        self.thread = ThreadExecutor(self._pool)

    def close(self) -> None:
        """Refuse new calls in threads, and let go of what executors of the configuration hold."""
        self.thread.close()
        for executor in self._made:
            executor.close()

    def of(self, spec: FunctionSpec) -> Executor | None:
        """Give the executor that a function's policy names; None if it names none, or `inline`.

        Args:
            spec: the function; it has passed `check`.
        """
        name = spec.policy.executor
        if name is None or name == "inline":
            return None
        if name == "worker":
            return self._worker
        return self.thread if name == "thread" else self._further[name]

    def check(self, spec: FunctionSpec) -> None:
        """Check that a function can run where its policy says.

        Args:
            spec: the function.

        Raises:
            ContractError: if there is no such executor, or it refuses the function.
        """
        name = spec.policy.executor
        if name is not None and name not in BUILT_IN and name not in self._further:
            known = ", ".join(sorted({*BUILT_IN, *self._further}))
            raise _refused(spec, f"there is no executor {name!r}", f"use one of {known}")
        executor = self.of(spec)
        refusal = executor.refusal(spec) if executor is not None else ""
        if refusal:
            reason, _, fix = refusal.partition(": ")
            raise _refused(spec, f"it cannot run with executor={name!r}: {reason}", fix)

    def injects_here(self, spec: FunctionSpec) -> bool:
        """Tell whether the host provides a function's dependencies; else its executor does, where it runs.

        Args:
            spec: the function; it has passed `check`.
        """
        executor = self.of(spec)
        return executor is None or not executor.injects

    @property
    def names(self) -> tuple[str, ...]:
        """The names that policies may use."""
        return (*BUILT_IN, *self._further)

    @property
    def stats(self) -> Mapping[str, ExecutorStats]:
        """Name → the counts of each executor that has some."""
        return MappingProxyType({name: each.stats() for name, each in {"thread": self.thread, **self._further}.items()})


def _refused(spec: FunctionSpec, reason: str, fix: str) -> ContractError:
    return ContractError(spec.name, (Fault("contract", spec.plugin, spec.key, reason, fix, place_of(spec.target)),))


def _check(executors: Mapping[str, Executor], whose: str) -> None:
    faults = tuple(fault for name, each in executors.items() if (fault := _fault(name, each)) is not None)
    if faults:
        raise ContractError(whose, faults)


def _fault(name: str, executor: object) -> Fault | None:
    if name in BUILT_IN:
        return Fault("contract", "", name, "this name is built in", "give the executor another one")
    missing = missing_members(executor, Executor)
    if not missing:
        return None
    what = f"{type(executor).__qualname__} has no {', '.join(f'`{member}`' for member in missing)}"
    return Fault("contract", "", name, what, _MOVE)
