"""Workers with namespaces or a container around them: they serve as others do, and see nothing of the host."""

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.in_workers import apart, needs_workers, until, written
from tests.support.nobody import as_nobody, interpreter_for_nobody

from jackfield import DeadlineExceeded, Host, Unavailable
from jackfield.sandbox import probing
from jackfield.sandbox.port import Tier

TIERS = [
    pytest.param(
        tier, marks=pytest.mark.skipif(not probing.probe(tier).available, reason=f"needs a sandbox of the tier {tier}")
    )
    for tier in (Tier.NAMESPACES, Tier.OCI)
]
pytestmark = needs_workers

CODE = """
import asyncio, ctypes, os
from jackfield import Caller, function, inject

@function
def pid() -> int:
    return os.getpid()

@function
def names() -> list[str]:
    return [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "mnt", "net", "ipc")]

@function
def there(path: str) -> bool:
    return os.path.exists(path)

@function
def spin() -> None:
    while True:
        pass

@function
def segfault() -> None:
    ctypes.string_at(0)

@function
def nested(caller: Caller = inject()) -> int:
    return caller.call("here.double", 21)

@function
async def awaited() -> str:
    await asyncio.sleep(0)
    return "done"

@function
def note(text: str) -> str:
    with open("note", "w") as file:
        file.write(text)
    return os.getcwd()
"""


def around(tier, *lines):
    return "\n".join(("[plugin.worker]", f'tier = "{tier}"', *lines))


def own_names():
    """Give the namespaces of this process."""
    return [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("pid", "mnt", "net", "ipc")]


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def descendants(pid):
    """Give all processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended since it was listed
            for child in (task / "children").read_text("ascii").split():
                found += [int(child), *descendants(int(child))]
    return found


@pytest.mark.parametrize("tier", TIERS)
def test_workers_of_a_tier_serve_as_others_do(tmp_path, tier):
    """Results, awaited ones too, calls of others, and a deadline that holds."""
    with apart(tmp_path, CODE, around(tier, 'allow = ["calls:here.*"]')) as host:
        host.register("here.double", lambda n: 2 * n)
        assert host.call("apart.awaited") == "done"
        assert host.call("apart.nested") == 42
        with pytest.raises(DeadlineExceeded):
            host.call("apart.spin", timeout=0.2)
        with pytest.raises(Unavailable, match="segmentation fault"):
            host.call("apart.segfault")
        assert host.call("apart.awaited") == "done"


@pytest.mark.parametrize("tier", TIERS)
def test_workers_of_a_tier_see_nothing_of_the_host(tmp_path, tier):
    """No process, no network, no file but their own: not even that a file is there."""
    with apart(tmp_path, CODE, around(tier)) as host:
        assert not set(host.call("apart.names")) & set(own_names())
        assert not host.call("apart.there", "/etc/passwd")
        assert not host.call("apart.there", str(tmp_path / "jackfield.toml"))


@pytest.mark.parametrize("tier", TIERS)
def test_a_folder_of_its_own_is_where_it_works(tmp_path, tier):
    """It is granted, and gone with the plugin."""
    with apart(tmp_path, CODE, around(tier, 'allow = ["storage:scratch"]')) as host:
        folder = Path(host.call("apart.note", "hello"))
        assert (folder / "note").read_text("utf-8") == "hello"
        host.unload("apart")
        assert not folder.exists()


@pytest.mark.parametrize("tier", TIERS)
def test_nothing_of_a_tier_is_left_behind(tmp_path, tier):
    """No process, none that nobody has waited for, and no descriptor."""
    with Host(observers=()) as host:  # what a first one in this process opens stays open
        host.register("f", abs)
    open_before, others = descriptors(), set(descendants(os.getpid()))
    with apart(tmp_path, CODE, around(tier)) as host:
        before = set(descendants(os.getpid())) - others
        assert before
        host.call("apart.pid")
    assert not before & set(descendants(os.getpid()))
    assert descriptors() == open_before


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_that_is_killed_is_built_again(tmp_path, tier):
    """Whatever was around the workers is gone with them, and the next call has all of it anew."""
    with apart(tmp_path, CODE, around(tier)) as host:
        host.call("apart.pid")
        for pid in descendants(os.getpid()):
            kill(pid)
        assert until(lambda: answered(host))


def kill(pid):
    """End a process below this one, and nothing else: numbers below 2 stand for many processes."""
    assert pid > 1
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def answered(host):
    try:
        return host.call("apart.awaited", timeout=20)
    except Unavailable:
        return None


@pytest.mark.parametrize("tier", TIERS)
def test_plugins_of_different_grants_do_not_share_what_is_around_them(tmp_path, tier):
    """A view of files is around all that it is around: it has to be the same for them."""
    with apart(tmp_path, CODE, around(tier, f'allow = ["storage:readonly:{tmp_path}"]')) as host:
        assert host.call("apart.there", str(tmp_path / "jackfield.toml"))
        other = tmp_path / "other"
        other.mkdir()
        with apart(other, CODE, around(tier)) as second:
            assert not second.call("apart.there", str(tmp_path / "jackfield.toml"))
            assert not set(second.call("apart.names")) & set(host.call("apart.names"))


OF_ROOT = """
import sys
from loguru import logger
from jackfield import Host
logger.remove()
host = Host.from_config(sys.argv[1], observers=())
print(*host.faults, sep="\\n", end="")
if not host.faults:
    with host:
        print(host.call("apart.awaited", timeout=30), *[each.tier for each in host.workers])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("tier", list(Tier))
def test_a_user_without_privileges_runs_what_root_has_installed(tier):
    """A user namespace shows root's files as nobody's: the host looks at them, before anything is launched."""
    python = interpreter_for_nobody()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = written(folder, CODE, around(tier))
        for each in (folder, *folder.iterdir()):
            each.chmod(0o755 if each.is_dir() else 0o644)
        said = as_nobody(python, "-c", OF_ROOT, str(file)).strip()
    if "can be had here" in said:
        pytest.skip(said)
    assert said.splitlines()[-1].split()[0] == "done"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_runs_nothing_that_others_may_write(tmp_path):
    """In a worker as little as in its own process: what is refused is never launched."""
    file = written(tmp_path, CODE)
    os.chown(tmp_path / "apart.py", 12_345, 12_345)
    with Host.from_config(file, observers=()) as host:
        (fault,) = host.faults
        assert (fault.stage, host.workers) == ("source", ())
        assert "belongs to the user 12345" in fault.reason


def test_a_plugin_whose_tier_cannot_be_had_does_not_start(tmp_path, monkeypatch):
    """And says why, and what would help."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(probing, "_found", {})
    with apart(tmp_path, CODE, around("namespaces")) as host:
        (fault,) = host.faults
        assert fault.stage == "sandbox"
        assert "bwrap is not there" in fault.reason


def test_a_better_tier_than_the_least_will_do(tmp_path, monkeypatch):
    """Where there are no namespaces, a container is enough."""
    if not probing.probe(Tier.OCI).available:
        pytest.skip("needs a sandbox of the tier oci")
    found = {(tier, None): probing.probe(tier) for tier in (Tier.SELF, Tier.OCI)}
    missing = probing.Finding(Tier.NAMESPACES, "bwrap is not there")
    monkeypatch.setattr(probing, "_found", {**found, (Tier.NAMESPACES, None): missing})
    with apart(tmp_path, CODE, around("namespaces")) as host:
        assert host.faults == ()
        assert not set(host.call("apart.names")) & set(own_names())
