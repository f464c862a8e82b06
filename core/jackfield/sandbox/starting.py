"""Starting a guest: with a stated environment, the descriptors that are meant for it, and nothing else of the host."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import attrs

from jackfield.errors import Unavailable
from jackfield.sandbox.port import Launch, Tier

FIRST = 3
"""The number that a guest's first descriptor has, in every tier."""

_OUT_OF_THE_WAY = 64
_CLEANUP_TIMEOUT = 10.0


def start(
    launch: Launch, *, descriptors: Sequence[int] = (), stdout: int | None = None, stderr: int | None = None
) -> int:
    """Start a guest, in a process group of its own: one signal to that reaches whatever it forks.

    It dies with the thread that starts it, so that should be one that lasts.

    Args:
        launch: what a tier says.
        descriptors: what the guest finds as 3, 4, … .
        stdout: where its output goes, a pipe of its own (it can change the flags of what is shared); None: nowhere.
        stderr: the same for its errors.

    Returns:
        Its process id; of the tiers that put a program around it, that of the program, which ends when the guest does
        and takes it along. It is a child of this process, to be waited for.

    Raises:
        Unavailable: when the system does not start it.
    """
    if not hasattr(os, "posix_spawn"):
        raise Unavailable("sandbox", f"guests cannot be started on {sys.platform}", cause="start_failed", ran=False)
    import fcntl  # noqa: PLC0415  # Windows has none

    with ExitStack() as opened:

        def moved(descriptor: int) -> int:
            copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
            opened.callback(os.close, copy)
            return copy

        try:
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            opened.callback(os.close, nowhere)
            wanted = [nowhere, nowhere if stdout is None else stdout, nowhere if stderr is None else stderr]
            sources = [moved(each) for each in (*wanted, *descriptors)]
            actions: list[Any] = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate(sources)]
            actions += [(os.POSIX_SPAWN_CLOSE, number) for number in _inheritable() if number >= len(sources)]
            with _labelled(launch.label):
                return os.posix_spawn(
                    launch.argv[0],
                    launch.argv,
                    launch.environment,
                    file_actions=actions,
                    setpgroup=0,
                    setsigmask=(),
                    setsigdef=[each for each in signal.valid_signals() if each not in {signal.SIGKILL, signal.SIGSTOP}],
                )
        except OSError as error:
            finish(launch)
            raise Unavailable(
                "sandbox", f"{launch.argv[0]} cannot be started: {error}", cause="start_failed", ran=False
            ) from error


def _inheritable() -> Iterator[int]:
    """Give the descriptors that whatever this process executes would get; Python makes none unasked, libraries do."""
    for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        with suppress(OSError):  # the listing's own is gone by now
            if os.get_inheritable(int(name)):
                yield int(name)


def _labelled(label: str | None) -> ExitStack:
    """Have what this thread executes next get an SELinux label."""
    stack = ExitStack()
    if label is not None:

        def write(value: str) -> None:
            with open("/proc/thread-self/attr/exec", "w", encoding="ascii") as file:
                file.write(value)

        stack.callback(write, "")
        write(label)
    return stack


def guest_of(pid: int, tier: Tier) -> int:
    """Give the process id of the guest itself, given what `start` gave; in tier `self` they are one.

    Raises:
        ProcessLookupError: when the guest is not there, or not yet.
    """
    if tier is Tier.SELF:
        return pid
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                return int(child)
    raise ProcessLookupError(errno.ESRCH, f"process {pid} has no guest")


@attrs.frozen
class Seen:
    """What the kernel says of a guest, whatever that says of itself.

    Attributes:
        filters: how many seccomp filters it has: one since stage one, two since stage two.
        no_new_privileges: whether nothing that it executes can gain a privilege.
        threads: how many it has.
    """

    filters: int
    no_new_privileges: bool
    threads: int


def seen(pid: int) -> Seen:
    """Look from outside how a process is confined.

    Raises:
        ProcessLookupError: when there is none.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = {name: value for name, _, value in (line.partition(":") for line in file)}
    except FileNotFoundError as error:
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from error
    number = {name: int(fields.get(name, "0")) for name in ("Seccomp_filters", "NoNewPrivs", "Threads")}
    return Seen(number["Seccomp_filters"], number["NoNewPrivs"] == 1, number["Threads"])


def finish(launch: Launch) -> None:
    """Take away what a guest that has ended left in the system."""
    if launch.cleanup:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603  # a runtime that was configured
                launch.cleanup,
                env=dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_CLEANUP_TIMEOUT,
                check=False,
            )
    if launch.folder is not None:
        shutil.rmtree(launch.folder, ignore_errors=True)
