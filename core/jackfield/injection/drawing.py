"""Draw the dependency graph as Mermaid or DOT, faulty graphs included."""

from collections.abc import Iterable
from typing import Final

import attrs

from jackfield.injection.deriving import Derived
from jackfield.injection.graph import Contextual, Graph, Source, ThisCall
from jackfield.injection.providers import Provider
from jackfield.model.spec import MISSING, Dependency, FunctionSpec
from jackfield.text import dot_text, mermaid_text

_STYLES: Final = {
    "function": "fill:#dbeafe,stroke:#1d4ed8,color:#172554",
    "singleton": "fill:#dcfce7,stroke:#15803d,color:#14532d",
    "request": "fill:#fef9c3,stroke:#a16207,color:#422006",
    "builtin": "fill:#f3f4f6,stroke:#4b5563,color:#111827",
    "missing": "fill:#fee2e2,stroke:#b91c1c,color:#450a0a,stroke-dasharray:4",
}
_SHAPES: Final = {
    "function": ("([", "])", "box"),
    "singleton": ("[", "]", "ellipse"),
    "request": ("(", ")", "ellipse"),
    "builtin": ("{{", "}}", "hexagon"),
    "missing": ("[", "]", "octagon"),
}


@attrs.define
class _Picture:
    """Nodes as kind and lines of text, edges as pairs of node numbers with a mark for optional ones."""

    nodes: list[tuple[str, tuple[str, ...]]] = attrs.field(factory=list)
    edges: list[tuple[int, int, bool]] = attrs.field(factory=list)
    numbers: dict[object, int] = attrs.field(factory=dict)

    def node(self, identity: object, kind: str, *lines: str) -> int:
        if identity not in self.numbers:
            self.numbers[identity] = len(self.nodes)
            self.nodes.append((kind, tuple(line for line in lines if line)))
        return self.numbers[identity]


def mermaid(graph: Graph, specs: Iterable[FunctionSpec] = ()) -> str:
    """Draw the graph as a Mermaid flowchart.

    Functions, singletons, request-scoped objects, what jackfield itself injects, and what is missing have each a shape
    and a colour; the edge of an optional dependency is dotted.

    Args:
        graph: the providers, drawn whether they are needed or not.
        specs: the functions; those without dependencies are left out.

    Returns:
        The text, the same for the same graph.

    Examples:
        >>> from jackfield.injection.providers import value_provider
        >>> print(mermaid(Graph([value_provider(8080, name="port")])).splitlines()[1])
            n0["int #39;port#39;<br/>a value"]:::singleton
    """
    picture = _picture(graph, specs)
    lines = ["flowchart LR"]
    for number, (kind, texts) in enumerate(picture.nodes):
        opening, closing, _ = _SHAPES[kind]
        lines.append(f'    n{number}{opening}"{"<br/>".join(map(mermaid_text, texts))}"{closing}:::{kind}')
    lines += [f"    n{user} {'-.->' if soft else '-->'} n{needed}" for user, needed, soft in picture.edges]
    used = {kind for kind, _ in picture.nodes}
    lines += [f"    classDef {kind} {style}" for kind, style in _STYLES.items() if kind in used]
    return "\n".join(lines) + "\n"


def dot(graph: Graph, specs: Iterable[FunctionSpec] = ()) -> str:
    """Draw the graph in the DOT language of Graphviz.

    Args:
        graph: the providers, drawn whether they are needed or not.
        specs: the functions; those without dependencies are left out.

    Returns:
        The text, the same for the same graph.
    """
    picture = _picture(graph, specs)
    lines = ["digraph injection {", "    rankdir=LR;"]
    for number, (kind, texts) in enumerate(picture.nodes):
        style = dict(part.split(":") for part in _STYLES[kind].split(","))
        look = f'shape={_SHAPES[kind][2]}, style="filled{",dashed" if kind == "missing" else ""}"'
        colours = f'fillcolor="{style["fill"]}", color="{style["stroke"]}"'
        label = "\\n".join(dot_text(text) for text in texts)
        lines.append(f'    n{number} [label="{label}", class="{kind}", {look}, {colours}];')
    lines += [f"    n{user} -> n{needed}{' [style=dashed]' if soft else ''};" for user, needed, soft in picture.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _picture(graph: Graph, specs: Iterable[FunctionSpec]) -> _Picture:
    picture = _Picture()
    asked: list[Source] = []
    for spec in specs:
        if spec.dependencies:
            number = picture.node(spec, "function", spec.key, spec.plugin)
            for dependency in spec.dependencies:
                _draw(picture, graph, number, dependency)
                asked += graph.candidates(dependency.key)
    derived = graph.reach((one for one in asked if isinstance(one, Provider)), graph.needs)
    for provider in (*graph.needs, *derived):
        if not provider.inner:  # a decorator is drawn with what it decorates
            number = _source(picture, provider)
            for dependency in provider.settled:
                _draw(picture, graph, number, dependency)
    return picture


def _draw(picture: _Picture, graph: Graph, user: int, dependency: Dependency) -> None:
    soft = dependency.optional or dependency.defaulted
    sources = graph.candidates(dependency.key)
    for source in sources:
        identity = source if isinstance(source, Provider) else dependency.key
        picture.edges.append((user, _source(picture, source, identity, str(dependency.key)), soft))
    if not sources and not soft:
        picture.edges.append((user, picture.node(dependency.key, "missing", str(dependency.key), "missing"), soft))


def _source(picture: _Picture, source: Source, identity: object = None, text: str = "") -> int:
    if isinstance(source, Provider):
        where = source.label if source.value is MISSING else "a value"
        where = "" if isinstance(source, Derived) and source.shape is not None else where
        return picture.node(source, source.scope or "singleton", str(source.key), where, source.plugin)
    if isinstance(source, ThisCall | Contextual):
        return picture.node(identity, "builtin", text)
    return picture.node(identity, "singleton", text, "overridden")
