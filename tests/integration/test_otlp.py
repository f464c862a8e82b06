"""Spans, metrics and logs of `pluginctl serve` arrive at an OTLP receiver, where the standard variables say so."""

from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from tests.integration.test_cli_apply import Served
from tests.support.in_workers import until

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otlp is not installed")

from opentelemetry.sdk.resources import Resource
from tests.support import otlp

from jackfield.observe.otlp import metrics_of

PLUGIN = """
from jackfield import Caller, Logger, Rejected, function, inject
from opentelemetry import metrics

asked = metrics.get_meter("shop").create_counter("shop.asked")

@function
def price(item: str) -> int:
    return 5

@function
def buy(item: str, *, functions: Caller = inject(), log: Logger = inject()) -> int:
    asked.add(1)
    log.info("bought {braces}", item=item)
    return functions.call("shop.price", item)

@function
def crash() -> None:
    raise ValueError("a secret")
"""
QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}


@pytest.fixture(params=["http", "grpc"])
def received(request):
    if request.param == "grpc":
        pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra otlp-grpc is not installed")
    with {"http": otlp.over_http, "grpc": otlp.over_grpc}[request.param]() as (received, environment):
        received.environment = environment
        yield received


@pytest.fixture
def served(tmp_path):
    served = Served(tmp_path)
    (tmp_path / "shop.py").write_text(PLUGIN)
    served.config("shop")
    served.env |= QUICK
    yield served
    with suppress(AttributeError):  # it was never started
        served.close()


def value_of(metric, **labels):
    """Give the value of the point that has these labels."""
    data = getattr(metric, metric.WhichOneof("data"))
    for point in data.data_points:
        if labels.items() <= otlp.attributes_of(point).items():
            return getattr(point, point.WhichOneof("value")) if hasattr(point, "as_double") else point
    return None


def logged(received, wanted):
    """Wait for a log record, and give it."""
    return until(lambda: next(filter(wanted, received.logs), None))


@pytest.mark.slow
def test_all_of_it_arrives_over_either_protocol(served, received):
    """In one trace, under one resource; and what a plugin measures and logs as well."""
    served.env |= received.environment
    served.env |= {"OTEL_SERVICE_NAME": "shop-host", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    served.env |= {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=k1"}
    served.start()
    served.ctl("call", "shop.buy", "item=tea", "--running")
    served.ctl("call", "shop.crash", "--running", code=1)
    until(lambda: {"shop.buy", "shop.price", "shop.crash"} <= received.spans.keys())
    buy, price = received.spans["shop.buy"], received.spans["shop.price"]
    assert price.parent_span_id == buy.span_id
    assert received.spans["shop.crash"].status.code == 2
    crash = {"function": "shop.crash", "outcome": "crashed"}
    until(lambda: value_of(received.metrics["jackfield_calls_total"], **crash) if received.metrics else 0)
    calls = received.metrics["jackfield_calls_total"]
    assert calls.sum.is_monotonic
    assert calls.sum.aggregation_temporality == 2
    until(lambda: "shop.asked" in received.metrics)
    duration = until(lambda: value_of(received.metrics["jackfield_call_duration_seconds"], function="shop.buy"))
    assert (duration.count, sum(duration.bucket_counts)) == (1, 1)
    assert len(duration.bucket_counts) == len(duration.explicit_bounds) + 1
    assert duration.exemplars[0].trace_id == buy.trace_id
    record = logged(received, lambda each: otlp.attributes_of(each).get("error_type") == "ValueError")
    assert record.severity_text == "ERROR"
    assert record.trace_id == received.spans["shop.crash"].trace_id
    assert otlp.attributes_of(record)["func_name"] == "shop.crash"
    bought = logged(received, lambda each: each.body.string_value == "bought {braces}")
    assert bought.span_id == buy.span_id
    assert "a secret" not in str(received.logs)
    resource = received.resources[0]
    assert all(each == resource for each in received.resources)
    assert resource["service.name"] == "shop-host"
    assert resource["deployment.environment"] == "test"
    assert {"service.version", "service.instance.id"} <= resource.keys()
    assert all(each["api-key"] == "k1" for each in received.headers)


@pytest.mark.slow
def test_what_waits_is_sent_at_the_end(served, received):
    """However long it would have waited."""
    served.env |= received.environment
    served.env |= dict.fromkeys(QUICK, "600000")
    served.start()
    served.ctl("call", "shop.crash", "--running", code=1)
    served.close()
    del served.process
    assert "shop.crash" in received.spans
    assert value_of(received.metrics["jackfield_calls_total"], function="shop.crash", outcome="crashed") == 1
    assert any(otlp.attributes_of(each).get("func_name") == "shop.crash" for each in received.logs)


@pytest.mark.slow
def test_each_signal_can_be_left_out(served):
    """By its own variable; that metrics are scraped, too, needs no exporter."""
    with otlp.over_http() as (received, environment):
        served.env |= environment
        served.env |= {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "prometheus"}
        served.start()
        served.ctl("call", "shop.crash", "--running", code=1)
        until(lambda: received.logs)
        served.close()
        del served.process
        assert not received.spans
        assert not received.metrics


@pytest.mark.slow
def test_a_collector_that_is_away_holds_up_nothing(served):
    """Calls go on; the end waits for it three seconds."""
    served.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    served.start()
    for _ in range(3):
        served.ctl("call", "shop.buy", "item=tea", "--running")


def test_metrics_are_what_a_scrape_shows():
    """By the names and labels of it; buckets count by themselves."""
    registry = CollectorRegistry()
    Counter("grown", "It grows.", ["a"], registry=registry).labels("x").inc(3)
    Gauge("level", "It is.", registry=registry).set(7)
    Info("built", "What.", registry=registry).info({"version": "1"})
    Summary("sums", "Of some.", registry=registry).observe(2)
    histogram = Histogram("spread", "Over.", ["a"], buckets=(1, 2), registry=registry)
    for label, value in (("x", 0.5), ("x", 1.5), ("x", 9), ("y", 1.5)):
        histogram.labels(label).observe(value, {"trace_id": "ab", "span_id": "cd"} if value == 9 else None)
    data = metrics_of(registry, Resource({}), 17)
    (scope,) = data.resource_metrics[0].scope_metrics
    found = {metric.name: metric.data for metric in scope.metrics}
    assert found.keys() == {"grown_total", "level", "built_info", "sums_count", "sums_sum", "spread"}
    (grown,) = found["grown_total"].data_points
    assert (grown.value, grown.attributes, grown.start_time_unix_nano) == (3, {"a": "x"}, 17)
    assert found["grown_total"].is_monotonic
    assert found["level"].data_points[0].value == 7
    assert not hasattr(found["level"], "is_monotonic")
    x, y = found["spread"].data_points
    assert (x.count, x.sum, x.bucket_counts, x.explicit_bounds) == (3, 11.0, [1, 1, 1], [1.0, 2.0])
    assert (y.count, y.bucket_counts) == (1, [0, 1, 0])
    (exemplar,) = x.exemplars
    assert (exemplar.value, exemplar.trace_id, exemplar.span_id) == (9, 0xAB, 0xCD)


def test_an_empty_registry_gives_nothing():
    """Nor does it fail."""
    data = metrics_of(CollectorRegistry(), Resource({}), 0)
    assert list(data.resource_metrics[0].scope_metrics[0].metrics) == []
