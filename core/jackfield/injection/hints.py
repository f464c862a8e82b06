"""Read a factory's parameters and annotations, one at a time, so that one odd annotation spoils no other."""

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from jackfield.injection.names import NotFound, with_names

if sys.version_info >= (3, 14):  # pragma: no cover  # annotations are evaluated lazily there, and may raise one by one
    import annotationlib

    def signature(factory: Callable[..., Any]) -> inspect.Signature:
        """Give the signature, with annotations that cannot be evaluated yet left as forward references."""
        return inspect.signature(factory, annotation_format=annotationlib.Format.FORWARDREF)

    def _annotations(owner: type) -> Mapping[str, Any]:
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)

else:

    def signature(factory: Callable[..., Any]) -> inspect.Signature:
        """Give the signature, with string annotations left as they are."""
        return inspect.signature(factory)

    def _annotations(owner: type) -> Mapping[str, Any]:
        return inspect.get_annotations(owner)


class Unreadable(Exception):
    """An annotation cannot be evaluated; never leaves this package: it becomes a fault."""


def evaluate(factory: Callable[..., Any], parameter: str, annotation: Any, *, anywhere: bool = False) -> Any:
    """Evaluate one annotation of a factory.

    Args:
        factory: a function, a partial, a bound method, an object with `__call__`, or a class.
        parameter: the parameter's name, or `return`.
        annotation: as the signature has it: a string, a forward reference, or a type that may contain some.
        anywhere: whether a name that is missing is looked for where `jackfield.injection.names` says. What a provider
            provides has to be defined where it is: others ask for it.

    Returns:
        The type, `Annotated` left on.

    Raises:
        Unreadable: if a name in it is not defined where the factory is.
    """
    if isinstance(annotation, type):
        return annotation
    outer, inner = _namespaces(factory, parameter)
    holder = SimpleNamespace(__annotations__={parameter: annotation})

    def read(names: Mapping[str, Any]) -> Any:
        return typing.get_type_hints(holder, outer, {**inner, **names}, include_extras=True)[parameter]

    try:
        return with_names(read, factory) if anywhere else read({})
    except NotFound as error:
        raise Unreadable(str(error)) from error
    except Exception as error:  # the text of an annotation is a stranger's code and may raise anything
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _namespaces(factory: Callable[..., Any], parameter: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Give the namespaces that an annotation may refer to, in the roles of globals and locals of `eval`."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    if not isinstance(factory, type):
        function = underlying(factory)
        space: dict[str, Any] = getattr(function, "__globals__", {})
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        if module is not None and vars(module) is not space:  # its annotations were copied together with `__module__`
            space = {**space, **vars(module)}
        return space, _closure(function)
    # A field of a base class is annotated in that class's module, whatever module generated `__init__`.
    names = {parameter, f"_{parameter}"}
    owner = next((base for base in factory.__mro__ if names & _annotations(base).keys()), None)
    enclosed: Mapping[str, Any] = {}
    if owner is None:
        owner = next(base for base in factory.__mro__ if {"__init__", "__new__"} & vars(base).keys())
        initialiser = vars(owner).get("__init__") or vars(owner).get("__new__")
        enclosed = _closure(inspect.unwrap(initialiser)) if callable(initialiser) else {}
    # The module comes first, as in `typing.get_type_hints`: a field is often named like its type.
    return {**vars(owner), **enclosed}, vars(sys.modules.get(owner.__module__, SimpleNamespace()))


def underlying(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Find the plain function below partials, bound methods, wrappers and objects with `__call__`.

    Args:
        factory: any callable that is not a class.

    Returns:
        The function whose code runs in the end, as far as that can be told.
    """
    while isinstance(factory, functools.partial):
        factory = factory.func
    factory = inspect.unwrap(factory)
    if not inspect.isroutine(factory) and not isinstance(factory, type):
        factory = inspect.unwrap(getattr(type(factory), "__call__", factory))  # noqa: B004  # on the class, as calls do
    return getattr(factory, "__func__", factory)


def _closure(function: Callable[..., Any]) -> Mapping[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or not cells:
        return {}
    found = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # a variable of the outer function that is not assigned yet
            continue
    return found
