"""Read a factory's parameters and annotations, one at a time, so that one odd annotation spoils no other."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import FunctionType, GenericAlias, ModuleType, SimpleNamespace, UnionType
from typing import Any, Final

from jackfield.injection.names import NotFound, with_names
from jackfield.model import spelling
from jackfield.model.size import bounded
from jackfield.stack import blamed
from jackfield.strangers import Broken, innermost, is_a, is_interrupt, layers

_PARAMETERS: Final = 1_000  # of a signature that somebody made by hand

if sys.version_info >= (3, 14):  # pragma: no cover  # annotations are evaluated lazily there, and may raise one by one
    import annotationlib

    _as_written = functools.partial(inspect.signature, annotation_format=annotationlib.Format.FORWARDREF)

    def annotations(owner: type) -> Mapping[str, Any]:
        """Give what a class itself annotates, with what cannot be evaluated yet left as forward references."""
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)

else:
    _as_written = inspect.signature

    def annotations(owner: type) -> Mapping[str, Any]:
        """Give what a class itself annotates, with strings left as they are."""
        return inspect.get_annotations(owner)


def signature(factory: Callable[..., Any]) -> inspect.Signature:
    """Give the signature, with annotations as they are written: strings, forward references.

    Args:
        factory: any callable; of one that `functools.wraps` has put in a circle, its own.

    Raises:
        TypeError, ValueError: if it has none.
        Broken: if its `__signature__` has no end.
    """
    if type(factory) is not FunctionType or factory.__dict__:  # else it is what the interpreter knows of it
        for part in _parts(factory):
            _check(getattr(part, "__signature__", None))
    try:
        found = _as_written(factory)
    except ValueError:
        found = _as_written(factory, follow_wrapped=False)
    if type(found) is inspect.Signature:
        return found
    return inspect.Signature(_check(found), return_annotation=found.return_annotation)  # as a subclass says it is, once


def _parts(factory: Any) -> Iterator[Any]:
    """Give what may bring a `__signature__` of its own, which `inspect` follows before anybody can look at it."""
    for layer in layers(factory):
        yield layer
        inner: tuple[Any, ...] = ()
        if is_a(layer, type):
            inner = (type(layer).__call__, layer.__init__, layer.__new__)  # type: ignore[misc]  # only looked at
        elif not inspect.isroutine(layer):
            inner = (type(layer).__call__,)
        for method in inner:
            yield from layers(method)


def _check(said: Any) -> list[inspect.Parameter]:
    """Read the parameters of a `__signature__`, which an author may have made endless."""
    if not is_a(said, inspect.Signature):
        return []
    for read in (said.parameters.items, said.parameters.values):
        found: list[Any] = list(islice(read(), _PARAMETERS + 1))
        if len(found) > _PARAMETERS:
            raise Broken(f"its `__signature__` has more than {_PARAMETERS} parameters")
    return found


class Unreadable(Broken):
    """An annotation cannot be evaluated; never leaves jackfield: it becomes a fault or a note."""


def evaluate(factory: Callable[..., Any], parameter: str, annotation: Any, *, anywhere: bool = False) -> Any:
    """Evaluate one annotation of a factory.

    Args:
        factory: a function, a partial, a bound method, an object with `__call__`, or a class.
        parameter: the parameter's name, or `return`.
        annotation: as the signature has it: a string, a forward reference, or a type that may contain some.
        anywhere: whether a name that is missing is looked for where `jackfield.injection.names` says. What a provider
            provides has to be defined where it is: others ask for it.

    Returns:
        The type, `Annotated` left on; what stands for it if it is too large.

    Raises:
        Unreadable: if a name in it is not defined where the factory is.
    """
    whole = bounded(annotation)
    if whole is not annotation or _is_evaluated(annotation):
        return whole
    outer, inner = _namespaces(factory, parameter)

    def read(names: Mapping[str, Any]) -> Any:
        return spelling.evaluate(annotation, outer, {**inner, **names})

    try:
        return with_names(read, factory) if anywhere else read({})
    except NotFound as error:
        raise Unreadable(str(error)) from error
    except BaseException as error:  # the text of an annotation is a stranger's code and may raise anything
        if is_interrupt(error):
            raise
        raise Unreadable(blamed(error)) from error


def _is_evaluated(annotation: Any) -> bool:
    """Tell that there is nothing to evaluate in a class, or in `dict[str, int | None]`: most annotations are such."""
    if type(annotation) in (GenericAlias, UnionType):
        return all(map(_is_evaluated, annotation.__args__))
    return is_a(annotation, type)


def owner_of(cls: type, parameter: str) -> type:
    """Find the class that annotates a constructor's parameter: the class itself, or one that it inherits from.

    Args:
        cls: the class that is made.
        parameter: the parameter's name.
    """
    # A field of a base class is annotated in that class's module, whatever module generated `__init__`.
    names = {parameter, f"_{parameter}"}
    of_field = (base for base in cls.__mro__ if names & annotations(base).keys())
    of_constructor = (base for base in cls.__mro__ if {"__init__", "__new__"} & vars(base).keys())
    return next(of_field, None) or next(of_constructor)


def written_in(call: Callable[..., Any]) -> tuple[Any, type] | None:
    """Find the class whose method a callable is, and the one that it was written in, whose type variables it names.

    Args:
        call: a bound method, an object with `__call__`, or a partial of one.

    Returns:
        The class, with its arguments where an object of a generic class knows them, and the base that has the method;
        None for a function.
    """
    call = next(layer for layer in layers(call, wrapped=False) if not isinstance(layer, functools.partial))
    held = getattr(call, "__self__", None) if inspect.isroutine(call) else call
    if held is None or is_a(held, ModuleType):
        return None
    cls: type = type(held)
    if is_a(held, type):
        cls = held
    method = call if inspect.isroutine(call) else inspect.getattr_static(cls, "__call__", None)
    function = getattr(method, "__func__", method)
    for base in cls.__mro__:
        if any(getattr(value, "__func__", value) is function for value in vars(base).values()):
            return vars(held).get("__orig_class__", cls) if hasattr(held, "__dict__") else cls, base
    return cls, cls


def _namespaces(factory: Callable[..., Any], parameter: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Give the namespaces that an annotation may refer to, in the roles of globals and locals of `eval`."""
    factory = next(layer for layer in layers(factory) if not isinstance(layer, functools.partial))
    if not is_a(factory, type):
        function = underlying(factory)
        space: dict[str, Any] = getattr(function, "__globals__", {})
        said = sys.modules.get(getattr(function, "__module__", None) or "")
        if said is not None and vars(said) is not space:  # its annotations were copied together with `__module__`
            space = {**space, **vars(said)}
        return space, {**_variables(function), **_closure(function)}
    owner = owner_of(factory, parameter)
    initialiser = vars(owner).get("__init__") or vars(owner).get("__new__")
    enclosed = _closure(innermost(initialiser)) if callable(initialiser) else {}
    # The module comes first, as in `typing.get_type_hints`: a field is often named like its type.
    module = vars(sys.modules.get(owner.__module__, SimpleNamespace()))
    return {**vars(owner), **_variables(owner), **enclosed}, module


def _variables(owner: Any) -> Mapping[str, Any]:
    """Give the type variables of `class Repo[T]` and `def repo[T]()` by name."""
    return {variable.__name__: variable for variable in getattr(owner, "__type_params__", ())}


def underlying(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Find the plain function below partials, bound methods, wrappers and objects with `__call__`.

    Args:
        factory: any callable that is not a class.

    Returns:
        The function whose code runs in the end, as far as that can be told.
    """
    factory = innermost(factory)
    if not inspect.isroutine(factory) and not is_a(factory, type):
        factory = innermost(getattr(type(factory), "__call__", factory))  # noqa: B004  # on the class, as calls do
    return factory


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
