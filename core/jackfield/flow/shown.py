"""A flow for people, and for JSON."""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any, Final

from jackfield.flow.watching import StepReport
from jackfield.model.flow import Flow, Step

ARROW: Final = " → "


def levels(flow: Flow) -> tuple[tuple[str, ...], ...]:
    """Sort the steps into levels: each needs earlier ones alone.

    Examples:
        >>> flow = Flow("f").step("auth", "a").step("cache", "c", after=["auth"]).step("log", "l", after=["auth"])
        >>> levels(flow)
        (('auth',), ('cache', 'log'))
    """
    order = {step.name: place for place, step in enumerate(flow.steps)}
    sorter = TopologicalSorter({step.name: step.needs for step in flow.steps})
    sorter.prepare()
    found: list[tuple[str, ...]] = []
    while ready := sorter.get_ready():
        found.append(tuple(sorted(ready, key=order.__getitem__)))
        sorter.done(*ready)
    return tuple(found)


def path(flow: Flow) -> str:
    """Write the levels in one line: `auth → cache, log → notify`."""
    return ARROW.join(map(", ".join, levels(flow)))


def plain(flow: Flow) -> dict[str, Any]:
    """Give a flow as plain data, as its table in a configuration has it."""
    return {
        "name": flow.name,
        "version": flow.version,
        "timeout": flow.timeout,
        "output": flow.output,
        "steps": {step.name: _step(step) for step in flow.steps},
    }


def _step(step: Step) -> dict[str, Any]:
    given = {"call": step.call, "with": step.with_, "after": list(step.after), "each": step.each}
    return {**given, "parallel": step.parallel, "on_error": step.on_error, "needs": list(step.needs)}


def flow_from(given: Mapping[str, Any]) -> Flow:
    """Make the flow again that `plain` was given."""
    steps = tuple(
        Step(name, one["call"], one["with"], tuple(one["after"]), one["each"], one["parallel"], one["on_error"])
        for name, one in given["steps"].items()
    )
    return Flow(given["name"], version=given["version"], timeout=given["timeout"], output=given["output"], steps=steps)


def lines(flow: Flow, states: Mapping[str, StepReport] | None = None) -> list[tuple[str, ...]]:
    """Give a row for each step, in an order in which they may run.

    Args:
        flow: it.
        states: what became of each, if there was a run.
    """
    order = {name: place for place, level in enumerate(levels(flow)) for name in level}
    rows = []
    for step in sorted(flow.steps, key=lambda step: order[step.name]):
        notes = [f"after {', '.join(step.needs)}"] if step.needs else []
        if step.each is not None:
            notes.append(f"each {step.each}")
        if step.on_error == "continue":
            notes.append("may fail")
        became = (str(states[step.name]),) if states is not None else ()
        rows.append((step.name, step.call, *became, "; ".join(notes)))
    return rows
