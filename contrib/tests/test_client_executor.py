"""The executor `remote`: functions of this host that run on another one."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from time import monotonic

import attrs
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import KINDS, open_door

from jackfield import Host, Rejected, Spans, current_call
from jackfield.config import ExecutorSettings
from jackfield.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    PayloadError,
    Unavailable,
)
from jackfield.ports import ExecutorStats
from jackfield.testing import executors as suite
from jackfield.testing import no_leaks
from jackfield.testing.executors import ExecutorSuite
from jackfield_contrib.client.executor import RemoteExecutor

NAMES = ("echo", "crash", "hold", "describe")


class TestRemote(ExecutorSuite):
    """Every executor does this."""

    kind = "http"

    def make(self):
        """Make the other host, too: it has the same functions, where they run as anywhere."""
        self.elsewhere = Host(observers=())
        self.elsewhere.start()
        for colour in ("sync", "async"):
            for name in NAMES:
                target = getattr(suite, name if colour == "sync" else f"a{name}")
                plain = type(target)(target.__code__, target.__globals__, target.__name__)  # without the mark
                plain.__annotations__ = target.__annotations__
                self.elsewhere.register(f"{colour}.{name}", plain)
        self.door = open_door(self.elsewhere, self.kind)
        return RemoteExecutor(ExecutorSettings(suite.NAME, "remote", self.door.__enter__().address))

    def end(self, executor):
        """End both."""
        executor.close()
        self.door.__exit__(None, None, None)
        self.elsewhere.stop()

    def test_the_function_sees_its_call(self):
        """Headers and the time that is left; whom it is for the key says."""
        with self._host() as (host, _):
            for colour in self._colours(host):
                seen = host.call(f"{colour}.describe", timeout=60.0, tenant="t", headers={"x-suite": "h"})
                assert (seen["tenant"], seen["header"]) == (None, "h")
                assert 0.0 < seen["left"] <= 60.0
                assert len(seen["id"]) == 32


class TestRemoteOverGrpc(TestRemote):
    """By whichever door."""

    kind = "grpc"


# --- Two hosts in this process ----------------------------------------------------------------------------------------


@attrs.frozen
class Page:
    text: str
    number: int = 1


def read(page: Page) -> Page:
    return Page(page.text.upper(), page.number + 1)


def seen() -> dict:
    call = current_call()
    return {"headers": dict(call.headers), "tenant": call.tenant}


def refuse() -> None:
    raise Rejected("no", code="refused", details={"n": 1})


def busy() -> None:
    raise ValueError("the password is swordfish")


PLUGIN = """
import attrs
from jackfield import Rejected, current_call

@attrs.frozen
class Page:
    text: str
    number: int = 1

def read(page: Page) -> Page:
    raise RuntimeError("this never runs here")

