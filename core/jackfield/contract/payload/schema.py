"""Contracts as JSON Schema: what conversion takes of plain data, for every type."""

import decimal
import enum
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, Final, get_args

import msgspec

from jackfield.contract.shapes import (
    Anything,
    Array,
    Checked,
    Choice,
    Delegated,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
    identity,
    is_pydantic,
    parameters,
    render,
    strip,
    view,
)
from jackfield.model.size import PARTS, TYPES, TooLarge, bounded, parts
from jackfield.model.spec import MISSING, FunctionSpec

_REF: Final = "#/$defs/{name}"
# What JSON has, by the name that JSON Schema has for it: a class may hold some of it, as `numbers.Number` does.
_PLAIN: Final[Mapping[str, Any]] = {
    "null": None,
    "boolean": True,
    "integer": 1,
    "number": 0.5,
    "string": "",
    "array": [],
    "object": {},
}
_TEXTS: Final[Mapping[Any, dict[str, Any]]] = {  # keys of an object, which are text in JSON
    int: {"pattern": "^-?(0|[1-9][0-9]*)$"},
    float: {"pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$|^(-?inf|nan)$"},
    bool: {"enum": ["true", "false"]},
    type(None): {"const": "null"},
}


def payload_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function takes, as JSON Schema 2020-12.

    Plain data are taken if the schema takes them, but for what JSON Schema cannot say; `docs/reference/payloads.md` has
    the list of that.

    Args:
        spec: the function's contract.

    Returns:
        The schema; for several parameters that of an object. What cannot be checked is `{}` with a description.

    Examples:
        >>> from jackfield.contract import specify
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> payload_schema(specify("shape.area", area))["required"]
        ['width']
    """
    if spec.remote is not None:
        return dict(spec.remote.payload)
    writer = _Writer()
    match spec.shape:
        case "one":
            return writer.document(writer.one(spec.parameters[0].annotation, spec.parameters[0].default))
        case "none":
            return writer.document({"type": ["null", "object"], "maxProperties": 0})
        case "opaque":
            return writer.document({"description": "passed on unchecked"})
    known = parameters(spec.parameters)
    body = writer.object(known.fields, known.rest)
    if not body["required"]:  # no payload is the empty one
        body["type"] = ["object", "null"]
    for item in spec.parameters:
        if item.default is not MISSING and (default := _plain(item.default)) is not None:
            body["properties"][item.name]["default"] = default[0]
    return writer.document(body)


def _plain(value: Any) -> tuple[Any] | None:
    """Give a default as JSON has it; None for what JSON has not, such as infinity."""
    import json  # noqa: PLC0415  # only for who asks for a schema

    if isinstance(bounded(value), TooLarge):
        return None
    try:
        return (json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)),)
    except Exception:  # noqa: BLE001  # any object may be a default
        return None


def result_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function gives, as JSON Schema 2020-12.

    Args:
        spec: the function's contract.

    Returns:
        The schema; `{}` with a description where JSON cannot say it.
    """
    if spec.remote is not None:
        return dict(spec.remote.result)
    return type_schema(spec.result)


def type_schema(annotation: Any) -> dict[str, Any]:
    """Describe a type as JSON Schema 2020-12.

    Args:
        annotation: an evaluated annotation.
    """
    writer = _Writer()
    return writer.document(writer.of(type(None) if annotation is None else annotation))


