"""The span of a call."""

import functools
import weakref

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, SpanContext, SpanKind, StatusCode, TraceFlags
from tests.support.collected import alive

from jackfield.errors import OUTCOMES, DeadlineExceeded, FunctionCrashed, Outcome, Rejected
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.spans import Spans
from jackfield.ports import Observer

HEADERS = {"traceparent": f"00-{0xABC:032x}-{0xDEF:016x}-01"}
UNSAMPLED_HEADERS = {"traceparent": f"00-{0xABC:032x}-{0xDEF:016x}-00", "baggage": "user=7"}


def score(loan):
    return loan


def spec(target=score, name="risk.score", plugin="risk"):
    return FunctionSpec(name, "1.4", plugin, "", target, Colour.SYNC)


class Recorder:
    """A real SDK provider with an exporter that remembers."""

    def __init__(self, sampler=DEFAULT_ON):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.bound = Spans(self.provider).bind(spec())

    def run(self, outcome=Outcome.OK, error=None, inside=lambda: None, bound=None, **fields):
        bound = bound or self.bound
        call = Call("risk.score", version="1.4", **fields)
        before = context.get_current()
        state = bound.start(call)
        inside()
        bound.finish(state, call, outcome, error, 0.1)
        assert context.get_current() is before
        return call

    @property
    def spans(self):
        return self.exporter.get_finished_spans()


@pytest.fixture
def recorder():
    return Recorder()


def below(span):
    return context.attach(trace.set_span_in_context(span))


def parent(*, sampled, remote=False):
    return NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=remote, trace_flags=TraceFlags(int(sampled))))


def test_it_is_an_observer():
    """The public observer fits the port."""
    assert isinstance(Spans(), Observer)


def test_a_call_is_a_span_with_the_conventional_attributes(recorder):
    """The span has the function's name, an internal kind without a parent, and says who ran what for whom."""
    call = recorder.run(tenant="t-1", revision=7)
    (span,) = recorder.spans
    assert span.name == "risk.score"
    assert span.kind is SpanKind.INTERNAL
    assert span.parent is None
    assert dict(span.attributes) == {
        "code.function.name": f"{__name__}.score",
        "jackfield.function": "risk.score",
        "jackfield.version": "1.4",
        "jackfield.plugin": "risk",
        "jackfield.revision": 7,
        "jackfield.tenant": "t-1",
        "jackfield.outcome": "ok",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert call.trace == span.context


class Score:
    def __call__(self, loan):
        return loan

    def method(self, loan):
        return loan


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (functools.partial(functools.partial(score)), f"{__name__}.score"),
        (Score, f"{__name__}.Score.__call__"),
        (Score(), f"{__name__}.Score.__call__"),
        (Score().method, f"{__name__}.Score.method"),
        (len, "builtins.len"),
        (str.lower, "str.lower"),
    ],
)
def test_the_code_name_is_that_of_the_code_that_runs(recorder, target, name):
    """Partials, instances, classes, methods and builtins are named as a reader would look for them."""
    recorder.run(bound=Spans(recorder.provider).bind(spec(target)))
    assert recorder.spans[0].attributes["code.function.name"] == name


def test_nested_calls_are_children(recorder):
    """The span is current while the call runs, for nested calls and for spans of libraries alike."""
    recorder.run(inside=recorder.run)
    inner, outer = recorder.spans
    assert inner.parent == outer.context
    assert inner.kind is SpanKind.INTERNAL


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_one_table_decides_the_status(recorder, outcome):
    """ERROR where the table says so, else UNSET; the outcome is an attribute; no exception is recorded."""
    error = None if outcome is Outcome.OK else DeadlineExceeded("risk.score")
    recorder.run(outcome, error)
    (span,) = recorder.spans
    assert (span.status.status_code is StatusCode.ERROR) is OUTCOMES[outcome].span_error
    assert ("error.type" in span.attributes) is OUTCOMES[outcome].span_error
    assert span.attributes["jackfield.outcome"] == outcome.value
    assert span.events == ()


def test_a_crash_names_the_original_error_and_not_its_message(recorder):
    """`error.type` is the function's own exception; its text, which may quote the payload, is nowhere."""
    recorder.run(Outcome.CRASHED, FunctionCrashed("risk.score", "shop.OutOfStock", "card 4111"))
    (span,) = recorder.spans
    assert span.attributes["error.type"] == "shop.OutOfStock"
    assert "4111" not in span.to_json()


def test_a_rejection_is_no_error(recorder):
    """A business refusal leaves the status alone."""
    recorder.run(Outcome.REJECTED, Rejected("no", "bad_amount"))
    assert recorder.spans[0].status.status_code is StatusCode.UNSET


def test_a_remote_parent_in_the_headers_makes_a_server_span(recorder):
    """The call continues the trace that its headers carry, and brings their baggage to the function."""
    seen = []
    recorder.run(headers={**HEADERS, "baggage": "user=7"}, inside=lambda: seen.append(baggage.get_baggage("user")))
    (span,) = recorder.spans
    assert span.kind is SpanKind.SERVER
    assert span.context.trace_id == 0xABC
    assert span.parent.span_id == 0xDEF
    assert seen == ["7"]


def test_a_remote_parent_that_a_door_made_current_makes_a_server_span(recorder):
    """A door that extracted the context itself is believed."""
    token = below(parent(sampled=True, remote=True))
    recorder.run()
    context.detach(token)
    assert recorder.spans[0].kind is SpanKind.SERVER


