"""The walk of a call: generated once, when the function is registered, from the one template below.

Observers start, payload, deadline, body, observers finish. Steps that a function does not need are not in its walk;
sync and async differ by the word `await`.

A function that runs in a thread has two walks of the same template: the outer one is observed and stays with the
caller, its body hands the inner one to the executor, which brings payload, injection and function to the thread.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from textwrap import indent
from time import monotonic, perf_counter
from types import CoroutineType
from typing import Any, Final
from weakref import WeakKeyDictionary

from jackfield.calls import outcomes as failures
from jackfield.calls.outcomes import GENERATED
from jackfield.contract.payload import PayloadCodec, compile_payload
from jackfield.errors import JackfieldError, Outcome
from jackfield.injection.bodies import invocation
from jackfield.injection.injector import Injector
from jackfield.model.call import Call, current
from jackfield.model.deadline import CancelTimer
from jackfield.model.gate import Gate
from jackfield.model.route import Endpoint
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.barrier import observer_failed
from jackfield.ports import BoundObserver, Executor, Observer
from jackfield.runtime.home import HomeLoop

# What a walk is made of. A function's walk has the lines whose tag applies to it.
_WALK: Final = """
async    | async def walk(call):
sync     | def walk(call):
counted  |     inside[call] = None
counted  |     if gate.retired:
counted  |         del inside[call]
counted  |         endpoint, call = again(call)
awaiting |         return await endpoint.arun(call)
waiting  |         return endpoint.run(call)
observed | {starts}
observed |     began = clock()
         |     token = None
         |     running = False
async    |     timer = None
         |     try:
         |         token = enter(call)
         |         deadline = call.deadline
         |         if deadline is not None:
         |             if monotonic() >= deadline:
         |                 raise not_started(call)
async    |             timer = arm(deadline)
function |         value = call.payload
trusted  |         if type(value) is not trusted:
trusted  |             value = convert(value)
converted|         value = convert(value)
function |         running = True
async    |         result = await {body}
sync     |         result = {body}
checked  |         if type(result) is CoroutineType:
checked  |             raise unawaited(result)
         |         if deadline is not None and monotonic() >= deadline:
         |             raise came_late(call)
         |     except BaseException as error:
counted  |         del inside[call]  # first, and no call: at the recursion limit the next line may fail
async    |         expired = timer is not None and timer.settle(error)
async    |         failure = timed_out(call) if expired else fail(call, error, running)
sync     |         failure = fail(call, error, running)
         |         leave_anyhow(token)
observed |         took = clock() - began
observed |         outcome = outcome_of(failure)
observed | {failures}
         |         try:
         |             if failure is error:
         |                 raise
         |             raise failure from error
         |         finally:
         |             del failure  # else the traceback, its frame and the exception would hold one another
async    |     if timer is not None:
async    |         timer.settle(None)
         |     leave(token)
counted  |     del inside[call]
observed |     took = clock() - began
observed | {successes}
         |     return result
"""

# One observer's share of a walk. An observer that raises is reported and left out; the call goes on.
_START: Final = """
    try:
        state{i} = start{i}(call)
    except Exception as problem:
        state{i} = FAILED
        observer_failed(observer{i}, problem)
"""
_FINISH: Final = """
    if state{i} is not FAILED:
        try:
            finish{i}(state{i}, call, {outcome}, {failure}, took)
        except Exception as problem:
            observer_failed(observer{i}, problem)
"""


# A codec depends on the spec alone and is two thirds of what an endpoint costs; a rollback wires the same specs again.
_codecs: Final["WeakKeyDictionary[FunctionSpec, PayloadCodec]"] = WeakKeyDictionary()


def compile_endpoint(
    spec: FunctionSpec,
    *,
    injector: Injector,
    observers: Sequence[Observer],
    executors: Mapping[str, Executor],
    home: HomeLoop,
    timeout: float | None,
    again: Callable[[Call], tuple[Endpoint, Call]],
) -> Endpoint:
    """Compile everything that calling a function needs.

    Args:
        spec: the function.
        injector: resolves its dependencies.
        observers: see its calls.
        executors: by name; `thread` is always there.
        home: where async functions run.
        timeout: seconds for calls that neither their caller nor the function limits, or None.
        again: picks anew for a call that finds the endpoint retired.

    Returns:
        The endpoint, ready to be called.
    """
    codec = _codecs.get(spec) or _codecs.setdefault(spec, compile_payload(spec))
    values: dict[str, Any] = {"convert": codec.convert, "trusted": codec.trusted, "target": spec.target}
    values["fail"] = failures.translator(spec)
    body = invocation(spec, {})
    if spec.dependencies:
        values["body"], body = injector.body(spec), "body(call, value)"
    steps = {"function", "converted" if codec.trusted is None else "trusted"}
    gate = Gate()
    door = {"gate": gate, "inside": gate.calls, "again": again}
    bound = _bind(observers, spec)
    if spec.colour is Colour.ASYNC:
        run, arun = _at_home(_walk({"async", "awaiting", "counted", *steps}, body, values | door, bound), home)
    else:
        inner = _walk({"sync", "checked", *steps}, body, values, ())
        executor = executors.get(spec.policy.executor or "", executors["thread"])
        handed = {"executor": executor, "inner": inner, "fail": values["fail"], **door}
        arun = _walk({"async", "awaiting", "counted"}, "executor.arun(call, inner)", handed, bound)
        if spec.policy.executor in {None, "inline"}:
            run = _walk({"sync", "waiting", "counted", "checked", *steps}, body, values | door, bound)
        else:
            run = _walk({"sync", "waiting", "counted"}, "executor.run(call, inner)", handed, bound)
    limit = timeout if spec.policy.timeout is None else spec.policy.timeout
    return Endpoint(spec, run, arun, limit, partial(_close, bound), gate)


def _at_home(walk: Callable[[Call], Any], home: HomeLoop) -> tuple[Callable[[Call], Any], Callable[[Call], Any]]:
    """Give what runs a coroutine's walk on the home loop, from a thread and from any loop."""

    def run(call: Call) -> Any:
        return home.call(call, walk)

    def arun(call: Call) -> Any:
        return walk(call) if home.is_here else home.hop(call, walk)

    return run, arun


