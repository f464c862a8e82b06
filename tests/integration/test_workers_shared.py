"""Plugins that share: those of one environment, tier and grants live in one process, and are else what they are."""

import asyncio
import os
import signal
import textwrap
from pathlib import Path

import pytest
from tests.support.in_workers import needs_workers, until

from jackfield import FunctionCrashed, Host, Unavailable
from support.installed import site
from support.wheels import wheel

pytestmark = [pytest.mark.slow, needs_workers]

CODE = """
import os
from jackfield import Caller, Logger, function, inject

STARTED = []

@function
def pid() -> int:
    return os.getpid()

@function
async def later() -> int:
    return os.getpid()

@function
def whose(logger: Logger = inject()) -> str:
    logger.info("here")
    return "{name}"

@function
def crash() -> None:
    raise LookupError("{name}")

@function
def abort() -> None:
    os.abort()

@function
def nested(caller: Caller = inject()) -> str:
    return caller.call("{name}.whose")
"""


class Pack:
    """A package of plugins that are modules."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "site-packages" / "jf_pack").mkdir(parents=True)
        self.module("__init__", "")
        self.tables = []

    def module(self, name, code):
        (self.folder / "site-packages" / "jf_pack" / f"{name}.py").write_text(textwrap.dedent(code))

    def plugin(self, name, code=None, worker="share = true\nmax = 1\n"):
        self.module(name, (code or CODE).replace("{name}", name))
        self.tables.append(
            f'[[plugin]]\nname = "{name}"\npath = "jf_pack.{name}"\nexecutor = "worker"\n[plugin.worker]\n{worker}\n'
        )

    def host(self, further=""):
        file = self.folder / "jackfield.toml"
        file.write_text("\n".join([*self.tables, further]))
        return Host.from_config(file, observers=())


@pytest.fixture
def pack(tmp_path):
    made = Pack(tmp_path)
    with site(tmp_path / "site-packages"):
        yield made


@pytest.mark.parametrize("name", ["pid", "later"])
@pytest.mark.parametrize("way", ["call", "acall"])
def test_they_live_in_one_process(pack, name, way):
    for each in "abc":
        pack.plugin(each)
    with pack.host() as host:
        assert host.faults == ()
        if way == "call":
            pids = {host.call(f"{each}.{name}") for each in "abc"}
        else:
            pids = {asyncio.run(host.acall(f"{each}.{name}")) for each in "abc"}
        assert len(pids) == 1
        assert {each.pid for each in host.workers} == pids
        assert [host.call(f"{each}.whose") for each in "abc"] == ["a", "b", "c"]


def test_what_is_nested_takes_another_process(pack):
    for each in "ab":
        pack.plugin(each, worker="share = true\nmax = 2\n")
    with pack.host() as host:
        assert [host.call(f"{each}.nested", timeout=30.0) for each in "ab"] == ["a", "b"]
        assert len(host.workers) == 2


@pytest.mark.parametrize(
    "other", ["share = false\nmax = 1", "share = true\nmax = 2", "share = true\nmax = 1\nallow = ['calls:x.*']"]
)
def test_only_with_what_is_the_same_in_all(pack, other):
    pack.plugin("a")
    pack.plugin("b", worker=other)
    with pack.host() as host:
        assert host.call("a.pid") != host.call("b.pid")


def test_an_error_is_that_of_its_plugin(pack):
    pack.plugin("a")
    pack.plugin("b")
    with pack.host() as host:
        with pytest.raises(FunctionCrashed) as caught:
            host.call("b.crash")
        assert (caught.value.plugin, caught.value.message) == ("b", "b")


def test_all_are_there_again_when_their_process_has_died(pack):
    for each in "abc":
        pack.plugin(each)
    with pack.host() as host:
        old = host.call("a.pid")
        with pytest.raises(Unavailable):
            host.call("b.abort")
        until(lambda: old not in {each.pid for each in host.workers})
        assert len({host.call(f"{each}.pid") for each in "abc"} - {old}) == 1


def test_one_that_stops_leaves_the_others_running(pack):
    pack.plugin("a")
    pack.plugin("b")
    with pack.host() as host:
        pid = host.call("a.pid")
        host.stop_plugin("a")
        with pytest.raises(Unavailable):
            host.call("a.pid")
        assert host.call("b.pid") == pid
        host.start_plugin("a")
        assert host.call("a.pid") == pid


def test_one_that_was_unloaded_and_comes_back_lives_elsewhere(pack):
    """Its old code is still in the process where it was."""
    pack.plugin("a")
    pack.plugin("b")
    with pack.host() as host:
        file = pack.folder / "jackfield.toml"
        pid, whole = host.call("a.pid"), file.read_text()
        file.write_text(pack.tables[0])
        assert host.apply(file).changes
        assert host.call("a.pid") == pid
        file.write_text(whole)
        assert host.apply(file).changes
        assert host.call("b.pid") != pid
        assert host.call("a.pid") == pid


def test_one_that_cannot_be_imported_harms_no_other(pack):
    pack.plugin("a")
    pack.plugin("b", "raise RuntimeError('no')\n")
    pack.plugin("c")
    with pack.host() as host:
        assert {fault.plugin for fault in host.faults} == {"b"}
        assert host.call("a.pid") == host.call("c.pid")


@pytest.mark.parametrize(
    "hangs", ["while True: pass", "import time; time.sleep(600)", "import threading as t; t.Event().wait()"]
)
def test_one_whose_import_hangs_harms_no_other(pack, hangs):
    pack.plugin("a")
    pack.plugin("b", hangs)
    pack.tables[1] = pack.tables[1].replace("[plugin.worker]", "start_timeout = 0.5\n[plugin.worker]")
    pack.plugin("c")
    with pack.host() as host:
        (fault,) = host.faults
        assert (fault.plugin, fault.stage) == ("b", "import")
        assert "longer than 0.5 s" in fault.reason
        assert host.call("a.pid") == host.call("c.pid")


def test_one_whose_import_hangs_ends_no_call_of_those_that_run(pack):
    pack.plugin("a")
    with pack.host() as host:
        pid, file = host.call("a.pid"), pack.folder / "jackfield.toml"
        pack.plugin("b", "while True: pass")
        pack.tables[1] = pack.tables[1].replace("[plugin.worker]", "start_timeout = 0.5\n[plugin.worker]")
        pack.plugin("c")
        file.write_text("\n".join((pack.tables[0], pack.tables[2])))
        assert host.apply(file).changes
        file.write_text("\n".join(pack.tables))
        host.apply(file)
        assert [(fault.plugin, "longer than 0.5 s" in fault.reason) for fault in host.faults] == [("b", True)]
        assert [host.call(f"{each}.pid") for each in "ac"] == [pid, pid]


def test_one_that_was_unloaded_and_is_gone_harms_no_other(pack):
    """What lives in a process keeps its number there, whoever else is missing when all are imported anew."""
    for each in "abc":
        pack.plugin(each)
    with pack.host() as host:
        file = pack.folder / "jackfield.toml"
        file.write_text("\n".join((pack.tables[0], pack.tables[2])))
        assert host.apply(file).changes
        pack.module("b", "raise RuntimeError('no')\n")
        (worker,) = host.workers
        parent = Path(f"/proc/{worker.pid}/stat").read_text("ascii").rpartition(")")[2].split()[1]
        os.kill(int(parent), signal.SIGKILL)
        until(lambda: worker.pid not in {each.pid for each in host.workers})
        assert [host.call(f"{each}.whose") for each in "ac"] == ["a", "c"]


def test_one_whose_start_fails_harms_no_other(pack):
    pack.plugin("a")
    pack.plugin("b", CODE + "\n\nclass Plugin:\n    def start(self):\n        raise RuntimeError('no')\n")
    pack.tables[1] = pack.tables[1].replace("jf_pack.b", "jf_pack.b:Plugin")
    pack.plugin("c")
    with pack.host() as host:
        with pytest.raises(Unavailable):
            host.call("b.pid")
        assert host.call("a.pid") == host.call("c.pid")


def test_those_of_one_requirement_share_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = "import os\n\ndef pid() -> int:\n    return os.getpid()\n\ndef version() -> str:\n    return VERSION\n"
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", "demo-two", version, code=code, entries="")
    file = tmp_path / "jackfield.toml"
    tables = [f'[environments]\nfind_links = ["{tmp_path / "wheels"}"]\noffline = true\n']
    for name, version in (("a", "1.0"), ("b", "1.0"), ("c", "2.0")):
        functions = f'{{ "{name}.pid" = "demo_two:pid", "{name}.version" = "demo_two:version" }}'
        source = f'path = "demo-two=={version}"\nexecutor = "worker"\nfunctions = {functions}'
        tables.append(f'[[plugin]]\nname = "{name}"\n{source}\n[plugin.worker]\nshare = true\nmax = 1\n')
    file.write_text("\n".join(tables))
    with Host.from_config(file, observers=()) as host:
        assert host.faults == ()
        assert host.call("a.pid") == host.call("b.pid") != host.call("c.pid")
        assert [host.call(f"{each}.version") for each in "abc"] == ["1.0", "1.0", "2.0"]
        old = host.call("a.pid")
        os.kill(old, signal.SIGKILL)
        until(lambda: old not in {each.pid for each in host.workers})
        assert host.call("a.pid") == host.call("b.pid")
        file.write_text("\n".join((tables[0], tables[2], tables[3])))  # the first goes, and the environment stays
        assert host.apply(file).changes
        assert [host.call(f"{each}.version") for each in "bc"] == ["1.0", "2.0"]


def test_those_of_low_priority_share_too(pack):
    pack.plugin("a")
    pack.plugin("b")
    with pack.host("[tenants.slow]\npriority = 'low'\n") as host:
        assert host.call("a.pid", tenant="slow") == host.call("b.pid", tenant="slow") != host.call("a.pid")


def test_many_are_warm_in_few_processes(pack):
    names = [f"m{number}" for number in range(60)]
    for each in names:
        pack.plugin(each)
    with pack.host() as host:
        assert len({host.call(f"{each}.pid") for each in names}) == 1
        (worker,) = host.workers
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda: worker.pid not in {each.pid for each in host.workers})
        assert [host.call(f"{each}.whose") for each in names[::7]] == names[::7]
