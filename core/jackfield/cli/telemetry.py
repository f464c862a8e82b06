"""What `pluginctl serve` sets up for a whole process: call records and messages, metrics over HTTP, exported spans."""

import os
import sys
import threading
from importlib.metadata import entry_points
from time import localtime, strftime
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import msgspec

from jackfield.cli.output import printable, say
from jackfield.config import LogsConfig
from jackfield.errors import PluginError
from jackfield.observe.record import utc_now
from jackfield.observe.stack import error_type, frames

if TYPE_CHECKING:
    from loguru import Message
    from opentelemetry.sdk.trace import TracerProvider

_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PACKAGES: Final = {
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}
_FLUSH: Final = 3.0  # seconds that spans have to leave at the end


class Lines:
    """A text stream that many threads write whole lines to, and that says by itself whether it is a terminal.

    Args:
        stream: where they go.
        terminal: whether lines are to be readable text; None for what the stream says.
    """

    def __init__(self, stream: TextIO, terminal: bool | None = None) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._terminal = stream.isatty() if terminal is None else terminal
        self.name = getattr(stream, "name", "")

    def isatty(self) -> bool:
        """Tell whether lines are to be readable text."""
        return self._terminal

    def write(self, text: str) -> int:
        """Write one line."""
        with self._lock:
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush."""
        with self._lock:
            self._stream.flush()


def open_logs(config: LogsConfig) -> TextIO:
    """Open the stream of call records, and send what the host and its plugins say there too, if that is wanted.

    Args:
        config: which stream, in which form.

    Returns:
        The stream, for `Logs`.
    """
    from loguru import logger

    terminal = {"auto": None, "json": False, "text": True}[config.format]
    lines = Lines(sys.stdout if config.stream == "stdout" else sys.stderr, terminal)
    logger.remove()  # loguru's own sink would show the values of variables below an exception
    if config.messages:
        render = _text if lines.isatty() else _json

        def write(message: "Message") -> None:
            lines.write(render(message.record))  # type: ignore[arg-type]  # a TypedDict
            lines.flush()

        logger.add(write, level="INFO", format="{message}", diagnose=False, backtrace=False)
    return cast(TextIO, lines)  # as much of one as `Logs` asks for


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
        say(f"the last spans could not be exported within {_FLUSH:g} s")


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
        reason = f"the exporter {name!r} cannot be made: {error_type(error)}: {error}"
        raise PluginError("opentelemetry", "export", reason, "see the OTEL_* variables") from error


def _json(record: dict[str, Any]) -> str:
    """Render a message as one flat JSON object, as call records are."""
    row = {"timestamp": utc_now(), "level": record["level"].name, "event": "log", "message": record["message"]}
    row = {**row, **record["extra"], **_raised(record), **row}  # its own fields first, whatever the others are called
    try:
        return msgspec.json.encode(row, enc_hook=repr).decode() + "\n"
    except Exception:  # noqa: BLE001  # a plugin's `__repr__`, a key that is no text, a lone surrogate
        return msgspec.json.encode({key: ascii(value) for key, value in row.items()}).decode() + "\n"


def _text(record: dict[str, Any]) -> str:
    extra = {**record["extra"], **_raised(record)}
    stack = "".join(f"\n    {printable(str(line))}" for line in extra.get("stack") or ())
    at, level = strftime("%H:%M:%S", localtime()), record["level"].name
    return f"{at} {level:<7} {printable(record['message'], keep=chr(10))}{stack}\n"


def _raised(record: dict[str, Any]) -> dict[str, Any]:
    """Give the type and the frames of the exception that a message came with."""
    raised = record["exception"]
    error = None if raised is None else raised.value
    return {} if error is None else {"error_type": error_type(error), "stack": frames(error)}
