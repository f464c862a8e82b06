"""What a flow's functions give and take, compared before it runs: by JSON Schema, which all of them have.

Only what a type checker would refuse counts. A result that may be None counts as if it never were: a flow has no way to
say what it does then.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jackfield.contract.payload.naming import is_whole
from jackfield.contract.payload.schema import payload_schema, result_schema
from jackfield.contract.reading import ANYTHING, Document, is_anything
from jackfield.contract.schemas import misfits, words
from jackfield.flow.program import Node, Program
from jackfield.model.flow import INPUT, ITEM, Reference, is_reference, references
from jackfield.model.flow_faults import Flaw, close
from jackfield.model.spec import FunctionSpec
from jackfield.strangers import Broken, barrier

Schema = Mapping[str, Any]
Known = Callable[[str], FunctionSpec | None]
"""Function → its contract, of the version that is called by default; None where nobody knows."""

_DEFS: Final = "#/$defs/"
_NULL: Final = "null"


class Missing(Exception):
    """What a reference names is not there; its text says what is, and `fix` what might be meant."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix


def contract_flaws(program: Program, known: Known) -> Iterator[Flaw]:
    """Find the references that cannot fit what they are given to.

    Args:
        program: the flow.
        known: the functions.
    """
    results = _results(program, known)
    for node in program.nodes.values():
        yield from _step_flaws(node, known(node.step.call), results)
    for reference in _within(program.flow.output):
        yield from _missing(reference, results, ("output",))


def result_of(program: Program, known: Known) -> Schema:
    """Describe what a flow gives, as far as its functions say.

    Args:
        program: the flow.
        known: the functions.

    Returns:
        A JSON Schema.
    """
    results, flow = _results(program, known), program.flow
    last = flow.last
    whole = flow.output if flow.output is not None else f"${last[0]}" if len(last) == 1 else {n: f"${n}" for n in last}
    try:
        return _whole(_schema(whole, results, lossy=_lossy(program)))
    except Missing:
        return ANYTHING


def _results(program: Program, known: Known) -> Mapping[str, Schema]:
    """Describe what each step gives; its definitions have its name before theirs."""
    found: dict[str, Schema] = {}
    for name, node in program.nodes.items():
        spec = known(node.step.call)
        if spec is None:
            continue
        try:
            with barrier("reading its contract"):
                one = _prefixed(result_schema(spec), name)
        except Broken:
            continue
        if node.each is not None:
            one = {"type": "array", "items": _bare(one), "$defs": one.get("$defs", {})}
        found[name] = one
    return found


def _lossy(program: Program) -> frozenset[str]:
    """Name the steps that may have no result though the flow goes on."""
    lost = [name for name, node in program.nodes.items() if node.step.on_error == "continue"]
    found: set[str] = set()
    while lost:
        name = lost.pop()
        if name not in found:
            found.add(name)
            lost += program.nodes[name].feeds
    return frozenset(found)


def _step_flaws(node: Node, spec: FunctionSpec | None, results: Mapping[str, Schema]) -> Iterator[Flaw]:
    at = ("steps", node.step.name)
    scope = dict(results)
    if node.each is not None:
        try:
            over = _without_null(_follow(node.each, results))
        except Missing as missing:
            yield Flaw((*at, "each"), str(missing), missing.fix)
            over = ANYTHING
        item = _items(over)
        if item is None:
            yield Flaw(
                (*at, "each"), f"'{node.each}' is {words(over, over)}, and `each` goes over a list", "name a list"
            )
        else:
            scope[ITEM] = item
    found = False
    for reference in _within(node.step.with_):
        for flaw in _missing(reference, scope, (*at, "with")):
            found = True
            yield flaw
    if spec is None or found:
        return
    value = node.step.with_
    if node.named is not None and is_whole(spec, node.named):
        value = value[node.named[0]]
    try:
        with barrier("reading its contract"):
            told = misfits(payload_schema(spec), _whole(_schema(value, scope)))
    except Broken:
        return
    for text in told:
        yield Flaw((*at, "with"), f"{spec.name} does not take that: {text}", f"`pluginctl info {spec.name} --contract`")


def _within(value: Any) -> Iterator[Reference]:
    for _, text in references(value):
        if (found := Reference.parse(text)) is not None:
            yield found


def _missing(reference: Reference, results: Mapping[str, Schema], at: tuple[str | int, ...]) -> Iterator[Flaw]:
    try:
        _follow(reference, results)
    except Missing as missing:
        yield Flaw(at, str(missing), missing.fix)


# --- Schemas --------------------------------------------------------------------------------------------------------


