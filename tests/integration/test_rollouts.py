"""What an apply does with a plugin that has `upgrade`: real wheels, real environments, real processes."""

import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest
from tests.support.load import load

from jackfield import Host
from support.in_workers import needs_workers, until
from support.wheels import wheel

pytestmark = needs_workers

CODE = """
import os

class Ocr:
    def __init__(self):
        self.pages = 0

    def snapshot(self):
        return {"pages": self.pages}

    def restore(self, state):
        self.pages = state["pages"]

OCR = Ocr()

def read(page: int = 0) -> str:
    OCR.pages += 1
    return VERSION

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
VERSIONS = {
    "2.0": CODE,
    "2.1": CODE,
    "2.2": CODE,
    "3.0": CODE,
    "2.3": CODE.replace("page: int = 0", "page: str = ''"),
    "2.5": CODE.replace("import os", "import nowhere_at_all"),
    "2.8": CODE.replace("return VERSION", "raise RuntimeError('worse')"),
}
ASKED = "network:outbound:api.example.com:443"
SHARE = "upgrade = { share = 0.5 }"
TENANT = 'upgrade = { tenants = ["t-1"] }'


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder of wheels, one for each version."""
    folder = tmp_path_factory.mktemp("built")
    for version, code in VERSIONS.items():
        wheel(folder, "demo-ocr", version, code=code, entries=ENTRIES)
    asks = {"demo_ocr_notes/plugin-manifest.yaml": f'name: demo-ocr\ncapabilities: ["{ASKED}"]\n'}
    wheel(folder, "demo-ocr", "2.10", code=CODE, entries=ENTRIES, files=asks)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """Keep environments in a cache of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def wheels(built, tmp_path):
    """A folder of wheels of one test, in which further ones can appear."""
    folder = tmp_path / "wheels"
    shutil.copytree(built, folder)
    return folder


@pytest.fixture
def configuration(wheels, tmp_path):
    """Write a configuration: the requirement, what the plugin says besides, and further tables."""

    def write(path="demo-ocr==2.0", more=SHARE, tables=""):
        file = tmp_path / "jackfield.toml"
        text = f"""
        [environments]
        find_links = ["{wheels}"]
        offline = true

        [[plugin]]
        name = "ocr"
        path = "{path}"
        executor = "worker"
        {more}

        {tables}
        """
        file.write_text(textwrap.dedent(text), "utf-8")
        return file

    return write


@pytest.fixture
def host(configuration):
    """Give a host that serves the version 2.0."""
    with Host.from_config(configuration(), observers=()) as made:
        assert made.call("ocr.read") == "2.0"
        yield made


def kinds(plan):
    """Give the steps of a plan, all of which went well."""
    assert plan.ok, str(plan)
    return [(change.kind, change.name) for change in plan.changes]


def versions(host):
    """Name the versions that a function has."""
    return [*host.snapshot.functions["ocr.read"].endpoints]


def drift(host, file):
    """Give what a plan says of what is not as in the file."""
    return [(each.field, each.by, each.verb) for each in host.apply(file, dry_run=True).drift]


# --- What begins a trial ----------------------------------------------------------------------------------------------


def test_a_changed_requirement_is_tried_by_a_share_and_then_promoted(host, configuration):
    """The plan says so; the same file once more changes nothing; promoted, the host is what the file says."""
    old = host.call("ocr.process")
    file = configuration("demo-ocr==2.1")
    assert "~ upgrade ocr: demo-ocr==2.0 → demo-ocr==2.1; on trial with 50%" in str(host.apply(file, dry_run=True))
    assert host.canaries == ()
    assert kinds(host.apply(file)) == [("upgrade", "ocr")]
    (canary,) = host.canaries
    status = canary.status
    assert (status.version, status.stable, status.share, status.state) == ("2.1", "2.0", 0.5, "running")
    assert {host.call("ocr.read", tenant=f"t-{number}") for number in range(40)} == {"2.0", "2.1"}
    assert kinds(host.apply(file)) == []
    assert drift(host, file) == [("plugin.ocr", "file", "upgrade")]
    assert canary.status.state == "running"
    canary.promote()
    assert host.call("ocr.read") == "2.1"
    assert versions(host) == ["2.1"]
    assert not host.apply(file).differs
    assert host.call("ocr.process") != old
    host.restart_plugin("ocr")
    assert host.call("ocr.read") == "2.1"


def test_without_upgrade_it_is_swapped_at_once(configuration):
    """As everything that is configured anew."""
    with Host.from_config(configuration(more=""), observers=()) as host:
        assert kinds(host.apply(configuration("demo-ocr==2.1", more=""))) == [("change", "ocr")]
        assert host.call("ocr.read") == "2.1"
        assert host.canaries == ()


def test_when_nobody_is_to_try_it_the_calls_move_at_once_and_none_is_lost(configuration):
    """An upgrade all the same: compatible, beside the old one, with its state."""
    with Host.from_config(configuration(more="upgrade = {}"), observers=()) as host:
        with load(lambda: host.call("ocr.read")) as results:
            for version in ("2.1", "2.2"):
                file = configuration(f"demo-ocr=={version}", more="upgrade = {}")
                assert kinds(host.apply(file)) == [("upgrade", "ocr")]
                assert host.plugins["ocr"].version == version
                assert not host.apply(file).differs
        assert {*results} == {"2.0", "2.1", "2.2"}
        assert host.call("ocr.pages") > 0


def test_a_new_wheel_that_the_requirement_allows_is_a_new_version(wheels, configuration):
    """The file is the same; what it leads to is not. Without `upgrade` it is swapped at once, without losing a call."""
    for more, step in ((SHARE, "upgrade"), ("", "reload")):
        for path in wheels.glob("demo_ocr-2.[1-9]*.whl"):
            path.unlink()
        file = configuration("demo-ocr>=2.0,<3", more)
        with Host.from_config(file, observers=()) as host:
            assert host.call("ocr.read") == "2.0"
            wheel(wheels, "unrelated", "1.0")
            assert not host.apply(file).differs
            wheel(wheels, "demo-ocr", "2.4", code=CODE, entries=ENTRIES)
            before = host._workers._environments.list()
            assert f"~ {step} ocr: its environment is " in str(host.apply(file, dry_run=True))
            assert len(host._workers._environments.list()) == len(before), "a plan builds nothing"
            assert kinds(host.apply(file)) == [(step, "ocr")]
            if more:
                assert host.canaries[0].status.version == "2.4"
                assert kinds(host.apply(file)) == []
                host.canaries[0].promote()
            assert host.call("ocr.read") == "2.4"
            assert not host.apply(file).differs


def test_another_wheel_of_the_same_version_is_tried_too(wheels, configuration):
    """Two builds of one number are told apart by a label."""
    file = configuration()
    with Host.from_config(file, observers=()) as host:
        wheel(wheels, "demo-ocr", "2.0", code=CODE.replace("return VERSION", "return 'rebuilt'"), entries=ENTRIES)
        assert kinds(host.apply(file)) == [("upgrade", "ocr")]
        assert host.canaries[0].status.version.startswith("2.0+")
        assert {host.call("ocr.read", tenant=f"t-{number}") for number in range(40)} == {"2.0", "rebuilt"}
        host.canaries[0].promote()
        assert host.call("ocr.read") == "rebuilt"
        assert not host.apply(file).differs


def plain(folder, text, more="upgrade = { share = 0.5 }"):
    """Write a plugin of one file."""
    code = f"from jackfield import function\n\n@function\ndef get() -> str:\n    return {text!r}\n"
    (folder / "one.py").write_text(code, "utf-8")
    table = f'[[plugin]]\nname = "one"\npath = "./one.py"\nexecutor = "worker"\n{more}\n'
    (folder / "jackfield.toml").write_text(table, "utf-8")
    return folder / "jackfield.toml"


def test_a_changed_file_is_tried_too(tmp_path):
    """In place of the swap that it is without `upgrade`; taken back, the file's trial ends."""
    file = plain(tmp_path, "old")
    with Host.from_config(file, observers=()) as host:
        plain(tmp_path, "new")
        assert kinds(host.apply(file)) == [("upgrade", "one")]
        assert {host.call("one.get", tenant=f"t-{number}") for number in range(40)} == {"old", "new"}
        plain(tmp_path, "newer")
        assert kinds(host.apply(file)) == [("abort", "one"), ("upgrade", "one")]
        assert {host.call("one.get", tenant=f"t-{number}") for number in range(40)} == {"old", "newer"}
        plain(tmp_path, "old")
        assert kinds(host.apply(file)) == [("abort", "one")]
        assert host.call("one.get") == "old"
        assert not host.apply(file).differs
        plain(tmp_path, "new")
        assert kinds(host.apply(file)) == [("upgrade", "one")]
        host.canaries[-1].abort("ugly")
        assert kinds(host.apply(file)) == []
        assert drift(host, file) == [("plugin.one", "operator", "abort")]
        host.reload("one")
        assert not host.apply(file).differs
        assert host.call("one.get") == "new"
        plain(tmp_path, "newer")
        assert kinds(host.apply(file)) == [("upgrade", "one")]
        host.canaries[-1].promote()
        assert host.call("one.get") == "newer"


