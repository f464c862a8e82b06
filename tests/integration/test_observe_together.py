"""The three observers together, with real threads, files, pipes, terminals and processes."""

import asyncio
import io
import json
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from loguru import logger as loguru
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition, parser

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.series import KEPT, SCRAPES
from jackfield.observe.spans import Spans
from jackfield.testing import FakeClock

THREADS, CALLS = 8, 500


def spec(name="risk.score"):
    return FunctionSpec(name, "1.4", "risk", "", str.lower, Colour.SYNC)


def start(bound, call):
    return [each.start(call) for each in bound]


def finish(bound, states, call, outcome=Outcome.OK, error=None):
    for each, state in reversed(list(zip(bound, states, strict=True))):
        each.finish(state, call, outcome, error, 0.001)


def observe(bound, call, inside=lambda: None):
    states = start(bound, call)
    inside()
    finish(bound, states, call)


@pytest.fixture
def traced():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_span_exemplar_and_record_of_a_call_name_one_trace(traced):
    """From a slow bucket to the trace to the log line: all three join."""
    provider, exporter = traced
    registry, stream = CollectorRegistry(), io.StringIO()
    observers = (Spans(provider), Metrics(registry), Logs(stream))
    observe([each.bind(spec()) for each in observers], Call("risk.score"))
    (span,) = exporter.get_finished_spans()
    record = json.loads(stream.getvalue())
    text = exposition.generate_latest(registry).decode()
    samples = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]
    (exemplar,) = [sample.exemplar.labels for sample in samples if sample.exemplar]
    ids = {"trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}"}
    assert exemplar == ids
    assert {key: record[key] for key in ids} == ids


def test_threads_lose_no_count_and_mix_no_line(traced, tmp_path):
    """Eight threads at once: every call is counted once, and every line of the file is a whole record."""
    provider, exporter = traced
    registry = CollectorRegistry()
    path = tmp_path / "calls.jsonl"
    with path.open("w") as stream:
        observers = (Spans(provider), Metrics(registry), Logs(stream))
        bound = [each.bind(spec()) for each in observers]
        barrier = threading.Barrier(THREADS)

        def work(thread):
            barrier.wait()
            for _ in range(CALLS):
                observe(bound, Call("risk.score", tenant=f"t-{thread}" * 50))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
    labels = {"function": "risk.score", "version": "1.4"}
    assert registry.get_sample_value("jackfield_calls_total", {**labels, "outcome": "ok"}) == THREADS * CALLS
    assert registry.get_sample_value("jackfield_call_duration_seconds_count", labels) == THREADS * CALLS
    assert registry.get_sample_value("jackfield_calls_in_flight", labels) == 0
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == THREADS * CALLS
    spans = exporter.get_finished_spans()
    assert {record["span_id"] for record in records} == {f"{span.context.span_id:016x}" for span in spans}
    assert all(span.parent is None for span in spans)


def test_functions_come_and_go_while_others_scrape(traced):
    """Binding, calling, closing and scraping at once break nothing, lose no call, and leave nothing after a while."""
    registry, clock = CollectorRegistry(), FakeClock()
    metrics = Metrics(registry, clock=clock)
    done = threading.Event()

    def labels(number):
        return {"function": f"f.{number}", "version": "1.4"}

    def scrape():
        while not done.is_set():
            exposition.generate_latest(registry)

    def work(number):
        for turn in range(50):
            bound = [metrics.bind(spec(f"f.{(number + turn) % 3}"))]
            observe(bound, Call("f"))
            bound[0].close()

    scraper = threading.Thread(target=scrape)
    scraper.start()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    done.set()
    scraper.join()
    values = [registry.get_sample_value("jackfield_call_duration_seconds_count", labels(n)) for n in range(3)]
    assert sum(values) == 50 * THREADS
    for _ in range(SCRAPES + 1):
        text = exposition.generate_latest(registry).decode()
        clock.advance(KEPT)
    assert "f.0" not in text


def test_a_body_in_another_thread_is_below_the_span(traced):
    """The context is copied to the thread; the nested call is a child, and the caller's context is left as it was."""
    provider, exporter = traced
    bound = [Spans(provider).bind(spec())]
    with ThreadPoolExecutor(1) as pool:
        observe(
            bound,
            Call("outer"),
            inside=lambda: pool.submit(copy_context().run, observe, bound, Call("inner")).result(),
        )
    inner, outer = exporter.get_finished_spans()
    assert inner.parent == outer.context
    assert not trace.get_current_span().get_span_context().is_valid


