"""`pluginctl serve` and the verbs that speak to it: real processes, a real socket, real signals."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="control sockets are Unix sockets")

SECRET = "correct-horse-battery-staple"  # noqa: S105  # what must not be shown

STORE = """
import time
from jackfield import Rejected, function

class Store:
    def start(self): ...

@function
def get(key: str) -> str:
    return key.{method}()

@function
def refuse(number: int, more: int = 0) -> int:
    raise Rejected("not that one", code="unlucky")

@function
def thresholds() -> list[int]:
    import gc
    return list(gc.get_threshold())

@function(executor="thread")
def slow(started: str, secret: str, until: str) -> str:
    open(started, "w").close()
    import os
    while not os.path.exists(until):
        time.sleep(0.01)
    return "done"
"""

CONFIG = """
[[plugin]]
name = "store"
path = "./store.py:Store"
version = "1.0"
options = { note = "correct-horse-battery-staple" }

[[plugin]]
name = "broken"
path = "./broken.py"
"""


class Served:
    """One `pluginctl serve` in a folder of its own."""

    def __init__(self, folder, **environ):
        # A socket's path may have a hundred bytes only, and those of tests are long.
        self.folder = folder
        self.short = tempfile.TemporaryDirectory(prefix="jf-")
        self.env = {**os.environ, "JACKFIELD_CONTROL": f"{self.short.name}/c.sock", "NO_COLOR": "1", **environ}
        self.plugin("upper")
        (folder / "broken.py").write_text("import nothing_of_that_name", encoding="utf-8")
        (folder / "jackfield.toml").write_text(CONFIG, encoding="utf-8")
        self.process = None
        self.output = folder / "stdout"

    def plugin(self, method):
        (self.folder / "store.py").write_text(STORE.format(method=method), encoding="utf-8")

    def start(self, *more):
        """Start it, and wait until it says that it serves."""
        command = [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", *more]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdout=out, stderr=subprocess.PIPE, text=True
            )
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("serving "):
                return self
        pytest.fail(f"it does not serve: {self.said}")

    def ctl(self, *arguments, code=0):
        """Run a verb."""
        command = [sys.executable, "-m", "jackfield", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def json(self, *arguments):
        return json.loads(self.ctl(*arguments, "--json").stdout)

    def end(self, number=signal.SIGTERM):
        """Send a signal, and wait for the end; give its exit code and what it said since."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        said = self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(60), said

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.wait()
        self.short.cleanup()


