"""Spans that a plugin makes in a worker are spans of the host's trace; what a hostile one says of them is not."""

import asyncio
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from jackfield import DeadlineExceeded, FunctionCrashed, Host, Unavailable
from jackfield.log import install
from jackfield.observe.spans import Spans
from support.apart import host_of, until, why_not, zombies

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

CODE = """
import sys, threading, time
from jackfield import Caller, function, inject
from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

tracer = trace.get_tracer("my.library", "1.2")

@function
def work() -> int:
    with tracer.start_as_current_span("outer", kind=SpanKind.CLIENT, attributes={"a": 1, "b": ["x", "y"]}) as outer:
        outer.add_event("began", {"n": 2})
        with tracer.start_as_current_span("inner"):
            return 1

@function
async def awork() -> int:
    return work()

@function
def nested(name: str, caller: Caller = inject()) -> object:
    with tracer.start_as_current_span("around"):
        return caller.call(name)

@function
async def anested(name: str, caller: Caller = inject()) -> object:
    with tracer.start_as_current_span("around"):
        return await caller.acall(name)

@function
def fails() -> None:
    with tracer.start_as_current_span("failing"):
        raise LookupError("nothing there")

@function
def odd() -> None:
    span = tracer.start_span("odd\\ud800" * 500, attributes={"big": 1 << 70, "what": object(), "": 1})
    span.set_attribute("text", "x" * 9000)
    span.set_attribute("values", [1, None, "a", object()])
    span.set_attributes({f"key{n}": n for n in range(100)})
    span.add_link(SpanContext(1 << 100, 7, True))
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR, "too late")
    span.end()
    span.set_attribute("late", 1)

@function
def unfinished() -> None:
    with trace.use_span(tracer.start_span("never ended"), end_on_exit=False):
        with tracer.start_as_current_span("ended"):
            pass

@function
def elsewhere() -> None:
    tracer.start_span("of no call", context.Context()).end()
    thread = threading.Thread(target=lambda: tracer.start_span("of a thread").end())
    thread.start()
    thread.join()

@function
def many(count: int) -> None:
    with tracer.start_as_current_span("outer"):
        for _ in range(count):
            with tracer.start_as_current_span("one"):
                with tracer.start_as_current_span("below"):
                    pass

@function
def large() -> None:
    for _ in range(200):
        tracer.start_span("large", attributes={f"k{n}": "x" * 4000 for n in range(32)}).end()

@function
async def late() -> None:
    import asyncio
    with tracer.start_as_current_span("slow"):
        await asyncio.sleep(60)

@function
def current() -> list[int]:
    around = trace.get_current_span().get_span_context()
    return [str(around.trace_id), str(around.span_id)]
"""


