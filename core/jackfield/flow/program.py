"""A flow, compiled: who feeds whom, and how each step's payload is made."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from jackfield.flow.values import Bind, compile_value
from jackfield.model.flow import INPUT, ITEM, PARALLEL, Flow, Reference, Step, references

_ALWAYS: Final = frozenset({INPUT})


@attrs.frozen
class Node:
    """One step.

    Attributes:
        step: it.
        waits: how many steps it needs.
        feeds: the steps that need it.
        sources: what it refers to, but for the item.
        bind: makes what it is called with; None for no payload.
        named: the names of the values in what it is called with, if they are by name.
        each: the list that it goes over, if it does.
        parallel: how many items at once.
        kept: whether anybody wants its result.
    """

    step: Step
    waits: int
    feeds: tuple[str, ...]
    sources: tuple[str, ...]
    bind: Bind | None
    named: tuple[str, ...] | None
    each: Reference | None
    parallel: int
    kept: bool


@attrs.frozen
class Program:
    """A whole flow.

    Attributes:
        flow: what it was compiled from.
        nodes: step → it, in order.
        first: the steps that need no other.
        output: makes the result.
        is_chain: whether no two steps can ever be done at once.
    """

    flow: Flow
    nodes: Mapping[str, Node]
    first: tuple[str, ...]
    output: Bind
    is_chain: bool


def compile_flow(flow: Flow) -> Program:
    """Compile a flow that has no flaws.

    Args:
        flow: it.

    Raises:
        TypeError: if a step is called with something that is no plain data.
    """
    feeds: dict[str, list[str]] = {step.name: [] for step in flow.steps}
    for step in flow.steps:
        for name in step.needs:
            feeds[name].append(step.name)
    wanted = {source for step in flow.steps for source in step.sources} | {
        reference.source for reference in output_references(flow)
    }
    nodes = {
        step.name: Node(
            step,
            len(step.needs),
            tuple(feeds[step.name]),
            tuple(source for source in step.sources if source != ITEM),
            None if step.with_ is None else compile_value(step.with_),
            tuple(step.with_) if isinstance(step.with_, Mapping) else None,
            None if step.each is None else Reference.parse(step.each),
            step.parallel or PARALLEL,
            step.name in wanted,
        )
        for step in flow.steps
    }
    first = tuple(name for name, node in nodes.items() if not node.waits)
    is_chain = len(first) == 1 and all(len(node.feeds) <= 1 for node in nodes.values())
    return Program(flow, nodes, first, _output(flow), is_chain)


def output_references(flow: Flow) -> tuple[Reference, ...]:
    """Give what the result of a flow is made of."""
    if flow.output is None:
        return tuple(map(Reference, flow.last))
    found = (Reference.parse(text) for _, text in references(flow.output))
    return tuple(each for each in found if each is not None)


def _output(flow: Flow) -> Bind:
    """Make what gives the result; of a step that has failed or was left out it has None."""
    whole: Any = flow.output
    if whole is None:
        last = flow.last
        whole = f"${last[0]}" if len(last) == 1 else {name: f"${name}" for name in last}
    bind, sources = compile_value(whole), {each.source for each in output_references(flow)} - _ALWAYS

    def output(scope: Mapping[str, Any]) -> Any:
        if sources <= scope.keys():
            return bind(scope)
        return compile_value(_without(whole, scope))(scope)

    return output


def _without(value: Any, scope: Mapping[str, Any]) -> Any:
    """Put None where a reference has nothing to refer to."""
    if isinstance(value, Mapping):
        return {key: _without(item, scope) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, scope) for item in value]
    reference = Reference.parse(value) if isinstance(value, str) else None
    return None if reference is not None and reference.source not in scope else value