def _schema(value: Any, results: Mapping[str, Schema], lossy: frozenset[str] = frozenset()) -> Schema:
    """Describe what a value with references will be."""
    if is_reference(value):
        reference = Reference.parse(value)
        assert reference is not None  # noqa: S101  # it has been checked
        found = _without_null(_follow(reference, results)) if not lossy else _follow(reference, results)
        if reference.source in lossy and not is_anything(found):
            return {"anyOf": [_bare(found), {"type": _NULL}], "$defs": found.get("$defs", {})}
        return found
    if isinstance(value, Mapping):
        members = {str(key): _schema(item, results, lossy) for key, item in value.items()}
        return {
            "type": "object",
            "properties": {key: _bare(each) for key, each in members.items()},
            "required": list(members),
            "additionalProperties": False,
            "$defs": _defs(members.values()),
        }
    if isinstance(value, list | tuple):
        items = [_schema(item, results, lossy) for item in value]
        return {
            "type": "array",
            "prefixItems": [_bare(each) for each in items],
            "items": False,
            "minItems": len(items),
            "maxItems": len(items),
            "$defs": _defs(items),
        }
    # A text may stand for a date or an enum's member: only its function can tell.
    return {"const": value} if value is None or isinstance(value, bool | int | float) else ANYTHING


def _follow(reference: Reference, results: Mapping[str, Schema]) -> Schema:
    """Describe what a reference stands for.

    Raises:
        Missing: if there can be nothing.
    """
    if reference.source == INPUT or reference.source not in results:
        return ANYTHING
    root = results[reference.source]
    document, node = Document(root), root
    for depth, key in enumerate(reference.keys):
        node = _part(document, node, key, str(Reference(reference.source, reference.keys[:depth])), root)
        if is_anything(node):
            return ANYTHING
    if not isinstance(node, Mapping):
        return ANYTHING
    return {**node, "$defs": root.get("$defs", {})}


def _part(document: Document, node: Any, key: str, named: str, root: Schema) -> Any:
    node = document.resolved(node)
    if isinstance(node, bool) or is_anything(node) or not node.keys().isdisjoint({"allOf", "const", "enum"}):
        return ANYTHING
    if (members := document.choices(node)) is not None:
        return _part_of_any(document, members, key, named, root)
    kinds = node.get("type", [])
    if "object" in ((kinds,) if isinstance(kinds, str) else kinds):
        properties, rest = node.get("properties", {}), node.get("additionalProperties", True)
        if key not in properties and rest is False:
            raise Missing(f"there is no {key!r} in {named}", close(key, list(properties)))
        return properties.get(key, rest)
    if kinds == "array":
        if not key.isdecimal():
            raise Missing(f"{named} is a list, and {key!r} is no place in it", "write a number")
        first = node.get("prefixItems", ())
        return first[int(key)] if int(key) < len(first) else node.get("items", True)
    if isinstance(kinds, list):
        return ANYTHING
    raise Missing(f"there is no {key!r} in {named}, which is {words(node, root)}", "name the whole")


def _part_of_any(document: Document, members: list[Any], key: str, named: str, root: Schema) -> Any:
    """Give a part of those of several that have it; one will do, since which it is is seen only when it runs."""
    found, why = [], None
    for member in members:
        try:
            found.append(_part(document, member, key, named, root))
        except Missing as missing:
            why = missing
    if not found and why is not None:
        raise why
    return found[0] if len(found) == 1 else {"anyOf": found}


def _items(over: Schema) -> Schema | None:
    """Describe the items of a list; None where it is none."""
    document = Document(over)
    node = document.resolved(over)
    if isinstance(node, bool) or is_anything(node) or "allOf" in node:
        return ANYTHING
    if (members := document.choices(node)) is not None:
        found = [
            _items({**member, "$defs": over.get("$defs", {})}) for member in members if isinstance(member, Mapping)
        ]
        return ANYTHING if any(each is not None for each in found) else None
    kinds = node.get("type")
    if kinds is None or "array" in ((kinds,) if isinstance(kinds, str) else kinds):
        items = node.get("items", ANYTHING) if "prefixItems" not in node else ANYTHING
        return {**items, "$defs": over.get("$defs", {})} if isinstance(items, Mapping) and items else ANYTHING
    return None


def _without_null(schema: Schema) -> Schema:
    """Pass over that something may be None."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            left = [each for each in schema[key] if each != {"type": _NULL}]
            if len(left) == 1 and isinstance(left[0], Mapping):
                return {**left[0], "$defs": schema.get("$defs", {})}
            return {**schema, key: left} if left else schema
    if isinstance(kinds := schema.get("type"), list) and _NULL in kinds and len(kinds) > 1:
        left = [each for each in kinds if each != _NULL]
        return {**schema, "type": left[0] if len(left) == 1 else left}
    return schema


def _prefixed(schema: Schema, name: str) -> Schema:
    """Give definitions the name of a step, so that those of several may stand in one document."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                key: f"{_DEFS}{name}.{item.removeprefix(_DEFS)}"
                if key == "$ref" and isinstance(item, str)
                else walk(item)
                for key, item in value.items()
            }
        return [walk(item) for item in value] if isinstance(value, list) else value

    made: dict[str, Any] = walk({key: value for key, value in schema.items() if key != "$schema"})
    if "$defs" in made:
        made["$defs"] = {f"{name}.{key}": value for key, value in made["$defs"].items()}
    return made


def _bare(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "$defs"}


def _defs(parts: Any) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.get("$defs", {}).items()}


def _whole(schema: Schema) -> Schema:
    """Leave out definitions that there are not."""
    return schema if schema.get("$defs") else _bare(schema)
