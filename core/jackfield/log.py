"""What jackfield itself has to say: first to the sinks of its own that somebody installed, else to loguru.

An embedding process has no such sink: there, everything goes through loguru as it always did, and none is added to it.
`pluginctl serve` installs one, so that no plugin can silence or hold up the host by what it does to loguru, which is
everybody's: it may remove sinks, add one that hangs, disable names.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final, Literal, TypeAlias

import attrs

from jackfield.errors import Fault
from jackfield.stack import error_type, frames, logged, messages_are_logged
from jackfield.text import printable

Level: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

HEARD: Final = "jackfield_heard"
"""The key of loguru's records that are copies of what jackfield's own sinks have had."""


@attrs.frozen
class Message:
    """Something that was said.

    Attributes:
        level: loguru's level name.
        text: what; of the host's own one line, of a plugin's whatever it says.
        fields: more of it, by name.
        error: the exception that it is about, if a plugin says so; the host's own have its type and frames as fields.
        module: who said it.
        function: where.
        line: where.
        event: what kind of record it is: `log`, or one of `audit_log`.
    """

    level: str
    text: str
    fields: Mapping[str, Any] = {}
    error: BaseException | None = None
    module: str = ""
    function: str = ""
    line: int = 0
    event: str = "log"


Sink: TypeAlias = Callable[[Message], object]

_sinks: tuple[Sink, ...] = ()
_installing = threading.Lock()


def install(sink: Sink) -> Callable[[], None]:
    """Have everything that is said go to a sink of jackfield's own.

    Args:
        sink: takes each message, in any thread, at any line, also inside itself: it must neither raise nor wait. From
            now on nothing else is done with what the host says; whether loguru gets a copy is the sink's business.

    Returns:
        What takes it away again.

    Examples:
        >>> said = []
        >>> remove = install(said.append)
        >>> host_log("INFO", "ready", plugins=3)
        >>> remove()
        >>> said[0].text, dict(said[0].fields)
        ('ready', {'plugins': 3})
    """
    global _sinks  # noqa: PLW0603  # one tuple, replaced: whoever says something reads it without a lock
    with _installing:
        _sinks = (*_sinks, sink)

    def remove() -> None:
        global _sinks  # noqa: PLW0603
        with _installing:
            _sinks = tuple(each for each in _sinks if each is not sink)

    return remove


def heard() -> bool:
    """Tell whether there are sinks of jackfield's own."""
    return bool(_sinks)


def tell(message: Message) -> None:
    """Give a message to jackfield's own sinks."""
    for sink in _sinks:
        sink(message)


def host_log(level: Level, message: str | Fault, error: BaseException | None = None, /, **fields: object) -> None:
    r"""Say what jackfield itself has to say, at the caller's module and line.

    Without sinks of its own it goes through loguru, where `logger.disable("jackfield")` silences it.

    Args:
        level: loguru's level name.
        message: the text, in which braces mean nothing and control characters are escaped, because plugins choose parts
            of it; or a fault, whose fields are added.
        error: the exception that it is about. Its type and place are added to the text, its frames to the fields; what
            it says only where `Logs(messages=True)` asks for that. It is never handed on: loguru would print its
            message, and with `diagnose` the values of variables.
        **fields: further fields.
    """
    if isinstance(message, Fault):
        fields = {**attrs.asdict(message), **fields}
    text = printable(str(message))
    if error is not None:
        text = f"{text}: {logged(error)}"
        fields = {"error_type": error_type(error), "stack": frames(error), **fields}
    if _sinks:
        tell(Message(level, text, fields, None, *_caller()))
    else:
        from loguru import logger  # noqa: PLC0415  # not before there is something to log

        logger.opt(depth=1).bind(**fields).log(level, text)


def audit_log(event: str, message: str, /, **fields: object) -> None:
    """Say something that is to be kept, as a record of its own kind: it goes out though other messages do not.

    No plugin can say the like: of what plugins say the kind is `log`, whatever fields they give it.

    Args:
        event: what kind of record it is.
        message: one line of text; control characters are escaped, because strangers choose parts of it.
        **fields: further fields; none of them a secret.
    """
    text = printable(message)
    if _sinks:
        tell(Message("WARNING", text, fields, None, *_caller(), event))
    else:
        from loguru import logger  # noqa: PLC0415  # as above

        logger.opt(depth=1).bind(event=event, **fields).warning("{}", text)


def _caller() -> tuple[str, str, int]:
    """Give the module, function and line of whoever has called the caller of this."""
    frame: FrameType = sys._getframe(2)  # noqa: SLF001  # what loguru itself does
    return str(frame.f_globals.get("__name__", "")), frame.f_code.co_name, frame.f_lineno


def copy_to_loguru(message: Message) -> None:
    """Send a message through loguru as well; if sinks of jackfield's own have had it, marked by `HEARD`."""

    def mark(record: Any) -> None:
        if heard():
            record[HEARD] = True
        record.update({"name": message.module, "function": message.function, "line": message.line})

    from loguru import logger  # noqa: PLC0415  # as above

    kind = {} if message.event == "log" else {"event": message.event}
    logger.opt(exception=message.error).bind(**{**message.fields, **kind}).patch(mark).log(message.level, message.text)


def confide(what: str, error: BaseException) -> None:
    """Say in the log what an exception says, where `Logs(messages=True)` asks for that; the fault made of it does not.

    Args:
        what: was being done, as in `plugin billing: start()`.
        error: what it raised.
    """
    if messages_are_logged():
        host_log("WARNING", f"{what} raised", error)
