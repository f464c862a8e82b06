"""Types with variables in them: find the variables, put types in their place, and match a pattern against a type."""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar, TypeVarTuple, Union, get_args, get_origin

from jackfield.model.size import bounded

_dict_of: Final[Any] = vars(type)["__dict__"].__get__

Bindings = Mapping[Any, Any]
"""Type variable → what stands for it."""

_DEEPEST: Final = 16
"""A provider of `Repo[T]` that needs a `Repo[list[T]]` would go on for ever: a type as deep as this matches nothing."""


def is_open(annotation: Any) -> bool:
    """Tell whether a type is, or contains, a type variable that nobody has bound.

    Examples:
        >>> T = TypeVar("T")
        >>> is_open(list[T]), is_open(T), is_open(list[int]), is_open(list)
        (True, True, False, False)
    """
    if isinstance(annotation, type):
        return False
    if isinstance(annotation, TypeVar):
        return True
    return get_origin(annotation) is not None and bool(getattr(annotation, "__parameters__", ()))


def parametrised(cls: Any) -> Any:
    """Give a generic class with its own variables as arguments, as in `Repo[T]`; any other type as it is."""
    generic: Any = cls if isinstance(cls, type) and issubclass(cls, Generic) else None
    variables = getattr(generic, "__parameters__", ())
    return generic[tuple(variables)] if variables else cls


def is_union(annotation: Any) -> bool:
    """Tell whether an annotation is a union, in either notation."""
    return get_origin(annotation) in (Union, types.UnionType)


def is_unpacked(annotation: Any) -> bool:
    """Tell `*tuple[...]`, `*Ts` and `Unpack[...]`."""
    return getattr(annotation, "__unpacked__", False) is True or get_origin(annotation) is typing.Unpack


def packed(annotation: Any) -> Any:
    """Give what is unpacked: `tuple[...]`, `Ts` or the `TypedDict`."""
    if get_origin(annotation) is typing.Unpack:
        return get_args(annotation)[0]
    return types.GenericAlias(get_origin(annotation), get_args(annotation))


def bindings_of(parameters: tuple[Any, ...], args: tuple[Any, ...]) -> dict[Any, Any]:
    """Say what the parameters of a generic type stand for; a `TypeVarTuple` for a tuple of types.

    A type variable that nothing is said of stands for its default, in which the ones before it may be named.

    Args:
        parameters: as the type declares them.
        args: what it is subscribed with; empty if it is not.
    """
    bound = {parameter: bounded(given) for parameter, given in _given(parameters, args).items()}
    for parameter in parameters:
        # `typing` may have put the default in by itself, as it was written.
        if has_default(parameter) and bound.get(parameter, parameter.__default__) is parameter.__default__:
            bound[parameter] = substitute(parameter.__default__, bound)
    return bound


def has_default(variable: Any) -> bool:
    """Tell whether a type variable has a default, as PEP 696 has it."""
    asked = getattr(variable, "has_default", None)  # from Python 3.13 on
    return isinstance(variable, TypeVar) and asked is not None and bool(asked())


def completed(annotation: Any) -> Any:
    """Write out what the defaults of its type variables say of a generic class, where nothing else is said of them.

    Args:
        annotation: a class, or a subscript of a generic one; one with a variable of which nothing is known stays.
    """
    cls = get_origin(annotation) or annotation
    variables = variables_of(cls)
    if not any(map(has_default, variables)):
        return annotation
    bound = bindings_of(variables, get_args(annotation))
    if len(bound) < len(variables) or any(isinstance(variable, TypeVarTuple) for variable in variables):
        return annotation
    return cls[tuple(bound[variable] for variable in variables)]


def variables_of(cls: Any) -> tuple[Any, ...]:
    """Give the type variables of a generic class, by what Python keeps of it; none of anything else."""
    found = _dict_of(cls).get("__parameters__") if isinstance(cls, type) else None
    return found if type(found) is tuple else ()


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


def substitute(annotation: Any, bound: Bindings) -> Any:
    """Replace type variables, and `Self`, by what they stand for; what gets too large thereby is a `TooLarge`.

    Args:
        annotation: an evaluated annotation.
        bound: what they stand for; what is not in it stays.

    Examples:
        >>> T = TypeVar("T")
        >>> substitute(dict[str, list[T]], {T: int})
        dict[str, list[int]]
    """
    found = _substituted(annotation, bound) if bound else annotation
    return annotation if found is annotation else bounded(found)