def test_labels_choose_who_tries_it(configuration):
    """All that have them, where there is no share; what else changes comes with it."""
    tables = '[tenants.t-1]\nlabels = { tier = "beta" }\n[tenants.t-2]\n'
    more = 'upgrade = { labels = { tier = "beta" } }'
    with Host.from_config(configuration(more=more, tables=tables), observers=()) as host:
        file = configuration("demo-ocr==2.1", f"timeout = 7.0\n{more}", tables)
        plan = host.apply(file)
        assert kinds(plan) == [("upgrade", "ocr")]
        assert "on trial with all of tier=beta" in str(plan)
        assert [field.field for field in plan.changes[0].fields] == ["path", "timeout"]
        assert [host.call("ocr.read", tenant=tenant) for tenant in ("t-1", "t-2")] == ["2.1", "2.0"]
        host.canaries[0].promote()
        assert host.snapshot.functions["ocr.read"].spec.policy.timeout == 7.0
        assert not host.apply(file).differs


SWAPPED = [
    pytest.param("demo-ocr==2.0", "timeout = 7.0", "change", id="no other code"),
    pytest.param("demo-ocr==2.1", "auto_start = false", "change", id="another place among the plugins"),
]


@pytest.mark.parametrize(("path", "more", "step"), SWAPPED)
def test_what_is_no_new_version_alone_is_swapped_as_ever(host, configuration, path, more, step):
    """And nothing is on trial."""
    assert (step, "ocr") in kinds(host.apply(configuration(path, f"{more}\n{SHARE}")))
    assert host.canaries == ()


