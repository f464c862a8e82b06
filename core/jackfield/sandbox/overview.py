"""What this system has for keeping guests apart, at one look: what `pluginctl sandbox` shows."""

import os
import platform
import sys
from collections.abc import Mapping

import attrs

from jackfield.errors import JackfieldError
from jackfield.sandbox import cgroups, landlock, selinux
from jackfield.sandbox.calls import importing, strict
from jackfield.sandbox.filters import compile_filter
from jackfield.sandbox.port import Finding
from jackfield.sandbox.probing import probe_all


@attrs.frozen
class Overview:
    """What there is.

    Attributes:
        tiers: what probing each found.
        landlock: its version; 0 for none.
        seccomp: why filters cannot be made; "" when they can.
        cgroups: where groups can be made.
        selinux: what there is of it.
        idle: whether low priority can be held.
        notes: what is missing beside, and what would help.
    """

    tiers: tuple[Finding, ...]
    landlock: int
    seccomp: str
    cgroups: cgroups.Cgroups
    selinux: selinux.Selinux
    idle: bool
    notes: tuple[str, ...]

    def plain(self) -> Mapping[str, object]:
        """Give the same as data for JSON."""
        return {
            "tiers": [
                {
                    "tier": each.tier.value,
                    "available": each.available,
                    "reason": each.reason,
                    "notes": list(each.notes),
                    "seconds": round(each.seconds, 3),
                }
                for each in self.tiers
            ],
            "landlock": self.landlock,
            "seccomp": {"available": not self.seccomp, "reason": self.seccomp},
            "cgroups": {
                "version": self.cgroups.version,
                "homes": {name: str(home) for name, home in self.cgroups.homes.items()},
                "missing": dict(self.cgroups.missing),
            },
            "selinux": attrs.asdict(self.selinux),
            "idle": self.idle,
            "notes": list(self.notes),
        }


def look(runtime: str | None = None) -> Overview:
    """Look at this system, and start a guest of each tier.

    Args:
        runtime: the OCI runtime, by name or path.
    """
    return Overview(
        tiers=probe_all(runtime),
        landlock=landlock.abi(),
        seccomp=_seccomp(),
        cgroups=cgroups.find(),
        selinux=selinux.find(),
        idle=hasattr(os, "SCHED_IDLE"),
        notes=_notes(),
    )


def _seccomp() -> str:
    if sys.platform != "linux":
        return f"{sys.platform} has none"
    try:
        for policy in (importing(), strict()):
            compile_filter(policy)
    except JackfieldError as error:
        return str(error)
    return ""


def _notes() -> tuple[str, ...]:
    if sys.platform != "linux":
        return (f"on {sys.platform} workers are processes with deadlines: nothing holds paths, network or memory",)
    found = []
    if os.geteuid() == 0:
        found.append("as root, RLIMIT_NPROC does not hold: only a cgroup bounds how many threads a guest has")
    if platform.libc_ver()[0] != "glibc":
        found.append("this libc is not glibc: it may make system calls that are not on the lists")
    return tuple(found)
