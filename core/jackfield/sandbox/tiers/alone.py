"""Tier `self`: nothing is around a guest but what it applies to itself. It takes no privilege."""

import sys

import attrs

from jackfield.sandbox.landlock import abi
from jackfield.sandbox.port import Confinement, Launch, Tier, environment_of


@attrs.frozen
class Alone:
    """A guest is a process like any other, until it enters its stages."""

    @property
    def tier(self) -> Tier:
        """Which it is."""
        return Tier.SELF

    def missing(self) -> str:
        """Say what is missing for it."""
        if sys.platform != "linux":
            return f"{sys.platform} has neither seccomp nor Landlock → run the host on Linux"
        if not abi():
            return (
                "no Landlock: the kernel is older than 5.13, was started without `landlock` in `lsm=`,"
                " or the container's seccomp profile forbids it → allow landlock_* there, or use tier namespaces or oci"
            )
        return ""

    def launch(
        self, command: tuple[str, ...], confinement: Confinement, *, descriptors: int = 1, label: str | None = None
    ) -> Launch:
        """Say how a guest is started: as it is."""
        del descriptors
        return Launch(command, environment_of(confinement), label=label)
