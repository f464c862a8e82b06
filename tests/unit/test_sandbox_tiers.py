"""What goes to a guest, how each tier starts it, and what is said where a tier, a label or a library is missing."""

import json
import sys
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.errors import Unavailable
from jackfield.sandbox import landlock, selinux
from jackfield.sandbox.confining import confine, interpreter_paths
from jackfield.sandbox.port import Confinement, Limits, Tier
from jackfield.sandbox.probing import probe
from jackfield.sandbox.tiers import confiner
from jackfield.sandbox.tiers.paths import views

COMMAND = (sys.executable, "-c", "pass")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")


def plain(**fields):
    return Confinement(**{"readable": (), "filter_import": b"", "filter_strict": b"", **fields})


@given(
    st.builds(
        Confinement,
        readable=st.lists(st.text()).map(tuple),
        filter_import=st.binary(),
        filter_strict=st.binary(),
        writable=st.lists(st.text()).map(tuple),
        scratch=st.none() | st.text(),
        limits=st.builds(Limits, memory=st.none() | st.integers(0, 2**40)),
        ports=st.none() | st.lists(st.integers(1, 65535)).map(tuple),
        tier=st.sampled_from(Tier),
    )
)
def test_a_confinement_crosses_as_it_is(confinement):
    """It is plain data: MessagePack, and back."""
    data = msgspec.msgpack.encode(confinement)
    assert msgspec.msgpack.decode(data, type=Confinement) == confinement


@pytest.mark.parametrize("least", Tier)
def test_at_least_a_tier_is_an_order(least):
    """Each satisfies itself and what is before it."""
    assert [tier.satisfies(least) for tier in Tier] == [
        list(Tier).index(tier) >= list(Tier).index(least) for tier in Tier
    ]


@LINUX
def test_a_network_comes_with_the_port_for_names():
    """None without a grant; with named ports that of DNS beside; with any, any."""
    pytest.importorskip("seccompy")
    assert [confine((), ports=ports).ports for ports in (None, (), (443, 443))] == [None, (), (53, 443)]
    assert "/etc/resolv.conf" in confine((), ports=()).readable
    assert "/etc/resolv.conf" not in confine(()).readable


@LINUX
def test_an_eager_plugin_reads_nothing_later_unless_it_was_granted():
    """The 42 calls in place of the 50; a grant to read brings them back."""
    pytest.importorskip("seccompy")
    lists = [confine((), **may).filter_strict for may in ({}, {"eager": True}, {"eager": True, "read": ["/data"]})]
    assert lists[0] == lists[2] != lists[1]


@LINUX
def test_bubblewrap_is_given_what_is_to_be_seen(tmp_path):
    """Nothing of the host is shared but what is named, and of the network nothing unless it was granted."""
    program = tmp_path / "bwrap"
    program.touch(mode=0o755)
    for name in ("data", "out"):
        (tmp_path / name).mkdir()
    confinement = plain(readable=(str(tmp_path / "data"), "/usr/lib", "/nowhere"), writable=(str(tmp_path / "out"),))
    argv = confiner(Tier.NAMESPACES, str(program)).launch(COMMAND, confinement).argv
    assert argv[:7] == (
        str(program),
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
        "--clearenv",
        "--setenv",
    )
    words = " ".join(argv)
    assert f"--ro-bind {tmp_path}/data {tmp_path}/data" in words
    assert f"--bind-try {tmp_path}/out {tmp_path}/out" in words
    assert "--cap-drop ALL" in words
    assert "/nowhere" not in words
    assert "--share-net" not in argv
    assert argv[argv.index("--") + 1 :] == COMMAND
    confinement = plain(ports=())
    launch = confiner(Tier.NAMESPACES, str(program)).launch(COMMAND, confinement, label="u:r:t:s0:c1,c2")
    assert "--share-net" in launch.argv
    assert launch.argv[launch.argv.index("--exec-label") + 1] == "u:r:t:s0:c1,c2"


