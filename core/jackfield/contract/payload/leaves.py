"""Taking in single values: scalars, enums, literals and instances of classes that msgspec does not know."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final, get_args, get_origin

import msgspec

from jackfield.contract.payload.misfit import Misfit, members, own_code, told, told_by_pydantic, type_name
from jackfield.contract.payload.nodes import Plan
from jackfield.contract.shapes import Constraint, Delegated, Foreign, Leaf, is_pydantic, render, strip, view

# Instances of a subclass that means something else: True is no number, and a time of day is not to be lost.
_IMPOSTORS: Final[Mapping[Any, type]] = {int: bool, dt.date: dt.datetime}


def converting(plan: Plan) -> Callable[[Any], Any]:
    """Compile the conversion by msgspec that tells what is wrong."""
    annotation = plan.view.type if isinstance(plan.view, Leaf) else plan.annotation
    options: dict[str, Any] = {"dec_hook": foreign_value} if has_foreign(plan) else {}

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation, **options)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # a Struct and an enum run code of their own
            raise told(annotation, value, error) from own_code(error)

    return convert


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
    raise Misfit("", constraint.words.format(render(annotation)), f"another {type_name(value)}") from cause


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
