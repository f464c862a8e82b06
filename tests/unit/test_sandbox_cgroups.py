"""Where groups can be made, in both versions, from what the system shows: folders stand for cgroup file systems."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("cgroups are Linux's", allow_module_level=True)

from jackfield.errors import Unavailable
from jackfield.sandbox.cgroups import Budget, find


class System:
    """A system in a folder: `/proc/self`, and a mount of cgroups."""

    def __init__(self, folder):
        self.proc = folder / "proc"
        self.mount = folder / "cgroup"
        self.proc.mkdir()
        self.mount.mkdir()

    def is_second(self, path="/", *, root="/", controllers="cpu memory pids", passed_on="cpu memory pids"):
        """Make it one of version 2, with this process at `path`."""
        (self.proc / "cgroup").write_text(f"0::{path}\n", "ascii")
        (self.proc / "mountinfo").write_text(
            f"30 24 0:26 {root} {self.mount} rw,nosuid - cgroup2 cgroup2 rw\n", "ascii"
        )
        home = self.mount / path.removeprefix(root).strip("/")
        home.mkdir(parents=True, exist_ok=True)
        (home / "cgroup.controllers").write_text(controllers, "ascii")
        (home / "cgroup.subtree_control").write_text(passed_on, "ascii")
        return home

    def is_first(self, path="/", controllers=("cpu,cpuacct", "memory", "pids")):
        """Make it one of version 1."""
        lines, mounts = [], []
        for number, names in enumerate(controllers):
            place = self.mount / names
            (place / path.strip("/")).mkdir(parents=True)
            lines.append(f"{number + 2}:{names}:{path}\n")
            mounts.append(f"{30 + number} 24 0:2{number} / {place} rw - cgroup cgroup rw,{names}\n")
        (self.proc / "cgroup").write_text("".join(lines) + "0::/\n", "ascii")
        (self.proc / "mountinfo").write_text("".join(mounts), "ascii")


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_of_version_2_a_group_is_one_folder(system):
    """Its limits are files in it, in the form that version 2 has."""
    home = system.is_second("/user.slice/app")
    found = find(system.proc)
    assert (found.version, set(found.homes), dict(found.missing)) == (2, {"cpu", "memory", "pids"}, {})
    group = found.make("one", Budget(cpu=0.5, memory=1 << 20, soft=1 << 19, pids=10))
    files = {file.name: file.read_text("ascii") for file in (home / "one").iterdir()}
    assert files == {"cpu.max": "50000 100000", "memory.max": "1048576", "memory.high": "524288", "pids.max": "10"}
    group.add(77)
    assert (home / "one" / "cgroup.procs").read_text("ascii") == "77"
    assert group.processes() == (77,)


def test_of_version_1_a_group_is_a_folder_of_each_controller(system):
    """Joined controllers included."""
    system.is_first("/lxc/a")
    found = find(system.proc)
    assert (found.version, dict(found.missing)) == (1, {})
    found.make("one", Budget(cpu=2, memory=1 << 20, soft=1 << 19, pids=10))
    files = {str(file.relative_to(system.mount)): file.read_text("ascii") for file in system.mount.rglob("one/*")}
    assert files == {
        "cpu,cpuacct/lxc/a/one/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/lxc/a/one/cpu.cfs_quota_us": "200000",
        "memory/lxc/a/one/memory.limit_in_bytes": "1048576",
        "memory/lxc/a/one/memory.soft_limit_in_bytes": "524288",
        "pids/lxc/a/one/pids.max": "10",
    }


def test_what_is_killed_and_used_is_read(system):
    """In both versions."""
    home = system.is_second()
    group = find(system.proc).make("one", Budget())
    assert (group.memory(), group.killed()) == (None, 0)
    (home / "one" / "memory.current").write_text("4096\n", "ascii")
    (home / "one" / "memory.events").write_text("low 0\nhigh 3\nmax 2\noom 1\noom_kill 1\n", "ascii")
    assert (group.memory(), group.killed()) == (4096, 1)


def test_a_container_that_shows_a_part_of_the_tree(system):
    """What is mounted is its own group: the path is taken from there."""
    home = system.is_second("/docker/abc", root="/docker/abc")
    assert find(system.proc).homes["pids"] == home == system.mount


def test_a_controller_that_is_not_delegated_is_named(system):
    """The others are used; what is asked of it is told to be unheld."""
    system.is_second("/a", controllers="memory pids")
    found = find(system.proc)
    assert set(found.homes) == {"memory", "pids"}
    assert "Delegate=" in found.missing["cpu"]
    assert len(found.unheld(Budget(cpu=1.0, pids=3))) == 1
    assert found.unheld(Budget(pids=3)) == ()


def test_a_group_that_passes_nothing_on_says_so(system, monkeypatch):
    """Of version 2 one that has processes refuses: the reason says how to be in one below."""
    home = system.is_second("/a", passed_on="")
    control = home / "cgroup.subtree_control"
    control.unlink()
    control.symlink_to("/proc/self/oom_score")  # it reads as none of the controllers, and refuses to be written
    found = find(system.proc)
    assert dict(found.homes) == {}
    assert "DelegateSubgroup" in found.missing["cpu"]
    with pytest.raises(Unavailable, match="DelegateSubgroup"):
        found.make("one", Budget())


def test_a_system_without_them_says_so(system):
    """Nothing mounted, or nothing to be read."""
    (system.proc / "cgroup").write_text("", "ascii")
    (system.proc / "mountinfo").write_text("", "ascii")
    assert "no cgroup file system" in find(system.proc).missing["cpu"]
    assert find(system.proc / "nowhere").version == 0


def test_a_group_that_cannot_be_made_leaves_nothing(system):
    """A name that is taken is refused."""
    system.is_first()
    find(system.proc).make("one", Budget(pids=1))
    with pytest.raises(Unavailable, match="one cannot be made"):
        find(system.proc).make("one", Budget())


def test_groups_that_were_left_are_swept(system):
    """The empty ones of that name, when they are old enough; a folder with anything in it stays."""
    home = system.is_second()
    for name in ("jackfield-1", "jackfield-2", "other"):
        (home / name).mkdir()
    (home / "jackfield-2" / "busy").touch()
    found = find(system.proc)
    assert found.sweep("jackfield-") == 0
    assert found.sweep("jackfield-", older=-1.0) == 1
    assert sorted(each.name for each in home.iterdir() if each.is_dir()) == ["jackfield-2", "other"]