def seen() -> dict: ...
def refuse() -> None: ...
def busy() -> None: ...
async def wait(seconds: float) -> float: ...
def only_here(text: str) -> str: ...
"""
FUNCTIONS = ["read", "seen", "refuse", "busy", "wait", "only_here"]


def file_of(folder, url, plugin=PLUGIN, more="", functions=FUNCTIONS):
    """Write the configuration of a host whose plugin runs on another."""
    (folder / "ocr.py").write_text(plugin)
    file = folder / "jackfield.toml"
    table = "\n".join(f'"ocr.{name}" = "{name}"' for name in functions)
    file.write_text(
        f'[executors.gpu]\nkind = "remote"\nurl = "{url}"\n{more}\n'
        f'[[plugin]]\nname = "ocr"\npath = "./ocr.py"\nexecutor = "gpu"\n[plugin.functions]\n{table}\n'
    )
    return file


def until(condition):
    """Wait for something that must come about."""
    end = monotonic() + 20
    while not condition():
        assert monotonic() < end
        threading.Event().wait(0.01)


@pytest.fixture
def other():
    with no_leaks(), Host(observers=()) as host:
        for function in (read, seen, refuse, busy):
            host.register(f"ocr.{function.__name__}", function)

        async def wait(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        host.register("ocr.wait", wait)
        yield host
        gc.collect()  # grpcio leaves cycles, and a thread as long as they live


@pytest.fixture(params=KINDS)
def kind(request):
    """What is spoken: everything is the same."""
    return request.param


@pytest.fixture
def host(other, kind, tmp_path):
    with open_door(other, kind) as door, Host.from_config(file_of(tmp_path, door.address), observers=()) as made:
        yield made


def test_a_function_runs_there_and_its_callers_need_not_know(host):
    """By threads and loops; without types a class is plain data, and a handle makes it one of its own."""
    assert host.call("ocr.read", {"text": "a"}) == {"text": "A", "number": 2}
    assert asyncio.run(host.acall("ocr.read", Page("b", 7))) == {"text": "B", "number": 8}
    handle = host.function("ocr.read", Page, Page)
    assert handle(Page("c")) == asyncio.run(handle.acall(Page("c"))) == Page("C", 2)
    assert host.executors["gpu"].enqueued >= 4


def test_what_goes_wrong_there_goes_wrong_here(host):
    """With the same classes."""
    with pytest.raises(Rejected) as refused:
        host.call("ocr.refuse")
    assert (refused.value.code, refused.value.details) == ("refused", {"n": 1})
    with pytest.raises(PayloadError, match=r"\$\.number"):
        host.call("ocr.read", {"text": "a", "number": "x"})
    with pytest.raises(PayloadError, match="another host"):
        host.call("ocr.read", object())
    with pytest.raises(FunctionCrashed) as crashed:
        host.call("ocr.busy")
    assert (crashed.value.error_type, "swordfish" in repr(crashed.value)) == ("ValueError", False)
    with pytest.raises(Unavailable, match=r"has no function 'ocr\.only_here'") as missing:
        host.call("ocr.only_here", "a")
    assert (missing.value.what, missing.value.cause, missing.value.ran) == ("executor gpu", "blocked", False)


def test_the_time_of_a_call_holds_there_and_who_leaves_cancels_it(host):
    """A deadline is one on both hosts."""
    with pytest.raises(DeadlineExceeded):
        host.call("ocr.wait", 600.0, timeout=0.2)

    async def leave():
        task = asyncio.ensure_future(host.acall("ocr.wait", 600.0))
        await asyncio.to_thread(until, lambda: host.executors["gpu"].busy)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(leave())
    until(lambda: not host.executors["gpu"].busy)


def test_headers_go_along_but_not_what_is_about_this_host(host):
    """Neither a version of its own, nor credentials."""
    sent = {"x-colour": "red", "x-version": "0", "Authorization": "Bearer mine", "cookie": "a=b", "x-odd": "ä"}
    found = host.call("ocr.seen", headers=sent, tenant="t-1")
    assert found["headers"].get("x-colour") == "red"
    assert not {"x-version", "authorization", "cookie", "x-odd"} & found["headers"].keys()
    assert found["tenant"] is None


def test_the_trace_goes_on_there(kind, tmp_path):
    """One trace: the span there is a child of the one here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Host(observers=[Spans(provider)]) as there:
        there.register("ocr.read", read)
        with open_door(there, kind) as door:
            file = file_of(tmp_path, door.address, functions=["read"])
            with Host.from_config(file, observers=[Spans(provider)]) as host:
                assert host.call("ocr.read", {"text": "a"})["text"] == "A"
    here, elsewhere = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time)
    assert here.context.trace_id == elsewhere.context.trace_id
    assert elsewhere.parent.span_id == here.context.span_id


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (PLUGIN.replace("-> Page:", "-> str:"), "does not give what it gives here"),
        (PLUGIN.replace("number: int = 1", "number: str = ''"), "does not take what it takes here"),
    ],
)
def test_another_contract_is_refused_at_registration(other, kind, tmp_path, plugin, reason):
    """By the schemas: what one host takes and gives the other one must."""
    with open_door(other, kind) as door:
        file = file_of(tmp_path, door.address, plugin, functions=["read"])
        with Host.from_config(file, observers=()) as host:
            assert "ocr.read" not in host.snapshot.functions
            assert any(reason in fault.reason for fault in host.faults)


def test_a_host_that_is_away_keeps_nobody_from_starting_and_is_compared_when_it_comes(tmp_path, socket_path):
    """Until then its functions are `Unavailable`, and have not run."""
    good = file_of(tmp_path, f"http+unix://{socket_path}", functions=["read"])
    with Host.from_config(good, observers=()) as host:
        with pytest.raises(Unavailable) as away:
            host.call("ocr.read", {"text": "a"}, timeout=20.0)
        assert (away.value.what, away.value.cause, away.value.ran) == ("executor gpu", "unreachable", False)
        with Host(observers=()) as there:
            there.register("ocr.read", lambda page: "other")
            there.register("ocr.read", read, version="2")
            with open_door(there, uds=str(socket_path)):
                # What nobody has annotated takes and gives anything.
                assert host.call("ocr.read", {"text": "a"}, timeout=20.0) == "other"
    bad = file_of(tmp_path, f"http+unix://{socket_path}", PLUGIN.replace("-> Page:", "-> str:"), functions=["read"])
    with Host.from_config(bad, observers=()) as host, Host(observers=()) as there:
        there.register("ocr.read", read)
        with open_door(there, uds=str(socket_path)):
            with pytest.raises(Unavailable, match="does not give what it gives here") as differs:
                host.call("ocr.read", {"text": "a"}, timeout=20.0)
            assert (differs.value.cause, differs.value.ran) == ("blocked", False)


