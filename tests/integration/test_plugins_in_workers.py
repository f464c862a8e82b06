"""Plugins with `executor = "worker"`: their code, their callers and their `except` clauses are what they were."""

import asyncio
import datetime as dt
import decimal
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from loguru import logger

from jackfield import (
    DeadlineExceeded,
    FunctionCrashed,
    Host,
    PayloadError,
    PluginState,
    Rejected,
    ResourceExhausted,
    Unavailable,
)
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe
from jackfield.workers import nursery
from jackfield.workers.arena import LARGE, LARGEST

pytestmark = pytest.mark.skipif(not probe(Tier.SELF).available, reason=probe(Tier.SELF).reason or "-")

SHOP = """
import asyncio, datetime, decimal, os, sys, time
import attrs
from jackfield import Background, Caller, Config, Logger, Rejected, current_call, function, inject, provides, remaining

@attrs.define
class Loan:
    amount: int
    months: int = 12

class Database:
    made = 0

@provides
def database() -> Database:
    Database.made += 1
    return Database()

@function
def pid() -> int:
    return os.getpid()

@function
def add(a: int, b: int = 1) -> int:
    return a + b

@function
async def aadd(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b

@function
def plain(loan: Loan) -> dict:
    return {"rate": decimal.Decimal("1.5"), "on": datetime.date(2026, 11, 26), "raw": b"x", "big": 2**80, "loan": loan}

@function
def crash() -> None:
    raise ValueError("boom")

@function
async def acrash() -> None:
    raise ValueError("boom")

@function
def refuse() -> None:
    raise Rejected("too early", code="early", details={"at": 9})

@function
def spin(seconds: float) -> str:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass
    return "spun"

@function
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"

@function
def about() -> list:
    call = current_call()
    return [call.id, call.tenant, dict(call.headers), call.version, remaining()]

@function
def uses(db: Database = inject(), config: Config = inject(), log: Logger = inject()) -> list:
    log.info("used", table="loans")
    print("printed")
    return [Database.made, config["currency"]]

@function
def logs(log: Logger = inject()) -> int:
    log.info("a {b} {", total=decimal.Decimal("1.5"), day=datetime.date(2026, 1, 1))
    log.info("x" * (17 << 20), much="y" * (17 << 20))
    return 1

@function
def asks(caller: Caller = inject()) -> int:
    return len(caller.call("big.make"))

@function
def outer(a: int, caller: Caller = inject()) -> int:
    return caller.call("shop.add", {"a": a})

@function
async def aouter(a: int, caller: Caller = inject()) -> int:
    return await caller.acall("shop.aadd", {"a": a})

@function
def elsewhere(caller: Caller = inject()) -> str:
    return caller.call("text.shout", "x")

@function
def odd() -> object:
    return object()

@function
def large(size: int) -> bytes:
    return b"x" * size

@function
def same(data: object) -> object:
    return data

@function
async def asame(data: object) -> object:
    await asyncio.sleep(0)
    return data

@function
def passes(data: object, caller: Caller = inject()) -> object:
    return caller.call("text.same", data)

@function
async def apasses(data: object, caller: Caller = inject()) -> object:
    return await caller.acall("text.same", data)

@function
def reads(path: str) -> str:
    with open(path) as file:
        return file.read()

@function
def forks() -> int:
    return os.fork()

@function
def leaves(code: int) -> None:
    os._exit(code)

@function
def segfault() -> None:
    import ctypes
    ctypes.string_at(0)

@function
def garbage() -> None:
    for descriptor in range(3, 40):
        try:
            os.write(descriptor, bytes([255]) * 100)
        except OSError:
            pass
    time.sleep(10)

@function
def closes() -> None:
    os.closerange(0, 100)

@function
def fills() -> int:
    for _ in range(20_000):
        print("x" * 200)
    return 1

@function
def threads() -> int:
    import threading
    started = 0
    try:
        for _ in range(5_000):
            threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    return started

@function
def stubborn() -> None:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""

CONFIG = """
[[plugin]]
name = "shop"
path = "./shop.py"
executor = "worker"
[plugin.options]
currency = "EUR"
[plugin.worker]
allow = ["calls:big.*", "calls:text.same"]
[[plugin]]
name = "other"
path = "./other.py"
executor = "worker"
"""

OTHER = "from jackfield import function\n@function\ndef ok() -> str:\n    return 'ok'\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A configuration with two plugins in workers."""
    made = tmp_path_factory.mktemp("apart")
    (made / "shop.py").write_text(SHOP)
    (made / "other.py").write_text(OTHER)
    (made / "jackfield.toml").write_text(CONFIG)
    return made


