"""Several hosts on one store converge while they run: each does what any of them was told."""

import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.in_workers import until
from tests.support.wheels import wheel

from jackfield import Analysis, Host

PLUGIN = """
from jackfield import function

@function
def get() -> str:
    {body}
"""
CONFIG = """
[store]
url = "sqlite:jackfield.db"
[[plugin]]
name = "a"
path = "./a.py"
[[plugin]]
name = "b"
path = "./b.py"
depends_on = ["a"]
[[plugin]]
name = "d"
path = "./d.py"
version = "2"
functions = {"a.get" = "get"}
"""


class Service:
    """A folder with a configuration, and hosts that are made of it."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "jackfield.toml"
        self.file.write_text(CONFIG)
        for name in "abcd":
            self.write(name, f'return "{name}"')

    def write(self, name, body):
        (self.folder / f"{name}.py").write_text(PLUGIN.format(body=body))

    def host(self):
        return Host.from_config(self.file, observers=())


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


@pytest.fixture
def hosts(service):
    with service.host() as one, service.host() as two:
        yield one, two


def up(host):
    return {name for name, record in host.plugins.items() if record.state == "running"}


def test_what_is_stopped_on_one_stops_on_all_and_starts_again(hosts):
    """Whichever of them is told."""
    one, two = hosts
    one.stop_plugin("b")
    until(lambda: "b" not in up(two))
    two.start_plugin("b")
    until(lambda: "b" in up(one))
    assert [each.what for each in one.history][1:] == ["plugin.b.running: false", "plugin.b.running: true"]
    assert one.history == two.history


SLOW = """
import pathlib, time

class Slow:
    def stop(self) -> None:
        while pathlib.Path({gate!r}).exists():
            time.sleep(0.01)
"""


def test_what_is_taken_back_while_it_is_being_carried_out_is_taken_back_on_all(service):
    """Also what makes a field the file's again, and so is what this host had until a moment ago."""
    gate = service.folder / "gate"
    (service.folder / "z.py").write_text(SLOW.format(gate=str(gate)))
    first = '[[plugin]]\nname = "z"\npath = "./z.py:Slow"\nstop_timeout = 60.0\n[[plugin]]'
    service.file.write_text(CONFIG.replace("[[plugin]]", first, 1))
    with service.host() as one, service.host() as two, ThreadPoolExecutor() as threads:
        for verb in (Host.stop_plugin, Host.start_plugin):
            for name in ("d", "z"):
                verb(one, name)
        until(lambda: len(two.history) == 5 and {"d", "z"} <= up(two) and "z" in up(one))
        gate.touch()
        undone = threads.submit(one.undo, 3)
        until(lambda: "d" not in up(two) and two.plugins["z"].state == "stopping")
        two.start_plugin("d")
        gate.unlink()
        assert undone.result(30).ok
        until(lambda: "d" in up(one) and "z" not in up(one))
        until(lambda: "z" not in up(two))
        assert "d" in up(two)


def test_an_applied_file_is_applied_on_all(service, hosts):
    """By its content as the one host read it."""
    one, two = hosts
    service.file.write_text(CONFIG + '[[plugin]]\nname = "c"\npath = "./c.py"\n')
    assert one.apply(service.file).ok
    until(lambda: "c" in up(two))
    assert two.call("c.get") == "c"
    assert not two.apply(service.file, dry_run=True).changes


def test_the_default_of_a_route_and_its_undo_reach_all(hosts):
    """As two revisions."""
    one, two = hosts
    one.reroute("a.get", default="2")
    until(lambda: two.call("a.get") == "d")
    two.undo(1)
    until(lambda: one.call("a.get") == "a")
    assert [each.verb for each in one.history] == ["start", "route", "undo"]


def test_a_trial_begins_moves_and_is_promoted_on_all(hosts):
    """By hand: from one host or another."""
    one, two = hosts
    canary = one.canary("a.get", version="2", share=0.5)
    (there,) = until(lambda: two.canaries)
    assert (there.status.version, there.status.share) == ("2", 0.5)
    there.ramp(0.75)
    until(lambda: canary.status.share == 0.75)
    canary.promote()
    until(lambda: there.status.state == "promoted")
    assert (one.call("a.get"), two.call("a.get")) == ("d", "d")
    assert [each.verb for each in one.history] == ["start", "canary", "ramp", "promote"]


def test_a_trial_that_is_aborted_on_one_is_aborted_on_all(hosts):
    """And the calls go back."""
    one, two = hosts
    one.canary("a.get", version="2", share=1.0)
    (there,) = until(lambda: two.canaries)
    there.abort("by hand")
    until(lambda: one.canaries[0].status.state == "aborted")
    assert (one.call("a.get"), two.call("a.get")) == ("a", "a")


def test_a_host_that_comes_later_takes_part(service):
    """In what is on trial, and in what was stopped."""
    with service.host() as one:
        one.stop_plugin("b")
        one.canary("a.get", version="2", share=0.25)
        with service.host() as two:
            assert until(lambda: two.canaries)[0].status.share == 0.25
            assert "b" not in up(two)


