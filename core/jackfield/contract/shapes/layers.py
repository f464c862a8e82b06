"""What is wrapped around a type, taken off one layer at a time; and what type variables stand for."""

import dataclasses
import functools
import operator
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar, TypeVarTuple, Union, get_args, get_origin

import attrs

_UNIONS: Final = (Union, types.UnionType)
_MARKERS: Final = frozenset({"Final", "Required", "NotRequired", "ReadOnly"})
_PLAINER: Final = ((None, type(None)), (Final, Any), (typing.LiteralString, str))
_DEEPEST: Final = 100  # layers: beyond it an alias stands for itself, or for ever more


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
    for _ in range(_DEEPEST):
        origin = get_origin(annotation)
        marker = getattr(origin, "_name", None)
        if origin is Annotated:
            annotation, *found = get_args(annotation)
            metadata = (*found, *metadata)
        elif marker in _MARKERS:
            markers.add(marker)
            (annotation,) = get_args(annotation)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = annotation.type
        elif is_alias(annotation):
            annotation = substitute(_meaning(annotation), bindings(annotation.__type_params__, ()))
        elif is_alias(origin):
            annotation = substitute(_meaning(origin), bindings(origin.__type_params__, get_args(annotation)))
        elif isinstance(annotation, TypeVar):
            annotation = _allowed(annotation)
        else:
            return Layers(_plainer(annotation), metadata, frozenset(markers))
    raise ValueError("a circular alias")


def _plainer(annotation: Any) -> Any:
    return next((plain for odd, plain in _PLAINER if annotation is odd), annotation)


def _meaning(alias: Any) -> Any:
    """Give what an alias is for; where there is no `type` statement, it names itself in a string."""
    value = alias.__value__
    try:
        return evaluate(value, vars(sys.modules[alias.__module__]))
    except (NameError, KeyError):  # of what is known only where it was made
        return value


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


def is_alias(annotation: Any) -> bool:
    """Tell whether an annotation is a `type` alias, of `typing` or of `typing_extensions`."""
    return type(annotation).__name__ == "TypeAliasType"


def is_union(annotation: Any) -> bool:
    """Tell whether an annotation is a union, in either notation."""
    return get_origin(annotation) in _UNIONS


def is_unpacked(annotation: Any) -> bool:
    """Tell `*tuple[...]`, `*Ts` and `Unpack[...]`."""
    return getattr(annotation, "__unpacked__", False) is True or get_origin(annotation) is typing.Unpack


def packed(annotation: Any) -> Any:
    """Give what is unpacked: `tuple[...]`, `Ts` or the `TypedDict`."""
    if get_origin(annotation) is typing.Unpack:
        return get_args(annotation)[0]
    return types.GenericAlias(get_origin(annotation), get_args(annotation))


def has_default(variable: Any) -> bool:
    """Tell whether a type variable has a default, as PEP 696 has it."""
    return isinstance(variable, TypeVar) and hasattr(variable, "has_default") and bool(variable.has_default())


def bindings(parameters: tuple[Any, ...], args: tuple[Any, ...]) -> dict[Any, Any]:
    """Say what the parameters of a generic type stand for; a `TypeVarTuple` for a tuple of types.

    A type variable that nothing is said of stands for its default, in which the ones before it may be named.

    Args:
        parameters: as the type declares them.
        args: what it is subscribed with; empty if it is not.
    """
    bound = _given(parameters, args)
    for parameter in parameters:
        # `typing` may have put the default in by itself, as it was written.
        if has_default(parameter) and bound.get(parameter, parameter.__default__) is parameter.__default__:
            bound[parameter] = substitute(parameter.__default__, bound)
    return bound


def _given(parameters: tuple[Any, ...], args: tuple[Any, ...]) -> dict[Any, Any]:
    variadic = [index for index, parameter in enumerate(parameters) if isinstance(parameter, TypeVarTuple)]
    if not args or not variadic:
        return dict(zip(parameters, args, strict=False))
    (index,) = variadic
    after = len(parameters) - index - 1
    end = len(args) - after
    first = zip(parameters[:index], args, strict=False)
    last = zip(parameters[index + 1 :], args[end:], strict=False)
    return {**dict(first), parameters[index]: args[index:end], **dict(last)}


def substitute(annotation: Any, bound: Mapping[Any, Any]) -> Any:  # noqa: PLR0911  # one for each kind of type
    """Replace type variables, and `Self`, by what they stand for.

    Args:
        annotation: an evaluated annotation.
        bound: what they stand for; what is not in it stays.

    Examples:
        >>> T = TypeVar("T")
        >>> substitute(dict[str, list[T]], {T: int})
        dict[str, list[int]]
    """
    if not bound:
        return annotation
    if isinstance(annotation, TypeVar) or annotation is typing.Self:
        return bound.get(annotation, annotation)
    if isinstance(annotation, dataclasses.InitVar):
        return dataclasses.InitVar(substitute(annotation.type, bound))
    origin, args = get_origin(annotation), get_args(annotation)
    if (
        not args or origin is Literal or isinstance(args[0], list)
    ):  # the last: a `Callable`, whose types are not checked
        return annotation
    if origin is Annotated:
        inner = substitute(args[0], bound)
        return annotation if inner is args[0] else Annotated[(inner, *args[1:])]
    replaced = tuple(one for arg in args for one in _replaced(arg, bound))
    if len(replaced) == len(args) and all(one is arg for one, arg in zip(replaced, args, strict=True)):
        return annotation
    if origin in _UNIONS:
        return Union[replaced]  # noqa: UP007  # not known in advance
    if getattr(annotation, "__unpacked__", False) is True:
        return typing.Unpack[types.GenericAlias(origin, replaced)]
    return annotation.copy_with(replaced) if hasattr(annotation, "copy_with") else origin[replaced]


def _replaced(arg: Any, bound: Mapping[Any, Any]) -> Iterator[Any]:
    if is_unpacked(arg) and packed(arg) in bound:  # `*Ts`
        yield from bound[packed(arg)]
    else:
        yield substitute(arg, bound)


def lineage(annotation: Any) -> list[tuple[type, dict[Any, Any]]]:
    """Give a class and its bases, the last first, each with what its type variables stand for in this class.

    Args:
        annotation: a class, or a subscript of a generic one.
    """
    cls: Any = get_origin(annotation) or annotation
    found: dict[type, dict[Any, Any]] = {}
    _visit(cls, bindings(getattr(cls, "__parameters__", ()), get_args(annotation)), found)
    bases = [base for base in reversed(cls.__mro__) if base not in found]  # of a `TypedDict` only `dict` and `object`
    return [*((base, {}) for base in bases), *((base, found[base]) for base in _ordered(cls, found))]


def _ordered(cls: type, found: dict[type, Any]) -> Iterator[type]:
    """Put the order of the constructor's look-up first; a `TypedDict` keeps no bases but in what was found."""
    mro = cls.__mro__
    yield from (base for base in reversed(found) if base not in mro)
    yield from (base for base in reversed(mro) if base in found)


def _visit(cls: type, bound: dict[Any, Any], found: dict[type, dict[Any, Any]]) -> None:
    found[cls] = bound
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        if isinstance(origin, type) and origin not in (Generic, Protocol, object) and origin not in found:
            args = tuple(substitute(arg, bound) for arg in get_args(base))
            _visit(origin, bindings(getattr(origin, "__parameters__", ()), args), found)