def test_upgrade_itself_changes_nothing(host, configuration):
    """It says how a version comes, and is no part of one."""
    old = host.call("ocr.process")
    for more in ("", "upgrade = { analyse = true }", SHARE):
        assert not host.apply(configuration(more=more)).differs
    assert host.call("ocr.process") == old


def test_a_plugin_that_does_not_run_is_loaded_anew(host, configuration):
    """Nobody calls it; and it stays stopped."""
    host.stop_plugin("ocr")
    assert kinds(host.apply(configuration("demo-ocr==2.1"))) == [("change", "ocr")]
    host.start_plugin("ocr")
    assert host.call("ocr.read") == "2.1"


@pytest.mark.parametrize("more", ["upgrade = {}", SHARE])
def test_the_same_version_spelled_otherwise_comes_without_losing_a_call(configuration, more):
    """A new path is taken over as any is, though it leads to what runs."""
    with Host.from_config(configuration(more=more), observers=()) as host:
        with load(lambda: host.call("ocr.read")) as results:
            file = configuration("demo-ocr==2.0,<3", more)
            assert kinds(host.apply(file)) == [("upgrade", "ocr")]
            if more == SHARE:
                host.canaries[0].promote()
        assert {*results} == {"2.0"}
        assert not host.apply(file).differs


