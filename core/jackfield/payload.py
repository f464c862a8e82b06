"""Payloads: plain data → what a function's parameters want, compiled once for each function.

msgspec does the work wherever it can express the whole annotation. What it refuses is looked at again piece by piece,
along the shapes of `schema.view`: that takes in the types that msgspec does not know, accepts instances of subclasses
inside containers, and otherwise says exactly what is wrong, and where.
"""

import contextlib
import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Final, NotRequired, TypedDict, get_args, get_origin

import attrs
import msgspec

from jackfield.errors import PayloadError
from jackfield.model.spec import MISSING, FunctionSpec, Parameter
from jackfield.schema import (
    NUMBERS,
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
    is_pydantic,
    is_union,
    record,
    render,
    strip,
    view,
)

PAYLOAD_LIMIT: Final = 64 * 1024 * 1024
"""The longest `str`, `bytes` or `bytearray`, in characters or bytes, that a payload or a direct value of it may be."""

_SIZED: Final = (str, bytes, bytearray)
_NO_MAPPINGS: Final = SCALARS | {list, tuple, set, frozenset}  # an `isinstance` of an abstract class costs 300 ns
_SHOWN = 200  # characters of an expectation, a path or an author's message that an error repeats
_NESTED = 100  # levels beyond which a RecursionError is blamed on the payload
_WORDS: Final = {"null": "None", "object": "dict", "array": "list"}
_MESSAGE = re.compile(
    r"(?P<what>.*?)(?:, got `?(?P<got>[^`]*)`?)?(?: - at (?:`key` in )?`\$?(?P<path>.*)`)?", re.DOTALL
)


@attrs.frozen(eq=False)
class PayloadCodec:
    """How the payload of one function is taken in.

    Attributes:
        trusted: a payload of exactly this type needs no `convert`; None when there is no such type.
        convert: payload → the parameter's value (shape `one`), `(args, kwargs)` (`many`), None (`none`), the payload as
            it is (`opaque`); raises `PayloadError`. It never changes the payload.
    """

    trusted: type | None
    convert: Callable[[Any], Any]


class _Misfit(Exception):  # never leaves this module
    """What does not fit; the path grows on the way out, so that a fitting payload pays nothing for it."""

    def __init__(self, path: str, expected: str, got: str) -> None:
        self.path, self.expected, self.got = path, expected, got

    def error(self, function: str) -> PayloadError:
        return PayloadError(function, _short(f"${self.path}"), _short(self.expected), _short(self.got))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__


def compile_payload(spec: FunctionSpec) -> PayloadCodec:
    """Compile the way from a payload to the arguments of a function.

    A payload that is an instance of the parameter's class (subclasses too) is taken as it is; anything else is
    converted strictly: text becomes a `datetime`, a `UUID` or `bytes` (base64), an `int` a `float`, but "1" never 1.
    Unknown keys of attrs classes, dataclasses and `TypedDict`s are refused; a `msgspec.Struct` and a pydantic model
    decide for themselves. `None` for a parameter that has a default and takes no `None` means the default.

    Args:
        spec: the function's contract.

    Returns:
        The codec; nothing in it refers to the function itself.
    """
    name = spec.name
    match spec.shape:
        case "opaque":
            return PayloadCodec(None, lambda payload: payload)
        case "none":
            return PayloadCodec(type(None), lambda payload: _nothing(name, payload))
        case "one":
            return _one(name, spec.parameters[0])
        case "many":
            return _many(spec)


def annotation_note(annotation: Any) -> str | None:
    """Say what of an annotation cannot be checked in full, for `FunctionSpec.notes`; None when all of it can."""
    odd: list[str] = []
    seen, left = set(), [annotation]
    while left:
        annotation = left.pop()
        if _memo(annotation) in seen or strip(annotation) in (*SCALARS, Any, object):
            continue
        seen.add(_memo(annotation))
        shape = view(annotation)
        if isinstance(shape, Anything):
            odd.append(render(annotation))
        left.extend(_children(shape))
    return f"{', '.join(odd)} cannot be checked: any value is passed on" if odd else None


def _free(plan: "_Plan") -> bool:
    return strip(plan.annotation) in (Any, object)


