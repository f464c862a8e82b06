"""Upgrades of plugins in workers: real wheels, real environments, real processes, real load."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.load import load

from jackfield import Analysis, Host, PluginError, Rejected
from jackfield.environments import Environments, EnvironmentSettings
from jackfield.operations.verbs import verbs
from support.wheels import wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")

CODE = """
import os
import demo_pin

class Ocr:
    def __init__(self):
        self.pages = 0

    def snapshot(self):
        return {"pages": self.pages}

    def restore(self, state):
        self.pages = state["pages"]

    def health(self):
        return True

OCR = Ocr()

def read(page: int = 0) -> str:
    OCR.pages += 1
    return f"{VERSION} with {demo_pin.VERSION}"

def pages() -> int:
    return OCR.pages

def process() -> int:
    return os.getpid()
"""
ENTRIES = """[jackfield.functions]
ocr.read = {module}:read
ocr.pages = {module}:pages
ocr.process = {module}:process
[jackfield.plugins]
ocr = {module}:OCR
"""
MANIFEST = "name: demo-ocr\ncapabilities: [{}]\n"


def change(old, new):
    """Give the code with one thing changed."""
    assert old in CODE
    return CODE.replace(old, new)


VERSIONS = {
    "2.0": CODE,
    "2.1": CODE,
    "2.2": CODE,
    "3.0": CODE,
    "1.9": CODE,
    "2.3": change("page: int = 0", "page: str = ''"),
    "2.4": change("def pages", "def leaves").replace("pages()", "leaves()"),
    "2.5": change("import os", "import nowhere_at_all"),
    "2.6": change('self.pages = state["pages"]', "raise RuntimeError('no')"),
    "2.7": change("        return True", "        return False"),
    "2.8": change("return f", "raise RuntimeError('worse')\n    return f"),
    "2.9": change("    def health", "    def start(self):\n        os._exit(3)\n\n    def health"),
    "2.11": change("        return True", "        return self.pages < 3"),
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder of wheels, of which each pins another version of one other."""
    folder = tmp_path_factory.mktemp("wheels")
    for version, code in VERSIONS.items():
        entries = ENTRIES.replace("ocr.pages = {module}:pages\n", "") if version == "2.4" else ENTRIES
        wheel(folder, "demo-pin", version, entries="")
        wheel(folder, "demo-ocr", version, requires=[f"demo-pin=={version}"], code=code, entries=entries)
    asks = MANIFEST.format('"network:outbound:api.example.com:443"')
    wheel(folder, "demo-pin", "2.10", entries="")
    files = {"demo_ocr_notes/plugin-manifest.yaml": asks}
    wheel(folder, "demo-ocr", "2.10", requires=["demo-pin==2.10"], code=CODE, entries=ENTRIES, files=files)
    wheel(folder, "demo-pin", "2.12", entries="")
    faulty = {"demo_ocr_notes/plugin-manifest.yaml": "name: demo-ocr\nresorces: {}\n"}
    wheel(folder, "demo-ocr", "2.12", requires=["demo-pin==2.12"], code=CODE, entries=ENTRIES, files=faulty)
    wheel(folder, "other-ocr", "2.1", code=CODE.replace("demo_pin", "other_ocr"), entries=ENTRIES)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """Keep environments in a cache of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def configuration(wheels, tmp_path):
    """Write a configuration whose plugin has the version 2.0; give what makes another."""

    def write(version="2.0", more=""):
        file = tmp_path / "jackfield.toml"
        text = f"""
        [environments]
        find_links = ["{wheels}"]
        offline = true

        [[plugin]]
        name = "ocr"
        path = "demo-ocr=={version}"
        executor = "worker"
        {more}
        """
        file.write_text(textwrap.dedent(text), "utf-8")
        return file

    return write


@pytest.fixture
def host(configuration):
    """Give a host that serves the version 2.0."""
    with Host.from_config(configuration(), observers=()) as made:
        assert made.call("ocr.read") == "2.0 with 2.0"
        yield made


def test_a_version_whose_manifest_is_faulty_is_named_and_leaves_its_environment_unused(host):
    with pytest.raises(PluginError) as caught:
        host.upgrade("ocr", "demo-ocr==2.12")
    (fault,) = caught.value.faults
    assert (fault.plugin, fault.stage) == ("ocr", "manifest")
    assert "resorces (line 2)" in fault.entry
    assert fault.where.endswith("plugin-manifest.yaml")
    assert str(caught.value).count("did you mean") == 1
    assert host.call("ocr.read") == "2.0 with 2.0"
    used = {each.requirement for each in Environments(EnvironmentSettings()).list() if each.in_use}
    assert used == {"demo-ocr==2.0"}


def until(condition, seconds=30.0):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.01)


def gone(pid):
    """Tell whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def served(host):
    """Name the versions that a function has."""
    return [*host.snapshot.functions["ocr.read"].endpoints]


