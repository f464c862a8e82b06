"""Source distributions: built in the sandbox, by real hooks, of real archives; hostile ones get nothing."""

import contextlib
import hashlib
import json
import os
import shutil
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jackfield import Host, PluginError
from jackfield.cli import app
from jackfield.cli.status import _lines as status_lines
from jackfield.control import ControlServer
from jackfield.environments import Environments, EnvironmentSettings
from jackfield.operations import verbs
from jackfield.sandbox import probing
from jackfield.sandbox.port import Finding, Tier
from support.apart import until, why_not
from support.sdists import sdist
from support.wheels import wheel

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "builds are there")]

HAS_UV = bool(shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv"))
INSTALLERS = [
    pytest.param("uv", marks=pytest.mark.skipif(not HAS_UV, reason="uv is not installed")),
    pytest.param("pip", marks=pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed")),
]
WRITE = "def run() -> str:\n    return VERSION\n"


@pytest.fixture
def links(tmp_path):
    """A folder for source distributions and wheels."""
    return tmp_path / "links"


@pytest.fixture
def environments(links, tmp_path):
    """Make `Environments` that look nowhere but there, and build."""
    made = []

    def make(installer=None, **settings):
        links.mkdir(exist_ok=True)
        known = EnvironmentSettings((str(links),), **{"offline": True, "build": True, **settings})
        made.append(Environments(known, folder=tmp_path / "cache", installer=installer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def names(environment):
    return {f"{one.name}=={one.version}" for one in environment.distributions}


@pytest.mark.parametrize("installer", INSTALLERS)
def test_what_has_no_wheel_is_built_and_told(environments, links, installer):
    """What is asked for, and what it depends on; each with its step, and once."""
    sdist(links, "demo-low", "1.0")
    sdist(links, "demo-top", "2.0", requires=["demo-low>=1"], code=WRITE)
    steps = []
    made = environments(installer)
    environment = made.get("demo-top==2.0", progress=steps.append)
    assert {"demo-top==2.0", "demo-low==1.0"} < names(environment)
    built = [step.text for step in steps if step.phase == "building"]
    assert built == ["demo-top 2.0 from source", "demo-low 1.0 from source"]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert made.get("demo-top==2.0").address == environment.address


@pytest.mark.parametrize("installer", INSTALLERS)
def test_the_newest_that_is_wanted_is_built_and_a_wheel_is_taken_before(environments, links, installer):
    """A version without a wheel is built only when no wheel does."""
    for version in ("1.0", "1.5", "2.0"):
        sdist(links, "demo-many", version)
    assert "demo-many==1.5" in names(environments(installer).get("demo-many<2"))
    wheel(links, "demo-many", "1.0")
    assert "demo-many==1.0" in names(environments(installer).get("demo-many<1.6"))


@pytest.mark.parametrize("installer", INSTALLERS)
def test_nothing_is_built_unless_it_is_said(environments, links, tmp_path, installer):
    """And then none of its code runs."""
    mark = tmp_path / "ran"
    sdist(links, "demo-evil", "1.0", hostile=f"open({str(mark)!r}, 'w')")
    with pytest.raises(PluginError) as refused:
        environments(installer, build=False).get("demo-evil==1.0")
    assert "build = true" in refused.value.fix or "wheel" in refused.value.fix
    assert not mark.exists()


@pytest.mark.parametrize("installer", INSTALLERS)
def test_what_a_backend_needs_is_there_when_it_runs_and_not_afterwards(environments, links, installer):
    """A wheel, and another source distribution; neither is in the environment."""
    wheel(links, "demo-tool", "1.0", entries="")
    sdist(links, "demo-tool-two", "1.0")
    hostile = "import demo_tool, demo_tool_two\nassert demo_tool.VERSION == demo_tool_two.VERSION == '1.0'"
    sdist(links, "demo-tooled", "1.0", needs=["demo-tool==1.0", "demo-tool-two"], hostile=hostile)
    environment = environments(installer).get("demo-tooled")
    assert {one.name for one in environment.distributions if one.name.startswith("demo")} == {"demo-tooled"}


def test_a_url_of_a_source_distribution_is_built(environments, tmp_path):
    """With its hash checked, where the URL has one."""
    path = sdist(tmp_path / "elsewhere", "demo-url", "1.0")
    environment = environments().get(f"demo-url @ {path.as_uri()}")
    assert "demo-url==1.0" in names(environment)
    with pytest.raises(PluginError, match="another hash"):
        environments().get(f"demo-url @ {path.as_uri()}#sha256={'0' * 64}")


REACHES = {
    "ssh": "open({home}/'.ssh'/'id_ed25519').read()",
    "cache": "__import__('os').listdir({cache})",
    "environment": "open({other}).read()",
    "configuration": "open({home}/'jackfield.toml').read()",
    "passwd": "open('/etc/passwd').read()",
    "host": "open(f'/proc/{pid}/environ').read()",
    "write": "open({home}/'left', 'w')",
    "chmod": "__import__('os').chmod({home}, 0o777) or 1/(__import__('os').stat({home}).st_mode & 0o2)",
    "network": "__import__('socket').create_connection(('127.0.0.1', {port}), 2)",
    "udp": "__import__('socket').socket(2, 2)",
    "kill": "__import__('os').kill({pid}, 0)",
    "session": "__import__('os').setsid()",
    "variable": "__import__('os').environ['JF_SECRET']",
    "variable of a child": "__import__('subprocess').check_output('env | grep JF_SECRET', shell=True)",
    "descriptor": "1 / (__import__('os').open('/dev/null', 0) - 3)",
}


@pytest.mark.parametrize("what", REACHES)
def test_a_hostile_build_gets_nothing(environments, links, tmp_path, monkeypatch, what):
    """Neither what is the user's, nor what is another environment's, nor a way out; it says what it got."""
    monkeypatch.setenv("JF_SECRET", "sesame")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    home.chmod(0o700)
    for file in (home / ".ssh" / "id_ed25519", home / "jackfield.toml", tmp_path / "cache" / "other" / "secret.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("sesame")
    (tmp_path / "cache").chmod(0o700)
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known = {
            "home": f"__import__('pathlib').Path({str(home)!r})",
            "cache": repr(str(tmp_path / "cache")),
            "other": repr(str(tmp_path / "cache" / "other" / "secret.py")),
            "pid": str(os.getpid()),
            "port": str(server.server_port),
        }
        code = REACHES[what]
        for name, value in known.items():
            code = code.replace("{" + name + "}", value)
        hostile = f"try:\n    {code}\nexcept Exception as e:\n    pass\nelse:\n    raise SystemExit('got it')"
        sdist(links, "demo-hostile", "1.0", hostile=hostile)
        try:
            assert "demo-hostile==1.0" in names(environments().get("demo-hostile"))
        finally:
            server.shutdown()
    assert not (home / "left").exists()
    assert home.stat().st_mode & 0o777 == 0o700


def test_what_a_build_leaves_behind_is_ended(environments, links, tmp_path):
    """A child of its own that would go on: it is dead when the wheel is taken."""
    hostile = """
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6.283e3)"])
    """
    sdist(links, "demo-daemon", "1.0", hostile=hostile)
    environments().get("demo-daemon")
    left = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            left += [file] if b"6.283e3" in file.read_bytes() else []
    assert left == []


def test_nothing_is_built_without_a_sandbox(environments, links, monkeypatch):
    """Where none can be had, that is told with its reason; what has wheels is had all the same."""
    monkeypatch.setitem(probing._found, (Tier.SELF, None), Finding(Tier.SELF, "no Landlock"))
    sdist(links, "demo-source", "1.0")
    wheel(links, "demo-wheel", "1.0")
    assert "demo-wheel==1.0" in names(environments().get("demo-wheel"))
    with pytest.raises(PluginError, match="outside a sandbox, and there is none here: no Landlock"):
        environments().get("demo-source")


FAULTY = {
    "raises": ({"hostile": "raise RuntimeError('no compiler')"}, "RuntimeError: no compiler"),
    "exits": ({"hostile": "import os; os._exit(3)"}, "it ended with 3"),
    "no backend": ({"backend": False}, "No module named 'back'"),
    "a url": ({"needs": ["tool @ file:///etc/passwd"]}, "a URL"),
    "no requirement": ({"needs": ["tool\n--index-url http://evil"]}, "no requirement"),
    "itself": ({"needs": ["demo-faulty"]}, "needs itself"),
    "another name": ({"hostile": "return 'demo_other-1.0-py3-none-any.whl'"}, "no wheel of it"),
    "a way out": ({"hostile": "return '../../demo_faulty-1.0-py3-none-any.whl'"}, "no wheel of it"),
    "nothing": ({"hostile": "return STEM + '-py3-none-any.whl'"}, "has left no wheel"),
}


@pytest.mark.parametrize("what", FAULTY)
def test_what_cannot_be_built_is_named(environments, links, tmp_path, what):
    """With its version, the last words of its backend, and what to do; nothing is left."""
    said, reason = FAULTY[what]
    sdist(links, "demo-faulty", "1.0", **said)
    with pytest.raises(PluginError) as refused:
        environments().get("demo-faulty==1.0")
    assert reason in refused.value.reason
    assert "demo-faulty" in refused.value.reason
    assert "wheel" in refused.value.fix
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("hashed", [True, False], ids=["its own hash", "another hash"])
@pytest.mark.parametrize("installer", INSTALLERS)
def test_what_an_index_has_only_in_source_is_built_when_its_hash_is_right(
    environments, tmp_path, monkeypatch, installer, hashed
):
    """The index that uv and pip are configured for."""
    place = tmp_path / "index" / "demo-listed"
    path = sdist(place, "demo-listed", "1.0")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if hashed else "0" * 64
    (place / "index.html").write_text(f'<a href="{path.name}#sha256={sha256}">{path.name}</a>')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "index"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("HOME", str(tmp_path))
        try:
            if hashed:
                assert "demo-listed==1.0" in names(environments(installer, offline=False).get("demo-listed"))
            else:
                with pytest.raises(PluginError, match="another hash"):
                    environments(installer, offline=False).get("demo-listed")
        finally:
            server.shutdown()


def test_a_host_and_pluginctl_build_what_the_configuration_says(links, tmp_path, monkeypatch):
    """`build = true` of `[environments]`: the plugin of a source distribution serves, in workers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sdist(links, "demo-served", "1.0", code=WRITE)
    config = tmp_path / "jackfield.toml"
    config.write_text(
        '[environments]\nfind_links = ["./links"]\noffline = true\nbuild = true\n'
        '[[plugin]]\nname = "served"\npath = "demo-served==1.0"\nexecutor = "worker"\n'
    )
    done = CliRunner().invoke(app, ["env", "build", "demo-served==1.0", "--config", str(config), "--json"])
    assert done.exit_code == 0, done.stderr
    assert "building: demo-served 1.0 from source" in done.stderr
    assert "demo-served==1.0" in json.loads(done.stdout)["distributions"]
    with Host.from_config(config, observers=()) as host:
        assert host.faults == ()
        assert host.call("demo-served.run", timeout=30.0) == "1.0"


def test_how_far_an_environment_has_come_is_seen_and_told_while_it_is_built(links, tmp_path, socket_path, monkeypatch):
    """By `host.building`, `pluginctl status` and whoever waits for an apply; afterwards nothing is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sdist(links, "demo-slow", "1.0", code=WRITE, hostile="import time; time.sleep(2)")
    config = tmp_path / "jackfield.toml"
    told = '[environments]\nfind_links = ["./links"]\noffline = true\nbuild = true\n'
    config.write_text(told)
    with Host.from_config(config, observers=()) as host, ControlServer(socket_path, verbs(host), loop=host.control):
        config.write_text(told + '[[plugin]]\nname = "slow"\npath = "demo-slow==1.0"\nexecutor = "worker"\n')
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(until, lambda: [each for each in host.building if each.phase == "building"])
            done = CliRunner().invoke(app, ["apply", str(config), "--control", str(socket_path)])
            (record,) = seen.result()
        assert (record.plugin, record.text) == ("slow", "demo-slow 1.0 from source")
        assert done.exit_code == 0, done.output
        assert "slow: environment of demo-slow==1.0: building: demo-slow 1.0 from source (step 3 of 6)" in done.stderr
        assert host.building == ()
        assert host.call("demo-slow.run", timeout=30.0) == "1.0"


def test_status_shows_what_is_built():
    """In a line for each."""
    step = {"plugin": "ocr", "requirement": "demo-ocr==2.0", "phase": "installing", "text": "8", "done": 3, "total": 6}
    state = {"functions": 0, "calls": 0, "plugins": [], "canaries": [], "faults": [], "building": [step]}
    assert "ocr: environment of demo-ocr==2.0: installing: 8 (step 4 of 6)" in list(status_lines(state))
