"""A host that is one of several processes: what it has of quotas on lease, while its configuration changes."""

import threading

import pytest

from jackfield import Host, ResourceExhausted
from jackfield.admission.leases import Lease
from jackfield.config.part import Part

TENANTS = 20  # enough for an apply to take a moment


def file_of(folder, quota):
    file = folder / "jackfield.toml"
    file.write_text("discover = false\n" + "".join(f"[tenants.t{each}]\n{quota}\n" for each in range(TENANTS)))
    return file


def test_what_was_applied_last_holds_whenever_leases_come(tmp_path):
    """A lease that comes in the middle of an apply brings back nothing of what was due before it."""
    few, many = "rate = 0.001", "weight = 2.0"
    over, between = threading.Event(), threading.Lock()

    def lease(host):
        while not over.is_set():
            with between:
                host.lease({"t0": Lease(0.001, None)})

    with Host.from_config(file_of(tmp_path, few), observers=(), part=Part(1, 2)) as host:
        host.register("quick", lambda: "quick")
        leasing = threading.Thread(target=lease, args=(host,))
        leasing.start()
        try:
            for _ in range(30):
                host.apply(file_of(tmp_path, many))
                with between:
                    assert [host.call("quick", tenant="t1") for _ in range(3)] == ["quick"] * 3
                host.apply(file_of(tmp_path, few))
                with between, pytest.raises(ResourceExhausted):
                    for _ in range(3):
                        host.call("quick", tenant="t1")
        finally:
            over.set()
            leasing.join()
