"""What the frames of the control socket say: a request, its replies, and errors as data."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
import msgspec

from jackfield import errors
from jackfield.errors import FunctionCrashed, JackfieldError, ResourceExhausted
from jackfield.observe.stack import error_message, error_type, frames
from jackfield.wire.frames import FrameError, pack


class Request(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        id: chosen by the client; its replies carry it.
        verb: what to do.
        arguments: with what.
    """

    id: int
    verb: str
    arguments: dict[str, Any] = {}


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


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reply.

    Attributes:
        id: of the request; None when the connection as a whole is refused.
        ok: whether it went well.
        result: the value, or one item of a stream.
        error: what went wrong.
        stream: "" for the only reply to a request; else "open", "item", … and "end", which may carry an error.
    """

    id: int | None
    ok: bool
    result: Any = None
    error: Failure | None = None
    stream: Literal["", "open", "item", "end"] = ""


_KINDS: Final[Mapping[str, type[JackfieldError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, JackfieldError)
}


def reply_frame(reply: Reply, verb: str) -> bytes:
    """Make the frame of a reply; one that is too large becomes the error that says so.

    Args:
        reply: what to send.
        verb: what was asked for.
    """
    try:
        return pack(reply)
    except FrameError as error:
        return failure_frame(reply.id, ResourceExhausted(asked(verb), str(error)), verb, "end" if reply.stream else "")


def failure_frame(number: int | None, error: BaseException, verb: str, stream: Literal["", "end"] = "") -> bytes:
    """Make the frame of a reply that carries an error.

    Args:
        number: the request's id, or None.
        error: what went wrong.
        verb: what was asked for.
        stream: "end" when it ends a stream.
    """
    failure = describe(error, verb)
    try:
        return pack(Reply(number, ok=False, error=failure, stream=stream))
    except FrameError:  # details of a refusal that are larger than a frame
        short = msgspec.structs.replace(failure, message=failure.message[:4_000], fields={})
        return pack(Reply(number, ok=False, error=short, stream=stream))


def asked(verb: str) -> str:
    """Name a verb as a call, in an error."""
    return f"control:{verb if len(verb) <= 100 else verb[:100] + '…'}"  # noqa: PLR2004


def describe(error: BaseException, verb: str) -> Failure:
    """Turn an error into data.

    Args:
        error: one of jackfield's crosses with its fields, under the name of the nearest class that everybody knows;
            any other as a `FunctionCrashed` of the verb, with its stack as text.
        verb: what was asked for.

    Examples:
        >>> from jackfield.errors import Rejected
        >>> failure = describe(Rejected("too early", code="early"), "start")
        >>> failure.type, failure.fields["code"]
        ('Rejected', 'early')
    """
    if not isinstance(error, JackfieldError):
        stack = "\n".join(frames(error))
        error = FunctionCrashed(asked(verb), error_type(error), error_message(error), remote_stack=stack)
    kind = next(kind for kind in type(error).__mro__ if _KINDS.get(kind.__name__) is kind)
    fields = {name: getattr(error, name) for name in _fields(kind) if hasattr(error, name)}
    if isinstance(error, FunctionCrashed) and not error.remote_stack:
        fields["remote_stack"] = "\n".join(frames(error))  # the cause itself stays behind
    return Failure(kind.__name__, _text(error), error.outcome.value, fields)


def restore(failure: Failure, verb: str) -> JackfieldError:
    """Make the error that a failure describes: of the same class when it is known here and its fields fit.

    Args:
        failure: as it came.
        verb: what was asked for.

    Examples:
        >>> from jackfield.errors import Rejected
        >>> restore(describe(Rejected("too early", code="early"), "start"), "start")
        Rejected(message='too early', code='early', details={})
    """
    kind = _KINDS.get(failure.type)
    if kind is JackfieldError:
        return JackfieldError(failure.message)
    if kind is not None:
        known = _fields(kind).items()
        try:
            return kind(
                **{name: msgspec.convert(failure.fields[name], of) for name, of in known if name in failure.fields}
            )
        except (msgspec.ValidationError, TypeError):  # of another version: its text says what its fields cannot
            return FunctionCrashed(asked(verb), f"jackfield.{failure.type}", failure.message)
    return FunctionCrashed(asked(verb), failure.type, failure.message)


def _fields(kind: type) -> dict[str, Any]:
    return {field.name: field.type for field in attrs.fields(kind)} if attrs.has(kind) else {}


def _text(error: JackfieldError) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # fields may hold a plugin's objects
        return f"(the message cannot be shown: {type(broken).__name__})"
