"""What `status` and `dump-state` tell of doors, tenants, queues, sandboxes and memory."""

import json
import sys

import pytest
from tests.integration.test_admission import FILE, PLUGIN, begin, fill, of
from tests.support.in_workers import apart, until

from jackfield import Host, ResourceExhausted
from jackfield.cli.shares import share_lines
from jackfield.cli.status import _lines
from jackfield.config import DoorsConfig
from jackfield.operations import verbs
from jackfield.operations.doors import Doors
from jackfield.sandbox.inspection import inspect


@pytest.fixture
def host(tmp_path):
    (tmp_path / "slow.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(FILE)
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        yield host
        host.call("slow.open")


def asked(host, verb="status"):
    """Ask as the control socket does: what comes is plain."""
    return json.loads(json.dumps(verbs(host)[verb]({})))


def tenant(state, name):
    return next(each for each in state["admission"]["tenants"] if each["name"] == name)


def test_status_tells_who_runs_waits_and_was_refused(host):
    """And what is due to whom, and what they received."""
    fill(host, "sync", "slow.hold")
    begin(host, "sync", "slow.hold", "few", 2)
    until(lambda: of(host, "few").inside + of(host, "few").waiting == 2)
    with pytest.raises(ResourceExhausted):
        host.call("slow.quick", tenant="few")
    state = asked(host)
    plain, few, heavy = (tenant(state, name) for name in ("plain", "few", "heavy"))
    assert plain["inside"] + plain["waiting"] == 30
    assert few["refused"] == {"concurrency": 1}
    assert (heavy["weight"], heavy["admitted"]) == (4.0, 0)
    assert state["admission"]["inside"] <= state["admission"]["limit"]
    assert {each["function"] for each in state["admission"]["functions"]} >= {"slow.hold@0", "slow.quick@0"}
    text = "\n".join(share_lines(state["admission"]))
    assert "1 (1 concurrency)" in text
    assert "calls wait" in text


def test_between_two_looks_is_told_what_has_come_since(host):
    """So that what goes on now is not lost in what was."""
    for _ in range(5):
        host.call("slow.quick", tenant="kept")
    before = asked(host)["admission"]
    host.call("slow.quick", tenant="kept")
    now = asked(host)["admission"]
    row = next(line for line in share_lines(now, before) if line.startswith("kept"))
    assert row.split()[7] == "1"
    row = next(line for line in share_lines(now) if line.startswith("kept"))
    assert row.split()[7] == "6"


def test_without_shares_nothing_is_said_of_them():
    """Nor of submitted calls, in a host that has to do with none."""
    with Host(observers=()) as host:
        state = asked(host)
        assert state["admission"] is state["submissions"] is None
        assert list(share_lines(state["admission"])) == []


def test_of_no_submitted_call_none_is_the_oldest(tmp_path):
    """It is told of when there is one that has not ended."""
    (tmp_path / "jackfield.toml").write_text('[durable]\nconcurrency = 0\n\n[store]\nurl = "sqlite:calls.db"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        host.register("text.upper", str.upper)
        assert list(host.submissions()) == []
        assert "submitted calls: 0 wait, 0 run" in list(_lines(asked(host)))
        host.submit("text.upper", "a")
        shown = next(line for line in _lines(asked(host)) if line.startswith("submitted calls"))
    assert shown.startswith("submitted calls: 1 wait, 0 run; the oldest was submitted ")


def test_a_door_that_tells_is_asked():
    """One that does not is shown by its address."""

    class Telling:
        address = "x:1"

        def stats(self):
            return {"connections": 2, "under_way": 1, "requests": 3}

    class Silent:
        address = "y:2"

    doors = Doors(None, DoorsConfig(), None)
    doors._doors = {"x": Telling(), "y": Silent()}
    assert doors.addresses == {"x": "x:1", "y": "y:2"}
    assert doors.traffic == {"x": {"connections": 2, "under_way": 1, "requests": 3}}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_a_dump_tells_how_workers_are_confined_and_what_is_in_their_memory(tmp_path):
    """Sums and names; no address, and nothing of what is there."""
    code = "from jackfield import function\n@function\ndef one() -> int:\n    return 1\n"
    with apart(tmp_path, code) as host:
        host.call("apart.one", timeout=60.0)
        (found,) = asked(host, "dump_state")["sandboxes"]
        assert found["pid"] == host.workers[0].pid
        assert found["confined"] is found["seccomp"] is found["no_new_privileges"] is True
        assert found["capabilities"] is False
        memory = found["memory"]
        assert memory["resident"] >= memory["private"] > 0
        assert sum(each["resident"] for each in memory["maps"]) == memory["resident"]
        assert any("python" in each["name"] for each in memory["maps"])
        host.call("apart.one", timeout=60.0)
    assert inspect(found["pid"]) is None


def test_what_cannot_be_looked_at_is_told_as_nothing(tmp_path):
    """A process that is gone, a system that does not say, a file that is not as it was."""
    assert inspect(1, tmp_path) is None
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Seccomp:\t0\nThreads:\t1\nCapEff:\t00000000000000c0\n")
    (tmp_path / "7" / "smaps").write_text("1-2 r--p 0 0:0 0\nRss:   many kB\n")
    assert inspect(7, tmp_path) is None
    (tmp_path / "7" / "smaps").write_text("1-2 r--p 0 0:0 0\nRss:  8 kB\nPrivate_Dirty: 4 kB\nVmFlags: rd mr\n")
    found = inspect(7, tmp_path)
    assert (found["confined"], found["capabilities"]) == (False, True)
    assert found["memory"]["maps"] == [
        {"name": "[anonymous]", "size": 0, "resident": 8192, "proportional": 0, "swapped": 0, "private": 4096}
    ]
