"""Whether one JSON Schema takes all that another takes: what a version must do that comes in place of an earlier one.

The schemas are those that `payload_schema` and `result_schema` write. In doubt the answer is no: a keyword that is not
understood must be the same on both sides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jackfield.contract.payload.schema import payload_schema, result_schema
from jackfield.model.spec import FunctionSpec

Schema = Mapping[str, Any] | bool

_NOTES: Final = {"$schema", "$defs", "title", "description", "default", "examples", "deprecated"}
_HANDLED: Final = {"$ref", "anyOf", "oneOf", "type", "enum", "const"}
_TABLE: Final = {"properties", "required", "additionalProperties"}
_LIST: Final = {"items", "prefixItems"}
_LOWER: Final = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_COUNTS: Final = {"minLength", "minItems", "minProperties"}
_UPPER: Final = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_TYPES: Final = {"null", "boolean", "integer", "number", "string", "array", "object"}
_DEEPEST: Final = 64


def widened(old: FunctionSpec, new: FunctionSpec) -> tuple[str, ...]:
    """Say what keeps a version of a function from taking the place of an earlier one unnoticed.

    It must take every payload that the other one took, and give nothing that the other one could not have given, but
    for further fields of records.

    Args:
        old: the version that is called now.
        new: the version that is to be called instead.

    Returns:
        The differences in words; empty if callers see none.

    Examples:
        >>> from jackfield.contract import specify
        >>> def one(text: str) -> int: ...
        >>> def two(text: str | bytes) -> bool: ...
        >>> widened(specify("f", one), specify("f", two))
        ('result: it gave integer, and gives boolean',)
    """
    taken = _Comparison(payload_schema(new), payload_schema(old), "it took {narrow}, and takes {wide}")
    given = _Comparison(result_schema(old), result_schema(new), "it gave {wide}, and gives {narrow}", further=True)
    return (*taken.differences("payload"), *given.differences("result"))


class _Comparison:
    """Compares two documents.

    Args:
        wide: what is to take everything.
        narrow: what it is to take.
        words: how a difference is told.
        further: whether fields that only the narrow one has do not count.
    """

    def __init__(self, wide: Schema, narrow: Schema, words: str, *, further: bool = False) -> None:
        self._wide, self._narrow, self._words, self._further = wide, narrow, words, further
        self._within: list[tuple[int, int]] = []

    def differences(self, place: str) -> tuple[str, ...]:
        """Give what the wide one does not take, one line for each place."""
        return tuple(dict.fromkeys(self._of(self._wide, self._narrow, place)))

    def _of(self, wide: Schema, narrow: Schema, place: str) -> Iterator[str]:
        wide, narrow = _resolved(wide, self._wide), _resolved(narrow, self._narrow)
        pair = id(wide), id(narrow)
        if pair in self._within:  # of two recursive types: it is being looked at
            return
        if len(self._within) > _DEEPEST:
            yield f"{place}: it is nested too deeply to be compared"
            return
        self._within.append(pair)
        try:
            yield from self._compared(wide, narrow, place)
        finally:
            self._within.pop()

    def _compared(self, wide: Schema, narrow: Schema, place: str) -> Iterator[str]:
        if _is_anything(wide) or narrow is False:
            return
        if isinstance(wide, bool) or isinstance(narrow, bool):
            yield self._said(wide, narrow, place)
            return
        members = _members(narrow)
        if members is not None:
            for member in members:
                yield from self._of(wide, member, place)
            return
        values = _values(narrow)
        if values is not None:
            missing = [value for value in values if not _takes(wide, value, self._wide)]
            if missing:
                yield self._said(wide, narrow, place)
            return
        members = _members(wide)
        if members is not None:
            if not any(not tuple(self._of(member, narrow, place)) for member in members):
                yield from self._closest(members, narrow, place, wide)
            return
        if _values(wide) is not None or not _kinds(narrow) <= _kinds(wide):
            yield self._said(wide, narrow, place)
            return
        yield from self._constraints(wide, narrow, place)

    def _closest(self, members: Iterable[Schema], narrow: Schema, place: str, wide: Schema) -> Iterator[str]:
        """Tell where the one member differs that is of the same kind; else that none fits."""
        alike = [each for each in members if _kinds(_resolved(each, self._wide)) & _kinds(narrow)]
        found = tuple(self._of(alike[0], narrow, place)) if len(alike) == 1 else ()
        yield from found or (self._said(wide, narrow, place),)

    def _constraints(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str) -> Iterator[str]:
        for key, bound in wide.items():
            if key in _NOTES or key in _HANDLED or key in _TABLE or key in _LIST:
                continue
            there = narrow.get(key)
            if key in _LOWER | _UPPER and there is not None:
                if bound > there if key in _LOWER else bound < there:
                    yield (
                        f"{place}: {key} was {there}, and is {bound}"
                        if not self._further
                        else (f"{place}: {key} was {bound}, and is {there}")
                    )
            elif there != bound and not (key in _COUNTS and not bound):
                was, now = (bound, there) if self._further else (there, bound)
                yield f"{place}: {key} was {_word(was)}, and is {_word(now)}"
        if "object" in _kinds(narrow):
            yield from self._tables(wide, narrow, place)
        if "array" in _kinds(narrow):
            yield from self._lists(wide, narrow, place)

    def _tables(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str) -> Iterator[str]:
        fields: Mapping[str, Schema] = wide.get("properties", {})
        known: Mapping[str, Schema] = narrow.get("properties", {})
        for name in wide.get("required", ()):
            if name not in narrow.get("required", ()):
                what = "may be missing" if self._further else "is required"
                yield f"{place}.{name}: it {what} now"
        rest: Schema = wide.get("additionalProperties", True)
        for name, schema in known.items():
            if name in fields:
                yield from self._of(fields[name], schema, f"{place}.{name}")
            elif rest is not False:
                yield from self._of(rest, schema, f"{place}.{name}")
            elif not self._further:
                yield f"{place}.{name}: it is not taken any more"
        others: Schema = narrow.get("additionalProperties", True)
        if not (self._further and rest is False):
            yield from self._of(rest, others, f"{place}.*")

    def _lists(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str) -> Iterator[str]:
        first, items = wide.get("prefixItems", ()), wide.get("items", True)
        known, others = narrow.get("prefixItems", ()), narrow.get("items", True)
        for number in range(max(len(first), len(known))):
            mine = first[number] if number < len(first) else items
            theirs = known[number] if number < len(known) else others
            yield from self._of(mine, theirs, f"{place}[{number}]")
        yield from self._of(items, others, f"{place}[]")

    def _said(self, wide: Schema, narrow: Schema, place: str) -> str:
        words = {"wide": _shown(wide, self._wide), "narrow": _shown(narrow, self._narrow)}
        return f"{place}: {self._words.format(**words)}"


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow references; one with more beside it is taken with that."""
    for _ in range(_DEEPEST):
        if isinstance(schema, bool) or "$ref" not in schema or isinstance(root, bool):
            return schema
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        target = root.get("$defs", {}).get(name, {"$unknown": name})
        more = {key: value for key, value in schema.items() if key != "$ref" and key not in _NOTES}
        schema = {**target, **more} if more else target
    return {"$unknown": "a reference to itself"}