class Recorder:
    """A host of one plugin in a worker, whose spans are recorded."""

    def __init__(self, folder, code=CODE, further="", **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": "tests"}), **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        (folder / "guest.py").write_text(code)
        config = folder / "jackfield.toml"
        config.write_text(
            '[[plugin]]\nname = "guest"\npath = "./guest.py"\nexecutor = "worker"\n'
            f'[plugin.worker]\nallow = ["calls:host.*"]\n{further}'
        )
        self.said = []
        self.host = Host.from_config(config, observers=[Spans(self.provider)])
        self.host.register("host.inner", lambda: 3)

    def __enter__(self):
        self._remove = install(self.said.append)
        self.host.start()
        return self

    def __exit__(self, *_):
        self.host.stop()
        self._remove()

    def tree(self):
        """Give each span by its name, and the name of its parent."""
        spans = {span.context.span_id: span for span in self.exporter.get_finished_spans()}
        names = {number: span.name for number, span in spans.items()}
        return sorted((span.name, names.get(span.parent.span_id) if span.parent else None) for span in spans.values())

    def span(self, name):
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found

    def warnings(self):
        return [message.text for message in self.said if message.level == "WARNING"]


def called(host, name, payload=None, *, asynchronous, **options):
    if not asynchronous:
        return host.call(name, payload, **options)
    return asyncio.run(host.acall(name, payload, **options))


@pytest.fixture
def recorder(tmp_path):
    with Recorder(tmp_path) as made:
        yield made


@pytest.mark.parametrize("asynchronous", [False, True], ids=["call", "acall"])
@pytest.mark.parametrize("name", ["work", "awork"])
def test_spans_of_a_worker_are_below_that_of_their_call(recorder, name, asynchronous):
    """Ids, parents, times and what is said are as the plugin made them; trace and resource are the host's."""
    before = time.time_ns()
    assert called(recorder.host, f"guest.{name}", asynchronous=asynchronous) == 1
    own, outer, inner = (recorder.span(each) for each in (f"guest.{name}", "outer", "inner"))
    assert recorder.tree() == [(own.name, None), ("inner", "outer"), ("outer", own.name)]
    assert {span.context.trace_id for span in (own, outer, inner)} == {own.context.trace_id}
    assert outer.parent == own.context
    assert inner.parent == outer.context
    assert before <= own.start_time <= outer.start_time <= inner.start_time
    assert inner.end_time <= outer.end_time <= own.end_time
    assert (outer.kind, inner.kind) == (SpanKind.CLIENT, SpanKind.INTERNAL)
    assert dict(outer.attributes) == {"a": 1, "b": ("x", "y")}
    assert [(event.name, dict(event.attributes)) for event in outer.events] == [("began", {"n": 2})]
    assert outer.resource == own.resource
    assert (outer.instrumentation_scope.name, outer.instrumentation_scope.version) == ("my.library", "1.2")
    assert outer.to_json()
    assert recorder.warnings() == []


@pytest.mark.parametrize("name", ["nested", "anested"])
def test_nested_calls_are_below_the_span_around_them(recorder, name):
    """A call that a plugin makes within a span of its own is a child of that."""
    recorder.host.call(f"guest.{name}", "host.inner")
    assert recorder.tree() == [("around", f"guest.{name}"), (f"guest.{name}", None), ("host.inner", "around")]


def test_what_is_raised_within_a_span_is_recorded(recorder):
    """As OpenTelemetry's API has it: an event, and a status; the span arrives although the call fails."""
    with pytest.raises(FunctionCrashed):
        recorder.host.call("guest.fails")
    span = recorder.span("failing")
    assert span.status.status_code is StatusCode.ERROR
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "LookupError"
    assert "nothing there" in event.attributes["exception.stacktrace"]


def test_what_is_no_plain_value_is_left_out_and_what_is_long_is_cut(recorder):
    """A span never fails by what is said of it; what is said after its end is too late."""
    recorder.host.call("guest.odd")
    (span,) = [each for each in recorder.exporter.get_finished_spans() if each.name.startswith("odd")]
    assert len(span.name) == 200
    assert len(span.attributes) == 32
    assert span.attributes["values"] == (1, "a")
    assert span.attributes["text"] == "x" * 4000
    assert {"big", "what", "", "late"}.isdisjoint(span.attributes)
    assert span.status.status_code is StatusCode.OK
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(1 << 100, 7)]


def test_a_span_that_does_not_end_is_not_sent(recorder):
    """What is below it is joined to what is around it."""
    recorder.host.call("guest.unfinished")
    assert recorder.tree() == [("ended", "guest.unfinished"), ("guest.unfinished", None)]


def test_spans_of_no_call_go_nowhere(recorder):
    """Another trace, or a thread that the context was not given to."""
    recorder.host.call("guest.elsewhere")
    assert recorder.tree() == [("guest.elsewhere", None)]


def test_too_many_spans_are_counted_and_not_kept(recorder):
    """The first ones arrive, joined; that there were more is said once."""
    recorder.host.call("guest.many", 2000, timeout=60.0)
    recorder.host.call("guest.many", 2000, timeout=60.0)
    spans = recorder.exporter.get_finished_spans()
    assert len(spans) == 2 * (1 + 256)
    assert len([each for each in spans if each.name == "outer"]) == 2
    (said,) = recorder.warnings()
    assert "more than one call may have" in said


