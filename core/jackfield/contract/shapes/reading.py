"""Annotations → their shapes, one level deep."""

import collections
import dataclasses
import enum
import inspect
import sys
import types
import typing
from collections import abc
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, get_args, get_origin

import attrs
import msgspec

from jackfield.contract.shapes.annotations import hints, identity, is_pydantic, is_typed_dict, render
from jackfield.contract.shapes.constraints import constraints
from jackfield.contract.shapes.kinds import (
    SCALARS,
    Anything,
    Array,
    Checked,
    Choice,
    Delegated,
    Field,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    View,
)
from jackfield.contract.shapes.layers import Layers, unwrap
from jackfield.model.generics import bindings_of, has_default, is_union, is_unpacked, lineage, packed, substitute
from jackfield.model.size import TooLarge
from jackfield.model.spec import MISSING, Parameter

_ARRAYS: Final[Mapping[Any, type]] = {
    **{kind: kind for kind in (list, set, frozenset, tuple, collections.deque)},
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Reversible), list),
    **dict.fromkeys((abc.Set, abc.MutableSet), set),
}
_TABLES: Final[Mapping[Any, type]] = {
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), dict),
    **{kind: kind for kind in (collections.defaultdict, collections.OrderedDict, collections.Counter)},
}
_FILES: Final = frozenset({typing.IO, typing.TextIO, typing.BinaryIO})
_PAIR: Final = 2  # arguments of `tuple[T, ...]`


def view(annotation: Any) -> View:
    """Look one level deep into an annotation, whatever it is.

    An annotation may be any object, and what looking at it runs may raise anything: it is not checked then, which the
    note of `Anything` says.
    """
    try:
        return _view(annotation)
    except Exception:  # noqa: BLE001  # metaclasses, tables of fields and aliases are a stranger's code
        return unchecked(annotation)


def unchecked(annotation: Any) -> Anything:
    """Give the shape of what cannot be checked."""
    return Anything(f"{render(annotation)} cannot be checked: any value is passed on")


def _view(annotation: Any) -> View:
    layers = unwrap(annotation)
    if layers.metadata:
        found = constraints(layers.bare, layers.metadata)
        unenforced = found.unenforced
        if found.foreign:
            delegated = _delegated(annotation)
            if delegated is not None:
                return delegated
            unenforced = (*unenforced, "what pydantic would make of it")
        if found.constraints or found.said or unenforced:
            note = f"{render(layers.bare)}: not enforced: {', '.join(unenforced)}" if unenforced else None
            return Checked(layers.bare, found.constraints, found.native, found.said, note)
    return _bare(layers.bare)


def _bare(bare: Any) -> View:  # noqa: PLR0911  # one line for each shape
    origin, args = get_origin(bare) or bare, get_args(bare)
    if bare is Any or bare is object or bare is inspect.Parameter.empty:
        return Anything()
    if is_union(bare):
        return Choice(args)
    if origin is Literal or (isinstance(origin, type) and (origin in SCALARS or issubclass(origin, enum.Enum))):
        return Leaf(bare)
    if origin is tuple and hasattr(bare, "__args__") and not (len(args) == _PAIR and args[1] is ...):
        return _tuple(args)
    if identity(origin) in _ARRAYS:
        return Array(origin, _ARRAYS[origin], args[0] if args else Any)
    if identity(origin) in _TABLES:
        key, value = (*(args or (Any, Any)), int)[:2]  # a `Counter` has one parameter, or none
        return Table(key, int if origin is collections.Counter else value, _TABLES[origin])
    found = record(bare)
    return found if found is not None else _foreign(origin, args)


def _tuple(args: tuple[Any, ...]) -> View:
    """Read the positions of a tuple; at most one of them may stand for any number of values."""
    flat: list[tuple[Any, bool]] = []
    for arg in args:
        inner = packed(arg) if is_unpacked(arg) else None
        if inner is None:
            flat.append((arg, False))
        elif get_origin(inner) is not tuple:  # a `TypeVarTuple` that stands for nothing in particular
            flat.append((Any, True))
        elif len(get_args(inner)) == _PAIR and get_args(inner)[1] is ...:
            flat.append((get_args(inner)[0], True))
        else:
            flat += [(one, False) for one in get_args(inner)]
    items = tuple(type(None) if item is None else item for item, _ in flat)
    many = [index for index, (_, repeated) in enumerate(flat) if repeated]
    if not many:
        return Fixed(items)
    index = many[0]
    if len(items) == 1:
        return Array(tuple, tuple, items[0])
    return Fixed(items[:index], items[index], items[index + 1 :])


def _foreign(cls: Any, args: tuple[Any, ...]) -> View:
    if cls in _FILES:  # nominal classes that no file object is an instance of
        return Foreign(cls, lambda value: hasattr(value, "read") or hasattr(value, "write"))
    if not isinstance(cls, type):
        return unchecked(cls)
    try:
        isinstance(None, cls)
    except Exception:  # noqa: BLE001  # a protocol that is not `@runtime_checkable`, or a metaclass of a stranger's
        return unchecked(cls)
    if is_pydantic(cls) and (missing := _undefined(cls)) is not None:
        return Foreign(cls, lambda value: isinstance(value, cls), missing)
    whole = all(arg is Any or arg is ... for arg in args)
    note = None if whole else f"{render(cls[args])}: only that it is one is checked"  # type: ignore[index]
    return Foreign(cls, lambda value: isinstance(value, cls), note)


