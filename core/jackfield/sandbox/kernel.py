"""The system calls that confine a process and that Python lacks, through ctypes; Linux alone.

Nothing here looks for libraries (`ctypes.util.find_library` starts programs): libc is in every process already.
"""

import ctypes
import os
import struct
import sys
from functools import lru_cache
from typing import Any, Final

from jackfield.errors import Unavailable

_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER = 1
_TSYNC = 1
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_CAPABILITY_VERSION = 0x20080522
_INSTRUCTION = 8


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@lru_cache(1)
def _libc() -> Any:
    if sys.platform != "linux":
        raise Unavailable("sandbox", f"{sys.platform} has neither seccomp nor Landlock: run it on Linux")
    return ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: Any) -> int:
    """Make a system call by its number.

    Args:
        number: which.
        arguments: ints, or pointers of ctypes.

    Returns:
        What it gives, if it is no error.

    Raises:
        OSError: as it failed.
    """
    libc = _libc()
    libc.syscall.restype = ctypes.c_long
    taken = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *taken))
    if result < 0:
        raise OSError(error := ctypes.get_errno(), os.strerror(error))
    return result


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process.

    Raises:
        OSError: as it failed.
    """
    zero = ctypes.c_ulong(0)
    if _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise OSError(error := ctypes.get_errno(), os.strerror(error))


def die_with_parent() -> None:
    """Have this process killed when the thread that forked it ends. Its own children do not inherit that."""
    prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def forbid_new_privileges() -> None:
    """Forbid that anything that is executed gains a privilege, for good; a filter may be loaded from then on."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability, those of root included: it may still do what its user may."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc().capset(header, nothing) != 0:
        raise OSError(error := ctypes.get_errno(), os.strerror(error))


def load_filter(program: bytes) -> None:
    """Load a BPF program into every thread of this process; nothing takes it out again.

    Raises:
        Unavailable: when the kernel refuses it, or another thread has filters of its own.
    """
    if not program or len(program) % _INSTRUCTION:
        raise Unavailable("sandbox", f"a filter of {len(program)} bytes is no BPF program")
    number = _SECCOMP.get(os.uname().machine)
    if number is None:
        raise Unavailable("sandbox", f"there are no filters for {os.uname().machine}, only for {', '.join(_SECCOMP)}")
    kept = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // _INSTRUCTION, ctypes.addressof(kept))
    try:
        thread = system_call(number, _SET_MODE_FILTER, _TSYNC, ctypes.byref(header))
    except OSError as error:
        raise Unavailable("sandbox", f"the kernel takes no seccomp filter: {error.strerror}") from error
    if thread > 0:
        raise Unavailable("sandbox", f"thread {thread} has a seccomp filter of its own, so none was loaded")


def tasks() -> int:
    """Count the threads of this process, native ones included; a look that no filter and no Landlock forbids."""
    return os.stat("/proc/self/task").st_nlink - 2


def pointer(data: bytes) -> Any:
    """Give a pointer to a copy of some bytes, which lives as long as the pointer."""
    return ctypes.byref(ctypes.create_string_buffer(data, len(data)))


def packed(layout: str, *values: int) -> bytes:
    """Pack numbers as C would lay them out in a structure without padding."""
    return struct.pack(f"={layout}", *values)