@pytest.fixture(scope="module")
def host(folder):
    """A host that runs them."""
    with Host.from_config(folder / "jackfield.toml", observers=()) as made:
        made.register("text.shout", str.upper)
        made.register("text.same", lambda data: data)
        made.register("big.make", lambda: b"x" * (LARGEST + 1))
        assert made.faults == ()
        yield made


def sync(host, name, payload=None, **options):
    """Call from a thread."""
    return host.call(name, payload, **options)


def awaited(host, name, payload=None, **options):
    """Call from an event loop."""
    return asyncio.run(host.acall(name, payload, **options))


@pytest.fixture(params=[sync, awaited])
def call(request, host):
    """Each way to call."""
    return lambda name, payload=None, **options: request.param(host, name, payload, **options)


class TestWhatCallersSee:
    @pytest.mark.parametrize("name", ["shop.add", "shop.aadd"])
    def test_a_result(self, call, name):
        assert call(name, {"a": 1, "b": 2}) == 3
        assert call(name, {"a": 1}) == 2

    def test_it_runs_in_another_process(self, call):
        assert call("shop.pid") != os.getpid()

    def test_plain_data_stays_what_it_is(self, call):
        assert call("shop.plain", {"amount": 3}) == {
            "rate": decimal.Decimal("1.5"),
            "on": dt.date(2026, 11, 26),
            "raw": b"x",
            "big": 2**80,
            "loan": {"amount": 3, "months": 12},
        }

    @pytest.mark.parametrize("name", ["shop.add", "shop.aadd"])
    def test_a_payload_that_does_not_fit(self, call, name):
        with pytest.raises(PayloadError) as caught:
            call(name, {"a": "one"})
        assert (caught.value.function, caught.value.path, caught.value.expected) == (name, "$.a", "int")

    @pytest.mark.parametrize("name", ["shop.crash", "shop.acrash"])
    def test_a_crash(self, call, name):
        with pytest.raises(FunctionCrashed) as caught:
            call(name)
        error = caught.value
        assert (error.function, error.error_type, error.message, error.plugin) == (name, "ValueError", "boom", "shop")
        assert "shop.py" in error.remote_stack
        assert "runtime.py" not in error.remote_stack

    def test_a_refusal(self, call):
        with pytest.raises(Rejected) as caught:
            call("shop.refuse")
        assert (caught.value.message, caught.value.code, caught.value.details) == ("too early", "early", {"at": 9})

    def test_what_has_no_form_is_a_crash(self, call):
        with pytest.raises(FunctionCrashed, match="no form"):
            call("shop.odd")

    def test_a_result_that_is_too_large_is_a_crash_and_costs_no_worker(self, call):
        before = call("shop.pid")
        with pytest.raises(FunctionCrashed, match="bytes"):
            call("shop.large", LARGEST + 1)
        assert call("shop.pid") == before

    @pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 1_000_000, 20 << 20])
    @pytest.mark.parametrize("kind", [bytes, str, list])
    @pytest.mark.parametrize("name", ["shop.same", "shop.asame"])
    def test_what_is_large_goes_to_and_fro(self, call, name, kind, size):
        data = {bytes: b"x" * size, str: "x" * size, list: ["x" * 999] * (size // 1_000)}[kind]
        for _ in range(3):
            assert call(name, data) == data

    @pytest.mark.parametrize("size", [1_000_000, 20 << 20])
    @pytest.mark.parametrize("name", ["shop.passes", "shop.apasses"])
    def test_what_is_large_goes_to_a_nested_call_and_comes_back(self, call, name, size):
        data = b"x" * size
        for _ in range(3):
            assert call(name, data) == data

    def test_what_is_large_goes_to_and_fro_many_at_once(self, host):
        data = [bytes([number]) * 1_000_000 for number in range(50)]

        async def all_of_them():
            return await asyncio.gather(*(host.acall("shop.asame", each, timeout=60.0) for each in data))

        for _ in range(3):
            assert asyncio.run(all_of_them()) == data

    def test_more_than_there_is_room_for_at_once_is_refused_and_costs_nothing(self, host):
        data = bytes(LARGEST // 4)

        async def all_of_them():
            calls = (host.acall("shop.asame", data, timeout=60.0) for _ in range(6))
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = asyncio.run(all_of_them())
        assert any(each == data for each in answers)
        assert all(each == data or isinstance(each, ResourceExhausted) for each in answers)
        assert host.call("shop.same", data) == data

    def test_a_payload_that_is_too_large(self, call):
        with pytest.raises(PayloadError, match="bytes"):
            call("shop.add", {"a": b"x" * LARGEST})
        assert call("shop.add", {"a": 1}) == 2


class TestDeadlines:
    @pytest.mark.parametrize("name", ["shop.spin", "shop.nap", "shop.stubborn"])
    def test_the_caller_is_free_on_time_and_the_plugin_serves_on(self, call, name):
        payload = None if name == "shop.stubborn" else 30.0
        with pytest.raises(DeadlineExceeded):
            call(name, payload, timeout=0.3)
        assert call("shop.add", {"a": 1}, timeout=20.0) == 2

    def test_a_worker_that_goes_on_is_killed(self, call):
        with pytest.raises(DeadlineExceeded):
            call("shop.spin", 60.0, timeout=0.3)
        assert until(lambda: not busy())


class TestWhatFunctionsSee:
    def test_the_call(self, call):
        number, tenant, headers, version, left = call("shop.about", tenant="t", headers={"X-Shop": "1"}, timeout=30.0)
        assert (len(number), tenant, headers, version) == (32, "t", {"X-Shop": "1"}, "0")
        assert 0.0 < left <= 30.0

    def test_what_is_injected(self, call):
        assert call("shop.uses") == [1, "EUR"]

    @pytest.mark.parametrize("name", ["shop.outer", "shop.aouter"])
    def test_own_functions_may_be_called(self, call, name):
        assert call(name, 4) == 5

    def test_those_of_others_may_not(self, call):
        with pytest.raises(FunctionCrashed) as caught:
            call("shop.elsewhere")
        assert caught.value.error_type.endswith("PermissionDenied")
        assert 'allow = ["calls:text.shout"]' in caught.value.message

    def test_what_it_logs_is_logged_as_it_was_said(self, call):
        """Braces, decimals and dates are what they were, and nothing that is logged is too long for it."""
        said = []
        sink = logger.add(lambda message: said.append(message.record), level="INFO")
        try:
            assert call("shop.logs") == 1
        finally:
            logger.remove(sink)
        first, long = (record for record in said if record["extra"].get("plugin") == "shop")
        assert first["message"] == "a {b} {"
        assert first["extra"]["total"] == decimal.Decimal("1.5")
        assert first["extra"]["day"] == dt.date(2026, 1, 1)
        assert first["extra"]["func_name"] == "shop.logs"
        assert len(long["message"]) < 20_000

    def test_an_answer_that_is_too_large_is_told_at_once(self, call):
        before = call("shop.pid")
        with pytest.raises(FunctionCrashed, match="bytes"):
            call("shop.asks", timeout=30.0)
        assert call("shop.pid") == before


class TestTogether:
    def test_async_functions_share_a_worker(self, host):
        async def many():
            began = time.monotonic()
            found = await asyncio.gather(*(host.acall("shop.nap", 0.2) for _ in range(50)))
            return found, time.monotonic() - began

        found, _ = asyncio.run(many())
        assert found == ["rested"] * 50

    def test_from_many_threads(self, host):
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(lambda a: host.call("shop.add", {"a": a}), range(500)))
        assert found == [a + 1 for a in range(500)]

    def test_from_threads_and_loops_at_once(self, host):
        async def some():
            return await asyncio.gather(*(host.acall("shop.aadd", {"a": a}) for a in range(100)))

        with ThreadPoolExecutor(6) as threads:
            loops = [threads.submit(asyncio.run, some()) for _ in range(3)]
            calls = [threads.submit(host.call, "shop.aadd", {"a": a}) for a in range(100)]
            assert [each.result() for each in calls] == [a + 1 for a in range(100)]
            assert all(each.result() == [a + 1 for a in range(100)] for each in loops)


class TestHarm:
    """Whatever a plugin does, the host and the others serve on, and so does it."""

    @pytest.mark.parametrize(
        ("name", "payload", "cause"),
        [
            ("shop.segfault", None, "crashed"),
            ("shop.leaves", 0, "crashed"),
            ("shop.leaves", 7, "crashed"),
            ("shop.garbage", None, "protocol"),
            ("shop.closes", None, "crashed"),
        ],
    )
    def test_a_worker_that_dies(self, host, call, name, payload, cause):
        with pytest.raises(Unavailable) as caught:
            call(name, payload, timeout=20.0)
        assert (caught.value.cause, caught.value.ran) == (cause, True)
        assert call("shop.add", {"a": 1}, timeout=20.0) == 2
        assert host.call("other.ok") == "ok"
        assert host.plugins["shop"].state is PluginState.RUNNING

    @pytest.mark.parametrize("path", ["/etc/passwd", "~/.ssh/id_rsa", "jackfield.toml", "/proc/self/environ"])
    def test_it_reads_nothing_of_others(self, call, folder, path):
        with pytest.raises(FunctionCrashed, match=r"PermissionError|FileNotFoundError"):
            call("shop.reads", str(folder / path) if path.endswith("toml") else str(Path(path).expanduser()))

    def test_it_does_not_fork(self, call):
        with pytest.raises(FunctionCrashed, match="PermissionError"):
            call("shop.forks")

    def test_output_is_drained(self, call):
        assert call("shop.fills", timeout=60.0) == 1

    def test_threads_are_its_own_trouble(self, call, host):
        with suppress(FunctionCrashed, Unavailable):
            assert call("shop.threads", timeout=60.0) > 0
        assert host.call("other.ok", timeout=20.0) == "ok"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time\ntime.sleep(60)", "took longer"),
        ("raise ValueError('boom')", "ValueError"),
        ("import os\nos._exit(3)", "has ended"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("import os, time\nfor _ in range(20):\n    os.fork() or time.sleep(60)\ntime.sleep(60)", "took longer"),
        ("def (:", "SyntaxError"),
    ],
    ids=["hangs", "raises", "leaves", "exits", "forks", "is no Python"],
)
def test_a_module_that_cannot_be_imported_fails_alone(tmp_path, code, reason):
    before = len(below())
    (tmp_path / "bad.py").write_text(code)
    (tmp_path / "other.py").write_text(OTHER)
    (tmp_path / "jackfield.toml").write_text(
        '[[plugin]]\nname = "bad"\npath = "./bad.py"\nexecutor = "worker"\nstart_timeout = 3.0\n'
        "[plugin.worker]\npids = 64\n"
        '[[plugin]]\nname = "other"\npath = "./other.py"\nexecutor = "worker"\n'
    )
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("other.ok", timeout=20.0) == "ok"
        assert host.plugins["bad"].state is PluginState.FAILED
    assert any(fault.plugin == "bad" and re.search(reason, str(fault)) for fault in host.faults)
    assert until(lambda: len(below()) <= before)


def test_a_plugin_that_starts_threads_when_it_is_imported_runs(tmp_path):
    (tmp_path / "busy.py").write_text(
        "import threading, time\nfrom jackfield import function\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "@function\ndef ok() -> str:\n    return 'ok'\n"
    )
    (tmp_path / "jackfield.toml").write_text('[[plugin]]\nname = "busy"\npath = "./busy.py"\nexecutor = "worker"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("busy.ok") == "ok"


def test_a_plugin_object_lives_in_its_worker(tmp_path):
    """Each step of its life is taken there; its state outlives a restart of the plugin."""
    before = len(below())
    (tmp_path / "till.py").write_text(
        "from jackfield import function\n"
        "class Till:\n"
        "    def start(self): self.total = getattr(self, 'total', 0)\n"
        "    def restore(self, state): self.total = state['total']\n"
        "    def snapshot(self): return {'total': self.total}\n"
        "    def health(self): return True\n"
        "    @function\n"
        "    def take(self, amount: int) -> int:\n"
        "        self.total += amount\n"
        "        return self.total\n"
    )
    (tmp_path / "jackfield.toml").write_text(
        '[[plugin]]\nname = "till"\npath = "./till.py:Till"\nexecutor = "worker"\n[plugin.worker]\nmax = 1\n'
    )
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert [host.call("till.take", 2) for _ in range(3)] == [2, 4, 6]
        host.stop_plugin("till")
        with pytest.raises(Unavailable):
            host.call("till.take", 2)
        host.start_plugin("till")
        assert host.call("till.take", 1) == 7
    assert until(lambda: len(below()) <= before)


def test_a_requirement_that_cannot_be_had_is_the_fault_of_its_plugin(tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "jackfield.toml").write_text(
        '[environments]\nfind_links = ["./wheels"]\noffline = true\n'
        '[[plugin]]\nname = "ocr"\npath = "nothing-of-that-name==1.0"\nexecutor = "worker"\n'
    )
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        (fault,) = host.faults
        assert (fault.plugin, fault.stage) == ("ocr", "environment")
        assert host.plugins["ocr"].state is PluginState.FAILED


def test_many_plugins_start_together_in_each_life_of_a_host(tmp_path, monkeypatch):
    """They wait for one another then; whatever they wait at is of the event loop of that life."""
    monkeypatch.setattr(nursery, "AT_ONCE", 1)
    config = ""
    for number in range(4):
        (tmp_path / f"p{number}.py").write_text(OTHER)
        config += f'[[plugin]]\nname = "p{number}"\npath = "./p{number}.py"\nexecutor = "worker"\n'
    (tmp_path / "jackfield.toml").write_text(config)
    host = Host.from_config(tmp_path / "jackfield.toml", observers=())
    for _ in range(3):
        with host:
            assert [host.call(f"p{number}.ok") for number in range(4)] == ["ok"] * 4


def test_a_host_that_stops_leaves_no_process_and_can_start_again(folder):
    before = len(below())
    host = Host.from_config(folder / "jackfield.toml", observers=())
    for _ in range(2):
        with host:
            assert host.call("other.ok") == "ok"
    assert until(lambda: len(below()) <= before)


def below(pid: int | None = None) -> list[int]:
    """Give the processes that descend from this one."""
    pid = os.getpid() if pid is None else pid
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            for child in map(int, children):
                found += [child, *below(child)]
    return found


def busy() -> bool:
    """Whether a worker uses the processor."""
    before = {pid: _ticks(pid) for pid in below()}
    time.sleep(0.2)
    return any(_ticks(pid) > ticks + 5 for pid, ticks in before.items())


def _ticks(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    return 0


def until(condition, seconds: float = 20.0) -> bool:
    """Wait for a condition."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        threading.Event().wait(0.05)
    return True


def test_a_module_beside_others_is_imported_there(tmp_path, monkeypatch):
    """As in an editable install: it may be read, and what lies beside it is not even listed."""
    (tmp_path / "beside.txt").write_text("a secret")
    (tmp_path / "lonely_module").mkdir()
    (tmp_path / "lonely_module/__init__.py").write_text(
        "import os\nfrom jackfield import function\n\n@function\ndef listed(path: str) -> list[str]:\n"
        "    from lonely_module import later\n    return later.listed(path)\n"
    )
    (tmp_path / "lonely_module/later.py").write_text("import os\n\ndef listed(path):\n    return os.listdir(path)\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "jackfield.toml"
    config.write_text('[[plugin]]\nname = "lonely"\npath = "lonely_module"\nexecutor = "worker"\n')
    with Host.from_config(config, observers=()) as host:
        assert host.faults == ()
        assert "later.py" in host.call("lonely.listed", str(tmp_path / "lonely_module"))
        with pytest.raises(FunctionCrashed, match="Permission"):
            host.call("lonely.listed", str(tmp_path))