def test_a_host_is_started_again_with_its_executors(host):
    """Connections are made anew."""
    assert host.call("ocr.read", {"text": "a"})["text"] == "A"
    host.stop()
    host.start()
    assert host.call("ocr.read", {"text": "b"})["text"] == "B"


def test_an_executor_of_the_embedder_comes_first(other, tmp_path):
    """So that a test can put another in its place."""

    class Fake:
        injects = True

        def refusal(self, spec):
            return ""

        def bind(self, spec, local):
            class Bound:
                def run(self, call):
                    return "fake"

                async def arun(self, call):
                    return "fake"

                def close(self):
                    pass

            return Bound()

        def stats(self):
            return ExecutorStats()

    file = file_of(tmp_path, "http://127.0.0.1:9", functions=["read"])
    with Host.from_config(file, observers=(), executors={"gpu": Fake()}) as host:
        assert host.call("ocr.read", {"text": "a"}) == "fake"


# --- The key ----------------------------------------------------------------------------------------------------------


def test_a_key_is_sent_and_may_not_be_read_on_its_way(tmp_path, monkeypatch):
    """What may not be sent makes the functions unavailable, with what to write."""
    monkeypatch.setenv("GPU_KEY", "s3cr3t")
    file = file_of(tmp_path, "http://gpu-1.example:9", more='key = "env:GPU_KEY"', functions=["read"])
    with Host.from_config(file, observers=()) as host, pytest.raises(Unavailable, match="https://") as caught:
        host.call("ocr.read", {"text": "a"})
    assert "s3cr3t" not in repr(caught.value)


# --- Two processes ----------------------------------------------------------------------------------------------------

SERVED = """
import asyncio
from jackfield import function

@function(idempotent=True)
async def wait(seconds: float) -> str:
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return "done"

def double(number: int) -> int:
    return 2 * number
"""


def place(kind, path):
    """Give a URL, and the door that is there."""
    if kind == "http":
        return f"http+unix://{path}", f'[doors.http]\nuds = "{path}"\n'
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"grpc://127.0.0.1:{port}", f"[doors.grpc]\nport = {port}\n"


def serving(folder, door):
    """Run a host with a door in a process of its own; give it once it listens."""
    (folder / "there.py").write_text(SERVED)
    (folder / "there.toml").write_text(
        f'[[plugin]]\nname = "far"\npath = "./there.py"\n[plugin.functions]\n"far.wait" = "wait"\n'
        f'"far.double" = "double"\n{door}'
    )
    command = [sys.executable, "-m", "jackfield", "serve", str(folder / "there.toml"), "--control", str(folder / "c")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("serving "):
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            return process
    raise AssertionError("".join(lines))


def _drain(stream):
    with stream:
        stream.read()


def end(process):
    """Kill a process that was started here."""
    process.kill()
    process.wait(60)
    process.stdout.close()


@pytest.mark.slow
def test_a_host_that_is_killed_is_away_and_back_when_it_runs_again(tmp_path, kind, socket_path):
    """What was under way may have run; what comes while it is away has not; then it is as before."""
    here = tmp_path / "here"
    here.mkdir()
    plugin = "async def wait(seconds: float) -> str: ...\ndef double(number: int) -> int: ...\n"
    url, door = place(kind, socket_path)
    file = file_of(here, url, plugin, functions=["wait", "double"])
    file.write_text(file.read_text().replace('"ocr.', '"far.'))
    process = serving(tmp_path, door)
    try:
        with Host.from_config(file, observers=()) as host:
            assert host.call("far.double", 21, timeout=60.0) == 42
            caught = []

            def work():
                with pytest.raises(Unavailable) as lost:
                    host.call("far.wait", 600.0, timeout=120.0)
                caught.append((lost.value.cause, lost.value.ran))

            thread = threading.Thread(target=work)
            thread.start()
            assert process.stdout.readline() == "begun\n"
            assert process.pid > 1
            os.kill(process.pid, signal.SIGKILL)
            thread.join(60)
            assert caught == [("unreachable", None)]
            end(process)
            with pytest.raises(Unavailable) as away:
                host.call("far.double", 21, timeout=60.0)
            assert (away.value.cause, away.value.ran) == ("unreachable", False)
            process = serving(tmp_path, door)
            assert host.call("far.double", 4, timeout=60.0) == 8
            assert asyncio.run(host.acall("far.double", 5, timeout=60.0)) == 10
    finally:
        end(process)
