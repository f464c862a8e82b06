"""Annotations as written: evaluating them, taking off what does not change the values, naming them."""

import functools
import inspect
import operator
import sys
import types
import typing
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from jackfield.injection.names import with_names

_UNIONS: Final = (Union, types.UnionType)


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
                found[name] = with_names(partial(_evaluated_in, base, annotation), base)
            except Exception:  # noqa: BLE001  # an annotation is arbitrary code
                found[name] = Any
    return found


def _evaluated_in(cls: type, annotation: Any, names: Mapping[str, Any]) -> Any:
    return evaluate(annotation, {**class_names(cls), **names})


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


def identity(annotation: Any) -> Any:
    """Give a key for an annotation, itself if it can be hashed; whoever keeps the key keeps the annotation too."""
    try:
        hash(annotation)
    except TypeError:  # as with `Annotated[int, {}]`
        return id(annotation)
    return annotation


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
