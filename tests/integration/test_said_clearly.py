"""What an operator is told when something is asked for that cannot be: what is wrong, and what to do."""

import json
import os
import subprocess
import sys

import pytest

from jackfield import ConfigError, Host, PayloadError, PluginError
from jackfield.cli.payload import SENT
from jackfield.control import ControlServer
from jackfield.manifests.read import parse_manifest
from jackfield.model.canary import CanaryState
from jackfield.operations import verbs


def test_more_than_goes_to_a_running_host_is_a_payload_that_does_not_fit(socket_path):
    """It is not sent, and the bound is named."""
    with Host(observers=()) as host, ControlServer(socket_path, verbs(host)):
        host.register("size", len)
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", "call", "size", "--json", "-", "--running"],
            input=json.dumps("x" * SENT).encode(),
            env={**os.environ, "JACKFIELD_CONTROL": str(socket_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=False,
        )
    assert done.returncode == 1
    said = b"invalid_payload: size: the payload has more than the 15 MiB that go to a running host"
    assert said in done.stderr


def test_a_table_for_anything_is_not_taken_for_a_wrapped_value():
    """What is too large in it is what is wrong with it."""

    def keep(value):
        return value

    with Host(observers=()) as host:
        host.register("keep", keep)
        with pytest.raises(PayloadError) as told:
            host.call("keep", {"value": "x" * (65 << 20)})
    assert "pass the value itself" not in str(told.value)


def test_of_canaries_that_are_over_none_is_named():
    """They cannot be aborted."""
    with Host(observers=()) as host:
        host.register("f", len, version="1")
        host.register("f", len, version="2")
        host.canary("f", version="2", share=0.5).abort()
        assert [each.status.state for each in host.canaries] == [CanaryState.ABORTED]
        with pytest.raises(PluginError, match=r"there are: none"):
            verbs(host)["canary_abort"]({"name": "nope"})


def test_a_revision_that_is_not_kept_is_told_with_those_that_are():
    """So that one of them can be used."""
    with Host(observers=()) as host:
        host.register("f", len)
        with pytest.raises(LookupError, match=r"999 is not kept: use one of .*1"):
            host.rollback(999)


def test_a_question_mark_between_braces_needs_quotes(tmp_path):
    """YAML takes it for a key."""
    with pytest.raises(ConfigError, match="needs quotes"):
        parse_manifest(b"name: a\nlifecycle: {healthcheck: /health?timeout=3s}\n", tmp_path / "plugin-manifest.yaml")


def test_the_lock_beside_a_control_socket_goes_with_it(socket_path):
    """And the next host makes another."""
    for _ in range(2):
        with Host(observers=()) as host, ControlServer(socket_path, verbs(host)):
            assert sorted(each.name for each in socket_path.parent.iterdir()) == ["c.sock", "c.sock.lock"]
        assert list(socket_path.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_a_path_that_is_granted_and_not_there_is_told(tmp_path):
    """The plugin runs, and finds nothing."""
    (tmp_path / "reads.py").write_text("from jackfield import function\n@function\ndef one() -> int: return 1\n")
    there, nowhere = tmp_path / "data", tmp_path / "nowhere"
    there.mkdir()
    (tmp_path / "jackfield.toml").write_text(
        '[[plugin]]\nname = "reads"\npath = "./reads.py"\nexecutor = "worker"\n[plugin.worker]\n'
        f'allow = ["storage:readonly:{there}", "storage:{nowhere}"]\n'
    )
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("reads.one") == 1
        (fault,) = host.faults
    assert (fault.plugin, fault.stage) == ("reads", "grants")
    assert fault.reason == f"it is granted {nowhere}, where nothing is"
