"""How two JSON Schemas differ: contracts of other processes are compared by these, since their types are there.

Compared are the schemas that `contract.payload` writes: types, enums, formats, fields and items. What they say beyond
(bounds, patterns, what pydantic adds) is taken to fit, and so is what cannot be told.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_REF: Final = "#/$defs/"
_CROSSING: Final = frozenset(
    {"date", "date-time", "time", "duration", "uuid", "decimal"}
)  # texts that arrive as values
_NAMES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


def misfits(wanted: Schema, given: Schema, *, strict: bool = False) -> tuple[str, ...]:
    """Say which of the data that one schema describes another one does not take.

    Args:
        wanted: the schema of what takes them.
        given: the schema of what is given.
        strict: whether a field that need not be given may be missing; else it is there, as in every instance of a
            class.

    Returns:
        The differences, each with its path; empty if all that is given is taken.

    Examples:
        >>> misfits({"type": "number"}, {"type": "integer"})
        ()
        >>> misfits({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}})
        ('$[]: str is wanted, and int is given',)
    """
    return tuple(dict.fromkeys(_Comparison(wanted, given, strict).differences(wanted, given, "$")))


def words(schema: Schema, root: Schema | None = None) -> str:
    """Name what a schema describes, for people.

    Args:
        schema: it.
        root: the document that it is a part of.

    Examples:
        >>> words({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
        'date or None'
    """
    return _words(_resolved(schema, root or schema), root or schema)


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
    if (kind := _crossing(node)) is not None:
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


def _crossing(node: Schema) -> str | None:
    """Name what arrives as a value of its own, although JSON has it as text."""
    if "contentEncoding" in node:
        return "bytes"
    kind = node.get("format")
    return str(kind) if kind in _CROSSING else None


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


class _Comparison:
    """Whether what one document describes is taken by another."""

    def __init__(self, wanted: Schema, given: Schema, strict: bool) -> None:
        self._wanted, self._given, self._strict = wanted, given, strict
        self._seen: set[tuple[int, int]] = set()  # recursive types are entered once

    def differences(self, wanted: Any, given: Any, path: str) -> Iterator[str]:
        wanted, given = _resolved(wanted, self._wanted), _resolved(given, self._given)
        if (pair := (id(wanted), id(given))) in self._seen:
            return
        if isinstance(given.get("type"), str) or "enum" in given or _members(given):
            self._seen.add(pair)
        if members := _members(given):
            for member in members:
                yield from self.differences(wanted, member, path)
            return
        if members := _members(wanted):
            if all(any(True for _ in self._trial(member, given)) for member in members):
                yield self._said(wanted, given, path)
            return
        if not self._alike(wanted, given):
            yield self._said(wanted, given, path)
        elif "object" in _types(wanted) and "object" in _types(given):
            yield from self._fields(wanted, given, path)
        elif "array" in _types(wanted) and "array" in _types(given):
            yield from self._items(wanted, given, path)

    def _trial(self, wanted: Any, given: Any) -> Iterator[str]:
        """Compare with one of several, whose pairs are no sign of recursion for the next."""
        kept = set(self._seen)
        found = list(self.differences(wanted, given, "$"))
        self._seen = kept
        return iter(found)

    def _said(self, wanted: Schema, given: Schema, path: str) -> str:
        return f"{path}: {_words(wanted, self._wanted)} is wanted, and {_words(given, self._given)} is given"

    def _alike(self, wanted: Schema, given: Schema) -> bool:
        if wanted.get("not") == {}:
            return given.get("not") == {}
        values = _values(given) if "enum" in given or "const" in given else None
        if "enum" in wanted or "const" in wanted:
            return values is not None and all(value in _values(wanted) for value in values)
        takes, kinds = _types(wanted), _types(given)
        if values is not None:
            kinds = frozenset(map(_type_of, values))
        if not takes or not kinds:
            return True
        if not all(kind in takes or (kind == "integer" and "number" in takes) for kind in kinds):
            return False
        return kinds != {"string"} or _crossing(wanted) == _crossing(given)

    def _fields(self, wanted: Schema, given: Schema, path: str) -> Iterator[str]:  # a list of rules
        takes, has = wanted.get("properties", {}), given.get("properties", {})
        rest_taken, rest = wanted.get("additionalProperties", True), given.get("additionalProperties", True)
        for name in wanted.get("required", ()):
            if name not in has and rest is False:
                yield f"{path}: {name!r} is wanted, and not given"
            elif self._strict and name not in given.get("required", ()):
                yield f"{path}: {name!r} need not be given, and is wanted"
        for name, field in has.items():
            if name in takes:
                yield from self.differences(takes[name], field, f"{path}.{name}")
            elif rest_taken is False:
                yield f"{path}: {name!r} is given, and not taken"
            elif isinstance(rest_taken, Mapping):
                yield from self.differences(rest_taken, field, f"{path}.{name}")
        if isinstance(rest, Mapping):
            for name in takes.keys() & {*wanted.get("required", ())} - has.keys():
                yield from self.differences(takes[name], rest, f"{path}.{name}")
            yield from self.differences(rest_taken if isinstance(rest_taken, Mapping) else {}, rest, f"{path}.*")

    def _items(self, wanted: Schema, given: Schema, path: str) -> Iterator[str]:
        first, others = wanted.get("prefixItems", ()), given.get("prefixItems", ())
        rest, more = wanted.get("items", True), given.get("items", True)
        if first and others and rest is False and more is False and len(first) != len(others):
            yield f"{path}: {len(first)} items are wanted, and {len(others)} are given"
            return
        for number, item in enumerate(others):
            taken = first[number] if number < len(first) else rest
            yield from self.differences(taken, item, f"{path}[{number}]")
        if more is not False and rest is not False:
            yield from self.differences(rest, more, f"{path}[]")


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
