"""How two contracts differ: a function's from what a caller expects, and one version's from another's."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from jackfield.contract.payload import payload_schema, result_schema, type_schema
from jackfield.contract.schemas import altered, misfits
from jackfield.contract.shapes import (
    Array,
    Field,
    Table,
    children,
    is_pydantic,
    is_typed_dict,
    parameters,
    record,
    render,
    strip,
    view,
)
from jackfield.model.generics import is_union
from jackfield.model.spec import MISSING, FunctionSpec, RemoteContract


def fits(spec: FunctionSpec, payload: Any, result: Any) -> tuple[str, ...]:
    """Say how a function differs from what a caller expects of it.

    The function must take what the caller passes, as plain data too (a `dict` for a record, a `list` for a `tuple`),
    and give something that is what the caller expects. What cannot be told from the annotations is taken to fit.

    Args:
        spec: the function.
        payload: what the caller passes; for a function of several parameters a mapping type or a record class.
        result: what the caller expects back.

    Returns:
        The differences in words; empty if it fits.

    Examples:
        >>> from jackfield.contract import specify
        >>> def length(text: str) -> int: ...
        >>> fits(specify("text.length", length), str, int)
        ()
        >>> fits(specify("text.length", length), bytes, str)
        ('payload: expected to pass bytes, the function takes str', 'result: expected str, the function returns int')
    """
    if spec.remote is not None:
        return tuple(_remote_differences(spec, spec.remote, strip(payload), result))
    differences = list(_payload_differences(spec, strip(payload)))
    if not _accepts(result, spec.result, converted=False):
        differences.append(f"result: expected {render(result)}, the function returns {render(spec.result)}")
    return tuple(differences)


def _remote_differences(spec: FunctionSpec, remote: RemoteContract, payload: Any, result: Any) -> Iterator[str]:
    """Hold types of this process against the schemas of a function of another one."""
    if payload is not Any and spec.shape != "opaque":
        for text in misfits(remote.payload, type_schema(payload)):
            takes = ", ".join(remote.parameters) or "none"
            yield f"payload: expected to pass {render(payload)}, the function takes {takes} ({text})"
    if result is not Any and result is not object:
        for text in misfits(type_schema(result), remote.result):
            yield f"result: expected {render(result)}, the function returns {remote.returns} ({text})"


def _payload_differences(spec: FunctionSpec, payload: Any) -> Iterable[str]:
    if payload is Any or spec.shape == "opaque":
        return
    if spec.shape == "one":
        wanted = spec.parameters[0].annotation
        if not _accepts(wanted, payload, converted=True):
            yield f"payload: expected to pass {render(payload)}, the function takes {render(wanted)}"
        return
    if spec.shape == "none":
        if payload is not type(None):
            yield f"payload: expected to pass {render(payload)}, the function takes none"
        return
    yield from _many_differences(spec, payload)


def _many_differences(spec: FunctionSpec, payload: Any) -> Iterable[str]:  # noqa: C901  # a list of rules
    """Hold the fields of a record, or the values of a mapping, against several parameters."""
    known = parameters(spec.parameters)
    taken = {item.name: item for item in known.fields}
    required = [item for item in known.fields if item.required]
    shape = view(payload)
    if isinstance(shape, Table):
        for item in required:
            if not _accepts(item.type, shape.value, converted=True):
                yield _field_difference(item.name, shape.value, item.type)
        return
    if payload is type(None) and not required:
        return
    fields = _record_fields(payload)
    if fields is None:
        yield f"payload: expected to pass {render(payload)}, the function takes a record of {', '.join(taken)}"
        return
    for item in required:
        if item.name not in fields or not fields[item.name].required:
            yield f"payload: {render(payload)} need not have {item.name!r}, which the function requires"
    for name, field in fields.items():
        wanted = taken[name].type if name in taken else known.rest
        if wanted is None:
            yield f"payload: the function has no parameter {name!r}, a field of {render(payload)}"
        elif not _accepts(wanted, field.type, converted=True):
            yield _field_difference(name, field.type, wanted)


def _field_difference(name: str, passed: Any, wanted: Any) -> str:
    return f"payload: {name!r}: expected to pass {render(passed)}, the function takes {render(wanted)}"


def _record_fields(payload: Any) -> Mapping[str, Field] | None:
    """Give the fields of a record class by the parameter they stand for; all are there once there is an instance."""
    cls = get_origin(payload) or payload
    if is_pydantic(cls):
        return {name: Field(name, info.annotation) for name, info in cls.model_fields.items()}
    found = record(payload)
    if found is None:
        return None
    if found.kind == "typeddict":
        return {field.name: field for field in found.fields}
    return {field.argument: Field(field.name, field.type) for field in found.fields}


def _accepts(wanted: Any, given: Any, *, converted: bool) -> bool:
    """Tell whether a value of one type will do where another is wanted; `converted`: after conversion of plain data.

    What cannot be told does: of two types that are recursive in different ways, or of classes with odd metaclasses.
    """
    try:
        return _fit(wanted, given, converted=converted)
    except Exception:  # noqa: BLE001  # comparing annotations runs a stranger's code
        return True


def _fit(wanted: Any, given: Any, *, converted: bool) -> bool:  # noqa: C901, PLR0911, PLR0912  # a list of rules
    wanted, given = strip(wanted), strip(given)
    if wanted is Any or wanted is object or given is Any or wanted == given:
        return True
    if is_union(given):
        return all(_accepts(wanted, member, converted=converted) for member in get_args(given))
    if is_union(wanted):
        return any(_accepts(member, given, converted=converted) for member in get_args(wanted))
    if get_origin(given) is Literal:
        if get_origin(wanted) is Literal:
            return {(type(value), value) for value in get_args(given)} <= {
                (type(value), value) for value in get_args(wanted)
            }
        return all(_accepts(wanted, type(value), converted=converted) for value in get_args(given))
    if get_origin(wanted) is Literal:
        return False
    kind, other = get_origin(wanted) or wanted, get_origin(given) or given
    if not (isinstance(kind, type) and isinstance(other, type)):
        return True  # a forward reference and the like
    if (kind, other) in {(float, int), (complex, int), (complex, float)}:
        return True
    if converted:
        if other is bool and kind in {int, float}:
            return False
        listed, passed = view(wanted), view(given)
        if isinstance(listed, Array) and isinstance(passed, Array):
            return _accepts(listed.item, passed.item, converted=True)
        if isinstance(listed, Table) and isinstance(passed, Table):
            return all(_accepts(*pair, converted=True) for pair in zip(children(listed), children(passed), strict=True))
        known = record(wanted)
        if known is not None and known.kind != "typeddict" and isinstance(passed, Table):
            return True
        if known is not None and is_typed_dict(other):
            return _covers(known.fields, given)
    if is_typed_dict(kind):
        whole = record(wanted)
        if whole is not None and is_typed_dict(other):
            return _covers(whole.fields, given)
        return converted and isinstance(view(given), Table)
    try:
        if not issubclass(dict if is_typed_dict(other) else other, kind):
            return False
    except TypeError:  # a protocol that is not `@runtime_checkable`
        return True
    return _arguments_fit(kind, get_args(wanted), other, get_args(given), converted)


def _covers(wanted: Iterable[Field], given: Any) -> bool:
    passed = _record_fields(given) or {}
    return all(
        (not field.required or (field.name in passed and passed[field.name].required))
        and (field.name not in passed or _accepts(field.type, passed[field.name].type, converted=True))
        for field in wanted
    )


def _arguments_fit(kind: type, wanted: tuple[Any, ...], other: type, given: tuple[Any, ...], converted: bool) -> bool:
    if not wanted or not given:
        return True  # `list` says nothing of its items
    if issubclass(other, tuple) and other is tuple:
        items = given[:1] if given[-1] is ... else given
        if kind is not tuple or wanted[-1] is ...:
            return all(_accepts(wanted[0], item, converted=converted) for item in items)
        if given[-1] is ...:
            return False
    elif kind is tuple:
        return True
    if (
        isinstance(wanted[0], list) or isinstance(given[0], list) or wanted[0] is ...
    ):  # a `Callable`: its result decides
        return _accepts(wanted[-1], given[-1], converted=False)
    return len(wanted) == len(given) and all(
        _accepts(one, another, converted=converted) for one, another in zip(wanted, given, strict=True)
    )


def changes(old: FunctionSpec, new: FunctionSpec) -> tuple[str, ...]:
    """Say how the contract of one version of a function differs from another's.

    Args:
        old: the version that is there.
        new: the version that joins it.

    Returns:
        The differences in words; empty if callers see none.

    Examples:
        >>> from jackfield.contract import specify
        >>> def one(text: str) -> str: ...
        >>> def two(text: str, lower: bool) -> str: ...
        >>> changes(specify("f", one), specify("f", two))
        ('payload: one value (text: str) became a record of text, lower',)
    """
    if old.remote is not None or new.remote is not None:
        return tuple(_schema_changes(old, new))
    said: list[str] = []
    if old.shape == new.shape == "one":
        said += _type_changes("payload", old.parameters[0].annotation, new.parameters[0].annotation)
    elif old.shape != new.shape:
        said.append(f"payload: {_payload_words(old)} became {_payload_words(new)}")
    else:
        said += _field_changes("parameter", _as_fields(old), _as_fields(new))
    said += _type_changes("result", old.result, new.result)
    if old.colour is not new.colour:
        said.append(f"colour: {old.colour.value} became {new.colour.value}")
    return tuple(said)


def _schema_changes(old: FunctionSpec, new: FunctionSpec) -> Iterator[str]:
    """Compare by schema, since the types of one of them are in another process."""
    if old.shape != new.shape:
        yield f"payload: {_payload_words(old)} became {_payload_words(new)}"
    else:
        yield from altered("payload", payload_schema(old), payload_schema(new))
    yield from altered("result", result_schema(old), result_schema(new))
    if old.colour is not new.colour:
        yield f"colour: {old.colour.value} became {new.colour.value}"


def _as_fields(spec: FunctionSpec) -> tuple[Field, ...]:
    return tuple(Field(item.name, item.annotation, item.default is MISSING) for item in spec.parameters)


def _payload_words(spec: FunctionSpec) -> str:
    names = [parameter.name for parameter in spec.parameters]
    match spec.shape:
        case "one":
            if spec.remote is not None:
                return f"one value ({spec.remote.parameters[0]})"
            return f"one value ({names[0]}: {render(spec.parameters[0].annotation)})"
        case "many":
            return f"a record of {', '.join(names)}"
        case "none":
            return "none"
        case _:
            return "an unchecked value"


def _type_changes(what: str, old: Any, new: Any) -> Iterable[str]:
    if _same(old, new):
        return
    before, after = record(strip(old)), record(strip(new))
    if render(old) != render(new):
        yield f"{what}: {render(old)} became {render(new)}"
    elif before is not None and after is not None:  # the same class in another release
        yield from _field_changes(f"{what}: {render(new)} field", before.fields, after.fields)
    elif _same(strip(old), strip(new)):
        yield f"{what}: {render(new)} has other constraints"


def _same(old: Any, new: Any) -> bool:
    try:
        return bool(old == new)
    except Exception:  # noqa: BLE001  # annotations may be any objects
        return old is new


def _field_changes(what: str, old: tuple[Field, ...], new: tuple[Field, ...]) -> Iterable[str]:
    before, after = ({field.name: field for field in fields} for fields in (old, new))
    for name, field in before.items():
        if name not in after:
            yield f"{what} {name!r} removed"
            continue
        yield from _type_changes(f"{what} {name!r}", field.type, after[name].type)
        if field.required != after[name].required:
            yield f"{what} {name!r} is now {'required' if after[name].required else 'optional'}"
    for name, field in after.items():
        if name not in before:
            yield f"{what} {name!r} added ({'required' if field.required else 'optional'}, {render(field.type)})"
