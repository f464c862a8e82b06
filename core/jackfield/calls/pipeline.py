"""The walk of a call: generated once, when the function is registered, from the one template below.

Observers start, payload, deadline, body, observers finish. Steps that a function does not need are not in its walk;
sync and async differ by the word `await`.

A function that an executor runs elsewhere has two walks of the same template: the outer one is observed and stays with
the caller, its body hands the call to the bound executor; the inner one, with payload, injection and function, is what
the executor was bound to. So has a function whose calls are tried again: each attempt is an inner walk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from textwrap import indent
from time import monotonic, perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from jackfield import contract
from jackfield.calls import outcomes as failures
from jackfield.calls.outcomes import GENERATED
from jackfield.errors import ContractError, Fault, JackfieldError, Outcome, Unavailable
from jackfield.executors.places import Places
from jackfield.injection.bodies import invocation
from jackfield.injection.injector import Injector
from jackfield.model.call import Call, current
from jackfield.model.deadline import CancelTimer
from jackfield.model.gate import Gate
from jackfield.model.place import place_of
from jackfield.model.route import Endpoint
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.barrier import observer_failed
from jackfield.ports import BoundExecutor, BoundObserver, Executor, Observer
from jackfield.runtime.pauses import Pauses
from jackfield.stack import blamed
from jackfield.strangers import is_interrupt

if TYPE_CHECKING:
    from jackfield.admission import Admission
    from jackfield.observe.traces import Traces

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
observed |     {states} = FAILED
seated   |     ticket = None
         |     token = None
         |     running = False
async    |     timer = None
         |     try:
observed | {starts}
observed |         began = clock()
         |         token = enter(call)
         |         deadline = call.deadline
         |         if deadline is not None:
         |             if monotonic() >= deadline:
         |                 raise not_started(call)
async    |             timer = arm(deadline)
queueing |         ticket = await take_seat(call)
blocking |         ticket = take_seat(call)
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
async    |             raise came_late(call, timer.fired)
sync     |             raise came_late(call)
         |     except BaseException as error:
counted  |         del inside[call]  # first, and no call: at the recursion limit the next line may fail
seated   |         if ticket is not None:
seated   |             give_seat_back(ticket)
async    |         expired = timer is not None and timer.settle(error)
async    |         failure = timed_out(call, error) if expired else fail(call, error, running)
sync     |         failure = fail(call, error, running)
         |         leave_anyhow(token)
observed |         took = clock() - began
observed |         outcome = outcome_of(failure)
observed | {failures}
kept     |         try:
kept     |             kept_bad(call, outcome, failure, began, took)
kept     |         except BaseException as problem:
kept     |             if is_interrupt(problem):
kept     |                 raise
kept     |             observer_failed(kept, problem)
         |         try:
         |             if failure is error:
         |                 raise
         |             raise failure from failure.__cause__
         |         finally:
         |             del failure  # else the traceback, its frame and the exception would hold one another
async    |     if timer is not None:
async    |         timer.settle(None)
         |     leave(token)
counted  |     del inside[call]
seated   |     if ticket is not None:
seated   |         give_seat_back(ticket)
observed |     took = clock() - began
observed | {successes}
kept     |     if took > kept.bar or began >= kept.until or call.parent is not None or call.seen is not None:
kept     |         try:
kept     |             kept_good(call, began, took)
kept     |         except BaseException as problem:
kept     |             if is_interrupt(problem):
kept     |                 raise
kept     |             observer_failed(kept, problem)
         |     return result
"""

# One observer's share of a walk. An observer that raises is reported and left out; the call goes on, whatever it is but
# the user's Ctrl-C: a walk waits for nothing while it tells them, so a cancellation there is the observer's own.
_START: Final = """
        try:
            state{i} = start{i}(call)
        except BaseException as problem:
            if is_interrupt(problem):
                began = clock()
                raise
            observer_failed(observer{i}, problem)
"""
_FINISH: Final = """
    if state{i} is not FAILED:
        try:
            finish{i}(state{i}, call, {outcome}, {failure}, took)
        except BaseException as problem:
            if is_interrupt(problem):
                raise
            observer_failed(observer{i}, problem)
"""


class _Watcher(NamedTuple):
    """A bound observer, and what is called of it: read once, within the barrier."""

    bound: BoundObserver
    start: Callable[..., Any]
    finish: Callable[..., None]


