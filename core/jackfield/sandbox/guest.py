"""The guest that a probe starts: it enters both stages, tries what it must not do and what it must, and tells.

What it gets is a `Confinement` on its first descriptor, up to the end; what it answers there is a `Told`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs

from jackfield.errors import JackfieldError
from jackfield.sandbox.enter import enter_stage_one, enter_stage_two
from jackfield.sandbox.port import Confinement

_FIRST = 3
_CHUNK = 1 << 16


@attrs.frozen
class Told:
    """What a guest found.

    Attributes:
        reason: why it could not enter a stage; "" when it could.
        wrong: what it could do and must not, and what it could not do and must.
        notes: what `enter_stage_one` gave.
        namespaces: those that it was started in, as `namespaces` gives them.
    """

    reason: str = ""
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


def namespaces() -> tuple[str, ...]:
    """Give the names of the namespaces that this process sees processes and files in, as far as it can."""
    found = []
    for kind in ("pid", "mnt"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/ns/{kind}"))
    return tuple(found)


def main() -> None:
    """Be the guest."""
    import msgspec  # noqa: PLC0415  # before the stages, like everything

    data = b"".join(iter(lambda: os.read(_FIRST, _CHUNK), b""))
    told = _enter(msgspec.msgpack.decode(data, type=Confinement))
    os.write(_FIRST, msgspec.msgpack.encode(told))


def _enter(confinement: Confinement) -> Told:
    import socket  # noqa: PLC0415  # as above

    around = namespaces()
    try:
        notes = enter_stage_one(confinement)
        wrong = [f"stage one: {each}" for each in _tried(socket.socket)]
        enter_stage_two(confinement)
        wrong += [f"stage two: {each}" for each in _tried(socket.socket)]
    except JackfieldError as error:
        return Told(reason=str(error))
    except OSError as error:  # which a container may answer with where the kernel would not
        return Told(reason=f"{type(error).__name__}: {error}")
    return Told(notes=notes, wrong=tuple(wrong), namespaces=around)


def _tried(socket: Callable[[], Any]) -> Iterator[str]:
    for what, forbidden in (
        ("it forks", os.fork),
        ("it opens a socket", socket),
        ("it starts a program", lambda: os.posix_spawn("/bin/true", ["true"], {})),
        ("it reads /etc/passwd", lambda: os.close(os.open("/etc/passwd", os.O_RDONLY))),
        ("it writes a file", lambda: os.close(os.open("/tmp/jackfield", os.O_WRONLY | os.O_CREAT))),  # noqa: S108  # what it must not reach
        ("it signals a process", lambda: os.kill(1, 0)),
    ):
        try:
            if forbidden() == 0:  # a child that there must not be
                os._exit(0)
        except OSError:
            continue
        yield what
    try:
        os.stat(os.__file__)
        os.close(os.open(os.__file__, os.O_RDONLY))
    except OSError as error:
        yield f"it cannot read its own library: {error}"
