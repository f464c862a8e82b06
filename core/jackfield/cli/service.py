"""The life of `pluginctl serve`: one host, its control socket, its metrics, and its orderly end."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final

from jackfield.cli.output import NEWLINE, printable, say
from jackfield.cli.payload import BadInput, build, decode, encode
from jackfield.cli.rereading import Rereading, read
from jackfield.cli.telemetry import close_traces, open_logs, open_traces
from jackfield.config import Configuration, LogsConfig, MetricsConfig
from jackfield.control import ControlServer
from jackfield.errors import PayloadError, PluginError, Unavailable
from jackfield.host import Host
from jackfield.model.record import PluginState
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans
from jackfield.operations import call, checked, verbs
from jackfield.operations.listener import ProbeServer
from jackfield.operations.probes import Probes
from jackfield.runtime.pool import Pool

_REPLIES: Final = 1.0  # seconds that the last replies have to leave


class Service:
    """One host that serves until it is told to end.

    Args:
        config: the configuration file.
        control: where to listen for verbs, or None for the usual place.
        metrics_port: of `/metrics`; None for what the file says, else any free one.
        drain: seconds that calls have to finish, and plugins to stop.
        watch: whether to apply the file whenever it changes.

    Raises:
        JackfieldError: when nothing can be served, and why; then nothing runs.
    """

    def __init__(
        self, config: Path, control: Path | None, metrics_port: int | None, drain: float, *, watch: bool = False
    ) -> None:
        self._file = config
        self._control = control
        self._metrics_port = metrics_port
        self._drain = drain
        self._watch = watch
        self._rereading: Rereading | None = None
        self._threads = Pool()
        self._about: dict[str, Any] = {"config": str(config.absolute()), "pid": os.getpid(), "started": time.time()}
        self._asked = threading.Event()
        self._by = ""

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT, then end in order.

        Returns:
            Whether every call could finish.

        Raises:
            JackfieldError: when it cannot begin.
        """
        configuration, self._seen = read(self._file, ("inline", "thread"))
        with ExitStack() as stack:
            host = self._open_host(configuration, stack)
            server = ControlServer(self._control, self._verbs(host))
            server.start()
            stack.callback(server.close, _REPLIES)
            self._about |= {"state": "starting", "control": str(server.path)}
            self._handle_signals(stack)
            try:
                self._start(host)
                if not self._asked.is_set():
                    self._refuse_if_strict(configuration, host)
                    self._about["state"] = "running"
                    say(self._ready(host))
                    self._reread_from_now(host)
                    self._asked.wait()
            finally:
                left = self._stop(host)
        return not left

    def _reread_from_now(self, host: Host) -> None:
        """Let SIGHUP, and if asked for the file itself, lead to an apply."""
        self._rereading = Rereading(host, self._file, self._seen, lambda text: say(printable(text, keep=NEWLINE)))
        if self._watch:
            self._rereading.watch(host.control, self._threads)

    def reread(self) -> None:
        """Apply the file again, beside whatever else goes on; before the host runs and while it stops, do nothing."""
        rereading = self._rereading
        if rereading is not None and not self._asked.is_set():
            self._threads.start("pluginctl-reread", lambda: rereading.apply("SIGHUP: "))

    def _open_host(self, configuration: Configuration, stack: ExitStack) -> Host:
        seen = configuration.observability
        logs = seen.logs or LogsConfig()
        stream = open_logs(logs)
        if seen.traces:
            stack.callback(close_traces, open_traces())
        observers = (*((Spans(),) if seen.traces else ()), Metrics(), Logs(stream, successes=logs.successes))
        host = Host.from_config(self._file, observers=observers)
        port = (seen.metrics or MetricsConfig()).port if self._metrics_port is None else self._metrics_port
        self._about["metrics"] = _expose_metrics(host, port, stack)
        return host

    def _verbs(self, host: Host) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        def console_call(
            name: str,
            typed: dict[str, str],
            document: bytes | None = None,
            timeout: float | None = None,
            tenant: str | None = None,
            version: str | None = None,
            headers: dict[str, str] | None = None,
        ) -> bytes:
            try:
                payload = decode(document) if document is not None else build(host.describe(name, version), typed)
            except BadInput as bad:
                raise PayloadError(name, "$", "a payload", str(bad)) from None
            return encode(call(host, name, payload, timeout, tenant, version, headers))

        return {
            **verbs(host, lambda: {**self._about, "seconds": round(time.time() - self._about["started"], 3)}),
            "console_call": checked("console_call", console_call),
        }

    def _handle_signals(self, stack: ExitStack) -> None:
        """Have a thread read what signals arrive: it notices them whatever the main thread is waiting for."""
        reader, writer = socket.socketpair()
        stack.callback(writer.close)
        writer.settimeout(0)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, -1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # else the signal would do what it does by default

        def watch() -> None:
            with reader:
                while arrived := reader.recv(1):
                    if arrived[0] == signal.SIGHUP:
                        self.reread()
                        continue
                    if self._asked.is_set():
                        os._exit(128 + arrived[0])  # whoever asks twice does not want to wait
                    self._by = signal.Signals(arrived[0]).name
                    self._asked.set()

        threading.Thread(target=watch, name="pluginctl-signals", daemon=True).start()

    def _start(self, host: Host) -> None:
        """Start the host beside this thread, so that a signal ends a start that takes its time."""
        failed: list[BaseException] = []

        def start() -> None:
            try:
                host.start()
            except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits
                failed.append(error)

        self._starter = threading.Thread(target=start, name="pluginctl-start", daemon=True)
        self._starter.start()
        while self._starter.is_alive() and not self._asked.is_set():
            self._starter.join(0.05)
        if failed:
            raise failed[0]

    def _refuse_if_strict(self, configuration: Configuration, host: Host) -> None:
        wanted = [record for record in host.plugins.values() if record.auto_start]
        faults = tuple(record.fault for record in wanted if record.fault is not None)
        if configuration.strict and faults:
            first = faults[0]
            raise PluginError(first.plugin or first.entry, first.stage, first.reason, first.fix, faults)

    def _ready(self, host: Host) -> str:
        records = host.plugins.values()
        running = sum(record.state is PluginState.RUNNING for record in records)
        plugins = f"{running} of {len(records)} plugins run"
        if any(record.fault for record in records) or host.faults:
            plugins += " (`pluginctl status` says why)"
        told = ", ".join(f"{key} {self._about[key]}" for key in ("pid", "control", "metrics"))
        return f"serving {self._file}: {plugins}; {told}"

    def _stop(self, host: Host) -> int:
        """Let calls finish and plugins stop, and tell how many calls did not."""
        self._asked.set()  # from now on a signal ends it at once
        self._about["state"] = "stopping"
        until = monotonic() + self._drain
        if self._by:
            say(f"{self._by}: ending within {self._drain:g} s; a second signal ends at once")
        host.stop(self._drain)
        self._starter.join(max(until - monotonic(), 0.1))
        host.stop(0.1)  # had the start been under way, it may only now be there to be stopped
        left = len(host.calls)
        if self._by:
            say(f"ended; {left} calls were left behind" if left else "ended")
        return left


def _expose_metrics(host: Host, port: int, stack: ExitStack) -> str:
    control = host.control
    stack.callback(control.keep())
    server = ProbeServer(Probes(host, control=control, names=True), control, port=port)
    try:
        server.start()
    except Unavailable as error:
        raise Unavailable(error.what, f"{error.reason} with --metrics-port") from error
    stack.callback(server.close)
    return f"http://127.0.0.1:{server.port}/metrics"
