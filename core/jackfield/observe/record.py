"""The record of one call, and its forms: a line of JSON, a line to read, a message for loguru."""

import json
from collections.abc import Callable
from time import gmtime, localtime, strftime, time
from typing import Final

import msgspec

from jackfield.text import printable, printable_json


class Record(msgspec.Struct, omit_defaults=True):
    """What is logged of one call; fields without a value are left out of the JSON.

    Attributes:
        timestamp: when the call ended, RFC 3339 in UTC.
        level: loguru's level name.
        event: "call", or "retry" of an attempt that failed and is followed by another.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        func_name: the function's name.
        version: the version that ran.
        plugin: whose function it is.
        tenant: whom the call was for.
        duration_ms: milliseconds, to the microsecond.
        outcome: the value of an `Outcome`.
        error_type: the class of what went wrong.
        code: the code of a `Rejected`.
        message: the error's text, where it was asked for.
        stack: the frames of a crash.
        attempt: the number of the attempt, of calls that were tried again.
    """

    timestamp: str
    level: str
    event: str
    trace_id: str = ""
    span_id: str = ""
    func_name: str = ""
    version: str = ""
    plugin: str = ""
    tenant: str = ""
    duration_ms: float = -1.0
    outcome: str = ""
    error_type: str = ""
    code: str = ""
    message: str = ""
    stack: list[str] = []
    attempt: int = 0


Render = Callable[[Record], str]

_encode: Final = msgspec.json.Encoder().encode
_second: tuple[int, str] = (0, "")


def utc_now() -> str:
    """Give the time as in `2025-03-01T12:00:00.000125Z`; all but the fraction is kept within a second."""
    global _second  # noqa: PLW0603  # a cache
    moment = time()
    whole = int(moment)
    known, text = _second  # one read of one tuple: another thread may be replacing it
    if whole != known:
        text = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(whole))
        _second = (whole, text)
    return f"{text}{int((moment - whole) * 1e6):06d}Z"


def json_line(record: Record) -> str:
    """Encode a record as one line of JSON."""
    try:
        return printable_json(_encode(record).decode()) + "\n"
    except UnicodeEncodeError:  # a lone surrogate, as from a badly decoded header
        return ascii_line(record)


def ascii_line(record: Record) -> str:
    """Encode a record as one line of JSON that any stream and any text survives."""
    return json.dumps(fields_of(record), ensure_ascii=True, separators=(",", ":")) + "\n"


def fields_of(record: Record) -> dict[str, object]:
    """Give the fields that have a value."""
    fields = msgspec.structs.asdict(record)
    if not record.attempt:
        del fields["attempt"]
    return {name: value for name, value in fields.items() if value not in ("", [])}


def sentence(record: Record) -> str:
    """Render what happened as one line: `risk.score@1.4 crashed after 12.3 ms: ValueError at /srv/risk.py:7 score`.

    Control characters are escaped: a tenant or a message must not be able to steer a terminal or to forge a line.
    """
    version = f"@{record.version}" if record.version else ""
    tenant = f" for {printable(record.tenant)}" if record.tenant else ""
    head = f"{printable(record.func_name)}{version}{tenant} {record.outcome} after {record.duration_ms:g} ms"
    if record.attempt:
        head += f", attempt {record.attempt}" + (", and is tried again" if record.event == "retry" else "")
    if not record.error_type:
        return head
    code = f" ({printable(record.code)})" if record.code else ""
    message = f": {printable(record.message)}" if record.message else ""
    frame = next((line for line in reversed(_first_error(record.stack)) if line), "")
    where = f" at {printable(frame)}" if frame else ""
    return f"{head}: {printable(record.error_type)}{code}{message}{where}"


def readable_line(*, colour: bool) -> Render:
    """Make the form for a terminal: the local time, the level, what happened; below a crash its frames.

    Args:
        colour: colour the level, dim the time.

    Returns:
        The function that renders a record, its line end included.
    """
    levels = {"INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"} if colour else {}
    dim, off = ("\x1b[2m", "\x1b[0m") if colour else ("", "")

    def render(record: Record) -> str:
        at = strftime("%H:%M:%S", localtime())
        trace = f" {dim}trace {record.trace_id}{off}" if record.trace_id else ""
        stack = "".join(f"\n    {printable(line)}" for line in record.stack)
        level = f"{levels.get(record.level, '')}{record.level:<7}{off}"
        return f"{dim}{at}{off} {level} {sentence(record)}{trace}{stack}\n"

    return render


def _first_error(stack: list[str]) -> list[str]:
    """Give the frames of the error itself, without those of its causes."""
    for number, line in enumerate(stack):
        if line.startswith(("caused by ", "while handling ", "member ")):
            return stack[:number]
    return stack
