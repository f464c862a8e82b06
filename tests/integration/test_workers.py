"""The metrics of several processes: real ones, that fork, end and are killed, added up in one scrape.

Each test is a program of its own, since prometheus-client decides when it is imported whether it writes files.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
import asyncio, atexit, json, os, signal, sys, time
from prometheus_client.parser import text_string_to_metric_families
from jackfield import Host, Metrics, Probes, Rejected

def refuse() -> None:
    raise Rejected("no", code="no")

def host(calls=0, name="f"):
    made = Host(observers=[Metrics()])
    made.register(name, abs, version="1")
    made.start()
    for _ in range(calls):
        made.call(name, -1)
    return made

def child(body):
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    children.append(pid)
    return pid

children = []

@atexit.register
def kill():
    # One that sleeps on has our pipes: whoever reads them would wait for it, and not see why this program failed.
    for pid in children:
        try:
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
        except ChildProcessError:
            pass

def ended(body):
    os.waitpid(child(body), 0)

def until(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)

def scrape(registry=None):
    async def get():
        return await Probes(Host(observers=()), registry=registry, patience=30.0).answer("GET", "/metrics")
    families = text_string_to_metric_families(asyncio.run(get()).body.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

def calls(name="f"):
    found = scrape()
    return sum(value for key, value in found.items() if key[0] == "jackfield_calls_total" and name in key)

def level(metric):
    return {key[1:]: value for key, value in scrape().items() if key[0] == metric}
"""


def run(body, folder, **environ):
    """Run a program in multi-process mode; gives what it prints as JSON."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(body)]
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), **environ}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


def test_the_calls_of_all_workers_are_one_sum(tmp_path):
    """A scrape of any one of them has the calls of those that run and of those that have ended."""
    body = """
    mine = host(3)
    ended(lambda: host(5).stop())
    ended(lambda: host(7).stop())
    print(json.dumps(calls()))
    """
    assert run(body, tmp_path)[0] == 15


def test_histograms_add_up(tmp_path):
    """Buckets stay cumulative, and the last one is the count."""
    body = """
    mine = host(3)
    ended(lambda: host(5).stop())
    found = scrape()
    name = "jackfield_call_duration_seconds"
    buckets = [v for k, v in found.items() if k[0] == name + "_bucket" and "f" in k]
    print(json.dumps([sorted(buckets) == buckets, buckets[-1], found[name + "_count", "f", "1"]]))
    """
    assert run(body, tmp_path)[0] == [True, 8, 8]


@pytest.mark.slow
def test_a_killed_worker_takes_no_counts_along(tmp_path):
    """What it had copied stays; its successor adds to it, and the sum never falls."""
    body = """
    def busy():
        host(4)
        time.sleep(100)
    pid = child(busy)
    until(lambda: calls() == 4)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    seen = [calls()]
    ended(lambda: host(2).stop())
    print(json.dumps([*seen, calls()]))
    """
    assert run(body, tmp_path)[0] == [4, 6]


@pytest.mark.slow
def test_the_levels_of_a_dead_worker_are_gone(tmp_path):
    """Calls that were in flight when it was killed are not in flight for ever."""
    body = """
    def stuck():
        mine = Host(observers=[Metrics()])
        mine.register("f", time.sleep)
        mine.start()
        mine.call("f", 100)
    pid = child(stuck)
    flying = lambda: sum(level("jackfield_calls_in_flight").values())
    until(lambda: flying() == 1)
    before = flying()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(json.dumps([before, flying()]))
    """
    assert run(body, tmp_path)[0] == [1, 0]


def test_a_forked_child_does_not_count_its_parent_s_calls_again(tmp_path):
    """It begins at zero, for each scrape and for its own registry, whatever the parent had counted before."""
    body = """
    mine = host(10)
    def check():
        other = host(1)
        from prometheus_client import REGISTRY
        own = REGISTRY.get_sample_value("jackfield_calls_total", {"function": "f", "version": "1", "outcome": "ok"})
        open(os.environ["PROMETHEUS_MULTIPROC_DIR"] + "/own", "w").write(str(own))
        other.stop()
    ended(check)
    print(json.dumps([calls(), float(open(os.environ["PROMETHEUS_MULTIPROC_DIR"] + "/own").read())]))
    """
    assert run(body, tmp_path)[0] == [11, 1]


def test_series_that_end_and_come_back_take_nothing_back(tmp_path):
    """A version that goes and comes back, a host that stops and another that starts: the sum only grows."""
    body = """
    seen = []
    for number in range(3):
        mine = host(number)
        seen.append(calls())
        mine.unregister("f") if number == 1 else None
        mine.stop()
        seen.append(calls())
    print(json.dumps(seen))
    """
    assert run(body, tmp_path)[0] == [0, 0, 1, 1, 3, 3]


def test_what_a_host_shows_of_itself_goes_with_it(tmp_path):
    """Executors and the revision are levels: 0 when the only host has stopped."""
    body = """
    mine = host()
    before = level("jackfield_revision")
    mine.stop()
    print(json.dumps([list(before.values())[0] > 0, list(level("jackfield_revision").values())]))
    """
    assert run(body, tmp_path)[0] == [True, [0]]


def test_a_registry_that_is_given_is_this_process_s_own(tmp_path):
    """Who asks for a registry gets that one."""
    body = """
    from prometheus_client import REGISTRY
    mine = host(3)
    ended(lambda: host(5).stop())
    print(json.dumps(scrape(REGISTRY)["jackfield_calls_total", "f", "ok", "1"]))
    """
    assert run(body, tmp_path)[0] == 3


def test_the_thread_that_copies_ends_with_the_last_host(tmp_path):
    """Nothing runs when no host does, and nothing starts where nothing is shared."""
    body = """
    import threading
    names = lambda: [thread.name for thread in threading.enumerate() if thread.name == "jackfield-metrics"]
    one, two = host(), host(name="g")
    seen = [len(names())]
    one.stop()
    seen.append(len(names()))
    two.stop()
    until(lambda: not names())
    print(json.dumps([*seen, len(names())]))
    """
    assert run(body, tmp_path)[0] == [1, 1, 0]


def test_a_folder_that_cannot_be_written_is_told_once_and_calls_go_on(tmp_path):
    """The message names the variable and the folder."""
    body = """
    from jackfield.observe.multiprocess import copies
    mine = host(2)
    copies.write(); copies.write()
    print(json.dumps(mine.call("f", -3)))
    """
    answer, said = run(body, tmp_path / "nowhere")
    assert answer == 3
    assert said.count("PROMETHEUS_MULTIPROC_DIR") == 1
    assert "nowhere" in said


def test_a_file_that_is_cut_short_or_is_none_costs_its_own_numbers(tmp_path):
    """A worker was killed while it made it, the disk was full, or somebody else put it there: the others are shown."""
    (tmp_path / "counter_1.db").write_bytes(b"")
    (tmp_path / "histogram_2.db").write_bytes(b"\xff" * 5_000)
    (tmp_path / "counter_3.db").mkdir()
    os.mkfifo(tmp_path / "counter_4.db")
    shown, said = run("mine = host(3)\nprint(json.dumps(calls()))", tmp_path)
    assert shown == 3
    assert "_AllProcesses failed with struct.error" in said
