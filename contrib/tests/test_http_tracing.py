"""One trace from a client through the door into the function, and on to whatever that asks."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from jackfield import Caller, Host, current_call, inject
from jackfield.config import HttpDoorConfig
from jackfield.observe.spans import Spans
from jackfield_contrib.http import asgi
from jackfield_contrib.http.door import HttpDoor

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, SPAN = int(CLIENT[3:35], 16), int(CLIENT[36:52], 16)


def onward() -> dict:
    """Give what a request of the function's own would carry, as OpenTelemetry's clients write it."""
    carried = {}
    propagate.inject(carried)
    return carried


async def aonward() -> dict:
    return onward()


def outer(*, functions: Caller = inject()) -> dict:
    return functions.call("onward")


def trace_of() -> str | None:
    found = current_call().trace
    return None if found is None else f"{found.trace_id:032x}"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def host(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with Host(observers=[Spans(provider)]) as made:
        for target in (onward, aonward, outer, trace_of):
            made.register(target.__name__, target)
        yield made


@pytest.fixture
def ask(host):
    """Ask a real server."""
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    yield lambda path, body=None, **headers: httpx.post(
        f"{door.address}{path}", content=None if body is None else json.dumps(body), headers=headers, timeout=30
    )
    host.run_at_home(door.close(0.0), 20.0)


@pytest.mark.parametrize("name", ["onward", "aonward"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_client_is_the_parent_and_what_the_function_asks_is_below(ask, spans, name, accept):
    """Of the same trace; its baggage goes along."""
    answer = ask(f"/v1/functions/{name}", traceparent=CLIENT, baggage="tier=gold,region=eu%20west", accept=accept)
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == (name, SpanKind.SERVER)
    assert (span.context.trace_id, span.parent.span_id, span.parent.is_remote) == (TRACE, SPAN, True)
    carried = f"00-{TRACE:032x}-{span.context.span_id:016x}-0"
    assert carried in answer.text
    assert "tier=gold" in answer.text
    assert "region=eu" in answer.text


def test_nested_calls_are_below_the_call(ask, spans):
    """And carry on from there."""
    answer = ask("/v1/functions/outer", traceparent=CLIENT, baggage="tier=gold")
    inner, outermost = spans.get_finished_spans()
    assert (inner.name, outermost.name) == ("onward", "outer")
    assert (outermost.parent.span_id, inner.parent.span_id) == (SPAN, outermost.context.span_id)
    assert answer.json()["traceparent"].split("-")[2] == f"{inner.context.span_id:016x}"
    assert answer.json()["baggage"] == "tier=gold"


def test_each_call_of_a_batch_is_below_the_client(ask, spans):
    """And beside the others."""
    batch = [{"function": "onward"}, {"function": "aonward"}]
    assert len(ask("/v1/calls:batch", batch, traceparent=CLIENT).json()) == len(batch)
    assert [each.parent.span_id for each in spans.get_finished_spans()] == [SPAN, SPAN]


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "0",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ],
)
def test_what_names_no_span_begins_a_trace_of_its_own(ask, spans, traceparent):
    """Baggage is carried all the same: it is a header of its own."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    answer = ask("/v1/functions/onward", baggage="tier=gold", **headers)
    (span,) = spans.get_finished_spans()
    assert span.parent is None
    assert answer.json()["baggage"] == "tier=gold"


def test_baggage_goes_along_where_nothing_is_traced():
    """Then there is no span, and nobody else to carry it."""
    with Host(observers=[Spans(trace.NoOpTracerProvider())]) as host:
        host.register("onward", onward)
        assert host.call("onward", headers={"baggage": "tier=gold"}) == {"baggage": "tier=gold"}


def test_a_client_that_is_not_sampled_has_no_span_and_keeps_its_trace(ask, spans):
    """The trace id is there for the log."""
    answer = ask("/v1/functions/trace_of", traceparent=f"{CLIENT[:-1]}0")
    assert (answer.json(), spans.get_finished_spans()) == (f"{TRACE:032x}", ())


def test_an_answer_names_no_span(ask):
    """Neither level of Trace Context that has been recommended so far knows a header of a response."""
    answer = ask("/v1/functions/onward", traceparent=CLIENT)
    assert {"traceparent", "traceresponse", "tracestate", "baggage"}.isdisjoint(answer.headers)


def test_mounted_in_fastapi_a_span_that_is_current_there_is_the_parent(host, spans):
    """As what instruments an application makes it; the header was its own to read."""
    app = FastAPI()
    app.mount("/fn", asgi(host))
    around = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=False, trace_flags=trace.TraceFlags(1)))

    async def instrumented(scope, receive, send):
        token = attach(baggage.set_baggage("tier", "gold", trace.set_span_in_context(around)))
        try:
            await app(scope, receive, send)
        finally:
            detach(token)

    async def visit():
        transport = httpx.ASGITransport(instrumented)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [
                await client.post("/fn/v1/functions/onward", headers={"traceparent": CLIENT}),
                await client.get("/fn/openapi.json"),
                await client.post("/fn/v1/functions/nope"),
            ]

    answer, document, nope = asyncio.run(visit())
    assert answer.json()["baggage"] == "tier=gold"
    assert "/v1/functions/onward" in document.json()["paths"]
    assert (nope.status_code, nope.json()["outcome"]) == (404, "not_found")
    parents = {each.name: each.parent.span_id for each in spans.get_finished_spans()}
    assert parents["onward"] == 8
