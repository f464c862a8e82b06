"""A submitted call that waits for a place in an executor is looked at once more when it has it."""

import math
import threading

import pytest

from jackfield import Host, Unavailable
from jackfield.executors.thread import ThreadExecutor
from jackfield.model.call import Call, begins
from jackfield.store import SQLiteStore
from support.plugins import wait_for

PLUGIN = """
import os, time
from jackfield import function

@function
def hold(folder: str) -> str:
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
    return "held"

@function
def charge(folder: str) -> str:
    with open(f"{folder}/log", "a") as file:
        file.write("charged\\n")
    return "charged"
"""
CONFIG = """
[[plugin]]
name = "apart"
path = "./apart.py"
executor = "worker"
[plugin.worker]
max = 1
allow = ["storage:{folder}"]
"""


@pytest.mark.slow
def test_a_call_that_got_its_worker_after_its_host_had_slept_does_not_begin(tmp_path):
    """Another host may have it by now. This one makes it again when it can tell that it is its own."""
    (tmp_path / "apart.py").write_text(PLUGIN)
    (tmp_path / "shared").mkdir()
    config = tmp_path / "jackfield.toml"
    config.write_text(CONFIG.format(folder=tmp_path / "shared"))
    folder = str(tmp_path / "shared")
    with Host.from_config(config, observers=(), store=SQLiteStore(tmp_path / "jackfield.db")) as host:
        held = host.submit("apart.hold", folder)
        wait_for(lambda: host.executors["worker"].busy == 1)
        queued = host.submit("apart.charge", folder)
        wait_for(lambda: host.executors["worker"].pending == 1)
        calls = host._submissions
        runner, epoch = calls._runner.id, host.durable_calls.read(queued.id).now.epoch
        calls._tenure.begin("another", math.inf)  # as after a sleep
        (tmp_path / "shared" / "go").touch()
        assert held.result(60) == "held"
        wait_for(lambda: host.durable_calls.read(queued.id).now.epoch > epoch)
        assert not (tmp_path / "shared" / "log").exists()
        calls._tenure.begin(runner, math.inf)
        assert queued.result(60) == "charged"
    assert (tmp_path / "shared" / "log").read_text() == "charged\n"


def test_one_that_waits_for_a_thread_does_not_begin_either():
    """What has begun goes on."""
    executor, go, ran, refused = ThreadExecutor(seats=1), threading.Event(), [], []
    late = threading.Event()

    def check(call):
        if late.is_set():
            raise Unavailable(call.name, "taken over", "killed", ran=False)

    def body(call):
        ran.append(call.name)
        go.wait(60)

    bound = executor.bind(None, body)

    def run(name):
        begins.set(check)  # of this thread's context alone
        try:
            bound.run(Call(name))
        except Unavailable as error:
            refused.append((name, error.ran))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    threads[0].start()
    wait_for(lambda: ran == ["first"])
    threads[1].start()
    wait_for(lambda: executor.stats().pending == 1)
    late.set()
    go.set()
    for thread in threads:
        thread.join(60)
    assert (ran, refused) == (["first"], [("second", False)])
