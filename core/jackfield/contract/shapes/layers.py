"""What is wrapped around a type, taken off one layer at a time."""

import dataclasses
import functools
import operator
import typing
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import attrs

from jackfield.model.size import bounded
from jackfield.model.spelling import DEEPEST, aliased, is_alias

_MARKERS: Final = frozenset({"Final", "Required", "NotRequired", "ReadOnly"})
_PLAINER: Final = ((None, type(None)), (Final, Any), (typing.LiteralString, str))


@attrs.frozen
class Layers:
    """A type without its wrappers, and what they said.

    Attributes:
        bare: the type.
        metadata: of every `Annotated` that was around it, the innermost first.
        markers: the names of `Final`, `Required`, `NotRequired` and `ReadOnly`, as far as they were there.
    """

    bare: Any
    metadata: tuple[Any, ...] = ()
    markers: frozenset[str] = frozenset()


def unwrap(annotation: Any) -> Layers:
    """Take off `Annotated`, `NewType`, aliases, `Final`, `Required` and the like; a type variable is what it may be.

    Args:
        annotation: an evaluated annotation.

    Raises:
        Exception: whatever evaluating a `type` alias raises; `ValueError` for one that is circular.

    Examples:
        >>> unwrap(typing.NewType("Positive", Annotated[int, "positive"]))
        Layers(bare=<class 'int'>, metadata=('positive',), markers=frozenset())
    """
    metadata: tuple[Any, ...] = ()
    markers: set[str] = set()
    for _ in range(DEEPEST):
        origin = get_origin(annotation)
        marker = getattr(origin, "_name", None)
        if origin is Annotated:
            annotation, *found = get_args(annotation)
            metadata = (*found, *metadata)
        elif marker in _MARKERS:
            markers.add(marker)
            (annotation,) = get_args(annotation)
        elif isinstance(annotation, typing.NewType):
            annotation = bounded(annotation.__supertype__)
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = annotation.type
        elif is_alias(annotation) or is_alias(origin):
            annotation = aliased(annotation)
        elif isinstance(annotation, TypeVar):
            annotation = bounded(_allowed(annotation))
        else:
            return Layers(_plainer(annotation), metadata, frozenset(markers))
    raise ValueError("a circular alias")


def _plainer(annotation: Any) -> Any:
    return next((plain for odd, plain in _PLAINER if annotation is odd), annotation)


def _allowed(variable: TypeVar) -> Any:
    """Say what a type variable may stand for."""
    if variable.__constraints__:
        return functools.reduce(operator.or_, variable.__constraints__)
    return Any if variable.__bound__ is None else variable.__bound__


def strip(annotation: Any) -> Any:
    """Give the type without its wrappers, or the annotation as it is where that cannot be told."""
    if isinstance(annotation, type):
        return annotation
    try:
        return unwrap(annotation).bare
    except Exception:  # noqa: BLE001  # evaluating an alias runs a stranger's code
        return annotation
