"""A plugin in workers is the plugin that it is in the host: same code, same callers, same `except` clauses."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from jackfield import (
    Cancelled,
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    Host,
    PayloadError,
    Rejected,
    Unavailable,
    WorkerState,
)
from support.apart import Traces, below, host_of, until, why_not, zombies
from support.installed import site
from support.wheels import wheel

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

CODE = """
import asyncio, os, time
from decimal import Decimal
from jackfield import Caller, Logger, Rejected, current_call, function, inject, remaining


def add(a: int, b: int) -> int:
    return a + b

async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b

def pid() -> int:
    return os.getpid()

async def apid() -> int:
    return os.getpid()

def refuse() -> None:
    raise Rejected("not today", code="closed", details={"until": [1, "monday"]})

async def arefuse() -> None:
    raise Rejected("not today", code="closed", details={"until": [1, "monday"]})

def refuse_oddly() -> None:
    raise Rejected("not today", code="closed", details={"of": 2j, "until": 2**70, "name": "a\\ud800"})

def deeper() -> None:
    raise LookupError("nothing there")

def crash() -> None:
    deeper()

async def acrash() -> None:
    deeper()

def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"

async def anap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"

def about() -> dict[str, object]:
    call, left = current_call(), remaining()
    return {
        "id": call.id, "tenant": call.tenant, "headers": dict(call.headers), "version": call.version,
        "name": call.name, "left": left,
    }

async def aabout() -> dict[str, object]:
    return about()

def nested(name: str, payload: object, caller: Caller = inject()) -> object:
    return caller.call(name, payload)

async def anested(name: str, payload: object, caller: Caller = inject()) -> object:
    return await caller.acall(name, payload)

for each in list(globals().values()):
    if callable(each) and getattr(each, "__module__", "") == __name__ and each is not deeper:
        function(each)
