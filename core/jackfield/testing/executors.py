"""What every executor must do: the conformance suite that ships with the `Executor` port.

It asks for nothing but a host and this machine: its functions are importable, and what they wait for are files, so that
an executor may run them in a thread, in another process, or behind a socket.
"""

import asyncio
import tempfile
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import attrs

from jackfield.contract import specify
from jackfield.decorators import function, inject
from jackfield.errors import ContractError, DeadlineExceeded, FunctionCrashed, Rejected
from jackfield.host import Host
from jackfield.model.call import current_call
from jackfield.model.deadline import remaining
from jackfield.ports import Executor, ExecutorStats, missing_members
from jackfield.testing.leaks import no_leaks

NAME: Final = "under_test"
_PATIENCE: Final = 30.0  # seconds that only a broken executor uses up
_TICK: Final = 0.002
_MANY: Final = 100

_carried: ContextVar[str] = ContextVar("jackfield_suite", default="")


# --- The functions, in both colours ---------------------------------------------------------------------------------


def echo(value: int) -> int:
    """Give the payload back."""
    return value


async def aecho(value: int) -> int:
    """Give the payload back, after the loop has had a turn."""
    await asyncio.sleep(0)
    return value


def crash(how: str) -> None:
    """Raise."""
    if how == "rejected":
        raise Rejected("no", code="refused", details={"n": 1})
    raise {"crashed": ValueError("broken"), "exits": SystemExit(3)}[how]


async def acrash(how: str) -> None:
    """Raise."""
    crash(how)


def hold(folder: str) -> str:
    """Say that it has begun, then wait until somebody lets it go."""
    path = Path(folder)
    (path / "begun").touch()
    begun = monotonic()
    while _is_held(path, begun):
        sleep(_TICK)
    return _ended(path)


async def ahold(folder: str) -> str:
    """Say that it has begun, then wait until somebody lets it go."""
    path = Path(folder)
    (path / "begun").touch()
    begun = monotonic()
    while _is_held(path, begun):  # noqa: ASYNC110  # what is waited for may happen in another process
        await asyncio.sleep(_TICK)
    return _ended(path)


def _is_held(path: Path, begun: float) -> bool:
    return path.exists() and not (path / "go").exists() and monotonic() < begun + _PATIENCE


def _ended(path: Path) -> str:
    if path.exists():
        (path / "ended").touch()
    return "held"


def describe() -> dict[str, Any]:
    """Tell what is known of the call."""
    call = current_call()
    return {"id": call.id, "tenant": call.tenant, "header": call.headers.get("x-suite"), "left": remaining()}


async def adescribe() -> dict[str, Any]:
    """Tell what is known of the call."""
    return describe()


_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], ...]]] = {
    "sync": (echo, crash, hold, describe),
    "async": (aecho, acrash, ahold, adescribe),
}
_NAMES: Final = ("echo", "crash", "hold", "describe")


@attrs.frozen
class _Given:
    text: str


# --- The suite ------------------------------------------------------------------------------------------------------