def _is_anything(schema: Schema) -> bool:
    return schema is True or (not isinstance(schema, bool) and not schema.keys() - _NOTES)


def _members(schema: Mapping[str, Any]) -> list[Schema] | None:
    """Give the schemas of which one must take a value, each with what is said beside them."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            more = {name: value for name, value in schema.items() if name != key and name not in _NOTES}
            return [{**each, **more} if more and not isinstance(each, bool) else each for each in schema[key]]
    return None


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _kinds(schema: Schema) -> set[str]:
    """Give the types that a schema speaks of."""
    if isinstance(schema, bool):
        return set(_TYPES)
    if (values := _values(schema)) is not None:
        return {_kind(value) for value in values}
    said = schema.get("type")
    kinds = set(_TYPES) if said is None else {said} if isinstance(said, str) else set(said)
    return kinds | {"integer"} if "number" in kinds else kinds


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"
    }  # fmt: skip
    return kinds.get(type(value), "null")


def _takes(schema: Schema, value: Any, root: Schema) -> bool:
    """Tell whether a schema takes one value, as far as that can be told by its type and its values."""
    schema = _resolved(schema, root)
    if isinstance(schema, bool):
        return schema
    if (members := _members(schema)) is not None:
        return any(_takes(each, value, root) for each in members)
    if (values := _values(schema)) is not None:
        return any(type(each) is type(value) and each == value for each in values)
    return _kind(value) in _kinds(schema) and not schema.keys() - _NOTES - {"type"}


def _shown(schema: Schema, root: Schema) -> str:
    """Name a schema for people."""
    schema = _resolved(schema, root)
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    if "title" in schema:
        return str(schema["title"])
    join: Callable[[Iterable[str]], str] = " or ".join
    if (members := _members(schema)) is not None:
        return join(dict.fromkeys(_shown(each, root) for each in members))
    if (values := _values(schema)) is not None:
        return join(repr(each) for each in values)
    said = schema.get("type")
    words = said if isinstance(said, str) else join(said) if said else "anything"
    return f"{words} ({schema['format']})" if "format" in schema else words


def _word(value: Any) -> str:
    return "not said" if value is None else repr(value)