# --- What an upgrade comes to -----------------------------------------------------------------------------------------


def test_without_a_share_the_calls_move_at_once(host):
    """The state crosses, the conflicting pin is the new one's, and the old processes are gone."""
    before = host.call("ocr.process")
    canary = host.upgrade("ocr", "demo-ocr==2.1")
    assert (canary.status.state, canary.status.stable) == ("promoted", "2.0")
    assert host.call("ocr.read") == "2.1 with 2.1"
    assert host.call("ocr.pages") == 2
    assert (host.plugins["ocr"].version, host.plugins["ocr"].location) == ("2.1", "demo-ocr==2.1")
    assert served(host) == ["2.1"]
    until(lambda: gone(before))


def test_a_share_goes_to_the_new_version_until_it_is_promoted(host):
    """Two versions with conflicting pins serve at once; a tenant always gets the same one."""
    canary = host.upgrade("ocr", "demo-ocr==2.1", share=0.5)
    seen = {f"t-{number}": host.call("ocr.read", tenant=f"t-{number}") for number in range(40)}
    assert set(seen.values()) == {"2.0 with 2.0", "2.1 with 2.1"}
    assert all(host.call("ocr.read", tenant=tenant) == was for tenant, was in seen.items())
    old, new = (host.call("ocr.process", version=version) for version in ("2.0", "2.1"))
    canary.promote()
    assert {host.call("ocr.read", tenant=tenant) for tenant in seen} == {"2.1 with 2.1"}
    until(lambda: gone(old))
    assert not gone(new)
    assert served(host) == ["2.1"]


def test_labels_choose_among_whom_the_share_is_drawn(configuration):
    """Without a share all tenants that have them try it, and nobody else."""
    tenants = '[tenants.t-1]\nlabels = { tier = "beta" }\n[tenants.t-2]\n'
    file = configuration()
    file.write_text(f"{file.read_text()}\n{tenants}", "utf-8")
    with Host.from_config(file, observers=()) as host:
        canary = host.upgrade("ocr", "demo-ocr==2.1", labels={"tier": "beta"})
        assert host.call("ocr.read", tenant="t-1") == "2.1 with 2.1"
        assert host.call("ocr.read", tenant="t-2") == "2.0 with 2.0"
        canary.promote()
        assert host.call("ocr.read", tenant="t-2") == "2.1 with 2.1"


def test_an_abort_ends_the_new_version(host):
    """And the old one never noticed."""
    canary = host.upgrade("ocr", "demo-ocr==2.1", tenants=["t-1"])
    assert host.call("ocr.read", tenant="t-1") == "2.1 with 2.1"
    new = host.call("ocr.process", tenant="t-1")
    canary.abort("nobody likes it")
    assert host.call("ocr.read", tenant="t-1") == "2.0 with 2.0"
    until(lambda: gone(new))
    assert served(host) == ["2.0"]
    host.upgrade("ocr", "demo-ocr==2.1")
    assert host.call("ocr.read") == "2.1 with 2.1"


