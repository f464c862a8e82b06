"""Types as data: what an annotation is made of, its name in the user's words, its JSON Schema.

`view` looks one level deep into an annotation and gives one of a few frozen shapes; conversion (`payload`), the
comparison of contracts (`contract`) and the JSON Schema below are readings of these shapes. Children stay annotations,
so that recursive types need no special care here.
"""

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import inspect
import operator
import re
import sys
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs
import msgspec

from jackfield.model.spec import MISSING, FunctionSpec

NUMBERS: Final = (int, float, bool)
SCALARS: Final = frozenset(
    {
        *NUMBERS,
        type(None),
        str,
        bytes,
        bytearray,
        memoryview,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        uuid.UUID,
        decimal.Decimal,
    }
)
_ARRAYS: Final[Mapping[Any, type]] = {
    **{kind: kind for kind in (list, set, frozenset, tuple)},
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection), list),
    **dict.fromkeys((abc.Set, abc.MutableSet), set),
}
_TABLES: Final = frozenset({dict, abc.Mapping, abc.MutableMapping})
_FILES: Final = frozenset({typing.IO, typing.TextIO, typing.BinaryIO})
_UNIONS: Final = (Union, types.UnionType)
_REF: Final = "#/$defs/{name}"
_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length")


@attrs.frozen
class Field:
    """One field of a record.

    Attributes:
        name: its key in plain data.
        type: its annotation.
        required: whether it must be there.
        attribute: what an instance calls it.
    """

    name: str
    type: Any = Any
    required: bool = True
    attribute: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))

    @property
    def argument(self) -> str:
        """The parameter it stands for when the record is passed to a function of several."""
        return self.attribute if self.attribute.lstrip("_") != self.name else self.name


@attrs.frozen
class Anything:
    """An annotation that cannot be checked, or that needs no check."""


@attrs.frozen
class Leaf:
    """A scalar, an enum or a literal: `type` is what to tell msgspec."""

    type: Any


@attrs.frozen
class Foreign:
    """A class that msgspec does not know: `holds` tells its instances."""

    type: Any
    holds: Callable[[Any], bool]


@attrs.frozen
class Array:
    """A sequence or a set of `item`, made by `make`; `kind` is the class as annotated."""

    kind: Any
    make: type
    item: Any


@attrs.frozen
class Fixed:
    """A tuple with one type for each position."""

    items: tuple[Any, ...]


@attrs.frozen
class Table:
    """A mapping; converted to a `dict`."""

    key: Any
    value: Any


@attrs.frozen
class Choice:
    """A union."""

    members: tuple[Any, ...]


@attrs.frozen
class Checked:
    """`type` with constraints: `metas` are msgspec's, `tests` are predicates with their names."""

    type: Any
    metas: tuple[msgspec.Meta, ...]
    tests: tuple[tuple[str, Callable[[Any], object]], ...]
    native: bool


@attrs.frozen
class Record:
    """A class with named fields, or a record of several parameters.

    Attributes:
        type: the class, or `dict` for a `TypedDict` and for a record of parameters.
        kind: which library's.
        fields: in the order of the constructor.
        native: whether msgspec builds it just as its constructor would.
        rest: the type of further keys, or None when there must be none.
    """

    type: type
    kind: Literal["attrs", "dataclass", "typeddict", "namedtuple", "struct", "parameters"]
    fields: tuple[Field, ...]
    native: bool = True
    rest: Any = None
    names: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: frozenset(field.name for field in self.fields), takes_self=True),
    )

    @property
    def closed(self) -> bool:
        """Whether unknown keys are refused by us; a `msgspec.Struct` has a setting of its own."""
        return self.kind != "struct" and self.rest is None


View: TypeAlias = Anything | Leaf | Foreign | Array | Fixed | Table | Choice | Checked | Record


def own_annotations(owner: Any) -> Mapping[str, Any]:
    """Give the annotations that a function or class itself declares, evaluating nothing that could fail."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415  # from Python 3.14 on

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


class _Carrier:
    """Something with one annotation, since `typing.get_type_hints` evaluates all of an object's annotations or none."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def evaluate(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Evaluate one annotation, strings inside it included, and keep `Annotated`.

    Args:
        annotation: as written.
        names: what the names in it may mean.

    Raises:
        Exception: whatever evaluating it raises: an annotation in a string is arbitrary code.

    Examples:
        >>> evaluate("list['int'] | None", {})
        list[int] | None
    """
    return typing.get_type_hints(_Carrier(annotation), dict(names), {}, include_extras=True)["it"]


def class_names(cls: type) -> dict[str, Any]:
    """Give what the names in a class's annotations may mean: its own scope, beneath its module's."""
    module = getattr(sys.modules.get(cls.__module__), "__dict__", {})
    parameters = {parameter.__name__: parameter for parameter in getattr(cls, "__type_params__", ())}
    return {**vars(cls), cls.__name__: cls, **parameters, **module}


def hints(cls: type) -> dict[str, Any]:
    """Evaluate the annotations of a class and its bases one by one; what cannot be evaluated is `Any`."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, annotation in own_annotations(base).items():
            try:
                found[name] = evaluate(annotation, class_names(base))
            except Exception:  # noqa: BLE001  # an annotation is arbitrary code
                found[name] = Any
    return found


