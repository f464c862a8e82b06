"""What a guest does to itself: stage one before it imports other people's code, stage two before it works.

Both are one way. What is imported in between is hostile for all that is known: it runs in stage one, which therefore
lets nothing through that would harm anybody outside; and it could keep stage two from being entered, which is why
`jackfield.sandbox.starting.seen` looks from outside.
"""

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jackfield.errors import Unavailable
from jackfield.sandbox import kernel, landlock
from jackfield.sandbox.port import Confinement, Limits, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADROOM = 512  # tasks that the rest of the system may gain before it is a guest's bound that refuses one


def enter_stage_one(confinement: Confinement) -> tuple[str, ...]:
    """Confine this process, for good: its death with its parent, privileges, limits, paths and ports, system calls.

    Args:
        confinement: what it may.

    Returns:
        What could not be held here, in words.

    Raises:
        Unavailable: when the process has more than one thread, since a thread keeps what it had; or when the system
            lacks what the tier needs. The process is then to end: it may be confined in part.
    """
    _require_one_task()
    kernel.die_with_parent()
    kernel.forbid_new_privileges()
    os.umask(0o077)
    os.chdir(confinement.scratch or "/")
    for _, kind, most in _rlimits(confinement.limits, alone=confinement.tier is Tier.SELF):
        _lower(kind, most)
    notes = landlock.notes(confinement, landlock.abi()) if landlock.abi() else ()
    if landlock.abi() or confinement.tier is Tier.SELF:
        landlock.restrict(confinement)
    else:
        notes = ("there is no Landlock: mounts alone hold the paths, and nothing the ports",)
    kernel.drop_capabilities()
    kernel.load_filter(confinement.filter_import)
    return notes


def enter_stage_two(confinement: Confinement) -> None:
    """Take away from this process, threads included, what only importing needed, for good.

    A child that was forked after stage one enters it by itself, and from then on dies with its parent.

    Args:
        confinement: the one of stage one.

    Raises:
        Unavailable: when the kernel refuses.
    """
    try:
        kernel.die_with_parent()
    except OSError as error:
        raise Unavailable("sandbox", f"stage two has been entered, or stage one has not: {error}") from error
    kernel.load_filter(confinement.filter_strict)


def enter_limits(limits: Limits) -> tuple[str, ...]:
    """Limit this process where there is no tier for it, on macOS and Windows: as far as the system has limits.

    Args:
        limits: what it may use.

    Returns:
        What is not held here, in words.
    """
    if find_spec("resource") is None:
        return (f"{sys.platform} has neither a sandbox nor limits of memory, tasks and descriptors",)
    notes = [f"{sys.platform} has no sandbox here: nothing holds files, network and system calls"]
    for name, kind, most in _rlimits(limits, alone=True):
        try:
            _lower(kind, most)
        except (OSError, ValueError) as error:  # macOS refuses some that it has
            notes.append(f"{name} cannot be set: {error}")
    return tuple(notes)


def _require_one_task() -> None:
    if sys.platform != "linux":
        raise Unavailable("sandbox", f"{sys.platform} has neither seccomp nor Landlock: run it on Linux")
    try:
        found = kernel.tasks()
    except OSError as error:
        raise Unavailable("sandbox", f"the threads of this process cannot be counted: {error}") from error
    if found != 1:
        raise Unavailable(
            "sandbox",
            f"this process has {found} threads, and those that are there already would stay outside:"
            " enter it before anything starts one",
        )


def _lower(kind: int, most: int) -> None:
    import resource  # noqa: PLC0415  # Windows has none

    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


def _rlimits(limits: Limits, *, alone: bool) -> "Iterator[tuple[str, int, int]]":
    """Give name, number and value of each limit that this system has."""
    import resource  # noqa: PLC0415  # as above

    # RLIMIT_NPROC counts all tasks of the user, unless the guest has a user namespace of its own; not for root.
    others = _system_tasks() + _HEADROOM if alone else 0
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_AS": limits.address_space,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": None if limits.pids is None else limits.pids + others,
    }
    for name, most in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None and most is not None:
            yield name, kind, most


def _system_tasks() -> int:
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[2])
    except OSError:  # some containers hide it
        return 4096