def compile_endpoint(
    spec: FunctionSpec,
    *,
    injector: Injector,
    observers: Sequence[Observer],
    places: Places,
    timeout: float | None,
    again: Callable[[Call], tuple[Endpoint, Call]],
    pauses: Pauses | None = None,
    admission: "Admission | None" = None,
    traces: "Traces | None" = None,
) -> Endpoint:
    """Compile everything that calling a function needs.

    Args:
        spec: the function.
        injector: resolves its dependencies.
        observers: see its calls.
        places: where functions run.
        timeout: seconds for calls that neither their caller nor the function limits, or None.
        again: picks anew for a call that finds the endpoint retired.
        pauses: waits between two attempts; without them each call has one.
        admission: gives the calls of tenants their turn; without it nobody waits for one.
        traces: keeps whole calls, of those that observers see; without it none is kept.

    Returns:
        The endpoint, ready to be called.

    Raises:
        ContractError: if its executor cannot be bound.
    """
    gate = Gate()
    door: dict[str, Any] = {"gate": gate, "inside": gate.calls, "again": again}
    if admission is not None:
        door |= {"line": admission.line(spec.key), "give_seat_back": admission.leave}
    door |= _keeping(spec, observers, traces)
    executor = places.of(spec)
    observed: list[_Watcher] = []
    retry = spec.policy.retry
    if executor is None and (retry is None or pauses is None):  # one walk, wherever its caller is, or at home
        parts = _parts(spec, injector)
        observed = _bind(observers, spec)
        here = places.inline.bind(spec, _function(spec, parts, door, observed))
        executors = [here]
        run, arun = here.run, here.arun
        if spec.colour is Colour.SYNC and spec.policy.executor is None:
            apart: BoundExecutor = places.thread.bind(spec, _function(spec, parts))
            executors.append(apart)
            arun = _handing(spec, apart, "arun", door, observed)
    else:
        local = _function(spec, _parts(spec, injector)) if places.injects_here(spec) else _injected_there
        if executor is None:
            here = apart = places.inline.bind(spec, local)
            if spec.colour is Colour.SYNC and spec.policy.executor is None:
                apart = places.thread.bind(spec, local)
        else:
            here = apart = _bound_to(executor, spec, local)
        executors = [here] if apart is here else [here, apart]
        observed = _bind(observers, spec)
        if retry is not None and pauses is not None:
            from jackfield.calls.retrying import Retrying, telling  # noqa: PLC0415  # for those who have such plugins

            told = telling(watcher.bound for watcher in observed)
            here, apart = (Retrying(each, spec, retry, pauses, told) for each in (here, apart))
        run = _handing(spec, here, "run", door, observed)
        arun = _handing(spec, apart, "arun", door, observed)
    limit = timeout if spec.policy.timeout is None else spec.policy.timeout
    return Endpoint(
        spec, run, arun, limit, partial(_close, [*executors, *(watcher.bound for watcher in observed)]), gate
    )


def _parts(spec: FunctionSpec, injector: Injector) -> tuple[dict[str, Any], str]:
    """Give what a walk with the function in it needs, and the expression that calls the function."""
    codec = contract.codec_of(spec)
    values: dict[str, Any] = {"convert": codec.convert, "trusted": codec.trusted, "target": spec.target}
    values["fail"] = failures.translator(spec, awaited=spec.colour is Colour.ASYNC)
    if not spec.dependencies:
        return values, invocation(spec, {})
    values["body"] = injector.body(spec)
    return values, "body(call, value)"


def _function(
    spec: FunctionSpec,
    parts: tuple[dict[str, Any], str],
    door: Mapping[str, Any] | None = None,
    observed: Sequence[_Watcher] = (),
) -> Callable[[Call], Any]:
    """Make the walk that has the function in it; with a door it is the whole call."""
    values, body = parts
    is_async = spec.colour is Colour.ASYNC
    steps = {"function", "converted" if values["trusted"] is None else "trusted"}
    steps |= {"async"} if is_async else {"sync", "checked"}
    if door is not None:
        further, named = _entered(door, awaited=is_async)
        steps |= further
        values = values | named
    return _walk(steps, body, values, observed)


def _entered(door: Mapping[str, Any], *, awaited: bool) -> tuple[set[str], dict[str, Any]]:
    """Give the steps of a walk that is a whole call, and what they need: it is counted, and has its turn."""
    steps, values = {"counted", "awaiting" if awaited else "waiting"}, dict(door)
    if "kept" in values:
        steps.add("kept")
    if (line := values.pop("line", None)) is not None:
        steps |= {"seated", "queueing" if awaited else "blocking"}
        values["take_seat"] = line.aenter if awaited else line.enter
    return steps, values


