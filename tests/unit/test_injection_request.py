"""Request-scoped objects: shared within a call, closed in reverse at its end, seeing its error, never swallowing it."""

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from time import monotonic

import pytest

from jackfield.decorators import Inject, dependency, inject, provides
from jackfield.errors import DeadlineExceeded, InjectionError, Rejected
from jackfield.injection import teardown
from jackfield.injection.injector import Injector
from jackfield.injection.providers import describe
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec

CALL = Call("f")


class Engine: ...


class Session:
    def __init__(self, engine=None):
        self.engine = engine


class Unit: ...


def spec(target, name="f"):
    """Describe a function by hand, without the contract compiler."""
    wanted = tuple(
        dependency(parameter.name, parameter.annotation, parameter.default)
        for parameter in inspect.signature(target).parameters.values()
        if isinstance(parameter.default, Inject)
    )
    colour = Colour.ASYNC if inspect.iscoroutinefunction(target) else Colour.SYNC
    return FunctionSpec(name, "0", "demo", "", target, colour, shape="opaque", dependencies=wanted)


def body_of(function, *factories):
    injector = Injector()
    injector.add(*map(describe, factories))
    body = injector.body(spec(function))
    if inspect.iscoroutinefunction(function):
        return lambda call=CALL, value=1: asyncio.run(body(call, value))
    return lambda call=CALL, value=1: body(call, value)


def logging(cls, log, *, asynchronous=False, on_error=None):
    """Make a generator provider of `cls` that logs what it sees."""
    name = cls.__name__.lower()

    def seen(error):
        log.append(f"{name} saw {type(error).__name__}")
        if on_error is not None:
            on_error(error)

    def sync() -> Iterator[cls]:
        log.append(f"+{name}")
        try:
            yield cls()
        except BaseException as error:
            seen(error)
            raise
        finally:
            log.append(f"-{name}")

    async def later() -> AsyncIterator[cls]:
        log.append(f"+{name}")
        await asyncio.sleep(0)
        try:
            yield cls()
        except BaseException as error:
            seen(error)
            raise
        finally:
            await asyncio.sleep(0)
            log.append(f"-{name}")

    return provides(scope="request")(later if asynchronous else sync)


async def until(condition):
    """Let others run until the code under test has come that far."""
    while not condition():  # noqa: ASYNC110  # no event of its own tells it
        await asyncio.sleep(0)


BOTH = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def using_both(log, asynchronous, act=lambda: "result"):
    """Make a function that needs a session and a unit and then acts."""

    def sync(x, *, session: Session = inject(), unit: Unit = inject()):
        log.append("run")
        return act()

    async def later(x, *, session: Session = inject(), unit: Unit = inject()):
        log.append("run")
        await asyncio.sleep(0)
        return act()

    return later if asynchronous else sync


def raising(error):
    def act():
        raise error

    return act


def test_one_call_shares_its_objects_and_two_calls_do_not():
    """Whoever asks within a call gets the same session; the next call another; singletons are shared by all."""

    @provides(scope="request")
    def session(engine: Engine) -> Session:
        return Session(engine)

    class Pair:
        def __init__(self, session):
            self.session = session

    @provides(scope="request")
    def pair(session: Session) -> Pair:
        return Pair(session)

    def function(x, *, pair: Pair = inject(), session: Session = inject()):
        assert pair.session is session
        return session

    call = body_of(function, Engine, session, pair)
    first, second = call(), call()
    assert first is not second
    assert first.engine is second.engine


@BOTH
def test_generators_close_in_reverse_order(asynchronous):
    """What was opened last is closed first, after the function."""
    log = []
    call = body_of(using_both(log, asynchronous), logging(Session, log, asynchronous=asynchronous), logging(Unit, log))
    assert call() == "result"
    assert log == ["+session", "+unit", "run", "-unit", "-session"]


@pytest.mark.parametrize(
    ("asynchronous", "error"),
    [
        (False, Rejected("no")),
        (False, OSError("broken")),
        (False, KeyboardInterrupt()),
        (False, StopIteration(3)),
        (True, Rejected("no")),
        (True, OSError("broken")),
        (True, StopAsyncIteration(3)),
    ],
)
def test_generators_see_the_error_and_the_caller_gets_it(asynchronous, error):
    """Each sees the very error, iteration's own included; the original is raised."""
    log = []
    call = body_of(
        using_both(log, asynchronous, raising(error)),
        logging(Session, log, asynchronous=asynchronous),
        logging(Unit, log),
    )
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error
    kind = type(error).__name__
    assert log[3:] == [f"unit saw {kind}", "-unit", f"session saw {kind}", "-session"]


@BOTH
def test_a_generator_cannot_swallow_the_error(asynchronous):
    """One that ends quietly after an error changes nothing: the others see it, and so does the caller."""
    log = []

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        try:
            yield Unit()
        except OSError:
            log.append("swallowed")

    call = body_of(
        using_both(log, asynchronous, raising(OSError("broken"))),
        logging(Session, log, asynchronous=asynchronous),
        unit,
    )
    with pytest.raises(OSError, match="broken"):
        call()
    assert log == ["+session", "run", "swallowed", "session saw OSError", "-session"]


