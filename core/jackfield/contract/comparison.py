"""Whether one JSON Schema takes all that another describes: yes, no with the places, or unknown with the reasons.

There is one comparison; who asks decides what doubt means. `schemas.misfits` holds types against the schemas of another
process and counts only what a type checker would; `widening.widened` lets one version take the place of another and
counts everything. The rules are those of JSON Schema 2020-12, with two more: text that arrives as a value (a date, a
`UUID`, bytes) is of a kind of its own, and `oneOf` is a choice as `anyOf` is, since the schemas compared tell its
members apart by a tag.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from jackfield.contract import reading
from jackfield.contract.reading import NOTES, Schema, is_instance

_HANDLED: Final = frozenset({
    "$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const", "properties", "required", "additionalProperties",
    "items", "prefixItems",
})  # fmt: skip
_LOWER: Final = {"minimum": "exclusiveMinimum", "exclusiveMinimum": "minimum"}
_UPPER: Final = {"maximum": "exclusiveMaximum", "exclusiveMaximum": "maximum"}
_OPPOSITE: Final = {"minLength": "maxLength", "minItems": "maxItems", "maxLength": "minLength", "maxItems": "minItems"}
_LEAST: Final = frozenset({*_LOWER, "minLength", "minItems", "minProperties"})
_MOST: Final = frozenset({*_UPPER, "maxLength", "maxItems", "maxProperties"})
_OF: Final = {
    "number": {*_LOWER, *_UPPER, "multipleOf"},
    "string": {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"},
    "array": {"minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"},
    "object": {
        "minProperties", "maxProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
        "unevaluatedProperties",
    },
}  # fmt: skip
_DEEPEST: Final = 64
_MOST_STEPS: Final = 20_000


class Verdict(enum.Enum):
    """Whether all that one schema describes is taken by another."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Gap(enum.IntEnum):
    """How much lies between what is taken and what is given, by what is told of it at one place."""

    UNKNOWN = 0
    """It cannot be told, as of two patterns."""
    VALUES = 1
    """The types agree as far as they are said, and some values are refused: a bound, a field that may be missing."""
    TYPES = 2
    """A type, a text or a field is given that is not taken, or one is wanted that is not given."""


@attrs.frozen
class Finding:
    """One place where one schema does not take, or may not take, what another describes."""

    gap: Gap
    place: str
    """As in `.items[].name`; empty for the whole."""
    wide: Schema
    """What is to take it, with its references followed."""
    narrow: Schema
    """What is given, with its references followed."""
    field: str | None = None
    """The field of the place that is missing, or not taken."""
    keyword: str | None = None
    """The one keyword that differs; else it is the type."""
    whole: bool = False
    """Whether everything is refused that has something at this place, not only some of it."""
    closer: tuple["Finding", ...] = ()
    """Of a choice of which one alone is of the same kind: what keeps that one from taking it."""


@attrs.frozen
class Answer:
    """What comes of a comparison."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Say it in a word: one certain difference is a no."""
        if not self.findings:
            return Verdict.YES
        return Verdict.NO if _worst(self.findings) > Gap.UNKNOWN else Verdict.UNKNOWN


def compare(wide: Schema, narrow: Schema, *, further: bool = False) -> Answer:
    """Compare two documents.

    Args:
        wide: what is to take everything.
        narrow: what it is to take.
        further: whether fields count as taken that only the narrow one has.

    Examples:
        >>> compare({"type": "number"}, {"type": "integer"}).verdict
        <Verdict.YES: 'yes'>
        >>> compare({"type": "array", "items": {"type": "string"}}, {"type": "array"}).findings[0].place
        '[]'
        >>> compare({"pattern": "a+"}, {"type": "string", "pattern": "a"}).verdict
        <Verdict.UNKNOWN: 'unknown'>
    """
    return Answer(tuple(_Comparison(wide, narrow, further).of(wide, narrow, "")))


