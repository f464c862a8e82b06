"""How much an annotation may be made of, and what stands for one that is made of more.

Thirty lines can make a type of 2**30 parts, `T = tuple[T, T]` over and over: in memory it is small, but whoever hashes,
compares, evaluates or prints it walks it as a tree, and never comes back. So what is evaluated, substituted or taken
out of an alias or a type variable goes through `bounded`; behind it every annotation is one that may be walked.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, ForwardRef, Literal, get_args, get_origin

import attrs

PARTS: Final = 20_000
"""The most parts that an annotation may have, each counted as often as it is met."""

TYPES: Final = 500
"""The most different types that a contract may be made of."""

DEPTH: Final = 200
"""The most levels that an annotation may be nested."""

TEXT: Final = 100_000
"""The most characters that an annotation in a string may have."""

_SHOWN: Final = 100  # characters of a text


@attrs.frozen(repr=False, eq=False)
class TooLarge:
    """Stands for an annotation that has more parts or levels than anybody could walk; it cannot be checked.

    Two of one name may stand for different types: each is equal to itself alone.

    Attributes:
        name: its beginning, in words.
    """

    name: str

    def __repr__(self) -> str:
        """Show it as part of an annotation."""
        return self.name


def bounded(annotation: Any, meaning: Callable[[Any], Any] | None = None) -> Any:
    """Give an annotation that can be walked: itself, or what stands for it.

    Args:
        annotation: evaluated or not.
        meaning: evaluates one string or forward reference, whose parts then count too.

    Raises:
        Exception: whatever `meaning` raises.

    Examples:
        >>> bounded(dict[str, list[int]])
        dict[str, list[int]]
        >>> wide = int
        >>> for _ in range(30):
        ...     wide = tuple[wide, wide]
        >>> bounded(wide)
        tuple[...]
    """
    if type(annotation) is type or not _is_large(annotation, meaning):
        return annotation
    if isinstance(annotation, str | ForwardRef):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        return TooLarge(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
    origin = get_origin(annotation)
    name = getattr(origin, "__name__", None) or getattr(origin, "_name", None)
    return TooLarge(f"{name}[...]" if isinstance(name, str) else f"{type(annotation).__name__}[...]")


def parts(annotation: Any) -> int:
    """Count what an annotation that can be walked is made of: what looking at it costs.

    Args:
        annotation: what `bounded` gave.

    Examples:
        >>> parts(dict[str, list[int]])
        4
    """
    left, count = [annotation], 0
    while left:
        count += 1
        left += (one for one, _ in _inner(left.pop()))
    return count


def _is_large(annotation: Any, meaning: Callable[[Any], Any] | None) -> bool:
    """Walk as far as an annotation may go; each part comes with the texts around it, none being entered in itself."""
    left: list[tuple[Any, int, tuple[str, ...] | None]] = [(annotation, 0, () if meaning else None)]
    known: dict[str, Any] = {}
    count = 1
    while left:
        part, depth, within = left.pop()
        if isinstance(part, str | ForwardRef):
            text = part if isinstance(part, str) else part.__forward_arg__
            if within is None or meaning is None or text in within:
                continue
            if len(text) > TEXT:
                return True
            if text not in known:
                known[text] = meaning(part)
            inner: Iterable[tuple[Any, bool]] = ((known[text], True),)
            within = (*within, text)
        else:
            inner = _inner(part)
        for one, evaluated in inner:
            count += 1
            if count > PARTS or depth == DEPTH:
                return True
            left.append((one, depth + 1, within if evaluated else None))
    return False


def _inner(part: Any) -> Iterable[tuple[Any, bool]]:
    """Give what hashing, comparing and evaluating an annotation go into, each with whether a string there is a type."""
    kind = type(part)
    if kind is type:
        return ()
    if kind in (tuple, list, frozenset):
        return ((one, kind is list) for one in part)
    if kind is dict:
        return ((one, False) for one in part.values())
    if kind is dataclasses.InitVar:
        return ((part.type, True),)
    origin = get_origin(part)
    if origin is Annotated:
        return ((one, at == 0) for at, one in enumerate((part.__origin__, *part.__metadata__)))
    return ((one, origin is not Literal) for one in get_args(part))
