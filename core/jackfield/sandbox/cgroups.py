"""Control groups of both versions, where this process may make some: they hold what rlimits cannot.

https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/index.html
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep, time
from types import MappingProxyType
from typing import Final

import attrs

from jackfield.errors import Unavailable

CONTROLLERS: Final = ("cpu", "memory", "pids")
"""What is used of them."""

_PERIOD = 100_000  # microseconds over which a quota of CPU time is counted
_GONE_WITHIN = 2.0


@attrs.frozen
class Budget:
    """What a group of processes may use together; None: whatever there is.

    Attributes:
        cpu: cores, as in 0.5.
        memory: bytes; past it a process of the group is killed.
        soft: bytes past which the system takes memory from it first, and slows it down.
        pids: processes and threads.
    """

    cpu: float | None = None
    memory: int | None = None
    soft: int | None = None
    pids: int | None = None


@attrs.frozen
class Group:
    """One group, with a folder for each controller; of version 2 they are all the same.

    Attributes:
        version: 1 or 2.
        folders: controller → where it is.
    """

    version: int
    folders: Mapping[str, Path]

    def add(self, pid: int) -> None:
        """Put a process into it; what it forks from then on is in it, too.

        Raises:
            Unavailable: when it is gone, or may not be moved.
        """
        for folder in set(self.folders.values()):
            _write(folder / "cgroup.procs", str(pid))

    def processes(self) -> tuple[int, ...]:
        """Give what is in it."""
        found: set[int] = set()
        for folder in set(self.folders.values()):
            with suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text("ascii").split()))
        return tuple(sorted(found))

    def memory(self) -> int | None:
        """Give the bytes that it uses now, its caches of files included; None where nobody counts."""
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"  # noqa: PLR2004  # as the name says
        with suppress(KeyError, OSError, ValueError):
            return int((self.folders["memory"] / name).read_text("ascii"))
        return None

    def killed(self) -> int:
        """Count the processes of it that were killed for their memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"  # noqa: PLR2004  # as above
        with suppress(KeyError, OSError, ValueError):
            lines = (self.folders["memory"] / name).read_text("ascii").splitlines()
            return int(dict(line.split() for line in lines).get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        """Kill what is in it, and take it away.

        Raises:
            Unavailable: when a process of it does not end.
        """
        end = monotonic() + _GONE_WITHIN
        while True:
            self._kill()
            left = [folder for folder in set(self.folders.values()) if not _removed(folder)]
            if not left:
                return
            if monotonic() > end:
                raise Unavailable("cgroup", f"{left[0]} cannot be removed: it has {self.processes() or 'no'} processes")
            sleep(0.005)  # version 1 tells nobody when the last process is gone

    def _kill(self) -> None:
        at_once = next(iter(self.folders.values())) / "cgroup.kill"
        if self.version == 2 and at_once.exists():  # noqa: PLR2004  # as above
            with suppress(OSError):
                at_once.write_text("1", "ascii")
            return
        for pid in self.processes():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 9)


@attrs.frozen
class Cgroups:
    """Where groups can be made.

    Attributes:
        version: 1, 2, or 0 for none.
        homes: controller → the folder in which groups are made.
        missing: controller → why it cannot be used, and what would make it usable.
    """

    version: int
    homes: Mapping[str, Path]
    missing: Mapping[str, str]

    def make(self, name: str, budget: Budget) -> Group:
        """Make a group with limits, as far as there are controllers for them; `unheld` says what is not held.

        Args:
            name: a name of a folder, of this process's own.
            budget: its limits.

        Raises:
            Unavailable: when it cannot be made.
        """
        group = Group(self.version, {controller: home / name for controller, home in self.homes.items()})
        if not group.folders:
            raise Unavailable("cgroup", "; ".join(f"{name}: {why}" for name, why in self.missing.items()))
        try:
            for folder in set(group.folders.values()):
                folder.mkdir(mode=0o755)
            for controller, file, value in _settings(self.version, budget):
                if controller in group.folders:
                    _write(group.folders[controller] / file, value)
        except (OSError, Unavailable) as error:
            for folder in set(group.folders.values()):
                _removed(folder)
            raise Unavailable("cgroup", f"{name} cannot be made: {error}") from error
        return group

    def sweep(self, prefix: str, older: float = 60.0) -> int:
        """Take away groups that hosts have left that were killed: the empty ones, since the system removes no other.

        Args:
            prefix: how their names begin.
            older: seconds for which a group is left alone, since a process may be about to come.

        Returns:
            How many folders are gone.
        """
        gone = 0
        for home in set(self.homes.values()):
            for folder in home.glob(f"{prefix}*"):
                with suppress(OSError):
                    if folder.stat().st_mtime < time() - older:
                        folder.rmdir()
                        gone += 1
        return gone

    def unheld(self, budget: Budget) -> tuple[str, ...]:
        """Say which limits of a budget nothing holds here, and why.

        Examples:
            >>> Cgroups(0, {}, {"cpu": "this system has no cgroups"}).unheld(Budget(cpu=0.5))
            ('cpu: this system has no cgroups',)
        """
        wanted = {"cpu": budget.cpu, "memory": budget.memory, "pids": budget.pids}
        return tuple(f"{name}: {why}" for name, why in self.missing.items() if wanted[name] is not None)


