"""Observers that fail: said once in a while, through loguru, and never to the caller."""

import threading
from time import monotonic
from types import FunctionType, MethodType, TracebackType
from typing import Final

from jackfield.log import host_log
from jackfield.stack import error_type, frames, traceback_of
from jackfield.strangers import is_interrupt

_QUIET: Final = 60.0
_KINDS_LIMIT: Final = 256


class _Limiter:
    """Lets each kind of message through once a minute and counts the rest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def passes(self, kind: tuple[str, str]) -> int | None:
        """Ask for one message; gives how many were held back before it, or None to hold this one back too."""
        now = monotonic()
        with self._lock:
            next_at, held = self._kinds.get(kind, (0.0, 0))
            if kind in self._kinds and now < next_at:
                self._kinds[kind] = (next_at, held + 1)
                return None
            if len(self._kinds) >= _KINDS_LIMIT:  # a kind that changes with every call must not fill the memory
                self._kinds.clear()
            self._kinds[kind] = (now + _QUIET, 0)
            return held


_failures = _Limiter()


def observer_failed(observer: object, error: BaseException) -> None:
    """Log that an observer raised: once a minute for each class of observer and of error. Raises nothing but a Ctrl-C.

    The error's message is left out, since it may hold values of a call; type and frames tell where it came from.

    Args:
        observer: the observer or bound observer that failed, or the function that was to give it numbers.
        error: what it raised.
    """
    named = observer if isinstance(observer, FunctionType | MethodType) else type(observer)
    name = f"{named.__module__}.{named.__qualname__}"
    try:
        kind = error_type(error)
        held = _failures.passes((name, kind))
        if held is None:
            return
        # Here jackfield's own frames are of interest too: the observer is often one of jackfield's.
        last: TracebackType | None = traceback_of(error)
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        where = f" at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last is not None else ""
        again = f" ({held} more since the last such message)" if held else ""
        text = f"observer {name} failed with {kind}{where}; calls go on without it{again}"
        host_log("ERROR", text, observer=name, error_type=kind, stack=frames(error))
    except BaseException as problem:  # a sink that raises (`catch=False`) must not turn into the caller's error
        if is_interrupt(problem):
            raise
