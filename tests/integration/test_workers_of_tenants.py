"""Tenants in workers: their own processes where the plugin says so, and those that can wait where nobody else runs."""

import asyncio
import os
import signal

import pytest
from tests.support.in_workers import apart, needs_workers, until

from jackfield import PermissionDenied, Unavailable
from jackfield.sandbox import probing, selinux
from jackfield.sandbox.port import Tier
from jackfield.sandbox.scheduling import is_idle
from jackfield.workers import pools

pytestmark = [pytest.mark.slow, needs_workers]

CODE = """
import asyncio, os
from pathlib import Path
from jackfield import Caller, function, inject

SEEN = []

@function
def pid(keep: str = "") -> int:
    SEEN.append(keep)
    return os.getpid()

@function
async def later() -> int:
    return os.getpid()

@function
def seen() -> list[str]:
    return SEEN

@function
def nested(caller: Caller = inject()) -> int:
    return caller.call("apart.pid")

@function
def nap() -> int:
    import time
    time.sleep(0.3)
    return os.getpid()

@function
def note(text: str) -> list[str]:
    Path(text).write_text(text)
    return sorted(os.listdir("."))

@function
def space() -> str:
    return os.readlink("/proc/self/ns/pid")
"""

OWN = "[plugin.worker]\nper_tenant = true\nmax = 1\n"
TENANTS = "[tenants.a]\n[tenants.b]\n[tenants.slow]\npriority = 'low'\n[tenants.slower]\npriority = 'low'\n"


def ask(host, way, name, tenant):
    """Ask for a function's result in one of the ways that there are."""
    if way == "acall":
        return asyncio.run(host.acall(name, tenant=tenant))
    return host.call(name, tenant=tenant)


def by_tenant(host):
    """Give whose workers there are: tenant → their processes."""
    found = {}
    for each in host.workers:
        found.setdefault((each.tenant, each.low), set()).add(each.pid)
    return found


@pytest.mark.parametrize("way", ["call", "acall"])
@pytest.mark.parametrize("name", ["apart.pid", "apart.later"])
def test_each_tenant_has_processes_of_its_own(tmp_path, way, name):
    with apart(tmp_path, CODE, OWN) as host:
        of = {tenant: {ask(host, way, name, tenant) for _ in range(3)} for tenant in ("a", "b", None)}
        assert all(len(pids) == 1 for pids in of.values())
        assert len(set.union(*of.values())) == 3
        assert by_tenant(host) == {(tenant, False): pids for tenant, pids in of.items()}


def test_nothing_that_a_tenant_leaves_in_memory_is_there_for_another(tmp_path):
    with apart(tmp_path, CODE, OWN) as host:
        host.call("apart.pid", "secret of a", tenant="a")
        assert host.call("apart.seen", tenant="a") == ["secret of a"]
        assert host.call("apart.seen", tenant="b") == []
        assert host.call("apart.seen") == []


def test_without_it_tenants_share(tmp_path):
    with apart(tmp_path, CODE, "[plugin.worker]\nmax = 1\n") as host:
        assert host.call("apart.pid", tenant="a") == host.call("apart.pid", tenant="b") == host.call("apart.pid")
        assert set(by_tenant(host)) == {(None, False)}


def test_a_nested_call_stays_with_its_tenant(tmp_path):
    with apart(tmp_path, CODE, "[plugin.worker]\nper_tenant = true\n") as host:
        inner = host.call("apart.nested", tenant="a")
        assert inner in by_tenant(host)["a", False]


def test_workers_of_a_tenant_end_when_nobody_needs_them(tmp_path):
    with apart(tmp_path, CODE, f"{OWN}idle = 0.2\n") as host:
        host.call("apart.pid", tenant="a")
        until(lambda: not any(each.tenant for each in host.workers))
        assert host.call("apart.pid", tenant="a") > 0


def test_a_tenants_crash_is_no_others(tmp_path):
    with apart(tmp_path, CODE, OWN) as host:
        mine, others = host.call("apart.pid", tenant="a"), host.call("apart.pid", tenant="b")
        assert mine > 1
        os.kill(mine, signal.SIGKILL)
        until(lambda: mine not in {each.pid for each in host.workers})
        assert host.call("apart.pid", tenant="b") == others
        assert host.call("apart.pid", tenant="a") not in (mine, others)


def test_the_number_of_tenants_with_workers_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "TENANTS", 2)
    with apart(tmp_path, CODE, OWN) as host:
        for tenant in "abcdabcd":
            assert host.call("apart.pid", tenant=tenant) > 0
        until(lambda: {each.tenant for each in host.workers} == {None, "c", "d"})


