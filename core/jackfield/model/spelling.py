"""One spelling of every type: how its author happened to write it must not decide what is found under it."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from jackfield.model.generics import substituted

_UNIONS = (Union, UnionType)
_DEEPEST: Final = 100  # layers: `type Deep[T] = Deep[list[T]]` has ever new ones


def canonical(annotation: Any) -> Any:
    """Write a type as jackfield looks it up: aliases resolved, `Annotated` and `Final` taken off, at any depth.

    What `typing` names anew is named as it is at run time: `typing.List[int]` is `list[int]`, `typing.Mapping` is that
    of `collections.abc`, `Optional[X]` is `X | None`. A `NewType` is a type of its own.

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
    return annotation if isinstance(annotation, type) else _canonical(annotation, ())


def peeled(annotation: Any) -> Iterator[Any]:
    """Walk from a type inwards through what only surrounds it: aliases, `Annotated`, `Final`, `| None`.

    Args:
        annotation: evaluated.

    Yields:
        The annotation itself first; last the type that is meant.
    """
    seen: list[Any] = []
    while len(seen) < _DEEPEST and not any(annotation is each for each in seen):
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
    if origin in _UNIONS:
        members = [member for member in get_args(annotation) if member is not NoneType]
        return members[0] if len(members) == 1 else annotation
    if type(annotation).__name__ == "InitVar":  # of dataclasses, which are not imported for it
        return annotation.type
    return _aliased(annotation, origin)


def _aliased(annotation: Any, origin: Any) -> Any:
    """Give what a `type` alias stands for; of Python, or of typing_extensions on 3.11."""
    alias = annotation if origin is None else origin
    if type(alias).__name__ != "TypeAliasType":
        return annotation
    try:
        value = alias.__value__
    except Exception:  # noqa: BLE001  # it is evaluated now, by the author's code
        return annotation
    return substituted(value, dict(zip(alias.__type_params__, get_args(annotation), strict=False)))


def _canonical(annotation: Any, within: tuple[Any, ...]) -> Any:
    if isinstance(annotation, list):  # the parameters of a Callable
        return [_canonical(each, within) for each in annotation]
    if get_origin(annotation) in _UNIONS:
        return Union[tuple(_canonical(member, within) for member in get_args(annotation))]  # noqa: UP007  # as computed
    inner = _inside(annotation)
    if inner is annotation:
        return _respelled(annotation, within)
    alias = get_origin(annotation) if type(get_origin(annotation)).__name__ == "TypeAliasType" else annotation
    return annotation if any(alias is each for each in within) else _canonical(inner, (*within, alias))


def _respelled(annotation: Any, within: tuple[Any, ...]) -> Any:
    """Write a type with arguments as it is named at run time, the arguments likewise."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal:
        return annotation
    if not arguments and getattr(annotation, "__args__", None) is None:
        return origin  # `typing.List` without arguments
    given = tuple(_canonical(argument, within) for argument in arguments)
    try:
        return origin[given[0] if len(given) == 1 else given]
    except TypeError:  # special forms that take no tuple
        return annotation
