"""Functions that misbehave: each has a defined outcome, and the host lives on."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
from prometheus_client import CollectorRegistry

from jackfield import (
    AsyncCallRequired,
    Caller,
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    Host,
    Logs,
    Metrics,
    PayloadError,
    Rejected,
    Spans,
    check_deadline,
    current_call,
    deadline,
    inject,
    provides,
    remaining,
)
from jackfield.model.call import current
from jackfield.testing import Recorder


class Weird(BaseException):
    """Not an Exception."""


@pytest.fixture
def host():
    with Host(observers=()) as host:
        yield host


def test_a_base_exception_is_a_crash(host):
    """Even what does not derive from Exception arrives as FunctionCrashed, with the cause."""

    def sick():
        raise Weird("no")

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed) as caught:
        host.call("sick")
    assert caught.value.error_type.endswith("Weird")
    assert isinstance(caught.value.__cause__, Weird)


@pytest.mark.parametrize("stop", [SystemExit, GeneratorExit])
def test_a_function_cannot_end_the_process(host, stop):
    """SystemExit from a function does not pass through the host."""

    def sick():
        raise stop

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed):
        host.call("sick")


def _raises(error="hunter2"):
    def get(*_):
        raise SystemExit(error)

    return property(get)


class _Exits(type):
    def __getattribute__(cls, name):
        raise SystemExit(name)


class _Unhashable(type):
    __hash__ = None

    def __eq__(cls, other):
        raise SystemExit


def _grouped(times):
    error = ValueError(1)
    for _ in range(times):
        error = ExceptionGroup("", [error])
    return error


LIARS = {
    "a class that its metaclass hides": _Exits("Liar", (Exception,), {}),
    "a class that cannot be hashed": _Unhashable("Liar", (Exception,), {}),
    "__class__": type("Liar", (Exception,), {"__class__": _raises()}),
    "__traceback__": type("Liar", (Exception,), {"__traceback__": _raises()}),
    "__cause__": type("Liar", (Exception,), {"__cause__": _raises(), "__context__": _raises()}),
    "__str__": type("Liar", (Exception,), {"__str__": _raises().fget}),
    "a text that is none": type("Liar", (Exception,), {"__str__": lambda _: 5}),
    "names": type("Li\nar", (Exception,), {"__module__": _raises()}),
    "a group's members": lambda: type("Liar", (ExceptionGroup,), {"exceptions": _raises()})("", [ValueError()]),
    "a group's split": lambda: type("Liar", (ExceptionGroup,), {"split": _raises().fget})("", [ValueError()]),
    "groups within groups": lambda: _grouped(5_000),
    "an errno": type("Liar", (OSError,), {"errno": _raises(), "filename": _raises()}),
    "an error of jackfield's without fields": lambda: DeadlineExceeded.__new__(DeadlineExceeded),
    "an error of jackfield's": lambda: type("Liar", (PayloadError,), {"__class__": _raises()})("f", "$", "", ""),
    "the end of a generator": GeneratorExit,
}
REFUSALS = {
    "a code": type("Liar", (Rejected,), {"code": _raises(), "message": "no", "__init__": lambda _: None}),
    "a code that is none": lambda: Rejected("no", code=[5]),
    "an outcome": lambda: type("Liar", (Rejected,), {"outcome": _raises()})("no"),
    "an outcome that is none": lambda: type("Liar", (Rejected,), {"outcome": "ok"})("no"),
}


def _caught(host):
    try:
        host.call("sick", timeout=30)
    except BaseException as error:  # noqa: BLE001  # not `pytest.raises`, which looks at what it catches
        return type(error)


async def _raised(host):
    try:
        await host.acall("sick", timeout=30)
    except BaseException as error:  # noqa: BLE001  # as above
        return type(error)


@pytest.mark.parametrize("colour", ["sync", "async", "thread"])
@pytest.mark.parametrize("kind", [*LIARS, *REFUSALS])
def test_what_lies_of_itself_when_it_is_raised_is_a_crash_or_a_refusal_as_any_other(kind, colour):
    """Its observers see the call end, the context is as before, and the home loop lives on."""
    make = {**LIARS, **REFUSALS}[kind]

    async def later():
        raise make()

    def now():
        raise make()

    out = io.StringIO()
    recorder = Recorder()
    with Host(observers=[Spans(), Logs(out), Metrics(CollectorRegistry()), recorder]) as host:
        host.register("sick", later if colour == "async" else now)
        host.register("well", abs)
        expected = Rejected if kind in REFUSALS else FunctionCrashed
        for _ in range(2):
            assert issubclass(asyncio.run(_raised(host)) if colour == "thread" else _caught(host), expected)
            assert current.get() is None
        assert host.call("well", -1) == 1
        assert not host.calls
    outcome = "rejected" if expected is Rejected else "crashed"
    assert [seen.outcome for seen in recorder.calls] == [outcome, outcome, "ok"]
    assert [json.loads(line)["outcome"] for line in out.getvalue().splitlines()] == [outcome, outcome, "ok"]


@pytest.mark.parametrize("injected", ["nothing", "a generator", "an async generator"])
def test_a_generator_exit_that_an_async_function_raises_is_its_crash_and_ends_what_was_made_for_it(injected):
    """As in a sync function: it is nobody's sign that the coroutine is closed."""
    ended = []

    class Session: ...

    @provides(scope="request")
    def now() -> Iterator[Session]:
        try:
            yield Session()
        finally:
            ended.append("now")

    @provides(scope="request")
    async def later() -> AsyncIterator[Session]:
        try:
            yield Session()
        finally:
            await asyncio.sleep(0)
            ended.append("later")

    async def sick(*, session: Session | None = inject(optional=True)):
        await asyncio.sleep(0)
        raise GeneratorExit

    with Host(observers=()) as host:
        if injected != "nothing":
            host.provide(now if injected == "a generator" else later)
        host.register("sick", sick)
        for way in (host.call, lambda name: asyncio.run(host.acall(name))):
            with pytest.raises(FunctionCrashed, match="GeneratorExit"):
                way("sick")
    assert ended == {"nothing": [], "a generator": ["now"] * 2, "an async generator": ["later"] * 2}[injected]