def test_a_trial_that_does_worse_takes_itself_back(host):
    """The analysis aborts it, and its processes end."""
    steps = Analysis(looks=2, samples=61, interval=0.1)
    canary = host.upgrade("ocr", "demo-ocr==2.8", tenants=["t-1"], analysis=steps)
    new = host.call("ocr.process", tenant="t-1")

    def aborted():
        for tenant in ("t-1", "t-2"):
            with suppress(Exception):  # that is what it is aborted for
                host.call("ocr.read", tenant=tenant)
        return canary.status.state == "aborted"

    until(aborted, 60.0)
    until(lambda: gone(new))
    assert served(host) == ["2.0"]


def test_a_trial_that_becomes_unhealthy_takes_itself_back(host):
    """It is asked while it is on trial, as it was at its start."""
    canary = host.upgrade("ocr", "demo-ocr==2.11", tenants=["t-1"])
    for _ in range(5):
        host.call("ocr.read", tenant="t-1")
    until(lambda: canary.status.state == "aborted")
    assert "health" in canary.status.reason
    until(lambda: served(host) == ["2.0"])


# --- What is refused --------------------------------------------------------------------------------------------------

REFUSED = [
    pytest.param("demo-ocr==3.0", "3.0 is of another major version than 2.0", id="major"),
    pytest.param("demo-ocr==1.9", "1.9 is of another major version than 2.0", id="older major"),
    pytest.param("demo-ocr==2.3", "ocr.read: payload: it took integer, and takes string or null", id="contract"),
    pytest.param("demo-ocr==2.4", "ocr.pages: it is not there any more", id="function"),
    pytest.param("demo-ocr==2.5", "No module named 'nowhere_at_all'", id="import"),
    pytest.param("demo-ocr==2.6", "RuntimeError", id="restore"),
    pytest.param("demo-ocr==2.7", "gave False", id="health"),
    pytest.param("demo-ocr==2.9", "exit", id="start"),
    pytest.param("demo-ocr==2.0", "2.0 runs already", id="same"),
    pytest.param("demo-ocr==9.9", "demo-ocr", id="absent"),
    pytest.param("other-ocr==2.1", "other-ocr is another distribution than demo-ocr", id="distribution"),
    pytest.param("Not-There==9", "Not-There is another distribution than demo-ocr", id="distribution-unresolved"),
    pytest.param("demo-ocr", "is no requirement with a version", id="spelling"),
]


@pytest.mark.parametrize(("requirement", "reason"), REFUSED)
@pytest.mark.parametrize("share", [None, 0.5])
def test_what_cannot_take_its_place_leaves_the_old_one_serving(host, requirement, reason, share):
    """With the reason, and with nothing left behind."""
    before = host.call("ocr.process")
    with pytest.raises(PluginError, match=reason.replace("(", r"\(")):
        host.upgrade("ocr", requirement, share=share)
    assert host.call("ocr.process") == before
    assert served(host) == ["2.0"]
    assert len(host._workers.pools) == 1


def test_an_earlier_version_is_taken_only_by_force(host):
    """So is one with another contract; all differences are told at once."""
    host.upgrade("ocr", "demo-ocr==2.2")
    with pytest.raises(PluginError, match=r"2\.1 comes before 2\.2"):
        host.upgrade("ocr", "demo-ocr==2.1")
    host.upgrade("ocr", "demo-ocr==2.1", force=True)
    assert host.call("ocr.read") == "2.1 with 2.1"
    host.upgrade("ocr", "demo-ocr==3.0", force=True)
    assert host.call("ocr.read") == "3.0 with 3.0"


