"""What is on trial when a host ends is on trial when the next one starts, and what was refused is not served."""

import textwrap
import time

import pytest
from tests.support.wheels import wheel

from jackfield import Analysis, Host, Outcome, PluginError

CODE = """
from jackfield import function

VERSION = "2.0"

@function
def read() -> str:
    return VERSION
"""
ENTRIES = "[jackfield.functions]\nocr.read = {module}:read\n"
SHARE = "upgrade = { share = 0.5 }"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder of wheels, one for each version."""
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("2.0", "2.1", "2.2", "3.0"):
        wheel(folder, "demo-ocr", version, code=CODE.replace("2.0", version), entries=ENTRIES)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """Keep environments in a cache of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def configuration(wheels, tmp_path):
    """Write a configuration whose plugin has some version."""

    def write(version="2.0", more=SHARE):
        file = tmp_path / "jackfield.toml"
        text = f"""
        [store]
        url = "sqlite:jackfield.db"
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


def made(file):
    return Host.from_config(file, observers=())


def running(host):
    """Name the trials that are under way."""
    return [
        (status.name, status.version, status.share)
        for canary in host.canaries
        if (status := canary.status).state == "running"
    ]


def versions(host):
    return {host.call("ocr.read", tenant=f"t-{number}") for number in range(40)}


def test_a_trial_of_the_file_goes_on_with_the_share_that_it_had(configuration):
    """The version before serves the others; a promotion then is one for good."""
    with made(configuration()) as host:
        host.apply(configuration("2.1"))
        host.canaries[0].ramp(0.4)
    with made(configuration("2.1")) as host:
        assert running(host) == [("ocr", "2.1", 0.4)]
        assert versions(host) == {"2.0", "2.1"}
        assert host.plugins["ocr"].version == "2.0"
        (drift,) = host.apply(configuration("2.1"), dry_run=True).drift
        assert (drift.field, drift.verb) == ("plugin.ocr", "upgrade")
        host.canaries[0].promote()
    with made(configuration("2.1")) as host:
        assert (running(host), versions(host)) == ([], {"2.1"})


def test_what_was_refused_is_not_served_after_a_restart(configuration):
    """Nor tried again, until the file asks for another version."""
    with made(configuration()) as host:
        host.apply(configuration("2.1"))
        host.canaries[0].abort("it is ugly")
    for _ in range(2):
        with made(configuration("2.1")) as host:
            assert (running(host), versions(host)) == ([], {"2.0"})
            plan = host.apply(configuration("2.1"))
            assert (plan.changes, [drift.verb for drift in plan.drift]) == ((), ["abort"])
    with made(configuration("2.2")) as host:
        assert (running(host), versions(host)) == ([("ocr", "2.2", 0.5)], {"2.0", "2.2"})


def test_a_version_that_could_not_come_is_not_served_after_a_restart(configuration):
    """It is tried to bring it again."""
    with made(configuration()) as host:
        assert host.apply(configuration("3.0")).failed
        assert versions(host) == {"2.0"}
    with made(configuration("3.0")) as host:
        assert versions(host) == {"2.0"}
        assert host.apply(configuration("3.0")).failed


def test_what_a_file_asks_for_that_was_edited_meanwhile_is_tried_first(configuration):
    """As an apply of it would do it; without `upgrade` it is there at once."""
    with made(configuration()):
        pass
    with made(configuration("2.1")) as host:
        assert (running(host), versions(host)) == ([("ocr", "2.1", 0.5)], {"2.0", "2.1"})
    with made(configuration("2.2", "")) as host:
        assert (running(host), versions(host)) == ([], {"2.2"})


def test_an_upgrade_by_hand_goes_on(configuration):
    """From its requirement, beside what the file says; what was aborted is gone."""
    with made(configuration()) as host:
        host.upgrade("ocr", "demo-ocr==3.0", share=0.5, force=True)
        assert [(each.verb, each.what) for each in host.history][1:] == [("upgrade", "trial.ocr: 50% to 3.0")]
    with made(configuration()) as host:
        assert (running(host), versions(host)) == ([("ocr", "3.0", 0.5)], {"2.0", "3.0"})
        host.canaries[0].abort("enough")
        assert (host.history[-1].verb, host.history[-1].what) == ("abort", "trial.ocr: no trial")
    with made(configuration()) as host:
        assert (running(host), versions(host)) == ([], {"2.0"})


def test_a_host_that_is_started_again_in_its_process_has_its_trials(configuration):
    """As another one would."""
    host = made(configuration())
    for _ in range(2):
        with host:
            host.apply(configuration("2.1"))
            assert running(host) == [("ocr", "2.1", 0.5)]


FILE = """
[store]
url = "sqlite:jackfield.db"
[tenants.t-1]
labels = { tier = "beta" }
[tenants.t-2]
[[plugin]]
name = "a"
path = "./a.py"
version = "1"
[[plugin]]
name = "b"
path = "./b.py"
version = "2"
functions = {"a.get" = "get"}
"""


@pytest.fixture
def service(tmp_path):
    """A function in two versions."""
    for name in "ab":
        code = f"from jackfield import function\n\n@function\ndef get() -> str:\n    return {name!r}\n"
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "jackfield.toml").write_text(FILE)
    return tmp_path / "jackfield.toml"


def test_a_canary_goes_on_as_it_was(service):
    """Its tenants, labels and share, as it was ramped last."""
    with made(service) as host:
        host.canary("a.get", version="2", share=0.2, tenants=["t-2"])
        host.canaries[0].ramp(0.0)
    with made(service) as host:
        status = host.canaries[0].status
        assert (status.version, status.share, status.tenants) == ("2", 0.0, ("t-2",))
        assert [host.call("a.get", tenant=tenant) for tenant in ("t-1", "t-2")] == ["a", "b"]
        host.canaries[0].abort()
        host.canary("a.get", version="2", labels={"tier": "beta"})
    with made(service) as host:
        assert [host.call("a.get", tenant=tenant) for tenant in ("t-1", "t-2")] == ["b", "a"]
        host.canaries[0].promote()
    with made(service) as host:
        assert running(host) == []
        assert host.call("a.get", tenant="t-2") == "b"
        assert [each.verb for each in host.history] == ["start", "canary", "ramp", "abort", "canary", "promote"]


def test_an_analysis_goes_on_at_its_step_and_its_verdict_is_kept(service):
    """What it had counted is counted anew."""
    plan = Analysis(
        steps=(0.1, 0.5), looks=1, samples=20, interval=0.0, latency_ratio=float("inf"), outcomes={Outcome.CRASHED}
    )
    with made(service) as host:
        host.canary("a.get", version="2", analysis=plan)
        host.canaries[0].ramp(0.5)
    with made(service) as host:
        (canary,) = host.canaries
        assert canary.status.share == 0.5
        assert (canary.analysis.steps, canary.analysis.outcomes) == ((0.5,), {Outcome.CRASHED})
        until = time.monotonic() + 60
        while canary.status.state == "running" and time.monotonic() < until:
            for _ in range(50):
                host.call("a.get")
        assert canary.status.state == "promoted"
        while host.history[-1].verb != "promote" and time.monotonic() < until:
            time.sleep(0.05)
        assert (host.history[-1].by, host.history[-1].what) == ("canary", "route.a.get.default: 2")
    with made(service) as host:
        assert host.call("a.get") == "b"


def test_a_trial_that_cannot_go_on_is_gone(service):
    """Its version is not there any more."""
    with made(service) as host:
        host.canary("a.get", version="2", share=0.5)
    service.write_text(FILE.partition('[[plugin]]\nname = "b"')[0])
    for _ in range(2):
        with made(service) as host:
            assert running(host) == []
            assert host.call("a.get", tenant="t-1") == "a"


def test_a_plugin_that_is_stopped_ends_the_trial_of_its_version_for_good(service):
    """The next start does not begin it again."""
    with made(service) as host:
        host.canary("a.get", version="2", share=1.0)
        host.stop_plugin("b")
        assert running(host) == []
        host.start_plugin("b")
    with made(service) as host:
        assert (running(host), host.call("a.get", tenant="t-1")) == ([], "a")
        with pytest.raises(PluginError):
            host.canary("a.get", version="1", share=0.5)
