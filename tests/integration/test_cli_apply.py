"""`pluginctl apply`, `diff`, `serve --watch` and SIGHUP: real processes, a real socket, real signals and files."""

import json
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from jackfield import Rejected
from jackfield.control import ControlClient

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="control sockets are Unix sockets")

PLUGIN = "from jackfield import function\n\n@function\ndef get() -> str:\n    return '{}'\n"


class Served:
    """One `pluginctl serve` in a folder of its own."""

    def __init__(self, folder):
        # A socket's path may have a hundred bytes only, and those of tests are long.
        self.folder, self.short = folder, tempfile.TemporaryDirectory(prefix="jf-")
        self.env = {**os.environ, "JACKFIELD_CONTROL": f"{self.short.name}/c.sock", "NO_COLOR": "1"}
        for name in "ab":
            self.plugin(name, "1")
        self.config("a")

    def plugin(self, name, text):
        (self.folder / f"{name}.py").write_text(PLUGIN.format(text), encoding="utf-8")

    def config(self, *names, more="", file="jackfield.toml"):
        tables = [f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\n' for name in names]
        # In one step, as an editor does: a half-written file is another test's matter.
        (self.folder / f"{file}.new").write_text("\n".join([*tables, more]), encoding="utf-8")
        (self.folder / f"{file}.new").rename(self.folder / file)

    def start(self, *more):
        command = [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", *more]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.until("serving ")
        return self

    def until(self, text):
        """Read what it says until a line has a text; a process that ends without is a failure."""
        said = []
        for line in self.process.stderr:
            said.append(line)
            if text in line:
                return said
        pytest.fail(f"{text!r} was never said: {said}")

    def ctl(self, *arguments, code=0, folder=None):
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", *arguments],
            cwd=folder or self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stderr.read()
        self.process.stderr.close()
        assert self.process.wait(60) == 0
        self.short.cleanup()


@pytest.fixture
def served(tmp_path):
    served = Served(tmp_path).start()
    yield served
    served.close()


def test_a_plan_is_shown_then_carried_out_and_then_there_is_none(served):
    """`--dry-run` does nothing; the digest of what was read is shown; `diff` tells by its exit code, 0 or 3."""
    assert "nothing to do" in served.ctl("diff").stdout
    served.config("a", "b")
    shown = served.ctl("apply", "jackfield.toml", "--dry-run").stdout
    assert "+ add b" in shown
    assert "(sha256 " in shown
    assert served.ctl("diff", code=3).stdout == shown
    served.ctl("call", "b.get", "--running", code=1)
    assert "+ add b: it is declared" in served.ctl("apply", "jackfield.toml").stdout
    assert served.ctl("call", "b.get", "--running").stdout == '"1"\n'
    plan = json.loads(served.ctl("apply", "jackfield.toml", "--json").stdout)
    assert (plan["changes"], plan["conflicts"], plan["ok"]) == ([], [], True)
    served.ctl("diff")


def test_another_file_is_found_from_where_the_operator_is(served, tmp_path):
    """A relative path is the operator's, not the host's; `diff` without a file takes the last applied one."""
    (tmp_path / "deep").mkdir()
    served.config("b", file="other.toml")
    served.ctl("apply", "../other.toml", folder=tmp_path / "deep")
    assert str(tmp_path / "other.toml") in served.ctl("diff").stdout
    assert {row["name"]: row["state"] for row in json.loads(served.ctl("status", "--json").stdout)["plugins"]} == {
        "a": "unloaded",
        "b": "running",
    }
    assert "No such file" in served.ctl("apply", "missing.toml", code=1).stderr


def test_a_faulty_file_is_refused_with_its_lines_and_changes_nothing(served):
    """The error of the file as `check` has it, and exit code 1."""
    served.config("a", more="[routes]\nf = 1\n")
    refused = served.ctl("apply", "jackfield.toml", code=1)
    assert "jackfield.toml:6" in refused.stderr
    assert served.ctl("call", "a.get", "--running").stdout == '"1"\n'


def test_what_was_done_by_hand_is_drift_and_a_conflict_stops_the_apply(served):
    """Exit code 3 of `diff`, 1 of an `apply` that did not begin; `--force` begins."""
    served.ctl("stop", "a")
    assert "plugin.a.running: stopped (stop by operator at " in served.ctl("diff", code=3).stdout
    served.ctl("apply", "jackfield.toml")
    served.ctl("unload", "a")
    served.config("a", more="timeout = 1")
    conflict = served.ctl("apply", "jackfield.toml", code=1).stdout
    assert "plugin.a.loaded: the file says" in conflict
    assert "unload by operator" in conflict
    served.ctl("apply", "jackfield.toml", "--force")
    assert served.ctl("call", "a.get", "--running").stdout == '"1"\n'


def test_a_host_that_reads_another_content_refuses(served, tmp_path):
    """Two file systems, or a file that changes: the operator has seen something else than what would be applied."""
    client = ControlClient(served.env["JACKFIELD_CONTROL"])
    with pytest.raises(Rejected, match="reads another content"):
        client.request("apply", path=str(tmp_path / "jackfield.toml"), digest="0" * 64)
    with pytest.raises(Rejected, match="relative"):
        client.request("apply", path="jackfield.toml")


def test_sighup_reads_the_file_again(served):
    """What came of it is said; a faulty file is told of, and the host serves on."""
    served.config("a", "b")
    served.process.send_signal(signal.SIGHUP)
    served.until("+ add b: it is declared")
    assert served.ctl("call", "b.get", "--running").stdout == '"1"\n'
    (served.folder / "jackfield.toml").write_text("x =")
    served.process.send_signal(signal.SIGHUP)
    served.until("SIGHUP: nothing was applied: ")
    (served.folder / "jackfield.toml").write_text("lazyy = true\ntimeout = -1\n")
    served.process.send_signal(signal.SIGHUP)
    served.until("SIGHUP: nothing was applied: ")
    served.until("lazyy")
    served.until("timeout")
    assert served.ctl("call", "b.get", "--running").stdout == '"1"\n'


def test_watch_applies_the_file_and_the_plugins_as_they_change(tmp_path):
    """The configuration, a plugin's file, a plugin that only came with the last apply; a faulty file is said once."""
    served = Served(tmp_path).start("--watch")
    try:
        served.plugin("a", "2")
        served.until("~ reload a")
        assert served.ctl("call", "a.get", "--running").stdout == '"2"\n'
        served.config("a", "b")
        served.until("+ add b")
        served.plugin("b", "2")
        served.until("~ reload b")
        (served.folder / "jackfield.toml").write_text("x =")
        served.until("changed: nothing was applied: ")
        served.config("b")
        said = served.until("- remove a")
        assert not [line for line in said if "nothing was applied" in line]
        assert served.ctl("call", "b.get", "--running").stdout == '"2"\n'
    finally:
        served.close()
