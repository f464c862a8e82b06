"""Tier `oci`: a runtime of the Open Container Initiative around a guest, on a bundle that is made for it.

The bundle's `config.json` is that of https://github.com/opencontainers/runtime-spec/blob/main/config.md.
"""

import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from time import time
from typing import Any, Final

import attrs

from jackfield.errors import Unavailable
from jackfield.sandbox.port import Confinement, Launch, Tier, environment_of
from jackfield.sandbox.tiers.paths import MERGED, SCRATCH, views

RUNTIMES: Final = ("runc", "crun")
"""What the `PATH` is searched for, in order."""

_PREFIX = "jackfield-oci-"
_DELETE_TIMEOUT = 10.0
_HYBRID = "/sys/fs/cgroup/unified"
_DEVICES = ("null", "zero", "full", "random", "urandom")


@attrs.frozen
class Oci:
    """A guest is the first process of a container.

    Attributes:
        program: the runtime, by name or path, called as runc is; None: the first of `RUNTIMES` that the `PATH` has.
    """

    program: str | None = None

    @property
    def tier(self) -> Tier:
        """Which it is."""
        return Tier.OCI

    def missing(self) -> str:
        """Say what is missing for it."""
        if sys.platform != "linux":
            return f"{sys.platform} has no OCI runtimes of Linux → run the host on Linux"
        if self._found() is None:
            return (
                f"{self.program or ' and '.join(RUNTIMES)} not found → apt install runc, or name a runtime by its path"
            )
        return ""

    def _found(self) -> str | None:
        names = RUNTIMES if self.program is None else (self.program,)
        return next((found for name in names if (found := shutil.which(name))), None)

    def launch(
        self, command: tuple[str, ...], confinement: Confinement, *, descriptors: int = 1, label: str | None = None
    ) -> Launch:
        """Say how a guest is started: by the runtime, which waits for it, on a bundle in a folder of its own.

        Raises:
            Unavailable: when there is no runtime, or no bundle can be written.
        """
        runtime = self._found()
        if runtime is None:
            raise Unavailable("tier oci", self.missing(), cause="start_failed", ran=False)
        try:
            folder = tempfile.mkdtemp(prefix=_PREFIX)
            called = (*_private_mounts(runtime), runtime, "--root", f"{folder}/state")
            _write(folder, called, _config(command, confinement, label))
        except OSError as error:
            raise Unavailable(
                "tier oci", f"no bundle can be written: {error}", cause="start_failed", ran=False
            ) from error
        name = f"jackfield-{secrets.token_hex(8)}"
        kept = ("--preserve-fds", str(descriptors)) if descriptors else ()
        return Launch(
            (*_dying_with_parent(), *called, "run", "--bundle", folder, *kept, name),
            # What the guest gets is in the bundle; the runtime itself needs where programs are.
            {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "XDG_RUNTIME_DIR": folder},
            cleanup=(*called, "delete", "--force", name),
            folder=folder,
        )


def _dying_with_parent() -> tuple[str, ...]:
    """Have the runtime killed with the host: runtimes themselves do not ask for that."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


def _private_mounts(runtime: str) -> tuple[str, ...]:
    """Hide the second hierarchy of a hybrid system from crun, which refuses such systems."""
    if not os.path.basename(os.path.realpath(runtime)).startswith("crun") or not os.path.ismount(_HYBRID):
        return ()
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    if unshare is None or shell is None:
        return ()
    return (unshare, "--mount", "--propagation", "private", shell, "-c", f'umount {_HYBRID}; exec "$@"', "sh")


def sweep(older: float = 60.0) -> int:
    """Take away what killed hosts have left: containers that have ended, with their cgroups and bundles.

    Args:
        older: seconds for which a bundle is left alone, since its container may be about to start.

    Returns:
        How many bundles are gone.
    """
    gone = 0
    for name in os.listdir(tempfile.gettempdir()):
        folder = os.path.join(tempfile.gettempdir(), name)
        with suppress(OSError, ValueError, subprocess.SubprocessError):  # it runs, or another sweeps
            if name.startswith(_PREFIX) and _is_ours(found := os.lstat(folder)) and found.st_mtime < time() - older:
                gone += _swept(folder)
    return gone


def _is_ours(found: os.stat_result) -> bool:
    """Whether nobody else can have written what is in a folder: it says which program is called."""
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _swept(folder: str) -> bool:
    with open(f"{folder}/called.json", encoding="utf-8") as file:
        called = [str(word) for word in json.load(file)]
    state = f"{folder}/state"
    for name in os.listdir(state) if os.path.isdir(state) else ():
        # Without --force: it refuses where the container runs.
        subprocess.run(  # noqa: S603  # what we have written
            [*called, "delete", name], capture_output=True, timeout=_DELETE_TIMEOUT, check=True
        )
    shutil.rmtree(folder)
    return True


def _write(folder: str, called: tuple[str, ...], config: dict[str, Any]) -> None:
    root = f"{folder}/rootfs"
    os.mkdir(root)
    for name in MERGED:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    with open(f"{folder}/called.json", "w", encoding="utf-8") as file:
        json.dump(called, file)


def _config(command: tuple[str, ...], confinement: Confinement, label: str | None) -> dict[str, Any]:
    process: dict[str, Any] = {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": list(command),
        "env": [f"{name}={value}" for name, value in environment_of(confinement).items()],
        "cwd": confinement.scratch or SCRATCH,
        "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        "noNewPrivileges": True,
    }
    if label is not None:
        process["selinuxLabel"] = label
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "guest",
        "mounts": _mounts(confinement, command),
        "linux": _linux(confinement),
    }


def _linux(confinement: Confinement) -> dict[str, Any]:
    kinds = ["pid", "mount", "ipc", "uts", *([] if confinement.ports is not None else ["network"])]
    linux: dict[str, Any] = {
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    }
    if os.geteuid() == 0:
        limits = confinement.limits
        resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
        resources["devices"] += [
            {"allow": True, "type": "c", "major": 1, "minor": minor, "access": "rw"} for minor in (3, 5, 7, 8, 9)
        ]
        if limits.pids is not None:
            resources["pids"] = {"limit": limits.pids}
        linux["resources"] = resources
    else:
        kinds.append("user")
        for which, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            linux[which] = [{"containerID": 0, "hostID": own, "size": 1}]
    return {**linux, "namespaces": [{"type": kind} for kind in kinds]}


def _mounts(confinement: Confinement, command: tuple[str, ...]) -> list[dict[str, Any]]:
    found = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": SCRATCH, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "size=64m"]},
        _bind("/usr"),
        *(_bind(f"/{name}") for name in MERGED if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")),
        *(_bind(path) for path in views(confinement, command)),
    ]
    if os.geteuid() != 0:  # who is not root may make no devices
        found += [_bind(f"/dev/{name}", writable=True) for name in _DEVICES]
    written = [*confinement.writable, *([confinement.scratch] if confinement.scratch else [])]
    return [*found, *(_bind(path, writable=True) for path in written if os.path.exists(path))]


def _bind(path: str, *, writable: bool = False) -> dict[str, Any]:
    access = "rw" if writable else "ro"
    return {
        "destination": path,
        "type": "bind",
        "source": os.path.realpath(path),
        "options": ["rbind", access, "nosuid", *([] if path.startswith("/dev/") else ["nodev"])],
    }