def strip(annotation: Any) -> Any:
    """Take off what does not change the values: `Annotated`, `NewType`, aliases, `Final`, `Required` and the like."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated or getattr(origin, "_name", None) in {"Final", "Required", "NotRequired", "ReadOnly"}:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif type(origin).__name__ == "TypeAliasType":
            annotation = origin.__value__[get_args(annotation)]
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ or (
                functools.reduce(operator.or_, annotation.__constraints__) if annotation.__constraints__ else Any
            )
        else:
            return type(None) if annotation is None else annotation


def is_union(annotation: Any) -> bool:
    """Tell whether an annotation is a union, in either notation."""
    return get_origin(annotation) in _UNIONS


def is_pydantic(cls: Any) -> bool:
    """Tell whether a class is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def is_typed_dict(cls: Any) -> bool:
    """Tell whether a class is a `TypedDict`, of `typing` or of `typing_extensions`."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def view(annotation: Any) -> View:  # noqa: PLR0911  # one line for each shape
    """Look one level deep into an annotation."""
    if get_origin(annotation) is Annotated:
        return _checked(annotation)
    bare = strip(annotation)
    if bare is not annotation and get_origin(bare) is Annotated:
        return view(bare)
    origin, args = get_origin(bare) or bare, get_args(bare)
    if origin in _UNIONS:
        return Choice(args)
    if origin is Literal or (isinstance(origin, type) and (origin in SCALARS or issubclass(origin, enum.Enum))):
        return Leaf(bare)
    if origin is tuple and args and args[-1] is not ...:
        return Fixed(args)
    if _hashable(origin) and origin in _ARRAYS:
        return Array(origin, _ARRAYS[origin], args[0] if args else Any)
    if _hashable(origin) and origin in _TABLES:
        return Table(*(args or (Any, Any)))
    found = record(bare)
    return found if found is not None else _foreign(origin)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


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
    if not bound or isinstance(annotation, TypeVar):
        return bound.get(annotation, annotation) if bound else annotation
    parameters = getattr(annotation, "__parameters__", ())
    return annotation[tuple(bound.get(parameter, parameter) for parameter in parameters)] if parameters else annotation


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
    for (
        field
    ) in cls.__dataclass_fields__.values():  # `dataclasses.fields` leaves out `InitVar`, which constructors take
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


def render(annotation: Any) -> str:  # noqa: PLR0911  # one for each kind of type
    """Name a type as its user would write it.

    Examples:
        >>> render(dict[str, int | None])
        'dict[str, int | None]'
    """
    bare = strip(annotation)
    origin, args = get_origin(bare), get_args(bare)
    if bare in (Any, inspect.Parameter.empty):
        return "anything"
    if bare is type(None):
        return "None"
    if is_union(bare):
        return " | ".join(map(render, args))
    if origin is Literal:
        return " | ".join(map(repr, args))
    if bare is ...:
        return "..."
    if isinstance(bare, list):  # the parameters of a `Callable`
        return f"[{', '.join(map(render, bare))}]"
    if isinstance(origin or bare, type):
        name = (origin or bare).__qualname__.rpartition("<locals>.")[2]
    else:
        name = str(origin or bare).removeprefix("typing.")
    return f"{name}[{', '.join(map(render, args))}]" if args else name


def payload_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function takes, as JSON Schema 2020-12.

    Args:
        spec: the function's contract.

    Returns:
        The schema; for several parameters that of an object. What JSON cannot say is `{}` with a description.

    Examples:
        >>> from jackfield.contract import specify
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> payload_schema(specify("shape.area", area))["required"]
        ['width']
    """
    writer = _Writer()
    match spec.shape:
        case "one":
            return writer.document(writer.of(spec.parameters[0].annotation))
        case "none":
            return writer.document({"type": ["null", "object"], "maxProperties": 0})
        case "opaque":
            return writer.document({"description": "passed on unchecked"})
    named = [item for item in spec.parameters if item.kind is not item.kind.VAR_KEYWORD]
    rest = next((item.annotation for item in spec.parameters if item.kind is item.kind.VAR_KEYWORD), None)
    body = writer.object(tuple(Field(item.name, item.annotation, item.default is MISSING) for item in named), rest)
    for item in named:
        if item.default is not MISSING:
            with contextlib.suppress(Exception):  # a default that is no plain data is not shown
                body["properties"][item.name]["default"] = msgspec.to_builtins(item.default)
    return writer.document(body)


