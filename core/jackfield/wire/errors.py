"""Errors as data: how one of jackfield's crosses to another process with its fields, and any other as a crash."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from jackfield import errors
from jackfield.errors import FunctionCrashed, JackfieldError
from jackfield.stack import error_type, facts, frames, outcome_of
from jackfield.strangers import is_a
from jackfield.text import printable

_SHORT: Final = 4_000  # characters
_ABSENT: Final = object()


class Failure(msgspec.Struct, frozen=True):
    """An error as data.

    Attributes:
        type: the name of its class in `jackfield.errors`.
        message: for people, and for clients that do not know the class.
        outcome: what the call is counted as.
        fields: the error's fields.
    """

    type: str
    message: str
    outcome: str
    fields: dict[str, Any] = {}

    def shortened(self) -> "Failure":
        """Give what fits into any frame: its text alone."""
        return msgspec.structs.replace(self, message=self.message[:_SHORT], fields={})


_KINDS: Final[Mapping[str, type[JackfieldError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, JackfieldError)
}


def describe(error: BaseException, what: str) -> Failure:
    """Turn an error into data.

    Args:
        error: one of jackfield's crosses with its fields, under the name of the nearest class that everybody knows;
            any other as a `FunctionCrashed`, with its stack as text, and nothing of what it says that a stranger wrote.
        what: what failed, as a function is named.

    Examples:
        >>> from jackfield.errors import Rejected
        >>> failure = describe(Rejected("too early", code="early"), "control:start")
        >>> failure.type, failure.fields["code"]
        ('Rejected', 'early')
    """
    if not is_a(error, JackfieldError):
        stack = "\n".join(frames(error))
        error = FunctionCrashed(what, error_type(error), facts(error), remote_stack=stack)
    kind = next(kind for kind in type(error).__mro__ if _KINDS.get(kind.__name__) is kind)
    fields = {name: found for name in _fields(kind) if (found := _field(error, name)) is not _ABSENT}
    if is_a(error, FunctionCrashed) and not error.remote_stack:
        fields["remote_stack"] = "\n".join(frames(error))  # the cause itself stays behind
    return Failure(kind.__name__, _text(error), outcome_of(error).value, fields)


def restore(failure: Failure, what: str) -> JackfieldError:
    """Make the error that a failure describes: of the same class when it is known here and its fields fit.

    Args:
        failure: as it came.
        what: what failed, as a function is named.

    Examples:
        >>> from jackfield.errors import Rejected
        >>> restore(describe(Rejected("too early", code="early"), "f"), "f")
        Rejected(message='too early', code='early', details={})
    """
    kind = _KINDS.get(failure.type)
    if kind is JackfieldError:
        return JackfieldError(printable(failure.message))
    if kind is not None:
        known = _fields(kind).items()
        try:
            return kind(
                **{name: msgspec.convert(failure.fields[name], of) for name, of in known if name in failure.fields}
            )
        except (msgspec.ValidationError, TypeError):  # of another version: its text says what its fields cannot
            return FunctionCrashed(what, f"jackfield.{failure.type}", failure.message)
    return FunctionCrashed(what, failure.type, failure.message)


def _fields(kind: type) -> dict[str, Any]:
    return {field.name: field.type for field in attrs.fields(kind)} if attrs.has(kind) else {}


def _field(error: JackfieldError, name: str) -> Any:
    try:
        return getattr(error, name, _ABSENT)
    except BaseException:  # noqa: BLE001  # a property of a stranger's subclass
        return _ABSENT


def _text(error: JackfieldError) -> str:
    try:
        return str.__str__(str(error))
    except BaseException as broken:  # noqa: BLE001  # fields may hold a plugin's objects
        return f"(the message cannot be shown: {error_type(broken)})"
