"""Starting and stopping a host while something else is under way: nothing of it is left behind."""

import gc
import signal
import sys
import threading
import weakref
from contextlib import suppress
from types import ModuleType

import pytest

from jackfield import Host, PluginError, ResourceExhausted, Unavailable
from jackfield.config import PluginConfig
from jackfield.runtime.pool import Pool
from support.plugins import PATIENCE, wait_for


def configured(tmp_path, name, source, **options):
    (tmp_path / f"{name}.py").write_text(source)
    return PluginConfig(name, f"{tmp_path / name}.py:Plugin", **options)


def test_a_start_without_threads_fails_as_a_whole_and_can_be_repeated(tmp_path, monkeypatch):
    """The host does not take calls with none of its plugins started; the next start starts them."""
    host = Host(observers=())
    host.load(configured(tmp_path, "quiet", "class Plugin: ..."))
    host.control.close()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(ResourceExhausted):
            host.start()
    assert not host.running
    with host:
        assert host.plugins["quiet"].state == "running"


def no_thread(_):
    raise RuntimeError("can't start new thread")


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the signal is POSIX's")
def test_a_host_that_a_signal_stops_while_it_starts_does_not_go_on_supervising(tmp_path):
    """The handler runs in the middle of `start`: what `start` does afterwards brings no loop back."""
    before = signal.signal(signal.SIGUSR1, lambda *_: host.stop())
    source = "import os, signal\nclass Plugin:\n    def start(self): os.kill(os.getpid(), signal.SIGUSR1)\n"
    others = _control_loops()  # of hosts of earlier tests that nobody has collected yet
    host = Host(observers=())
    host.load(configured(tmp_path, "killer", source))
    try:
        host.start()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not host.running
    wait_for(lambda: _control_loops() <= others)


def _control_loops():
    return {thread for thread in threading.enumerate() if thread.name == "jackfield-control"}


def starve(monkeypatch, *names):
    """Have the pool give no thread to some work; gives what undoes that."""
    start = Pool.start

    def starved(pool, name, body):
        if name in names:
            raise ResourceExhausted(name, "the system gives no more threads", 1.0)
        return start(pool, name, body)

    monkeypatch.setattr(Pool, "start", starved)
    return lambda: monkeypatch.setattr(Pool, "start", start)


SERVING = """
from jackfield import Background
class Plugin:
    def __init__(self, background: Background): self.background = background
    def start(self): self.background.spawn(self.background.stopping.wait)
    def serve(self) -> bool: return self.background.stopping.is_set()
"""
FUNCTIONS = {"one.serve": "serve"}


def test_a_plugin_whose_stop_got_no_thread_can_be_started_again(tmp_path, monkeypatch):
    """It has failed, and its background work was told; the next start replaces the functions that it has left."""
    with Host(observers=()) as host:
        host.load(configured(tmp_path, "one", SERVING, functions=FUNCTIONS, stop_timeout=0.05))
        relent = starve(monkeypatch, "one:stop")
        assert host.stop_plugin("one").state == "failed"
        assert host.call("one.serve") is True
        relent()
        assert host.start_plugin("one").state == "running"
        assert host.call("one.serve") is False
        assert host.snapshot.routes["one.serve"].default == "0"


def test_a_plugin_whose_stop_got_no_thread_leaves_no_function_when_it_is_unloaded(tmp_path, monkeypatch):
    """What the stop could not take away goes with the plugin, so that it can be loaded again."""
    config = configured(tmp_path, "one", SERVING, functions=FUNCTIONS, stop_timeout=0.05)
    with Host(observers=()) as host:
        host.load(config)
        relent = starve(monkeypatch, "one:stop")
        host.unload("one")
        assert host.snapshot.routes.keys() == set()
        relent()
        assert host.load(config).state == "running"


