"""What `Annotated` asks of a value: constraints of msgspec, `annotated_types` and pydantic, each as one test."""

import collections
import datetime as dt
import decimal
import math
import numbers
import operator
import re
import sys
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePath
from typing import Annotated, Any, Final, get_args, get_origin

import attrs
import msgspec

from jackfield.contract.shapes.kinds import SCALARS, Constraint
from jackfield.contract.shapes.layers import strip
from jackfield.model.generics import is_union

_COMPARED: Final = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}
_KEYWORDS: Final = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
_LENGTHS: Final = {"min_length": (">=", operator.ge), "max_length": ("<=", operator.le)}
_SAID: Final = ("title", "description", "examples")
_MANY: Final = 100  # entries that a group may have: its iteration is a stranger's code
# Of pydantic, what says nothing of values that come in, or what a conversion that is strict anyway need not hear.
_SILENT: Final = frozenset({"PlainSerializer", "WrapSerializer", "SerializeAsAny", "Tag", "WithJsonSchema", "FailFast"})
# Of pydantic, what looks at a value that has been converted; anything else has a say in how.
_AFTER: Final = frozenset({"AfterValidator", "AllowInfNan", "UuidVersion", "PathType", "_PydanticGeneralMetadata"})


@attrs.frozen
class Found:
    """What the metadata of a type ask for.

    Attributes:
        constraints: those that are enforced.
        native: whether msgspec enforces every one of them.
        foreign: whether pydantic has to convert the value to meet them.
        unenforced: those that nothing here knows how to enforce, in words.
        said: what else they say in a JSON Schema.
    """

    constraints: tuple[Constraint, ...] = ()
    native: bool = True
    foreign: bool = False
    unenforced: tuple[str, ...] = ()
    said: Mapping[str, Any] = attrs.field(factory=dict)


_NOTHING: Final = Found()


def constraints(bare: Any, metadata: Iterable[Any]) -> Found:
    """Read the metadata around a type.

    Args:
        bare: the type.
        metadata: the innermost first.
    """
    kinds = _kinds(bare)
    found: list[Found] = []
    for given in metadata:
        try:
            found += [_read(bare, kinds, entry) for entry in _entries((given,))]
        except Exception:  # noqa: BLE001  # metadata may be any objects
            found.append(Found((), native=False, unenforced=(_named(given),)))
    return Found(
        tuple(constraint for one in found for constraint in one.constraints),
        all(one.native for one in found),
        any(one.foreign for one in found),
        tuple(words for one in found for words in one.unenforced),
        {name: value for one in found for name, value in one.said.items()},
    )


def _read(bare: Any, kinds: frozenset[Any], entry: Any) -> Found:
    """Read one entry; most are not for us."""
    said: dict[str, Any] = {}
    native = False
    if isinstance(entry, msgspec.Meta):
        read = list(_bounds(bare, entry))
        said = {name: value for name in _SAID if (value := getattr(entry, name)) is not None}
        said |= entry.extra_json_schema or {}
        native = not (read and kinds & {set, frozenset})  # it counts what comes, not what is left
    elif _is_pydantic(entry):
        kind = type(entry).__name__
        if kind in _SILENT or (kind == "Strict" and not entry.strict):
            return _NOTHING
        if kind not in _AFTER:
            return Found((), native=False, foreign=True)
        read = list(_after(bare, entry))
    elif type(entry).__module__.partition(".")[0] == "annotated_types":
        if type(entry).__name__ in {"DocInfo", "Unit"}:
            return _NOTHING
        read = list(_bounds(bare, entry)) or list(_tests(entry))
    else:
        return _NOTHING
    met = tuple(one for one in read if one.concerns is None or one.concerns & kinds)
    whole = len(met) == len(read) and (read or isinstance(entry, msgspec.Meta))
    return Found(met, native, unenforced=() if whole else (_named(entry),), said=said)


