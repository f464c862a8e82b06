"""Counters, histogram and gauge of calls, and the scheduler's metrics."""

import weakref

import pytest
from opentelemetry.trace import SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics import exposition, parser
from tests.support.collected import alive

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.metrics import Metrics
from jackfield.ports import ExecutorStats, Observer

LABELS = {"function": "risk.score", "version": "1.4"}
SAMPLED = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
UNSAMPLED = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0))


def spec(name="risk.score", version="1.4"):
    return FunctionSpec(name, version, "risk", "", str.lower, Colour.SYNC)


def run(bound, outcome=Outcome.OK, duration=0.002, trace=None):
    call = Call("risk.score", trace=trace)
    bound.finish(bound.start(call), call, outcome, None, duration)


@pytest.fixture
def registry():
    return CollectorRegistry()


def exposed(registry):
    """Render and parse as a scraper that speaks OpenMetrics does."""
    text = exposition.generate_latest(registry).decode()
    return [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]


def test_it_is_an_observer(registry):
    """The public observer fits the port."""
    assert isinstance(Metrics(registry), Observer)


def test_calls_are_counted_by_outcome(registry):
    """Each ended call is counted once, under how it ended; what alerts are made of is there at 0 before."""
    bound = Metrics(registry).bind(spec())
    for outcome in (Outcome.OK, Outcome.OK, Outcome.DEADLINE_EXCEEDED):
        run(bound, outcome)
    value = registry.get_sample_value
    assert value("jackfield_calls_total", {**LABELS, "outcome": "ok"}) == 2
    assert value("jackfield_calls_total", {**LABELS, "outcome": "deadline_exceeded"}) == 1
    assert value("jackfield_calls_total", {**LABELS, "outcome": "crashed"}) == 0
    assert value("jackfield_calls_total", {**LABELS, "outcome": "rejected"}) is None


def test_durations_fill_the_histogram(registry):
    """Buckets are cumulative, a duration on a bound belongs below it, and the last bucket takes everything."""
    bound = Metrics(registry, buckets=(0.001, 0.01)).bind(spec())
    for duration in (0.0005, 0.001, 0.002, 7.0):
        run(bound, duration=duration)
    value = registry.get_sample_value
    name = "jackfield_call_duration_seconds"
    assert [value(f"{name}_bucket", {**LABELS, "le": le}) for le in ("0.001", "0.01", "+Inf")] == [2, 3, 4]
    assert value(f"{name}_count", LABELS) == 4
    assert value(f"{name}_sum", LABELS) == pytest.approx(7.0035)


def test_calls_under_way_are_shown(registry):
    """The gauge rises with each start and falls with each finish."""
    bound = Metrics(registry).bind(spec())
    first, second = Call("a"), Call("b")
    bound.start(first)
    bound.start(second)
    assert registry.get_sample_value("jackfield_calls_in_flight", LABELS) == 2
    bound.finish(None, first, Outcome.OK, None, 0.1)
    assert registry.get_sample_value("jackfield_calls_in_flight", LABELS) == 1


