"""Calls of plugins with `[plugin.retry]` are tried again, within their deadline, wherever their functions run."""

import asyncio
import io
import json
import textwrap
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from tests.support.in_workers import PATIENCE, needs_workers, until

from jackfield import FunctionCrashed, Host, Logs, Metrics, Rejected, Spans, Unavailable

CODE = """
import asyncio, contextvars, os
from jackfield import Rejected, current_call, function, inject, provides

seen, made, var = [], [], contextvars.ContextVar("var", default="fresh")

def tried(until: int):
    call = current_call()
    seen.append((call.id, call.attempt, call.tenant, call.headers.get("h"), call.version, call.deadline, var.get()))
    var.set("stale")
    if call.attempt < until:
        raise OSError("not yet")
    return call.attempt

class Session:
    pass

@provides(scope="request")
def session() -> Session:
    made.append(Session())
    return made[-1]

@function(idempotent=True)
def plain(until: int, session: Session = inject()) -> int:
    return tried(until)

@function(idempotent=True, executor="thread")
def thread(until: int) -> int:
    return tried(until)

@function(idempotent=True, executor="inline")
def inline(until: int) -> int:
    return tried(until)

@function(idempotent=True)
async def coroutine(until: int) -> int:
    await asyncio.sleep(0)
    return tried(until)

@function
def once(until: int) -> int:
    return tried(until)

@function(idempotent=True)
def refuses() -> None:
    seen.append(current_call().attempt)
    raise Rejected("no")

@function(idempotent=True)
def dies(until: int) -> int:
    if current_call().attempt < until:
        os._exit(3)
    return current_call().attempt

@function
def dies_anyhow() -> int:
    os._exit(3)
"""
RETRY = "[plugin.retry]\nattempts = 4\nbackoff = 0.001\n"


def written(folder, more=RETRY):
    (folder / "apart.py").write_text(textwrap.dedent(CODE), "utf-8")
    file = folder / "jackfield.toml"
    file.write_text(f'[[plugin]]\nname = "apart"\npath = "./apart.py"\n{more}', "utf-8")
    return file


@pytest.fixture
def host(tmp_path):
    with Host.from_config(written(tmp_path), observers=()) as host:
        yield host


def module(host, name="plain"):
    return host.describe(f"apart.{name}").target.__globals__


NAMES = ["plain", "thread", "inline", "coroutine"]


@pytest.mark.parametrize("name", NAMES)
def test_a_call_is_tried_until_it_succeeds(host, name):
    """In place, in a thread, on the event loop; from a thread and from a loop."""
    assert host.call(f"apart.{name}", 3) == 3
    assert asyncio.run(host.acall(f"apart.{name}", 4)) == 4


def test_on_the_home_loop(tmp_path):
    """Where async functions run beside their caller."""

    async def main():
        async with Host.from_config(written(tmp_path), observers=()) as host:
            return [await host.acall(f"apart.{name}", 3) for name in NAMES]

    assert asyncio.run(main()) == [3] * 4


@pytest.mark.parametrize("name", NAMES)
def test_the_last_error_escapes_and_says_how_often_it_was_tried(host, name):
    """As a note: the error is the same as without a second try."""
    for call in (host.call, lambda *args: asyncio.run(host.acall(*args))):
        with pytest.raises(FunctionCrashed, match="not yet") as caught:
            call(f"apart.{name}", 9)
        assert caught.value.__notes__ == [f"apart.{name} was tried 4 times, of 4"]
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("name", NAMES)
def test_all_attempts_are_one_call(host, name):
    """Its id, tenant, headers, version and deadline; and none sees what an earlier one has set."""
    for call in (host.call, lambda *args, **more: asyncio.run(host.acall(*args, **more))):
        seen = module(host)["seen"]
        seen.clear()
        call(f"apart.{name}", 3, timeout=PATIENCE, tenant="t", headers={"h": "x"})
        assert [attempt for _, attempt, *_ in seen] == [1, 2, 3]
        ((_, tenant, header, _, deadline, var),) = {(one[0], *one[2:]) for one in seen}
        assert (tenant, header, var) == ("t", "x", "fresh")
        assert deadline is not None


def test_each_attempt_is_injected_anew(host):
    """A session that has broken is not used again."""
    host.call("apart.plain", 3)
    assert len(module(host)["made"]) == 3


def test_what_may_have_run_and_is_not_idempotent_is_tried_once(host):
    """Its error says nothing of attempts."""
    with pytest.raises(FunctionCrashed) as caught:
        host.call("apart.once", 2)
    assert len(module(host)["seen"]) == 1
    assert not hasattr(caught.value, "__notes__")


def test_a_refusal_is_final(host):
    """However idempotent."""
    with pytest.raises(Rejected):
        host.call("apart.refuses")
    assert module(host)["seen"] == [1]