def test_more_grants_are_refused_until_they_are_allowed(host, configuration):
    """The line that allows them is told; by force the version comes, and does without."""
    asked = "network:outbound:api.example.com:443"
    with pytest.raises(PluginError, match="and nobody allows") as caught:
        host.upgrade("ocr", "demo-ocr==2.10")
    assert f'allow = ["{asked}"]' in caught.value.faults[0].fix
    assert host.call("ocr.read") == "2.0 with 2.0"
    host.upgrade("ocr", "demo-ocr==2.10", force=True)
    assert host.call("ocr.read") == "2.10 with 2.10"
    host.apply(configuration(more=f'[plugin.worker]\nallow = ["{asked}"]'), force=True)
    assert host.call("ocr.read") == "2.0 with 2.0"
    host.upgrade("ocr", "demo-ocr==2.10")
    assert host.call("ocr.read") == "2.10 with 2.10"


def test_one_upgrade_of_a_plugin_at_a_time(host):
    """The second is refused until the first is decided; a reload too."""
    canary = host.upgrade("ocr", "demo-ocr==2.1", share=0.0)
    with pytest.raises(PluginError, match=r"its version 2\.1 is on trial"):
        host.upgrade("ocr", "demo-ocr==2.2")
    canary.promote()
    host.upgrade("ocr", "demo-ocr==2.2")
    assert host.call("ocr.read") == "2.2 with 2.2"


def test_a_share_is_a_part_of_one(host):
    """Before anything is built."""
    with pytest.raises(ValueError, match="a part of 1"):
        host.upgrade("ocr", "demo-ocr==2.1", share=5)


def test_a_plugin_of_this_process_is_not_upgraded(tmp_path):
    """It has one version there, and the way out is told."""
    (tmp_path / "plain.py").write_text("from jackfield import function\n\n@function\ndef f() -> int:\n    return 1\n")
    (tmp_path / "jackfield.toml").write_text('[[plugin]]\nname = "plain"\npath = "./plain.py"\n')
    with (
        Host.from_config(tmp_path / "jackfield.toml", observers=()) as host,
        pytest.raises(PluginError, match="it runs in this process"),
    ):
        host.upgrade("plain", "demo-ocr==2.1")


# --- While something else happens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "restart", "unload", "rollback"])
def test_what_ends_the_plugin_ends_the_trial(host, end):
    """The new processes go with it, and what comes back is the old version."""
    revision = host.snapshot.revision
    canary = host.upgrade("ocr", "demo-ocr==2.1", tenants=["t-1"])
    new = host.call("ocr.process", tenant="t-1")
    match end:
        case "stop":
            host.stop_plugin("ocr")
        case "restart":
            host.restart_plugin("ocr")
        case "unload":
            host.unload("ocr")
        case "rollback":
            host.rollback(revision)
    until(lambda: gone(new))
    assert canary.status.state == "aborted"
    host.start_plugin("ocr")
    assert host.call("ocr.read", tenant="t-1") == "2.0 with 2.0"
    until(lambda: len(host._workers.pools) == 1)


def test_a_host_that_stops_ends_the_trial(configuration):
    """With the processes of both versions; when it starts again, it serves the old one."""
    host = Host.from_config(configuration(), observers=())
    with host:
        canary = host.upgrade("ocr", "demo-ocr==2.1", tenants=["t-1"])
        both = [host.call("ocr.process", version=version) for version in ("2.0", "2.1")]
    until(lambda: all(map(gone, both)))
    assert canary.status.state == "aborted"
    with host:
        assert host.call("ocr.read", tenant="t-1") == "2.0 with 2.0"


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_a_trial_can_be_decided_on_an_event_loop(configuration, verb):
    """The calls move at once; the processes of the version that goes end soon."""

    async def decide():
        async with Host.from_config(configuration(), observers=()) as host:
            canary = await asyncio.to_thread(host.upgrade, "ocr", "demo-ocr==2.1", share=0.5)
            getattr(canary, verb)()
            stays = "2.1" if verb == "promote" else "2.0"
            assert await host.acall("ocr.read") == f"{stays} with {stays}"
            await asyncio.to_thread(until, lambda: served(host) == [stays] and len(host._workers.pools) == 1)

    asyncio.run(decide())