def test_a_call_whose_coroutine_is_closed_ends_without_an_error():
    """Whoever closes it waits for nothing: the `GeneratorExit` is Python's, and its observers see the call end."""
    recorder = Recorder()

    async def slow():
        await asyncio.sleep(60)

    async def close():
        async with Host(observers=[recorder]) as host:
            host.register("slow", slow)
            coroutine = host.acall("slow")
            coroutine.send(None)
            coroutine.close()
            assert not host.calls

    asyncio.run(close())
    assert [seen.outcome for seen in recorder.calls] == ["cancelled"]


def test_an_interrupt_in_the_main_thread_passes(host):
    """Ctrl-C is the operator's, not the function's."""

    def sick():
        raise KeyboardInterrupt

    host.register("sick", sick)
    with pytest.raises(KeyboardInterrupt):
        host.call("sick")


def test_an_async_function_that_raises_interrupt_does_not_kill_the_home_loop(host):
    """On the host's own loop a KeyboardInterrupt can only be the function's doing."""

    async def sick():
        raise KeyboardInterrupt

    async def well():
        return 1

    host.register("sick", sick)
    host.register("well", well)
    with pytest.raises(FunctionCrashed, match="KeyboardInterrupt"):
        host.call("sick")
    assert host.call("well") == 1


def test_a_returned_coroutine_is_closed_and_refused(host):
    """A sync function that hands back a coroutine is told to be async; nothing is left un-awaited."""

    async def inner():
        return 1

    def sick():
        return inner()

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed, match="async def"):
        host.call("sick")


def test_endless_recursion_is_a_crash(host):
    """The interpreter's RecursionError becomes an ordinary crash."""

    def sick():
        return sick()

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed, match="RecursionError"):
        host.call("sick")
    host.register("well", lambda: 1)
    assert host.call("well") == 1


def test_endless_recursion_through_the_host_is_a_crash(host):
    """So does a function that calls itself through the host for ever."""

    def sick(*, caller: Caller = inject()):
        return caller.call("sick")

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed):
        host.call("sick")


def test_a_mutated_payload_is_the_callers_own_only_when_it_is_trusted(host):
    """Plain data is converted, so the function gets its own copy; an instance is passed as it is."""

    def sick(items: list[int]):
        items.clear()

    host.register("sick", sick)
    items = [1, 2]
    host.call("sick", items)
    assert items in ([1, 2], [])


def test_calling_the_host_inside_a_function_is_a_nested_call(host):
    """It has the outer call as parent, and its tenant, headers and deadline."""
    seen = []

    def inner():
        call = current_call()
        seen.append((call.parent.name, call.tenant, call.headers["k"], call.deadline))

    def outer():
        seen.append(current_call().deadline)
        host.call("inner", timeout=100)

    host.register("inner", inner)
    host.register("outer", outer)
    host.call("outer", tenant="t", headers={"k": "v"}, timeout=5)
    assert seen[1] == ("outer", "t", "v", seen[0])


def test_a_function_may_unregister_itself_while_it_runs(host):
    """The running call finishes; the next one finds nothing."""

    def sick():
        host.unregister("sick")
        return "done"

    host.register("sick", sick)
    assert host.call("sick") == "done"
    with pytest.raises(FunctionNotFound):
        host.call("sick")


