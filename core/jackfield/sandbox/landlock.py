"""Landlock: which paths and TCP ports a process and its children may reach, from now on and for good.

The system calls and their structures: https://docs.kernel.org/userspace-api/landlock.html
"""

import os
import stat
from contextlib import suppress
from functools import lru_cache

from jackfield.errors import Unavailable
from jackfield.sandbox.kernel import packed, pointer, system_call
from jackfield.sandbox.port import Confinement

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH, _PORT = 1, 2

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_SOCKET, _MAKE_BLOCK, _MAKE_SYMLINK, _REFER = 1 << 6, 1 << 9, 1 << 11, 1 << 12, 1 << 13
_BIND, _CONNECT = 1 << 0, 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

_RIGHTS = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL}
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_NEVER_WRITTEN = _EXECUTE | _IOCTL | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCKET | _MAKE_SYMLINK
_SINCE = {
    3: "truncating files is not held",
    4: "the ports that may be connected to are not held",
    6: "abstract Unix sockets and signals are held by system calls alone",
}


@lru_cache(1)
def abi() -> int:
    """Give the version of Landlock that this kernel has; 0: none, or it is switched off or forbidden here."""
    with suppress(OSError, Unavailable):
        return system_call(_CREATE, 0, 0, _VERSION)
    return 0


def notes(confinement: Confinement, version: int) -> tuple[str, ...]:
    """Say what a version of Landlock does not hold of what a confinement wants held.

    Examples:
        >>> notes(Confinement((), b"", b"", ports=(443,)), 3)[0]
        'Landlock 3: the ports that may be connected to are not held'
    """
    wanted = {3: bool(confinement.writable or confinement.scratch), 4: bool(confinement.ports), 6: True}
    return tuple(f"Landlock {version}: {what}" for since, what in _SINCE.items() if version < since and wanted[since])


def restrict(confinement: Confinement) -> None:
    """Let this thread, and what it starts, reach only what is named; a path that is not there is passed over.

    Raises:
        Unavailable: when the kernel has no Landlock, or refuses a rule.
    """
    version = abi()
    if not version:
        raise Unavailable(
            "sandbox", "this kernel has no Landlock, or a container forbids it (Linux 5.13, lsm=landlock)"
        )
    paths = sum(rights for since, rights in _RIGHTS.items() if since <= version)
    handled = (paths, _BIND | _CONNECT, _ABSTRACT_SOCKETS | _SIGNALS)
    if confinement.ports == ():  # anywhere, yet it listens nowhere
        handled = (paths, _BIND, handled[2])
    used = handled[: 1 if version < 4 else 2 if version < 6 else 3]  # noqa: PLR2004  # as the table of versions has it
    attributes = packed("Q" * len(used), *used)
    try:
        ruleset = system_call(_CREATE, pointer(attributes), len(attributes), 0)
        try:
            for path in confinement.readable:
                _allow(ruleset, path, paths & (_READ | _LIST))
            for path in confinement.executable:
                _allow(ruleset, path, paths & (_READ | _LIST | _EXECUTE))
            for path in (*confinement.writable, *([confinement.scratch] if confinement.scratch else [])):
                _allow(ruleset, path, paths & ~_NEVER_WRITTEN)
            if len(used) > 1:
                for port in confinement.ports or ():
                    system_call(_ADD, ruleset, _PORT, pointer(packed("QQ", _CONNECT, port)), 0)
            system_call(_RESTRICT, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise Unavailable("sandbox", f"Landlock refuses: {error}") from error


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            rights &= _OF_FILES
        system_call(_ADD, ruleset, _PATH, pointer(packed("Qi", rights, found)), 0)
    finally:
        os.close(found)
