"""Draw flows as Mermaid or DOT, with the state of a run in colours."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from jackfield.flow.watching import StepReport, StepState
from jackfield.model.flow import Flow, Step
from jackfield.text import dot_text, mermaid_text

Style = Literal["mermaid", "dot"]

_PLAIN: Final = "step"
_COLOURS: Final = {
    _PLAIN: "fill:#dbeafe,stroke:#1d4ed8,color:#172554",
    StepState.OK: "fill:#dcfce7,stroke:#15803d,color:#14532d",
    StepState.RUNNING: "fill:#fef9c3,stroke:#a16207,color:#422006",
    StepState.FAILED: "fill:#fee2e2,stroke:#b91c1c,color:#450a0a",
    StepState.CANCELLED: "fill:#ffedd5,stroke:#c2410c,color:#431407",
    StepState.LEFT_OUT: "fill:#f3f4f6,stroke:#4b5563,color:#111827,stroke-dasharray:4",
    StepState.WAITING: "fill:#f3f4f6,stroke:#4b5563,color:#111827",
}


def draw(flow: Flow, style: Style = "mermaid", report: Mapping[str, StepReport] | None = None) -> str:
    """Draw one flow.

    Args:
        flow: it.
        style: the language.
        report: what became of each step in a run, which is its colour then.

    Examples:
        >>> print(draw(Flow("f").step("a", "x.a").step("b", "x.b", value="$a")), end="")
        flowchart LR
            f0_0["a<br/>x.a"]:::step
            f0_1["b<br/>x.b"]:::step
            f0_0 --> f0_1
            classDef step fill:#dbeafe,stroke:#1d4ed8,color:#172554
    """
    if style == "dot":
        return "\n".join(["digraph flow {", "    rankdir=LR;", *_dot(flow, 0, report or {}, "    "), "}"]) + "\n"
    body = [*_mermaid(flow, 0, report or {}, "    "), *_classes([flow], report or {})]
    return "\n".join(["flowchart LR", *body]) + "\n"


def beside(drawing: str, flows: Iterable[Flow], style: Style) -> str:
    """Add flows to a drawing that there is, each in a frame of its own.

    Args:
        drawing: a Mermaid flowchart or a DOT graph.
        flows: what to add.
        style: which of the two it is.
    """
    every = tuple(flows)
    added: list[str] = []
    for number, flow in enumerate(every):
        if style == "dot":
            added += [f"    subgraph cluster_{number} {{", f'        label="{dot_text(flow.key)}";']
            added += [*_dot(flow, number, {}, "        "), "    }"]
        else:
            added += [f'    subgraph flow{number}["{mermaid_text(flow.key)}"]', *_mermaid(flow, number, {}, "        ")]
            added.append("    end")
    if style == "dot":
        return drawing.rstrip().removesuffix("}") + "\n".join([*added, "}"]) + "\n" if added else drawing
    return drawing + "\n".join([*added, *_classes(every, {})]) + "\n" if added else drawing


def _mermaid(flow: Flow, number: int, report: Mapping[str, StepReport], indent: str) -> Iterator[str]:
    names = {step.name: f"f{number}_{place}" for place, step in enumerate(flow.steps)}
    for step in flow.steps:
        opening, closing = ("[[", "]]") if step.each is not None else ("[", "]")
        text = "<br/>".join(map(mermaid_text, _label(step, report)))
        yield f'{indent}{names[step.name]}{opening}"{text}"{closing}:::{_class(step, report)}'
    for step in flow.steps:
        for need in step.needs:
            yield f"{indent}{names[need]} {'-.->' if _is_soft(flow, need) else '-->'} {names[step.name]}"


def _classes(flows: Iterable[Flow], report: Mapping[str, StepReport]) -> Iterator[str]:
    used = {_class(step, report) for flow in flows for step in flow.steps}
    for kind, colours in _COLOURS.items():
        if (name := _word(kind)) in used:
            yield f"    classDef {name} {colours}"


def _dot(flow: Flow, number: int, report: Mapping[str, StepReport], indent: str) -> Iterator[str]:
    names = {step.name: f"f{number}_{place}" for place, step in enumerate(flow.steps)}
    for step in flow.steps:
        state = report[step.name].state if step.name in report else _PLAIN
        parts = dict(part.split(":") for part in _COLOURS[state].split(","))
        label = "\\n".join(map(dot_text, _label(step, report)))
        style = f'style="filled{",dashed" if state is StepState.LEFT_OUT else ""}"'
        shape = "box3d" if step.each is not None else "box"
        colours = f'fillcolor="{parts["fill"]}", color="{parts["stroke"]}"'
        look = f'class="{_word(state)}", shape={shape}, {style}, {colours}'
        yield f'{indent}{names[step.name]} [label="{label}", {look}];'
    for step in flow.steps:
        for need in step.needs:
            soft = " [style=dashed]" if _is_soft(flow, need) else ""
            yield f"{indent}{names[need]} -> {names[step.name]}{soft};"


def _is_soft(flow: Flow, name: str) -> bool:
    """Tell whether a step may fail while the flow goes on."""
    return any(step.name == name and step.on_error == "continue" for step in flow.steps)


def _label(step: Step, report: Mapping[str, StepReport]) -> tuple[str, ...]:
    each = (f"each {step.each}",) if step.each is not None else ()
    became = (str(report[step.name]),) if step.name in report else ()
    return (step.name, step.call, *each, *became)


def _class(step: Step, report: Mapping[str, StepReport]) -> str:
    return _word(report[step.name].state if step.name in report else _PLAIN)


def _word(kind: str) -> str:
    return kind.replace(" ", "_")