class _Writer:
    """Writes one schema; records, enums and recursive aliases become definitions, so that types may be recursive."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.names: dict[Any, str] = {}  # of definitions, by the identity of their annotations
        self.within: list[Any] = []  # the identities of the unions that are being written
        self.parts = 0  # that are written: aliases of aliases may stand for millions

    def document(self, body: dict[str, Any]) -> dict[str, Any]:
        whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}
        return whole | {"$defs": self.definitions} if self.definitions else whole

    def one(self, annotation: Any, default: Any) -> dict[str, Any]:
        """Write the only parameter; None stands for its default."""
        body = self.of(annotation)
        if default is MISSING or not body:
            return body
        plain = _plain(default)
        return {"anyOf": [body, {"type": "null"}], **({} if plain is None else {"default": plain[0]})}

    def of(self, annotation: Any) -> dict[str, Any]:  # noqa: C901, PLR0911  # one for each shape
        self.parts += 1
        if self.parts > PARTS:
            annotation = TooLarge(render(annotation))
        match view(annotation):
            case Leaf(type=kind):
                return self.leaf(kind)
            case Foreign(type=cls, holds=holds):
                return self.foreign(cls, holds)
            case Delegated(describe=describe):
                return self.pydantic(describe)
            case Array(item=item):
                return {"type": "array", "items": self.of(item)}
            case Fixed() as fixed:
                return self.fixed(fixed)
            case Table(key=key, value=value):
                return {"type": "object", "additionalProperties": self.of(value), **self.keys(key)}
            case Choice(members=members):
                return self.choice(annotation, members)
            case Checked() as checked:
                return self.checked(checked)
            case Record() as found:
                return self.defined(annotation, lambda title: self.record(found, title))
            case Anything(note=note):
                return {} if note is None else _unchecked(annotation)

    def leaf(self, kind: Any) -> dict[str, Any]:
        if isinstance(kind, enum.EnumMeta):
            said = _flags(kind) if issubclass(kind, enum.Flag) else _one_of(_values(kind))
            return self.defined(kind, lambda title: {"title": title, **said})
        if not isinstance(kind, type):
            return _one_of(_values(kind))
        if kind is decimal.Decimal:
            return {"type": ["string", "number"], "format": "decimal"}
        body: dict[str, Any] = msgspec.json.schema(kind)
        return body

    def foreign(self, cls: Any, holds: Any) -> dict[str, Any]:
        if is_pydantic(cls):
            return self.pydantic(cls.model_json_schema)
        if isinstance(cls, type) and issubclass(cls, PurePath):
            return {"type": "string", "format": "path"}
        said = {"description": f"an instance of {render(cls)}"}
        held = [name for name, value in _PLAIN.items() if _holds(holds, value)]
        return {"type": held, **said} if held else {"not": {}, **said}

    def pydantic(self, describe: Any) -> dict[str, Any]:
        """Take over what pydantic says, its definitions under names that are free here."""
        try:
            body: dict[str, Any] = describe(ref_template=_REF.replace("{name}", "{model}"))
        except Exception:  # noqa: BLE001  # a validator or a field may have no schema, or its own code fails
            return {"description": "what pydantic takes"}
        found = body.pop("$defs", {})
        renamed = {}
        for name, definition in found.items():
            free = self.free(name, lambda taken, same=definition: self.definitions.get(taken) == same)
            renamed[_REF.format(name=name)] = _REF.format(name=free)
        for name, definition in found.items():
            self.definitions[renamed[_REF.format(name=name)].rpartition("/")[2]] = _replaced(definition, renamed)
        replaced: dict[str, Any] = _replaced(body, renamed)
        return replaced

    def fixed(self, fixed: Fixed) -> dict[str, Any]:
        row = self.row([self.of(item) for item in fixed.items], len(fixed.items))
        if fixed.rest is None:
            return row
        row = {**row, "minItems": len(fixed.items) + len(fixed.tail)}
        del row["maxItems"]
        rest = self.of(fixed.rest)
        # JSON Schema counts from the start: of what comes after the rest it can say no more than what either may be.
        return {**row, "items": {"anyOf": [rest, *map(self.of, fixed.tail)]} if fixed.tail else rest}

    def choice(self, annotation: Any, members: tuple[Any, ...]) -> dict[str, Any]:
        """Write a union; one that is met within itself, by an alias, is a definition."""
        key = identity(strip(annotation))
        if key in self.names:
            return {"$ref": _REF.format(name=self.names[key])}
        if key in self.within:
            self.names[key] = self.free(_name(annotation), lambda _: False)
            self.definitions[self.names[key]] = {}
            return {"$ref": _REF.format(name=self.names[key])}
        self.within.append(key)
        structs = [_struct_tag(member) for member in members]
        tagged = sum(tag is not None for tag in structs) > 1
        any_of = [
            self.of(member) if tag is None or not tagged else {"allOf": [self.of(member)], "required": [tag]}
            for member, tag in zip(members, structs, strict=True)
        ]
        self.within.pop()
        if key in self.names:
            self.definitions[self.names[key]] = {"anyOf": any_of}
            return {"$ref": _REF.format(name=self.names[key])}
        return {"anyOf": any_of}

    def keys(self, annotation: Any) -> dict[str, Any]:
        """Say what the keys of a mapping may be, which are text in JSON."""
        said = self.key(annotation)
        return {"propertyNames": said} if said else {}

    def key(self, annotation: Any) -> dict[str, Any]:
        import json  # noqa: PLC0415  # as above

        match view(annotation):
            case Leaf(type=kind) if isinstance(kind, type) and kind in _TEXTS:
                return _TEXTS[kind]
            case Leaf(type=kind) if not isinstance(kind, type) or isinstance(kind, enum.EnumMeta):
                plain = filter(_is_plain, _values(kind))
                return _one_of(value if isinstance(value, str) else json.dumps(value) for value in plain)
            case Choice(members=members):
                return {"anyOf": [self.key(member) for member in members]}
            case Checked(type=inner, constraints=constraints):
                said = self.key(inner)
                return _both(said, {k: v for one in constraints for k, v in one.keywords.items() if k in _OF_TEXT})
            case Array() | Fixed() | Table() | Record():
                return {"not": {}}
            case _:
                said = self.of(annotation)
                return {} if said == {"type": "string"} else said

    def checked(self, checked: Checked) -> dict[str, Any]:
        body = self.of(checked.type)
        for constraint in checked.constraints:
            body = _both(body, constraint.keywords)
        words = ", ".join(constraint.said for constraint in checked.constraints if constraint.said)
        return {**body, **({"description": words} if words else {}), **(_plain(checked.said) or ({},))[0]}

    def object(self, fields: tuple[Field, ...], rest: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {field.name: self.of(field.type) for field in fields},
            "required": [field.name for field in fields if field.required],
            "additionalProperties": False if rest is None else self.of(rest),
        }

    def row(self, items: list[dict[str, Any]], required: int) -> dict[str, Any]:
        first = {"prefixItems": items} if items else {}  # which may not be empty
        return {"type": "array", **first, "items": False, "minItems": required, "maxItems": len(items)}

    def record(self, found: Record, title: str) -> dict[str, Any]:
        required = sum(field.required for field in found.fields)
        if found.kind == "namedtuple":  # the values in order, or by name
            row = self.row([self.of(field.type) for field in found.fields], required)
            return {"title": title, "anyOf": [row, self.object(found.fields, found.rest)], "minItems": required}
        if found.kind == "struct":
            return {"title": title, **self.struct(found)}
        return {"title": title, **self.object(found.fields, found.rest)}

    def struct(self, found: Record) -> dict[str, Any]:
        if found.note is not None:
            return {"description": found.note}
        config: Any = found.type.__struct_config__  # type: ignore[attr-defined]  # every Struct has one
        tag = [] if config.tag is None else [{"const": config.tag}]
        if config.array_like:
            row = self.row([*tag, *(self.of(field.type) for field in found.fields)], 0)
            last = max((index for index, field in enumerate(found.fields, len(tag) + 1) if field.required), default=0)
            row = {**row, "minItems": max(last, len(tag))}
            if not config.forbid_unknown_fields:
                del row["items"], row["maxItems"]
            return row
        body = self.object(found.fields, None if config.forbid_unknown_fields else Any)
        if tag:
            body["properties"] = {config.tag_field: tag[0], **body["properties"]}
        return body

    def defined(self, annotation: Any, write: Any) -> dict[str, Any]:
        """Write a definition once, under a name that no other has."""
        key = identity(strip(annotation))
        if key not in self.names:
            self.parts += parts(annotation)  # a class of itself may have ever larger arguments
            if len(self.names) >= TYPES or self.parts > PARTS:
                return _unchecked(annotation)
            title = _name(annotation)
            name = self.names[key] = self.free(title, lambda _: False)  # before its fields, which may refer to it
            self.definitions[name] = {}
            self.definitions[name] = write(title)
        return {"$ref": _REF.format(name=self.names[key])}

    def free(self, wanted: str, same: Any) -> str:
        """Give the first name of that kind that is free, or has the same definition."""
        name, count = wanted, 1
        while name in self.definitions and not same(name):  # another class of that name
            count += 1
            name = f"{wanted}_{count}"
        return name


_BITS: Final = 12  # of a flag whose values are listed one by one
_OF_TEXT: Final = frozenset({"minLength", "maxLength", "pattern"})


def _unchecked(annotation: Any) -> dict[str, Any]:
    return {"description": f"{render(annotation)}, which cannot be checked"}


def _name(annotation: Any) -> str:
    return re.sub(r"\W+", "_", render(annotation)).strip("_")[:100] or "Type"


def _holds(holds: Any, value: Any) -> bool:
    try:
        return bool(holds(value))
    except Exception:  # noqa: BLE001  # a metaclass is a stranger's code
        return False


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, bool | int | float | str) and _plain(value) is not None)


def _one_of(values: Iterable[Any]) -> dict[str, Any]:
    """Give the schema of a few values, as far as JSON has them."""
    plain = [found[0] for value in values if (found := _plain(value)) is not None]
    return {"enum": plain} if plain else {"not": {}}


def _values(kind: Any) -> list[Any]:
    """Give the values of an enum or a literal, of which members of enums may be part."""
    listed: Iterable[Any] = kind.__members__.values() if isinstance(kind, enum.EnumMeta) else get_args(kind)
    return [one.value if isinstance(one, enum.Enum) else one for one in listed]


def _flags(kind: Any) -> dict[str, Any]:
    """Give the schema of a flag, whose members together are one too; one that is strict knows no other bits."""
    known = kind._flag_mask_
    every = (1 << known.bit_length()) - 1
    if kind._boundary_ is not enum.STRICT:
        return {"type": "integer"}
    if known == every or known.bit_length() > _BITS:
        return {"type": "integer", "minimum": ~every, "maximum": every}
    return {"enum": [value for value in range(~every, every + 1) if not value & (every ^ known)]}


def _struct_tag(annotation: Any) -> str | None:
    """Name the key that tells a `msgspec.Struct` from others; None for what has no tag."""
    shape: View = view(annotation)
    config = getattr(shape.type, "__struct_config__", None) if isinstance(shape, Record) else None
    return None if config is None or config.tag is None or config.array_like else config.tag_field


def _both(body: dict[str, Any], more: Any) -> dict[str, Any]:
    """Ask for both; a schema has each keyword once."""
    return {"allOf": [body, dict(more)]} if body.keys() & more.keys() else {**body, **more}


def _replaced(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _replaced(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, names) for value in node]
    return names.get(node, node) if isinstance(node, str) else node
