"""A flow of ten steps, against the same functions called by hand and against Hamilton."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from harness import Effort, Sampler, measure
from results import Row, Section

from jackfield import Flow, Host, function

_STEPS = 10
_NAMES = [f"s{number}" for number in range(_STEPS)]


def run(effort: Effort) -> Section:
    """Measure a chain and a fan, whose functions do next to nothing."""
    with asyncio.Runner() as runner:
        return runner.run(_run(effort, runner.get_loop()))


async def _run(effort: Effort, loop: asyncio.AbstractEventLoop) -> Section:
    async with Host(observers=()) as host:
        _fill(host)
        awaited: dict[str, Callable[[], Awaitable[Any]]] = {
            "chain": lambda: host.acall("chain", {"value": {"n": 1}}),
            "chain by hand": lambda: host.acall("chain.hand", {"value": {"n": 1}}),
            "fan": lambda: host.acall("fan", {"value": {"n": 1}}),
            "fan by hand": lambda: host.acall("fan.hand", {"value": {"n": 1}}),
            "threads": lambda: host.acall("threads", {"value": {"n": 1}}),
            "threads by hand": lambda: host.acall("threads.hand", {"value": {"n": 1}}),
            "bare": _bare,
        }
        samplers = {label: _sampler(call, loop) for label, call in awaited.items()}
        if (rival := _hamilton()) is not None:
            samplers["hamilton"] = rival
        # In a thread, so that this loop is free for what is measured on it.
        taken = await asyncio.to_thread(measure, effort, samplers)
    gathered = "the same `acall`s within one function, in a `TaskGroup`"
    rows = [
        Row(
            "chain of async steps, one step",
            "the same `acall`s within one function",
            taken["chain"],
            taken["chain by hand"],
        ),
        Row("ten async steps at once, one step", gathered, taken["fan"], taken["fan by hand"]),
        Row(
            "chain of sync steps in threads, one step",
            "the same `acall`s within one function",
            taken["threads"],
            taken["threads by hand"],
        ),
        Row("chain of async steps, one step", "bare `await`s of the functions", taken["chain"], taken["bare"]),
    ]
    if rival is not None:
        rows.append(
            Row("chain of async steps, one step", "Hamilton, sync driver", taken["chain"], taken["hamilton"], 1.0)
        )
    return Section(
        "Flows",
        f"{_STEPS} steps whose functions take a table and give one; times are for one step, all of a call's costs"
        " included. A flow copies each result; by hand nothing is copied. No observers.",
        rows,
    )


async def _step(value: dict[str, int]) -> dict[str, int]:
    return {"n": value["n"] + 1}


def _blocking(value: dict[str, int]) -> dict[str, int]:
    return {"n": value["n"] + 1}


async def _bare() -> Any:
    value = {"n": 1}
    for _ in _NAMES:
        value = await _step(value)
    return value


def _fill(host: Host) -> None:
    host.register("step", _step)
    host.register("blocking", function(executor="thread")(_blocking))
    chain, threads, fan = Flow("chain"), Flow("threads"), Flow("fan", output="$s0")
    for before, name in zip(["input.value", *_NAMES], _NAMES, strict=False):
        chain = chain.step(name, "step", value=f"${before}")
        threads = threads.step(name, "blocking", value=f"${before}")
        fan = fan.step(name, "step", value="$input.value")
    for flow in (chain, threads, fan):
        host.add_flow(flow)

    async def chain_by_hand(value: dict[str, int]) -> Any:
        for _ in _NAMES:
            value = await host.acall("step", value)
        return value

    async def threads_by_hand(value: dict[str, int]) -> Any:
        for _ in _NAMES:
            value = await host.acall("blocking", value)
        return value

    async def fan_by_hand(value: dict[str, int]) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(host.acall("step", value)) for _ in _NAMES]
        return tasks[0].result()

    for name, by_hand in {"chain": chain_by_hand, "threads": threads_by_hand, "fan": fan_by_hand}.items():
        host.register(f"{name}.hand", _taking(by_hand))


def _taking(by_hand: Callable[[dict[str, int]], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def hand(given: dict[str, dict[str, int]]) -> Any:
        return await by_hand(given["value"])

    return hand


def _sampler(call: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop) -> Sampler:
    """Make a sampler of awaiting something, on a loop that runs in another thread."""

    async def several(number: int) -> float:
        start = perf_counter()
        for _ in range(number):
            await call()
        return perf_counter() - start

    def sample(number: int) -> float:
        calls = -(-number // _STEPS)
        return asyncio.run_coroutine_threadsafe(several(calls), loop).result() / (calls * _STEPS) * number

    return sample


def _hamilton() -> Sampler | None:
    """Make a sampler of the same chain in Hamilton, where that is installed."""
    if importlib.util.find_spec("hamilton") is None:
        return None
    from hamilton import ad_hoc_utils, base, driver  # noqa: PLC0415  # where it is installed

    source = "".join(
        f"def {name}({before}: dict) -> dict:\n    return {{'n': {before}['n'] + 1}}\n"
        for before, name in zip(["value", *_NAMES], _NAMES, strict=False)
    )
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102  # written above
    module = ad_hoc_utils.create_temporary_module(*(scope[name] for name in _NAMES), module_name="bench_steps")
    made = driver.Builder().with_modules(module).with_adapter(base.DefaultAdapter()).build()

    def sample(number: int) -> float:
        calls = -(-number // _STEPS)
        start = perf_counter()
        for _ in range(calls):
            made.execute([_NAMES[-1]], inputs={"value": {"n": 1}})
        return (perf_counter() - start) / (calls * _STEPS) * number

    return sample