def test_calls_that_interleave_on_one_loop_keep_their_traces_apart(traced):
    """Tasks have contexts of their own: each nested call is the child of its own task's call."""
    provider, exporter = traced
    bound = [Spans(provider).bind(spec())]

    async def call(gate, nested):
        outer = Call("outer")
        states = start(bound, outer)
        await gate.wait()
        observe(bound, nested)
        finish(bound, states, outer)
        return outer

    async def main():
        gate = asyncio.Event()
        pairs = [Call("inner") for _ in range(20)]
        tasks = [asyncio.create_task(call(gate, nested)) for nested in pairs]
        await asyncio.sleep(0)
        gate.set()
        return list(zip(await asyncio.gather(*tasks), pairs, strict=True))

    parents = {}
    for outer, inner in asyncio.run(main()):
        parents[inner.trace.span_id] = outer.trace.span_id
    spans = exporter.get_finished_spans()
    assert {span.context.span_id: span.parent.span_id for span in spans if span.parent} == parents


def run(code, **environment):
    return subprocess.run(  # our own interpreter
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


PRELUDE = """
from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logs import Logs
from jackfield.observe.spans import Spans
from jackfield.testing import FakeClock
spec = FunctionSpec("risk.score", "1.4", "risk", "", str.lower, Colour.SYNC)
def observe(bound):
    call = Call("risk.score")
    state = bound.start(call)
    bound.finish(state, call, Outcome.OK, None, 0.1)
    return call
"""


def test_a_global_provider_that_is_set_later_is_used():
    """Functions registered before the process configures tracing are traced from then on; jackfield sets nothing."""
    done = run(
        PRELUDE
        + """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
bound = Spans().bind(spec)
assert observe(bound).trace is None
assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
call = observe(bound)
assert [span.context for span in exporter.get_finished_spans()] == [call.trace]
assert trace.get_tracer_provider() is provider
"""
    )
    assert done.returncode == 0, done.stderr


def test_a_process_without_tracing_does_not_wait_for_the_sdk():
    """The SDK is imported by whoever sets it up, not by an observer that has nothing to do."""
    done = run(PRELUDE + "import sys; observe(Spans().bind(spec)); assert 'opentelemetry.sdk.trace' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_does_not_stop_the_calls():
    """A closed pipe is reported once; the process goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    reports = []
    number = loguru.add(lambda message: reports.append(str(message)))
    stream = os.fdopen(writer, "w")
    try:
        bound = [Logs(stream).bind(spec())]
        for _ in range(10):
            observe(bound, Call("risk.score"))
    finally:
        loguru.remove(number)
        with pytest.raises(BrokenPipeError):
            stream.close()
    assert len(reports) == 1
    assert "BrokenPipeError" in reports[0]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110  # a device, not a path of ours
def test_a_full_disk_does_not_stop_the_calls():
    """What cannot be written is reported once."""
    reports = []
    number = loguru.add(lambda message: reports.append(str(message)))
    stream = open("/dev/full", "w")  # noqa: PTH123, SIM115  # closing it fails, as it should
    try:
        bound = [Logs(stream).bind(spec())]
        for _ in range(10):
            observe(bound, Call("risk.score"))
    finally:
        loguru.remove(number)
        with pytest.raises(OSError, match="No space left"):
            stream.close()
    assert len(reports) == 1


def test_a_real_terminal_gets_a_readable_line(monkeypatch):
    """`isatty` of a real terminal decides."""
    pty = pytest.importorskip("pty")
    monkeypatch.delenv("NO_COLOR", raising=False)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream, os.fdopen(leader, "rb", buffering=0) as screen:
        observe([Logs(stream).bind(spec())], Call("risk.score"))
        text = screen.read(4_096).decode()
    assert "risk.score@1.4 ok after 1 ms" in text
    assert "\x1b[32mINFO" in text


def test_a_record_is_on_its_way_before_the_next_call():
    """Each line is flushed, so that what a killed process did can be read."""
    done = run(
        PRELUDE
        + """
import os, sys
observe(Logs(sys.stdout).bind(spec))
os._exit(9)
"""
    )
    assert done.returncode == 9
    assert json.loads(done.stdout)["outcome"] == "ok"