def test_a_stop_waits_for_a_thread_while_it_has_time(tmp_path, monkeypatch):
    """A system that is out of threads for a moment does not leave a plugin half stopped."""
    with Host(observers=()) as host:
        host.load(configured(tmp_path, "one", SERVING, functions=FUNCTIONS, stop_timeout=30.0))
        start, refused = Pool.start, []

        def refuse_once(pool, name, body):
            if name == "one:stop" and not refused:
                refused.append(name)
                raise ResourceExhausted(name, "the system gives no more threads", 1.0)
            return start(pool, name, body)

        monkeypatch.setattr(Pool, "start", refuse_once)
        assert host.stop_plugin("one").state == "stopped"
        assert refused


def test_a_reload_that_gets_no_thread_to_drain_keeps_the_new_version(tmp_path, monkeypatch):
    """The calls have moved: the new version's modules stay, the old one stops, the report says what was not done."""
    config = configured(tmp_path, "one", SERVING, functions=FUNCTIONS)
    with Host(observers=()) as host:
        host.load(config)
        (tmp_path / "one.py").write_text(SERVING + "# newer")
        starve(monkeypatch, "one:drain")
        report = host.reload("one")
        assert report.new != report.old
        assert [fault.stage for fault in report.faults] == ["drain"]
        assert host.call("one.serve") is False
        assert host.reload("one").old == report.new


def test_nothing_starts_a_plugin_while_its_host_stops(tmp_path):
    """A plugin that starts another one in its stop is refused: that one would outlive the host."""
    host = Host(observers=())
    host.start()
    host.load(configured(tmp_path, "victim", "class Plugin: ..."))
    stubborn = configured(
        tmp_path,
        "stubborn",
        "import weakref\nclass Plugin:\n    host = None\n    def stop(self): self.host().start_plugin('victim')\n"
        "    def meet(self, host: object) -> None: type(self).host = weakref.ref(host)\n",  # a module keeps no host
        functions={"stubborn.meet": "meet"},
        depends_on=("victim",),
    )
    host.load(stubborn)
    host.call("stubborn.meet", host)
    host.stop()
    assert host.plugins["victim"].state == "stopped"
    assert "its host does not run" in host.plugins["stubborn"].fault.reason


SLOW_TO_IMPORT = """
from {types} import at, gate
at.set()
gate.wait()
class Plugin: ...
"""


def test_a_plugin_that_is_still_loaded_when_its_host_has_stopped_is_not_started(tmp_path, monkeypatch):
    """An unloaded plugin is loaded again by its start: the host may be gone by then, and nobody would stop it."""
    types = ModuleType("jf_gates")
    types.at, types.gate = threading.Event(), threading.Event()
    types.gate.set()
    monkeypatch.setitem(sys.modules, "jf_gates", types)
    with Host(observers=()) as host:
        host.load(configured(tmp_path, "one", SLOW_TO_IMPORT.format(types="jf_gates")))
        host.unload("one")
        types.at.clear()
        types.gate.clear()
        said = []

        def start():
            try:
                host.start_plugin("one")
            except PluginError as error:
                said.append(error.reason)

        starting = threading.Thread(target=start)
        starting.start()
        assert types.at.wait(PATIENCE)
    types.gate.set()
    starting.join(PATIENCE)
    assert said == ["its host does not run"]
    assert host.plugins["one"].state == "registered"


def test_a_host_that_is_being_stopped_is_not_started(tmp_path, monkeypatch):
    """It would come up half: the stop goes on, and takes its plugins and loops away. Started afterwards it is whole."""
    types = ModuleType("jf_gates")
    types.at, types.gate = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "jf_gates", types)
    source = "import jf_gates\nclass Plugin:\n    def stop(self): jf_gates.at.set(); jf_gates.gate.wait()\n"
    host = Host(observers=())
    host.load(configured(tmp_path, "one", source + "    def serve(self): return 1\n", functions=FUNCTIONS))
    host.start()
    stopping = threading.Thread(target=host.stop)
    stopping.start()
    assert types.at.wait(PATIENCE)
    host.stop()  # is not waited for, and does nothing: a plugin, or a signal handler, may ask for it in the middle
    with pytest.raises(Unavailable, match="it is being stopped: start it when that has ended"):
        host.start()
    types.gate.set()
    stopping.join(PATIENCE)
    with host:
        assert host.call("one.serve") == 1


