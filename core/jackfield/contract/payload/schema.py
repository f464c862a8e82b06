"""Contracts as JSON Schema."""

import contextlib
import enum
import re
from pathlib import PurePath
from typing import Annotated, Any, Final, get_args

import msgspec

from jackfield.contract.shapes import (
    Array,
    Checked,
    Choice,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    is_pydantic,
    render,
    strip,
    view,
)
from jackfield.model.spec import MISSING, FunctionSpec

_REF: Final = "#/$defs/{name}"


def payload_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function takes, as JSON Schema 2020-12.

    Args:
        spec: the function's contract.

    Returns:
        The schema; for several parameters that of an object. What JSON cannot say is `{}` with a description.

    Examples:
        >>> from jackfield.contract import specify
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> payload_schema(specify("shape.area", area))["required"]
        ['width']
    """
    writer = _Writer()
    match spec.shape:
        case "one":
            return writer.document(writer.of(spec.parameters[0].annotation))
        case "none":
            return writer.document({"type": ["null", "object"], "maxProperties": 0})
        case "opaque":
            return writer.document({"description": "passed on unchecked"})
    named = [item for item in spec.parameters if item.kind is not item.kind.VAR_KEYWORD]
    rest = next((item.annotation for item in spec.parameters if item.kind is item.kind.VAR_KEYWORD), None)
    body = writer.object(tuple(Field(item.name, item.annotation, item.default is MISSING) for item in named), rest)
    for item in named:
        if item.default is not MISSING:
            with contextlib.suppress(Exception):  # a default that is no plain data is not shown
                body["properties"][item.name]["default"] = msgspec.to_builtins(item.default)
    return writer.document(body)


def result_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function gives, as JSON Schema 2020-12.

    Args:
        spec: the function's contract.

    Returns:
        The schema; `{}` with a description where JSON cannot say it.
    """
    writer = _Writer()
    return writer.document(writer.of(spec.result))


class _Writer:
    """Writes one schema; records become definitions, so that types may be recursive."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.names: dict[str, Any] = {}

    def document(self, body: dict[str, Any]) -> dict[str, Any]:
        definitions = {"$defs": self.definitions} if self.definitions else {}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, **definitions}

    def of(self, annotation: Any) -> dict[str, Any]:  # noqa: PLR0911  # one for each shape
        match view(annotation):
            case Leaf(type=kind):
                return self.leaf(kind)
            case Foreign(type=cls):
                return self.foreign(cls)
            case Array(make=make, item=item):
                unique = {"uniqueItems": True} if make in {set, frozenset} else {}
                return {"type": "array", "items": self.of(item), **unique}
            case Fixed(items=items):
                return self.row([self.of(item) for item in items], len(items))
            case Table(value=value):
                return {"type": "object", "additionalProperties": self.of(value)}
            case Choice(members=members):
                return {"anyOf": [self.of(member) for member in members]}
            case Checked() as checked:
                return self.checked(checked)
            case Record() as found:
                return self.defined(annotation, found)
            case _:
                bare = strip(annotation)
                return {} if bare in (Any, object) else {"description": f"{render(bare)}, which cannot be checked"}

    def leaf(self, kind: Any) -> dict[str, Any]:
        try:
            (body,), components = msgspec.json.schema_components([kind], schema_hook=self.foreign, ref_template=_REF)
        except Exception:  # noqa: BLE001  # msgspec evaluates annotations, and refuses with several types of error
            members: Any = kind if isinstance(kind, enum.EnumMeta) else ()
            values = [member.value for member in members] or list(get_args(kind))
            return {"enum": values} if values else {"description": render(kind)}
        self.definitions |= components
        return body

    def foreign(self, cls: Any) -> dict[str, Any]:
        if is_pydantic(cls):
            body: dict[str, Any] = cls.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
            self.definitions |= body.pop("$defs", {})
            return body
        if isinstance(cls, type) and issubclass(cls, PurePath):
            return {"type": "string", "format": "path"}
        return {"description": f"an instance of {render(cls)}"}

    def checked(self, checked: Checked) -> dict[str, Any]:
        bounds: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # constraints of a union, or of a class that msgspec does not know
            inner = view(checked.type)
            kind: Any = list if isinstance(inner, Array) else dict if isinstance(inner, Table) else checked.type
            for meta in checked.metas:
                kind = Annotated[kind, meta]
            bounds = msgspec.json.schema(kind)
        said = {"description": ", ".join(f"passes {name}" for name, _ in checked.tests)} if checked.tests else {}
        return {**bounds, **self.of(checked.type), **said}

    def object(self, fields: tuple[Field, ...], rest: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {field.name: self.of(field.type) for field in fields},
            "required": [field.name for field in fields if field.required],
            "additionalProperties": False if rest is None else self.of(rest),
        }

    def row(self, items: list[dict[str, Any]], required: int) -> dict[str, Any]:
        return {"type": "array", "prefixItems": items, "items": False, "minItems": required, "maxItems": len(items)}

    def defined(self, annotation: Any, found: Record) -> dict[str, Any]:
        if found.kind == "struct":
            return self.leaf(strip(annotation))
        name = wanted = re.sub(r"\W+", "_", render(annotation)).strip("_")
        while self.names.get(name, annotation) != annotation:  # another class of that name
            name = f"{wanted}_{len(self.names)}"
        if name not in self.names:
            self.names[name] = annotation  # before its fields, which may refer to it
            if found.kind == "namedtuple":
                items = [self.of(field.type) for field in found.fields]
                self.definitions[name] = self.row(items, sum(field.required for field in found.fields))
            else:
                self.definitions[name] = {"title": wanted, **self.object(found.fields, found.rest)}
        return {"$ref": _REF.format(name=name)}
