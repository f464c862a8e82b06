"""How a JSON Schema is read: its references, its choices, its types and its values."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Schema = Mapping[str, Any] | bool

ANYTHING: Final[Mapping[str, Any]] = {}
NOTES: Final = frozenset({"$schema", "$defs", "title", "description", "default", "examples", "deprecated"})
_TYPES: Final = ("null", "boolean", "number", "string", "array", "object")
_CROSSING: Final = frozenset(
    {"date", "date-time", "time", "duration", "uuid", "decimal"}
)  # texts that arrive as values
_DEEPEST: Final = 64


class Document:
    """A schema whose parts are read, each once: what is made of one part is the same object whenever it is met.

    Args:
        root: the whole, with its definitions.
    """

    def __init__(self, root: Schema) -> None:
        self._defs: Mapping[str, Schema] = {} if isinstance(root, bool) else root.get("$defs", {})
        self._made: dict[tuple[str, int], tuple[Schema, Any]] = {}

    def resolved(self, schema: Schema) -> Schema:
        """Follow references; what is said beside one holds too, as does the one part of an `allOf`."""
        for _ in range(_DEEPEST):
            if isinstance(schema, bool):
                return schema
            if "$ref" in schema:
                schema = self._once("ref", schema, self._referred)
            elif len(schema.get("allOf", ())) == 1:
                schema = self._once("all", schema, _unwrapped)
            else:
                return schema
        return {"$unknown": "a reference to itself"}

    def choices(self, schema: Mapping[str, Any]) -> list[Schema] | None:
        """Give the schemas of which one must take a value, each with what is said beside them; none: it is one."""
        found: list[Schema] | None = self._once("choices", schema, _choices)
        return found

    def conditions(self, schema: Mapping[str, Any]) -> list[Schema]:
        """Give the schemas that must all take a value."""
        found: list[Schema] = self._once("conditions", schema, _conditions)
        return found

    def kinds(self, schema: Mapping[str, Any]) -> list[Schema]:
        """Give one schema for each type that one says; for each that there is, if it says none."""
        found: list[Schema] = self._once("kinds", schema, _kinds)
        return found

    def _once(self, what: str, schema: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Any]) -> Any:
        key = what, id(schema)
        if key not in self._made:
            self._made[key] = schema, make(schema)  # kept with its source, so that no other gets its id
        return self._made[key][1]

    def _referred(self, schema: Mapping[str, Any]) -> Schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        return _both(self._defs.get(name, {"$unknown": name}), _beside(schema, "$ref"))


def _beside(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name != key and name not in NOTES}


def _both(one: Schema, more: Mapping[str, Any]) -> Schema:
    if not more or one is False:
        return one
    if one is True:
        return more
    return {"allOf": [one, more]} if one.keys() & more.keys() or "$ref" in one else {**one, **more}


def _unwrapped(schema: Mapping[str, Any]) -> Schema:
    return _both(schema["allOf"][0], _beside(schema, "allOf"))


def _choices(schema: Mapping[str, Any]) -> list[Schema] | None:
    for key in ("anyOf", "oneOf"):
        if key in schema:
            more = _beside(schema, key)
            return [_both(each, more) for each in schema[key]]
    return None


def _conditions(schema: Mapping[str, Any]) -> list[Schema]:
    more = _beside(schema, "allOf")
    return [*schema["allOf"], *([more] if more else [])]


def _kinds(schema: Mapping[str, Any]) -> list[Schema]:
    return [{**schema, "type": kind} for kind in schema.get("type", _TYPES)]


def is_anything(schema: Schema) -> bool:
    """Tell whether a schema says nothing of what it takes."""
    return schema is True or (not isinstance(schema, bool) and not schema.keys() - NOTES)


def is_instance(schema: Schema) -> bool:
    """Tell whether a schema is of what has no form in JSON, as an instance of a class."""
    return not isinstance(schema, bool) and schema.get("not") == {}


def types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Give the types that a schema takes, by what it says of them; a number may be an integer."""
    said = schema.get("type", _TYPES)
    found = frozenset((said,) if isinstance(said, str) else said)
    return found | {"integer"} if "number" in found else found


def values(schema: Mapping[str, Any]) -> list[Any] | None:
    """Give the values that a schema lists, if it does."""
    if "const" in schema:
        found = [schema["const"]]
    elif "enum" in schema:
        found = schema["enum"]
    else:
        return None
    return [value for value in found if "type" not in schema or kind_of(value) in types(schema)]


def crossing(schema: Mapping[str, Any]) -> str | None:
    """Name what arrives as a value of its own, although JSON has it as text."""
    if "contentEncoding" in schema:
        return "bytes"
    kind = schema.get("format")
    return str(kind) if kind in _CROSSING else None


def bound(schema: Mapping[str, Any], key: str) -> Any:
    """Give what a schema says by a keyword; a list that ends with its first items has as many at most."""
    said = schema.get(key)
    if key == "maxItems" and schema.get("items") is False:
        first = len(schema.get("prefixItems", ()))
        return first if said is None else min(said, first)
    return said


def kind_of(value: Any) -> str:
    """Name the type of a value; `1.0` is an integer, as JSON Schema has it."""
    if isinstance(value, float) and value.is_integer():
        return "integer"
    kinds: dict[type, str] = {
        bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"
    }  # fmt: skip
    return kinds.get(type(value), "null")


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal as JSON has them: `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def exact(value: Any) -> Mapping[str, Any]:
    """Describe one value and, but for a text's letters and the like, nothing else."""
    kind = kind_of(value)
    match value:
        case bool() | None:
            return {"type": kind, "const": value}
        case int() | float():
            return {"type": kind, "const": value, "minimum": value, "maximum": value}
        case str():
            return {"type": kind, "const": value, "minLength": len(value), "maxLength": len(value)}
        case list():
            size, items = len(value), [{"const": each} for each in value]
            return {"type": kind, "prefixItems": items, "items": False, "minItems": size, "maxItems": size}
        case _:
            fields = {name: {"const": each} for name, each in value.items()}
            return {"type": kind, "properties": fields, "required": [*fields], "additionalProperties": False}


def without_values(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a schema says beside the values that it lists."""
    return {name: each for name, each in schema.items() if name not in {"const", "enum"}}