def test_headers_do_not_override_a_current_span(recorder):
    """A nested call inherits its caller's headers, and is still its caller's child."""
    recorder.run(headers=HEADERS, inside=lambda: recorder.run(headers=HEADERS))
    inner, outer = recorder.spans
    assert inner.parent == outer.context
    assert inner.kind is SpanKind.INTERNAL


@pytest.mark.parametrize("headers", [{"traceparent": "nonsense"}, {"x-version": "1"}, {"baggage": "a=b"}])
def test_headers_without_a_parent_start_a_trace(recorder, headers):
    """What cannot be read is ignored, as the W3C says."""
    recorder.run(headers=headers)
    assert recorder.spans[0].parent is None
    assert recorder.spans[0].kind is SpanKind.INTERNAL


class Forbidden(Sampler):
    """Raises when it is asked."""

    def should_sample(self, *args, **kwargs):
        raise AssertionError("asked")

    def get_description(self):
        return "Forbidden"


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("sampler", [DEFAULT_ON, ParentBasedTraceIdRatio(0.5), ParentBased(Forbidden())])
def test_below_an_unsampled_parent_no_span_is_made(sampler, remote):
    """Nothing is attached and nothing recorded; the call keeps the trace id for its log record."""
    recorder = Recorder(sampler)
    token = below(unsampled := parent(sampled=False, remote=remote))
    call = recorder.run(inside=lambda: None)
    assert trace.get_current_span() is unsampled
    context.detach(token)
    assert call.trace is unsampled.get_span_context()
    assert not recorder.spans


def test_an_unsampled_parent_in_the_headers_holds_for_nested_calls():
    """It is current while the call runs, so that what the function calls stays in the trace."""
    recorder = Recorder()
    seen = []
    recorder.run(
        headers=UNSAMPLED_HEADERS,
        inside=lambda: seen.append((trace.get_current_span().get_span_context(), recorder.run().trace)),
    )
    ((current, nested),) = seen
    assert current.trace_id == nested.trace_id == 0xABC
    assert not recorder.spans


class Contrary(ParentBased):
    """Looks like the SDK's, and decides otherwise."""

    def should_sample(self, *args, **kwargs):
        return ALWAYS_ON.should_sample(*args, **kwargs)


class RecordOnly(Sampler):
    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        Contrary(ALWAYS_ON),
        ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON),
        ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON),
    ],
)
def test_a_sampler_that_may_sample_below_an_unsampled_parent_is_asked(sampler):
    """The short cut is taken only where the outcome is certain."""
    recorder = Recorder(sampler)
    token = below(parent(sampled=False))
    recorder.run()
    context.detach(token)
    assert len(recorder.spans) == 1


def test_a_span_that_is_recorded_but_not_sampled_is_still_the_calls():
    """Processors that want all spans get them."""
    recorder = Recorder(RecordOnly())
    ended = []
    recorder.provider.add_span_processor(
        type("P", (SimpleSpanProcessor,), {"on_end": lambda _, s: ended.append(s)})(None)
    )
    call = recorder.run()
    assert [span.context for span in ended] == [call.trace]
    assert not call.trace.trace_flags.sampled


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF), ParentBasedTraceIdRatio(0.0)])
def test_an_unsampled_root_has_a_trace_id_that_nested_calls_share(sampler):
    """No span is recorded, and the log records of the whole trace still join."""
    recorder = Recorder(sampler)
    nested = []
    call = recorder.run(inside=lambda: nested.append(recorder.run()))
    assert call.trace.is_valid
    assert not call.trace.trace_flags.sampled
    assert nested[0].trace.trace_id == call.trace.trace_id
    assert not recorder.spans


def test_roots_are_sampled_at_the_samplers_rate():
    """Deciding early does not change how often."""
    recorder = Recorder(ParentBasedTraceIdRatio(0.25))
    for _ in range(2_000):
        recorder.run()
    assert 380 < len(recorder.spans) < 620


@pytest.mark.parametrize("headers", [{}, HEADERS])
def test_a_provider_that_does_nothing_costs_no_span_and_keeps_the_trace(headers):
    """Without an SDK the caller's trace still reaches the log and what the function calls."""
    bound = Spans(NoOpTracerProvider()).bind(spec())
    call = Call("risk.score", headers=headers)
    before = context.get_current()
    state = bound.start(call)
    inside = trace.get_current_span().get_span_context()
    bound.finish(state, call, Outcome.OK, None, 0.1)
    assert context.get_current() is before
    if headers:
        assert call.trace.trace_id == inside.trace_id == 0xABC
    else:
        assert call.trace is None


def test_a_disabled_sdk_is_a_provider_that_does_nothing(monkeypatch):
    """`OTEL_SDK_DISABLED` is the operator's switch."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert Recorder().run().trace is None


def test_a_span_is_ended_although_an_attribute_fails(recorder):
    """No span stays open, and the context is left, when something inside the SDK breaks."""

    crash = FunctionCrashed("risk.score", "ValueError")
    del crash.error_type
    call = Call("risk.score")
    state = recorder.bound.start(call)
    with pytest.raises(AttributeError):
        recorder.bound.finish(state, call, Outcome.CRASHED, crash, 0.1)
    assert len(recorder.spans) == 1
    assert not trace.get_current_span().get_span_context().is_valid


def test_nothing_refers_to_the_function(recorder):
    """A bound observer keeps names, so that an unregistered function can go."""

    def function():
        return None

    bound = Spans(recorder.provider).bind(spec(function))
    gone = weakref.ref(function)
    del function
    assert alive(gone) == []
    bound.close()