def test_an_exception_whose_text_cannot_be_had_is_still_reported(host):
    """`str()` of a plugin's exception may raise itself."""

    class Mute(Exception):
        def __str__(self):
            raise ValueError

    def sick():
        raise Mute

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed, match="cannot be shown"):
        host.call("sick")


def test_the_traceback_of_the_cause_starts_in_the_function(host):
    """jackfield's own frames are cut."""

    def sick():
        raise ValueError("x")

    host.register("sick", sick)
    with pytest.raises(FunctionCrashed) as caught:
        host.call("sick")
    assert caught.value.__cause__.__traceback__.tb_frame.f_code.co_name == "sick"


def test_a_nested_crash_is_the_outers_crash_and_a_nested_refusal_passes(host):
    """Only Rejected, cancellation and the outer's own deadline pass through a body."""

    def rejects():
        raise Rejected("no", code="no")

    def crashes():
        raise ValueError

    def misfits():
        host.call("typed", "x")

    host.register("rejects", rejects)
    host.register("crashes", crashes)
    host.register("typed", _typed)
    host.register("outer.rejects", lambda: host.call("rejects"))
    host.register("outer.crashes", lambda: host.call("crashes"))
    host.register("outer.misfits", misfits)
    host.register("outer.missing", lambda: host.call("nothing"))
    with pytest.raises(Rejected):
        host.call("outer.rejects")
    for name in ("outer.crashes", "outer.misfits", "outer.missing"):
        with pytest.raises(FunctionCrashed) as caught:
            host.call(name)
        assert caught.value.function == name


def _typed(number: int):
    return number


def test_a_nested_deadline_is_the_outers_crash_unless_its_own_has_passed(host):
    """A narrower limit inside is the outer function's business; its own deadline is the caller's."""

    def narrow():
        with deadline(-1):
            pass

    def late():
        while True:
            check_deadline()

    host.register("narrow", narrow)
    host.register("late", late)
    with pytest.raises(FunctionCrashed, match="DeadlineExceeded"):
        host.call("narrow", timeout=60)
    with pytest.raises(DeadlineExceeded):
        host.call("late", timeout=0.4)


def test_a_result_that_comes_late_is_dropped(host):
    """An inline function cannot be interrupted, but its caller is told."""

    def slow():
        while remaining():
            time.sleep(0.001)
        return 1

    host.register("slow", slow)
    with pytest.raises(DeadlineExceeded, match="late"):
        host.call("slow", timeout=0.4)  # enough to begin in, under load


def test_an_expired_deadline_runs_nothing(host):
    """Nothing of the function happens once the time is up."""
    ran = []
    host.register("f", lambda: ran.append(1))
    for timeout in (0, -1):
        with pytest.raises(DeadlineExceeded, match="not started"):
            host.call("f", timeout=timeout)
    assert ran == []


def test_not_a_number_is_no_timeout(host):
    """NaN would never expire."""
    host.register("f", lambda: 1)
    with pytest.raises(ValueError, match="NaN"):
        host.call("f", timeout=float("nan"))


def test_call_of_an_async_function_inside_a_loop_says_what_to_do(host):
    """Instead of a deadlock."""

    async def f():
        return 1

    host.register("f", f)

    async def main():
        with pytest.raises(AsyncCallRequired, match="acall"):
            host.call("f")
        return await host.acall("f")

    assert asyncio.run(main()) == 1
    assert host.call("f") == 1


def test_stop_on_the_hosts_own_loop_names_astop():
    """Instead of a deadlock; the host runs on, and ends by what the message says."""

    async def main():
        async with Host(observers=()) as host:
            with pytest.raises(AsyncCallRequired, match=r"host\.stop would block .* use `await host\.astop\(\)`"):
                host.stop()
            assert host.running
            await host.astop()
            assert not host.running

    asyncio.run(main())


@attrs.frozen
class Loan:
    amount: int


def score(loan: Loan) -> int:
    return loan.amount


def test_a_payload_that_does_not_fit_names_the_path(host):
    """Path, what was expected, what came; never the value."""
    host.register("score", score)
    with pytest.raises(PayloadError) as caught:
        host.call("score", {"amount": "secret"})
    assert caught.value.path == "$.amount"
    assert "int" in caught.value.expected
    assert "secret" not in str(caught.value)


def test_monstrous_payloads_are_errors_not_crashes(host):
    """10,000 levels deep, or 100 MB."""
    host.register("score", score)
    host.register("size", len_of)
    deep = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(PayloadError):
        host.call("score", {"amount": deep})
    with pytest.raises(PayloadError):
        host.call("score", "x" * 100_000_000)
    with pytest.raises(PayloadError):
        host.call("size", "x" * 100_000_000)


def len_of(text: str) -> int:
    return len(text)