"""

SYNC = ["add", "pid", "refuse", "crash", "nap", "about", "nested"]
NAMES = [*SYNC, *(f"a{each}" for each in SYNC), "refuse_oddly"]

KINDS = ["file", "folder", "module", "distribution", "target", "requirement"]


@pytest.fixture(scope="module", params=KINDS)
def host(request, tmp_path_factory):
    """One host for each way in which a plugin can be there."""
    folder = tmp_path_factory.mktemp(request.param)
    further = ""
    code = textwrap.dedent(CODE)
    entries = "[jackfield.functions]\n" + "".join(f"plug.{each} = jf_plug:{each}\n" for each in NAMES)
    packages = folder / ("vendored" if request.param == "target" else "site-packages")  # as by `pip install --target`
    packages.mkdir()
    with site(packages) as install:
        if request.param == "file":
            (folder / "plug.py").write_text(code)
            path = "./plug.py"
        elif request.param == "folder":
            (folder / "plug").mkdir()
            (folder / "plug" / "__init__.py").write_text(code)
            path = "./plug"
        elif request.param == "module":
            (packages / "jf_module.py").write_text(code)
            path = "jf_module"
        elif request.param in ("distribution", "target"):
            install("plug", code, [("jackfield.functions", f"plug.{each}", each) for each in NAMES])
            path = "jf-plug"
        else:
            wheel(folder / "wheels", "jf-plug", "1.2", requires=["jackfield>=0"], code=code, entries=entries)
            path = "jf-plug==1.2"
            further = f'[environments]\nfind_links = ["{folder / "wheels"}"]\noffline = true\n'
        config = folder / "jackfield.toml"
        config.write_text(f'[[plugin]]\nname = "plug"\npath = "{path}"\nexecutor = "worker"\n{further}')
        made = Host.from_config(config, observers=())
        assert made.faults == ()
        made.register("host.greet", _greet)
        with made:
            yield made


@pytest.fixture(params=["call", "acall", "handle"])
def ask(request, host):
    """Ask a function of the plugin for something, in one of three ways."""

    def asked(name, *arguments, **options):
        if request.param == "call":
            return host.call(f"plug.{name}", *arguments, **options)
        if request.param == "acall":
            return asyncio.run(host.acall(f"plug.{name}", *arguments, **options))
        return host.function(f"plug.{name}", Any, Any)(*(arguments or (None,)), **options)

    return asked


COLOURS = pytest.mark.parametrize("colour", ["", "a"], ids=["sync", "async"])


@COLOURS
def test_results_come_from_another_process(ask, colour):
    assert ask(f"{colour}add", {"a": 1, "b": 2}) == 3
    assert ask(f"{colour}pid") != os.getpid()


@COLOURS
def test_a_payload_that_does_not_fit_is_a_payload_error(ask, colour):
    with pytest.raises(PayloadError) as caught:
        ask(f"{colour}add", {"a": "x", "b": 2})
    assert (caught.value.function, caught.value.path, caught.value.expected) == (f"plug.{colour}add", "$.a", "int")


@COLOURS
def test_a_refusal_has_its_code_and_details(ask, colour):
    with pytest.raises(Rejected) as caught:
        ask(f"{colour}refuse")
    assert (caught.value.message, caught.value.code) == ("not today", "closed")
    assert caught.value.details == {"until": [1, "monday"]}


def test_a_refusal_is_one_though_its_details_have_no_form(ask):
    with pytest.raises(Rejected) as caught:
        ask("refuse_oddly")
    assert (caught.value.message, caught.value.code) == ("not today", "closed")
    assert caught.value.details == {"of": "2j", "until": str(2**70), "name": "a\\ud800"}


@COLOURS
def test_a_crash_has_its_type_and_the_stack_over_there_without_the_channels_frames(ask, colour):
    with pytest.raises(FunctionCrashed) as caught:
        ask(f"{colour}crash")
    error = caught.value
    assert error.error_type.endswith("LookupError")
    stack = str(error.remote_stack)
    assert stack.splitlines()[-1].endswith("deeper")
    assert f"{colour}crash" in stack
    assert "nothing there" in str(error)
    assert "jackfield/workers" not in stack


@COLOURS
def test_a_deadline_holds(ask, colour):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        ask(f"{colour}nap", 60.0, timeout=0.2)
    assert time.monotonic() - began < 30.0  # not the function's own sixty
    assert ask(f"{colour}nap", 0.0, timeout=20.0) == "rested"


@COLOURS
def test_the_call_is_known_over_there(ask, colour):
    found = ask(f"{colour}about", tenant="acme", headers={"x-mine": "1"}, timeout=20.0)
    assert (found["tenant"], found["headers"]["x-mine"], found["name"]) == ("acme", "1", f"plug.{colour}about")
    assert 0.0 < found["left"] <= 20.0
    assert ask(f"{colour}about")["id"] != found["id"]


@COLOURS
def test_its_own_functions_can_be_called_and_others_only_with_a_grant(host, ask, colour):
    assert ask(f"{colour}nested", {"name": "plug.add", "payload": {"a": 2, "b": 3}}) == 5
    assert (
        ask(f"{colour}nested", {"name": "plug.anested", "payload": {"name": "plug.aadd", "payload": {"a": 1, "b": 1}}})
        == 2
    )
    with pytest.raises(FunctionCrashed) as caught:
        ask(f"{colour}nested", {"name": "host.greet", "payload": None})
    assert caught.value.error_type == "jackfield.PermissionDenied"
    assert 'allow = ["calls:host.greet"]' in caught.value.message


def _greet() -> str:
    return "hello"


@COLOURS
def test_many_at_once_get_each_their_own(host, colour):
    async def main():
        calls = (host.acall(f"plug.{colour}add", {"a": each, "b": 0}) for each in range(100))
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == list(range(100))


@COLOURS
def test_a_task_that_is_cancelled_leaves(host, colour):
    async def main():
        task = asyncio.create_task(host.acall(f"plug.{colour}nap", 60.0, timeout=2.0))
        await asyncio.to_thread(until, lambda: any(each.state is WorkerState.BUSY for each in host.workers))
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Cancelled)):
            await task

    asyncio.run(main())
    assert host.call(f"plug.{colour}add", {"a": 1, "b": 1}, timeout=20.0) == 2


# --- Injection and host services -------------------------------------------------------------------------------------

SERVICES = """
import os, time
from collections.abc import Iterator
from jackfield import Background, Config, Logger, function, inject, provides

CLOSED = []

class Pool:
    made = 0
    def __init__(self):
        type(self).made += 1

@provides
def pool() -> Pool:
    return Pool()

class Session:
    pass

@provides(scope="request")
def session() -> Iterator[Session]:
    yield Session()
    CLOSED.append(1)

@function
def made(pool: Pool = inject()) -> int:
    return pool.made

@function
def used(session: Session = inject()) -> int:
    return len(CLOSED)

@function
def option(config: Config = inject()) -> str:
    return config["greeting"]

@function
def secret(config: Config = inject()) -> str:
    return config["key"].reveal()

@function
def shown(config: Config = inject()) -> str:
    return repr(config["key"])

TICKS = []

def tick() -> None:
    TICKS.append(1)

@function
def begin(background: Background = inject()) -> None:
    background.spawn(tick)

@function
def ticked() -> int:
    return len(TICKS)