@pytest.fixture
def fresh(tmp_path):
    """One that is not started yet."""
    served = Served(tmp_path)
    yield served
    served.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One that serves, for the tests that leave it as it was."""
    served = Served(tmp_path_factory.mktemp("served")).start()
    yield served
    served.close()


def test_it_says_that_it_serves_and_the_status_shows_it(served):
    """The process, the socket and the port stand in one line; the broken plugin keeps nobody from serving."""
    ready = served.said[-1]
    assert ready.startswith("serving jackfield.toml: 1 of 2 plugins run")
    status = served.json("status")
    assert str(served.process.pid) in ready
    assert status["pid"] == served.process.pid
    assert status["state"] == "running"
    assert status["control"] in ready
    assert status["metrics"] in ready
    assert {plugin["name"]: plugin["state"] for plugin in status["plugins"]} == {"store": "running", "broken": "failed"}
    shown = served.ctl("status").stdout
    assert "nothing_of_that_name" in shown
    assert "store" in shown


def test_functions_are_called_in_it(served):
    """What is typed becomes what the contract wants; failures say what a call in this process says."""
    assert served.ctl("call", "store.get", "key=42a", "--running").stdout == '"42A"\n'
    assert (
        served.ctl("call", "store.get", "--json", '"b"', "--control", served.env["JACKFIELD_CONTROL"]).stdout == '"B"\n'
    )
    assert "rejected: not that one" in served.ctl("call", "store.refuse", "number=1", "--running", code=1).stderr
    assert "invalid_payload" in served.ctl("call", "store.refuse", "number=x", "--running", code=1).stderr
    assert "not JSON" in served.ctl("call", "store.get", "--json", "{", "--running", code=1).stderr
    assert "did you mean 'store.get'" in served.ctl("call", "store.gett", "key=1", "--running", code=1).stderr
    assert "in this process" in served.ctl("call", "store.get", "--lines", "-", "--running", code=2).stderr


def test_it_seldom_looks_for_garbage(served):
    """What is under way by the hundred would else have it look through everything, while no call goes on."""
    youngest, *_ = json.loads(served.ctl("call", "store.thresholds", "--running").stdout)
    assert youngest == 10_000


def test_metrics_are_exposed_on_loopback(served):
    """In the text format, with the calls of the functions."""
    served.ctl("call", "store.get", "key=a", "--running")
    address = served.json("status")["metrics"]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  # it is http
        assert 'jackfield_calls_total{function="store.get"' in answer.read().decode()


def test_probes_are_beside_the_metrics(served):
    """It is healthy, and not ready: the broken plugin stands there with its state, and its reason does not."""
    address = served.json("status")["metrics"]
    with urllib.request.urlopen(address.replace("/metrics", "/healthz"), timeout=10) as answer:  # noqa: S310  # it is http
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="503") as raised:
        urllib.request.urlopen(address.replace("/metrics", "/readyz"), timeout=10)  # noqa: S310  # it is http
    with raised.value as refused:
        (plugin,) = json.load(refused)["plugins"]
    assert (plugin["name"], plugin["state"]) == ("broken", "failed")


def test_plugins_stop_start_and_restart(served):
    """Each verb shows what became of the plugin; one that cannot start is a failure with its reason."""
    assert served.json("stop", "store")["state"] == "stopped"
    served.ctl("call", "store.get", "key=a", "--running", code=1)
    assert "running" in served.ctl("start", "store").stdout
    assert served.json("restart", "store")["state"] == "running"
    assert "nothing_of_that_name" in served.ctl("start", "broken", code=1).stderr
    shown = served.ctl("status").stdout
    assert shown.count("importing broken raised") == 1, shown
    assert "→ " in shown
    assert "did you mean 'store'" in served.ctl("stop", "stroe", code=1).stderr


def test_a_rewritten_plugin_is_reloaded_and_rolled_back(served):
    """The new code serves; a rollback brings the old one back, a revision that nobody has is refused."""
    before = served.json("status")["revision"]
    served.plugin("lower")
    report = served.json("reload", "store", "--keep-warm", "60")
    assert (report["old"], report["new"].partition("+")[0]) == ("1.0", "1.0")
    assert served.ctl("call", "store.get", "key=Aa", "--running").stdout == '"aa"\n'
    assert served.json("rollback", str(before))["revision"] > before
    assert served.ctl("call", "store.get", "key=Aa", "--running").stdout == '"AA"\n'
    assert "999999 is not kept" in served.ctl("rollback", "999999", code=1).stderr


def test_routes_and_canaries_are_refused_clearly(served):
    """A share of 140 %, a version that is not there or is the default, options that do not go together."""
    rows = served.json("route", "store.*")
    assert {row["name"] for row in rows} == {"store.get", "store.refuse", "store.slow", "store.thresholds"}
    assert "store.get" in served.ctl("route").stdout
    shares = served.ctl("canary", "store.get", "--version", "9", "--share", "1.4", code=2).stderr
    assert "20 % is 0.2" in shares
    assert "no version '9'" in served.ctl("canary", "store.get", "--version", "9", "--share", "0.2", code=1).stderr
    default = rows[0]["default"]
    assert "default already" in served.ctl("canary", "store.get", "--version", default, "--share", "0.2", code=1).stderr
    assert "no canary" in served.ctl("canary", "store.get", "--abort", code=1).stderr
    served.ctl("canary", "store.get", "--abort", "--promote", code=2)
    served.ctl("canary", "store.get", "--share", "0.2", code=2)
    served.ctl("canary", "--promote", code=2)
    assert served.json("canary") == []
    assert "no version '9'" in served.ctl("route", "store.get", "--default", "9", code=1).stderr


def test_events_are_shown_and_followed(served):
    """What was, one JSON object a line; then what happens."""
    kept = [json.loads(line) for line in served.ctl("events", "--json").stdout.splitlines()]
    assert any(event["event"] == "PluginStarted" and event["plugin"] == "store" for event in kept)
    assert "PluginStarted" in served.ctl("events").stdout
    command = [sys.executable, "-m", "jackfield", "events", "--follow", "--json"]
    with subprocess.Popen(command, env=served.env, stdout=subprocess.PIPE, text=True) as follower:
        for _ in kept:
            follower.stdout.readline()
        served.ctl("restart", "store")
        new = [json.loads(follower.stdout.readline())["event"] for _ in range(2)]
        follower.kill()
    assert set(new) <= {"PluginStateChanged", "FunctionUnregistered"}


def test_a_second_host_on_the_same_socket_is_refused(served):
    """With the process that has it; that one goes on."""
    said = served.ctl("serve", "jackfield.toml", code=1).stderr
    assert f"process {served.process.pid}" in said
    assert served.json("status")["pid"] == served.process.pid


def test_sigterm_lets_a_call_finish_and_ends_well(fresh, tmp_path):
    """Its caller gets the result; a dump meanwhile shows the call and no value; spans are exported at the end."""
    fresh.env["OTEL_TRACES_EXPORTER"] = "console"
    fresh.start("--drain", "30")
    started, until = tmp_path / "started", tmp_path / "until"
    command = [sys.executable, "-m", "jackfield", "call", "store.slow", f"started={started}", f"secret={SECRET}"]
    command += [f"until={until}", "--running", "--tenant", "t-7", "--header", f"authorization={SECRET}"]
    caller = subprocess.Popen(command, env=fresh.env, stdout=subprocess.PIPE, text=True)
    while not started.exists():
        assert caller.poll() is None
    dump = fresh.ctl("dump-state", "--json").stdout
    text = fresh.ctl("dump-state").stdout
    (call,) = json.loads(dump)["in_flight"]
    assert (call["function"], call["tenant"]) == ("store.slow", "t-7")
    assert {"routes", "revisions", "ledgers", "subscriptions", "executors", "threads"} <= json.loads(dump).keys()
    assert "store.slow@1.0" in text
    assert SECRET not in dump + text
    fresh.process.send_signal(signal.SIGTERM)
    while not any("SIGTERM" in line for line in fresh.said):
        fresh.said.append(fresh.process.stderr.readline())
    assert fresh.json("status")["state"] == "stopping"
    until.touch()
    code, said = fresh.wait()
    assert (code, caller.communicate(timeout=60)[0]) == (0, '"done"\n')
    assert "ended" in said
    assert '"name": "store.slow"' in fresh.output.read_text("utf-8")
    assert SECRET not in said + "".join(fresh.said) + fresh.output.read_text("utf-8")
    assert not Path(fresh.env["JACKFIELD_CONTROL"]).exists()


def test_a_call_that_does_not_end_is_left_behind_and_told(fresh, tmp_path):
    """The bound holds, the exit code is 1, and the caller hears of it. Killed with -9, the next one serves anyway."""
    fresh.start()
    fresh.process.kill()
    fresh.wait()
    assert "is gone" in fresh.ctl("status", code=1).stderr
    fresh.start("--drain", "0.2")
    started = tmp_path / "started"
    command = [sys.executable, "-m", "jackfield", "call", "store.slow", f"started={started}", "secret=", "until=never"]
    caller = subprocess.Popen([*command, "--running"], env=fresh.env, stderr=subprocess.PIPE, text=True)
    while not started.exists():
        assert caller.poll() is None
    code, said = fresh.end()
    assert code == 1
    assert "1 calls were left behind" in said
    assert "went away" in caller.communicate(timeout=60)[1]
    assert caller.returncode == 1


def test_a_second_signal_ends_it_at_once(fresh, tmp_path):
    """Whatever still runs, and however long it might wait."""
    fresh.start("--drain", "600")
    started = tmp_path / "started"
    command = [sys.executable, "-m", "jackfield", "call", "store.slow", f"started={started}", "secret=", "until=never"]
    with subprocess.Popen([*command, "--running"], env=fresh.env, stderr=subprocess.PIPE) as caller:
        while not started.exists():
            assert caller.poll() is None
        fresh.process.send_signal(signal.SIGTERM)
        while "SIGTERM" not in fresh.process.stderr.readline():
            pass
        assert fresh.end(signal.SIGINT)[0] == 128 + signal.SIGINT


def test_without_a_host_every_verb_says_so(tmp_path):
    """Where it was looked for, and how to start one."""
    served = Served(tmp_path)
    verbs = [("status",), ("start", "x"), ("reload", "x"), ("unload", "x"), ("route",), ("canary",), ("rollback", "1")]
    for verb in [*verbs, ("events",), ("dump-state",), ("call", "x", "--running")]:
        said = served.ctl(*verb, code=1).stderr
        assert served.env["JACKFIELD_CONTROL"] in said
        assert "pluginctl serve CONFIG" in said
    served.close()


def test_a_faulty_configuration_shows_every_fault(fresh):
    """And nothing is started."""
    text = '[[plugin]]\nname = "a"\npath = "./nowhere.py"\ntimeout = -1\n[routes]\nf = 3\n'
    (fresh.folder / "jackfield.toml").write_text(textwrap.dedent(text), encoding="utf-8")
    said = fresh.ctl("serve", "jackfield.toml", code=1).stderr
    assert all(key in said for key in ("plugin[0].path", "plugin[0].timeout", "routes.f")), said
    assert "nothing.toml" in fresh.ctl("serve", "nothing.toml", code=1).stderr


def test_a_strict_host_ends_with_the_faults_of_its_plugins(fresh):
    """A plugin that fails to start ends it; what asks for an exporter that is not installed does not begin."""
    (fresh.folder / "broken.py").write_text("class Broken:\n    def start(self):\n        raise OSError('no')", "utf-8")
    config = "strict = true\n" + CONFIG.replace("./broken.py", "./broken.py:Broken")
    (fresh.folder / "jackfield.toml").write_text(config, encoding="utf-8")
    said = fresh.ctl("serve", "jackfield.toml", code=1).stderr
    assert "OSError" in said
    assert "error: nothing is served, since the configuration is strict and the log has 1 fault" in said
    fresh.env["OTEL_TRACES_EXPORTER"] = "otlp"
    fresh.env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "nonsense"
    said = fresh.ctl("serve", "jackfield.toml", code=1).stderr
    assert "OTEL_TRACES_EXPORTER=none" in said