def _entries(metadata: Iterable[Any]) -> Iterator[Any]:
    """Give the metadata one by one: of groups, and of pydantic's `Field`, what they consist of."""
    for entry in metadata:
        if isinstance(entry, type) or callable(getattr(entry, "__call__", None)):  # noqa: B004  # classes, functions
            yield entry if _is_pydantic(entry) else None
        elif _is_field(entry):
            yield from _entries(entry.metadata)
            if getattr(entry, "discriminator", None) is not None:
                yield entry
        elif getattr(entry, "__is_annotated_types_grouped_metadata__", False) is True:
            # What changes a text comes before what measures it, as pydantic has it.
            yield from sorted(_entries(islice(entry, _MANY)), key=lambda one: not _is_pydantic(one))
        else:
            yield entry


def _is_field(entry: Any) -> bool:
    # pydantic imports its parts when they are used: without this one there are no fields.
    return isinstance(entry, getattr(sys.modules.get("pydantic.fields"), "FieldInfo", ()))


def _is_pydantic(entry: Any) -> bool:
    """Tell what pydantic would hear: its own entries, and those of others that are written for it."""
    if "pydantic" not in sys.modules or isinstance(entry, msgspec.Meta):
        return False
    return type(entry).__module__.partition(".")[0] == "pydantic" or hasattr(entry, "__get_pydantic_core_schema__")


def _named(entry: Any) -> str:
    try:
        return repr(entry)[:_MANY]
    except Exception:  # noqa: BLE001  # a stranger's code
        return type(entry).__name__


def _kinds(bare: Any) -> frozenset[Any]:
    """Name the kinds of value that a type has, for what a constraint concerns; `object` concerns any."""
    if is_union(bare):
        return frozenset[Any]().union(*(_kinds(strip(member)) for member in get_args(bare)))
    kind = get_origin(bare) or bare
    if not isinstance(kind, type) or kind is object or kind is Any:
        return frozenset({object, *_NUMBERS, *_SIZED})
    own = {one for one in kind.__mro__ if one is not object and not (kind is bool and one is int)}
    return frozenset(own | {one for one in _ABSTRACT if issubclass(kind, one)})


_NUMBERS: Final = frozenset({int, float, decimal.Decimal, numbers.Number})
_SIZED: Final = frozenset({str, bytes, bytearray, abc.Sized, PurePath})
_ABSTRACT: Final = (abc.Sized, PurePath, numbers.Number)


def _bounds(bare: Any, entry: Any) -> Iterator[Constraint]:
    """Give the bounds, lengths and patterns that an entry has, which has them as attributes."""
    for name, (sign, compare) in _COMPARED.items():
        if (limit := getattr(entry, name, None)) is not None:
            yield _compared(name, sign, compare, limit)
    if (factor := getattr(entry, "multiple_of", None)) is not None:
        yield Constraint(
            f"{{}} that's a multiple of {factor}", _multiple(factor), _said({"multipleOf": factor}), concerns=_NUMBERS
        )
    for name, (sign, compare) in _LENGTHS.items():
        if (limit := getattr(entry, name, None)) is not None:
            keywords = {f"{name[:3]}{measure}": limit for measure in _measured(bare)}
            yield Constraint(f"{{}} of length {sign} {limit}", _sized(compare, limit), keywords, concerns=_SIZED)
    if (pattern := getattr(entry, "pattern", None)) is not None and isinstance(entry, msgspec.Meta):
        yield Constraint(f"{{}} matching regex {pattern!r}", _matches(pattern), {"pattern": pattern}, concerns=_TEXT)
    if (aware := getattr(entry, "tz", None)) is not None and isinstance(entry, msgspec.Meta):
        words = f"{{}} with {'a' if aware else 'no'} timezone component"
        yield Constraint(words, _aware(aware), concerns=_TIMES)


_TEXT: Final = frozenset({str})
_TIMES: Final = frozenset({dt.datetime, dt.time})


def _measured(bare: Any) -> set[str]:
    """Say what JSON Schema calls the lengths of the values that a type has."""
    if is_union(bare):
        return set[str]().union(*(_measured(strip(member)) for member in get_args(bare)))
    kinds = _kinds(bare)
    if object in kinds:
        return {"Length", "Items", "Properties"}
    if kinds & {str, PurePath}:
        return {"Length"}
    if kinds & {dict, abc.Mapping}:
        return {"Properties"}
    return {"Items"} if kinds & {list, tuple, set, frozenset, collections.deque, abc.Iterable} else set()