def test_without_the_table_there_is_one_attempt(tmp_path):
    """As ever."""
    with Host.from_config(written(tmp_path, ""), observers=()) as host:
        with pytest.raises(FunctionCrashed):
            host.call("apart.plain", 2)
        assert len(module(host)["seen"]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_attempt_begins_that_the_deadline_leaves_no_time_for(tmp_path, name):
    """The function's own error comes, at once, and not that of the deadline."""
    with Host.from_config(written(tmp_path, "[plugin.retry]\nbackoff = 3600.0\n"), observers=()) as host:
        for call in (host.call, lambda *args, **more: asyncio.run(host.acall(*args, **more))):
            with pytest.raises(FunctionCrashed):
                call(f"apart.{name}", 2, timeout=3000.0)


@pytest.mark.parametrize("name", NAMES)
def test_stopping_the_host_ends_a_pause(tmp_path, name):
    """The call gets the error of its last attempt."""
    host = Host.from_config(written(tmp_path, "[plugin.retry]\nbackoff = 3600.0\n"), observers=())
    caught = []

    def call(how):
        try:
            how(f"apart.{name}", 2)
        except FunctionCrashed as error:
            caught.append(error)

    with host:
        ways = (host.call, lambda *args: asyncio.run(host.acall(*args)))
        threads = [threading.Thread(target=call, args=(how,)) for how in ways]
        for thread in threads:
            thread.start()
        until(lambda: len(module(host)["seen"]) == 2)
    for thread in threads:
        thread.join(PATIENCE)
    assert len(caught) == 2


@pytest.mark.parametrize("name", ["plain", "thread", "coroutine"])
def test_a_call_ends_in_the_version_that_it_began_in(tmp_path, name):
    """A swap in the middle of its pause waits for it, as for any call."""
    with Host.from_config(written(tmp_path, "[plugin.retry]\nbackoff = 0.3\n"), observers=()) as host:
        before, results = module(host, name), []
        calling = threading.Thread(target=lambda: results.append(host.call(f"apart.{name}", 2, headers={"h": "x"})))
        calling.start()
        until(lambda: before["seen"])
        (tmp_path / "apart.py").write_text(f"{textwrap.dedent(CODE)}\nNEW = True\n", "utf-8")
        host.reload("apart")
        calling.join(PATIENCE)
        assert results == [2]
        assert len(before["seen"]) == 2
        assert "NEW" in module(host, name)


def test_a_sync_call_on_an_event_loop_has_one_attempt(host):
    """A pause would block the loop."""

    async def main():
        with pytest.raises(FunctionCrashed):
            host.call("apart.plain", 2)

    asyncio.run(main())
    assert len(module(host)["seen"]) == 1


def test_cancelling_a_caller_ends_its_pause(tmp_path):
    """At once."""

    async def main():
        file = written(tmp_path, "[plugin.retry]\nbackoff = 3600.0\n")
        async with Host.from_config(file, observers=()) as host:
            task = asyncio.ensure_future(host.acall("apart.coroutine", 2))
            await asyncio.to_thread(until, lambda: module(host)["seen"])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not host.calls

    asyncio.run(main())


def test_what_observers_see_of_attempts(tmp_path):
    """One span, one count, one record of the call; and of each further attempt an event, a count and a record."""
    registry, lines, exporter = CollectorRegistry(), io.StringIO(), InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    observers = [Spans(tracing), Metrics(registry), Logs(lines)]
    with Host.from_config(written(tmp_path), observers=observers) as host:
        host.call("apart.plain", 3)
        asyncio.run(host.acall("apart.coroutine", 1))
        labels = {"function": "apart.plain", "version": "0"}
        assert registry.get_sample_value("jackfield_call_retries_total", labels) == 2
        assert registry.get_sample_value("jackfield_calls_total", {**labels, "outcome": "ok"}) == 1
        assert registry.get_sample_value("jackfield_calls_total", {**labels, "outcome": "crashed"}) == 0
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    told = [(one["event"], one["level"], one["outcome"], one.get("attempt")) for one in records]
    assert told == [
        ("retry", "WARNING", "crashed", 1),
        ("retry", "WARNING", "crashed", 2),
        ("call", "INFO", "ok", 3),
        ("call", "INFO", "ok", None),
    ]
    assert len({one["trace_id"] for one in records[:3]}) == 1
    tried, plain = exporter.get_finished_spans()
    assert [(event.name, event.attributes["jackfield.attempt"]) for event in tried.events] == [
        ("jackfield.retry", 1),
        ("jackfield.retry", 2),
    ]
    assert (tried.attributes["jackfield.attempt"], tried.attributes["jackfield.outcome"]) == (3, "ok")
    assert not plain.events
    assert "jackfield.attempt" not in plain.attributes


def test_an_observer_that_fails_over_a_retry_is_left_out(tmp_path):
    """The call goes on without it."""

    class Bad:
        def bind(self, _):
            return self

        def start(self, _):
            return None

        def finish(self, *_):
            pass

        def close(self):
            pass

        def retried(self, *_):
            raise RuntimeError("boom")

    with Host.from_config(written(tmp_path), observers=[Bad()]) as host:
        assert host.call("apart.plain", 3) == 3


@needs_workers
@pytest.mark.slow
def test_in_workers(tmp_path):
    """A crash of a function, and one of its worker; what is not idempotent and may have run is left alone."""
    with Host.from_config(written(tmp_path, f'executor = "worker"\n{RETRY}'), observers=()) as host:
        assert host.call("apart.plain", 3, timeout=PATIENCE) == 3
        assert asyncio.run(host.acall("apart.coroutine", 3, timeout=PATIENCE)) == 3
        assert host.call("apart.dies", 2, timeout=PATIENCE) == 2
        assert asyncio.run(host.acall("apart.dies", 2, timeout=PATIENCE)) == 2
        with pytest.raises(Unavailable) as caught:
            host.call("apart.dies_anyhow", timeout=PATIENCE)
        assert caught.value.ran
        assert not hasattr(caught.value, "__notes__")
