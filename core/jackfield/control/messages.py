"""What the frames of the control socket say: a request, and its replies."""

from typing import Any, Literal

import msgspec

from jackfield.errors import ResourceExhausted
from jackfield.wire.errors import Failure, describe
from jackfield.wire.frames import FrameError, pack

_NAMED = 100  # characters of a verb


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
    failure = describe(error, asked(verb))
    try:
        return pack(Reply(number, ok=False, error=failure, stream=stream))
    except FrameError:  # details of a refusal that are larger than a frame
        return pack(Reply(number, ok=False, error=failure.shortened(), stream=stream))


def asked(verb: str) -> str:
    """Name a verb as a call, in an error."""
    return f"control:{verb if len(verb) <= _NAMED else verb[:_NAMED] + '…'}"
