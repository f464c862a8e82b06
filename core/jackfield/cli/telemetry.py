"""Spans that `pluginctl serve` exports, where the `OTEL_*` variables say so."""

import os
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import PluginError
from jackfield.log import host_log
from jackfield.stack import blamed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PACKAGES: Final = {
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}
_FLUSH: Final = 3.0  # seconds that spans have to leave at the end


def open_traces() -> "TracerProvider | None":
    """Export spans where the `OTEL_*` variables say so; the process's tracer provider is set.

    Returns:
        The provider, for `close_traces`; None when nothing asks for spans.

    Raises:
        PluginError: when an exporter is asked for that is not installed, or cannot be made.
    """
    names = _exporters()
    if not names:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = [_exporter(name) for name in names]
    provider = TracerProvider()  # it reads the resource and the sampler from the environment
    for exporter in made:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def close_traces(provider: "TracerProvider | None") -> None:
    """Send the spans that wait, at most for three seconds; say so when that was not enough."""
    if provider is None:
        return
    # In a thread of its own: an exporter whose collector does not answer tries for longer than anybody waits here.
    thread = threading.Thread(target=provider.shutdown, name="pluginctl-spans", daemon=True)
    thread.start()
    thread.join(_FLUSH)
    if thread.is_alive():
        host_log("WARNING", f"the last spans could not be exported within {_FLUSH:g} s")


def _exporters() -> list[str]:
    """Read which exporters are wanted, by the names of their entry points."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    wanted = os.environ.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not wanted and any(map(os.environ.get, endpoints)):
        wanted = "otlp"
    names = [name.strip() for name in wanted.split(",")]
    protocols = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next(filter(None, map(os.environ.get, protocols)), "http/protobuf")
    return [_OTLP.get(protocol, protocol) if name == "otlp" else name for name in names if name not in {"", "none"}]


def _exporter(name: str) -> Any:
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if found is None:
        fix = f"pip install {_PACKAGES.get(name, f'the package that has {name!r}')}, or set OTEL_TRACES_EXPORTER=none"
        raise PluginError("opentelemetry", "export", f"no exporter of spans is installed as {name!r}", fix)
    try:
        return found.load()()
    except Exception as error:
        reason = f"the exporter {name!r} cannot be made: {blamed(error)}"
        raise PluginError("opentelemetry", "export", reason, "see the OTEL_* variables") from error