@BOTH
def test_a_failing_teardown_raises_and_the_others_still_run(asynchronous):
    """After a good end: the outer generators see the teardown's error, and the call ends with it."""
    log = []

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        yield Unit()
        raise OSError("cannot commit")

    call = body_of(using_both(log, asynchronous), logging(Session, log, asynchronous=asynchronous), unit)
    with pytest.raises(OSError, match="cannot commit"):
        call()
    assert log[2:] == ["session saw OSError", "-session"]


@BOTH
def test_a_teardown_that_fails_after_an_error_carries_that_error(asynchronous):
    """The newest error is raised, with the chain of all before it."""
    log, first = [], ValueError("first")

    def fail(error):
        raise OSError("third") from None if isinstance(error, ValueError) else error

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        try:
            yield Unit()
        finally:
            raise LookupError("second")

    call = body_of(
        using_both(log, asynchronous, raising(first)),
        logging(Session, log, asynchronous=asynchronous, on_error=fail),
        unit,
    )
    with pytest.raises(OSError, match="third") as caught:
        call()
    assert str(caught.value.__context__) == "second"
    assert caught.value.__context__.__context__ is first


@BOTH
def test_what_was_opened_is_closed_when_a_later_construction_fails(asynchronous):
    """A failing second provider closes the first, which sees why."""
    log = []

    @provides(scope="request")
    def unit() -> Unit:
        raise OSError("no unit")

    call = body_of(using_both(log, asynchronous), logging(Session, log, asynchronous=asynchronous), unit)
    with pytest.raises(OSError, match="no unit"):
        call()
    assert log == ["+session", "session saw OSError", "-session"]


@BOTH
def test_a_late_result_is_seen_by_the_transaction(asynchronous):
    """The deadline is checked while generators are open: they roll back what comes too late."""
    log = []
    call = body_of(using_both(log, asynchronous), logging(Session, log, asynchronous=asynchronous), logging(Unit, log))
    with pytest.raises(DeadlineExceeded, match="came back late"):
        call(Call("f", deadline=monotonic() - 1))
    assert log[3:] == ["unit saw DeadlineExceeded", "-unit", "session saw DeadlineExceeded", "-session"]
    log.clear()
    assert call(Call("f", deadline=monotonic() + 60)) == "result"


@BOTH
@pytest.mark.parametrize("act", [lambda: "result", raising(ValueError("x"))], ids=["good", "bad"])
def test_a_generator_that_yields_twice_is_named(asynchronous, act):
    """After a good end and after an error: it is closed, and the call ends with an error that names it."""
    log = []

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        try:
            with suppress(ValueError):
                yield Unit()
            yield Unit()
        finally:
            log.append("-unit")

    @provides(scope="request")
    async def async_unit() -> AsyncIterator[Unit]:
        try:
            with suppress(ValueError):
                yield Unit()
            yield Unit()
        finally:
            log.append("-unit")

    call = body_of(using_both(log, asynchronous, act), logging(Session, log), async_unit if asynchronous else unit)
    with pytest.raises(InjectionError, match=r"unit.*yielded a second time"):
        call()
    assert log[2:] == ["-unit", "session saw InjectionError", "-session"]


@BOTH
def test_a_generator_that_never_yields_is_named(asynchronous):
    """And what was opened before it is closed."""
    log = []

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        yield from ()

    @provides(scope="request")
    async def async_unit() -> AsyncIterator[Unit]:
        for item in ():
            yield item

    call = body_of(using_both(log, asynchronous), logging(Session, log), async_unit if asynchronous else unit)
    with pytest.raises(InjectionError, match=r"unit.*ended before it yielded"):
        call()
    assert log == ["+session", "session saw InjectionError", "-session"]


@BOTH
def test_context_variables_of_a_generator_last_as_long_as_the_call(asynchronous):
    """The function sees what a provider set, its own reset works, and the caller sees nothing of it."""
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    @provides(scope="request")
    def unit() -> Iterator[Unit]:
        token = variable.set("inside")
        yield Unit()
        variable.reset(token)

    @provides(scope="request")
    async def session() -> AsyncIterator[Session]:
        variable.set("left behind")
        yield Session()

    def sync(x, *, unit: Unit = inject()):
        seen.append(variable.get())

    async def later(x, *, session: Session = inject(), unit: Unit = inject()):
        await asyncio.sleep(0)
        seen.append(variable.get())

    body_of(later if asynchronous else sync, unit, session)()
    assert seen == ["inside"]
    assert variable.get() == "outside"


def test_an_awaited_request_factory_is_awaited_once_a_call():
    """Plain async factories need no scope to close."""
    made = []

    @provides(scope="request")
    async def session() -> Session:
        await asyncio.sleep(0)
        made.append(Session())
        return made[-1]

    async def function(x, *, session: Session = inject()):
        return session

    assert body_of(function, session)() is made[0]
    assert len(made) == 1


