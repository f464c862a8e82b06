"""What there is to see of workers: records, counts of the executor, metrics, `pluginctl status`."""

import os
import re
import threading

import pytest
from prometheus_client import CollectorRegistry
from tests.support.in_workers import PATIENCE, apart, needs_workers, until

from jackfield import Host, Metrics, Unavailable, WorkerRecord, WorkerState
from jackfield.cli.status import _lines
from jackfield.operations import state

pytestmark = needs_workers

CODE = """
import os, time
from jackfield import function

@function
def pid() -> int:
    return os.getpid()

@function
def leave() -> None:
    os._exit(3)

@function
def wait(file: str) -> None:
    while not os.path.exists(file):
        time.sleep(0.01)
"""


@pytest.fixture
def registry():
    return CollectorRegistry()


def samples(registry, name):
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_a_host_without_workers_has_none():
    """And says nothing of them."""
    with Host(observers=()) as host:
        assert host.workers == ()
        assert "worker" not in host.executors


def test_each_worker_has_a_record(tmp_path):
    """Its process, what it does, its sandbox, how many calls it got, and its memory."""
    with apart(tmp_path, CODE) as host:
        pid = host.call("apart.pid")
        (record,) = host.workers
        assert isinstance(record, WorkerRecord)
        assert (record.plugin, record.pid, record.state, record.tier) == ("apart", pid, WorkerState.IDLE, "self")
        assert record.version == host.plugins["apart"].version
        assert record.calls == 1
        assert record.memory > 2**20
    assert host.workers == ()


def test_a_worker_that_runs_a_call_is_busy(tmp_path):
    """In its record, and in the counts of the executor `worker`."""
    with apart(tmp_path, CODE, f"[plugin.worker]\nallow = ['storage:{tmp_path}']\n", timeout=PATIENCE) as host:
        thread = threading.Thread(target=host.call, args=("apart.wait", str(tmp_path / "go")))
        thread.start()
        try:
            until(lambda: host.executors["worker"].busy)
            assert [record.state for record in host.workers] == [WorkerState.BUSY]
        finally:
            (tmp_path / "go").touch()
            thread.join(PATIENCE)
        assert host.executors["worker"].busy == 0
        assert host.executors["worker"].enqueued == 1


def test_starts_and_deaths_are_counted_by_cause(tmp_path, registry):
    """A worker that ends by itself has crashed; what a stop ends has not died."""
    with apart(tmp_path, CODE, observers=[Metrics(registry)]) as host:
        for _ in range(2):
            with pytest.raises(Unavailable):
                host.call("apart.leave")
        host.call("apart.pid")
        assert samples(registry, "jackfield_worker_starts_total") == {("apart",): 3}
        assert samples(registry, "jackfield_worker_deaths_total") == {("apart", "crashed"): 2}
        assert samples(registry, "jackfield_workers") == {("apart", "busy"): 0, ("apart", "idle"): 1}
        assert samples(registry, "jackfield_worker_memory_bytes")["apart",] > 2**20
        assert samples(registry, "scheduler_executors")["worker", "idle"] == 1
        assert samples(registry, "scheduler_task_enqueued_total")["worker", "normal"] == 3


def test_counts_outlive_a_reload(tmp_path, registry):
    """The new version's workers are counted on top of those of the old one."""
    with apart(tmp_path, CODE, observers=[Metrics(registry)]) as host:
        host.call("apart.pid")
        before = samples(registry, "jackfield_worker_starts_total")["apart",]
        host.unload("apart")
        host.start_plugin("apart")
        host.call("apart.pid")
        assert samples(registry, "jackfield_worker_starts_total")["apart",] == before + 1
        assert host.executors["worker"].enqueued == 2


def test_status_shows_them(tmp_path):
    """As data, and as a table."""
    with apart(tmp_path, CODE) as host:
        pid = host.call("apart.pid")
        shown = state.status(host, dict)
        assert shown["workers"][0]["pid"] == pid
        assert state.dump(host, dict)["executors"]["worker"]["idle"] == 1
        lines = list(_lines(shown))
    (at,) = [number for number, line in enumerate(lines) if "WORKER OF" in line]
    assert lines[at + 1].split()[:6] == ["apart", "0", str(pid), "idle", "self", "1"]
    assert os.getpid() != pid


def test_status_shows_the_sandbox_of_each_plugin(tmp_path):
    """And how many workers it has, even when there is none; of a plugin of the host's own process there is neither."""
    (tmp_path / "here.py").write_text("from jackfield import function\n\n@function\ndef one() -> int:\n    return 1\n")
    with apart(tmp_path, CODE, "[[plugin]]\nname = 'here'\npath = './here.py'\n") as host:
        shown = state.status(host, dict)
        lines = list(_lines(shown))
        with pytest.raises(Unavailable):
            host.call("apart.leave")
        assert until(lambda: not host.workers)
        assert host.worker_tiers == {"apart": "self"}
        host.unload("apart")
        assert host.worker_tiers == {}
    found = {plugin["name"]: (plugin["tier"], plugin["workers"]) for plugin in shown["plugins"]}
    assert found == {"apart": ("self", 1), "here": (None, 0)}
    table = "\n".join(lines).partition("WORKER OF")[0]
    assert re.search(r"PLUGIN .* SANDBOX +WORKERS", table)
    assert re.search(r"apart .* self +1\b", table)
    assert re.search(r"here .* - +-", table)