def _undefined(model: Any) -> str | None:
    """Say that a pydantic model has fields that cannot be evaluated, not yet at least; None if it has not."""
    if model.__pydantic_complete__:
        return None
    try:
        model.model_rebuild(_types_namespace={})  # which looks in the model's own module, and not in this one
    except Exception as error:  # noqa: BLE001  # a name that is nowhere, or whatever a stranger's code raises
        name = getattr(error, "name", None)
        fix = f"define {name}" if isinstance(name, str) and name.isidentifier() else "define what they name"
        return f"the fields of {render(model)} cannot be evaluated: {fix}, or call {render(model)}.model_rebuild()"
    return None


def _delegated(annotation: Any) -> Delegated | None:
    """Have pydantic convert a type whose validators say how; None if it cannot."""
    try:
        adapter = sys.modules["pydantic"].TypeAdapter(annotation)
    except Exception:  # noqa: BLE001  # it refuses with several types of error
        return None
    return Delegated(annotation, adapter.validate_python, adapter.json_schema)


def record(annotation: Any) -> Record | None:
    """Read the fields of a record class.

    Args:
        annotation: the class, or a subscript of a generic one.

    Returns:
        The record, or None for anything else. A pydantic model is none: it converts itself.
    """
    cls = get_origin(annotation) or annotation
    if not isinstance(cls, type) or cls is types.UnionType or is_pydantic(cls):
        return None
    found = _record(cls, annotation)
    # msgspec knows no defaults of type variables.
    spoken = any(has_default(variable) for base in cls.__mro__ for variable in getattr(base, "__parameters__", ()))
    return attrs.evolve(found, native=False) if found is not None and spoken else found


def _record(cls: Any, annotation: Any) -> Record | None:
    if issubclass(cls, msgspec.Struct):
        return _struct_record(cls, annotation)
    if is_typed_dict(cls):
        return _typed_dict_record(cls, annotation)
    if issubclass(cls, tuple) and (defaults := getattr(cls, "_field_defaults", None)) is not None:
        known = hints(annotation)
        names = getattr(cls, "_fields", ())
        fields = (Field(name, known.get(name, Any), name not in defaults) for name in names)
        return Record(cls, "namedtuple", tuple(fields))
    if attrs.has(cls):
        return _attrs_record(cls, annotation)
    return _dataclass_record(cls, annotation) if dataclasses.is_dataclass(cls) else None


def parameters(listed: Iterable[Parameter]) -> Record:
    """Give the record that several parameters are: `**kwargs` takes further keys, or those of its `TypedDict`.

    Args:
        listed: what the payload fills, in order.
    """
    fields: dict[str, Field] = {}
    rest = None
    for item in listed:
        if item.kind is not item.kind.VAR_KEYWORD:
            fields[item.name] = Field(item.name, item.annotation, item.default is MISSING)
            continue
        keys = record(packed(item.annotation)) if is_unpacked(item.annotation) else None
        if keys is None:
            rest = item.annotation
        else:
            fields |= {field.name: field for field in keys.fields if field.name not in fields}
    return Record(dict, "parameters", tuple(fields.values()), native=rest is None, rest=rest)


def _struct_record(cls: Any, annotation: Any) -> Record:
    known = hints(annotation)
    if any(isinstance(hint, TooLarge) for hint in known.values()):  # msgspec would walk them
        return Record(cls, "struct", tuple(_struct_fields(cls, known)), native=False)
    try:
        listed = msgspec.structs.fields(annotation)
    except Exception:  # noqa: BLE001  # it evaluates every annotation at once
        return Record(cls, "struct", (), native=False, note=f"the fields of {render(annotation)} cannot be evaluated")
    bound = bindings_of(getattr(cls, "__parameters__", ()), get_args(annotation))
    fields = (Field(item.encode_name, substitute(item.type, bound), item.required, item.name) for item in listed)
    return Record(cls, "struct", tuple(fields))


def _struct_fields(cls: Any, known: Mapping[str, Any]) -> Iterator[Field]:
    """Read the fields of a Struct without msgspec; defaults are those of the last ones."""
    defaults = cls.__struct_defaults__
    given = (msgspec.NODEFAULT,) * (len(cls.__struct_fields__) - len(defaults)) + defaults
    for name, encoded, default in zip(cls.__struct_fields__, cls.__struct_encode_fields__, given, strict=True):
        yield Field(encoded, known.get(name, Any), default is msgspec.NODEFAULT, name)


def _typed_dict_record(cls: Any, annotation: Any) -> Record:
    fields = []
    for name, hint in hints(annotation).items():
        layers = unwrap(hint)  # under string annotations `__required_keys__` is wrong
        marked = layers.markers & {"Required", "NotRequired"}
        required = "Required" in marked if marked else name in cls.__required_keys__
        fields.append(Field(name, _unmarked(layers) if layers.markers else hint, required))
    # msgspec does not look at what the type variables of its bases stand for.
    return Record(dict, "typeddict", tuple(fields), native=not any(bound for _, bound in lineage(annotation)[:-1]))


def _unmarked(layers: Layers) -> Any:
    return Annotated[(layers.bare, *layers.metadata)] if layers.metadata else layers.bare


def _attrs_record(cls: Any, annotation: Any) -> Record:
    known, listed = hints(annotation), attrs.fields(cls)
    fields = tuple(
        Field(
            field.alias or field.name,
            Any if field.converter else known.get(field.name, field.type or Any),
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


def _dataclass_record(cls: Any, annotation: Any) -> Record:
    known = hints(annotation)
    native, fields = cls.__dataclass_params__.init and not hasattr(cls, "__pydantic_validator__"), []
    # `dataclasses.fields` leaves out `InitVar`, which constructors take.
    for field in cls.__dataclass_fields__.values():
        hint = known.get(field.name, Any)
        if get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        native = native and not isinstance(hint, dataclasses.InitVar)
        if field.init:
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            fields.append(Field(field.name, hint, required))
        native = native and field.init
    return Record(cls, "dataclass", tuple(fields), native)
