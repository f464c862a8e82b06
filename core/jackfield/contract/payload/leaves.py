"""Taking in single values: scalars, and instances of classes that msgspec does not know."""

import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, Final, get_origin

import msgspec

from jackfield.contract.payload.misfit import Misfit, own_code, told, told_by_pydantic, type_name
from jackfield.contract.payload.nodes import Plan
from jackfield.contract.shapes import Constraint, Delegated, Foreign, Leaf, identity, is_pydantic, render

# Instances of a subclass that means something else: True is no number, and a time of day is not to be lost.
_IMPOSTORS: Final[Mapping[Any, type]] = {int: bool, dt.date: dt.datetime}
_NO_NUMBERS: Final = frozenset({"inf", "-inf", "nan"})
_SCALAR_STARTS: Final = frozenset("-0123456789tfn")


def converting(plan: Plan) -> Callable[[Any], Any]:
    """Compile the conversion by msgspec that tells what is wrong."""
    annotation = plan.view.type if isinstance(plan.view, Leaf) else plan.annotation
    into = converter(plan)

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
    if "foreign" in plan.traits:
        options["dec_hook"] = _foreign_hook(plan)
    if "keyed" in plan.traits:
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
    shape: Any = plan.view

    def take(value: Any) -> Any:
        try:
            return _foreign_value(shape, value)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a model's validators are a stranger's code
            raise told(shape.type, value, error) from own_code(error)

    return take


def _foreign_hook(plan: Plan) -> Callable[[Any, Any], Any]:
    """Give msgspec's `dec_hook` for what it does not know of a type."""
    shapes = {identity(inner.view.type): inner.view for inner in plan.reach() if isinstance(inner.view, Foreign)}

    def hook(annotation: Any, value: Any) -> Any:
        shape = shapes.get(identity(get_origin(annotation) or annotation))
        return value if shape is None else _foreign_value(shape, value)

    return hook


def _foreign_value(shape: Foreign, value: Any) -> Any:
    cls = shape.type
    if is_pydantic(cls):
        return cls.model_validate(value)
    if shape.holds(value):
        return value
    if isinstance(value, str) and isinstance(cls, type) and issubclass(cls, PurePath):
        return cls(value)
    raise Misfit("", render(cls), type_name(value))


def hold(constraint: Constraint, value: Any, annotation: Any) -> Any:
    """Hold a converted value, an instance of a subclass too, against a constraint.

    Returns:
        The value, or what a validator of pydantic's makes of it.

    Raises:
        Misfit: if it does not meet the constraint.
    """
    cause: BaseException | None = None
    try:
        if constraint.test is None:
            assert constraint.change is not None  # noqa: S101  # it has one of the two
            return constraint.change(value)
        if constraint.test(value):
            return value
    except (RecursionError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # predicates and validators are a stranger's code
        cause = _own_cause(error)
    wanted = constraint.words.replace("{}", render(annotation), 1)  # no `format`: a pattern has braces of its own
    raise Misfit("", wanted, f"another {type_name(value)}") from cause


def _own_cause(error: Exception) -> BaseException | None:
    """Give what a validator raised, which its author will want to see; pydantic's own errors repeat the value."""
    if not callable(getattr(error, "errors", None)):
        return error
    first = error.errors(include_url=False)[0]  # type: ignore[attr-defined]
    found = first.get("ctx", {}).get("error")
    return found if isinstance(found, BaseException) else None


def delegated(shape: Delegated) -> Callable[[Any], Any]:
    """Take what pydantic makes of a value."""

    def take(value: Any) -> Any:
        try:
            return shape.take(value)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # its validators are a stranger's code
            raise told_by_pydantic(shape.type, error) from _own_cause(error)

    return take
