"""How two JSON Schemas differ: contracts of other processes are compared by these, since their types are there.

Of what `comparison` finds, only types, texts and fields count here, as for a type checker; bounds, fields that may be
missing and what cannot be told are taken to fit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jackfield.contract.comparison import Finding, Gap, compare
from jackfield.contract.reading import bound, crossing

Schema = Mapping[str, Any]

_REF: Final = "#/$defs/"
_NAMES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


def misfits(wanted: Schema, given: Schema) -> tuple[str, ...]:
    """Say which of the data that one schema describes another one does not take.

    Args:
        wanted: the schema of what takes them.
        given: the schema of what is given.

    Returns:
        The differences, each with its path; empty if all that is given is taken.

    Examples:
        >>> misfits({"type": "number"}, {"type": "integer"})
        ()
        >>> misfits({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}})
        ('$[]: str is wanted, and int is given',)
    """
    found = compare(wanted, given).findings
    return tuple(dict.fromkeys(_misfit(each, wanted, given) for each in found if each.gap is Gap.TYPES))


def _misfit(finding: Finding, wanted: Schema, given: Schema) -> str:
    place, takes, has = f"${finding.place}", finding.wide, finding.narrow
    if finding.field is not None:
        known = not isinstance(has, bool) and finding.field in has.get("properties", {})
        return f"{place}: {finding.field!r} is {'given, and not taken' if known else 'wanted, and not given'}"
    if finding.keyword in {"minItems", "maxItems"} and not isinstance(takes, bool) and not isinstance(has, bool):
        opposite = "maxItems" if finding.keyword == "minItems" else "minItems"
        return f"{place}: {takes[finding.keyword]} items are wanted, and {bound(has, opposite)} are given"
    return f"{place}: {words(takes, wanted)} is wanted, and {words(has, given)} is given"


def words(schema: Schema | bool, root: Schema | None = None) -> str:
    """Name what a schema describes, for people.

    Args:
        schema: it.
        root: the document that it is a part of.

    Examples:
        >>> words({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
        'date or None'
    """
    if schema is False:
        return "nothing"
    whole = root or ({} if schema is True else schema)
    return _words(_resolved(schema, whole), whole)


def altered(what: str, old: Schema, new: Schema) -> Iterator[str]:
    """Say how one schema became another.

    Args:
        what: it is of, as in `result`.
        old: as it was.
        new: as it is.
    """
    yield from _Change(old, new).changes(what, old, new)


def _resolved(schema: Any, root: Schema) -> Schema:
    """Follow references, and take the one part of what has several conditions."""
    seen = 0
    node: Schema = {} if schema is True else {"not": {}} if schema is False else schema
    while seen < 100:  # noqa: PLR2004  # a reference to itself says nothing
        seen += 1
        if isinstance(reference := node.get("$ref"), str):
            found = root.get("$defs", {}).get(reference.removeprefix(_REF))
            node = found if isinstance(found, Mapping) else {}
        elif isinstance(parts := node.get("allOf"), list) and len(parts) == 1:
            node = parts[0]
        else:
            return node
    return {}


def _types(node: Schema) -> frozenset[str]:
    said = node.get("type", ())
    return frozenset((said,) if isinstance(said, str) else said)


def _words(node: Schema, root: Schema) -> str:
    if "title" in node:
        return str(node["title"])
    if "enum" in node or "const" in node:
        return f"one of {', '.join(map(repr, _values(node)))}"
    if members := _members(node):
        return " or ".join(words(each, root) for each in members)
    if (kind := crossing(node)) is not None:
        return kind
    names = [
        _NAMES.get(each, each) for each in ((node["type"],) if isinstance(node.get("type"), str) else _types(node))
    ]
    return " or ".join(sorted(names)) or ("an instance" if node.get("not") == {} else "anything")


def _members(node: Schema) -> list[Any]:
    found = node.get("anyOf") or node.get("oneOf")
    return found if isinstance(found, list) else []


def _values(node: Schema) -> list[Any]:
    return list(node["enum"]) if "enum" in node else [node["const"]]


class _Change:
    """How one document became another."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[int, int]] = set()

    def changes(self, what: str, old: Any, new: Any) -> Iterator[str]:
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if (pair := (id(old), id(new))) in self._seen:
            return
        self._seen.add(pair)
        before, after = _words(old, self._old), _words(new, self._new)
        if before != after:
            yield f"{what}: {before} became {after}"
            return
        if "properties" in old and "properties" in new:
            yield from self._fields(f"{what}: {after} field" if "title" in new else f"{what} field", old, new)
        elif "array" in _types(old) and isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
            yield from self.changes(f"{what} items", old["items"], new["items"])
        elif _bare(old) != _bare(new):
            yield f"{what}: {after} has other constraints"

    def _fields(self, what: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old["properties"], new["properties"]
        for name, field in before.items():
            if name not in after:
                yield f"{what} {name!r} removed"
                continue
            yield from self.changes(f"{what} {name!r}", field, after[name])
            if (name in old.get("required", ())) != (required := name in new.get("required", ())):
                yield f"{what} {name!r} is now {'required' if required else 'optional'}"
        for name, field in after.items():
            if name not in before:
                need = "required" if name in new.get("required", ()) else "optional"
                yield f"{what} {name!r} added ({need}, {words(field, self._new)})"


def _bare(node: Schema) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in {"$schema", "$defs", "description", "default"}}
