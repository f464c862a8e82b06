"""Values → plain data: what a function gives, as JSON and MessagePack can write it.

There is one walk. It reads each object one level deep, by its class and never by what the object says of itself, so
that mocks and proxies are what they are; whatever reading it raises spoils that one object alone. What has no form is
handed to `odd`, which raises, or gives something else to write in its place. The two formats differ only in their
`Scalar`: how a bool, a number, text, bytes and a key are written.

Nothing is ever pickled, and nothing that is written depends on a method that a subclass of a plain type may override.
"""

import datetime as dt
import decimal
import enum
import uuid
from collections import UserString, deque
from collections.abc import Callable, Iterable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from functools import partial
from itertools import islice
from pathlib import PurePath
from types import MappingProxyType, NoneType
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from jackfield.contract.payload.misfit import key_step
from jackfield.contract.shapes import is_pydantic
from jackfield.model.size import bounded
from jackfield.strangers import is_interrupt, named

DEPTH: Final = 200
"""How many levels of a value are followed."""

LENGTH: Final = 10_000_000
"""The most items of a sequence that is not itself a list, tuple or set: a `range` may say that it has any number."""

PARTS: Final = 2_000_000
"""The most lists and tables of one value, each counted as often as it is met: one that is in another twice, sixty times
over, has no end either."""

_ITEMS: Final = 20
"""So many items count for a list of their own: the same million numbers, a million times over, have no end."""

_SHARED: Final = 10  # parts that are worth keeping, for when they are met again
_SHOWN: Final = 2_000  # characters of a `repr`
_PLAIN: Final[frozenset[type]] = frozenset({str, int, float, bool, NoneType})
_TEXT: Final = frozenset({str})
_BUILT_IN: Final = (list, tuple, set, frozenset, deque)
_MISSING: Final = object()
_DEEP: Final = "is nested too deeply"
_CIRCLE: Final = "is within itself"
_LARGE: Final = f"is one of more than {PARTS:,} lists and tables"

Odd: TypeAlias = Callable[[Any, str, str], Any]
"""Called with what has no form, its path, and why; gives what to write in its place, or raises."""


class NoForm(Exception):
    """A value has no form; never leaves this package. Its text is the reason."""


@attrs.frozen
class Format:
    """What distinguishes a format.

    Attributes:
        scalar: writes a `str`, `int`, `float`, `bool` or `bytes`; raises `NoForm`.
        key: writes the key of a mapping, which is such a scalar, or None.
        quick: the types of which every value is written as it is; `plain` is told when that was wrong.
        exact: of these very types, not of classes derived from them, what writes a value as the format's own.
    """

    scalar: Callable[[Any], Any]
    key: Callable[[Any], Any]
    quick: frozenset[type] = _PLAIN
    exact: Mapping[type, Callable[[Any], Any]] = MappingProxyType({})


def plain(value: Any, form: Format, odd: Odd, *, careful: bool = False) -> Any:
    """Copy a value into plain data.

    Args:
        value: anything.
        form: for which format.
        odd: what to do with what has no form.
        careful: look at every scalar, too: the quick way has met one that cannot be written.

    Returns:
        Nothing but what the format can write.
    """
    walk = _Walk(form, odd, frozenset() if careful else form.quick)
    try:
        return walk.value(value, None, DEPTH)
    except RecursionError:  # the stack was nearly full before
        return walk.value(odd(value, "$", _DEEP), None, 1)


def text_of(value: Any, _path: str = "$", reason: str = "") -> str:
    """Show what has no form; as an `Odd`, for whoever wants to see what can be seen.

    Args:
        value: what it is.
        _path: where.
        reason: why it has none.

    Returns:
        "…" for what lies within itself or too deep; else at most 2,000 characters of its `repr`.

    Examples:
        >>> text_of(ValueError("x"))
        "ValueError('x')"
    """
    if reason in {_CIRCLE, _DEEP, _LARGE}:  # its `repr` would be all of it once more
        return "…"
    try:
        text = str.__str__(repr(bounded(value)))
    except BaseException as error:  # a plugin's `__repr__` may raise anything, `SystemExit` too
        if is_interrupt(error):
            raise
        return f"<{name_of(value)} whose repr raises {name_of(error)}>"
    return (text if len(text) <= _SHOWN else text[:_SHOWN] + "…").encode(errors="backslashreplace").decode()


