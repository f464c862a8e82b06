"""Calls that are tried again: a bound executor around the one that a function runs in.

It stands inside the walk that is observed and stays with the caller, so that a call is one span, one metric and one
record however often it is tried; and before the executor, so that each attempt has a seat, a payload and injected
objects of its own. Why so: `docs/decisions/0055-retries.md`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import Any

from msgspec.structs import force_setattr

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.retry import RetryPolicy, pause, worth_it
from jackfield.model.spec import FunctionSpec
from jackfield.observe.barrier import observer_failed
from jackfield.ports import BoundExecutor, BoundObserver
from jackfield.runtime.pauses import Pauses
from jackfield.stack import outcome_of
from jackfield.strangers import is_interrupt

Retried = Callable[[Call, Outcome, BaseException, float], object]
"""Hears of an attempt that failed and is not the last: how, why, and how many seconds it took."""


def telling(observers: Iterable[BoundObserver]) -> tuple[Retried, ...]:
    """Give what tells observers of further attempts: those that have a `retried`.

    Args:
        observers: those of the function.
    """
    told = []
    for observer in observers:
        try:
            retried = getattr(observer, "retried", None)
        except BaseException as problem:
            if is_interrupt(problem):
                raise
            observer_failed(observer, problem)
            continue
        if callable(retried):
            told.append(_guarded(observer, retried))
    return tuple(told)


def _guarded(observer: BoundObserver, retried: Retried) -> Retried:
    def tell(call: Call, outcome: Outcome, error: BaseException, duration: float) -> None:
        try:
            retried(call, outcome, error, duration)
        except BaseException as problem:
            if is_interrupt(problem):
                raise
            observer_failed(observer, problem)

    return tell


class Retrying:
    """Run a function in the executor that it is bound to, as often as its policy allows and its errors are worth it.

    All attempts are one `Call`: tenant, headers, version, trace and deadline are those of the first. Each runs in a
    copy of the context that the call was made in, so that none sees what an earlier one has set.

    Args:
        inner: the executor.
        spec: the function.
        policy: how often, and after how long.
        pauses: waits in between.
        retried: told of each further attempt before its pause; they raise nothing.
    """

    def __init__(
        self, inner: BoundExecutor, spec: FunctionSpec, policy: RetryPolicy, pauses: Pauses, retried: Sequence[Retried]
    ) -> None:
        self._inner = inner
        self._idempotent = spec.policy.idempotent
        self._policy = policy
        self._pauses = pauses
        self._retried = retried

    def run(self, call: Call, /) -> Any:
        """Wait for the result of the first attempt that succeeds, or raise the error of the last.

        Inside a running event loop, which a pause would block, there is one attempt.
        """
        context = copy_context()
        first, quickest = call.attempt, inf  # a durable call comes with the number of its own attempt
        while True:
            began = monotonic()
            try:
                return context.copy().run(self._inner.run, call)
            except BaseException as error:
                took = monotonic() - began
                quickest = min(quickest, took)
                on_loop = asyncio._get_running_loop() is not None  # noqa: SLF001  # documented; does not raise
                seconds = None if on_loop else self._pause(call, error, first, took, quickest)
                if seconds is None or not self._pauses.wait(seconds):
                    self._note(call, error, first)
                    raise
            force_setattr(call, "attempt", call.attempt + 1)

    async def arun(self, call: Call, /) -> Any:
        """Do the same without blocking the running event loop."""
        context = copy_context()
        first, quickest = call.attempt, inf  # a durable call comes with the number of its own attempt
        while True:
            began = monotonic()
            try:
                return await self._attempt(call, context.copy())
            except BaseException as error:
                took = monotonic() - began
                quickest = min(quickest, took)
                seconds = self._pause(call, error, first, took, quickest)
                if seconds is None or not await self._pauses.sleep(seconds):
                    self._note(call, error, first)
                    raise
            force_setattr(call, "attempt", call.attempt + 1)

    def close(self) -> None:
        """Do nothing: whoever has made the executor closes it."""

    async def _attempt(self, call: Call, context: Context) -> Any:
        async def attempt() -> Any:
            return await self._inner.arun(call)

        # A task has the context; whoever cancels this one cancels it.
        return await asyncio.get_running_loop().create_task(attempt(), name=call.name, context=context)

    def _pause(self, call: Call, error: BaseException, first: int, took: float, quickest: float) -> float | None:
        """Decide on another attempt, and tell of it.

        Returns:
            The seconds before it; None if there is none.
        """
        tried = call.attempt - first + 1
        if tried >= self._policy.attempts or not worth_it(error, idempotent=self._idempotent):
            return None
        seconds = pause(self._policy, tried, error)
        # What the quickest attempt took is the least that another one takes.
        if call.deadline is not None and monotonic() + seconds + quickest >= call.deadline:
            return None
        outcome = outcome_of(error)
        for tell in self._retried:
            tell(call, outcome, error, took)
        return seconds

    def _note(self, call: Call, error: BaseException, first: int) -> None:
        """Note on an error how many attempts there were, if there was more than one."""
        tried = call.attempt - first + 1
        if tried > 1:
            with suppress(Exception):  # a class of a stranger's may allow no notes
                BaseException.add_note(error, f"{call.name} was tried {tried} times, of {self._policy.attempts}")
