"""One spelling of every type: how its author happened to write it must not decide what is found under it."""

import sys
import typing
from collections.abc import Iterator, Mapping
from functools import partial
from types import GenericAlias, NoneType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from jackfield.model.generics import bindings_of, completed, is_union, substitute, variables_of
from jackfield.model.size import PARTS, TEXT, TooLarge, bounded

DEEPEST: Final = 100
"""Layers around a type: beyond it an alias stands for itself, or for ever more, as `type Deep[T] = Deep[list[T]]`."""


class _Carrier:
    """Something with one annotation, since `typing.get_type_hints` evaluates all of an object's annotations or none."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def evaluate(annotation: Any, names: Mapping[str, Any], inner: Mapping[str, Any] | None = None) -> Any:
    """Evaluate one annotation, strings inside it included, and keep `Annotated`.

    Args:
        annotation: as written.
        names: what the names in it may mean.
        inner: what they mean before that.

    Returns:
        The type; what stands for it if it is too large, see `bounded`.

    Raises:
        Exception: whatever evaluating it raises: an annotation in a string is arbitrary code.

    Examples:
        >>> evaluate("list['int'] | None", {})
        list[int] | None
    """
    if isinstance(annotation, str) and len(annotation) <= TEXT:
        annotation = typing.ForwardRef(annotation)  # compiled once: it is evaluated twice
    outer, local = dict(names), dict(inner or {})
    # Before `typing` walks it: that evaluates what strings in it mean, and goes on into that.
    whole = bounded(annotation, partial(_meaning, names=outer, inner=local))
    if isinstance(whole, TooLarge):
        return whole
    return typing.get_type_hints(_Carrier(annotation), outer, local, include_extras=True)["it"]


def _meaning(reference: Any, names: dict[str, Any], inner: dict[str, Any]) -> Any:
    """Evaluate one string or forward reference, and nothing that it means in turn, as `typing` does."""
    made: Any = typing.ForwardRef(reference) if isinstance(reference, str) else reference
    if sys.version_info >= (3, 14):
        return made.evaluate(globals=names, locals=inner)
    module = getattr(sys.modules.get(made.__forward_module__), "__dict__", names)
    return eval(made.__forward_code__, module, inner)  # noqa: S307  # an annotation is its author's code


def is_alias(annotation: Any) -> bool:
    """Tell whether an annotation is a `type` alias, of `typing` or of `typing_extensions`."""
    return type(annotation).__name__ == "TypeAliasType"


def aliased(annotation: Any) -> Any:
    """Give what a `type` alias stands for, with its arguments if it has some; anything else as it is.

    Raises:
        Exception: whatever evaluating it raises: it is evaluated now, and the author's code.
    """
    if is_alias(annotation):
        return substitute(_value(annotation), bindings_of(annotation.__type_params__, ()))
    alias = get_origin(annotation)
    if not is_alias(alias):
        return annotation
    return substitute(_value(alias), bindings_of(alias.__type_params__, get_args(annotation)))


def _value(alias: Any) -> Any:
    """Give what an alias is for; where there is no `type` statement, it names itself in a string."""
    value = alias.__value__
    try:
        return evaluate(value, vars(sys.modules[alias.__module__]))
    except (NameError, KeyError):  # of what is known only where it was made
        return value


def canonical(annotation: Any) -> Any:
    """Write a type as jackfield looks it up: aliases resolved, `Annotated` and `Final` taken off, at any depth.

    What `typing` names anew is named as it is at run time: `typing.List[int]` is `list[int]`, `typing.Mapping` is that
    of `collections.abc`, `Optional[X]` is `X | None`. A `NewType` is a type of its own. What is not said of a generic
    class, the defaults of its type variables say (PEP 696).

    Args:
        annotation: evaluated.

    Returns:
        The type; what is no type, and what cannot be written anew, comes back as it is.

    Examples:
        >>> import typing
        >>> canonical(typing.Dict[str, typing.List[Annotated[int, "a note"]]])
        dict[str, list[int]]
        >>> canonical(typing.Sequence)
        <class 'collections.abc.Sequence'>
    """
    if type(annotation) is GenericAlias:  # as `dict[str, int]`, or of an alias
        parts = (annotation.__origin__, *annotation.__args__)
        plain = all(type(one) is type and not variables_of(one) for one in parts)
    else:
        plain = isinstance(annotation, type) and not variables_of(annotation)
    if plain:
        return annotation
    try:
        return _canonical(annotation, (), iter(range(PARTS)))
    except (_TooMany, RecursionError):  # aliases of aliases: what looks small may stand for millions of types
        return annotation


class _TooMany(Exception):
    """There are more types in an annotation than can be written anew."""


def peeled(annotation: Any) -> Iterator[Any]:
    """Walk from a type inwards through what only surrounds it: aliases, `Annotated`, `Final`, `| None`.

    Args:
        annotation: evaluated.

    Yields:
        The annotation itself first; last the type that is meant.
    """
    seen: list[Any] = []
    while len(seen) < DEEPEST and not any(annotation is each for each in seen):
        seen.append(annotation)
        yield annotation
        annotation = _inside(annotation)


def _inside(annotation: Any) -> Any:
    """Take off one layer; what has none comes back as it is."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return annotation.__origin__
    if origin is Final:
        return get_args(annotation)[0]
    if is_union(annotation):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return members[0] if len(members) == 1 else annotation
    if type(annotation).__name__ == "InitVar":  # of dataclasses, which are not imported for it
        return annotation.type
    try:
        return aliased(annotation)
    except Exception:  # noqa: BLE001  # an alias of a stranger's
        return annotation


def _canonical(annotation: Any, within: tuple[Any, ...], budget: Iterator[int]) -> Any:
    if next(budget, None) is None:
        raise _TooMany
    if isinstance(annotation, list):  # the parameters of a Callable
        return [_canonical(each, within, budget) for each in annotation]
    if is_union(annotation):
        members = [_canonical(member, within, budget) for member in get_args(annotation)]
        return Union[tuple(members)]  # noqa: UP007  # as computed
    inner = _inside(annotation)
    if inner is annotation:
        return _respelled(annotation, within, budget)
    alias = get_origin(annotation) if is_alias(get_origin(annotation)) else annotation
    return annotation if any(alias is each for each in within) else _canonical(inner, (*within, alias), budget)


def _respelled(annotation: Any, within: tuple[Any, ...], budget: Iterator[int]) -> Any:
    """Write a type with arguments as it is named at run time, the arguments likewise."""
    annotation = _completed(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal:
        return annotation
    if not arguments and getattr(annotation, "__args__", None) is None:
        return origin  # `typing.List` without arguments
    given = tuple([_canonical(argument, within, budget) for argument in arguments])
    try:
        return origin[given[0] if len(given) == 1 else given]
    except TypeError:  # special forms that take no tuple
        return annotation


def _completed(annotation: Any) -> Any:
    try:
        return completed(annotation)
    except Exception:  # noqa: BLE001  # a default, or a class that is subscripted, of a stranger's
        return annotation