@pytest.mark.parametrize("more", ["upgrade = {}", SHARE])
def test_a_version_that_is_not_the_default_stays_so(configuration, more):
    """Another plugin has the calls, and keeps them: nobody could try the new version, and who asks for it gets it."""
    other = '[[plugin]]\nname = "first"\npath = "demo-ocr==3.0"\nexecutor = "worker"\n'

    def write(version):
        file = configuration(f"demo-ocr=={version}", more)
        head, table = file.read_text("utf-8").split("[[plugin]]")
        file.write_text(f"{head}{other}[[plugin]]{table}", "utf-8")
        return file

    with Host.from_config(write("2.0"), observers=()) as host:
        assert (host.call("ocr.read"), host.call("ocr.read", version="2.0")) == ("3.0", "2.0")
        assert kinds(host.apply(write("2.1"))) == [("upgrade", "ocr")]
        assert {host.call("ocr.read", tenant=f"t-{number}") for number in range(20)} == {"3.0"}
        assert (host.call("ocr.read"), host.call("ocr.read", version="2.1")) == ("3.0", "2.1")
        assert versions(host) == ["3.0", "2.1"]
        assert not host.apply(write("2.1")).differs
        canary = host.upgrade("ocr", "demo-ocr==2.2", share=1.0)
        assert (canary.status.state, canary.status.stable) == ("promoted", "2.1")
        assert (host.call("ocr.read"), host.call("ocr.read", version="2.2")) == ("3.0", "2.2")


# --- What ends one ----------------------------------------------------------------------------------------------------


def test_what_was_aborted_is_not_tried_again_until_it_is_forced_or_the_file_says_otherwise(host, configuration):
    """The verdict stays, and the plan shows it."""
    file = configuration("demo-ocr==2.1")
    host.apply(file)
    host.canaries[0].abort("it is slow")
    plan = host.apply(file)
    assert kinds(plan) == []
    assert "demo-ocr==2.0, since the trial was aborted: it is slow (abort by operator" in str(plan)
    host.stop_plugin("ocr")
    assert kinds(host.apply(file)) == []
    host.start_plugin("ocr")
    assert host.call("ocr.read") == "2.0"
    assert kinds(host.apply(file, force=True)) == [("upgrade", "ocr")]
    host.canaries[-1].abort()
    assert kinds(host.apply(configuration("demo-ocr==2.2"))) == [("upgrade", "ocr")]
    host.canaries[-1].abort()
    assert kinds(host.apply(configuration())) == []
    assert not host.apply(configuration()).differs
    assert kinds(host.apply(configuration("demo-ocr==2.2"))) == [("upgrade", "ocr")]
    host.canaries[-1].promote()
    assert host.call("ocr.read") == "2.2"


def test_a_version_that_does_worse_takes_itself_back(configuration):
    """As the analysis of the file says; it is not tried again."""
    more = 'upgrade = { tenants = ["t-1"], analyse = true }'
    with Host.from_config(configuration(more=more), observers=()) as host:
        file = configuration("demo-ocr==2.8", more)
        assert "on trial with t-1, analysed" in str(host.apply(file))
        (canary,) = host.canaries

        def aborted():
            for tenant in ("t-1", "t-2"):
                with suppress(Exception):  # that is what it is aborted for
                    host.call("ocr.read", tenant=tenant)
            return canary.status.state == "aborted"

        until(aborted)
        until(lambda: versions(host) == ["2.0"])
        assert kinds(host.apply(file)) == []
        assert drift(host, file) == [("plugin.ocr", "canary", "abort")]


def test_the_file_ends_what_it_asks_for_no_more(host, configuration):
    """It goes back, or on to another version."""
    host.apply(configuration("demo-ocr==2.1"))
    assert kinds(host.apply(configuration("demo-ocr==2.2"))) == [("abort", "ocr"), ("upgrade", "ocr")]
    assert [canary.status.state for canary in host.canaries] == ["aborted", "running"]
    assert kinds(host.apply(configuration())) == [("abort", "ocr")]
    assert host.call("ocr.read") == "2.0"
    assert versions(host) == ["2.0"]
    assert not host.apply(configuration()).differs


def test_without_upgrade_the_trial_is_not_waited_for(host, configuration):
    """The version that the file says comes at once."""
    host.apply(configuration("demo-ocr==2.1"))
    assert kinds(host.apply(configuration("demo-ocr==2.1", more=""))) == [("abort", "ocr"), ("change", "ocr")]
    assert host.call("ocr.read") == "2.1"


def test_a_trial_by_hand_goes_on_until_the_file_changes_its_plugin(host, configuration):
    """The same file leaves it alone; promoted, its version is drift until the file says it too."""
    by_hand = host.upgrade("ocr", "demo-ocr==2.1", tenants=["t-1"])
    assert kinds(host.apply(configuration())) == []
    assert by_hand.status.state == "running"
    assert kinds(host.apply(configuration("demo-ocr==2.2"))) == [("abort", "ocr"), ("upgrade", "ocr")]
    assert by_hand.status.state == "aborted"
    assert host.canaries[-1].status.version == "2.2"


