"""What ends a verb though nobody foresaw it: told in one line, without a traceback unless one is asked for."""

import sys
from typing import Any, Final

_NO_THREAD: Final = "can't start new thread"


def report(error: Exception) -> int:
    """Say in one line what ended a verb, and give the exit code.

    What the system refuses (no memory, threads or files any more, a folder that cannot be written) is told in its own
    words. Anything else is a fault of jackfield's own, and told with its line. In Python's development mode
    (`PYTHONDEVMODE=1`) the whole traceback comes first.

    Args:
        error: what came up.
    """
    import traceback

    if sys.flags.dev_mode:
        traceback.print_exception(error)
    from jackfield.cli.output import say, styled
    from jackfield.text import printable

    say(f"{styled('error:', 'bad')} {printable(described(error))}")
    return 1


def described(error: Exception) -> str:
    """Render in one line what `report` says of an error."""
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the working directory does not exist any more"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        return "the system gives no more memory"
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return "the system gives no more threads"
    import traceback

    from jackfield.stack import error_message, error_type

    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    said = error_message(error)
    return (
        f"{error_type(error)}{f': {said}' if said else ''}{where}"
        " → this is a fault of jackfield's own: please report it, with what PYTHONDEVMODE=1 shows"
    )


def pass_over_loops() -> None:
    """Say nothing of event loops that could not be made, whose clean-up then fails: the error itself is told."""
    before = sys.unraisablehook

    def hook(unraisable: Any, /) -> None:
        if getattr(unraisable.object, "__qualname__", "") != "BaseEventLoop.__del__":
            before(unraisable)

    sys.unraisablehook = hook
