"""What options take that is no text: numbers within bounds, and one of a few words; and what is said of others."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import typer

E = TypeVar("E", bound=StrEnum)


def number(least: float = -math.inf, most: float = math.inf) -> Callable[[Any], float]:
    """Make the parser of a number.

    Args:
        least: the smallest that is taken.
        most: the largest.

    Examples:
        >>> number(0.1)("2")
        2.0
    """
    return _within(float, "number", least, most)


def whole(least: float = -math.inf, most: float = math.inf) -> Callable[[Any], int]:
    """Make the parser of a whole number, as `number` does."""
    return _within(int, "whole number", least, most)


def word(kind: type[E]) -> dict[str, Any]:
    """Make the settings of an option that takes one of a few words, for `typer.Option`.

    Args:
        kind: the words.
    """

    def read(text: Any) -> E:
        try:
            return kind(text)
        except ValueError:
            from jackfield.model.names import close_names

            words = [each.value for each in kind]
            close = close_names(str(text), words)
            meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise typer.BadParameter(f"{_shown(text)} is none of {', '.join(words)}{meant}") from None

    return {"parser": read, "metavar": f"[{'|'.join(kind)}]"}


def _within(kind: Callable[[Any], Any], noun: str, least: float, most: float) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise typer.BadParameter(f"{_shown(text)} is no {noun}") from None
        if not least <= value <= most:  # nor is it, if it is no number at all
            bounds = f"at least {least:,.12g}" if most == math.inf else f"from {least:,.12g} to {most:,.12g}"
            raise typer.BadParameter(f"{_shown(text)}: give a {noun} that is {bounds}")
        return value

    return read


def _shown(text: Any) -> str:
    return repr(str(text)[:80])