@function
def log(log: Logger = inject()) -> None:
    log.info("over here {}", n=1)
    print("to stdout")
    os.write(2, b"to stderr\\n")
"""


@pytest.fixture
def services(tmp_path, monkeypatch):
    monkeypatch.setenv("APART_KEY", "s3cret")
    lines = '[plugin.options]\ngreeting = "hello"\nkey = "env:APART_KEY"'
    with host_of(tmp_path, plug=(SERVICES, lines)) as host:
        assert host.faults == ()
        yield host


def test_providers_live_in_the_worker(services):
    assert [services.call("plug.made") for _ in range(3)] == [1, 1, 1]
    assert [services.call("plug.used") for _ in range(3)] == [0, 1, 2]


def test_options_and_the_secrets_that_they_name_are_there(services):
    assert services.call("plug.option") == "hello"
    assert services.call("plug.secret") == "s3cret"
    assert "s3cret" not in services.call("plug.shown")


def test_what_it_logs_and_writes_arrives_in_the_hosts_log_with_its_call(services):
    got = []
    sink = logger.add(lambda message: got.append(message.record), level="DEBUG")
    try:
        services.call("plug.log", tenant="acme")
        found = until(lambda: len([each for each in got if "plugin plug: to std" in each["message"]]) == 2)
    finally:
        logger.remove(sink)
    assert found
    said = next(each for each in got if "over here" in each["message"])
    assert (said["extra"]["plugin"], said["extra"]["func_name"], said["extra"]["tenant"]) == (
        "plug",
        "plug.log",
        "acme",
    )
    assert said["function"] == "log"


def test_work_in_the_background_goes_on_between_calls(services):
    services.call("plug.begin", timeout=20.0)
    assert until(lambda: services.call("plug.ticked", timeout=20.0) > 0)


def test_a_dependency_that_nobody_provides_is_a_fault_at_start_with_the_key_and_the_fix(tmp_path):
    code = """
    from jackfield import function, inject

    class Ledger:
        pass

    @function
    def f(ledger: Ledger = inject()) -> int:
        return 1

    @function
    def ok() -> int:
        return 1
    """
    host = host_of(tmp_path, plug=code)
    with host:
        (fault,) = host.faults
        assert "Ledger" in fault.reason
        assert fault.fix
        assert host.call("plug.ok") == 1


# --- The plugin object -----------------------------------------------------------------------------------------------

COUNTER = """
from pathlib import Path
from jackfield import function

class Counter:
    def __init__(self):
        self.count, self.started = 0, False

    def start(self):
        self.started = True

    def stop(self):
        print("stopped")

    def health(self):
        return self.started

    def snapshot(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]

    @function
    def up(self) -> int:
        self.count += 1
        return self.count