@pytest.mark.parametrize("begins", [0, 1, 4, 11, 12], ids="after {} starts".format)
def test_a_host_whose_control_loop_ends_amid_starts_can_be_stopped_and_started(begins, tmp_path, monkeypatch):
    """No start is left on a loop that is gone: what was under way is stopped, and all of it runs the next time."""
    types = ModuleType("jf_gates")
    types.gate, types.begun = threading.Semaphore(begins), threading.Semaphore(0)
    monkeypatch.setitem(sys.modules, "jf_gates", types)
    source = "import jf_gates\nclass Plugin:\n    def start(self): jf_gates.begun.release(); jf_gates.gate.acquire()\n"
    host = Host(observers=())
    for number in range(12):
        needs = (f"p{number - 4}",) if number >= 4 else ()
        host.load(configured(tmp_path, f"p{number}", source, depends_on=needs))

    def start():
        with suppress(Unavailable):  # its loop ends under it
            host.start()

    starting = threading.Thread(target=start)
    starting.start()
    for _ in range(max(begins, 1)):
        assert types.begun.acquire(timeout=PATIENCE)
    host.control.close()
    types.gate.release(100)
    starting.join(PATIENCE)
    host.stop()
    assert {record.state.value for record in host.plugins.values()} <= {"stopped", "registered"}
    with host:
        assert {record.state.value for record in host.plugins.values()} == {"running"}


def test_sixteen_threads_that_start_and_stop_a_host_leave_it_as_the_last_one_says(tmp_path):
    """Whoever comes second is refused or does nothing; whatever the order, the host runs whole or not at all."""
    host = Host(observers=())
    host.load(configured(tmp_path, "one", "class Plugin:\n    def serve(self): return 1\n", functions=FUNCTIONS))

    def toggle(number):
        for _ in range(20):
            with suppress(Unavailable):
                host.start() if number % 2 else host.stop()

    threads = [threading.Thread(target=toggle, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    host.stop()
    assert host.plugins["one"].state != "running"
    with host:
        assert host.call("one.serve") == 1
    assert host.plugins["one"].state == "stopped"


@pytest.mark.parametrize("verb", ["start_plugin", "restart_plugin"])
@pytest.mark.parametrize("before", ["", "load", "load start stop", "load start unload stop"])
def test_no_plugin_is_started_in_a_host_that_does_not_run(verb, before, tmp_path):
    """Nobody would stop it; it is refused with what to do, and brings no control loop back. The host can be started."""
    config = configured(tmp_path, "one", "class Plugin: ...")
    host = Host(observers=())
    steps = {"load": lambda: host.load(config), "start": host.start, "stop": host.stop}
    steps["unload"] = lambda: host.unload("one")
    for step in before.split():
        steps[step]()
    host.control.close()
    threads = {thread.name for thread in threading.enumerate()}
    with pytest.raises(
        Unavailable, match=r"one: its host does not run: start that first, with `host.start\(\)`"
    ) as caught:
        getattr(host, verb)("one")
    assert caught.value.cause == "host_stopped"
    assert {thread.name for thread in threading.enumerate()} <= threads
    with host:
        if "one" not in host.plugins:
            host.load(config)
        assert host.start_plugin("one").state == "running"


def test_a_started_host_that_is_dropped_takes_its_control_loop_along(tmp_path):
    """The health checks that wait for their next round do not keep the host."""
    others = _control_loops()
    host = Host(observers=())
    host.load(configured(tmp_path, "quiet", "class Plugin: ..."))
    host.start()
    there = weakref.ref(host)
    del host

    def is_gone():
        gc.collect()
        return there() is None and _control_loops() <= others

    wait_for(is_gone)
