"""Messages as they come: read only when they are what they should be."""

from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from jackfield_contrib.grpc.functions_pb2 import Calls
from jackfield_contrib.http.problems import Refused

M = TypeVar("M", bound=Message)

_LEAD: Final = 0x0A  # of a call among calls: field 1, with its length before it
_CANCELS: Final = 10  # times as many as calls


def one(kind: type[M], raw: bytes) -> M:
    """Read a message of a kind.

    Raises:
        Refused: when it is none.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise Refused(400, f"the message is no {kind.DESCRIPTOR.full_name}") from None


def many(raw: bytes, most: int) -> Calls:
    """Read some calls.

    Args:
        raw: the message.
        most: how many there may be. They are counted before they are made: an empty one is two bytes here, and a
            hundred in memory.

    Raises:
        Refused: when there are more, or it is none.
    """
    if raw.count(_LEAD) > most and _calls(raw, most) > most:
        raise Refused(413, f"a message has at most {most:,} calls")
    made = one(Calls, raw)
    if len(made.cancel) > _CANCELS * most:
        raise Refused(413, f"a message cancels at most {_CANCELS * most:,} calls")
    return made


def _calls(raw: bytes, most: int) -> int:
    """Count calls, up to one too many; whoever decodes what is no message says so."""
    at, found = 0, 0
    while at < len(raw) and found <= most:
        lead, at = _number(raw, at)
        if lead & 7 == 0:
            _, at = _number(raw, at)
        elif lead & 7 == 2:  # noqa: PLR2004  # the length goes before it
            length, at = _number(raw, at)
            at += length
            found += lead == _LEAD
        else:
            at += {1: 8, 5: 4}.get(lead & 7, len(raw))
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; give it and where it ends."""
    value = shift = 0
    for byte in raw[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one
            return value, at
        shift += 7
    return value, len(raw)