def _nothing(function: str, payload: Any) -> None:
    if not (payload is None or (isinstance(payload, Mapping) and not payload)):
        raise PayloadError(function, "$", "no payload", _type_name(payload))


def _one(function: str, parameter: Parameter) -> PayloadCodec:
    plan = _Plan(parameter.annotation)
    take, default = plan.take, parameter.default
    bound = _bound(plan)

    def convert(payload: Any) -> Any:
        try:
            if bound is not None:
                bound(payload)
            return take(payload)
        except _Misfit as misfit:
            if payload is None and default is not MISSING:
                return default
            raise misfit.error(function) from misfit.__cause__
        except RecursionError:
            _blame_nesting(function, payload)
            raise

    return PayloadCodec(plan.trusted, convert)


def _many(spec: FunctionSpec) -> PayloadCodec:
    function, parameters = spec.name, spec.parameters
    named = [parameter for parameter in parameters if parameter.kind is not parameter.kind.VAR_KEYWORD]
    rest = next(
        (parameter.annotation for parameter in parameters if parameter.kind is parameter.kind.VAR_KEYWORD), None
    )
    positional = [parameter for parameter in named if parameter.kind is parameter.kind.POSITIONAL_ONLY]
    fields = tuple(Field(item.name, item.annotation, item.default is MISSING) for item in named)
    plan = _Plan(_typed_dict(function, fields), Record(dict, "parameters", fields, native=rest is None, rest=rest))
    take, bound = plan.take, _bound(plan)
    reserved = _reserved(spec) if rest is not None else frozenset()

    def convert(payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            mapping = payload if isinstance(payload, dict) else _as_mapping(payload, fields)
            if bound is not None:
                bound(mapping)
            if reserved:
                _refuse_reserved(mapping, reserved)
            kwargs = take(mapping)
        except _Misfit as misfit:
            raise misfit.error(function) from misfit.__cause__
        except RecursionError:
            _blame_nesting(function, payload)
            raise
        return (_positionals(positional, kwargs), kwargs) if positional else ((), kwargs)

    return PayloadCodec(None, convert)


def _refuse_reserved(mapping: Mapping[Any, Any], reserved: frozenset[str]) -> None:
    for key in mapping:
        if key in reserved:
            raise _Misfit("", "other keys", f"key {key!r}, which no caller may set")


def _positionals(parameters: list[Parameter], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Move the positional-only arguments out of `kwargs`, up to the last one given; gaps take their defaults."""
    given = [index for index, parameter in enumerate(parameters) if parameter.name in kwargs]
    return tuple(
        kwargs.pop(parameter.name, parameter.default) for parameter in parameters[: given[-1] + 1 if given else 0]
    )


def _reserved(spec: FunctionSpec) -> frozenset[str]:
    """Name the keys that `**kwargs` must not take: injected parameters, and what a partial or a method has bound."""
    taken = {dependency.parameter for dependency in spec.dependencies}
    target: Any = spec.target
    while hasattr(target, "func") and hasattr(target, "keywords"):
        taken |= set(target.keywords)
        target = target.func
    if isinstance(target, type) or not hasattr(target, "__code__"):
        target = getattr(target, "__call__", target)  # noqa: B004  # the function itself is wanted
    code = getattr(target, "__code__", None)
    if code is not None:
        taken |= set(code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount])
    return frozenset(taken - {parameter.name for parameter in spec.parameters})


def _as_mapping(payload: Any, fields: tuple[Field, ...]) -> Mapping[Any, Any]:
    """Read the record of several parameters from a mapping or an instance of a record class; None is the empty one."""
    if isinstance(payload, Mapping):
        return payload
    if payload is None:
        return {}
    if is_pydantic(type(payload)):
        return dict(payload)
    known = record(type(payload))
    if known is not None and known.kind != "typeddict":
        return {field.argument: getattr(payload, field.attribute) for field in known.fields}
    names = ", ".join(field.name for field in fields)
    raise _Misfit("", f"an object with the keys {names}", _type_name(payload))


def _typed_dict(name: str, fields: tuple[Field, ...]) -> Any:
    """Make the record of several parameters a type that msgspec converts in one go."""
    types = {field.name: Any if isinstance(view(field.type), Anything) else field.type for field in fields}
    keys = {field.name: types[field.name] if field.required else NotRequired[types[field.name]] for field in fields}
    make: Any = TypedDict  # type checkers know it only with literal keys
    return make(name, keys)


def _bound(plan: "_Plan") -> Callable[[Any], None] | None:
    """Compile the test against `PAYLOAD_LIMIT`: of the fields that could be long, or of whatever comes."""
    shape = plan.view
    if _short_by_type(plan.annotation):
        return None
    if not (isinstance(shape, Record) and shape.rest is None):
        return _bound_any
    names = tuple(field.name for field in shape.fields if not _short_by_type(field.type))

    def bound_fields(payload: Any) -> None:
        if isinstance(payload, dict) or _is_mapping(payload):
            get = payload.get
            for name in names:
                value = get(name)
                if isinstance(value, _SIZED) and len(value) > PAYLOAD_LIMIT:
                    raise _too_long(f".{name}", value)

    return bound_fields if names else None


def _short_by_type(annotation: Any) -> bool:
    """Tell that a type has no long values: numbers, and unions of them with None."""
    bare = strip(annotation)
    return bare in NUMBERS or (is_union(bare) and all(strip(one) in (*NUMBERS, type(None)) for one in get_args(bare)))


def _bound_any(payload: Any) -> None:
    if isinstance(payload, _SIZED):
        if len(payload) > PAYLOAD_LIMIT:
            raise _too_long("", payload)
    elif _is_mapping(payload):
        for key, value in payload.items():
            if isinstance(value, _SIZED) and len(value) > PAYLOAD_LIMIT:
                raise _too_long(_key_step(key), value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) or (type(value) not in _NO_MAPPINGS and isinstance(value, Mapping))


def _too_long(path: str, value: str | bytes | bytearray) -> _Misfit:
    limit = f"at most {PAYLOAD_LIMIT // 2**20} MiB (PAYLOAD_LIMIT)"
    return _Misfit(path, limit, f"a {type(value).__name__} of {len(value) / 2**20:.1f} MiB")


def _blame_nesting(function: str, payload: Any) -> None:
    """Raise a `PayloadError` if the payload is nested too deeply; else the stack was full before it came."""
    level = [payload]
    for _ in range(_NESTED):
        inner: dict[int, Any] = {}
        for value in level:
            children = (
                value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
            )
            inner.update((id(child), child) for child in children)
        level = list(inner.values())
    if level:
        raise PayloadError(
            function, "$", f"data nested at most {_NESTED} levels deep", "deeper or circular data"
        ) from None


def _key_step(key: object) -> str:
    return f".{key[:40]}" if isinstance(key, str) and key.isidentifier() else "[...]"


class _Plan:
    """How values of one annotation are taken in.

    `take` lets msgspec do it where it can express the whole annotation; `descend` does the same piece by piece.
    """

    take: Callable[[Any], Any]
    _hook: Callable[[Any, Any], Any] | None

    __slots__ = (
        "_box",
        "_closed_fields",
        "_exact",
        "_flat",
        "_hook",
        "annotation",
        "children",
        "closed",
        "descend",
        "instances",
        "take",
        "view",
    )

    def __init__(self, annotation: Any, shape: View | None = None, plans: "dict[Any, _Plan] | None" = None) -> None:
        book: dict[Any, _Plan] = {} if plans is None else plans
        self.annotation = annotation
        self.view = view(annotation) if shape is None else shape
        book[_memo(annotation)] = self  # before the children: types may be recursive
        self.children = tuple(book.get(_memo(child)) or _Plan(child, None, book) for child in _children(self.view))
        self.descend: Callable[[Any], Any] = getattr(self, f"_{type(self.view).__name__.lower()}")
        if plans is None:  # the root: all plans beneath it are there now
            for plan in book.values():
                plan.settle()

    def reach(self) -> "Iterator[_Plan]":
        """Give this plan and all beneath it, each once."""
        left: list[_Plan] = [self]
        seen = {id(self)}
        while left:
            plan = left.pop()
            yield plan
            fresh = [child for child in plan.children if id(child) not in seen]
            seen.update(map(id, fresh))
            left.extend(fresh)

    def closed_within(self) -> bool:
        """Tell whether unknown keys are refused anywhere inside."""
        return any(isinstance(plan.view, Record) and plan.view.closed for plan in self.reach())

    def settle(self) -> None:
        """Choose the quickest way to take values in that is right for the whole annotation."""
        self.instances = tuple(dict.fromkeys(self.classes()))
        self.closed, self._flat, self._hook, self._box = False, False, None, strip(self.annotation)
        if isinstance(self.view, Leaf) and _memo(self._box) in SCALARS:
            self.take = self._take_scalar
            return
        reached = list(self.reach())
        views = [plan.view for plan in reached]
        self.closed = self.closed_within()
        self._hook = _foreign_value if any(isinstance(shape, Foreign) for shape in views) else None
        self._exact = frozenset(child.annotation for child in self.children if _memo(child.annotation) in SCALARS)
        if isinstance(self.view, Record):
            pairs = zip(self.view.fields, self.children, strict=False)
            self._closed_fields = [(field.name, child) for field, child in pairs if child.closed_within()]
            self._flat = not self._closed_fields and self.view.type is dict
        native = all(getattr(shape, "native", True) for shape in views)
        if isinstance(self.view, Leaf) and _understood(self.annotation) is None:
            self.take = self.descend = self._take_one_of
        elif not native or isinstance(self.view, Anything | Foreign) or (box := _understood(self.annotation)) is None:
            self.take = self.descend
        elif isinstance(self.view, Record) and self.view.kind == "struct" and not self.closed and self._hook is None:
            self.take = self._take_struct
        else:
            self._box, self.take = box, self._take_native

    def classes(self) -> Iterator[type]:
        """Give the classes whose instances, of subclasses too, are taken as they are."""
        match self.view:
            case Record(type=cls, kind=kind) if kind not in {"typeddict", "parameters"}:
                yield cls
            case Leaf(type=cls) if isinstance(cls, type):
                yield cls
            case Foreign(type=cls) if isinstance(cls, type) and is_pydantic(cls):
                yield cls
            case Choice():
                for child in self.children:
                    if not isinstance(child.view, Leaf):  # `bool` is an `int`: scalars are told apart by the members
                        yield from child.classes()

    @property
    def kind(self) -> Any:
        """The class behind the annotation."""
        bare = strip(self.annotation)
        return get_origin(bare) or bare

    @property
    def trusted(self) -> type | None:
        """The class whose direct instances need no look at all."""
        match self.view:
            case Leaf(type=cls) | Foreign(type=cls) if isinstance(cls, type):
                found: type | None = None if cls in _SIZED else cls
            case Array(kind=kind, make=make) if kind is make and _free(self.children[0]):
                found = make
            case _:
                found = self.instances[0] if isinstance(self.view, Record) and self.instances else None
        return found

    def _take_native(self, value: Any) -> Any:
        if self.instances and isinstance(value, self.instances):
            return value
        try:
            if self._hook is None:
                taken = msgspec.convert((value,), self._box).it
            else:
                taken = msgspec.convert((value,), self._box, dec_hook=self._hook).it
        except (RecursionError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # payload classes run code of their own; what is wrong is found out below
            return self.descend(value)
        if self.closed and not (self._flat and len(taken) == len(value)):  # msgspec leaves unknown keys out
            self.strangers(value)
        return taken

    def _take_struct(self, value: Any) -> Any:
        """Do the same for the one kind of class that msgspec converts to without any detour."""
        if isinstance(value, self.instances):
            return value
        try:
            return msgspec.convert(value, self._box)
        except (RecursionError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # as above
            return self.descend(value)

    def strangers(self, value: Any) -> None:  # noqa: C901, PLR0912  # one case for each shape
        """Refuse unknown keys inside a value that msgspec has accepted, since it ignores them."""
        step: Any = ""  # where we are, for the error
        try:
            match self.view:
                case Record() if _is_mapping(value):
                    if self.view.closed and not self.view.names.issuperset(value):
                        raise _stranger(value, self.view.fields)
                    for name, child in self._closed_fields:
                        step = f".{name}"
                        if name in value:
                            child.strangers(value[name])
                case Array() if isinstance(value, list | tuple):
                    check = self.children[0].strangers
                    for step, item in enumerate(value):  # noqa: B007  # used if it fails
                        check(item)
                case Fixed() if isinstance(value, list | tuple):
                    for step, item in enumerate(value):
                        self.children[step].strangers(item)
                case Table() if _is_mapping(value):
                    step = "[...]"
                    for item in value.values():
                        self.children[1].strangers(item)
                case Choice() | Checked():
                    for child in self.children:
                        child.strangers(value)
                case _:
                    pass
        except _Misfit as misfit:
            misfit.path = f"[{step}]{misfit.path}" if isinstance(step, int) else step + misfit.path
            raise

    def _anything(self, value: Any) -> Any:
        return value

    def _take_scalar(self, value: Any) -> Any:
        """Take an instance as it is, but no `bool` for an `int`, no `datetime` for a `date`; else convert."""
        if isinstance(value, self.instances) and not (
            isinstance(value, bool | dt.datetime) and type(value) is not self._box
        ):
            return value
        return self._leaf(value)

    def _take_one_of(self, value: Any) -> Any:
        """Take one of the values of a literal or an enum that msgspec does not allow."""
        kind = strip(self.annotation)
        try:
            if isinstance(kind, type):
                return value if isinstance(value, kind) else kind(value)
            if any(value == one and type(value) is type(one) for one in get_args(kind)):
                return value
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # an enum may have a `_missing_` of its own
            raise _Misfit("", _members(kind), f"another {_type_name(value)}") from _own_code(error)
        raise _Misfit("", _members(kind), f"another {_type_name(value)}")

    def _leaf(self, value: Any) -> Any:
        try:
            if self._hook is None:
                return msgspec.convert(value, self.annotation)
            return msgspec.convert(value, self.annotation, dec_hook=self._hook)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a Struct and an enum run code of their own
            raise _told(self.annotation, value, error) from _own_code(error)

    def _foreign(self, value: Any) -> Any:
        try:
            return _foreign_value(self.annotation, value)
        except ValueError as error:
            raise _told(self.annotation, value, error) from _own_code(error)

    def _checked(self, value: Any) -> Any:
        shape: Any = self.view
        taken = self.children[0].take(value)
        for meta in shape.metas:
            _hold_to(meta, taken, shape.type)
        for name, test in shape.tests:
            try:
                passed = test(taken)
            except Exception as error:
                raise _told(self.annotation, taken, error) from error
            if not passed:
                raise _Misfit("", f"{render(shape.type)} that passes {name}", f"another {_type_name(taken)}")
        return taken

    def _array(self, value: Any) -> Any:
        shape: Any = self.view
        listed = isinstance(value, list | tuple | set | frozenset)
        if not listed and (isinstance(value, _SIZED) or not isinstance(value, shape.kind)):
            raise _Misfit("", render(self.annotation), _type_name(value))
        take = self.children[0].take
        items = [_under(f"[{index}]", take, item) for index, item in enumerate(value)]
        try:
            return items if shape.make is list else shape.make(items)
        except TypeError as error:
            raise _Misfit("", f"{render(self.annotation)} of hashable values", "an unhashable one") from error

    def _fixed(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Misfit("", render(self.annotation), _type_name(value))
        if len(value) != len(self.children):
            raise _Misfit("", f"{len(self.children)} values", f"{len(value)} values")
        pairs = enumerate(zip(self.children, value, strict=True))
        return tuple(_under(f"[{index}]", child.take, item) for index, (child, item) in pairs)

    def _table(self, value: Any) -> Any:
        if not _is_mapping(value):
            raise _Misfit("", render(self.annotation), _type_name(value))
        keys, values = self.children
        taken = {}
        for key, item in value.items():
            try:
                name = keys.take(key)
            except _Misfit as misfit:
                raise _Misfit("", f"keys of type {misfit.expected}", f"a key of type {misfit.got}") from None
            taken[name] = _under("[...]", values.take, item)  # the key may be personal data: it is not shown
        return taken

    def _choice(self, value: Any) -> Any:
        kind = type(value)
        if kind in self._exact:
            return value
        # A `datetime | str` leaves a text as it is; between classes and a `dict` their order decides.
        near = [] if kind is dict else [child for child in self.children if child.kind is kind]
        far = [child for child in self.children if child not in near]
        misfits = []
        for child in (*near, *far):
            try:
                return child.take(value)
            except _Misfit as misfit:
                misfits.append(misfit)
        inner = [misfit for misfit in misfits if misfit.path]
        told = inner or [misfit for misfit in misfits if misfit.got != kind.__name__]
        if len(told) == 1:  # one member has the right shape: what is wrong about it says more
            raise told[0]
        raise _Misfit("", render(self.annotation), _type_name(value))

    def _record(self, value: Any) -> Any:  # noqa: C901  # one case for each kind of record
        shape: Any = self.view
        if shape.kind == "struct":
            return self._leaf(value)
        if self.instances and isinstance(value, self.instances):
            return value
        keyed: Any = value
        if shape.kind == "namedtuple" and isinstance(value, list | tuple) and len(value) <= len(shape.fields):
            keyed = {field.name: item for field, item in zip(shape.fields, value, strict=False)}
        if not _is_mapping(keyed):
            raise _Misfit("", render(self.annotation), _type_name(value))
        taken = {}
        name = ""
        try:
            for field, child in zip(shape.fields, self.children, strict=False):
                name = field.name
                if name in keyed:
                    taken[name] = child.take(keyed[name])
                elif field.required:
                    raise _Misfit("", render(field.type), "missing")  # noqa: TRY301  # its path is added below
        except _Misfit as misfit:
            misfit.path = f".{name}{misfit.path}"
            raise
        if not shape.names.issuperset(keyed):
            if shape.rest is None:
                raise _stranger(keyed, shape.fields)
            taken |= self._rest(keyed, shape.names)
        return taken if shape.type is dict else self._made(shape.type, taken)

    def _rest(self, value: Mapping[Any, Any], names: frozenset[str]) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Misfit("", "keys of type str", f"a key of type {_type_name(key)}")
            if key not in names:
                rest[key] = _under(_key_step(key), self.children[-1].take, item)
        return rest

    def _made(self, cls: type, values: dict[str, Any]) -> Any:
        try:
            return cls(**values)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # the class's own validation
            raise _refused(cls, error, _without(values.values(), str(error))) from error


def _memo(annotation: Any) -> Any:
    try:
        hash(annotation)
    except TypeError:  # as with `Annotated[int, {}]`; the plan keeps the annotation, so that its id stays its own
        return id(annotation)
    return annotation


def _children(shape: View) -> tuple[Any, ...]:
    match shape:
        case Array(item=item):
            return (item,)
        case Fixed(items=items) | Choice(members=items):
            return items
        case Table(key=key, value=value):
            return key, value
        case Checked(type=inner):
            return (inner,)
        case Record(fields=fields, rest=rest):
            return (*(field.type for field in fields), *(() if rest is None else (rest,)))
        case _:
            return ()


def _understood(annotation: Any) -> Any:
    """Give a class that holds one value of this type, for msgspec to convert into; None if it cannot express the type.

    `msgspec.convert` works out anew on every call what a type means unless it is a Struct. Converting `(value,)` into a
    Struct of one field takes a ninth of the time for `dict[str, list[int] | None]`, and less for an attrs class too.
    """
    try:
        box = msgspec.defstruct("Box", [("it", annotation)], array_like=True)
        with contextlib.suppress(msgspec.ValidationError):  # of the missing value: the type is understood
            msgspec.convert((), box)
    except Exception:  # noqa: BLE001  # it evaluates annotations, and refuses with several types of error
        return None
    return box


def _under(step: str, take: Callable[[Any], Any], value: Any) -> Any:
    try:
        return take(value)
    except _Misfit as misfit:
        misfit.path = step + misfit.path
        raise


def _foreign_value(annotation: Any, value: Any) -> Any:
    """Take in a value of a class that msgspec does not know; also msgspec's `dec_hook`."""
    cls = get_origin(annotation) or annotation
    if is_pydantic(cls):
        return cls.model_validate(value)
    shape = view(annotation)
    if not isinstance(shape, Foreign) or shape.holds(value):
        return value
    if isinstance(value, str) and issubclass(cls, PurePath):
        return cls(value)
    raise _Misfit("", render(annotation), _type_name(value))


def _hold_to(meta: msgspec.Meta, value: Any, annotation: Any) -> None:
    """Check a converted value against a constraint that msgspec knows for values of its type."""
    plain = next(
        (kind for kind in (int, float, str, bytes, list, tuple, set, frozenset, dict) if type(value) is kind), None
    )
    if plain is None:
        return
    try:
        msgspec.convert(value, Annotated[plain, meta])
    except msgspec.ValidationError as error:
        raise _told(annotation, value, error) from None
    except TypeError:  # the constraint is for another member of a union
        return


def _stranger(value: Mapping[Any, Any], fields: tuple[Field, ...]) -> _Misfit:
    names = [field.name for field in fields]
    key = next(key for key in value if key not in names)
    if not isinstance(key, str):
        return _Misfit("", "keys of type str", f"a key of type {_type_name(key)}")
    close = difflib.get_close_matches(key[:_SHOWN], names, n=1)
    known = f"the keys {', '.join(names)}" if names else "no keys"
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return _Misfit("", known, f"unknown key {key[:40]!r}{hint}")


def _told(annotation: Any, value: Any, error: Exception) -> _Misfit:  # noqa: PLR0911  # one for each kind of message
    """Say in the user's words what msgspec, pydantic or a class's own check says of a value, and never the value."""
    if isinstance(error, _Misfit):
        return error
    if callable(getattr(error, "errors", None)) and is_pydantic(get_origin(annotation) or annotation):
        return _told_by_pydantic(error)
    found = _MESSAGE.fullmatch(str(error)) if type(error) is msgspec.ValidationError else None
    if found is None:
        return _refused(annotation, error, "")
    what, path = found["what"], found["path"] or ""
    kind = "value" if path else _type_name(value)
    if what.startswith("Expected "):
        expected = " | ".join(_WORDS.get(word, word) for word in what[9:].replace("`", "").split(" | "))
        got = found["got"]
        plain = re.fullmatch(r"Expected `[^`]*`", what) is not None and got is not None
        if not path:
            return _Misfit("", render(annotation) if plain else expected, kind if plain else f"another {kind}")
        return _Misfit(path, expected, _WORDS.get(got, got) if got else "another value")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return _Misfit(f"{path}.{missing[1]}", "a value", "missing")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return _Misfit(path, "no other keys", f"unknown key {unknown[1][:40]!r}")
    if what.startswith("Invalid ") and error.__cause__ is None:
        secret = what.startswith(("Invalid enum value", "Invalid value"))
        return _Misfit(
            path, _members(annotation), f"another {kind}" if secret else f"{kind}: {what[0].lower()}{what[1:]}"
        )
    values = value.values() if isinstance(value, Mapping) and not path else None
    return _refused(annotation, error.__cause__ or error, "" if values is None else _without(values, what), path)


def _without(values: Iterable[Any], text: str) -> str:
    """Cut the values out of what a class says of them: validators like to repeat what they refuse."""
    for value in values:
        try:
            shown = {str(value), repr(value)} - {""}
        except Exception:  # noqa: BLE001  # an endless int, an object whose repr fails: then all of the text may be the value
            return ""
        for part in sorted(shown, key=len, reverse=True):
            text = (
                re.sub(rf"(?<![\w.]){re.escape(part)}(?![\w.])", "…", text)
                if len(part) < _SHOWN
                else text.replace(part, "…")
            )
    return text


def _members(annotation: Any) -> str:
    cls = strip(annotation)
    if isinstance(cls, type) and issubclass(cls, Enum):
        return "one of " + ", ".join(repr(member.value) for member in cls)
    return render(annotation)


def _own_code(error: Exception) -> BaseException | None:
    """Give the exception of a payload class's own check, which its author will want to see; None for msgspec's own."""
    return error.__cause__ if isinstance(error, msgspec.ValidationError) else error


def _refused(annotation: Any, error: BaseException, text: str, path: str = "") -> _Misfit:
    said = f" with {type(error).__name__}" + (f": {text}" if text else "")
    return _Misfit(path, f"a valid {render(annotation)}", f"one that it refuses{said}")


def _told_by_pydantic(error: Any) -> _Misfit:
    first = error.errors(include_url=False, include_context=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    if first["type"] == "missing":
        return _Misfit(path, "a value", "missing")
    if first["type"] == "extra_forbidden":
        return _Misfit(path, "no other keys", "an unknown key")
    expected = _without([first["input"]], first["msg"]).removeprefix("Input should be ")
    return _Misfit(path, expected, _type_name(first["input"]))
