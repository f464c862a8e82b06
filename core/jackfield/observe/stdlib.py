"""From loguru to the standard library's `logging`, for processes that log with that."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message

CALLS: Final = "jackfield.calls"
"""The logger that the records of calls go to."""

_TAKEN: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_DEFAULT: Final = 0  # the number of the sink that loguru itself has added


def to_logging() -> Callable[[], None]:
    """Have `logging` write what goes through loguru: records of calls, what the host says, what plugins say.

    Each goes to the logger of the module that said it, a call's record to `jackfield.calls`; levels, handlers and
    filters are those of `logging`. Fields (`func_name`, `trace_id`, `outcome`, what a plugin has given) are attributes
    of the record, with a `_` behind a name that is taken. The sink that loguru begins with, on stderr, is taken away,
    or everything would be written twice; other sinks stay.

    Returns:
        A function that ends it.

    Examples:
        >>> from jackfield.observe.logger import Logger
        >>> seen = []
        >>> class Keep(logging.Handler):
        ...     emit = staticmethod(seen.append)
        >>> logging.getLogger("jackfield.observe").addHandler(handler := Keep())
        >>> end = to_logging()
        >>> Logger("billing").warning("late", rows=7)
        >>> end()
        >>> [record.plugin for record in seen]
        ['billing']
    """
    with suppress(ValueError):  # somebody has done it before
        logger.remove(_DEFAULT)
    # Whether a record is wanted is for `logging` to say; it has no levels below 1 but NOTSET.
    number = logger.add(_write, level=1, format="{message}", catch=True)

    def end() -> None:
        with suppress(ValueError):
            logger.remove(number)

    return end


def _write(message: "Message") -> None:
    record = message.record
    fields = record["extra"]
    target = logging.getLogger(CALLS if fields.get("event") == "call" else record["name"] or "")
    level = record["level"].no
    if not target.isEnabledFor(level):
        return
    raised = record["exception"]
    error = None if raised is None or raised.value is None else (type(raised.value), raised.value, raised.traceback)
    target.handle(
        target.makeRecord(
            target.name, level, record["file"].path, record["line"], record["message"], (), error,
            record["function"], {f"{key}_" if key in _TAKEN else key: value for key, value in fields.items()},
        )
    )  # fmt: skip
