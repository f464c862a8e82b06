"""Annotations as written: those of classes evaluated, each with the name that its user gave it."""

import functools
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Literal, get_args, get_origin

from jackfield.contract.shapes.layers import strip
from jackfield.injection.names import with_names
from jackfield.model.generics import is_union, is_unpacked, lineage, packed, substitute
from jackfield.model.spelling import evaluate, is_alias

_SHOWN: Final = 100  # characters of what is no type
_NAME: Final = 200  # characters of the name of a class
_NESTED: Final = 20  # levels of a type that are shown
_PARTS: Final = 2_000  # parts of a type that are shown
_REST: Final = "…"
_PLAINLY: Final = {type(None): "None", inspect.Parameter.empty: "anything"}


def own_annotations(owner: Any) -> Mapping[str, Any]:
    """Give the annotations that a function or class itself declares, evaluating nothing that could fail."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415  # from Python 3.14 on

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def class_names(cls: type) -> dict[str, Any]:
    """Give what the names in a class's annotations may mean: its own scope, beneath its module's."""
    module = getattr(sys.modules.get(cls.__module__), "__dict__", {})
    parameters = {parameter.__name__: parameter for parameter in getattr(cls, "__type_params__", ())}
    return {**vars(cls), cls.__name__: cls, **parameters, **module}


def hints(annotation: Any) -> dict[str, Any]:
    """Evaluate the annotations of a class and its bases one by one, with what its type variables and `Self` stand for.

    What cannot be evaluated is left as it was written, which nothing can be checked by.

    Args:
        annotation: the class, or a subscript of a generic one.
    """
    found: dict[str, Any] = {}
    written: dict[str, Any] = {}
    typed = is_typed_dict(get_origin(annotation) or annotation)
    for base, bound in lineage(annotation):
        for name, raw in own_annotations(base).items():
            if typed and name in written and written[name] is raw:  # inherited: a `TypedDict` has its bases' as its own
                continue
            written[name] = raw
            try:
                read = with_names(partial(_evaluated_in, base, raw), base)
                found[name] = substitute(read, {**bound, typing.Self: annotation})
            except Exception:  # noqa: BLE001  # an annotation is arbitrary code
                found[name] = raw
    return found


def _evaluated_in(cls: type, annotation: Any, names: Mapping[str, Any]) -> Any:
    return evaluate(annotation, {**class_names(cls), **names})


def is_pydantic(cls: Any) -> bool:
    """Tell whether a class is a pydantic model, without importing pydantic."""
    # pydantic imports its parts when they are used: without this one there are no models.
    return isinstance(cls, type) and issubclass(cls, getattr(sys.modules.get("pydantic.main"), "BaseModel", ()))


def is_typed_dict(cls: Any) -> bool:
    """Tell whether a class is a `TypedDict`, of `typing` or of `typing_extensions`."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def identity(annotation: Any) -> Any:
    """Give a key for an annotation, itself if it can be hashed; whoever keeps the key keeps the annotation too."""
    try:
        hash(annotation)
    except Exception:  # noqa: BLE001  # as with `Annotated[int, {}]`, or a metaclass of a stranger's
        return id(annotation)
    return annotation


def render(annotation: Any) -> str:
    """Name a type as its user would write it, whatever was written there.

    Examples:
        >>> render(dict[str, int | None])
        'dict[str, int | None]'
    """
    try:
        return _rendered(annotation, (), iter(range(_PARTS)))
    except Exception:  # noqa: BLE001  # names and `repr` of what is no type are a stranger's code
        return f"an annotation of type {type(annotation).__name__}"


def _rendered(annotation: Any, outer: tuple[Any, ...], left: Iterator[int]) -> str:  # noqa: C901, PLR0911, PLR0912  # one for each kind
    """Name a type; an alias within itself, and what is nested too deeply, by its bare name."""
    if next(left, None) is None:
        return _REST
    if type(annotation) is type:  # most are, and errors name them
        return _PLAINLY.get(annotation) or _class_name(annotation)
    if is_alias(annotation) and any(annotation is one for one in outer):
        return str(annotation.__name__)
    inside = (*outer, annotation)
    inner = functools.partial(_rendered, outer=inside, left=left)
    bare = strip(annotation)
    origin, args = get_origin(bare), get_args(bare)
    if bare is Any:
        return "anything"
    if bare is type(None):
        return "None"
    if is_union(bare):
        return " | ".join(_listed(map(inner, args)))
    if origin is Literal:
        return " | ".join(_listed(_REST if next(left, None) is None else repr(one) for one in args))
    if bare is ...:
        return "..."
    if isinstance(bare, list):  # the parameters of a `Callable`
        return f"[{', '.join(_listed(map(inner, bare)))}]"
    if is_unpacked(bare):
        return f"*{inner(packed(bare))}"
    if isinstance(origin or bare, type):
        name = _class_name(origin or bare)
    elif isinstance(bare, typing.ForwardRef):
        name = bare.__forward_arg__
    else:
        name = str(origin or bare).removeprefix("typing.")[:_SHOWN]
    if len(inside) > _NESTED:
        return f"{name}[...]" if args else name
    if origin is tuple and not args:
        return "tuple[()]"
    return f"{name}[{', '.join(_listed(map(inner, args)))}]" if args else name


def _listed(parts: Iterable[str]) -> Iterator[str]:
    """Give the parts as far as any are shown."""
    for part in parts:
        yield part
        if part == _REST:
            return


def _class_name(cls: type) -> str:
    name = cls.__qualname__.rpartition("<locals>.")[2]
    return name if len(name) <= _NAME else f"{name[:_NAME]}{_REST}"