def _said(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Give what JSON can say: numbers that are finite."""
    plain = {name: float(value) if isinstance(value, decimal.Decimal) else value for name, value in keywords.items()}
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _compared(name: str, sign: str, compare: Callable[[Any, Any], Any], limit: Any) -> Constraint:
    number = isinstance(limit, numbers.Number)

    def test(value: Any) -> object:
        if value is None or (number and isinstance(value, bool | str | bytes | list | tuple | dict | set | frozenset)):
            return True  # of another member of a union
        return compare(value, limit)

    return Constraint(
        f"{{}} {sign} {limit}", test, _said({_KEYWORDS[name]: limit}), concerns=_NUMBERS if number else None
    )


def _multiple(factor: Any) -> Callable[[Any], object]:
    def test(value: Any) -> object:
        if isinstance(value, bool) or not isinstance(value, numbers.Number):
            return True
        if isinstance(value, float) or isinstance(factor, float):
            return math.fmod(value, factor) == 0  # type: ignore[arg-type]  # a number
        return value % factor == 0

    return test


def _sized(compare: Callable[[Any, Any], Any], limit: int) -> Callable[[Any], object]:
    def test(value: Any) -> object:
        if isinstance(value, abc.Sized):
            return compare(len(value), limit)
        return compare(len(str(value)), limit) if isinstance(value, PurePath) else True

    return test


def _matches(pattern: str) -> Callable[[Any], object]:
    search = re.compile(pattern).search

    def test(value: Any) -> object:
        return search(value) if isinstance(value, str) else True

    return test


def _aware(aware: bool) -> Callable[[Any], object]:
    def test(value: Any) -> object:
        return aware is (value.tzinfo is not None) if isinstance(value, dt.datetime | dt.time) else True

    return test


def _tests(entry: Any) -> Iterator[Constraint]:
    """Give the test of a predicate, or of a time zone."""
    if callable(func := getattr(entry, "func", None)):
        name = getattr(func, "__name__", "predicate").strip("<>")
        yield Constraint(f"{{}} that passes {name}", func, said=f"passes {name}")
    elif hasattr(entry, "tz") and (zone := _zone(entry.tz)) is not None:
        yield zone


def _zone(wanted: Any) -> Constraint | None:
    """Give the test of `Timezone`: none at all, any, one by name, or one as `tzinfo`."""
    if wanted is None or wanted is ...:
        words = f"{{}} with {'no' if wanted is None else 'a'} timezone component"
        return Constraint(words, _aware(wanted is ...), concerns=_TIMES)
    import zoneinfo  # noqa: PLC0415  # it takes 5 ms, and hardly anybody names a zone

    try:
        zone = zoneinfo.ZoneInfo(wanted) if isinstance(wanted, str) else wanted
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
    if not isinstance(zone, dt.tzinfo):
        return None

    def test(value: Any) -> object:
        if not isinstance(value, dt.datetime | dt.time):
            return True
        # Plain data have an offset, and no name: what counts is that the zone has this offset at this time.
        moment = value if isinstance(value, dt.datetime) else dt.datetime.combine(dt.date(1970, 1, 1), value)
        return value.tzinfo is not None and moment.utcoffset() == moment.astimezone(zone).utcoffset()

    return Constraint(f"{{}} in the time zone {zone}", test, concerns=_TIMES, said=f"in the time zone {zone}")


def _after(bare: Any, entry: Any) -> Iterator[Constraint]:
    """Have pydantic look at a value that has been converted, if it can."""
    pydantic = sys.modules["pydantic"]
    name = getattr(getattr(entry, "func", None), "__name__", type(entry).__name__.lstrip("_")).strip("<>")
    plain = isinstance(bare, type) and (bare in SCALARS or issubclass(bare, PurePath))
    for base in (Any, bare) if plain else (Any,):
        try:
            validate = pydantic.TypeAdapter(Annotated[base, entry]).validate_python
        except Exception:  # noqa: BLE001, S112  # an entry that fits no such type, in several types of error
            continue
        pattern = getattr(entry, "pattern", None)
        keywords = {"pattern": pattern} if isinstance(pattern, str) and str in _kinds(bare) else {}
        shown = f"matching regex {pattern!r}" if keywords else f"that passes {name}"
        yield Constraint(f"{{}} {shown}", None, keywords, change=validate, said="" if keywords else f"passes {name}")
        return
