"""What the host and its plugins say under `pluginctl serve`: into its own log first, a copy to loguru."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from time import localtime, strftime
from typing import TYPE_CHECKING, Any, Final

from jackfield.cli.outlet import Outlet
from jackfield.log import HEARD, Message, copy_to_loguru, install
from jackfield.observe.record import utc_now
from jackfield.stack import error_type, frames
from jackfield.text import printable, printable_json
from jackfield.wire.documents import shown_json

if TYPE_CHECKING:
    from loguru import Message as LoguruMessage

_COPIES: Final = 1_000  # that may wait for a sink of a plugin's
_SHOWN: Final = {"INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"}


def open_messages(
    outlet: Outlet, *, shown: bool, further: Callable[[Message], None] | None = None
) -> Callable[[], None]:
    """Have what is said go to an outlet, and to the sinks of loguru that plugins add; loguru's own one is removed.

    Args:
        outlet: where to; readable text for a terminal, else one JSON object a line.
        shown: whether it is to be seen there at all; what is recorded for an audit always is.
        further: takes the same from level INFO on, shown or not; it must neither wait nor raise.

    Returns:
        What ends that.
    """
    from loguru import logger

    log = _Log(outlet, shown, further)
    logger.remove()  # loguru's own sink would show the values of variables below an exception
    if shown or further is not None:
        logger.add(log.from_loguru, level="INFO", format="{message}", diagnose=False, backtrace=False)
    threading.Thread(target=log.copy, name="pluginctl-copies", daemon=True).start()
    remove = install(log.hear)

    def close() -> None:
        remove()
        log.copies.put(None)

    return close


class _Log:
    """The log of `serve`."""

    def __init__(self, outlet: Outlet, shown: bool, further: Callable[[Message], None] | None) -> None:
        self.copies: SimpleQueue[Message | None] = SimpleQueue()
        self._outlet = outlet
        self._shown = shown
        self._further = further

    def hear(self, message: Message) -> None:
        """Take what the host says, or a plugin through its `Logger`."""
        self._write(message)
        # A sink that a plugin has added may hang, and what the host itself does must not wait for it. A plugin's own
        # `Logger` gives loguru its copy by itself, in the plugin's thread.
        if message.module and self.copies.qsize() < _COPIES:
            self.copies.put(message)

    def from_loguru(self, message: "LoguruMessage") -> None:
        """Take what a plugin says through loguru, without a `Logger`."""
        record = message.record
        if not record.get(HEARD):
            raised = record["exception"]
            error = None if raised is None else raised.value
            self._write(Message(record["level"].name, record["message"], record["extra"], error))

    def copy(self) -> None:
        """Give loguru its copies, one after the other."""
        while (message := self.copies.get()) is not None:
            with suppress(Exception):  # a sink that raises: who added it did not want its errors caught
                copy_to_loguru(message)

    def _write(self, message: Message) -> None:
        is_audit = message.event != "log"
        if not is_audit and message.level not in _SHOWN:
            return
        if self._further is not None:
            self._further(message)
        if not is_audit and not self._shown:
            return
        try:
            self._outlet.write((_text if self._outlet.isatty() else _json)(message))
        except UnicodeEncodeError:
            self._outlet.say(f"{message.level} {ascii(message.text)[1:-1]}")


def _json(message: Message) -> str:
    """Render a message as one flat JSON object, as call records are."""
    row = {"timestamp": utc_now(), "level": message.level, "event": message.event, "message": message.text}
    row = {**row, **message.fields, **_raised(message), **row}  # its own fields first, whatever others are called
    return printable_json(shown_json(row).decode()) + "\n"


def _text(message: Message) -> str:
    fields = {**message.fields, **_raised(message)}
    stack = "".join(f"\n    {printable(str(line))}" for line in fields.get("stack") or ())
    return f"{strftime('%H:%M:%S', localtime())} {message.level:<7} {printable(message.text)}{stack}\n"


def _raised(message: Message) -> Mapping[str, Any]:
    """Give the type and the frames of the exception that a message came with."""
    error = message.error
    return {} if error is None else {"error_type": error_type(error), "stack": frames(error)}
