"""Types with variables in them: find the variables, put types in their place, and match a pattern against a type."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin

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


def substituted(annotation: Any, bindings: Bindings) -> Any:
    """Put types in the place of variables; those that are not bound stay.

    Examples:
        >>> T = TypeVar("T")
        >>> substituted(dict[str, list[T]], {T: int})
        dict[str, list[int]]
    """
    if isinstance(annotation, TypeVar):
        return bindings.get(annotation, annotation)
    if not bindings or not is_open(annotation):
        return annotation
    return annotation[tuple(bindings.get(variable, variable) for variable in annotation.__parameters__)]


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


def seen_from(cls: Any, base: type) -> Bindings:
    """Find what the variables of a base class stand for in a class: `T` of `Repo` is `int` in `class Ints(Repo[int])`.

    Args:
        cls: the class, or a generic one with arguments.
        base: the class itself, or one that it inherits from.
    """
    found: dict[type, Bindings] = {}
    frontier: list[tuple[Any, Bindings]] = [(parametrised(cls), {})]
    while frontier:
        form, outer = frontier.pop()
        origin = get_origin(form) or form
        if not isinstance(origin, type) or origin in found:
            continue
        arguments = (substituted(argument, outer) for argument in get_args(form))
        variables = getattr(origin, "__parameters__", ())
        found[origin] = dict(zip(variables, arguments, strict=False)) or dict.fromkeys(variables, Any)
        bases = vars(origin).get("__orig_bases__", origin.__bases__)
        frontier += [(each, found[origin]) for each in bases if get_origin(each) is not Generic]
    return found.get(base, {})


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
    if get_origin(wanted) in (Union, UnionType):
        return all(_below(member, bound) for member in get_args(wanted))
    if get_origin(bound) in (Union, UnionType):
        return any(_below(wanted, member) for member in get_args(bound))
    one, other = (get_origin(form) or (NoneType if form is None else form) for form in (wanted, bound))
    try:
        return other is Any or issubclass(one, other)
    except TypeError:  # a protocol that refuses the question, a NewType, a string
        return bool(wanted == bound)
