"""Copying published events through their type's contract, so that plugins exchange values and never objects.

`seal` turns an event into plain data once and back once, which checks it. Where the type is immutable through and
through, that one copy is shared by all subscribers; else each subscriber gets a copy of its own, made in its own turn.

A field annotated `Any` carries plain data: what is put there as an attrs object arrives as a dict, a set as a list.
"""

import datetime as dt
import decimal
import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

import attrs
import msgspec
from msgspec import inspect as contracts

from jackfield.errors import PayloadError, PermissionDenied
from jackfield.events.announced import HOST_EVENTS
from jackfield.stack import error_type, raised_here
from jackfield.strangers import Broken, barrier, is_a, named

# Immutable values that plain data may hold as they are, instead of as text.
_KEPT = (
    bytes,
    dt.datetime,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    decimal.Decimal,
)
_IMMUTABLE = (
    contracts.NoneType,
    contracts.BoolType,
    contracts.IntType,
    contracts.FloatType,
    contracts.StrType,
    contracts.BytesType,
    contracts.DateTimeType,
    contracts.DateType,
    contracts.TimeType,
    contracts.TimeDeltaType,
    contracts.UUIDType,
    contracts.DecimalType,
    contracts.EnumType,
    contracts.LiteralType,
)
_RECORDS = (contracts.StructType, contracts.DataclassType, contracts.NamedTupleType, contracts.TypedDictType)
_EXPECTED_TYPE = "an attrs, dataclass or msgspec.Struct type"
_MISFIT = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`")
_PLACE = re.compile(r" - at `(?P<path>[^`]+)`$")

# Type → whether one copy can be shared. No value refers to its type, so that the types of an unloaded plugin go.
_shareable: "WeakKeyDictionary[type, bool]" = WeakKeyDictionary()
_compiling = threading.Lock()


class Parcel:
    """One event on its way to its subscribers.

    Attributes:
        published: whether it counts towards the bound of a queue; announced events do not.
    """

    __slots__ = ("_content", "_type", "published")

    def __init__(self, content: Any, copied: "type | None" = None, *, published: bool = False) -> None:
        self._content = content
        self._type = copied
        self.published = published

    def open(self) -> Any:
        """Give the event: the shared value, or a copy that nobody else has."""
        if self._type is None:
            return self._content
        # Twice, because `convert` passes on by reference what is annotated `Any`.
        return _revive(_plain(self._content), self._type)


def seal(event: object) -> Parcel:
    """Copy an event, so that what its publisher does to it afterwards is unseen.

    Args:
        event: a value of an attrs, dataclass or `msgspec.Struct` type.

    Returns:
        The parcel that holds the copy.

    Raises:
        PayloadError: when the event or its type cannot be copied; `path` names the field.
        PermissionDenied: for an event that only the host announces.
    """
    kind = type(event)
    try:
        with barrier("reading the type"):
            shareable = _shareable.get(kind)
            if shareable is None:
                shareable = _compile(kind)
    except Broken as broken:
        got = f"one that cannot be read: {broken.reason}"
        raise PayloadError(event_name(kind), "$", _EXPECTED_TYPE, got) from broken
    try:
        plain = _plain(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        path, got = _unplain_field(event, error)
        raise PayloadError(event_name(kind), path, "a value that can be copied", got) from error
    try:
        value = _revive(plain, kind)
    except (TypeError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _misfit(kind, _said(error)) from error
    return Parcel(value, published=True) if shareable else Parcel(plain, kind, published=True)


def rebuild(data: Any, kind: type) -> Any:
    """Make an event of the plain data of one of another process.

    Args:
        data: what `flatten` gave there.
        kind: the type that this process has for it; `dict` and `object` leave it as it is.

    Raises:
        PayloadError: when it does not fit; `path` names the field.
    """
    if kind in (dict, object):
        return data
    try:
        return _revive(data, kind)
    except (TypeError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _misfit(kind, _said(error)) from error


def flatten(event: object) -> Any:
    """Give the plain data of an event that `seal` takes."""
    return event if is_a(event, dict) else _plain(event)


def event_name(kind: type) -> str:
    """Name an event type in errors and logs."""
    return f"event {named(kind)}"


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, builtin_types=_KEPT)


def _revive(plain: Any, kind: type) -> Any:
    return msgspec.convert(plain, kind, builtin_types=_KEPT)


def _compile(kind: type) -> bool:
    """Check a type once: refuse what can never be copied, and tell whether its copies can be shared."""
    if issubclass(kind, HOST_EVENTS):
        raise PermissionDenied(event_name(kind), "only the host announces it; publish an event type of your own")
    # Looked for in the class itself: a plain subclass of a record inherits the marks, and cannot be copied.
    if not (vars(kind).keys() & {"__attrs_attrs__", "__dataclass_fields__"} or issubclass(kind, msgspec.Struct)):
        raise PayloadError(event_name(kind), "$", _EXPECTED_TYPE, kind.__qualname__)
    try:
        contract = contracts.type_info(kind)
    except (TypeError, ValueError, NameError) as error:
        raise PayloadError(
            event_name(kind), _unexpressed_field(kind), "an annotation that a contract can express", str(error)
        ) from error
    shareable = True
    for path, part in _parts(contract, "$", set()):
        if isinstance(part, contracts.CustomType):
            shown = getattr(part.cls, "__qualname__", str(part.cls))
            raise PayloadError(event_name(kind), path, "plain data or " + _EXPECTED_TYPE, shown)
        if isinstance(part, contracts.DataclassType):
            hidden = next((field.name for field in part.fields if field.name.startswith("_")), None)
            if hidden is not None:
                what = "a private field, which copying would leave out"
                raise PayloadError(event_name(kind), f"{path}.{hidden}", "a public field", what)
        shareable = shareable and _is_immutable(part)
    with _compiling:
        _shareable[kind] = shareable
    return shareable


def _parts(contract: contracts.Type, path: str, seen: set[type]) -> Iterator[tuple[str, contracts.Type]]:
    """Give a contract and everything below it, each with its path; a type that contains itself is entered once."""
    yield path, contract
    if isinstance(contract, _RECORDS):
        if contract.cls in seen:
            return
        seen.add(contract.cls)
    for step, part in _below(contract):
        yield from _parts(part, path + step, seen)


def _below(contract: contracts.Type) -> Iterable[tuple[str, contracts.Type]]:
    """Give the parts of a contract, each with its step on the path."""
    parts: Iterable[tuple[str, contracts.Type]] = ()
    match contract:
        case (
            contracts.StructType(fields=fields)
            | contracts.DataclassType(fields=fields)
            | contracts.NamedTupleType(fields=fields)
            | contracts.TypedDictType(fields=fields)
        ):
            parts = [(f".{field.name}", field.type) for field in fields]
        case contracts.UnionType(types=types):
            parts = [("", part) for part in types]
        case contracts.TupleType(item_types=types):
            parts = [(f"[{index}]", part) for index, part in enumerate(types)]
        case contracts.DictType(key_type=key, value_type=value):
            parts = [("[key]", key), ("[...]", value)]
        case contracts.CollectionType(item_type=part):
            parts = [("[...]", part)]
        case contracts.Metadata(type=part):
            parts = [("", part)]
    return parts


def _is_immutable(part: contracts.Type) -> bool:
    """Tell whether one part, apart from what is below it, can be shared."""
    match part:
        case contracts.StructType(cls=kind):
            return bool(kind.__struct_config__.frozen)
        case contracts.DataclassType(cls=kind):
            return _refuses_assignment(kind)
        case (
            contracts.UnionType()
            | contracts.Metadata()
            | contracts.NamedTupleType()
            | contracts.TupleType()
            | contracts.VarTupleType()
            | contracts.FrozenSetType()
        ):
            return True
        case _:
            return isinstance(part, _IMMUTABLE)


def _refuses_assignment(kind: type) -> bool:
    """Ask an attrs or dataclass type whether it is frozen; neither library says so in public."""
    try:
        object.__new__(kind).__setattr__("_", None)
    except (FrozenInstanceError, attrs.exceptions.FrozenInstanceError):
        return True
    except Exception:  # noqa: BLE001  # the type's own __setattr__ may raise anything; it is then not known to be frozen
        return False
    return False


def _unexpressed_field(kind: type) -> str:
    """Find the annotation that makes a type unusable."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001  # evaluating annotations runs foreign code; the original error is reported
        return "$"
    for name, hint in hints.items():
        try:
            contracts.type_info(hint)
        except (TypeError, ValueError, NameError):
            return f"$.{name}"
    return "$"


def _unplain_field(event: object, error: Exception) -> tuple[str, str]:
    """Find the field whose value cannot be copied, and say what is wrong with it."""
    if is_a(error, RecursionError):
        return "$", "one that contains itself"
    for field in contracts.type_info(type(event)).fields:  # type: ignore[attr-defined]  # compiled: it is a record
        value = getattr(event, field.name, None)
        try:
            _plain(value)
        except (TypeError, ValueError, OverflowError) as reason:
            return f"$.{field.name}", _said(reason)
    return "$", _said(error)


def _said(error: Exception) -> str:
    """Give what msgspec says; of what an event's own code says, the type alone: its text may be a value."""
    return str(error) if error.__cause__ is None and raised_here(error) else error_type(error.__cause__ or error)


def _misfit(kind: type, message: str) -> PayloadError:
    """Render what msgspec says of a value that its own annotations refuse; never the value itself."""
    place = _PLACE.search(message)
    path = place["path"] if place else "$"
    found = _MISFIT.search(message)
    if found:
        return PayloadError(event_name(kind), path, found["expected"], found["got"])
    return PayloadError(event_name(kind), path, "a value that the type's own checks accept", "one that they refuse")