def test_a_folder_of_its_own_is_the_tenants(tmp_path):
    with apart(tmp_path, CODE, f"{OWN}allow = ['storage:scratch']\n") as host:
        assert host.call("apart.note", "of-a", tenant="a") == ["of-a"]
        assert host.call("apart.note", "of-b", tenant="b") == ["of-b"]
        assert host.call("apart.note", "again", tenant="a") == ["again", "of-a"]


@pytest.mark.skipif(not probing.probe(Tier.NAMESPACES).available, reason="needs a sandbox of the tier namespaces")
def test_in_tier_namespaces_these_are_the_tenants_own(tmp_path):
    with apart(tmp_path, CODE, f"{OWN}tier = 'namespaces'\n") as host:
        assert len({host.call("apart.space", tenant=tenant) for tenant in ("a", "b", None)}) == 3


def test_a_tenant_that_nobody_configured_gets_no_process(tmp_path):
    with apart(tmp_path, CODE, f"{OWN}{TENANTS}") as host:
        with pytest.raises(PermissionDenied):
            host.call("apart.pid", tenant="stranger")
        assert set(by_tenant(host)) == {(None, False)}


# --- Low priority ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["call", "acall"])
@pytest.mark.parametrize("name", ["apart.pid", "apart.later"])
def test_calls_of_low_priority_run_in_idle_workers_of_their_own(tmp_path, way, name):
    with apart(tmp_path, CODE, f"[plugin.worker]\nmax = 1\n{TENANTS}") as host:
        slow, slower, quick = (ask(host, way, name, tenant) for tenant in ("slow", "slower", "a"))
        assert slow == slower != quick
        assert is_idle(slow)
        assert not is_idle(quick)
        assert by_tenant(host) == {(None, False): {quick}, (None, True): {slow}}


def test_low_priority_and_workers_of_its_own_go_together(tmp_path):
    with apart(tmp_path, CODE, f"{OWN}{TENANTS}") as host:
        slow, slower = host.call("apart.pid", tenant="slow"), host.call("apart.pid", tenant="slower")
        assert slow != slower
        assert is_idle(slow)
        assert is_idle(slower)


def test_an_apply_that_changes_the_priority_holds_for_the_next_call(tmp_path):
    file = tmp_path / "jackfield.toml"
    with apart(tmp_path, CODE, f"[plugin.worker]\nmax = 1\n{TENANTS}") as host:
        assert not is_idle(host.call("apart.pid", tenant="a"))
        file.write_text(file.read_text().replace("[tenants.a]", "[tenants.a]\npriority = 'low'"))
        assert host.apply(file).changes
        assert is_idle(host.call("apart.pid", tenant="a"))


# --- Labels of SELinux -----------------------------------------------------------------------------------------------


def selinux_in(folder):
    """Write what a system with SELinux shows."""
    (folder / "enforce").write_text("1")
    (folder / "mls").write_text("1")
    (folder / "current").write_text("system_u:system_r:container_t:s0\0")
    return selinux.find(folder, folder / "current")


def test_each_tenant_has_a_label_and_no_two_the_same(tmp_path):
    labels = selinux.Labels(selinux_in(tmp_path))
    given = {name: labels.of(name) for name in map(str, range(300))}
    assert len({each.text for each in given.values()}) == 300
    assert all(labels.of(name) is label for name, label in given.items())
    assert all(each.text.startswith("system_u:system_r:container_t:s0:c") for each in given.values())


def test_without_selinux_there_is_no_label(tmp_path):
    assert selinux.Labels(selinux.find(tmp_path / "none", tmp_path / "none")).of("a") is None


@pytest.mark.skipif(not selinux.find().reason, reason="SELinux is on here, and takes labels")
def test_what_cannot_get_its_tenants_label_does_not_run(tmp_path, monkeypatch):
    """The label goes to the kernel with the start: here there is none that takes it."""
    (tmp_path / "selinux").mkdir()
    found = selinux_in(tmp_path / "selinux")
    monkeypatch.setattr(selinux, "find", lambda: found)
    with apart(tmp_path, CODE, OWN) as host:
        assert host.call("apart.pid") > 0
        with pytest.raises(Unavailable) as caught:
            host.call("apart.pid", tenant="a", timeout=30.0)
        assert caught.value.cause == "start_failed"
        assert set(by_tenant(host)) == {(None, False)}