def test_cancelling_the_function_closes_its_objects():
    """Async generators see the cancellation, may await while cleaning up, and the cancellation goes on."""
    log = []

    async def function(x, *, session: Session = inject(), unit: Unit = inject()):
        log.append("run")
        await asyncio.Event().wait()

    injector = Injector()
    injector.add(describe(logging(Session, log, asynchronous=True)), describe(logging(Unit, log)))
    body = injector.body(spec(function))

    async def main():
        task = asyncio.create_task(body(CALL, 1))
        await until(lambda: "run" in log)
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log[3:] == ["unit saw CancelledError", "-unit", "session saw CancelledError", "-session"]


def test_cancelling_a_construction_closes_what_was_opened():
    """A call cancelled while its second object is being made closes the first."""
    log, waiting = [], []

    @provides(scope="request")
    async def unit() -> Unit:
        waiting.append(1)
        await asyncio.Event().wait()

    async def function(x, *, session: Session = inject(), unit: Unit = inject()):
        log.append("run")

    injector = Injector()
    injector.add(describe(logging(Session, log, asynchronous=True)), describe(unit))
    body = injector.body(spec(function))

    async def main():
        task = asyncio.create_task(body(CALL, 1))
        await until(lambda: waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["+session", "session saw CancelledError", "-session"]


def cancelled_twice(cleaning_up, monkeypatch, grace):
    """Run a function, cancel it, and cancel it again while its session cleans up."""
    monkeypatch.setattr(teardown, "GRACE", grace)
    state = {"run": False, "closing": False, "token": False}
    variable = contextvars.ContextVar("variable")

    @provides(scope="request")
    async def session() -> AsyncIterator[Session]:
        token = variable.set(1)
        try:
            yield Session()
        finally:
            state["closing"] = True
            await cleaning_up(state)
            variable.reset(token)  # raises in any other context
            state["token"] = True

    async def function(x, *, session: Session = inject()):
        state["run"] = True
        await asyncio.Event().wait()

    injector = Injector()
    injector.add(describe(session))
    body = injector.body(spec(function))

    async def main():
        task = asyncio.create_task(body(CALL, 1))
        await until(lambda: state["run"])
        task.cancel()
        await until(lambda: state["closing"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    return state


def test_a_second_cancel_does_not_interrupt_cleaning_up(monkeypatch):
    """Under cancellation teardown is shielded, in the context in which the object was opened."""

    async def cleaning_up(state):
        for _ in range(20):
            await asyncio.sleep(0)

    assert cancelled_twice(cleaning_up, monkeypatch, 10)["token"]


def test_cleaning_up_for_longer_than_the_grace_is_cancelled(monkeypatch):
    """A teardown that hangs does not hold up a cancelled call for ever."""

    async def cleaning_up(state):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            state["cut"] = True
            raise

    state = cancelled_twice(cleaning_up, monkeypatch, 0.02)
    assert state["cut"]
    assert not state["token"]


def test_a_teardown_that_fails_under_cancellation_leaves_it_a_cancellation():
    """Structured concurrency must not lose a cancel: the failure is its context."""

    @provides(scope="request")
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        finally:
            raise OSError("connection lost")

    async def function(x, *, session: Session = inject()):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError) as caught:
        body_of(function, session)()
    assert repr(caught.value.__context__) == "OSError('connection lost')"


def test_a_cancel_during_a_good_teardown_gives_the_others_their_grace():
    """The generator that is closing is interrupted as any `async with` is; the ones below it clean up."""
    log, closing = [], []

    @provides(scope="request")
    async def unit() -> AsyncIterator[Unit]:
        yield Unit()
        closing.append(1)
        await asyncio.Event().wait()

    injector = Injector()
    injector.add(describe(logging(Session, log, asynchronous=True)), describe(unit))
    body = injector.body(spec(using_both(log, asynchronous=True)))

    async def main():
        task = asyncio.create_task(body(CALL, 1))
        await until(lambda: closing)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["+session", "run", "session saw CancelledError", "-session"]


def test_an_abandoned_coroutine_closes_its_sync_objects():
    """A loop that goes away while a call is under way leaves no open sync generator behind."""
    log = []

    async def function(x, *, unit: Unit = inject()):
        await asyncio.sleep(0)

    injector = Injector()
    injector.add(describe(logging(Unit, log)))
    coroutine = injector.body(spec(function))(CALL, 1)
    coroutine.send(None)
    coroutine.close()
    assert log == ["+unit", "unit saw GeneratorExit", "-unit"]


def test_the_traceback_of_the_error_shows_the_function_and_not_the_generators():
    """Closing adds no frames to the error that the caller sees."""
    log = []
    call = body_of(
        using_both(log, asynchronous=False, act=raising(OSError("x"))), logging(Session, log), logging(Unit, log)
    )
    with pytest.raises(OSError, match="x") as caught:
        call()
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["sync", "act"]
    assert names.count("sync") == 1
