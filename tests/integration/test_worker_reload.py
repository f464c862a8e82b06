"""Reloading plugins that run in workers: real files, real processes, real load."""

import os
import sys
import time
from pathlib import Path

import pytest
from tests.support.load import load

from jackfield import Host, PluginError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")

TILL = """
import os
from jackfield import function

class Till:
    def __init__(self):
        self.sales = 0

    def snapshot(self):
        return {"sales": self.sales}

    def restore(self, state):
        self.sales = state["sales"]

    @function
    def sell(self) -> int:
        self.sales += 1
        return self.sales

    @function
    def process(self) -> int:
        return os.getpid()

    @function
    def label(self) -> str:
        return "first"
"""


@pytest.fixture
def till(tmp_path):
    """Give the file of a plugin that runs in one worker."""
    file = tmp_path / "till.py"
    file.write_text(TILL, "utf-8")
    (tmp_path / "jackfield.toml").write_text(
        '[[plugin]]\nname = "till"\npath = "./till.py:Till"\nversion = "1.0"\nexecutor = "worker"\n', "utf-8"
    )
    return file


def host_of(till):
    """Make the host of it."""
    return Host.from_config(till.parent / "jackfield.toml", observers=())


def is_there(pid):
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descriptors():
    """Count what this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_file_is_loaded_anew_in_processes_of_its_own(till):
    """The state crosses, the new code serves, and nothing is left of the old processes."""
    with host_of(till) as host:
        assert [host.call("till.sell"), host.call("till.sell")] == [1, 2]
        before = host.call("till.process")
        till.write_text(TILL.replace("first", "second"), "utf-8")
        report = host.reload("till")
        assert (report.old, report.state_handed, report.faults) == ("1.0", True, ())
        assert report.new.startswith("1.0+")
        assert (host.call("till.label"), host.call("till.sell")) == ("second", 3)
        assert host.call("till.process") != before
        end = time.monotonic() + 30.0
        while is_there(before):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_signal_to_the_group_of_the_host_reaches_no_worker(till):
    """Ctrl-C in a terminal goes to all of a process group: the host stops its plugins then, and they must be there."""
    with host_of(till) as host:
        host.call("till.sell")
        of_threads = [each.read_text().split() for each in Path("/proc/self/task").glob("*/children")]
        found = [int(pid) for each in of_threads for pid in each]
        assert found
        assert os.getpgid(0) not in {os.getpgid(pid) for pid in found}
        assert os.getpgid(host.call("till.process")) != os.getpgid(0)


def test_an_unchanged_file_is_left_alone(till):
    """There is nothing to load."""
    with host_of(till) as host:
        before = host.call("till.process")
        report = host.reload("till")
        assert report.old == report.new
        assert host.call("till.process") == before


@pytest.mark.parametrize(
    ("old", "new", "stage"),
    [
        pytest.param("import os", "import nowhere_at_all", "import", id="import"),
        pytest.param("self.sales = 0", "raise RuntimeError('no')", "start", id="object"),
        pytest.param('self.sales = state["sales"]', "raise RuntimeError('no')", "restore", id="restore"),
        pytest.param("    @function", "    def health(self): return False\n\n    @function", "health", id="health"),
    ],
)
def test_what_fails_leaves_the_old_one_serving(till, old, new, stage):
    """At whichever step, with its own processes and its own state."""
    with host_of(till) as host:
        host.call("till.sell")
        before = host.call("till.process")
        till.write_text(TILL.replace(old, new, 1), "utf-8")
        with pytest.raises(PluginError) as caught:
            host.reload("till")
        assert caught.value.stage == stage
        assert (host.call("till.process"), host.call("till.sell")) == (before, 2)
        till.write_text(TILL.replace("first", "second"), "utf-8")
        host.reload("till")
        assert (host.call("till.label"), host.call("till.sell")) == ("second", 3)


def test_an_old_version_that_is_kept_warm_can_be_rolled_back_to(till):
    """Its processes idle; once they have stopped, a rollback finds the version that there is."""
    with host_of(till) as host:
        before, revision = host.call("till.process"), host.snapshot.revision
        till.write_text(TILL.replace("first", "second"), "utf-8")
        host.reload("till", keep_warm=60.0)
        assert host.call("till.label") == "second"
        host.rollback(revision)
        assert (host.call("till.label"), host.call("till.process")) == ("first", before)


def test_a_version_whose_processes_have_ended_is_not_rolled_back_to(till):
    """A rollback moves no calls to what cannot take them."""
    with host_of(till) as host:
        revision = host.snapshot.revision
        till.write_text(TILL.replace("first", "second"), "utf-8")
        host.reload("till")
        host.rollback(revision)
        assert host.call("till.label") == "second"


@pytest.mark.slow
def test_twenty_reloads_under_load_lose_no_call(till):
    """Whoever is inside finishes there, whoever waits for a worker gets one, and everybody else goes to the new one."""
    with host_of(till) as host, load(lambda: host.call("till.label")) as results:
        before = descriptors()
        for number in range(20):
            till.write_text(TILL.replace("first", f"number {number}"), "utf-8")
            assert host.reload("till").faults == ()
            assert host.call("till.label") == f"number {number}"
        end = time.monotonic() + 10.0
        while descriptors() > before + 12:  # those of one more worker; what twenty reloads would leave is far more
            assert time.monotonic() < end, "descriptors are left open"
            time.sleep(0.01)
    assert set(results) <= {"first", *(f"number {number}" for number in range(20))}


def test_an_apply_reloads_a_changed_file(till):
    """As it does for one in this process."""
    with host_of(till) as host:
        host.call("till.sell")
        assert host.apply(till.parent / "jackfield.toml").changes == ()
        till.write_text(TILL.replace("first", "second"), "utf-8")
        plan = host.apply(till.parent / "jackfield.toml")
        assert [(each.kind, each.status) for each in plan.changes] == [("reload", "done")]
        assert (host.call("till.label"), host.call("till.sell")) == ("second", 2)
