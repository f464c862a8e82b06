"""What does not fit, where, and in the user's words; never the value itself, which may be a secret.

Validators like to repeat what they refuse, in any form that they think of. So nothing that a payload class's own code
says is shown: its name and the type of what it raised are, and the exception is the error's cause, for its author.
"""

import difflib
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, get_origin

import msgspec

from jackfield.contract.payload.pydantic_words import in_our_words
from jackfield.contract.shapes import Field, is_pydantic, render, strip
from jackfield.errors import PayloadError
from jackfield.stack import error_type, raised_here

_SHOWN: Final = 200  # characters of an expectation, a path or an author's message that an error repeats
_WORDS: Final = {"null": "None", "object": "dict", "array": "list"}
_MESSAGE: Final = re.compile(
    r"(?P<what>.*?)(?:, got `?(?P<got>[^`]*)`?)?(?: - at (?:`key` in )?`\$?(?P<path>.*)`)?", re.DOTALL
)


class Misfit(Exception):  # never leaves this package
    """What does not fit; the path grows on the way out, so that a fitting payload pays nothing for it."""

    def __init__(self, path: str, expected: str, got: str) -> None:
        self.path, self.expected, self.got = path, expected, got

    def error(self, function: str) -> PayloadError:
        """Give the error that the caller of the function sees."""
        return PayloadError(function, _short(f"${self.path}"), _short(self.expected), _short(self.got))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def type_name(value: object) -> str:
    """Name the type of a value."""
    return "None" if value is None else type(value).__name__


def key_step(key: object) -> str:
    """Give the step of a path that leads to the value under a key; only what looks like a field's name is shown."""
    return f".{key[:40]}" if isinstance(key, str) and key.isidentifier() else "[...]"


def under(step: str, take: Callable[[Any], Any], value: Any) -> Any:
    """Take in a value that is one step below another."""
    try:
        return take(value)
    except Misfit as misfit:
        misfit.path = step + misfit.path
        raise


def stranger(value: Mapping[Any, Any], fields: tuple[Field, ...]) -> Misfit:
    """Name the first unknown key of a record, and the field that was probably meant."""
    names = [field.name for field in fields]
    key = next(key for key in value if key not in names)
    if not isinstance(key, str):
        return Misfit("", "keys of type str", f"a key of type {type_name(key)}")
    close = difflib.get_close_matches(key[:_SHOWN], names, n=1)
    known = f"the keys {', '.join(names)}" if names else "no keys"
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return Misfit("", known, f"unknown key {key[:40]!r}{hint}")


def told(annotation: Any, value: Any, error: Exception) -> Misfit:  # noqa: PLR0911  # one for each kind of message
    """Say in the user's words what msgspec, pydantic or a class's own check says of a value, and never the value."""
    if isinstance(error, Misfit):
        return error
    if is_pydantic(get_origin(annotation) or annotation) and isinstance(error, _pydantics_own()):
        return _told_by_pydantic(error)
    own = type(error) is msgspec.ValidationError and (error.__cause__ is not None or raised_here(error))
    found = _MESSAGE.fullmatch(str(error)) if own else None
    if found is None:
        return refused(annotation, error)
    what, path = found["what"], found["path"] or ""
    kind = "value" if path else type_name(value)
    if what.startswith("Expected "):
        expected = " | ".join(_WORDS.get(word, word) for word in what[9:].replace("`", "").split(" | "))
        got = found["got"]
        plain = re.fullmatch(r"Expected `[^`]*`", what) is not None and got is not None
        if not path:
            return Misfit("", render(annotation) if plain else expected, kind if plain else f"another {kind}")
        return Misfit(path, expected, _WORDS.get(got, got) if got else "another value")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return Misfit(f"{path}.{missing[1]}", "a value", "missing")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return Misfit(path, "no other keys", f"unknown key {unknown[1][:40]!r}")
    if what.startswith("Invalid ") and error.__cause__ is None:
        secret = what.startswith(("Invalid enum value", "Invalid value"))
        got = f"another {kind}" if secret else f"{kind}: {what[0].lower()}{what[1:]}"
        return Misfit(path, members(annotation), got)
    return refused(annotation, error.__cause__ or error, path)


def members(annotation: Any) -> str:
    """Name the values of an enum or a literal."""
    cls = strip(annotation)
    if isinstance(cls, type) and issubclass(cls, Enum):
        return "one of " + ", ".join(repr(member.value) for member in cls)
    return render(annotation)


def own_code(error: Exception) -> BaseException | None:
    """Give the exception of a payload class's own check, which its author will want to see; None for msgspec's own."""
    return error.__cause__ if isinstance(error, msgspec.ValidationError) else error


def refused(annotation: Any, error: BaseException, path: str = "") -> Misfit:
    """Say which check of a class failed, and with what."""
    return Misfit(path, f"a valid {render(annotation)}", _refusal(error))


def _refusal(error: BaseException) -> str:
    """Name the function that refuses, and the type of what it raised."""
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    by = f"{frames[-1].co_qualname.rpartition('<locals>.')[2]}()" if frames and not raised_here(error) else "it"
    return f"one that {by} refuses with {error_type(error)}"


def _pydantics_own() -> tuple[type[BaseException], ...]:
    """Give the class of pydantic's own errors, once something has imported pydantic."""
    core = sys.modules.get("pydantic_core")
    return () if core is None else (core.ValidationError,)


# Of pydantic's own messages, the kinds that say nothing of the value; others are cut where they begin to.
_WHOLE: Final = re.compile(
    r".*_type|(int|float|bool|decimal|complex_str)_parsing|int_.*|string_.*|bytes_too_.*|too_.*|(greater|less)_than.*"
    r"|multiple_of|finite_number|decimal_.*|date_(past|future|from_datetime_inexact)|datetime_(past|future)"
    r"|timezone_(aware|naive)|literal_error|enum|none_required|union_tag_not_found|url_(scheme|too_long)|uuid_version"
    r"|recursion_loop|is_(instance|subclass)_of"
)


def told_by_pydantic(annotation: Any, error: Any) -> Misfit:
    """Say in the user's words what pydantic says of a value of a type that it converts."""
    return _told_by_pydantic(error) if callable(getattr(error, "errors", None)) else refused(annotation, error, "")


def _told_by_pydantic(error: Any) -> Misfit:
    first = error.errors(include_url=True)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else key_step(step) for step in first["loc"])
    kind, context, got = first["type"], first.get("ctx", {}), type_name(first["input"])
    if "url" not in first or kind in ("value_error", "assertion_error"):  # pydantic documents its own kinds alone
        raised = context.get("error")
        refusal = _refusal(raised) if isinstance(raised, Exception) else "one that it refuses"
        return Misfit(path, "a value that the model's own validator takes", refusal)
    if kind == "missing":
        return Misfit(path, "a value", "missing")
    if kind == "extra_forbidden":
        return Misfit(path, "no other keys", "an unknown key")
    if kind == "union_tag_invalid":
        return Misfit(path, f"one of {context['expected_tags']} as {context['discriminator']}", "another tag")
    if (expected := in_our_words(kind, context)) is not None:
        return Misfit(path, expected, got)
    return Misfit(path, _in_their_words(kind, first["msg"].removeprefix("Input should be ")), got)


def _in_their_words(kind: str, said: str) -> str:
    """Keep of what pydantic says as much as can hold no value."""
    if _WHOLE.fullmatch(kind):
        return said
    cut = re.split(r"[,:]", said)[0]
    return cut if cut.startswith("a valid ") else f"what passes pydantic's `{kind}`"