class ExecutorSuite:
    """Tests of an executor, to be inherited under pytest by a class whose name begins with `Test`.

    Attributes:
        frees: whether a caller is freed at its deadline while a sync function goes on. An executor that runs it in the
            caller's own thread sets this to False.

    Examples:
        >>> from jackfield.executors.thread import ThreadExecutor
        >>> class TestThreads(ExecutorSuite):
        ...     def make(self) -> ThreadExecutor:
        ...         return ThreadExecutor()
        >>> TestThreads().test_results_arrive_whoever_calls()
    """

    frees: bool = True

    def make(self) -> Executor:
        """Make the executor; called once for each test."""
        raise NotImplementedError

    def end(self, executor: Executor) -> None:
        """End what `make` began: calls `close()` if the executor has one.

        Args:
            executor: what `make` gave.
        """
        close = getattr(executor, "close", None)
        if close is not None:
            close()

    # --- What it is

    def test_it_has_all_that_the_port_asks_for(self) -> None:
        """Nothing of the Protocol is missing, and a host takes it."""
        with self._host() as (_, executor):
            _expect(not (missing := missing_members(executor, Executor)), f"it has no {', '.join(missing)}")
            _expect(type(executor.injects) is bool, "`injects` is True or False")
            _expect(isinstance(executor.stats(), ExecutorStats), "`stats()` gives ExecutorStats")

    def test_a_colour_that_it_refuses_is_refused_at_registration(self) -> None:
        """By a ContractError that says what to do; it is never silently run elsewhere."""
        with self._host() as (host, executor):
            for colour, functions in _FUNCTIONS.items():
                refusal = executor.refusal(specify("suite.echo", _marked(functions[0])))
                if not refusal:
                    continue
                _expect(": " in refusal, f"the refusal of {colour} functions says no fix: {refusal!r}")
                error = _raised(partial(host.register, "suite.refused", _marked(functions[0])))
                _expect(isinstance(error, ContractError), f"{colour} functions are not refused, but {error!r}")

    # --- What comes back

    def test_results_arrive_whoever_calls(self) -> None:
        """From `call` in a thread, and from `acall` on a loop that is not the host's."""
        with self._host() as (host, _):
            for colour in self._colours(host):
                _expect(host.call(f"{colour}.echo", 1) == 1, f"call of a {colour} function")
                _expect(asyncio.run(host.acall(f"{colour}.echo", 2)) == 2, f"acall of a {colour} function")  # noqa: PLR2004

    def test_what_a_function_raises_arrives_and_harms_nobody_else(self) -> None:
        """A refusal as it is, anything else as a crash with its type, SystemExit included; the next call is served."""
        with self._host() as (host, _):
            for colour in self._colours(host):
                for call in _ways(host, f"{colour}.crash"):
                    refused = _raised(partial(call, "rejected"))
                    _expect(isinstance(refused, Rejected) and refused.code == "refused", f"not Rejected: {refused!r}")
                    for how, kind in (("crashed", "ValueError"), ("exits", "SystemExit")):
                        error = _raised(partial(call, how))
                        fits = isinstance(error, FunctionCrashed) and error.error_type.endswith(kind)
                        _expect(fits, f"{kind} of a {colour} function arrives as {error!r}")
                _expect(host.call(f"{colour}.echo", 1) == 1, "it does not serve after a crash")

    def test_each_of_many_calls_at_once_gets_its_own_result(self) -> None:
        """From many threads and many tasks together."""
        with self._host() as (host, _), ThreadPoolExecutor(8) as pool:
            for colour in self._colours(host):
                name = f"{colour}.echo"

                async def gather(name: str = name) -> list[int]:
                    return list(await asyncio.gather(*(host.acall(name, n) for n in range(_MANY))))

                called = pool.map(partial(host.call, name), range(_MANY))
                _expect(asyncio.run(gather()) == list(range(_MANY)), f"acall of {name}")
                _expect(list(called) == list(range(_MANY)), f"call of {name}")

    # --- Time

    def test_a_caller_is_freed_at_its_deadline(self) -> None:
        """With DeadlineExceeded, while what it called is still waiting; the next call is served."""
        with self._host() as (host, _), _folder() as folder:
            for colour in self._freed(host):
                for call in _ways(host, f"{colour}.hold", timeout=0.1):
                    error = _raised(partial(call, str(folder)))
                    _expect(isinstance(error, DeadlineExceeded), f"a {colour} function: {error!r}")
                    _expect(not (folder / "ended").exists(), f"the caller waited for the end of a {colour} function")
                _expect(host.call(f"{colour}.echo", 1) == 1, "it does not serve after a deadline")

    def test_nothing_begins_after_its_deadline(self) -> None:
        """A call without time left raises, and its function never runs."""
        with self._host() as (host, _), _folder() as folder:
            for colour in self._colours(host):
                for call in _ways(host, f"{colour}.hold", timeout=0.0):
                    error = _raised(partial(call, str(folder)))
                    _expect(isinstance(error, DeadlineExceeded), f"a {colour} function: {error!r}")
            _expect(not (folder / "begun").exists(), "the function ran all the same")

    def test_a_cancelled_caller_is_freed_by_asyncios_own_error(self) -> None:
        """And by nothing else; the function may go on."""
        with self._host() as (host, _):
            for colour in self._freed(host):
                with _folder() as folder:

                    async def cancel(name: str = f"{colour}.hold", folder: Path = folder) -> bool:
                        task = asyncio.ensure_future(host.acall(name, str(folder)))
                        await asyncio.to_thread(_until, (folder / "begun").exists)
                        task.cancel()
                        await asyncio.wait([task])
                        return task.cancelled()

                    _expect(asyncio.run(cancel()), f"the task that called a {colour} function is not cancelled")

    # --- What goes along

    def test_the_function_sees_its_call(self) -> None:
        """Tenant, headers and the time that is left, wherever it runs; and the id that observers see."""
        with self._host() as (host, _):
            for colour in self._colours(host):
                seen = host.call(f"{colour}.describe", timeout=60.0, tenant="t", headers={"x-suite": "h"})
                _expect((seen["tenant"], seen["header"]) == ("t", "h"), f"a {colour} function sees {seen}")
                _expect(0.0 < seen["left"] <= 60.0, f"{seen['left']} s are left of 60")  # noqa: PLR2004
                _expect(len(seen["id"]) == 32, "the call has no id")  # noqa: PLR2004

    def test_context_variables_go_along_unless_it_injects_elsewhere(self) -> None:
        """What runs in this process runs in a copy of its caller's context."""
        with self._host() as (host, executor):
            if executor.injects:
                return
            for colour in self._colours(host):
                host.register(f"{colour}.carried", _marked(_read if colour == "sync" else _aread))
                token = _carried.set("along")
                try:
                    for call in _ways(host, f"{colour}.carried"):
                        _expect(call(None) == "along", f"a {colour} function does not see them")
                finally:
                    _carried.reset(token)

    def test_dependencies_are_injected_unless_it_injects_elsewhere(self) -> None:
        """The host's providers reach what runs in this process; else the host does not look for them at all."""
        with self._host() as (host, executor):
            if executor.injects:
                host.register("suite.needs", _marked(_needs))  # nothing provides it here, and nobody minds
                return
            host.provide(_Given("provided"), type=_Given)
            for colour in self._colours(host):
                host.register(f"{colour}.needs", _marked(_needs if colour == "sync" else _aneeds))
                for call in _ways(host, f"{colour}.needs"):
                    _expect(call(None) == "provided", f"a {colour} function is not injected")

    # --- Ends

    def test_a_call_that_is_inside_ends_well_though_its_function_is_unregistered(self) -> None:
        """`close()` of what was bound waits for nobody, and takes nothing from under a call."""
        with self._host() as (host, _), ThreadPoolExecutor(1) as pool:
            for colour in self._colours(host):
                with _folder() as folder:
                    result = pool.submit(host.call, f"{colour}.hold", str(folder))
                    _until((folder / "begun").exists)
                    host.unregister(f"{colour}.hold")
                    (folder / "go").touch()
                    _expect(result.result(_PATIENCE) == "held", f"of a {colour} function")

    def test_its_counts_come_to_rest(self) -> None:
        """When no call is under way nothing is pending, busy or lingering; no count is ever below zero."""
        with self._host() as (host, executor):
            for colour in self._colours(host):
                for n in range(3):
                    host.call(f"{colour}.echo", n)
            _until(lambda: not any((executor.stats().pending, executor.stats().busy, executor.stats().lingering)))
            _expect(min(attrs.astuple(executor.stats())) >= 0, f"below zero: {executor.stats()}")

    def test_nothing_is_left_behind(self) -> None:
        """No thread outlives host and executor, and no function its registration."""
        with no_leaks(timeout=_PATIENCE), self._host() as (host, executor):
            colours = self._colours(host)
            for colour in colours:
                host.call(f"{colour}.echo", 1)
                asyncio.run(host.acall(f"{colour}.echo", 1))
            if "sync" in colours and not executor.injects:
                gone = _called_and_unregistered(host)
                _until(lambda: gone() is None)

    # --- Inside

    @contextmanager
    def _host(self) -> Iterator[tuple[Host, Executor]]:
        executor = self.make()
        try:
            with Host(observers=(), executors={NAME: executor}) as host:
                for colour, functions in _FUNCTIONS.items():
                    for name, target in zip(_NAMES, functions, strict=True):
                        if not executor.refusal(specify(f"{colour}.{name}", _marked(target))):
                            host.register(f"{colour}.{name}", _marked(target))
                yield host, executor
        finally:
            self.end(executor)

    def _colours(self, host: Host) -> list[str]:
        found = [colour for colour in _FUNCTIONS if f"{colour}.echo" in host.snapshot.functions]
        _expect(bool(found), "it refuses both colours")
        return found

    def _freed(self, host: Host) -> list[str]:
        return [colour for colour in self._colours(host) if self.frees or colour == "async"]


