"""The store that a configuration names: what a plugin leaves is there for the next process, under the host's id."""

import os
import subprocess
import sys

import pytest

from jackfield import Host, StoreUnusable
from jackfield.store import MemoryStore
from jackfield.testing import no_leaks

PLUGIN = """
from jackfield import function
class Plugin:
    count = 0
    def snapshot(self): return b"%d" % self.count
    def restore(self, state): self.count = int(state)
    @function
    def next(self) -> int:
        self.count += 1
        return self.count
"""
CONFIG = """
[host]
id = "blue"
[store]
url = "sqlite:jackfield.db"
[[plugin]]
name = "counter"
path = "./counter.py:Plugin"
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "counter.py").write_text(PLUGIN)
    file = tmp_path / "jackfield.toml"
    file.write_text(CONFIG)
    return file


def test_what_a_plugin_leaves_is_there_after_a_restart(file):
    """Also for another process; the host closes the file whenever it stops, and opens it when it starts."""
    with no_leaks():
        host = Host.from_config(file, observers=())
        for turn in range(2):
            with host:
                assert host.call("counter.next") == 2 * turn + 1
                assert host.reload("counter").faults == ()
                assert host.call("counter.next") == 2 * turn + 2
                assert (file.parent / "jackfield.db").exists()
            assert [each.name for each in file.parent.glob("jackfield.db*")] == ["jackfield.db"]
    code = (
        "import sys, jackfield\nwith jackfield.Host.from_config(sys.argv[1]) as host: print(host.call('counter.next'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "5\n"


def test_the_host_keeps_its_own_under_the_id_that_it_was_given(file):
    """And gives it back when it stops."""
    host = Host.from_config(file, observers=())
    with host:
        host.reload("counter")
        keys = host._control.run(host._kept.answered(lambda: host._kept.store.range("hosts/"))).entries
        assert {"hosts/blue/claim", "hosts/blue/identity"} <= keys.keys()
    with Host.from_config(file, observers=()) as other:
        other.reload("counter")
        keys = other._control.run(other._kept.answered(lambda: other._kept.store.range("hosts/"))).entries
        assert {key.split("/")[1] for key in keys} == {"blue"}


def test_a_store_that_is_given_goes_before_the_file_s(file):
    """Whoever embeds a host decides."""
    with Host.from_config(file, observers=(), store=MemoryStore()) as host:
        assert host.reload("counter").faults == ()
    assert not (file.parent / "jackfield.db").exists()


def test_a_store_that_cannot_be_used_keeps_the_host_from_being_made(file):
    """Nobody begins with an empty one unasked."""
    (file.parent / "jackfield.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreUnusable, match="damaged"):
        Host.from_config(file, observers=())


def test_another_store_takes_a_restart(file):
    """An apply says so, and changes nothing of it."""
    with Host.from_config(file, observers=()) as host:
        file.write_text(CONFIG.replace("sqlite:jackfield.db", "memory:").replace("blue", "green"))
        plan = host.apply(file)
        assert plan.changes == ()
        assert [change.field for change in plan.restart] == ["host.id", "store.url"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "jackfield.toml"],
        ["list", "--config", "jackfield.toml"],
        ["info", "twice", "--config", "jackfield.toml"],
        ["graph", "--config", "jackfield.toml"],
        ["flow", "run", "twice", "--config", "jackfield.toml"],
    ],
)
def test_verbs_that_only_look_leave_the_store_alone(file, arguments):
    """It is the running host's: nothing is opened, written, brought back or run."""
    file.write_text(f"{CONFIG}\n[flows.twice.steps.one]\ncall = 'counter.next'\n")
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", *arguments],
        cwd=file.parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(file.parent.glob("jackfield.db*")) == []
