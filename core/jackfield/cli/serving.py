"""What every process of `pluginctl serve` does: make a host, tell what keeps it from serving, keep the signals."""

import gc
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from traceback import format_exception
from typing import Final, TextIO, cast

from jackfield.cli.garbage import look_seldom
from jackfield.cli.messages import open_messages
from jackfield.cli.outlet import Outlet, standard
from jackfield.cli.output import counted
from jackfield.cli.signals import Signals
from jackfield.cli.telemetry import open_telemetry
from jackfield.cli.unforeseen import described
from jackfield.config import Configuration, LogsConfig, ObservabilityConfig
from jackfield.config.part import Part
from jackfield.errors import JackfieldError, PluginError
from jackfield.host import Host
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans

LINES: Final = 1.0
"""Seconds that the last lines of the log have to leave."""

# What calls have under way makes Python look for garbage all the time, and at last at everything: a tenth of a second
# for a few hundred thousand objects, in which no call goes on. There is hardly any: what ends is freed at once.
_GARBAGE: Final = (10_000, 10, 3)
"""Objects, looks at the youngest, looks at the younger half, after which Python looks for garbage."""


def open_host(
    source: Path | Configuration,
    seen: ObservabilityConfig,
    outlet: Outlet,
    stack: ExitStack,
    part: Part | None = None,
) -> tuple[Host, Metrics]:
    """Make a host that is observed as its configuration says.

    Args:
        source: the configuration, or its file.
        seen: what is to be seen of it.
        outlet: of the log, unless that goes to stdout.
        stack: what is to be closed at the end.
        part: which of several processes this is.

    Returns:
        The host, and its metrics.
    """
    gc.set_threshold(*_GARBAGE)  # before plugins, which may know better
    logs = seen.logs or LogsConfig()
    outlet = _outlet_of_logs(logs, outlet, stack)
    outlet.shared = part is not None
    telemetry = open_telemetry(spans=seen.traces)
    stack.callback(open_messages(outlet, shown=logs.messages, further=telemetry.message))
    stack.callback(telemetry.close)
    stream = cast(TextIO, outlet)  # as much of one as `Logs` asks for
    records = Logs(stream, successes=logs.successes, messages=logs.error_messages)
    if telemetry.record is not None:
        records.add_sink(telemetry.record)
    look_seldom()
    metrics = Metrics()
    observers = (*((Spans(),) if seen.traces else ()), metrics, records)
    host = Host.from_config(source, observers=observers, part=part)
    stack.callback(host.control.keep())  # the control socket and the probes answer until the very end
    return host, metrics


def _outlet_of_logs(logs: LogsConfig, outlet: Outlet, stack: ExitStack) -> Outlet:
    if logs.stream == "stdout":
        outlet = standard(1)
        stack.callback(outlet.close, LINES)
    if logs.format != "auto":
        outlet.terminal = logs.format == "text"
    return outlet


def told(run: Callable[[], int], outlet: Outlet, is_logged: Callable[[], bool]) -> int:
    """Run a process's work, and tell what kept it from that.

    Args:
        run: the work; gives the exit code.
        outlet: where that is told.
        is_logged: whether the log has named the faults of plugins.

    Returns:
        The exit code: 1 when it could not be done.
    """
    try:
        return run()
    except JackfieldError as error:
        for line in f"error: {_of(error, is_logged())}".split("\n"):
            outlet.say(line)
    except Exception as error:  # noqa: BLE001  # whatever it is, no thread may hang on it
        whole = "".join(format_exception(error)) if sys.flags.dev_mode else ""
        for line in f"{whole}error: {described(error)}".splitlines():
            outlet.say(line)
    finally:
        outlet.close(LINES)
    return 1


def _of(error: JackfieldError, logged: bool) -> str:
    """Render what keeps it from serving; faults that the log has named are only counted."""
    if logged and isinstance(error, PluginError) and error.faults:
        faults = counted(len(error.faults), "fault")
        return f"nothing is served, since the configuration is strict and the log has {faults}"
    return str(error)


def beside(signals: Signals, serve: Callable[[], int]) -> int:
    """Run the host in another thread, and keep the signals in this one."""
    over = threading.Event()
    codes: list[int] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            codes.append(serve())
        except BaseException as error:  # noqa: BLE001  # raised below, in the main thread
            failed.append(error)
        finally:
            over.set()

    threading.Thread(target=run, name="pluginctl-serve", daemon=True).start()
    signals.keep(until=over)
    if failed:
        raise failed[0]
    return codes[0]


def start_beside(host: Host, asked: threading.Event) -> threading.Thread:
    """Start a host beside this thread, so that a signal ends a start that takes its time.

    Args:
        host: it.
        asked: set when it is to end.

    Returns:
        The thread, which may not have ended when it was asked to.
    """
    failed: list[BaseException] = []
    ended = threading.Event()

    def start() -> None:
        try:
            host.start()
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits
            failed.append(error)
        finally:
            ended.set()

    starter = threading.Thread(target=start, name="pluginctl-start", daemon=True)
    starter.start()
    while not ended.wait(0.05) and not asked.is_set():
        pass
    if failed:
        raise failed[0]
    return starter
