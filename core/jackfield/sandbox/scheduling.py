"""SCHED_IDLE: work that runs when nothing else wants the processor."""

import os
from contextlib import suppress

from jackfield.errors import Unavailable


def make_idle(pid: int = 0) -> None:
    """Let a process, and all that it forks from now on, run only when nothing else wants to; there is no way back.

    It takes no privilege for a process of the same user; leaving takes one, so workers for those who matter are others.

    Args:
        pid: which; 0: this one.

    Raises:
        Unavailable: when the system has no such policy, or the process is not ours or gone.
    """
    if not hasattr(os, "SCHED_IDLE"):
        raise Unavailable("sandbox", "this system has no SCHED_IDLE: low priority cannot be held")
    try:
        done: set[str] = set()
        while found := set(os.listdir(f"/proc/{pid or os.getpid()}/task")) - done:  # one may just have been started
            for task in found:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))
            done |= found
    except OSError as error:
        raise Unavailable("sandbox", f"process {pid or os.getpid()} cannot be made idle: {error}") from error


def is_idle(pid: int = 0) -> bool:
    """Whether a process runs so.

    Raises:
        ProcessLookupError: when there is none.
    """
    return hasattr(os, "SCHED_IDLE") and os.sched_getscheduler(pid) == os.SCHED_IDLE