"""


def test_a_plugin_object_starts_counts_and_hands_over(tmp_path):
    traces = Traces()
    with host_of(tmp_path, plug=(COUNTER, "worker = { max = 1 }", ":Counter")) as host:
        assert host.faults == ()
        assert [host.call("plug.up") for _ in range(3)] == [1, 2, 3]
        (tmp_path / "plug.py").write_text(textwrap.dedent(COUNTER).replace("+= 1", "+= 10"))
        host.reload("plug")
        assert host.call("plug.up") == 13
        traces.look()
    assert traces.gone()


STARTS = {
    "raises": "raise OSError('no database')",
    "hangs": "import time; time.sleep(600)",
    "exits": "import os; os._exit(3)",
}


@pytest.mark.parametrize("how", STARTS)
def test_a_start_that_goes_wrong_is_told_and_leaves_nothing(how, tmp_path):
    head = "from jackfield import function\n\nclass Plugin:\n    def start(self):\n"
    code = f"{head}        {STARTS[how]}\n\n    @function\n    def ok(self) -> int:\n        return 1\n"
    good = "from jackfield import function\n\n@function\ndef ok() -> int:\n    return 1\n"
    traces = Traces()
    with host_of(tmp_path, good=good, plug=(code, "start_timeout = 1.5", ":Plugin")) as host:
        assert host.call("good.ok") == 1
        with pytest.raises(Unavailable):
            host.call("plug.ok", timeout=5.0)
        traces.look()
    assert traces.gone()


# --- The life of a host ----------------------------------------------------------------------------------------------

GOOD = "import os\nfrom jackfield import function\n\n@function\ndef pid() -> int:\n    return os.getpid()\n"


def test_a_host_starts_again_with_new_workers(tmp_path):
    traces = Traces()
    host = host_of(tmp_path, plug=GOOD)
    found = set()
    for _ in range(3):
        with host:
            found.add(host.call("plug.pid"))
            traces.look()
    assert len(found) == 3
    assert traces.gone()


def test_two_hosts_have_each_their_own_workers(tmp_path):
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
    with host_of(tmp_path / "one", plug=GOOD) as one, host_of(tmp_path / "two", plug=GOOD) as two:
        assert one.call("plug.pid") != two.call("plug.pid")
        one.stop()
        assert two.call("plug.pid") > 0


def test_a_plugin_that_is_unloaded_leaves_no_process(tmp_path):
    traces = Traces()
    with host_of(tmp_path, plug=GOOD, other=GOOD) as host:
        pid = host.call("plug.pid")
        host.unload("plug")
        assert until(lambda: pid not in below())
        assert host.call("other.pid") > 0
        assert not zombies()
        traces.look()
    assert traces.gone()


@pytest.mark.parametrize("way", [Host.call, lambda host, name: asyncio.run(host.acall(name))], ids=["call", "acall"])
def test_a_worker_that_is_killed_is_replaced(tmp_path, way):
    """Whoever is handed it meanwhile gets another: what it never had cannot have run."""
    with host_of(tmp_path, plug=GOOD) as host:
        for _ in range(20):
            pid = host.call("plug.pid")
            assert pid > 1
            os.kill(pid, 9)
            assert until(lambda pid=pid: pid not in below())
            assert way(host, "plug.pid") != pid


def test_a_process_that_dies_without_stopping_takes_its_workers_along(tmp_path):
    host_of(tmp_path, plug=GOOD)
    code = (
        "import os\nfrom jackfield import Host\n"
        f"host = Host.from_config({str(tmp_path / 'jackfield.toml')!r}, observers=())\n"
        "host.start()\nprint(host.call('plug.pid'), flush=True)\nos._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 9, done.stderr
    pid = int(done.stdout)
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_threads_of_the_host_share_its_workers(tmp_path):
    with host_of(tmp_path, plug=GOOD) as host:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(host.call("plug.pid", timeout=20.0))) for _ in range(30)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(found) == 30
        assert len(set(found)) <= 2


def _run(folder, code):
    """Run a program of an embedder, with a host of one plugin; give what it prints."""
    host_of(folder, plug=GOOD)
    head = (
        "import gc, os, sys\nfrom jackfield import Host\n"
        f"host = Host.from_config({str(folder / 'jackfield.toml')!r}, observers=())\n"
    )
    program = [sys.executable, "-c", head + textwrap.dedent(code)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_host_that_is_dropped_without_a_stop_leaves_no_process(tmp_path):
    printed = _run(tmp_path, "host.start()\nprint(host.call('plug.pid'), flush=True)\ndel host\ngc.collect()\n")
    pid = int(printed)
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_host_that_was_stopped_is_collected(tmp_path):
    """What it brought apart knows it, and nothing of the process knows that."""
    code = """
    import time, weakref
    with host:
        host.call('plug.pid', timeout=20.0)
    seen = weakref.ref(host)
    del host
    ends = time.monotonic() + 30.0
    while seen() is not None and time.monotonic() < ends:
        gc.collect()
    print(seen() is None)
    """
    assert _run(tmp_path, code) == "True\n"


def test_a_host_that_is_dropped_before_its_start_leaves_no_process_and_no_zombie(tmp_path):
    """It has imported its plugin, in a process."""
    traces = Traces()
    host = host_of(tmp_path, plug=GOOD)
    assert host.plugins["plug"].version
    traces.look()
    del host
    gc.collect()
    assert traces.gone()


def test_a_fork_of_the_embedder_does_not_end_the_workers_of_its_parent(tmp_path):
    code = """
    host.start()
    before = host.call('plug.pid')
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(before == host.call('plug.pid', timeout=20.0))
    host.stop()
    """
    assert _run(tmp_path, code) == "True\n"


def test_apply_adds_changes_and_removes_plugins_in_workers(tmp_path):
    traces = Traces()
    with host_of(tmp_path, plug=GOOD) as host:
        first = host.call("plug.pid")
        (tmp_path / "other.py").write_text(GOOD)
        config = tmp_path / "jackfield.toml"
        kept = config.read_text()
        config.write_text(kept + kept.replace('"plug"', '"other"').replace("plug.py", "other.py"))
        host.apply(config)
        assert host.call("other.pid", timeout=20.0) != first
        traces.look()
        config.write_text(kept)
        host.apply(config)
        assert host.call("plug.pid", timeout=20.0) > 0
        with pytest.raises(FunctionNotFound):
            host.call("other.pid")
        traces.look()
    assert traces.gone()
