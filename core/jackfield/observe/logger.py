"""Messages through loguru: the `Logger` that plugins get injected, and what jackfield itself has to say."""

import sys
from typing import TYPE_CHECKING, Self

from jackfield import log
from jackfield.log import host_log
from jackfield.model.call import Call, current
from jackfield.model.injectable import injectable
from jackfield.stack import error_type, frames
from jackfield.text import printable

if TYPE_CHECKING:
    from loguru import Record

__all__ = ["Logger", "host_log"]


@injectable
class Logger:
    """Write log messages that join the call they are written in, each in one line. Injectable by type.

    Each record's `extra` has `plugin`; inside a call also `func_name`, `version`, `trace_id`, `span_id` and `tenant`
    where there are any; and the given fields. They are put in when the record is made, by the call that runs then, so
    one logger serves a singleton as well as a function. Records go to the sinks of the process's loguru and name the
    plugin's own file and line; under `pluginctl serve` those from INFO on go to its own log first. A message
    below every sink's level costs next to nothing.

    Args:
        plugin: whose messages these are.
        **fields: go into the `extra` of every record.

    Examples:
        >>> log = Logger("billing")
        >>> log.debug("{not a placeholder}")
        >>> log.bind(batch=7).info("loaded", rows=1_200)
    """

    __slots__ = ("_fields", "_framed", "_loguru", "_plugin")

    def __init__(self, plugin: str, /, **fields: object) -> None:
        self._plugin = plugin
        self._fields = fields
        from loguru import logger  # noqa: PLC0415  # not before there is something to log

        # A patcher runs only for a record that some sink wants: the level is tested before anything is looked up.
        # depth=1 steps over the method of this class, to the plugin's line.
        bound = logger.opt(depth=1).bind(**{**fields, "plugin": plugin})
        self._loguru, self._framed = bound.patch(_one_line), bound.patch(_add_call)

    def bind(self, **fields: object) -> Self:
        """Make a logger with further fields.

        Args:
            **fields: go into the `extra` of every record of the new logger.

        Returns:
            The new logger; this one is unchanged.
        """
        return type(self)(self._plugin, **{**self._fields, **fields})

    def debug(self, message: str, /, **fields: object) -> None:
        """Log at level DEBUG.

        Args:
            message: the text; braces in it mean nothing.
            **fields: go into the record's `extra`.
        """
        self._loguru.debug(_literal(message) if fields else message, **fields)

    def info(self, message: str, /, **fields: object) -> None:
        """Log at level INFO.

        Args:
            message: the text; braces in it mean nothing.
            **fields: go into the record's `extra`.
        """
        if log.heard():
            self._tell("INFO", message, fields)
        self._loguru.info(_literal(message) if fields else message, **fields)

    def warning(self, message: str, /, **fields: object) -> None:
        """Log at level WARNING.

        Args:
            message: the text; braces in it mean nothing.
            **fields: go into the record's `extra`.
        """
        if log.heard():
            self._tell("WARNING", message, fields)
        self._loguru.warning(_literal(message) if fields else message, **fields)

    def error(self, message: str, /, **fields: object) -> None:
        """Log at level ERROR.

        Args:
            message: the text; braces in it mean nothing.
            **fields: go into the record's `extra`.
        """
        if log.heard():
            self._tell("ERROR", message, fields)
        self._loguru.error(_literal(message) if fields else message, **fields)

    def exception(self, message: str, /, **fields: object) -> None:
        """Log at level ERROR with the exception that is being handled: its type, its frames, never a variable's value.

        Args:
            message: the text; braces in it mean nothing. The frames follow it, one a line.
            **fields: go into the record's `extra`, beside `error_type` and `stack`.
        """
        error = sys.exception()
        if error is None:
            if log.heard():
                self._tell("ERROR", message, fields)
            self._loguru.error(_literal(message) if fields else message, **fields)
            return
        # Not loguru's own rendering: by default it prints the values of variables, which may be secrets.
        stack, kind = frames(error), error_type(error)
        if log.heard():
            self._tell("ERROR", f"{message}: {kind}", {**fields, "error_type": kind, "stack": stack})
        text = "\n  ".join([printable(f"{message}: {kind}"), *stack])
        self._framed.error(_literal(text), **{**fields, "error_type": kind, "stack": stack})

    def __repr__(self) -> str:
        """Show the plugin."""
        return f"Logger({self._plugin!r})"

    def _tell(self, level: str, message: str, fields: dict[str, object]) -> None:
        """Give a message to the host's own sinks, which no plugin can take away; loguru gets it besides."""
        log.tell(log.Message(level, message, {**self._fields, **fields, "plugin": self._plugin, **_of_call()}))


def _literal(message: str) -> str:
    # loguru formats a message when there are fields: what a user typed must not be taken for a placeholder.
    return message.replace("{", "{{").replace("}", "}}")


def _one_line(record: "Record") -> None:
    """Put the running call into a record, and its text into one line: users choose parts of what plugins say."""
    record["message"] = printable(record["message"])
    _add_call(record)


def _add_call(record: "Record") -> None:
    """Put the running call into a record that is about to be written."""
    if log.heard():
        record[log.HEARD] = True  # type: ignore[typeddict-unknown-key]  # read again by the sink of `serve` alone
    record["extra"].update(_of_call())


def _of_call() -> dict[str, object]:
    """Give what joins a message to the call that is running."""
    return call_fields(current.get())


def call_fields(call: Call | None) -> dict[str, object]:
    """Give what joins a message to a call.

    Args:
        call: in which something is said; None outside of any.
    """
    while call is not None and not call.name:  # opened by `deadline()`
        call = call.parent
    if call is None:
        return {}
    extra: dict[str, object] = {"func_name": call.name, "version": call.version}
    if call.tenant is not None:
        extra["tenant"] = call.tenant
    if call.trace is not None:
        extra["trace_id"] = f"{call.trace.trace_id:032x}"
        extra["span_id"] = f"{call.trace.span_id:016x}"
    return extra
