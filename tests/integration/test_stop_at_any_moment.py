"""Starting and stopping a host while something else is under way: nothing of it is left behind."""

import signal
import threading

import pytest

from jackfield import Host, ResourceExhausted
from jackfield.config import PluginConfig
from support.plugins import wait_for


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
    host = Host(observers=())
    host.load(configured(tmp_path, "killer", source))
    try:
        host.start()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not host.running
    wait_for(lambda: "jackfield-control" not in {thread.name for thread in threading.enumerate()})
