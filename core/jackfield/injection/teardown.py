"""Close what generators have yielded: in reverse order, each seeing the error, none able to swallow it.

What generated bodies call is here, written out once; a body that opens no generator calls none of it.

The rules are those of nested `with` blocks, but for three: a generator that ends quietly after an error was thrown
into it does not end the error; an error that a generator raises instead takes the place of an ordinary one, but never
of a cancellation or another `BaseException`, to which it is only noted; and under cancellation async generators get
`GRACE` seconds, whoever cancels again meanwhile. A cancelled teardown runs in a task of its own: a generator should
not hold a task group or a cancel scope across its `yield`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextvars import Context
from types import coroutine
from typing import Any, Final, NoReturn, TypeVar

from jackfield.errors import Fault, InjectionError
from jackfield.injection.providers import Provider
from jackfield.log import host_log
from jackfield.model.spec import MISSING, Colour

GRACE: Final = 1.0
"""Seconds that async request objects have to clean up after a cancellation."""

_T = TypeVar("_T")
_Opened = list[Any]
_lingering: set[asyncio.Task[Any]] = set()


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


async def aunwind(providers: Sequence[Provider], opened: _Opened, error: BaseException, context: Context) -> None:
    """Do the same for generators of both colours.

    Args:
        providers: what opened them, in the same order; there may be more.
        opened: the generators; emptied.
        error: why. The caller re-raises it.
        context: the body's own context, in which the generators were opened.

    Raises:
        BaseException: what replaces the error.
    """
    if isinstance(
        error, GeneratorExit
    ):  # the loop is gone: nothing can be awaited; it finalises async generators itself
        opened[:] = [generator for generator in opened if isinstance(generator, Generator)]
        while opened:
            _stop(opened.pop())
        return
    outcome = error
    while opened and not isinstance(outcome, asyncio.CancelledError):
        outcome = await _close_last(providers, opened, outcome)
    if opened:
        await _with_grace(_close_all(providers, opened, outcome), providers, opened, context)
    if outcome is not error:
        try:
            _raise(outcome)
        finally:
            del outcome


async def _close_last(providers: Sequence[Provider], opened: _Opened, outcome: BaseException) -> BaseException:
    generator = opened.pop()
    provider = providers[len(opened)]
    if provider.colour is Colour.SYNC:
        return _merged(outcome, _throw(provider, generator, outcome), provider)
    return _merged(outcome, await _athrow(provider, generator, outcome), provider)


async def _close_all(providers: Sequence[Provider], opened: _Opened, outcome: BaseException) -> None:
    while opened:
        outcome = await _close_last(providers, opened, outcome)


async def _with_grace(
    closing: Coroutine[Any, Any, None], providers: Sequence[Provider], opened: _Opened, context: Context
) -> None:
    """Run a closing in a task of its own, which further cancels of this one do not reach, and wait for it a while."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(closing, context=context)
    _lingering.add(task)
    task.add_done_callback(_lingering.discard)
    ends = loop.time() + GRACE
    while not task.done() and (left := ends - loop.time()) > 0:
        try:
            await asyncio.wait((task,), timeout=left)
        except asyncio.CancelledError:  # this task is on its way out with the first one already
            continue
    if not task.done():
        stuck = providers[len(opened)]
        host_log("WARNING", f"{stuck}: its teardown took longer than {GRACE} s after a cancellation and was cancelled")
        task.cancel()


def _throw(provider: Provider, generator: Generator[Any, None, None], error: BaseException) -> BaseException | None:
    """Throw the error into a generator; give what it raised instead, or None."""
    traceback = error.__traceback__
    try:
        generator.throw(error)
    except StopIteration:
        return None
    except BaseException as raised:  # noqa: BLE001  # the caller merges it
        return None if _same(raised, error) else raised
    finally:
        error.__traceback__ = traceback  # throwing adds the generator's frames, once for each generator
    return _stop(generator) or yielded_twice(provider)


async def _athrow(
    provider: Provider, generator: AsyncGenerator[Any, None], error: BaseException
) -> BaseException | None:
    traceback = error.__traceback__
    try:
        await generator.athrow(error)
    except StopAsyncIteration:
        return None
    except BaseException as raised:  # noqa: BLE001  # as above
        return None if _same(raised, error) else raised
    finally:
        error.__traceback__ = traceback
    return await _astop(generator) or yielded_twice(provider)


def _same(raised: BaseException, error: BaseException) -> bool:
    """Tell whether a generator let the error through; Python wraps a StopIteration that leaves a generator."""
    if raised is error:
        return True
    wrapped = isinstance(error, StopIteration | StopAsyncIteration) and isinstance(raised, RuntimeError)
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
    """Choose which of two errors goes on: the newer one, unless the older is a cancellation or the like."""
    if failure is None:
        return error
    if not isinstance(error, Exception):
        error.add_note(f"the teardown of {provider.label} raised {type(failure).__name__}: {failure}")
        host_log("WARNING", f"{provider}: its teardown failed after {type(error).__name__}", failure)
        return error
    if failure.__context__ is None and failure is not error.__context__:
        failure.__context__ = error
    return failure


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
