"""What `pluginctl serve` exports of spans, metrics and logs, where the `OTEL_*` variables say so."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points, version
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final

import attrs

from jackfield.errors import PluginError
from jackfield.log import Message, host_log
from jackfield.stack import blamed

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from jackfield.observe.record import Record

_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PACKAGES: Final = {"otlp_proto_http": "'jackfield[otlp]'", "otlp_proto_grpc": "'jackfield[otlp-grpc]'"}
_FLUSH: Final = 3.0  # seconds that what waits has to leave at the end


@attrs.frozen
class Telemetry:
    """What is exported.

    Attributes:
        record: takes the record of a call; None where no logs are exported.
        message: takes what the host or a plugin says; as above.
        ends: what sends the rest, by what it is of.
    """

    record: "Callable[[Record], None] | None" = None
    message: Callable[[Message], None] | None = None
    ends: Sequence[tuple[str, Callable[[], object]]] = ()

    def close(self) -> None:
        """Send what waits, at most for three seconds; say so when that was not enough."""
        until = monotonic() + _FLUSH
        # In threads of their own: an exporter whose collector does not answer tries for longer than anybody waits here.
        threads = {what: threading.Thread(target=end, name=f"pluginctl-{what}", daemon=True) for what, end in self.ends}
        for thread in threads.values():
            thread.start()
        for what, thread in threads.items():
            thread.join(max(until - monotonic(), 0.0))
            if thread.is_alive():
                host_log("WARNING", f"the last {what} could not be exported within {_FLUSH:g} s")


def open_telemetry(*, spans: bool) -> Telemetry:
    """Export what the `OTEL_*` variables ask for; the process's providers of it are set, for plugins as well.

    Args:
        spans: whether calls make spans at all.

    Returns:
        What is to be told what, and closed.

    Raises:
        PluginError: when an exporter is asked for that is not installed, or cannot be made.
    """
    made = {
        signal: [_exporter(signal, name) for name in _exporters(signal)]
        for signal in ("traces", "metrics", "logs")
        if signal != "traces" or spans
    }
    if not any(made.values()):
        return Telemetry()
    resource = _resource()
    ends: list[tuple[str, Callable[[], object]]] = []
    if exporters := made.get("traces"):
        ends.append(("spans", _open_spans(exporters, resource)))
    if exporters := made["metrics"]:
        ends += [("metrics", end) for end in _open_metrics(exporters, resource)]
    if exporters := made["logs"]:
        record, message, end = _open_logs(exporters, resource)
        return Telemetry(record, message, [*ends, ("logs", end)])
    return Telemetry(ends=ends)


def _open_spans(exporters: Sequence[Any], resource: "Resource") -> Callable[[], object]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource)  # it reads the sampler from the environment
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _open_metrics(exporters: Sequence[Any], resource: "Resource") -> Iterator[Callable[[], object]]:
    """Export what a scrape would show, and what plugins measure with OpenTelemetry's own API."""
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from prometheus_client import REGISTRY

    from jackfield.observe.otlp import metrics_of

    since = time_ns()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter) for exporter in exporters], resource)
    metrics.set_meter_provider(provider)
    yield provider.shutdown
    for name in _exporters("metrics"):
        reader = PeriodicExportingMetricReader(_exporter("metrics", name))
        # What a meter provider does with its readers: the SDK has no other way in for what others have counted.
        reader._set_collect_callback(lambda *_, **__: metrics_of(REGISTRY, resource, since))  # noqa: SLF001
        yield reader.shutdown


def _open_logs(
    exporters: Sequence[Any], resource: "Resource"
) -> "tuple[Callable[[Record], None], Callable[[Message], None], Callable[[], object]]":
    from opentelemetry import _logs
    from opentelemetry.sdk import _logs as sdk
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    from jackfield.observe.otlp import log_sinks

    if not hasattr(sdk, "ReadWriteLogRecord"):
        reason = f"opentelemetry-sdk {version('opentelemetry-sdk')} is too old to export logs"
        fix = "pip install -U 'opentelemetry-sdk>=1.39', or set OTEL_LOGS_EXPORTER=none"
        raise PluginError("opentelemetry", "export", reason, fix)
    provider = sdk.LoggerProvider(resource)
    for exporter in exporters:
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    _logs.set_logger_provider(provider)
    return *log_sinks(provider), provider.shutdown


def _resource() -> "Resource":
    """Say what this is, where the environment does not."""
    from opentelemetry.sdk.resources import Resource

    own = {"service.version": version("jackfield"), "service.instance.id": str(uuid.uuid4())}
    named = Resource.create({})  # from the environment
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        own["service.name"] = "jackfield"
    return named.merge(Resource({key: value for key, value in own.items() if key not in _given()}))


def _given() -> set[str]:
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return {pair.partition("=")[0].strip() for pair in pairs}


def _exporters(signal: str) -> list[str]:
    """Read which exporters are wanted of a signal, by the names of their entry points."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    wanted = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if not wanted and any(map(os.environ.get, endpoints)):
        wanted = "otlp"
    names = [name.strip() for name in wanted.split(",")]
    protocols = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next(filter(None, map(os.environ.get, protocols)), "http/protobuf")
    scraped = {"prometheus"} if signal == "metrics" else set()  # which is what `/metrics` is
    return [
        _OTLP.get(protocol, protocol) if name == "otlp" else name
        for name in names
        if name not in {"", "none", *scraped}
    ]


def _exporter(signal: str, name: str) -> Any:
    found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
    if found is None:
        package = _PACKAGES.get(name, f"the package that has {name!r}")
        fix = f"pip install {package}, or set OTEL_{signal.upper()}_EXPORTER=none"
        raise PluginError("opentelemetry", "export", f"no exporter of {signal} is installed as {name!r}", fix)
    try:
        return found.load()()
    except Exception as error:
        reason = f"the exporter {name!r} cannot be made: {blamed(error)}"
        raise PluginError("opentelemetry", "export", reason, "see the OTEL_* variables") from error