def test_too_much_that_is_said_of_spans_is_lost(recorder):
    """The spans arrive; of those beyond a megabyte nothing is known but name, time and status."""
    recorder.host.call("guest.large", timeout=60.0)
    spans = [each for each in recorder.exporter.get_finished_spans() if each.name == "large"]
    assert len(spans) == 200
    assert 0 < len([each for each in spans if each.attributes]) < 10
    assert len(recorder.warnings()) == 1


def test_spans_of_a_call_that_was_late_arrive(recorder):
    """A call that nobody waits for any more shows where its time went."""
    with pytest.raises(DeadlineExceeded):
        recorder.host.call("guest.late", timeout=1.0)
    assert until(lambda: ("slow", "guest.late") in recorder.tree())


def test_a_call_that_is_not_sampled_has_no_spans(tmp_path):
    """The plugin's spans are those of its call, or none; the context is there all the same."""
    with Recorder(tmp_path, sampler=ALWAYS_OFF) as recorder:
        assert recorder.host.call("guest.work") == 1
        assert recorder.host.call("guest.current") != ["0", "0"]
        assert recorder.tree() == []
        assert recorder.warnings() == []


def test_a_host_without_tracing_costs_a_plugin_nothing(tmp_path):
    """Without a trace the API does what it does without a provider."""
    with host_of(tmp_path, guest=CODE) as host:
        assert host.call("guest.work") == 1
        assert host.call("guest.current") == ["0", "0"]


def test_a_provider_of_the_plugin_stays(tmp_path):
    """What the plugin itself has set is used; its spans are of the host's trace."""
    code = """
from jackfield import function
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())

@function
def mine() -> list[str]:
    with trace.get_tracer("mine").start_as_current_span("mine") as span:
        return [type(span).__module__, str(span.context.trace_id), str(span.parent.span_id)]
"""
    with Recorder(tmp_path, code) as recorder:
        module, number, parent = recorder.host.call("guest.mine")
        own = recorder.span("guest.mine").context
        assert (module, number, parent) == ("opentelemetry.sdk.trace", str(own.trace_id), str(own.span_id))


def test_a_worker_does_not_import_the_api_by_itself(tmp_path):
    """A plugin that does not trace has none of it."""
    code = """
import sys
from jackfield import function

@function
def imported() -> bool:
    return any(name.startswith("opentelemetry") for name in sys.modules)
"""
    with Recorder(tmp_path, code) as recorder:
        assert recorder.host.call("guest.imported") is False


def test_a_processor_that_raises_costs_no_call(recorder):
    """As with every observer; that spans are lost is said."""

    class Bad(SimpleSpanProcessor):
        def on_end(self, span):
            raise SystemExit(3)

    recorder.provider.add_span_processor(Bad(recorder.exporter))
    assert recorder.host.call("guest.work") == 1
    assert any("SystemExit" in each for each in recorder.warnings())


HOSTILE = """
import os, sys, time
import msgspec
from jackfield import function
from opentelemetry import trace

def frame(body):
    return len(body).to_bytes(4, "big") + body

def send(*messages):
    os.set_blocking(runtime()._link.calls._fd, True)
    rest = memoryview(b"".join(frame(msgspec.msgpack.encode(message)) for message in messages))
    while rest:
        rest = rest[os.write(runtime()._link.calls._fd, rest):]

def found(name):
    at = sys._getframe()
    while name not in at.f_locals or not at.f_code.co_filename.endswith("runtime.py"):
        at = at.f_back
    return at.f_locals[name]

def runtime():
    return found("self")

def fact(number, parent=None, start=None, end=None, **further):
    now = time.time_ns()
    return [number, parent, "forged", now if start is None else start, now if end is None else end]

@function
def ok() -> int:
    return 1

@function
def attack() -> int:
    call = found("message").id
    now, a, b = time.time_ns(), b"a" * 8, b"b" * 8
    own = trace.get_current_span().get_span_context().span_id.to_bytes(8, "big")
    {attack}
    return 1
"""

