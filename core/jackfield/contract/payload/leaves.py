"""Taking in single values: scalars, enums, literals and instances of classes that msgspec does not know."""

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from jackfield.contract.payload.misfit import Misfit, members, own_code, told, type_name
from jackfield.contract.payload.nodes import Plan
from jackfield.contract.shapes import Foreign, Table, is_pydantic, render, strip, view

# Instances of a subclass that means something else: True is no number, and a time of day is not to be lost.
_IMPOSTORS: Final[Mapping[Any, type]] = {int: bool, dt.date: dt.datetime}
_NO_NUMBERS: Final = frozenset({"inf", "-inf", "nan"})
_SCALAR_STARTS: Final = frozenset("-0123456789tfn")
_MEASURED: Final = (int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict)


def converting(plan: Plan) -> Callable[[Any], Any]:
    """Compile the conversion by msgspec that tells what is wrong."""
    annotation, into = plan.annotation, converter(plan)

    def convert(value: Any) -> Any:
        try:
            return into(value, annotation)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a Struct and an enum run code of their own
            raise told(annotation, value, error) from own_code(error)

    return convert


def converter(plan: Plan) -> Callable[[Any, Any], Any]:
    """Give `msgspec.convert` with what it has to be told of a type; each keyword costs as much as a small Struct."""
    options: dict[str, Any] = {}
    if has_foreign(plan):
        options["dec_hook"] = foreign_value
    keys = (strip(inner.view.key) for inner in plan.reach() if isinstance(inner.view, Table))
    if any(key is not str and key is not Any for key in keys):
        options["str_keys"] = True  # JSON has only text for them
    return partial(msgspec.convert, **options) if options else msgspec.convert


def scalar(plan: Plan) -> Callable[[Any], Any]:
    """Take an instance of the scalar as it is, but no `bool` for an `int`, no `datetime` for a `date`; else convert."""
    convert, instances = converting(plan), plan.instances
    impostor = _IMPOSTORS.get(plan.kind, ())

    def take(value: Any) -> Any:
        if isinstance(value, instances) and not isinstance(value, impostor):
            return value
        return convert(value)

    return take


def one_of(plan: Plan) -> Callable[[Any], Any]:
    """Take one of the values of a literal or an enum that msgspec does not allow."""
    kind = strip(plan.annotation)

    def take(value: Any) -> Any:
        try:
            if isinstance(kind, type):
                return value if isinstance(value, kind) else kind(value)
            if any(value == one and type(value) is type(one) for one in get_args(kind)):
                return value
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # an enum may have a `_missing_` of its own
            raise Misfit("", members(kind), f"another {type_name(value)}") from own_code(error)
        raise Misfit("", members(kind), f"another {type_name(value)}")

    return take


def json_scalar(text: str) -> Any:
    """Read a text as a JSON number, `true`, `false` or `null`; give the very text when it is none of them.

    As a key it may be `inf`, `-inf` or `nan`, too: what msgspec writes of such a float, and takes.

    Examples:
        >>> json_scalar("3"), json_scalar("true"), json_scalar("03"), json_scalar("x")
        (3, True, '03', 'x')
    """
    if text in _NO_NUMBERS:
        return float(text)
    if text[:1] not in _SCALAR_STARTS or text[-1:].isspace():
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def foreign(plan: Plan) -> Callable[[Any], Any]:
    """Take an instance of a class that msgspec does not know, or what a pydantic model makes of the value."""
    annotation = plan.annotation

    def take(value: Any) -> Any:
        try:
            return foreign_value(annotation, value)
        except ValueError as error:
            raise told(annotation, value, error) from own_code(error)

    return take


def has_foreign(plan: Plan) -> bool:
    """Tell whether msgspec needs `foreign_value` for anything inside."""
    return any(isinstance(inner.view, Foreign) for inner in plan.reach())


def foreign_value(annotation: Any, value: Any) -> Any:
    """Take in a value of a class that msgspec does not know; also msgspec's `dec_hook`."""
    cls = get_origin(annotation) or annotation
    if is_pydantic(cls):
        return cls.model_validate(value)
    shape = view(annotation)
    if not isinstance(shape, Foreign) or shape.holds(value):
        return value
    if isinstance(value, str) and issubclass(cls, PurePath):
        return cls(value)
    raise Misfit("", render(annotation), type_name(value))


def hold_to(meta: msgspec.Meta, value: Any, annotation: Any) -> None:
    """Check a converted value, an instance of a subclass too, against a constraint of msgspec's.

    Raises:
        Misfit: if it does not hold. A constraint that is none for such values, but for another member of a union,
            holds.
    """
    if isinstance(value, dt.datetime | dt.time):
        if meta.tz is not None and meta.tz is (value.tzinfo is None):
            wanted = f"{render(annotation)} with {'a' if meta.tz else 'no'} timezone component"
            raise Misfit("", wanted, f"another {type_name(value)}")
        return
    kind: Any = next((kind for kind in _MEASURED if isinstance(value, kind)), None)
    if kind is None or isinstance(value, bool):
        return
    try:
        # Of all these msgspec knows instances of subclasses, save for `float`: numpy's `float64` is one.
        msgspec.convert(float(value) if isinstance(value, float) else value, Annotated[kind, meta])
    except msgspec.ValidationError as error:
        raise told(annotation, value, error) from None
    except TypeError:
        return