def find(proc: Path = Path("/proc/self")) -> Cgroups:
    """Find where this process may make groups: below the ones that it is in itself.

    Args:
        proc: where `cgroup` and `mountinfo` of this process are.
    """
    if sys.platform != "linux":
        return _none(f"{sys.platform} has no cgroups")
    try:
        memberships = _memberships((proc / "cgroup").read_text("utf-8"))
        mounts = _mounts((proc / "mountinfo").read_text("utf-8"))
    except OSError as error:
        return _none(f"where this process is cannot be read: {error}")
    if any(controller in mounts for controller in CONTROLLERS):
        return _first(memberships, mounts)
    if "" in mounts and "" in memberships:
        return _second(_place(mounts[""], memberships[""]))
    return _none("no cgroup file system is mounted → mount one, or let the container have its own")


def _first(memberships: Mapping[str, str], mounts: "Mapping[str, tuple[str, Path]]") -> Cgroups:
    homes: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for controller in CONTROLLERS:
        if controller not in mounts or controller not in memberships:
            missing[controller] = "this system has no such controller"
            continue
        home = _place(mounts[controller], memberships[controller])
        if reason := _unwritable(home):
            missing[controller] = reason
        else:
            homes[controller] = home
    return Cgroups(1, MappingProxyType(homes), MappingProxyType(missing))


def _second(home: Path) -> Cgroups:
    if reason := _unwritable(home):
        return attrs.evolve(_none(reason), version=2)
    homes: dict[str, Path] = {}
    missing: dict[str, str] = {}
    try:
        offered = (home / "cgroup.controllers").read_text("ascii").split()
        given = (home / "cgroup.subtree_control").read_text("ascii").split()
    except OSError as error:
        return attrs.evolve(_none(f"{home} cannot be read: {error}"), version=2)
    for controller in CONTROLLERS:
        if controller not in offered:
            missing[controller] = f"{home} has no such controller → delegate it (systemd: Delegate=cpu memory pids)"
            continue
        if controller not in given:
            try:
                (home / "cgroup.subtree_control").write_text(f"+{controller}", "ascii")
            except OSError as error:
                # A group that has processes gives no controllers to groups in it.
                missing[controller] = (
                    f"{home} does not pass it on ({error.strerror}) → run the host in a group below the one that is"
                    " delegated (systemd: Delegate=yes and DelegateSubgroup=host)"
                )
                continue
        homes[controller] = home
    return Cgroups(2, MappingProxyType(homes), MappingProxyType(missing))


def _settings(version: int, budget: Budget) -> list[tuple[str, str, str]]:
    """Give controller, file and value of each limit, in the order in which they are to be written."""
    quota = None if budget.cpu is None else max(int(budget.cpu * _PERIOD), 1000)
    first = (
        ("cpu", "cpu.cfs_period_us", None if quota is None else str(_PERIOD)),
        ("cpu", "cpu.cfs_quota_us", quota),
        ("memory", "memory.limit_in_bytes", budget.memory),
        ("memory", "memory.soft_limit_in_bytes", budget.soft),
        ("pids", "pids.max", budget.pids),
    )
    second = (
        ("cpu", "cpu.max", None if quota is None else f"{quota} {_PERIOD}"),
        ("memory", "memory.max", budget.memory),
        ("memory", "memory.high", budget.soft),
        ("pids", "pids.max", budget.pids),
    )
    return [
        (where, file, str(value)) for where, file, value in (first if version == 1 else second) if value is not None
    ]


def _memberships(text: str) -> dict[str, str]:
    """Read `/proc/self/cgroup`: controller → path; that of version 2 is under ""."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _mounts(text: str) -> dict[str, tuple[str, Path]]:
    """Read `/proc/self/mountinfo`: controller → the path that is mounted, and where; version 2 is under ""."""
    found: dict[str, tuple[str, Path]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        _, _, _, root, point, *_ = before.split()
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            found.setdefault("", (root, Path(point)))
        elif kind == "cgroup":
            for controller in options.split(","):
                found.setdefault(controller, (root, Path(point)))
    return found


def _place(mount: tuple[str, Path], path: str) -> Path:
    """Give the folder of a group below a mount, which may show a part of the tree only."""
    root, point = mount
    below = path.removeprefix(root) if root != "/" and path.startswith(root) else path
    return point / below.strip("/")


def _unwritable(home: Path) -> str:
    if not home.is_dir():
        return f"{home} is not there: the container shows another part of the tree"
    if os.access(home, os.W_OK | os.X_OK):
        # /sys/fs/cgroup of a container is mostly mounted read-only, whatever its mode says.
        return "" if not os.statvfs(home).f_flag & os.ST_RDONLY else f"{home} is mounted read-only"
    return f"{home} may not be written → run as root, or have it delegated (systemd: Delegate=cpu memory pids)"


def _none(reason: str) -> Cgroups:
    return Cgroups(0, MappingProxyType({}), MappingProxyType(dict.fromkeys(CONTROLLERS, reason)))


def _write(file: Path, value: str) -> None:
    try:
        file.write_text(value, "ascii")
    except OSError as error:
        raise Unavailable("cgroup", f"{file}: {error.strerror}") from error


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