def test_a_restart_ends_the_trial_and_the_next_apply_begins_it_again(host, configuration):
    """Nobody has decided against it."""
    file = configuration("demo-ocr==2.1", TENANT)
    host.apply(file)
    host.restart_plugin("ocr")
    assert host.call("ocr.read", tenant="t-1") == "2.0"
    until(lambda: versions(host) == ["2.0"] and len(host._workers.pools) == 1)
    assert kinds(host.apply(file)) == [("upgrade", "ocr")]
    assert host.call("ocr.read", tenant="t-1") == "2.1"


# --- What is refused --------------------------------------------------------------------------------------------------

REFUSED = [
    pytest.param("demo-ocr==3.0", "3.0 is of another major version than 2.0", "--force", id="major"),
    pytest.param("demo-ocr==2.3", "payload: it took integer, and takes string or null", "--force", id="contract"),
    pytest.param("demo-ocr==2.10", "and nobody allows", f'allow = ["{ASKED}"]', id="grants"),
    pytest.param("demo-ocr==2.5", "No module named 'nowhere_at_all'", "", id="import"),
    pytest.param("demo-ocr==9.9", "demo-ocr", "", id="absent"),
]


@pytest.mark.parametrize(("path", "reason", "fix"), REFUSED)
def test_what_cannot_take_its_place_is_an_error_and_the_old_one_serves_on(host, configuration, path, reason, fix):
    """It names the plugin, the place in the file and the fix; the next apply tries again."""
    before = host.call("ocr.process")
    file = configuration(path)
    for _ in range(2):
        plan = host.apply(file)
        (failed,) = plan.failed
        fault = failed.faults[0]
        assert (failed.kind, fault.plugin, fault.where) == ("upgrade", "ocr", f"{file}:6")
        assert reason in fault.reason
        assert fix in fault.fix
        assert str(fault) in str(plan)
        assert (host.call("ocr.process"), versions(host)) == (before, ["2.0"])
        assert len(host._workers.pools) == 1


def test_the_fix_of_a_refused_version_helps(host, configuration):
    """Forced by hand, or allowed in the file, it serves, and the host is what the file says."""
    file = configuration("demo-ocr==3.0")
    assert "pluginctl upgrade ocr 'demo-ocr==3.0' --force" in host.apply(file).failed[0].faults[0].fix
    host.upgrade("ocr", "demo-ocr==3.0", force=True)
    assert not host.apply(file).differs
    assert host.call("ocr.read") == "3.0"


def test_a_manifest_that_asks_for_more_is_taken_once_the_file_allows_it(host, configuration):
    """The line to add is in the fault; with it, the same apply rolls the version out."""
    allowed = f'{TENANT}\n[plugin.worker]\nallow = ["{ASKED}"]'
    file = configuration("demo-ocr==2.10", allowed)
    assert kinds(host.apply(file)) == [("upgrade", "ocr")]
    host.canaries[0].promote()
    assert host.call("ocr.read") == "2.10"
    assert not host.apply(file).differs


# --- Killed -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys, threading
from jackfield import Host
from pathlib import Path
file, text = Path(sys.argv[1]), Path(sys.argv[1]).read_text()
host = Host.from_config(file, observers=())
host.start()
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), 9)).start()
print(host.call("ocr.read"), flush=True)
while True:
    for version in ("2.1", "2.2"):
        file.with_name("new").write_text(text.replace("2.0", version))
        file.with_name("new").rename(file)
        host.apply(file)
        host.canaries[-1].promote()
    host.upgrade("ocr", "demo-ocr==2.0", force=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.05, 0.2, 0.4, 0.8])
def test_killed_at_any_step_the_next_start_serves_what_the_file_says(configuration, after):
    """Whether it was on trial, promoted or about to be."""
    file = configuration()
    command = [sys.executable, "-c", PROGRAM, file, str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as ran:
        assert ran.stdout.readline() == b"2.0\n"
        assert ran.wait(60) == -signal.SIGKILL
    says = next(version for version in ("2.0", "2.1", "2.2") if f"demo-ocr=={version}" in file.read_text("utf-8"))
    with Host.from_config(file, observers=()) as host:
        assert host.call("ocr.read") == says
        assert not host.apply(file).differs
