"""The end of a process in which anybody's code has run."""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import Final, NoReturn

_LAST: Final = 2.0  # seconds for all of it


def leave(code: int) -> NoReturn:
    """End this process now, whatever threads plugins have left behind: see decision 0026.

    What is registered with `atexit` is done and the streams are flushed, as far as that takes two seconds at most.

    Args:
        code: the exit code.
    """

    def last() -> None:
        atexit._run_exitfuncs()  # noqa: SLF001  # as the interpreter does, but with a limit
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()

    with suppress(RuntimeError):  # no thread is to be had: then it ends without
        thread = threading.Thread(target=last, name="pluginctl-end", daemon=True)
        thread.start()
        thread.join(_LAST)
    os._exit(code)
