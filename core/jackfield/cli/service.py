"""The life of `pluginctl serve`: one host, its control socket, its metrics, and its orderly end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from traceback import format_exception
from typing import Any, Final, TextIO, cast

from jackfield.cli.consoles import consoles
from jackfield.cli.ending import leave
from jackfield.cli.garbage import look_seldom
from jackfield.cli.messages import open_messages
from jackfield.cli.notify import Notifier
from jackfield.cli.outlet import Outlet, standard
from jackfield.cli.output import counted
from jackfield.cli.rereading import Rereading, read
from jackfield.cli.signals import Signals
from jackfield.cli.telemetry import open_telemetry
from jackfield.cli.unforeseen import described
from jackfield.config import Configuration, LogsConfig
from jackfield.control import ControlServer
from jackfield.errors import JackfieldError, PluginError, Unavailable
from jackfield.executors.places import BUILT_IN
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.model.record import PluginState
from jackfield.observe.logs import Logs
from jackfield.observe.metrics import Metrics
from jackfield.observe.spans import Spans
from jackfield.operations import verbs
from jackfield.operations.doors import Doors
from jackfield.operations.listener import ProbeServer
from jackfield.operations.probes import Probes
from jackfield.runtime.pool import Pool
from jackfield.text import printable

_REPLIES: Final = 1.0  # seconds that the last replies have to leave
_LINES: Final = 1.0  # and the last lines of the log


class Service:
    """One host that serves until it is told to end.

    The main thread makes the host, since some modules can only be imported there, and then keeps the signals; another
    thread starts the host, waits, and stops it. Nothing that plugins do to the main thread is in its way.

    Args:
        config: the configuration file.
        control: where to listen for verbs, or None for the usual place.
        metrics_port: of `/metrics`; None for what the file says, else any free one.
        drain: seconds that calls have to finish, and plugins to stop.
        watch: whether to apply the file whenever it changes.
    """

    def __init__(
        self, config: Path, control: Path | None, metrics_port: int | None, drain: float, *, watch: bool = False
    ) -> None:
        self._named = config
        self._file = config.absolute()  # plugins may change the working directory
        self._control_path = control and control.absolute()
        self._metrics_port = metrics_port
        self._drain = drain
        self._about: dict[str, Any] = {"config": str(self._file), "pid": os.getpid(), "started": time.time()}
        self._manager = Notifier()
        self._threads = Pool()
        self._watch = watch
        self._rereading: Rereading | None = None
        self._outlet = standard(2)
        self._logged = False
        self._doors: Doors | None = None
        self._opened = threading.Event()
        self._asked = threading.Event()
        self._by = ""
        self._reading = threading.Lock()
        self._starter: threading.Thread | None = None

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then end in order.

        Returns:
            The exit code: 0 when every call could finish; 1 when some could not, or it could not begin, which is told.
        """
        try:
            return self._run()
        except JackfieldError as error:
            for line in f"error: {self._told_of(error)}".split("\n"):
                self._outlet.say(line)
        except Exception as error:  # noqa: BLE001  # whatever it is, no thread may hang on it
            whole = "".join(format_exception(error)) if sys.flags.dev_mode else ""
            for line in f"{whole}error: {described(error)}".splitlines():
                self._outlet.say(line)
        finally:
            self._outlet.close(_LINES)
        return 1

    def _told_of(self, error: JackfieldError) -> str:
        """Render what keeps it from serving; faults that the log has named are only counted."""
        if self._logged and isinstance(error, PluginError) and error.faults:
            faults = counted(len(error.faults), "fault")
            return f"nothing is served, since the configuration is strict and the log has {faults}"
        return str(error)

    def reread(self) -> None:
        """Apply the file again; SIGHUP leads here. Before the host runs and while it stops nothing is done."""
        rereading = self._rereading
        if rereading is None or self._asked.is_set():
            return
        with self._reading:
            self._manager.reloading("reading the configuration again")
            rereading.apply("SIGHUP: ")
            self._manager.tell("READY=1", f"STATUS={self._about['state']}")

    def _run(self) -> int:
        with ExitStack() as stack:
            signals = stack.enter_context(Signals(self._act))
            configuration, self._seen = read(self._file, BUILT_IN)
            host = self._open_host(configuration, stack)
            self._opened.set()
            signals.claim()  # plugins were imported in this thread
            server = ControlServer(self._control_path, self._verbs(host), loop=host.control, pool=self._threads).start()
            stack.callback(server.close, _REPLIES)
            self._about |= {"state": "starting", "control": str(server.path)}
            return self._beside(signals, lambda: self._serve(configuration, host))

    def _beside(self, signals: Signals, serve: Callable[[], int]) -> int:
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

    def _serve(self, configuration: Configuration, host: Host) -> int:
        try:
            self._start(host)
            if not self._asked.is_set():
                self._refuse_if_strict(configuration, host)
                self._about["state"] = "running"
                ready = self._ready(host)
                self._reread_from_now(host)  # before anybody reads that it serves, and sends a SIGHUP
                self._say(ready)
                self._manager.tell("READY=1", f"STATUS={ready}")
                host.control.submit(self._manager.beat())
                self._asked.wait()
        finally:
            left = self._stop(host)
        return 1 if left else 0

    def _reread_from_now(self, host: Host) -> None:
        """Let SIGHUP, and if asked for the file itself, lead to an apply."""
        self._rereading = Rereading(host, self._file, self._seen, self._tell)
        if self._watch:
            self._rereading.watch(host.control, self._threads)

    def _act(self, number: signal.Signals) -> None:
        """Do what a signal asks for: the first one ends it in order, the second at once."""
        if number.name == "SIGHUP":
            if self._opened.is_set() and not self._asked.is_set():
                self._threads.start("pluginctl-reread", self.reread)
        elif self._asked.is_set():
            os._exit(128 + number)  # whoever asks twice does not want to wait
        else:
            self._by = number.name
            self._asked.set()
            if not self._opened.is_set():  # the main thread imports plugins, and may do so for long; nothing runs yet
                self._say(f"{self._by}: ended before anything was started")
                self._outlet.close(_LINES)
                leave(0)

    def _open_host(self, configuration: Configuration, stack: ExitStack) -> Host:
        seen = configuration.observability
        logs = seen.logs or LogsConfig()
        outlet = self._outlet_of_logs(logs, stack)
        telemetry = open_telemetry(spans=seen.traces)
        stack.callback(open_messages(outlet, shown=logs.messages, further=telemetry.message))
        stack.callback(telemetry.close)
        self._logged = logs.messages
        stream = cast(TextIO, outlet)  # as much of one as `Logs` asks for
        records = Logs(stream, successes=logs.successes, messages=logs.error_messages)
        if telemetry.record is not None:
            records.add_sink(telemetry.record)
        observers = (*((Spans(),) if seen.traces else ()), Metrics(), records)
        look_seldom()
        host = Host.from_config(self._file, observers=observers)
        stack.callback(host.control.keep())  # the control socket and the probes answer until the very end
        self._open_doors(configuration, host)
        asked = seen.metrics.port if self._metrics_port is None and seen.metrics else self._metrics_port
        http = self._about.get("doors", {}).get("http")
        if asked is None and http is not None:
            self._about["metrics"] = f"{http}/metrics"
        else:
            self._about["metrics"] = _expose_metrics(host, asked or 0, stack)
        return host

    def _open_doors(self, configuration: Configuration, host: Host) -> None:
        """Open the doors before anything starts: they say that the host is not ready, and refuse calls."""
        self._doors = Doors(host, configuration.doors, Probes(host, control=host.control))
        self._doors.open()
        if addresses := self._doors.addresses:
            self._about["doors"] = addresses

    def _outlet_of_logs(self, logs: LogsConfig, stack: ExitStack) -> Outlet:
        outlet = self._outlet
        if logs.stream == "stdout":
            outlet = standard(1)
            stack.callback(outlet.close, _LINES)
        if logs.format != "auto":
            outlet.terminal = logs.format == "text"
        return outlet

    def _verbs(self, host: Host) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            **verbs(host, self._told_of_process),
            **consoles(host),
        }

    def _told_of_process(self) -> Mapping[str, Any]:
        traffic = {} if self._doors is None else self._doors.traffic
        about = {**self._about, "seconds": round(time.time() - self._about["started"], 3)}
        return {**about, "traffic": traffic} if traffic else about

    def _start(self, host: Host) -> None:
        """Start the host beside this thread, so that a signal ends a start that takes its time."""
        failed: list[BaseException] = []
        ended = threading.Event()

        def start() -> None:
            try:
                host.start()
            except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits
                failed.append(error)
            finally:
                ended.set()

        self._starter = threading.Thread(target=start, name="pluginctl-start", daemon=True)
        self._starter.start()
        while not ended.wait(0.05) and not self._asked.is_set():
            pass
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
        told += "".join(f", {kind} {address}" for kind, address in self._about.get("doors", {}).items())
        return f"serving {self._named}: {plugins}; {told}"

    def _stop(self, host: Host) -> int:
        """Let calls finish and plugins stop, and tell how many calls did not."""
        self._asked.set()  # from now on a signal ends it at once
        self._about["state"] = "stopping"
        until = monotonic() + self._drain
        self._manager.tell("STOPPING=1", f"STATUS=ending within {self._drain:g} s")
        if self._by:
            self._say(f"{self._by}: ending within {self._drain:g} s; a second signal ends at once")
        try:
            if self._doors is not None:
                self._doors.close(self._drain)  # while the host still takes the calls of those who have come in
            host.stop(max(until - monotonic(), 0.1))
            if self._starter is not None:
                self._starter.join(max(until - monotonic(), 0.1))
            host.stop(0.1)  # had the start been under way, it may only now be there to be stopped
        except Exception as error:  # noqa: BLE001  # what is left of the end is still to come
            host_log("ERROR", "stopping failed", error)
        left = len(host.calls)
        if self._by:
            self._say(f"ended; {left} calls were left behind" if left else "ended")
        return left

    def _say(self, text: str) -> None:
        self._outlet.say(text)

    def _tell(self, text: str) -> None:
        for line in text.split("\n"):
            self._outlet.say(printable(line))


def _expose_metrics(host: Host, port: int, stack: ExitStack) -> str:
    server = ProbeServer(Probes(host, control=host.control, names=True), host.control, port=port)
    try:
        server.start()
    except Unavailable as error:
        raise Unavailable(error.what, f"{error.reason} with --metrics-port") from error
    stack.callback(server.close)
    return f"http://127.0.0.1:{server.port}/metrics"