@LINUX
def test_a_bundle_says_the_same_to_a_runtime(tmp_path, monkeypatch):
    """Namespaces, no capabilities, nothing written but what was granted; and a command that takes it away."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runtime = tmp_path / "runtime"
    runtime.touch(mode=0o755)
    launch = confiner(Tier.OCI, str(runtime)).launch(COMMAND, plain(limits=Limits(pids=5)), descriptors=2, label="l")
    config = json.loads((Path(launch.folder) / "config.json").read_text("utf-8"))
    assert {each["type"] for each in config["linux"]["namespaces"]} >= {"pid", "mount", "ipc", "uts", "network"}
    assert config["process"]["noNewPrivileges"] is True
    assert set(map(str, config["process"]["capabilities"].values())) == {"[]"}
    assert config["process"]["selinuxLabel"] == "l"
    assert config["root"]["readonly"] is True
    binds = [
        each for each in config["mounts"] if each["type"] == "bind" and not each["destination"].startswith("/dev/")
    ]
    assert all("ro" in each["options"] for each in binds)
    assert launch.argv[launch.argv.index("--preserve-fds") + 1] == "2"
    assert launch.cleanup[-3:-1] == ("delete", "--force")
    assert launch.cleanup[-1] == launch.argv[-1]
    names = {each["type"] for each in config["linux"]["namespaces"]}
    again = confiner(Tier.OCI, str(runtime)).launch(COMMAND, plain(ports=(443,)))
    config = json.loads((Path(again.folder) / "config.json").read_text("utf-8"))
    assert names - {each["type"] for each in config["linux"]["namespaces"]} == {"network"}


@LINUX
@pytest.mark.parametrize(
    ("tier", "said"),
    [
        (Tier.NAMESPACES, "no-such-program is not there → apt install bubblewrap"),
        (Tier.OCI, "no-such-program not found → apt install runc"),
    ],
)
def test_a_program_that_is_missing_is_named_with_the_way_to_get_it(tier, said):
    """Before anything is started, and when it is."""
    assert said in confiner(tier, "no-such-program").missing()
    assert said in probe(tier, "no-such-program").reason
    with pytest.raises(Unavailable, match=said.split(" →")[0]):
        confiner(tier, "no-such-program").launch(COMMAND, plain())


@LINUX
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "it ended without an answer"),
        ("echo 'no namespaces for you' >&2; exit 1", "it ended without an answer: no namespaces for you"),
        ("exec sleep 60", "it has not answered in time"),
        ("printf garbage >&3", "a guest cannot be started"),
    ],
)
def test_a_program_that_starts_no_guest_is_no_tier(script, said, tmp_path):
    """That it is installed is not enough: a guest must have started, and answered in time."""
    pytest.importorskip("seccompy")
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    found = probe(Tier.NAMESPACES, str(program), timeout=0.5)
    assert said in found.reason
    assert not found.available
    assert probe(Tier.NAMESPACES, str(program)) is found, "once a process"


@LINUX
def test_a_program_that_confines_nothing_is_no_tier(tmp_path):
    """One that executes its guest as it is: that confines itself, as in tier self, and the tier is more than that."""
    pytest.importorskip("seccompy")
    program = tmp_path / "bwrap"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n', "utf-8")
    program.chmod(0o755)
    assert "nothing is around it" in probe(Tier.NAMESPACES, str(program)).reason


@pytest.mark.parametrize(
    ("version", "ports", "noted"), [(1, (443,), 3), (3, (443,), 2), (3, None, 1), (4, (443,), 1), (6, (443,), 0)]
)
def test_what_an_older_landlock_does_not_hold_is_said(version, ports, noted):
    """A word for each thing that was wanted and is not held."""
    assert len(landlock.notes(plain(ports=ports, scratch="/s"), version)) == noted


def test_folders_are_seen_once(tmp_path):
    """What is in another that is seen, or in /usr, needs no view of its own; what a program links to does."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "python").symlink_to("bin/python")
    found = views(
        plain(readable=(f"{tmp_path}/a/b", f"{tmp_path}/a", "/usr/lib", f"{tmp_path}/none")), (f"{tmp_path}/python",)
    )
    assert found == [f"{tmp_path}/a", f"{tmp_path}/bin/python", f"{tmp_path}/python"]


def test_an_interpreter_in_a_shared_prefix_is_its_library_alone():
    """/usr/local has more than Python in it."""
    assert interpreter_paths("/usr", (3, 12)) == ("/usr/lib/python3.12", "/usr/lib/python3.12t")
    assert interpreter_paths("/home/u/.pyenv/versions/3.12.1", (3, 12)) == ("/home/u/.pyenv/versions/3.12.1",)


@given(st.lists(st.text(), unique=True, max_size=20))
def test_each_tenant_has_a_label_of_its_own(tenants):
    """Two categories, never those of another; the same again for the same."""
    own, labels = "system_u:system_r:container_t:s0-s0:c0.c1023", []
    for tenant in tenants:
        labels.append(selinux.label_of(tenant, own, labels))
    assert len(set(labels)) == len(tenants)
    for label in labels:
        low, high = (int(each[1:]) for each in label.removeprefix("system_u:system_r:container_t:s0:").split(","))
        assert 0 <= low < high < 1024
    if tenants:
        assert selinux.label_of(tenants[0], own) == labels[0]


@LINUX
def test_selinux_is_looked_for(tmp_path):
    """Absent, without categories, or there."""
    (tmp_path / "current").write_text("user_u:user_r:user_t:s0\0", "ascii")
    assert "no SELinux" in selinux.find(tmp_path / "none", tmp_path / "current").reason
    (tmp_path / "enforce").write_text("1", "ascii")
    (tmp_path / "mls").write_text("0", "ascii")
    assert "no categories" in selinux.find(tmp_path, tmp_path / "current").reason
    (tmp_path / "mls").write_text("1", "ascii")
    assert selinux.find(tmp_path, tmp_path / "current") == selinux.Selinux(
        enforcing=True, label="user_u:user_r:user_t:s0"
    )


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_it_is_imported_and_says_what_is_missing(platform, monkeypatch):
    """No module needs Linux to be imported, and each tier says why it cannot be had."""
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("overview", "starting", "probing", "enter", "scheduling"):
        import_module(f"jackfield.sandbox.{name}")
    assert all(platform in confiner(tier).missing() for tier in Tier)
    assert platform in selinux.find().reason