class _Comparison:
    def __init__(self, wide: Schema, narrow: Schema, further: bool) -> None:
        self._wide, self._narrow, self._further = reading.Document(wide), reading.Document(narrow), further
        self._within: list[tuple[int, int]] = []
        self._steps = 0

    def of(self, wide: Schema, narrow: Schema, place: str) -> Iterator[Finding]:
        wide, narrow = self._wide.resolved(wide), self._narrow.resolved(narrow)
        pair = id(wide), id(narrow)
        if pair in self._within:  # of two recursive types: it is being looked at
            return
        self._steps += 1
        if len(self._within) > _DEEPEST or self._steps > _MOST_STEPS:
            yield Finding(Gap.UNKNOWN, place, wide, narrow)
            return
        self._within.append(pair)
        try:
            yield from self._compared(wide, narrow, place)
        finally:
            self._within.pop()

    def _options(self, wide: Schema) -> list[Schema]:
        """Give what a choice has to choose from; of anything else, it."""
        found = None if isinstance(wide, bool) else self._wide.choices(wide)
        return [wide] if found is None else [self._wide.resolved(each) for each in found]

    def _compared(self, wide: Schema, narrow: Schema, place: str) -> Iterator[Finding]:  # noqa: C901  # a list of rules
        if reading.is_anything(wide) or narrow is False:
            return
        if isinstance(narrow, bool) or reading.is_anything(narrow):
            yield from self._untyped(wide, reading.ANYTHING, narrow, place)
        elif is_instance(narrow):  # of a class that is not known here
            if not any(map(is_instance, self._options(wide))):
                yield Finding(Gap.UNKNOWN, place, wide, narrow)
        elif (parts := self._narrow.choices(narrow)) is not None:
            yield from _apart([tuple(self.of(wide, part, place)) for part in parts])
        elif "allOf" in narrow:
            if all(tuple(self.of(wide, part, place)) for part in self._narrow.conditions(narrow)):
                yield Finding(Gap.UNKNOWN, place, wide, narrow)
        elif (values := reading.values(narrow)) is not None:
            yield from self._valued(wide, narrow, values, place)
        elif isinstance(narrow.get("type"), list):
            yield from _apart([tuple(self.of(wide, part, place)) for part in self._narrow.kinds(narrow)])
        elif "type" not in narrow:
            yield from self._untyped(wide, narrow, narrow, place)
        else:
            yield from self._typed(wide, narrow, place)

    def _untyped(self, wide: Schema, each: Mapping[str, Any], narrow: Schema, place: str) -> Iterator[Finding]:
        """Take what says no type for one of each; that it does not say is a gap of values at most."""
        found = [tuple(self.of(wide, part, place)) for part in self._narrow.kinds(each)]
        if any(found):
            yield Finding(
                min(Gap.VALUES, max(map(_worst, found))), place, wide, narrow, whole=all(map(_refuses, found))
            )

    def _valued(self, wide: Schema, narrow: Schema, values: Iterable[Any], place: str) -> Iterator[Finding]:
        found = [tuple(self._value(wide, value, place)) for value in values]
        if any(found):
            yield Finding(max(map(_worst, found)), place, wide, narrow, whole=all(map(_refuses, found)))

    def _value(self, wide: Schema, value: Any, place: str) -> Iterator[Finding]:
        """Hold one value against a schema, as the schema that describes it and nothing else."""
        wide = self._wide.resolved(wide)
        exact = reading.exact(value)
        if isinstance(wide, bool):
            if not wide:
                yield Finding(Gap.TYPES, place, wide, exact, whole=True)
        elif (members := self._wide.choices(wide)) is not None:
            yield from self._chosen(wide, exact, [tuple(self._value(each, value, place)) for each in members], place)
        elif "allOf" in wide:
            for each in self._wide.conditions(wide):
                yield from self._value(each, value, place)
        elif (taken := reading.values(wide)) is not None and not any(reading.same(value, each) for each in taken):
            yield Finding(Gap.TYPES, place, wide, exact, whole=True)
        else:
            yield from self._typed(reading.without_values(wide), exact, place)

    def _typed(self, wide: Schema, narrow: Mapping[str, Any], place: str) -> Iterator[Finding]:
        """Compare with what is of one type."""
        if isinstance(wide, bool) or is_instance(wide):
            yield Finding(Gap.TYPES, place, wide, narrow, whole=True)
            return
        if (members := self._wide.choices(wide)) is not None:
            yield from self._chosen(wide, narrow, [tuple(self.of(each, narrow, place)) for each in members], place)
            return
        if "allOf" in wide:
            for each in self._wide.conditions(wide):
                yield from self.of(each, narrow, place)
            return
        kind, taken = narrow["type"], reading.types(wide)
        values = reading.values(wide)
        finite = [False, True] if kind == "boolean" else [None] if kind == "null" else None
        if values is not None and finite is not None:
            missing = [value for value in finite if not any(reading.same(value, each) for each in values)]
            if missing:
                yield Finding(Gap.TYPES, place, wide, narrow, whole=len(missing) == len(finite))
        elif values is not None:
            alike = any(reading.kind_of(value) in reading.types(narrow) for value in values)
            listed = alike and _is_few(narrow)
            yield Finding(Gap.UNKNOWN if listed else Gap.TYPES, place, wide, narrow, whole=not alike)
        elif kind not in taken:
            yield Finding(Gap.TYPES, place, wide, narrow, whole=not (kind == "number" and "integer" in taken))
        else:
            yield from self._constraints(wide, narrow, place)

    def _chosen(self, wide: Schema, narrow: Schema, found: list[tuple[Finding, ...]], place: str) -> Iterator[Finding]:
        """Tell what keeps one of several from taking something; where one is of the same kind, by its own places.

        That none of two takes all is certain only where each refuses it all, since they may have it between them.
        """
        if not all(found):
            return
        alike = [items for items in found if not any(each.whole and each.place == place for each in items)]
        if len(alike) == 1:
            yield Finding(_worst(alike[0]), place, wide, narrow, closer=alike[0])
            return
        gap = min(map(_worst, found), default=Gap.TYPES) if all(map(_refuses, found)) else Gap.UNKNOWN
        yield Finding(gap, place, wide, narrow, whole=not alike)

    def _constraints(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str) -> Iterator[Finding]:
        kind = "number" if narrow["type"] == "integer" else narrow["type"]
        others = frozenset[str]().union(*(keys for name, keys in _OF.items() if name != kind))
        if kind == "string" and (text := reading.crossing(wide)) != (other := reading.crossing(narrow)):
            word = "contentEncoding" if "bytes" in {text, other if text is None else None} else "format"
            yield Finding(Gap.TYPES, place, wide, narrow, keyword=word, whole=True)
            return
        whole = False
        for key in [key for key in wide if key not in NOTES | _HANDLED | others]:
            if (gap := _bound(key, wide[key], narrow)) is not None:
                whole = whole or gap is Gap.TYPES
                yield Finding(gap, place, wide, narrow, keyword=key, whole=gap is Gap.TYPES)
        if whole:  # what it has in it comes to nothing
            return
        if kind == "object":
            yield from self._fields(wide, narrow, place)
        elif kind == "array":
            yield from self._items(wide, narrow, place)

    def _fields(  # noqa: C901  # a list of rules
        self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str
    ) -> Iterator[Finding]:
        if wide.get("patternProperties") != narrow.get("patternProperties"):
            yield Finding(Gap.UNKNOWN, place, wide, narrow, keyword="patternProperties")
            return
        taken, known = wide.get("properties", {}), narrow.get("properties", {})
        rest = wide.get("additionalProperties", True)
        # Callers that pass over further fields count on a record for those that it names, and for no other of the name.
        others = narrow.get("additionalProperties", not (self._further and known))
        has = narrow.get("required", ())
        for name in wide.get("required", ()):
            if name not in has:
                never = name not in known and others is False
                gap = Gap.TYPES if never else Gap.VALUES
                yield Finding(gap, place, wide, narrow, field=name, whole=never)
        for name, schema in known.items():
            if name in taken:
                yield from self.of(taken[name], schema, f"{place}.{name}")
            elif rest is not False:
                yield from self.of(rest, schema, f"{place}.{name}")
            elif not self._further:
                yield Finding(Gap.TYPES, place, wide, narrow, field=name, whole=name in has)
        for name in [name for name in taken if name not in known]:
            yield from self.of(taken[name], others, f"{place}.{name}")
        if rest is False and others is not False:  # which may have none beyond the ones that are taken
            if not self._further:
                yield Finding(Gap.VALUES, f"{place}.*", rest, self._narrow.resolved(others))
        else:
            yield from self.of(rest, others, f"{place}.*")

    def _items(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], place: str) -> Iterator[Finding]:
        first, rest = wide.get("prefixItems", ()), wide.get("items", True)
        known, others = narrow.get("prefixItems", ()), narrow.get("items", True)
        longest, least = reading.bound(narrow, "maxItems"), narrow.get("minItems", 0)
        for number in range(max(len(first), len(known))):
            if longest is not None and number >= longest:
                return
            mine = first[number] if number < len(first) else rest
            theirs = known[number] if number < len(known) else others
            if mine is False and number >= least:  # there may be none
                yield Finding(Gap.VALUES, f"{place}[{number}]", mine, self._narrow.resolved(theirs))
                return
            yield from self.of(mine, theirs, f"{place}[{number}]")
        if longest is not None and longest <= max(len(first), len(known)):
            return
        if rest is False and others is not False:
            yield Finding(Gap.VALUES, f"{place}[]", rest, self._narrow.resolved(others))
        else:
            yield from self.of(rest, others, f"{place}[]")