def test_the_verb_of_a_running_host(host):
    """`pluginctl upgrade` says what `pluginctl canary` says."""
    table = verbs(host)
    shown = table["upgrade"]({"name": "ocr", "requirement": "demo-ocr==2.1", "share": 0.5, "analysis": {}})
    assert (shown["version"], shown["stable"], shown["state"], shown["share"]) == ("2.1", "2.0", "running", 0.5)
    assert table["canary_promote"]({"name": "ocr"})["state"] == "promoted"
    assert table["call"]({"name": "ocr.read"}) == "2.1 with 2.1"
    with pytest.raises(Rejected, match="a part of 1"):
        table["upgrade"]({"name": "ocr", "requirement": "demo-ocr==2.2", "share": 5.0})


def test_a_promoted_version_is_what_is_started_again(host):
    """A restart, and an unload and start, bring the new version."""
    host.upgrade("ocr", "demo-ocr==2.1")
    host.restart_plugin("ocr")
    assert host.call("ocr.read") == "2.1 with 2.1"
    host.unload("ocr")
    host.start_plugin("ocr")
    assert host.call("ocr.read") == "2.1 with 2.1"


def test_an_apply_of_the_same_file_keeps_an_upgrade(host, configuration):
    """It is an operator's change, and stays until the file says something else of it."""
    host.upgrade("ocr", "demo-ocr==2.1")
    plan = host.apply(configuration())
    assert (plan.changes, host.call("ocr.read")) == ((), "2.1 with 2.1")
    host.apply(configuration("2.2"), force=True)
    assert host.call("ocr.read") == "2.2 with 2.2"


@pytest.mark.slow
def test_calls_that_are_inside_finish_where_they_began(host):
    """Of many upgrades in a row under load no call is lost; one of three is tried first, one of three is aborted."""
    with load(lambda: host.call("ocr.read")) as results:
        for number in range(20):
            version = ("2.1", "2.2")[number % 2]
            canary = host.upgrade("ocr", f"demo-ocr=={version}", share=0.5 if number % 3 else None, force=True)
            if canary.status.state == "running" and number % 3 == 1:
                canary.abort()
                canary = host.upgrade("ocr", f"demo-ocr=={version}", share=0.1, force=True)
            if canary.status.state == "running":
                canary.promote()
            assert served(host) == [version]
    assert set(results) == {"2.0 with 2.0", "2.1 with 2.1", "2.2 with 2.2"}
    assert len(host._workers.pools) == 1


@pytest.mark.slow
def test_a_hundred_upgrades_lose_no_call_and_leave_nothing(host):
    """Neither a process nor a descriptor."""
    with load(lambda: host.call("ocr.read")):
        for number in range(100):
            host.upgrade("ocr", f"demo-ocr=={('2.1', '2.2')[number % 2]}", force=True)
            if number == 10:
                before = descriptors()
    assert descriptors() <= before + 4
    assert len(host._workers.pools) == 1


def descriptors():
    """Count what this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


PROGRAM = """
import os, sys, threading
from jackfield import Host
host = Host.from_config(sys.argv[1], observers=())
host.start()
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), 9)).start()
print(host.call("ocr.read"), flush=True)
while True:
    host.upgrade("ocr", "demo-ocr==2.1", share=0.5).promote()
    host.upgrade("ocr", "demo-ocr==2.0", share=0.5, force=True).abort()
    host.upgrade("ocr", "demo-ocr==2.0", force=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.05, 0.2, 0.4, 0.8, 1.6])
def test_killed_at_any_step_the_next_start_serves_what_the_file_says(configuration, after):
    """And no process is left."""
    file = configuration()
    command = [sys.executable, "-c", PROGRAM, file, str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as ran:
        assert ran.stdout.readline() == b"2.0 with 2.0\n"
        assert ran.wait(60) == -signal.SIGKILL
    until(lambda: not processes_of(ran.pid))
    with Host.from_config(file, observers=()) as host:
        assert host.call("ocr.read") == "2.0 with 2.0"


def processes_of(session):
    """Name the processes of a session."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(each.parent.name)
    return found