def compile_refusal(
    spec: FunctionSpec, refuse: Callable[[Call], JackfieldError], observers: Sequence[Observer]
) -> Endpoint:
    """Compile an endpoint whose every call is observed and refused: unknown names, a host that is not running.

    Args:
        spec: what observers see the calls under.
        refuse: makes the error.
        observers: see the calls.
    """

    def body(call: Call) -> Any:
        raise refuse(call)

    bound = _bind(observers, spec)
    names = {"body": body, "fail": failures.translator(spec)}
    arun = _walk({"async"}, "body(call)", names, bound)
    return Endpoint(spec, _walk({"sync"}, "body(call)", names, bound), arun, None, partial(_close, bound))


def _bind(observers: Sequence[Observer], spec: FunctionSpec) -> list[BoundObserver]:
    bound = []
    for observer in observers:
        try:
            bound.append(observer.bind(spec))
        except Exception as error:  # noqa: BLE001  # an observer must not keep a function from being registered
            observer_failed(observer, error)
    return bound


def _close(bound: Sequence[BoundObserver]) -> None:
    for observer in bound:
        try:
            observer.close()
        except Exception as error:  # noqa: BLE001  # nor from being unregistered
            observer_failed(observer, error)


def _walk(
    tags: set[str], body: str, names: Mapping[str, Any], observers: Sequence[BoundObserver]
) -> Callable[[Call], Any]:
    """Instantiate the template for one function; functions of one shape share the code."""
    values = dict(names)
    for index, observer in enumerate(observers):
        values |= {f"start{index}": observer.start, f"finish{index}": observer.finish, f"observer{index}": observer}
    make = _factory(frozenset(tags | {"observed"} if observers else tags), body, len(observers), tuple(values))
    walk: Callable[[Call], Any] = make(*values.values())
    return walk


@lru_cache(maxsize=256)
def _factory(tags: frozenset[str], body: str, observers: int, parameters: tuple[str, ...]) -> Callable[..., Any]:
    """Render the template and compile it to `make(*parameters) -> walk`; what all walks share is in its globals."""
    last_first = range(observers)[::-1]
    finish = "".join(_FINISH.format(i=i, outcome="outcome", failure="failure") for i in last_first)
    blocks = {
        "body": body,
        "starts": "".join(_START.format(i=i) for i in range(observers)),
        "failures": finish.replace("\n", "\n    "),
        "successes": "".join(_FINISH.format(i=i, outcome="OK", failure="None") for i in last_first),
    }
    rows = (row.partition("|") for row in _WALK.strip().splitlines())
    walk = "\n".join(line.removeprefix(" ") for tag, _, line in rows if tag.strip() in {"", *tags}).format(**blocks)
    source = f"def make({', '.join(parameters)}):\n{indent(walk, '    ')}\n    return walk\n"
    scope: dict[str, Any] = dict(_SHARED)
    exec(compile(source, GENERATED, "exec"), scope)  # noqa: S102  # our own template; nothing in it comes from a plugin
    make: Callable[..., Any] = scope["make"]
    return make


def _arm(deadline: float) -> CancelTimer:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine that runs is in a task
    return CancelTimer(task.get_loop(), task, deadline)


_SHARED: Final[dict[str, Any]] = {
    "CoroutineType": CoroutineType,
    "FAILED": object(),
    "OK": Outcome.OK,
    "arm": _arm,
    "came_late": failures.came_late,
    "clock": perf_counter,
    "enter": current.set,
    "leave": current.reset,
    "leave_anyhow": failures.leave_anyhow,
    "monotonic": monotonic,
    "not_started": failures.not_started,
    "observer_failed": observer_failed,
    "outcome_of": failures.outcome_of,
    "timed_out": failures.timed_out,
    "unawaited": failures.unawaited,
}