def result_schema(spec: FunctionSpec) -> dict[str, Any]:
    """Describe what a function gives, as JSON Schema 2020-12.

    Args:
        spec: the function's contract.

    Returns:
        The schema; `{}` with a description where JSON cannot say it.
    """
    writer = _Writer()
    return writer.document(writer.of(spec.result))


class _Writer:
    """Writes one schema; records become definitions, so that types may be recursive."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.names: dict[str, Any] = {}

    def document(self, body: dict[str, Any]) -> dict[str, Any]:
        definitions = {"$defs": self.definitions} if self.definitions else {}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, **definitions}

    def of(self, annotation: Any) -> dict[str, Any]:  # noqa: PLR0911  # one for each shape
        match view(annotation):
            case Leaf(type=kind):
                return self.leaf(kind)
            case Foreign(type=cls):
                return self.foreign(cls)
            case Array(make=make, item=item):
                unique = {"uniqueItems": True} if make in {set, frozenset} else {}
                return {"type": "array", "items": self.of(item), **unique}
            case Fixed(items=items):
                return self.row([self.of(item) for item in items], len(items))
            case Table(value=value):
                return {"type": "object", "additionalProperties": self.of(value)}
            case Choice(members=members):
                return {"anyOf": [self.of(member) for member in members]}
            case Checked() as checked:
                return self.checked(checked)
            case Record() as found:
                return self.defined(annotation, found)
            case _:
                bare = strip(annotation)
                return {} if bare in (Any, object) else {"description": f"{render(bare)}, which cannot be checked"}

    def leaf(self, kind: Any) -> dict[str, Any]:
        try:
            (body,), components = msgspec.json.schema_components([kind], schema_hook=self.foreign, ref_template=_REF)
        except Exception:  # noqa: BLE001  # msgspec evaluates annotations, and refuses with several types of error
            members: Any = kind if isinstance(kind, enum.EnumMeta) else ()
            values = [member.value for member in members] or list(get_args(kind))
            return {"enum": values} if values else {"description": render(kind)}
        self.definitions |= components
        return body

    def foreign(self, cls: Any) -> dict[str, Any]:
        if is_pydantic(cls):
            body: dict[str, Any] = cls.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
            self.definitions |= body.pop("$defs", {})
            return body
        if isinstance(cls, type) and issubclass(cls, PurePath):
            return {"type": "string", "format": "path"}
        return {"description": f"an instance of {render(cls)}"}

    def checked(self, checked: Checked) -> dict[str, Any]:
        bounds: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # constraints of a union, or of a class that msgspec does not know
            inner = view(checked.type)
            kind: Any = list if isinstance(inner, Array) else dict if isinstance(inner, Table) else checked.type
            for meta in checked.metas:
                kind = Annotated[kind, meta]
            bounds = msgspec.json.schema(kind)
        said = {"description": ", ".join(f"passes {name}" for name, _ in checked.tests)} if checked.tests else {}
        return {**bounds, **self.of(checked.type), **said}

    def object(self, fields: tuple[Field, ...], rest: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {field.name: self.of(field.type) for field in fields},
            "required": [field.name for field in fields if field.required],
            "additionalProperties": False if rest is None else self.of(rest),
        }

    def row(self, items: list[dict[str, Any]], required: int) -> dict[str, Any]:
        return {"type": "array", "prefixItems": items, "items": False, "minItems": required, "maxItems": len(items)}

    def defined(self, annotation: Any, found: Record) -> dict[str, Any]:
        if found.kind == "struct":
            return self.leaf(strip(annotation))
        name = wanted = re.sub(r"\W+", "_", render(annotation)).strip("_")
        while self.names.get(name, annotation) != annotation:  # another class of that name
            name = f"{wanted}_{len(self.names)}"
        if name not in self.names:
            self.names[name] = annotation  # before its fields, which may refer to it
            if found.kind == "namedtuple":
                items = [self.of(field.type) for field in found.fields]
                self.definitions[name] = self.row(items, sum(field.required for field in found.fields))
            else:
                self.definitions[name] = {"title": wanted, **self.object(found.fields, found.rest)}
        return {"$ref": _REF.format(name=name)}
