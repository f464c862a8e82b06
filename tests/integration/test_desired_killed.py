"""A host is killed before and after every step of an apply and every write of its store: the next start ends the same.

The process ends by `os._exit` at the n-th of these moments, for every n until it comes to its end.
"""

import os
import subprocess
import sys
import textwrap

import pytest
from tests.support.wheels import wheel

from jackfield import Host

KILLED = """
import os, sys
from jackfield import Host
from jackfield.desired.hosted import HostSteps
from jackfield.store import SQLiteStore

left = int(sys.argv[2])

def moment():
    global left
    left -= 1
    if left == 0:
        os._exit(9)

def before_and_after(done):
    def step(*arguments, **named):
        moment()
        try:
            return done(*arguments, **named)
        finally:
            moment()
    return step

class Counting(SQLiteStore):
    async def put(self, key, value, **how):
        moment()
        revision = await super().put(key, value, **how)
        moment()
        return revision

    async def delete(self, key, **how):
        moment()
        revision = await super().delete(key, **how)
        moment()
        return revision

file, scenario = sys.argv[1], sys.argv[3]
store = Counting(os.path.join(os.path.dirname(file), "jackfield.db"))
with Host.from_config(file, observers=(), store=store) as host:
    for name in ("load", "unload", "reload", "upgrade", "start", "hold", "stop", "route", "tenants", "flows", "abort",
                 "schedules"):
        setattr(HostSteps, name, before_and_after(getattr(HostSteps, name)))
    exec(scenario)
    print("ended", flush=True)
"""


def killed(folder, moment, scenario):
    """Run a scenario that is killed at a moment; give what it has said before, at last that it has ended."""
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder / "jackfield.toml"), str(moment), scenario],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode in (0, 9), ran.stderr
    return ran.stdout.split()


def trials(host):
    """What is on trial."""
    return [canary.status for canary in host.canaries if canary.status.state == "running"]


def shape(host, file):
    """What counts: who runs as what, where calls go, what is on trial, and what is not as in the file."""
    plan = host.apply(file, dry_run=True)
    assert plan.changes == (), str(plan)
    assert plan.conflicts == ()
    return (
        {name: str(record.state) for name, record in host.plugins.items() if record.state != "unloaded"},
        {name: route.default for name, route in host.snapshot.routes.items()},
        [
            (each.name, each.version, each.share)
            for canary in host.canaries
            if (each := canary.status).state == "running"
        ],
        sorted((each.field, each.here) for each in plan.drift),
        host.snapshot.permissions,
    )


PLUGIN = "from jackfield import function\n\n@function\ndef get() -> str:\n    return {!r}\n"
FIRST = """
[[plugin]]
name = "a"
path = "./a.py"
[[plugin]]
name = "b"
path = "./b.py"
depends_on = ["a"]
options = { x = 1 }
[[plugin]]
name = "c"
path = "./c.py"
[[plugin]]
name = "two"
path = "./d.py"
version = "2"
functions = { "a.get" = "get", "b.get" = "get" }
"""
SECOND = """
[tenants.t]
[routes."b.get"]
default = "2"
[[plugin]]
name = "a"
path = "./a.py"
[[plugin]]
name = "b"
path = "./b.py"
depends_on = ["a"]
options = { x = 2 }
[[plugin]]
name = "d"
path = "./d.py"
depends_on = ["b"]
[[plugin]]
name = "e"
path = "./e.py"
[[plugin]]
name = "two"
path = "./d.py"
version = "2"
functions = { "a.get" = "get", "b.get" = "get" }
"""


@pytest.fixture
def folder(tmp_path):
    """Five plugins."""
    for name in "abcde":
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(name))
    return tmp_path


@pytest.mark.slow
def test_an_apply_that_is_killed_anywhere_is_finished_by_the_next_start(folder):
    """With what somebody wants besides the file: a plugin unloaded, and a canary."""
    file = folder / "jackfield.toml"
    store = '[store]\nurl = "sqlite:jackfield.db"\n'
    (folder / "second.toml").write_text(store + SECOND)
    scenario = f"""
    assert host.canaries[0].status.share == 0.25
    assert host.apply({str(folder / "second.toml")!r}).applied
    """
    said, found = [], []
    while "ended" not in said:
        for left in folder.glob("jackfield.db*"):
            left.unlink()
        file.write_text(store + FIRST)
        with Host.from_config(file, observers=()) as host:
            host.unload("c")
            host.canary("a.get", version="2", share=0.25)
        said = killed(folder, len(found) + 1, textwrap.dedent(scenario))
        file.write_text(store + SECOND)
        with Host.from_config(file, observers=()) as host:
            found.append(shape(host, file))
        with Host.from_config(file, observers=()) as host:
            assert shape(host, file) == found[-1]
    assert len(found) > 15, "there are as many moments"
    assert all(each == found[-1] for each in found), [each for each in found if each != found[-1]]
    states, defaults, tried, drift, _ = found[-1]
    assert states == dict.fromkeys(("a", "b", "d", "e", "two"), "running")
    assert (defaults["b.get"], tried) == ("2", [("a.get", "2", 0.25)])
    assert [field for field, _ in drift] == ["routes.a.get"]


OCR = "from jackfield import function\n\n@function\ndef read() -> str:\n    return '2.0'\n"

OUTCOMES = [(False, {"2.0"}, []), (True, {"2.0", "2.1"}, [0.5]), (True, {"2.1"}, [])]
"""Whether the file was edited, which versions are served, and what is on trial."""


@pytest.mark.slow
def test_an_upgrade_that_is_killed_anywhere_is_on_trial_or_promoted(tmp_path, monkeypatch):
    """Never served by all before somebody has promoted it, and never lost."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("2.0", "2.1"):
        wheel(
            wheels,
            "demo-ocr",
            version,
            code=OCR.replace("2.0", version),
            entries="[jackfield.functions]\nocr.read = {module}:read\n",
        )
    file = tmp_path / "jackfield.toml"

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
        return textwrap.dedent(text)

    (tmp_path / "second").write_text(write("2.1"))
    scenario = f"""
    os.replace({str(tmp_path / "second")!r}, {str(file)!r})
    assert host.apply({str(file)!r}).applied
    print("applied", flush=True)
    host.canaries[0].promote()
    print("promoted", flush=True)
    """
    said, moment, seen = [], 0, []
    while "ended" not in said:
        for left in tmp_path.glob("jackfield.db*"):
            left.unlink()
        file.write_text(write("2.0"))
        (tmp_path / "second").write_text(write("2.1"))
        moment += 1
        said = killed(tmp_path, moment, textwrap.dedent(scenario))
        with Host.from_config(file, observers=()) as host:
            served = {host.call("ocr.read", tenant=f"t-{number}") for number in range(40)}
            found = OUTCOMES.index(("==2.1" in file.read_text(), served, [each.share for each in trials(host)]))
            seen.append((len(said), found))
            for canary in host.canaries:
                canary.promote()
            assert host.call("ocr.read") == ("2.1" if found else "2.0")
    assert all(found >= min(count, 2) for count, found in seen), seen
    assert {found for _, found in seen} == {0, 1, 2}