BREACHES = {
    "no list": "send([5, call, 3])",
    "a span that is none": "send([5, call, [[1, 2, 3]]])",
    "numbers that are too long": "send([5, call, [fact(b'a' * 9)]])",
    "a trace of its own": "send([5, call, [[*fact(a), 0, 0, '', ['', ''], {}, [], [[b'x' * 17, a]]]]])",
    "an unknown kind": "send([5, call, [[*fact(a), 9]]])",
    "an unknown status": "send([5, call, [[*fact(a), 0, 9]]])",
    "a long name": "send([5, call, [[a, None, 'x' * 201, now, now]]])",
    "a time before all times": "send([5, call, [fact(a, start=-1)]])",
    "attributes of attributes": "send([5, call, [[*fact(a), 0, 0, '', ['', ''], {'a': {'b': 1}}]]])",
    "too many attributes": ("send([5, call, [[*fact(a), 0, 0, '', ['', ''], {str(n): n for n in range(33)}]]])"),
    "a million spans": "send([5, call, [fact(n.to_bytes(8, 'big')) for n in range(1, 1_000_001)]])",
    "too many spans": "send([5, call, [fact(n.to_bytes(8, 'big')) for n in range(1, 258)]])",
    "spans twice": "send([5, call, [fact(a)]], [5, call, [fact(b)]])",
    "a million messages": "send([5, call, []], *([5, call, []] for _ in range(1_000_000)))",
    "spans of another call": "send([5, 999_999, [fact(a)]])",
    "spans of no call": "send([5, 0, [fact(a)]])",
}


@pytest.mark.parametrize("attack", BREACHES)
def test_what_are_no_spans_costs_the_worker(tmp_path, attack):
    """A breach of the protocol ends that process: its call says so, and the next one is served."""
    with Recorder(tmp_path, HOSTILE.replace("{attack}", f"{BREACHES[attack]}; time.sleep(60)")) as recorder:
        with pytest.raises(Unavailable) as caught:
            recorder.host.call("guest.attack", timeout=60.0)
        assert caught.value.cause == "protocol"
        assert recorder.host.call("guest.ok", timeout=60.0) == 1
        assert "forged" not in dict(recorder.tree())
        assert until(lambda: not zombies())


LIES = {
    "a parent that is not of the call": "[fact(a, b)]",
    "a circle": "[fact(a, b), fact(b, a)]",
    "its own parent": "[fact(a, a)]",
    "no number": "[fact(b'\\0' * 8)]",
    "the number of its call": "[fact(own)]",
    "a span of the future": "[fact(a, end=now + 3600 * 10**9)]",
    "a span of long ago": "[fact(a, start=1)]",
    "a span that ends before it begins": "[fact(a, start=now, end=now - 1)]",
    "an event of long ago": "[[*fact(a), 0, 0, '', ['', ''], {}, [['event', 1]]]]",
}


@pytest.mark.parametrize("lie", LIES)
def test_spans_that_cannot_be_are_left_out_and_said(tmp_path, lie):
    """The call goes on; what is true of its other spans arrives."""
    said = f"spans = {LIES[lie]} + [fact(b'g' * 8)]; spans[-1][2] = 'good'; send([5, call, spans])"
    with Recorder(tmp_path, HOSTILE.replace("{attack}", said)) as recorder:
        assert recorder.host.call("guest.attack", timeout=60.0) == 1
        assert recorder.tree() == [("good", "guest.attack"), ("guest.attack", None)]
        (warning,) = recorder.warnings()
        assert "spans of the plugin guest are left out" in warning


def test_spans_for_a_host_that_does_not_trace_are_ignored(tmp_path):
    """Nobody records them."""
    code = HOSTILE.replace("{attack}", "send([5, call, [fact(a)]])")
    with host_of(tmp_path, guest=code) as host:
        assert host.call("guest.attack", timeout=60.0) == 1


def test_the_host_of_the_tests_sets_no_provider():
    """Nothing here changes what is global."""
    assert getattr(trace, "_TRACER_PROVIDER", None) is None