def test_a_sampled_call_leaves_an_exemplar(registry):
    """The bucket names the trace of the last sampled call in it, in text that an OpenMetrics parser accepts."""
    bound = Metrics(registry, buckets=(0.001, 0.01)).bind(spec())
    run(bound, trace=SAMPLED)
    found = [sample.exemplar for sample in exposed(registry) if sample.exemplar]
    assert [exemplar.labels for exemplar in found] == [{"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}]
    assert found[0].value == 0.002


def test_an_unsampled_call_leaves_no_exemplar(registry):
    """An exemplar that leads to a trace nobody kept would mislead."""
    bound = Metrics(registry).bind(spec())
    run(bound, trace=UNSAMPLED)
    run(bound)
    assert not [sample for sample in exposed(registry) if sample.exemplar]


def test_the_classic_text_format_has_the_names_of_the_specification(registry):
    """What Prometheus scrapes by default has type and labels as documented."""
    metrics = Metrics(registry)
    run(metrics.bind(spec()))
    metrics.watch("thread", lambda: ExecutorStats(1, 2, 3, 4, 5, 6, 7))
    text = generate_latest(registry).decode()
    for line in (
        "# TYPE jackfield_calls_total counter",
        'jackfield_calls_total{function="risk.score",outcome="ok",version="1.4"} 1.0',
        "# TYPE jackfield_call_duration_seconds histogram",
        'jackfield_calls_in_flight{function="risk.score",version="1.4"} 0.0',
        'scheduler_task_enqueued_total{priority="normal",queue_type="thread"} 1.0',
        'scheduler_task_rejected_total{priority="normal",queue_type="thread"} 2.0',
        'scheduler_late_results_total{queue_type="thread"} 3.0',
        'scheduler_pending_tasks{queue_type="thread"} 4.0',
        'scheduler_executors{queue_type="thread",state="busy"} 5.0',
        'scheduler_executors{queue_type="thread",state="idle"} 6.0',
        'scheduler_executors{queue_type="thread",state="lingering"} 7.0',
    ):
        assert line in text


def test_two_hosts_share_a_registry_and_a_function(registry):
    """Their calls are added up, and when one lets go the other's numbers stay."""
    first, second = Metrics(registry).bind(spec()), Metrics(registry).bind(spec())
    run(first)
    run(second)
    labels = {**LABELS, "outcome": "ok"}
    assert registry.get_sample_value("jackfield_calls_total", labels) == 2
    first.close()
    run(second)
    assert registry.get_sample_value("jackfield_calls_total", labels) == 3


def test_versions_have_series_of_their_own(registry):
    """A canary can be told from the version it may replace."""
    metrics = Metrics(registry)
    run(metrics.bind(spec()))
    run(metrics.bind(spec(version="2.0")))
    assert registry.get_sample_value("jackfield_calls_total", {**LABELS, "version": "2.0", "outcome": "ok"}) == 1


def test_nothing_refers_to_the_function():
    """A bound observer keeps names, so that an unregistered function can go."""

    def function():
        return None

    registry = CollectorRegistry()
    bound = Metrics(registry).bind(FunctionSpec("f", "1", "", "", function, Colour.SYNC))
    gone = weakref.ref(function)
    del function
    assert alive(gone) == []
    bound.close()


def test_a_registry_can_go():
    """Sharing by registry keeps none alive."""
    registry = CollectorRegistry()
    Metrics(registry)
    gone = weakref.ref(registry)
    del registry
    assert alive(gone) == []


def test_buckets_are_one_set_for_a_registry(registry):
    """Two sets would make one histogram that cannot be added up; the message shows the set in use."""
    Metrics(registry, buckets=(0.1, 1.0))
    Metrics(registry, buckets=(0.1, 1.0, float("inf")))
    with pytest.raises(ValueError, match=r"0\.1, 1\.0"):
        Metrics(registry)


@pytest.mark.parametrize("buckets", [(), (1.0, 0.5), (1.0, 1.0), (float("inf"),)])
def test_bad_buckets_are_refused(registry, buckets):
    """Bounds must ascend."""
    with pytest.raises(ValueError, match="ascending"):
        Metrics(registry, buckets=buckets)


def test_a_name_taken_by_somebody_else_is_refused_and_leaves_nothing_behind(registry):
    """The registry is as it was, and works once the name is free."""
    other = Counter("scheduler_task_rejected", "theirs", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)
    assert "jackfield" not in generate_latest(registry).decode()
    registry.unregister(other)
    Metrics(registry)


def test_executors_of_one_name_are_added_up_and_a_counter_never_falls(registry):
    """When one of two ends, what it had counted stays; when the last ends, the name goes."""
    metrics = Metrics(registry)
    end_first = metrics.watch("thread", lambda: ExecutorStats(enqueued=5, busy=1))
    end_second = Metrics(registry).watch("thread", lambda: ExecutorStats(enqueued=2, busy=3))
    labels = {"queue_type": "thread", "priority": "normal"}
    busy = {"queue_type": "thread", "state": "busy"}
    assert registry.get_sample_value("scheduler_task_enqueued_total", labels) == 7
    assert registry.get_sample_value("scheduler_executors", busy) == 4
    end_first()
    end_first()
    assert registry.get_sample_value("scheduler_task_enqueued_total", labels) == 7
    assert registry.get_sample_value("scheduler_executors", busy) == 3
    end_second()
    assert registry.get_sample_value("scheduler_task_enqueued_total", labels) is None


def test_a_sick_executor_hides_no_other_metric(registry):
    """A source that raises is left out of the scrape."""
    metrics = Metrics(registry)
    run(metrics.bind(spec()))
    metrics.watch("thread", lambda: 1 / 0)
    end = metrics.watch("worker", lambda: ExecutorStats(idle=2))
    assert registry.get_sample_value("scheduler_executors", {"queue_type": "worker", "state": "idle"}) == 2
    assert registry.get_sample_value("jackfield_calls_total", {**LABELS, "outcome": "ok"}) == 1
    end()