def _keeping(spec: FunctionSpec, observers: Sequence[Observer], traces: "Traces | None") -> dict[str, Any]:
    """Give what keeps calls; a call that nobody observes has no times, and is not kept."""
    if traces is None or not observers:
        return {}
    kept = traces.bind(spec)
    return {"kept": kept, "kept_good": kept.good, "kept_bad": kept.bad}


def _handing(
    spec: FunctionSpec,
    executor: BoundExecutor,
    how: Literal["run", "arun"],
    door: Mapping[str, Any],
    observed: Sequence[_Watcher],
) -> Callable[[Call], Any]:
    """Make the walk that hands the call to an executor, and stays with the caller."""
    awaited = how == "arun"
    steps, named = _entered(door, awaited=awaited)
    values = {how: getattr(executor, how), "fail": failures.translator(spec, awaited=awaited), **named}
    return _walk(steps | {"async" if awaited else "sync"}, f"{how}(call)", values, observed)


def _bound_to(executor: Executor, spec: FunctionSpec, local: Callable[[Call], Any]) -> BoundExecutor:
    try:
        return executor.bind(spec, local)
    except JackfieldError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = f"executor {spec.policy.executor!r} could not bind it: {blamed(error)}"
        raise ContractError(
            spec.name, (Fault("contract", spec.plugin, spec.key, reason, where=place_of(spec.target)),)
        ) from error


def _injected_there(call: Call) -> Any:
    reason = "its executor says that it injects where it runs, so nothing was compiled here"
    raise Unavailable(call.name, reason)


def compile_refusal(
    spec: FunctionSpec,
    refuse: Callable[[Call], JackfieldError],
    observers: Sequence[Observer],
    traces: "Traces | None" = None,
) -> Endpoint:
    """Compile an endpoint whose every call is observed and refused: unknown names, a host that is not running.

    Args:
        spec: what observers see the calls under.
        refuse: makes the error.
        observers: see the calls.
        traces: keeps them.
    """

    def body(call: Call) -> Any:
        raise refuse(call)

    bound, values = _bind(observers, spec), {"body": body, **_keeping(spec, observers, traces)}
    further = {"kept"} & values.keys()
    run, arun = (
        _walk({color, *further}, "body(call)", values | {"fail": failures.translator(spec, awaited=awaited)}, bound)
        for color, awaited in (("sync", False), ("async", True))
    )
    return Endpoint(spec, run, arun, None, partial(_close, [watcher.bound for watcher in bound]))


def _bind(observers: Sequence[Observer], spec: FunctionSpec) -> list[_Watcher]:
    bound = []
    for observer in observers:
        try:
            one = observer.bind(spec)
            bound.append(_Watcher(one, one.start, one.finish))
        except BaseException as error:  # an observer must not keep a function from being registered
            if is_interrupt(error):
                raise
            observer_failed(observer, error)
    return bound


def _close(bound: Sequence[BoundObserver | BoundExecutor]) -> None:
    for each in bound:
        try:
            each.close()
        except BaseException as error:  # nor from being unregistered
            if is_interrupt(error):
                raise
            observer_failed(each, error)


def _walk(tags: set[str], body: str, names: Mapping[str, Any], observers: Sequence[_Watcher]) -> Callable[[Call], Any]:
    """Instantiate the template for one function; functions of one shape share the code."""
    values = dict(names)
    for index, observer in enumerate(observers):
        values |= {
            f"start{index}": observer.start,
            f"finish{index}": observer.finish,
            f"observer{index}": observer.bound,
        }
    steps = tags | {"observed"} if observers else tags - {"kept"}
    make = _factory(frozenset(steps), body, len(observers), tuple(values))
    walk: Callable[[Call], Any] = make(*values.values())
    return walk


@lru_cache(maxsize=256)
def _factory(tags: frozenset[str], body: str, observers: int, parameters: tuple[str, ...]) -> Callable[..., Any]:
    """Render the template and compile it to `make(*parameters) -> walk`; what all walks share is in its globals."""
    last_first = range(observers)[::-1]
    finish = "".join(_FINISH.format(i=i, outcome="outcome", failure="failure") for i in last_first)
    blocks = {
        "body": body,
        "states": " = ".join(f"state{i}" for i in range(observers)),
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
    "is_interrupt": is_interrupt,
    "leave": current.reset,
    "leave_anyhow": failures.leave_anyhow,
    "monotonic": monotonic,
    "not_started": failures.not_started,
    "observer_failed": observer_failed,
    "outcome_of": failures.outcome_of,
    "timed_out": failures.timed_out,
    "unawaited": failures.unawaited,
}
