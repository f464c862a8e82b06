"""What grpcio logs of bytes of strangers: an error with a stack for each, as often as anybody sends some."""

import logging
from typing import Final

_LOGGER: Final = "grpc._cython.cygrpc"
_BEGINS: Final = "Invalid encoding on"  # metadata, or the name of a method; then it reads it as Latin-1


class _Strangers(logging.Filter):
    """Leaves out what says nothing but that somebody has sent text that is none."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, UnicodeDecodeError) or str(record.msg).startswith(_BEGINS))


_FILTER: Final = _Strangers()


def leave_out() -> None:
    """Keep it out of the log; what else grpcio has to say stays."""
    logging.getLogger(_LOGGER).addFilter(_FILTER)
