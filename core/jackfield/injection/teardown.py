"""Close what generators have yielded: in reverse order, each seeing the error, none able to swallow it.

What generated bodies call is here, written out once; a body that opens no generator calls none of it.

The rules are those of nested `with` blocks, but for three: a generator that ends quietly after an error was thrown
into it does not end the error; an error that a generator raises instead takes the place of an ordinary one, but never
of a deadline, a cancellation or another `BaseException`, of which it becomes the context; and under cancellation async
generators get `GRACE` seconds, whoever cancels again meanwhile.

A call that opens async generators is one task from the first of them to the last, beside its caller's, so that a
generator may hold a task group, a timeout or a cancel scope across its `yield`: the task that entered one must leave
it. What cancels the caller is passed on to that task until it begins to clean up, and not from then on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, Final, NoReturn, TypeVar

from jackfield.errors import DeadlineExceeded, Fault, InjectionError
from jackfield.injection.providers import Provider
from jackfield.log import host_log
from jackfield.model.spec import MISSING, Colour
from jackfield.stack import is_closing, set_traceback, traceback_of
from jackfield.strangers import is_a

GRACE: Final = 1.0
"""Seconds that async request objects have to clean up after a cancellation."""

_T = TypeVar("_T")
_Opened = list[Any]
_running: set[asyncio.Task[None]] = set()  # a loop alone does not keep a task alive
# Where it can, a task begins at once, and never waits for its turn if nothing in it does: that is a third of its cost.
_begin: Callable[..., asyncio.Task[None]] = getattr(
    asyncio, "eager_task_factory", lambda loop, body, context: loop.create_task(body, context=context)
)


def unyielded(provider: Provider) -> InjectionError:
    """Make the error for a generator that ended without a value."""
    fix = "yield exactly once on every path, or raise"
    return InjectionError((Fault("inject", provider.plugin, provider.label, "it ended before it yielded", fix),))


def yielded_twice(provider: Provider) -> InjectionError:
    """Make the error for a generator that went on yielding."""
    fix = "yield exactly once; what comes after it is cleaning up"
    return InjectionError((Fault("inject", provider.plugin, provider.label, "it yielded a second time", fix),))


def first(provider: Provider, generator: Generator[Any, None, None]) -> Any:
    """Give what a generator yields.

    Raises:
        InjectionError: if it ends without.
        BaseException: whatever it raises.
    """
    made = next(generator, MISSING)
    if made is MISSING:
        raise unyielded(provider)
    return made


async def afirst(provider: Provider, generator: AsyncGenerator[Any, None]) -> Any:
    """Give what an async generator yields.

    Raises:
        InjectionError: if it ends without.
        BaseException: whatever it raises.
    """
    try:
        return await generator.__anext__()
    except StopAsyncIteration:
        raise unyielded(provider) from None


def finish(provider: Provider, generator: Generator[Any, None, None]) -> None:
    """Let a generator clean up after everything went well.

    Raises:
        InjectionError: if it yields again.
        BaseException: whatever it raises.
    """
    if next(generator, MISSING) is not MISSING:
        raise _stop(generator) or yielded_twice(provider)


async def afinish(provider: Provider, generator: AsyncGenerator[Any, None]) -> None:
    """Let an async generator clean up after everything went well.

    Raises:
        InjectionError: if it yields again.
        BaseException: whatever it raises.
    """
    try:
        await generator.__anext__()
    except StopAsyncIteration:
        return
    raise await _astop(generator) or yielded_twice(provider)


def unwind(providers: Sequence[Provider], opened: _Opened, error: BaseException) -> None:
    """Close opened generators in reverse, throwing the error into each.

    Args:
        providers: what opened them, in the same order; there may be more.
        opened: the generators; emptied.
        error: why. The caller re-raises it.

    Raises:
        Exception: what replaces the error, when a generator raised another one.
    """
    outcome = error
    while opened:
        generator = opened.pop()
        outcome = _merged(outcome, _throw(providers[len(opened)], generator, outcome), providers[len(opened)])
    if outcome is not error:
        try:
            _raise(outcome)
        finally:
            del outcome


class Apart:
    """A call in a task of its own.

    Attributes:
        opened: the generators that it has opened and not closed yet.
    """

    __slots__ = ("_ended", "_error", "_grace", "_result", "_task", "_waiting", "opened")

    def __init__(self) -> None:
        self.opened: _Opened = []
        self._ended = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._grace: asyncio.TimerHandle | None = None

    async def run(self, body: Callable[[Any, Any, "Apart"], Awaitable[_T]], call: Any, value: Any) -> _T:
        """Run a body in a context and a task of its own, and wait for it; under cancellation for `GRACE` at most.

        Args:
            body: takes the call, the payload and this object.
            call: the call.
            value: the payload.

        Returns:
            What the body returns.

        Raises:
            BaseException: what the body raises.
        """
        loop = asyncio.get_running_loop()
        task = self._task = _begin(loop, self._live(body, call, value), context=copy_context())
        if task.done():  # it began at once, and waited for nothing
            self._settle()
        else:
            _running.add(task)
            task.add_done_callback(self._end)
        cancel = asyncio.CancelledError()
        while not self._ended:
            self._waiting = loop.create_future()
            try:
                await self._waiting
            except asyncio.CancelledError as caught:
                cancel = caught
                if self._grace is None:
                    task.cancel(*caught.args)
            except GeneratorExit:  # the loop is gone, or whoever ran this has given it up
                with suppress(RuntimeError):
                    task.cancel()
                raise
        error, self._error = self._error if task.done() else cancel, None
        try:
            if error is not None:
                raise error
            result: _T = self._result
            return result
        finally:
            del error, cancel  # no cycle of error, traceback and frame

    async def _live(self, body: Callable[[Any, Any, "Apart"], Awaitable[Any]], call: Any, value: Any) -> None:
        try:
            self._result = await body(call, value, self)
        except BaseException as error:  # noqa: BLE001  # raised by `run`; a loop would end with a SystemExit of a task
            self._error = error

    def _end(self, task: "asyncio.Task[None] | None" = None) -> None:
        if task is not None:
            _running.discard(task)
            if task.cancelled():  # before it had begun
                self._error = asyncio.CancelledError()
        self._settle()
        if not self._waiting.done():
            self._waiting.set_result(None)

    def _settle(self) -> None:
        self._ended = True
        if self._grace is not None:
            self._grace.cancel()

    async def unwind(self, providers: Sequence[Provider], error: BaseException) -> None:
        """Do what `unwind` does, for generators of both colours.

        Args:
            providers: what opened them, in the same order; there may be more.
            error: why. The caller re-raises it.

        Raises:
            BaseException: what replaces the error.
        """
        opened = self.opened
        if is_closing(error):  # nothing can be awaited; the loop finalises async generators itself
            opened[:] = [generator for generator in opened if isinstance(generator, Generator)]
            while opened:
                _stop(opened.pop())
            return
        outcome = error
        while opened:
            if self._grace is None and isinstance(outcome, asyncio.CancelledError):
                self._grace = asyncio.get_running_loop().call_later(GRACE, self._give_up, providers)
            outcome = await _close_last(providers, opened, outcome)
        if outcome is not error:
            try:
                _raise(outcome)
            finally:
                del outcome

    def _give_up(self, providers: Sequence[Provider]) -> None:
        stuck = providers[len(self.opened)]
        host_log("WARNING", f"{stuck}: its teardown took longer than {GRACE} s after a cancellation and was cancelled")
        self._task.cancel()
        self._end()


async def _close_last(providers: Sequence[Provider], opened: _Opened, outcome: BaseException) -> BaseException:
    generator = opened.pop()
    provider = providers[len(opened)]
    if provider.colour is Colour.SYNC:
        return _merged(outcome, _throw(provider, generator, outcome), provider)
    return _merged(outcome, await _athrow(provider, generator, outcome), provider)


def _throw(provider: Provider, generator: Generator[Any, None, None], error: BaseException) -> BaseException | None:
    """Throw the error into a generator; give what it raised instead, or None."""
    traceback = traceback_of(error)
    try:
        generator.throw(error)
    except StopIteration:
        return None
    except BaseException as raised:  # noqa: BLE001  # the caller merges it
        return None if _same(raised, error) else raised
    finally:
        set_traceback(error, traceback)  # throwing adds the generator's frames, once for each generator
    return _stop(generator) or yielded_twice(provider)


async def _athrow(
    provider: Provider, generator: AsyncGenerator[Any, None], error: BaseException
) -> BaseException | None:
    traceback = traceback_of(error)
    try:
        await generator.athrow(error)
    except StopAsyncIteration:
        return None
    except BaseException as raised:  # noqa: BLE001  # as above
        return None if _same(raised, error) else raised
    finally:
        set_traceback(error, traceback)
    return await _astop(generator) or yielded_twice(provider)


def _same(raised: BaseException, error: BaseException) -> bool:
    """Tell whether a generator let the error through; Python wraps a StopIteration that leaves a generator."""
    if raised is error:
        return True
    wrapped = is_a(error, (StopIteration, StopAsyncIteration)) and is_a(raised, RuntimeError)
    return wrapped and raised.__cause__ is error


def _stop(generator: Generator[Any, None, None]) -> BaseException | None:
    """End a generator that yielded again; give what it raised."""
    try:
        generator.close()
    except BaseException as raised:  # noqa: BLE001  # as above
        return raised
    return None


async def _astop(generator: AsyncGenerator[Any, None]) -> BaseException | None:
    try:
        await generator.aclose()
    except BaseException as raised:  # noqa: BLE001  # as above
        return raised
    return None


def _merged(error: BaseException, failure: BaseException | None, provider: Provider) -> BaseException:
    """Choose which of two errors goes on: the newer one, unless the older is a cancellation, a deadline or the like."""
    if failure is None:
        return error
    if is_a(error, Exception) and not is_a(error, DeadlineExceeded):
        if failure.__context__ is None and failure is not error.__context__:
            failure.__context__ = error
        return failure
    host_log("WARNING", f"{provider}: its teardown failed after {type(error).__name__}", failure)
    _put_beneath(error, failure)
    return error


def _put_beneath(error: BaseException, failure: BaseException) -> None:
    """Make a failure the context of an error that it must not hide; what the error had there comes below."""
    before, last, seen = error.__context__, failure, {id(error)}
    while last.__context__ is not None and last.__context__ is not error and id(last) not in seen:
        if last is before:
            before = None
        seen.add(id(last))
        last = last.__context__
    last.__context__ = before if before is not last else None
    error.__context__ = failure


def _raise(error: BaseException) -> NoReturn:
    """Raise an error without making whatever is being handled its context: it has a context already."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error  # no cycle of error, traceback and frame


@coroutine
def within(context: Context, body: Coroutine[Any, Any, _T]) -> Generator[Any, Any, _T]:
    """Run a coroutine in a context of its own, in the same task.

    What generators set in context variables is then seen by the function and by their own cleaning up, wherever that
    has to run, and by nobody after the call.

    Args:
        context: entered for every step of the coroutine.
        body: the coroutine.
    """
    step: Callable[[Any], Any] = body.send
    argument: Any = None
    while True:
        try:
            waiting = context.run(step, argument)
        except StopIteration as stop:
            result: _T = stop.value
            return result
        try:
            argument = yield waiting
            step = body.send
        except GeneratorExit:
            context.run(body.close)
            raise
        except BaseException as error:  # noqa: BLE001  # thrown on into the coroutine
            step, argument = body.throw, error