def _worst(findings: Iterable[Finding]) -> Gap:
    return max((each.gap for each in findings), default=Gap.UNKNOWN)


def _apart(found: list[tuple[Finding, ...]]) -> Iterator[Finding]:
    """Give what is found of each of several; all is refused only where all of each is."""
    whole = all(map(_refuses, found))
    for each in (each for items in found for each in items):
        yield each if whole else _partly(each)


def _refuses(findings: Iterable[Finding]) -> bool:
    """Tell whether there is something that is refused whatever else it has."""
    return any(each.whole or _refuses(each.closer) for each in findings)


def _partly(finding: Finding) -> Finding:
    return attrs.evolve(finding, whole=False, closer=tuple(map(_partly, finding.closer)))


def _is_few(narrow: Mapping[str, Any]) -> bool:
    """Tell whether what is described may be so few values that a list of them has them all."""
    if narrow["type"] == "integer":
        return not (narrow.keys().isdisjoint(_LOWER) or narrow.keys().isdisjoint(_UPPER))
    return not {"maxLength", "maxItems", "maxProperties"}.isdisjoint(narrow)


def _bound(key: str, limit: Any, narrow: Mapping[str, Any]) -> Gap | None:  # noqa: PLR0911  # a list of rules
    """Say what a keyword of what is to take something leaves between it and what is given; none: it holds."""
    there = reading.bound(narrow, key)
    if (there == limit and there is not None) or (key == "uniqueItems" and not limit):
        return None
    if key not in _LEAST | _MOST:
        return Gap.UNKNOWN
    below = key in _LEAST
    if below and key not in _LOWER and not limit:  # no count is below 0
        return None
    if there is not None and (there > limit if below else there < limit):
        return None
    beside = narrow.get(_LOWER.get(key, "") or _UPPER.get(key, ""))
    if beside is not None:
        enough = beside > limit if below else beside < limit
        if enough or (beside == limit and not key.startswith("exclusive")):
            return None
    opposite = reading.bound(narrow, _OPPOSITE[key]) if key in _OPPOSITE else None
    if opposite is not None and (opposite < limit if below else opposite > limit):
        return Gap.TYPES
    odd = narrow.keys() - NOTES - _HANDLED - _LEAST - _MOST
    sure = not odd and beside is None and not key.endswith("Properties") and isinstance(limit, int)
    return Gap.VALUES if sure else Gap.UNKNOWN
