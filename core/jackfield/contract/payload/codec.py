"""The payload of a call → the arguments of its function, compiled once for each function."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NotRequired, TypedDict
from weakref import WeakKeyDictionary

import attrs

from jackfield.contract.payload.conversion import compile_plan
from jackfield.contract.payload.limits import blame_nesting, is_mapping, size_check
from jackfield.contract.payload.misfit import Misfit, type_name
from jackfield.contract.payload.nodes import Plan
from jackfield.contract.shapes import (
    Anything,
    Checked,
    Choice,
    Delegated,
    Field,
    Foreign,
    Record,
    Table,
    is_pydantic,
    parameters,
    record,
    render,
    view,
)
from jackfield.errors import ContractError, Fault, PayloadError
from jackfield.model.spec import MISSING, FunctionSpec, Parameter
from jackfield.strangers import Broken, barrier, is_a, layers


@attrs.frozen(eq=False)
class PayloadCodec:
    """How the payload of one function is taken in.

    Attributes:
        trusted: a payload of exactly this type needs no `convert`; None when there is no such type.
        convert: payload → the parameter's value (shape `one`), `(args, kwargs)` (`many`), None (`none`), the payload as
            it is (`opaque`); raises `PayloadError`. It never changes the payload.
        plan: what `convert` was compiled from; kept so that other functions of the same class can share it.
    """

    trusted: type | None
    convert: Callable[[Any], Any]
    plan: Plan | None = attrs.field(default=None, repr=False)


# A codec depends on the spec alone and is two thirds of what an endpoint costs; a rollback wires the same specs again.
_codecs: Final["WeakKeyDictionary[FunctionSpec, PayloadCodec]"] = WeakKeyDictionary()


def codec_of(spec: FunctionSpec) -> PayloadCodec:
    """Give the codec of a function's payload; compiled when the function is loaded, which is when it can be refused.

    Args:
        spec: the function.

    Raises:
        ContractError: if its annotations raise what annotations should not.
    """
    codec = _codecs.get(spec)
    if codec is None:
        try:
            with barrier("compiling its payload"):
                codec = compile_payload(spec)
        except Broken as broken:
            fix = "annotate its parameters with plain types, or with none"
            fault = Fault("contract", spec.plugin, spec.key, broken.reason, fix)
            raise ContractError(spec.name, (fault,)) from broken
        codec = _codecs.setdefault(spec, codec)
    return codec


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


def _nothing(function: str, payload: Any) -> None:
    if not (payload is None or (isinstance(payload, Mapping) and not payload)):
        raise PayloadError(function, "$", "no payload", type_name(payload))


def _one(function: str, parameter: Parameter) -> PayloadCodec:
    plan = compile_plan(parameter.annotation, drawn=_drawn([parameter]))
    take, default = plan.take, parameter.default
    check = size_check(plan.annotation, plan.view)

    def convert(payload: Any) -> Any:
        try:
            if check is not None:
                check(payload)
            return take(payload)
        except Misfit as misfit:
            if payload is None and default is not MISSING:
                return default
            told = _wrapped(parameter.name, plan, payload) or misfit
            raise told.error(function) from misfit.__cause__
        except RecursionError:
            blame_nesting(function, payload)
            raise

    return PayloadCodec(plan.trusted, convert, plan)


def _wrapped(name: str, plan: Plan, payload: Any) -> Misfit | None:
    """Tell the record of one parameter, which is how functions of several are called."""
    if not (is_mapping(payload) and len(payload) == 1 and name in payload) or isinstance(plan.view, Anything):
        return None
    if _may_have(plan, name) and not _is_taken(plan, payload[name]):  # it is about what is inside, then
        return None
    return Misfit("", render(plan.annotation), f"{type_name(payload)} with the key {name!r}: pass the value itself")


def _may_have(plan: Plan, key: str) -> bool:
    """Tell whether some value of a type is an object with that key."""
    match plan.view:
        case Record() as shape:
            return key in shape.names
        case Choice() | Checked():
            return any(_may_have(child, key) for child in plan.children)
        case Foreign(type=cls):
            return is_pydantic(cls)
        case shape:
            return isinstance(shape, Table | Delegated)


def _is_taken(plan: Plan, value: Any) -> bool:
    try:
        plan.take(value)
    except (Misfit, RecursionError):
        return False
    return True


def _many(spec: FunctionSpec) -> PayloadCodec:
    function, shape = spec.name, parameters(spec.parameters)
    fields = shape.fields
    positional = [parameter for parameter in spec.parameters if parameter.kind is parameter.kind.POSITIONAL_ONLY]
    record_type = _typed_dict(function, fields)
    if record_type is None:
        record_type, shape = dict, attrs.evolve(shape, native=False)
    plan = compile_plan(record_type, shape, _drawn(spec.parameters))
    take, check = plan.take, size_check(plan.annotation, plan.view)
    reserved = _reserved(spec) if shape.rest is not None else frozenset()

    def convert(payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            mapping = payload if isinstance(payload, dict) else _as_mapping(payload, fields)
            if check is not None:
                check(mapping)
            if reserved:
                _refuse_reserved(mapping, reserved)
            kwargs = take(mapping)
        except Misfit as misfit:
            raise misfit.error(function) from misfit.__cause__
        except RecursionError:
            blame_nesting(function, payload)
            raise
        return (_positionals(positional, kwargs), kwargs) if positional else ((), kwargs)

    return PayloadCodec(None, convert)


def _drawn(parameters: Iterable[Parameter]) -> list[Plan]:
    """Give the plans that were drawn when the contract was read."""
    return [parameter.plan for parameter in parameters if parameter.plan is not None]


def _refuse_reserved(mapping: Mapping[Any, Any], reserved: frozenset[str]) -> None:
    for key in mapping:
        if key in reserved:
            raise Misfit("", "other keys", f"key {key!r}, which no caller may set")


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
    for target in layers(spec.target, wrapped=False):
        if isinstance(target, functools.partial):
            taken |= set(target.keywords)
    if is_a(target, type) or not hasattr(target, "__code__"):
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
    raise Misfit("", f"an object with the keys {names}", type_name(payload))


def _typed_dict(name: str, fields: tuple[Field, ...]) -> Any:
    """Make the record of several parameters a type that msgspec converts in one go; None if one is too odd for that."""
    types = {field.name: Any if isinstance(view(field.type), Anything) else field.type for field in fields}
    make: Any = TypedDict  # type checkers know it only with literal keys
    try:
        return make(
            name, {item.name: types[item.name] if item.required else NotRequired[types[item.name]] for item in fields}
        )
    except TypeError:
        return None