@pytest.mark.slow
def test_a_trial_is_judged_over_the_calls_of_all_and_once(service):
    """Neither has enough calls of its own; the verdict holds for both, and is one revision."""
    service.write("d", 'raise ValueError("worse")')
    few = Analysis(steps=(0.5,), looks=1, samples=40, interval=0.0, latency_ratio=float("inf"))
    with service.host() as one, service.host() as two:
        one.canary("a.get", version="2", analysis=few)
        until(lambda: two.canaries)
        until(lambda: [host for host in (one, two) if "look 1 of 1 waits" in host.canaries[0].status.reason])
        assert not (one._judges() and two._judges())
        for host in (one, two):
            for number in range(60):
                attempt(host, f"t{number}")
        until(lambda: [host.canaries[0].status.state for host in (one, two)] == ["aborted", "aborted"])
        assert {host.call("a.get", tenant="t1") for host in (one, two)} == {"a"}
        until(lambda: [each.verb for each in one.history] == ["start", "canary", "abort"])
        until(lambda: not counted(one))  # so that a later trial of that version is not judged by it


def counted(host):
    kept = host._kept
    return kept.ask(lambda: kept.store.range("desired/counts/")).result(20).entries


@pytest.mark.slow
def test_another_host_judges_when_the_one_that_did_is_gone(service):
    """And promotes, step by step."""
    few = Analysis(steps=(0.3, 0.6), looks=1, samples=10, interval=0.0, latency_ratio=float("inf"))
    with service.host() as one, service.host() as two:
        one.canary("a.get", version="2", analysis=few)
        until(lambda: two.canaries)
        first, second = until(lambda: (one, two) if one._judges() else (two, one) if two._judges() else None)
        first.stop()
        until(second._judges)
        calls = iter(range(100_000))

        def promoted():
            attempt(second, f"t{next(calls)}")
            return second.canaries[0].status.state == "promoted"

        until(promoted)
        until(lambda: [each.verb for each in second.history] == ["start", "canary", "ramp", "promote"])


def attempt(host, tenant):
    try:
        host.call("a.get", tenant=tenant)
    except Exception as error:  # noqa: BLE001  # that is what is counted
        return error
    return None


def test_of_a_file_that_cannot_be_read_here_the_rest_is_followed(service, tmp_path_factory):
    """It names a folder that only one of them has."""
    other = Service(tmp_path_factory.mktemp("other"))
    other.file.write_text(CONFIG.replace("sqlite:jackfield.db", f"sqlite:{service.folder}/jackfield.db"))
    (other.folder / "only-here").mkdir()
    with service.host() as one, other.host() as two:
        more = textwrap.dedent('[environments]\nfind_links = ["./only-here"]\n')
        other.file.write_text(other.file.read_text() + more)
        assert two.apply(other.file).ok
        two.stop_plugin("b")
        until(lambda: "b" not in up(one))
        one.start_plugin("b")
        until(lambda: "b" in up(two))
        assert one.history[-1].digest == one.history[-2].digest, "nor does it take back the file that it cannot read"


OCR = "from jackfield import function\n\n@function\ndef read() -> str:\n    return '{0}'\n"


def upgradable(folder, monkeypatch):
    """Write two versions of a distribution, and give what writes a configuration with one of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    wheels = folder / "wheels"
    wheels.mkdir()
    entries = "[jackfield.functions]\nocr.read = {module}:read\n"
    for version in ("2.0", "2.1"):
        wheel(wheels, "demo-ocr", version, code=OCR.format(version), entries=entries)

    def write(version):
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
        upgrade = {{ share = 0.5 }}
        """
        (folder / "jackfield.toml").write_text(textwrap.dedent(text))
        return folder / "jackfield.toml"

    return write


def served(host):
    return {host.call("ocr.read", tenant=f"t-{number}", timeout=60.0) for number in range(30)}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_an_upgrade_is_on_trial_on_all_promoted_on_all_and_taken_back_on_all(tmp_path, monkeypatch):
    """Though an older version is not compatible with a newer one: whoever takes it back wants just that."""
    write = upgradable(tmp_path, monkeypatch)
    with Host.from_config(write("2.0"), observers=()) as one, Host.from_config(write("2.0"), observers=()) as two:
        assert (served(one), served(two)) == ({"2.0"}, {"2.0"})
        done = one.apply(write("2.1"))
        assert done.ok, str(done)
        until(lambda: two.canaries)
        assert (served(one), served(two)) == ({"2.0", "2.1"}, {"2.0", "2.1"})
        two.canaries[-1].promote()
        until(lambda: served(one) == {"2.1"} == served(two))
        until(lambda: one.canaries[-1].status.state == "promoted")
        undone = two.undo(1)
        assert undone.ok, str(undone)
        until(lambda: one.canaries[-1].status.state == "running")
        two.canaries[-1].promote()
        until(lambda: served(one) == {"2.0"} == served(two))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_an_upgrade_that_is_aborted_on_one_is_refused_on_all(tmp_path, monkeypatch):
    """And a restart of either does not try it again."""
    write = upgradable(tmp_path, monkeypatch)
    with Host.from_config(write("2.0"), observers=()) as one, Host.from_config(write("2.0"), observers=()) as two:
        assert one.apply(write("2.1")).ok
        until(lambda: two.canaries)
        two.canaries[-1].abort("by hand")
        until(lambda: one.canaries[-1].status.state == "aborted")
        until(lambda: (served(one), served(two)) == ({"2.0"}, {"2.0"}))
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert served(host) == {"2.0"}
