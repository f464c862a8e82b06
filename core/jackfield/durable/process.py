"""Whether a process has ended, told without a doubt by another one of the same machine, and not told otherwise.

The lease of a process that was killed ends some time later, since from afar nobody can tell dead from slow. The kernel
that ran both can: on Linux a process is named by the boot, by its namespaces, without which a number or a start time
means another thing, and by its number and start time, of which no two are the same in one boot.
"""

import os
from functools import cache
from pathlib import Path
from typing import Final

_STARTED: Final = 19  # place of `starttime` after the name in /proc/PID/stat; proc_pid_stat(5) counts from the front


def mark_of_this() -> bytes:
    """Name this process, for `has_ended`; b"" where that cannot be done."""
    machine = _machine(os.getpid())
    return f"{machine} {os.getpid()} {_started(os.getpid())}".encode() if machine else b""


def has_ended(mark: bytes) -> bool:
    """Tell whether a process is known to have ended.

    Args:
        mark: what it named itself.

    Examples:
        >>> has_ended(mark_of_this()), has_ended(b"")
        (False, False)
    """
    machine, _, process = mark.decode("ascii", "replace").partition(" ")
    number, _, started = process.partition(" ")
    if not started.isdecimal() or not number.isdecimal() or machine != _machine(os.getpid()):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is somebody else's, or none
        pass
    return _started(int(number)) not in {started, ""}  # its number is another one's by now


@cache
def _machine(pid: int) -> str:
    """Name what numbers and start times are to be compared within; for each process anew, which a fork makes."""
    try:
        if str(Path("/proc/self").readlink()) != str(pid):  # that of another namespace
            return ""
        spaces = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("pid", "time")]
        return "/".join([Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(), *spaces])
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[_STARTED]
