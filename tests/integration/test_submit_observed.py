"""Submitted calls are observed: metrics, one trace from the submit to the result, a log record for each settlement."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from jackfield import FunctionCrashed, Host, function
from jackfield.log import install
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans
from jackfield.store import SQLiteStore
from support.apart import until

LONG = 30.0


@pytest.fixture
def store(tmp_path):
    """A store that lasts."""
    made = SQLiteStore(tmp_path / "jackfield.db")
    yield made
    asyncio.run(made.close())


class Failing:
    """Fails the first times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __call__(self) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("not yet")
        return "done"


def test_one_trace_goes_from_the_submit_over_every_attempt_to_the_result(store):
    """Each attempt is a span below the submit's, links to it and to the attempts before, and has the call's below."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Host(observers=[Spans(provider)], store=store) as host:
        host.register("f", function(idempotent=True)(Failing(1)))
        assert host.submit("f").result(LONG) == "done"
    spans = {}
    for span in exporter.get_finished_spans():
        spans.setdefault(span.name, []).append(span)
    (submit,), (first, second), calls = spans["submit f"], spans["attempt f"], spans["f"]
    assert len({span.context.trace_id for each in spans.values() for span in each}) == 1
    assert [span.parent.span_id for span in (first, second)] == [submit.context.span_id] * 2
    assert {span.parent.span_id for span in calls} == {first.context.span_id, second.context.span_id}
    assert [link.context.span_id for link in second.links] == [submit.context.span_id, first.context.span_id]
    assert [span.attributes["jackfield.attempt"] for span in (first, second)] == [1, 2]


def test_metrics_count_submits_attempts_and_ends(store):
    """A counter does not fall when its host goes; nothing is exposed where nothing was submitted."""
    registry = CollectorRegistry()
    with Host(observers=[Metrics(registry)]):
        assert "jackfield_submissions" not in {family.name for family in registry.collect()}
    for round_ in (1, 2):
        with Host(observers=[Metrics(registry)], store=store) as host:
            host.register("f", function(idempotent=True)(Failing(1)))
            host.register("bad", Failing(1))
            host.submit("f").result(LONG)
            with pytest.raises(FunctionCrashed):
                host.submit("bad").result(LONG)
            value = registry.get_sample_value
            assert value("jackfield_submits_total", {"function": "f"}) == round_
            assert value("jackfield_submission_attempts_total", {"function": "f"}) == 2 * round_
            labels = {"function": "bad", "status": "failed", "reason": ""}
            # Who waits for a result may hear of it a moment before it is counted.
            assert until(lambda: value("jackfield_submissions_settled_total", labels) == round_)  # noqa: B023  # asked here
            assert value("jackfield_submissions", {"state": "running"}) == 0
    assert registry.get_sample_value("jackfield_submits_total", {"function": "f"}) == 2


def test_each_settlement_is_a_record(store):
    """It names the call, its function and how it ended."""
    said = []
    remove = install(said.append)
    try:
        with Host(observers=(), store=store) as host:
            host.register("bad", Failing(1))
            handle = host.submit("bad", tenant="t-1")
            with pytest.raises(FunctionCrashed):
                handle.result(LONG)
    finally:
        remove()
    (record,) = [each for each in said if handle.id in each.text]
    assert record.text == f"call {handle.id} of bad for t-1: failed after 1 attempts"
    assert record.fields["status"] == "failed"
