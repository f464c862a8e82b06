"""Contracts as the schemas of one OpenAPI document: their definitions become components, each of them once.

Schemas of functions in workers come from strangers, and one that is none would spoil the document for all others: what
JSON Schema 2020-12 does not know, is of another type there, or refers out of its own schema, is left out.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

from jackfield import to_json

_REF: Final = "#/$defs/"
_COMPONENT: Final = "#/components/schemas/"
_DEPTH: Final = 80
"""How deep a schema is followed; below that anything goes. JSON is written 200 levels deep."""

_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and len(set(value)) == len(value)


def _pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return bool(value) and _texts(value) and _TYPES.issuperset(value)


def _shallow(value: Any) -> bool:
    """Tell whether a value is plain data, and not nested so deeply that it could not be written."""
    level = [value]
    for _ in range(_DEPTH):
        if not all(each is None or isinstance(each, str | int | float | dict | list) for each in level):
            return False
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for several in inner for each in several]
        if not level:
            return True
    return False


_PLAIN: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        **dict.fromkeys(("title", "description", "format", "contentEncoding", "contentMediaType"), _text),
        **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minContains", "maxContains"), _count),
        **dict.fromkeys(("minProperties", "maxProperties"), _count),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
        **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), lambda value: isinstance(value, bool)),
        **dict.fromkeys(("const", "default"), _shallow),
        **dict.fromkeys(("enum", "examples"), lambda value: isinstance(value, list) and _shallow(value)),
        "multipleOf": _positive,
        "pattern": _pattern,
        "required": _texts,
        "type": _type,
    }
)
"""Keyword → whether its value is one; it has no schemas in it."""

_ONE: Final = frozenset(
    {
        "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems",
        "unevaluatedProperties",
    }
)  # fmt: skip
_SEVERAL: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({"dependentSchemas", "patternProperties", "properties"})


class Components:
    """The schemas of a document.

    Args:
        schemas: those that it has besides those of functions.

    Attributes:
        schemas: name → schema.

    Examples:
        >>> components = Components({})
        >>> components.add({"$ref": "#/$defs/Loan", "$defs": {"Loan": {"type": "object"}}})
        {'$ref': '#/components/schemas/Loan'}
        >>> components.schemas
        {'Loan': {'type': 'object'}}
    """

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self.schemas: dict[str, Any] = dict(schemas)
        self._names: dict[tuple[str, frozenset[tuple[str, bytes]]], str] = {}

    def add(self, schema: Any) -> Any:
        """Take in a schema, and give it without its definitions, which are among the components."""
        own = schema.get("$defs") if isinstance(schema, dict) else None
        definitions = {str(name): each for name, each in own.items()} if isinstance(own, dict) else {}
        digests = {name: sha256(to_json(each, fallback=_nothing)).digest() for name, each in definitions.items()}
        below = {name: set(_referred(each)) & definitions.keys() for name, each in definitions.items()}
        names: dict[str, str] = {}
        for name, definition in definitions.items():
            known = name, frozenset((each, digests[each]) for each in _reached(name, below))
            if known not in self._names:
                free = self._names[known] = self._free(name)
                self.schemas[free] = definition  # which is moved below, when all have their names
            names[name] = self._names[known]
        for name, component in names.items():
            self.schemas[component] = _moved(definitions[name], names, _DEPTH)
        return _moved(schema, names, _DEPTH)

    def _free(self, name: str) -> str:
        """Give a name that no other has: OpenAPI takes ASCII letters, digits, dots, hyphens and underscores."""
        wanted = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100] or "Type"
        free, count = wanted, 1
        while free in self.schemas:
            count += 1
            free = f"{wanted}_{count}"
        return free


def _nothing(_deep: Any) -> None:
    """Stand for what is too deep to be told apart."""


def _reached(name: str, below: Mapping[str, Iterable[str]]) -> set[str]:
    found, look = {name}, [name]
    while look:
        for each in below[look.pop()]:
            if each not in found:
                found.add(each)
                look.append(each)
    return found


def _referred(node: Any) -> Iterable[str]:
    """Name all definitions that anything within refers to."""
    look = [node]
    while look:
        each = look.pop()
        if isinstance(each, dict):
            reference = each.get("$ref")
            if isinstance(reference, str) and reference.startswith(_REF):
                yield reference.removeprefix(_REF)
            look += each.values()
        elif isinstance(each, list):
            look += each


def _moved(schema: Any, names: Mapping[str, str], depth: int) -> Any:
    """Copy a schema, as far as it is one, with its references to where the definitions are now."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth <= 0:
        return {}
    kept = ((key, _kept(key, value, names, depth - 1)) for key, value in schema.items())
    return {key: found[0] for key, found in kept if found}


def _kept(key: str, value: Any, names: Mapping[str, str], depth: int) -> tuple[Any] | None:
    """Give what a keyword says; None if it is left out."""
    if key in _PLAIN:
        return (value,) if _PLAIN[key](value) else None
    if key in _ONE:
        return (_moved(value, names, depth),)
    if key in _SEVERAL and isinstance(value, list) and value:
        return ([_moved(each, names, depth) for each in value],)
    if key in _NAMED and isinstance(value, dict):
        return ({str(name): _moved(each, names, depth) for name, each in value.items()},)
    if key == "$ref" and isinstance(value, str) and value.removeprefix(_REF) in names:
        return (_COMPONENT + names[value.removeprefix(_REF)],)
    return None
