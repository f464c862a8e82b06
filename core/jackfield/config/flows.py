"""What `jackfield.toml` says of flows."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from jackfield.config.leaves import Positive, Seconds, Text
from jackfield.model.flow import Flow, Step


@attrs.frozen
class StepConfig:
    """One step of a flow.

    Attributes:
        call: the function that it calls.
        with_: what the function is called with: values by parameter, or one value. A text that begins with one dollar
            is a reference (`$input.key`, `$step.key`, `$item`); `$$` is a dollar. Without it there is no payload.
        after: steps that must have ended before it begins, beside those that it refers to.
        each: a reference to a list: the step is done once for each item of it.
        parallel: how many items are worked on at once; 8 by default.
        on_error: with `continue` the flow goes on without the step and what needs it; else the rest is cancelled.
    """

    call: Text
    with_: Any = attrs.field(default=None, metadata={"key": "with"})
    after: tuple[Text, ...] = ()
    each: Text | None = None
    parallel: Positive | None = None
    on_error: Literal["fail", "continue"] = "fail"


@attrs.frozen
class FlowConfig:
    """One flow, which is a function.

    Attributes:
        version: its version, as of any function.
        timeout: seconds that a call of it may take, all steps together.
        output: what its result is, with references; by default the result of the last step, or a table of those of the
            last ones.
        steps: step → what it does.
    """

    version: Text = "0"
    timeout: Seconds | None = None
    output: Any = None
    steps: Mapping[str, StepConfig] = attrs.field(factory=dict)


Flows = Mapping[str, FlowConfig | tuple[FlowConfig, ...]]
"""Function name → the flow, or its versions."""


def flow_of(name: str, config: FlowConfig) -> Flow:
    """Make the flow that a table describes."""
    steps = tuple(
        Step(step, one.call, one.with_, one.after, one.each, one.parallel, one.on_error)
        for step, one in config.steps.items()
    )
    return Flow(name, version=config.version, timeout=config.timeout, output=config.output, steps=steps)
