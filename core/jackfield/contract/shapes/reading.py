"""Annotations → their shapes, one level deep."""

import collections
import dataclasses
import enum
import functools
import operator
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, get_args, get_origin

import attrs
import msgspec

from jackfield.contract.shapes.annotations import hints, identity, is_pydantic, is_typed_dict, is_union, strip
from jackfield.contract.shapes.kinds import (
    SCALARS,
    Anything,
    Array,
    Checked,
    Choice,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
)

_ARRAYS: Final[Mapping[Any, type]] = {
    **{kind: kind for kind in (list, set, frozenset, tuple, collections.deque)},
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection), list),
    **dict.fromkeys((abc.Set, abc.MutableSet), set),
}
_TABLES: Final[Mapping[Any, type]] = {
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), dict),
    **{kind: kind for kind in (collections.defaultdict, collections.OrderedDict, collections.Counter)},
}
_FILES: Final = frozenset({typing.IO, typing.TextIO, typing.BinaryIO})
_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length")


def view(annotation: Any) -> View:  # noqa: PLR0911  # one line for each shape
    """Look one level deep into an annotation."""
    if get_origin(annotation) is Annotated:
        return _checked(annotation)
    bare = strip(annotation)
    if bare is not annotation and get_origin(bare) is Annotated:
        return view(bare)
    origin, args = get_origin(bare) or bare, get_args(bare)
    if is_union(bare):
        return Choice(args)
    if origin is Literal or (isinstance(origin, type) and (origin in SCALARS or issubclass(origin, enum.Enum))):
        return Leaf(bare)
    if origin is tuple and args and args[-1] is not ...:
        return Fixed(args)
    if identity(origin) in _ARRAYS:
        return Array(origin, _ARRAYS[origin], args[0] if args else Any)
    if identity(origin) in _TABLES:
        key, value = (*(args or (Any, Any)), int)[:2]  # a `Counter` has one parameter, or none
        return Table(key, int if origin is collections.Counter else value, _TABLES[origin])
    found = record(bare)
    return found if found is not None else _foreign(origin)


def _foreign(cls: Any) -> View:
    if cls in _FILES:  # nominal classes that no file object is an instance of
        return Foreign(cls, lambda value: hasattr(value, "read") or hasattr(value, "write"))
    if not isinstance(cls, type) or cls is object:
        return Anything()
    try:
        isinstance(None, cls)
    except TypeError:  # a protocol that is not `@runtime_checkable`
        return Anything()
    return Foreign(cls, lambda value: isinstance(value, cls))


def _checked(annotation: Any) -> View:
    inner, *metadata = get_args(annotation)
    metas: list[msgspec.Meta] = []
    tests: list[tuple[str, Callable[[Any], object]]] = []
    for entry in metadata:
        module = type(entry).__module__.partition(".")[0]
        for item in getattr(entry, "metadata", ()) if module == "pydantic" else (entry,):
            if isinstance(item, msgspec.Meta):
                metas.append(item)
            elif type(item).__module__.partition(".")[0] == "annotated_types":
                _constrain(item, metas, tests)
    native = not tests and all(any(meta is entry for entry in metadata) for meta in metas)
    return Checked(inner, tuple(metas), tuple(tests), native) if metas or tests else view(inner)


def _compare(compare: Callable[[Any, Any], object], bound: Any, value: Any) -> object:
    return compare(value, bound)


def _constrain(item: Any, metas: list[msgspec.Meta], tests: list[tuple[str, Callable[[Any], object]]]) -> None:
    """Say an `annotated_types` constraint, known by its attributes, in msgspec's terms, or as a test."""
    bounds = {name: getattr(item, name) for name in _BOUNDS if getattr(item, name, None) is not None}
    if bounds:
        try:
            metas.append(msgspec.Meta(**bounds))
        except (TypeError, ValueError):  # a bound that is no number, as a date
            for name, bound in bounds.items():
                tests.append((f"{name} {bound}", functools.partial(_compare, getattr(operator, name), bound)))
    elif callable(getattr(item, "func", None)):
        tests.append((getattr(item.func, "__name__", "predicate").strip("<>"), item.func))


