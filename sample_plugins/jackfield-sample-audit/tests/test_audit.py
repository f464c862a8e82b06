"""What is written down, and what is refused, seen through a host that has found the hooks by itself."""

import json
import logging
import stat
import threading

import pytest
from jackfield_sample_audit import AuditTrail

from jackfield import Host, PluginError


@pytest.fixture
def trail(tmp_path, monkeypatch):
    """Name a file for the trail; give a function that reads it."""
    file = tmp_path / "audit.jsonl"
    monkeypatch.setenv("JACKFIELD_AUDIT_FILE", str(file))
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def shout(text: str) -> str:
    return text.upper()


def about(records, name):
    return [record["event"] for record in records if record.get("function") == name]


def test_registration_and_removal_are_written_down(trail):
    """Each change is one line, written before the verb returns, with who and when."""
    with Host.discover() as host:
        registration = host.register("text.shout", shout, version="1.2")
        assert about(trail(), "text.shout") == ["function_registered"]
        registration.remove()
        assert about(trail(), "text.shout") == ["function_registered", "function_unregistered"]
    record = next(record for record in trail() if record.get("function") == "text.shout")
    assert record["version"] == "1.2"
    assert record.keys() == {"time", "pid", "event", "function", "version", "plugin", "distribution"}


def test_a_transaction_that_fails_is_not_written_down(trail):
    """What never became visible was never registered."""
    with Host.discover() as host:
        with pytest.raises(RuntimeError), host.update() as transaction:  # noqa: PT012  # the block is what is tested
            transaction.register("text.shout", shout)
            raise RuntimeError
        assert about(trail(), "text.shout") == []


def test_a_denied_name_is_refused(trail, monkeypatch):
    """Nobody can call it, the error names pattern and plugin, and the attempt is written down."""
    monkeypatch.setenv("JACKFIELD_AUDIT_DENY", "shell.*, *.eval")
    with Host.discover() as host:
        for name in ("shell.run", "python.eval"):
            with pytest.raises(PluginError, match="jackfield-sample-audit"):
                host.register(name, shout)
            assert name not in host.snapshot.functions
        host.register("shelly.run", shout)
    assert about(trail(), "shell.run") == ["function_refused"]
    assert [record["pattern"] for record in trail() if record["event"] == "function_refused"] == ["shell.*", "*.eval"]


def test_one_denied_function_refuses_its_transaction(trail, monkeypatch):
    """All of it or none of it."""
    monkeypatch.setenv("JACKFIELD_AUDIT_DENY", "shell.*")
    with Host.discover() as host:
        with pytest.raises(PluginError), host.update() as transaction:  # noqa: PT012  # the block is what is tested
            transaction.register("text.shout", shout)
            transaction.register("shell.run", shout)
        assert "text.shout" not in host.snapshot.functions
    assert about(trail(), "text.shout") == []


def test_without_a_file_the_standard_logger_gets_the_lines(monkeypatch, caplog):
    """Nothing is written to a place that nobody chose."""
    monkeypatch.delenv("JACKFIELD_AUDIT_FILE", raising=False)
    with caplog.at_level(logging.INFO, "jackfield.audit"), Host.discover() as host:
        host.register("text.shout", shout)
    assert about([json.loads(record.message) for record in caplog.records], "text.shout") == ["function_registered"]


def test_a_file_that_cannot_be_opened_is_a_fault_of_this_plugin(tmp_path, monkeypatch):
    """The operator learns at start that there is no trail; a strict host does not start without it."""
    monkeypatch.setenv("JACKFIELD_AUDIT_FILE", str(tmp_path / "no" / "such" / "folder"))
    with Host.discover(strict=False) as host:
        assert [fault.stage for fault in host.faults if fault.plugin == "jackfield-sample-audit"] == ["hook"]
    with pytest.raises(PluginError, match="No such file"):
        Host.discover(strict=True)


@pytest.mark.usefixtures("trail")
def test_the_file_is_for_its_owner_alone(tmp_path):
    """Who registers what is nobody else's business."""
    AuditTrail()
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_plugins_that_start_and_stop_are_written_down(trail):
    """The two plugin hooks write what they are told."""
    audit = AuditTrail()
    audit.jackfield_plugin_started("billing")
    audit.jackfield_plugin_stopped("billing")
    assert [(record["event"], record["plugin"]) for record in trail()] == [
        ("plugin_started", "billing"),
        ("plugin_stopped", "billing"),
    ]


def test_lines_of_many_threads_stay_whole(trail):
    """Sixteen hosts' worth of writers tear no line apart."""
    audits = [AuditTrail() for _ in range(16)]
    threads = [
        threading.Thread(target=lambda audit=audit: [audit.jackfield_plugin_started("x" * 500) for _ in range(50)])
        for audit in audits
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trail()) == 16 * 50