def _read() -> str:
    return _carried.get()


async def _aread() -> str:
    return _carried.get()


def _needs(*, given: _Given = inject()) -> str:
    return given.text


async def _aneeds(*, given: _Given = inject()) -> str:
    return given.text


def _marked(target: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function run under test; marking it again changes nothing."""
    return function(executor=NAME)(target)


def _ways(host: Host, name: str, **options: Any) -> Iterator[Callable[[Any], Any]]:
    """Give both ways to call a function."""
    yield lambda payload: host.call(name, payload, **options)

    def awaited(payload: Any) -> Any:
        async def main() -> Any:
            answer: Awaitable[Any] = host.acall(name, payload, **options)
            return await answer

        return asyncio.run(main())

    yield awaited


def _called_and_unregistered(host: Host) -> "weakref.ref[Any]":
    def local() -> int:
        return 1

    host.register("suite.local", _marked(local))
    host.call("suite.local")
    host.unregister("suite.local")
    for _ in range(20):  # beyond what the history keeps
        host.register("suite.other", _marked(echo))
        host.unregister("suite.other")
    return weakref.ref(local)


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder in which functions wait; when it goes, all are let go."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


def _until(condition: Callable[[], object]) -> None:
    end = monotonic() + _PATIENCE
    while not condition():
        _expect(monotonic() < end, "what is waited for never came about")
        threading.Event().wait(_TICK)


def _raised(body: Callable[[], Any]) -> BaseException | None:
    try:
        body()
    except BaseException as error:  # noqa: BLE001  # looked at by the test
        return error
    return None


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