def name_of(value: object) -> str:
    """Name the class of an object, of a class that of classes."""
    return named(type(value))


class _Items(list[Any]):
    """What a value consists of: a list will be written."""


class _Pairs(list[tuple[Any, Any]]):
    """The keys and values that a value consists of: a table will be written."""


@attrs.frozen
class _Instead:
    """Another value that is to be written in place of one."""

    value: Any


class _Walk:
    """One walk through one value. A path is a chain of `(path above, step)`, put into words only where it is needed."""

    def __init__(self, form: Format, odd: Odd, quick: frozenset[type]) -> None:
        self._form, self._odd, self._quick = form, odd, quick
        self._above: set[int] = set()
        self._parts = 0
        self._faults = 0
        # What was written of lists and tables, since one may be in many places: by their identity, each with itself, so
        # that no other takes its number, the depth that was left, and how much it counts for.
        self._written: dict[int, tuple[Any, Any, int, int]] = {}

    def value(self, value: Any, path: Any, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912  # one for each end
        """Give the plain data of a value."""
        try:
            if type(value) in self._quick:
                return value
            known = self._written.get(id(value))
            if known is not None and known[2] <= depth and self._parts + known[3] <= PARTS:
                self._parts += known[3]
                return known[1]
            if self._parts > PARTS:  # not even read: there may be millions more
                raise NoForm(_LARGE)  # noqa: TRY301  # as if it had been read
            found = self._read(value)
        except NoForm as error:
            return self._instead(value, path, depth, str(error))
        except BaseException as error:  # what a stranger's object raises spoils that object alone
            if is_interrupt(error):
                raise
            return self._instead(value, path, depth, f"cannot be read: it raises {name_of(error)}")
        before, faults = self._parts, self._faults
        if not isinstance(found, _Items | _Pairs | _Instead):
            if (type(found) is list or type(found) is dict) and len(found) >= _ITEMS:
                self._parts += len(found) // _ITEMS
                if self._parts > PARTS:
                    return self._instead(value, path, depth, _LARGE)
                self._written[id(value)] = (value, found, 0, self._parts - before)
            return found
        self._parts += 1 if isinstance(found, _Instead) else 1 + len(found) // _ITEMS
        if id(value) in self._above or depth <= 0 or self._parts > PARTS:
            reason = _CIRCLE if id(value) in self._above else _DEEP if depth <= 0 else _LARGE
            return self._instead(value, path, depth, reason)
        self._above.add(id(value))
        try:
            made = self._inside(found, path, depth - 1)
        finally:
            self._above.discard(id(value))
        if isinstance(found, _Pairs) and len(made) < len(found):
            return self._instead(value, path, depth, "has two keys that are written alike")
        if self._parts - before >= _SHARED and self._faults == faults:
            self._written[id(value)] = (value, made, depth, self._parts - before)
        return made

    def _inside(self, found: Any, path: Any, depth: int) -> Any:
        if isinstance(found, _Instead):
            return self.value(found.value, path, depth)
        if isinstance(found, _Items):
            return [self.value(item, (path, index), depth) for index, item in enumerate(found)]
        return {self._key(key, path): self.value(item, (path, key), depth) for key, item in found}

    def _instead(self, value: Any, path: Any, depth: int, reason: str) -> Any:
        """Write what `odd` gives; there the end comes soon, whatever it gives."""
        self._faults += reason in {_CIRCLE, _DEEP, _LARGE}  # which are so here, and may not be so elsewhere
        made = self._odd(value, _shown(path), reason)
        if depth <= 0 or id(value) in self._above or made is value or self._parts > PARTS:
            return self._last(made, path)
        self._above.add(id(value))
        try:
            return self.value(made, path, depth - 1)
        finally:
            self._above.discard(id(value))

    def _last(self, made: Any, path: Any) -> Any:
        """Write a scalar that `odd` gave in place of what must not be followed any more."""
        with suppress(NoForm):
            found = self._read(made)
            if not isinstance(found, list | dict | _Instead):
                return found
        raise TypeError(f"{_shown(path)}: what `fallback` gave is no text and no number, or leads back to where it was")

    def _key(self, key: Any, path: Any) -> Any:
        if type(key) is str and str in self._quick:
            return key
        found: Any = key
        try:
            while isinstance(found := self._read(found, key=True), _Instead):
                found = found.value
            if not isinstance(found, list | dict):
                return self._form.key(found)
            reason = "has no form as a key"
        except NoForm as error:
            reason = f"is a key, and {error}"
        except BaseException as error:  # as above
            if is_interrupt(error):
                raise
            reason = f"is a key that cannot be read: it raises {name_of(error)}"
        return self._form.key(self._last(self._odd(key, f"{_shown(path)}[key]", reason), path))

    def _read(self, value: Any, *, key: bool = False) -> Any:  # noqa: C901, PLR0911  # one for each kind of value
        """Read a value one level deep: `_Items`, `_Pairs`, `_Instead`, or its plain data."""
        kind = type(value)
        if kind is NoneType or kind is bool:
            return value
        if kind is dict:
            return self._table(value.copy())  # a copy: another thread may change it
        if kind in _BUILT_IN:
            return self._row(list(value))
        if (write := self._form.exact.get(kind)) is not None and not key:
            return write(value)
        scalar = _scalar(value, kind)
        if scalar is not _MISSING:
            exact = isinstance(scalar, str | int | float | bytes) and not isinstance(scalar, bool)
            return self._form.scalar(scalar) if exact and not key else scalar
        record = _record(value, kind)
        if record is not None:
            return record
        if issubclass(kind, Mapping):
            return _Pairs(_bounded(value, value.items()))
        if issubclass(kind, Sequence | AbstractSet | MappingView):
            return self._row(_bounded(value, value))
        if callable(getattr(kind, "tolist", None)):  # an array, or a scalar of numpy's
            made = value.tolist()
            if type(made) is not kind:
                return _Instead(made)
        raise NoForm("has no form in plain data")

    def _table(self, value: dict[Any, Any]) -> Any:
        quick = _TEXT.issuperset(map(type, value)) and self._quick.issuperset(map(type, value.values()))
        return value if quick else _Pairs(value.items())

    def _row(self, items: list[Any]) -> Any:
        return items if self._quick.issuperset(map(type, items)) else _Items(items)


def _scalar(value: Any, kind: type) -> Any:  # noqa: C901, PLR0911  # one for each type
    """Take what is written as one scalar down to an exact one, by the methods of the type that it is a subclass of."""
    if issubclass(kind, enum.Enum):
        return _Instead(value.value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, bytes | bytearray | memoryview):
        return value.tobytes() if issubclass(kind, memoryview) else bytes(memoryview(value))
    if issubclass(kind, decimal.Decimal):
        return decimal.Decimal.__str__(value)
    if issubclass(kind, dt.date | dt.time | dt.timedelta):
        return _moment(value, kind)
    if issubclass(kind, uuid.UUID):
        return str(uuid.UUID(int=value.int))
    if issubclass(kind, PurePath):
        return str.__str__(str(value))
    if issubclass(kind, UserString):
        return _Instead(value.data)
    return _MISSING


def _moment(value: Any, kind: type) -> str | None:
    """Write a date, a time or a duration by ISO 8601; pandas' "not a time" is none, as a NaN is."""
    if value != value:  # noqa: PLR0124  # what is not equal to itself is nothing
        return None
    made: Any
    if issubclass(kind, dt.datetime):
        offset = value.utcoffset()
        if offset is not None and offset % dt.timedelta(minutes=1):  # RFC 3339 knows whole minutes only
            value = value.astimezone(dt.UTC)
        day = (value.year, value.month, value.day)
        made = dt.datetime(
            *day, value.hour, value.minute, value.second, value.microsecond, tzinfo=value.tzinfo, fold=value.fold
        )
    elif issubclass(kind, dt.date):
        made = dt.date(value.year, value.month, value.day)
    elif issubclass(kind, dt.time):
        made = dt.time(value.hour, value.minute, value.second, value.microsecond, tzinfo=value.tzinfo, fold=value.fold)
    else:
        made = dt.timedelta(value.days, value.seconds, value.microseconds)
    text: str = msgspec.to_builtins(made)
    return text


def _record(value: Any, kind: type) -> Any:
    """Read the fields of a record, under the names that its constructor takes; None if it is none."""
    if issubclass(kind, msgspec.Struct):
        return _struct(value, kind)
    if is_pydantic(kind):
        return _Instead(_dumped(value))
    if attrs.has(kind):
        pairs = ((field.alias if field.init else field.name, field.name) for field in attrs.fields(kind))
    elif is_dataclass(kind):
        pairs = ((field.name, field.name) for field in dataclass_fields(kind))
    else:
        return _Instead(msgspec.json.decode(value)) if kind is msgspec.Raw else None
    return _Pairs(
        (name, found)
        for name, attribute in pairs
        if (found := getattr(value, attribute, _MISSING)) is not _MISSING and found is not msgspec.UNSET
    )


def _struct(value: Any, kind: Any) -> Any:
    """Read a Struct as msgspec writes it: renamed, tagged, as an array, without defaults."""
    config = kind.__struct_config__
    tag = () if config.tag is None else ((config.tag_field, config.tag),)
    pairs = [*tag]
    for field in msgspec.structs.fields(kind):
        found = getattr(value, field.name)
        if config.array_like or not (found is msgspec.UNSET or (config.omit_defaults and _is_default(found, field))):
            pairs.append((field.encode_name, found))
    return _Items(found for _, found in pairs) if config.array_like else _Pairs(pairs)


def _is_default(value: Any, field: Any) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return type(value) is field.default_factory and field.default_factory in (list, dict, set) and not value
    return value is field.default


def _dumped(model: Any) -> Any:
    """Let a pydantic model write itself, field by field if it cannot; what its JSON mode refuses is looked at here."""
    dump = partial(model.model_dump, mode="json", by_alias=True, warnings=False)
    try:
        return dump()
    except Exception:  # noqa: BLE001  # a field of a type that pydantic does not know, bytes that are no UTF-8
        kind = type(model)
    if getattr(kind, "__pydantic_root_model__", False):
        return model.root
    made: dict[str, Any] = {}
    known = {**kind.model_fields, **kind.model_computed_fields, **dict.fromkeys(model.model_extra or ())}
    for name, field in known.items():
        try:
            made |= dump(include={name})
        except Exception:  # noqa: BLE001  # this one
            alias = getattr(field, "serialization_alias", None) or getattr(field, "alias", None)
            made[alias or name] = getattr(model, name)
    return made


def _bounded(value: Any, items: Iterable[Any]) -> list[Any]:
    """List the items of a stranger's collection, which may have no end."""
    length = len(value)
    if length > LENGTH:
        raise NoForm(f"has more than {LENGTH:,} items")
    found = list(islice(items, length + 1))
    if len(found) > length:
        raise NoForm("has more items than it says")
    return found


def _shown(path: Any) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step}]" if type(step) is int else key_step(step))
    return "$" + "".join(reversed(steps))