def record(annotation: Any) -> Record | None:  # noqa: PLR0911  # one for each library
    """Read the fields of a record class.

    Args:
        annotation: the class, or a subscript of a generic one.

    Returns:
        The record, or None for anything else. A pydantic model is none: it converts itself.
    """
    cls = get_origin(annotation) or annotation
    if not isinstance(cls, type) or cls is types.UnionType or is_pydantic(cls):
        return None
    bound = dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation), strict=False))
    if issubclass(cls, msgspec.Struct):
        try:
            listed = msgspec.structs.fields(annotation)
        except Exception:  # noqa: BLE001  # it evaluates every annotation at once
            return Record(cls, "struct", (), native=False)
        return Record(
            cls, "struct", tuple(Field(item.encode_name, item.type, item.required, item.name) for item in listed)
        )
    if is_typed_dict(cls):
        return Record(dict, "typeddict", _typed_dict_fields(cls, bound))
    if issubclass(cls, tuple) and hasattr(cls, "_field_defaults"):
        known = hints(cls)
        fields = (Field(name, known.get(name, Any), name not in cls._field_defaults) for name in cls._fields)  # type: ignore[attr-defined]
        return Record(cls, "namedtuple", tuple(attrs.evolve(field, type=_apply(field.type, bound)) for field in fields))
    if attrs.has(cls):
        return _attrs_record(cls, bound)
    return _dataclass_record(cls, bound) if dataclasses.is_dataclass(cls) else None


def _apply(annotation: Any, bound: Mapping[Any, Any]) -> Any:
    """Replace the type variables of a generic class by what it is subscribed with."""
    if isinstance(annotation, TypeVar):
        return bound.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not (bound and parameters):
        return annotation
    return annotation[tuple(bound.get(parameter, parameter) for parameter in parameters)]


def _typed_dict_fields(cls: Any, bound: Mapping[Any, Any]) -> tuple[Field, ...]:
    fields = []
    for name, annotation in hints(cls).items():
        marker = getattr(get_origin(annotation), "_name", None)  # under string annotations `__required_keys__` is wrong
        required = marker == "Required" or (marker != "NotRequired" and name in cls.__required_keys__)
        fields.append(Field(name, _apply(strip(annotation) if marker else annotation, bound), required))
    return tuple(fields)


def _attrs_record(cls: Any, bound: Mapping[Any, Any]) -> Record:
    known, listed = hints(cls), attrs.fields(cls)
    fields = tuple(
        Field(
            field.alias or field.name,
            Any if field.converter else _apply(known.get(field.name, field.type or Any), bound),
            field.default is attrs.NOTHING,
            field.name,
        )
        for field in listed
        if field.init
    )
    # msgspec sets the attributes itself: it knows no converters, aliases, `init=False` or constructors written by hand.
    native = not hasattr(cls, "__attrs_init__") and all(
        field.init and not field.converter and field.alias in (None, field.name) for field in listed
    )
    return Record(cls, "attrs", fields, native)


def _dataclass_record(cls: Any, bound: Mapping[Any, Any]) -> Record:
    known = hints(cls)
    native, fields = cls.__dataclass_params__.init and not hasattr(cls, "__pydantic_validator__"), []
    # `dataclasses.fields` leaves out `InitVar`, which constructors take.
    for field in cls.__dataclass_fields__.values():
        annotation = known.get(field.name, Any)
        if get_origin(annotation) is ClassVar or annotation is ClassVar:
            continue
        if isinstance(annotation, dataclasses.InitVar):
            native, annotation = False, annotation.type
        if field.init:
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            fields.append(Field(field.name, _apply(annotation, bound), required))
        native = native and field.init
    return Record(cls, "dataclass", tuple(fields), native)