def _substituted(annotation: Any, bound: Bindings) -> Any:  # noqa: PLR0911  # one for each kind of type
    if isinstance(annotation, TypeVar) or annotation is typing.Self:
        return bound.get(annotation, annotation)
    if isinstance(annotation, dataclasses.InitVar):
        return dataclasses.InitVar(_substituted(annotation.type, bound))
    origin, args = get_origin(annotation), get_args(annotation)
    if not args or origin is Literal:
        return annotation
    if isinstance(args[0], list):  # the parameters of a `Callable`
        inside = [_substituted(arg, bound) for arg in args[0]], _substituted(args[1], bound)
        return annotation if inside == args else origin[inside]
    if origin is Annotated:
        inner = _substituted(args[0], bound)
        return annotation if inner is args[0] else Annotated[(inner, *args[1:])]
    replaced = tuple(one for arg in args for one in _replaced(arg, bound))
    if len(replaced) == len(args) and all(one is arg for one, arg in zip(replaced, args, strict=True)):
        return annotation
    if is_union(annotation):
        return Union[replaced]  # noqa: UP007  # not known in advance
    if getattr(annotation, "__unpacked__", False) is True:
        return typing.Unpack[types.GenericAlias(origin, replaced)]
    return annotation.copy_with(replaced) if hasattr(annotation, "copy_with") else origin[replaced]


def _replaced(arg: Any, bound: Bindings) -> Iterator[Any]:
    if is_unpacked(arg) and packed(arg) in bound:  # `*Ts`
        yield from bound[packed(arg)]
    else:
        yield _substituted(arg, bound)


def lineage(annotation: Any) -> list[tuple[type, dict[Any, Any]]]:
    """Give a class and its bases, the last first, each with what its type variables stand for in this class.

    Args:
        annotation: a class, or a subscript of a generic one.
    """
    cls: Any = get_origin(annotation) or annotation
    found: dict[type, dict[Any, Any]] = {}
    _visit(cls, bindings_of(getattr(cls, "__parameters__", ()), get_args(annotation)), found)
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
            args = tuple(substitute(bounded(arg), bound) for arg in get_args(base))
            _visit(origin, bindings_of(getattr(origin, "__parameters__", ()), args), found)


def seen_from(cls: Any, base: type) -> Bindings:
    """Find what the variables of a base class stand for in a class: `T` of `Repo` is `int` in `class Ints(Repo[int])`.

    Args:
        cls: the class, whose own variables stay, or a generic one with arguments.
        base: the class itself, or one that it inherits from. What is not said of its variables is anything.
    """
    whole = parametrised(cls)
    found = dict(lineage(whole)).get(base, {})
    own = getattr(whole, "__parameters__", ())
    return {variable: _closed(found.get(variable, Any), own) for variable in getattr(base, "__parameters__", ())}


def _closed(annotation: Any, own: Collection[Any]) -> Any:
    free = (annotation,) if isinstance(annotation, TypeVar) else getattr(annotation, "__parameters__", ())
    return substitute(annotation, {variable: Any for variable in free if variable not in own})


def matched(pattern: Any, wanted: Any) -> Bindings | None:
    """Find what the variables of a pattern must stand for, to make it a wanted type.

    Args:
        pattern: a type with variables.
        wanted: a type without; a generic class without arguments is one of `Any`.

    Returns:
        The bindings, or None if it does not match.

    Examples:
        >>> T = TypeVar("T", bound=int)
        >>> matched(list[T], list[bool])
        {~T: <class 'bool'>}
        >>> matched(list[T], list[str]) is None
        True
    """
    bindings: dict[Any, Any] = {}
    return bindings if _match(pattern, wanted, bindings, 0) else None


def _match(pattern: Any, wanted: Any, bindings: dict[Any, Any], depth: int) -> bool:
    if depth > _DEEPEST:
        return False
    if isinstance(pattern, TypeVar):
        if pattern in bindings:
            return bool(bindings[pattern] == wanted)
        bindings[pattern] = wanted
        return _depth(wanted) < _DEEPEST and _admits(pattern, wanted)
    if not is_open(pattern):
        return bool(pattern == wanted)
    inner = get_args(pattern)
    if wanted is get_origin(pattern):
        return all(_match(each, Any, bindings, depth + 1) for each in inner)
    given = get_args(wanted)
    return (
        get_origin(pattern) == get_origin(wanted)
        and len(inner) == len(given)
        and all(_match(one, other, bindings, depth + 1) for one, other in zip(inner, given, strict=True))
    )


def _depth(annotation: Any) -> int:
    level, depth = [annotation], 0
    while level and depth < _DEEPEST:
        level = [argument for each in level for argument in get_args(each)]
        depth += 1
    return depth


def _admits(variable: TypeVar, wanted: Any) -> bool:
    if wanted is Any:
        return True
    if variable.__constraints__:
        return wanted in variable.__constraints__
    return variable.__bound__ is None or _below(wanted, variable.__bound__)


def _below(wanted: Any, bound: Any) -> bool:
    """Tell whether a type keeps within a bound, arguments of generic types aside."""
    if is_union(wanted):
        return all(_below(member, bound) for member in get_args(wanted))
    if is_union(bound):
        return any(_below(wanted, member) for member in get_args(bound))
    one, other = (get_origin(form) or (NoneType if form is None else form) for form in (wanted, bound))
    try:
        return other is Any or issubclass(one, other)
    except TypeError:  # a protocol that refuses the question, a NewType, a string
        return bool(wanted == bound)
