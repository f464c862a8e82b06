"""The port that every tier is behind, and the plain data that crosses it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

import attrs


class Tier(StrEnum):
    """How a guest is kept apart. A later one stops whatever an earlier one stops."""

    SELF = "self"
    NAMESPACES = "namespaces"
    OCI = "oci"

    def satisfies(self, least: "Tier") -> bool:
        """Whether this tier is at least that one.

        Examples:
            >>> Tier.OCI.satisfies(Tier.NAMESPACES), Tier.SELF.satisfies(Tier.NAMESPACES)
            (True, False)
        """
        order = list(Tier)
        return order.index(self) >= order.index(least)


@attrs.frozen
class Limits:
    """What a guest may use; None: whatever its user may.

    Attributes:
        memory: bytes of private memory, as RLIMIT_DATA counts it: past it an allocation is a `MemoryError`.
        address_space: bytes of mappings of any kind, as RLIMIT_AS counts them.
        pids: processes and threads.
        open_files: descriptors.
    """

    memory: int | None = None
    address_space: int | None = None
    pids: int | None = None
    open_files: int | None = None


@attrs.frozen
class Confinement:
    """What a guest applies to itself, as plain data: it crosses to the guest as MessagePack.

    Attributes:
        readable: files and folders that may be read.
        executable: files and folders that may be read and executed, as far as system calls allow.
        writable: folders, or files, that may be read and changed.
        scratch: an empty folder of this guest's own, which is its working directory; None: it may keep no files.
        filter_import: the BPF program of stage one, made by `filters.compile_filter`.
        filter_strict: that of stage two.
        limits: see there.
        ports: TCP ports that may be connected to: () for any; None: no network at all.
        tier: the one that is around the guest.
    """

    readable: tuple[str, ...]
    filter_import: bytes
    filter_strict: bytes
    executable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    scratch: str | None = None
    limits: Limits = Limits()
    ports: tuple[int, ...] | None = None
    tier: Tier = Tier.SELF


@attrs.frozen
class Launch:
    """How a guest is started: see `jackfield.sandbox.starting`.

    Attributes:
        argv: the program, by its absolute path, and its arguments.
        environment: all variables that it gets.
        cleanup: a command that takes away what the guest leaves behind in the system, to be run when it has ended.
        folder: a folder that is removed then, too.
        label: the SELinux label that the program gets, or None.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cleanup: tuple[str, ...] = ()
    folder: str | None = None
    label: str | None = None


@attrs.frozen
class Finding:
    """What probing a tier found.

    Attributes:
        tier: which.
        reason: why it cannot be had, and how it can; "" when it can.
        notes: what is missing there although it can.
        seconds: how long the guest took from its start until it had entered both stages.
    """

    tier: Tier
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def available(self) -> bool:
        """Whether guests of that tier can be started here."""
        return not self.reason


class Confiner(Protocol):
    """A tier."""

    @property
    def tier(self) -> Tier:
        """Which it is."""
        ...

    def missing(self) -> str:
        """Say what is obviously missing for it, and how to get it; "" when only a start can tell."""
        ...

    def launch(
        self, command: tuple[str, ...], confinement: Confinement, *, descriptors: int = 1, label: str | None = None
    ) -> Launch:
        """Say how a guest is started.

        Args:
            command: the guest: a program by its absolute path, and its arguments. It enters the stages by itself.
            confinement: what it may reach.
            descriptors: how many it gets beside the first three.
            label: the SELinux label of its tenant.

        Raises:
            Unavailable: when it cannot.
        """
        ...


ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HOME": "/",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        # Each thread would get an arena of 64 MiB of address space.
        "MALLOC_ARENA_MAX": "1",
        # An import that starts threads cannot be forked from.
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
"""All variables that a guest gets."""

NETWORK_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({"RES_OPTIONS": "use-vc"})
"""What comes to them with the network: names are asked for over TCP, since UDP is closed."""


def environment_of(confinement: Confinement) -> dict[str, str]:
    """Give the variables of a guest.

    Examples:
        >>> environment_of(Confinement((), b"", b"", scratch="/tmp/scratch"))["TMPDIR"]
        '/tmp/scratch'
    """
    extra = NETWORK_ENVIRONMENT if confinement.ports is not None else {}
    scratch = {"TMPDIR": confinement.scratch, "HOME": confinement.scratch} if confinement.scratch else {}
    return {**ENVIRONMENT, **extra, **scratch}
